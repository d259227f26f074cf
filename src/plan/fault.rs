//! Leaving out a VM whose plan breaks a rule: a fault of this program, which must not affect the other VMs.

use super::audit::{Violation, audit};
use super::changeset::{Plan, SnapshotUsage, Status, TOOL, VmPlan};
use super::note::{Note, NoteKind};
use super::{fingerprint, summary};
use crate::inventory::{Backup, Inventory, Vm, VmId};
use crate::policy::{Match, Policies, Policy};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Audits a plan, and removes the actions of those VMs for which it breaks a rule.
///
/// # Errors
///
/// A violation is about a VM that cannot be left out, or is still there without those VMs. All violations are given.
pub(super) fn without_faults(
    mut plan: Plan,
    policies: &Policies,
    inventory: &Inventory,
) -> Result<Plan, Vec<Violation>> {
    let violations = audit(&plan, policies, inventory);
    if violations.is_empty() {
        return Ok(plan);
    }
    let mut of_vms: BTreeMap<VmId, Vec<&str>> = BTreeMap::new();
    for violation in &violations {
        match violation.vm {
            Some(vm) => of_vms.entry(vm).or_default().push(&violation.what),
            None => return Err(violations),
        }
    }
    for planned in &mut plan.vms {
        let vm = planned.uuid.and_then(|id| inventory.vms.get(&id));
        let broken = planned.uuid.and_then(|id| of_vms.get(&id));
        if let (Some(vm), Some(broken)) = (vm, broken) {
            *planned = left_out(planned, vm, broken, policies, plan.at);
        }
    }
    plan.summary = summary(&plan.vms);
    plan.sign();
    if audit(&plan, policies, inventory).is_empty() { Ok(plan) } else { Err(violations) }
}

fn left_out(planned: &VmPlan, vm: &Vm, broken: &[&str], policies: &Policies, now: DateTime<Utc>) -> VmPlan {
    VmPlan {
        uuid: Some(vm.id),
        alias: vm.alias.clone(),
        policy: planned.policy.clone(),
        status: Status::Fault,
        fingerprint: Some(fingerprint(vm)),
        suspended: None,
        actions: Vec::new(),
        notes: vec![Note::vm(NoteKind::InternalError { report: report(planned, vm, broken, policies, now) })],
        unmanaged: SnapshotUsage::default(),
    }
}

/// Writes the data of a bug report: the broken rules, and the input of both implementations.
fn report(planned: &VmPlan, vm: &Vm, broken: &[&str], policies: &Policies, now: DateTime<Utc>) -> String {
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
    _ = write!(
        text,
        "; policy {name} in {}, {missing_parent:?}, stuck after {stuck_after}, full from {min_full_size_bytes} B, {retry:?}",
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
    use crate::plan::tests::fixtures::*;
    use crate::plan::tests::frame::frame_broken;
    use crate::plan::{Action, NoteCode, SavedPlan};

    const WEDNESDAY: &str = "2026-11-18 01:00";

    /// Two VMs with a daily due, the first of which has its parent's snapshot deleted before it.
    fn one_broken() -> (Plan, Policies, Inventory) {
        let mut other = mid_chain();
        other.vm.id = vm_id(2);
        let inventory = inventory([mid_chain(), other]);
        let policies = Policies::new(vec![grandfather()]);
        let mut plan = crate::plan::plan(&policies, &inventory, at(WEDNESDAY)).unwrap();
        for action in &mut plan.vms[0].actions {
            if let Action::DeleteLocal(delete) = action {
                delete.after_create = false;
            }
        }
        plan.vms[0].actions.reverse();
        plan.sign();
        (plan, policies, inventory)
    }

    #[test]
    fn a_vm_whose_plan_breaks_a_rule_is_left_out_and_the_others_go_on() {
        let (broken, policies, inventory) = one_broken();
        let plan = without_faults(broken.clone(), &policies, &inventory).unwrap();
        let fault = &plan.vms[0];
        assert_eq!((fault.status, fault.actions.len(), fault.notes.len()), (Status::Fault, 0, 1));
        assert_eq!(plan.vms[1], broken.vms[1]);
        assert_eq!((plan.summary.fault, plan.summary.create, plan.summary.delete_local), (1, 1, 1));
        assert_eq!(audit(&plan, &policies, &inventory), []);
        assert_eq!(frame_broken(&plan, &policies, &inventory), Vec::<String>::new());
        let json = serde_json::to_vec(&plan).unwrap();
        assert_eq!(SavedPlan::from_json(&json).unwrap().checksum, plan.checksum, "it is signed anew");
    }

    #[test]
    fn what_is_reported_of_it_is_all_that_a_report_needs() {
        let (broken, policies, inventory) = one_broken();
        let plan = without_faults(broken, &policies, &inventory).unwrap();
        let message = plan.vms[0].note(NoteCode::InternalError).unwrap().to_string();
        let parent = backup_id(3).to_string();
        for part in [
            "a local delete of the create's parent before it",
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

    #[test]
    fn a_vm_that_is_missing_from_the_plan_refuses_all_of_it() {
        let (mut broken, policies, inventory) = one_broken();
        broken.vms.remove(1);
        broken.summary = summary(&broken.vms);
        let violations = without_faults(broken, &policies, &inventory).unwrap_err();
        assert!(violations.iter().any(|violation| violation.what.contains("missing from the plan")));
    }
}
