//! Leaving out a VM whose plan breaks a rule: a fault of this program, which must not affect the other VMs.

use super::changeset::{Status, TOOL, VmPlan};
use super::decide::untouched;
use super::note::{Note, NoteCode};
use crate::inventory::{Backup, Vm};
use crate::policy::{Match, Policies, Policy};
use chrono::{DateTime, Utc};
use std::fmt::Write as _;

/// Makes the plan of a VM that is left out, because what was planned for it breaks these rules.
pub(super) fn left_out(
    planned: &VmPlan,
    vm: &Vm,
    broken: &[String],
    policies: &Policies,
    now: DateTime<Utc>,
) -> VmPlan {
    let note = Note::vm(NoteCode::InternalError, report(planned, vm, broken, policies, now));
    VmPlan { policy: planned.policy.clone(), ..untouched(vm, Status::Fault, note) }
}

/// Writes all that somebody needs to see why the decision went wrong: the rules, and what both readings of them rest on.
fn report(planned: &VmPlan, vm: &Vm, broken: &[String], policies: &Policies, now: DateTime<Utc>) -> String {
    let mut text = format!(
        "left out, because its plan violates a rule: {}. This is a bug in the program; please report \
         it with all of this: {TOOL} at {}",
        broken.join("; "),
        now.to_rfc3339(),
    );
    // Writing into a text cannot fail.
    _ = write!(text, "; status {:?}", planned.status);
    for action in &planned.actions {
        _ = write!(text, "; {action:?}");
    }
    match policies.policy_for(vm) {
        Match::One(policy) => policy_facts(policy, &mut text),
        Match::Unprotected => text.push_str("; in no policy"),
        Match::Conflict(_) => text.push_str("; in several policies"),
    }
    _ = write!(
        text,
        "; VM {} on {:?}, {:?}, creating {}, deleting {}, delegated datasets {}",
        vm.id, vm.hypervisor, vm.state, vm.creating, vm.deleting, vm.delegated_datasets
    );
    for backup in vm.backups.values() {
        backup_facts(backup, &mut text);
    }
    text
}

fn policy_facts(policy: &Policy, text: &mut String) {
    let Policy { name, zone, tiers, missing_parent, stuck_after, min_full_size_bytes, retry, .. } = policy;
    let Policy { max_age, prune, .. } = policy;
    _ = write!(
        text,
        "; policy {name} in {}, {missing_parent:?}, stuck after {stuck_after}, full from {min_full_size_bytes} B, {retry:?}, \
         prune {prune:?} up to an age of {max_age}",
        zone.name()
    );
    for tier in tiers {
        _ = write!(
            text,
            "; tier {} {:?} {}, comment {:?} and {:?}, keep {:?}, keep_local {}, spread {}",
            tier.name,
            tier.kind,
            tier.schedule,
            tier.comment,
            tier.also,
            tier.keep,
            tier.keep_local,
            tier.spread
        );
    }
}

fn backup_facts(backup: &Backup, text: &mut String) {
    _ = write!(
        text,
        "; backup {} {:?} of {:?} {:?} on {:?}, local {:?} with {:?} B, {:?} B, lacks {:?}",
        backup.id,
        backup.comment,
        backup.timestamp,
        backup.state,
        backup.parent.map(|parent| parent.to_string()),
        backup.local,
        backup.local_size_bytes,
        backup.size_bytes(),
        backup.missing_file_info(),
    );
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
        let fault = left_out(&planned, &vm, &broken, &policies, at(WEDNESDAY));
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
        assert_eq!(audit(&plan, &policies, &inventory), Vec::<String>::new());
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
            "tier daily",
            "0 1 * * *",
            "\"hv-1\"",
            parent.as_str(),
            "after_create: false",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message}");
        }
    }
}
