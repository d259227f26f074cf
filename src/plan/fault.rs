//! Leaving out a VM whose plan breaks a rule: a fault of this program, which must not affect the other VMs.

use super::changeset::{Status, TOOL, VmPlan};
use super::decide::untouched;
use super::note::{Note, NoteCode};
use super::request::Request;
use crate::inventory::Vm;
use crate::policy::{Match, Policies, Policy};
use std::fmt::Write as _;

/// Makes the plan of a VM that is left out, because what was planned for it breaks these rules.
pub(super) fn left_out(
    planned: &VmPlan,
    vm: &Vm,
    broken: &[String],
    policies: &Policies,
    request: Request,
) -> VmPlan {
    let note = Note::vm(NoteCode::InternalError, report(planned, vm, broken, policies, request));
    VmPlan { policy: planned.policy.clone(), ..untouched(vm, Status::Fault, note) }
}

/// Writes all that somebody needs to see why the decision went wrong: the rules, and what both readings of them rest on. The
/// policy is known by its file; metadata is left out, since it may hold secrets.
fn report(planned: &VmPlan, vm: &Vm, broken: &[String], policies: &Policies, request: Request) -> String {
    let policy = match policies.policy_for(vm) {
        Match::One(Policy { name, source, .. }) => format!("{name} of {} ({})", source.file, source.sha256),
        Match::Unprotected => "none".to_owned(),
        Match::Conflict(_) => "several".to_owned(),
    };
    let Vm { id, hypervisor, state, creating, deleting, delegated_datasets, .. } = vm;
    let mut text = format!(
        "left out, because its plan violates a rule: {}. This is a bug in the program; please report it with all of this, and \
         with the policy's file: {TOOL}, {request:?}; policy {policy}; {:?} {:?}; VM {id} on {hypervisor:?}, {state:?}, \
         creating {creating}, deleting {deleting}, delegated datasets {delegated_datasets}",
        broken.join("; "),
        planned.status,
        planned.actions,
    );
    for backup in vm.backups.values() {
        // Writing into a text cannot fail.
        _ = write!(text, "; {backup:?}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::audit::audit_vm;
    use crate::plan::tests::fixtures::*;
    use crate::plan::tests::frame::{audit, frame_broken};
    use crate::plan::{Action, fingerprint};

    const WEDNESDAY: &str = "2026-11-18 01:00";

    /// A VM with a daily due, whose plan has its parent's snapshot deleted before it, and what stands in place of that plan.
    fn broken() -> (VmPlan, VmPlan) {
        let policies = Policies::new(vec![grandfather()]);
        let mut planned = mid_chain().plan(&grandfather(), WEDNESDAY);
        for action in &mut planned.actions {
            if let Action::DeleteLocal(delete) = action {
                delete.after_create = false;
            }
        }
        planned.actions.reverse();
        let vm = mid_chain().vm;
        let broken = audit_vm(&planned, &vm, &policies, at(WEDNESDAY));
        let fault = left_out(&planned, &vm, &broken, &policies, at(WEDNESDAY).into());
        (planned, VmPlan { fingerprint: Some(fingerprint(&vm)), ..fault })
    }

    #[test]
    fn a_vm_whose_plan_breaks_a_rule_is_left_out_and_counted() {
        let (planned, fault) = broken();
        assert_eq!((fault.status, fault.actions.len(), fault.notes.len()), (Status::Fault, 0, 1));
        assert_eq!(fault.uuid, planned.uuid);
        let plan = plan_all(&[grandfather()], [mid_chain()], at(WEDNESDAY)).limited_to(vec![fault]);
        assert_eq!((plan.summary.fault, plan.summary.create, plan.summary.delete_local), (1, 0, 0));
        let (policies, inventory) = (Policies::new(vec![grandfather()]), inventory([mid_chain()]));
        assert_eq!(frame_broken(&plan, &policies, &inventory), Vec::<String>::new());
        assert_eq!(audit(&plan, &policies, &inventory, at(WEDNESDAY).into()), Vec::<String>::new());
    }

    #[test]
    fn what_is_reported_of_it_is_all_that_a_report_needs() {
        let (_, fault) = broken();
        let message = fault.note(NoteCode::InternalError).unwrap().to_string();
        let parent = backup_id(3).to_string();
        for part in [
            "a local delete of the planned backup's parent before that is complete",
            TOOL,
            "2026-11-18T01:00:00",
            "policies/grandfather.yaml",
            "\"hv-1\"",
            parent.as_str(),
            "after_create: false",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message}");
        }
    }
}
