//! An independent judge of finished plans.
//!
//! It states what must never be true of a plan and looks for it, from the records alone. On purpose it shares nothing
//! with the planner but the data types, the occurrences, and the VM as it is after a create ([`projection`]): one
//! misunderstanding must not hide in both.
//!
//! [`projection`]: super::projection

mod case;
mod creates;
mod deletes;
mod prunes;
mod records;
mod rules;

use super::changeset::{SnapshotUsage, Status, VmPlan};
use super::due::Occurrences;
use crate::inventory::Vm;
use crate::policy::{Match, Policies};
use case::AuditCase;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// Judges what is planned for one VM against that VM as it is; returns everything that is wrong with it.
///
/// This is asked again of the VM as it was last read, right before anything is carried out on it.
pub fn audit_vm(planned: &VmPlan, vm: &Vm, policies: &Policies, now: DateTime<Utc>) -> Vec<String> {
    let occurrences = policies.iter().map(|policy| (policy.name.as_str(), Occurrences::new(policy, now)));
    broken_rules(planned, vm, policies, &occurrences.collect())
}

/// Judges what is planned for one VM, with the occurrences of every policy's schedules.
pub(super) fn broken_rules(
    planned: &VmPlan,
    vm: &Vm,
    policies: &Policies,
    occurrences_by_policy: &BTreeMap<&str, Occurrences<'_>>,
) -> Vec<String> {
    let (status, why) = match policies.policy_for(vm) {
        Match::One(policy) => {
            let occurrences = &occurrences_by_policy[policy.name.as_str()];
            let due_since = (0..policy.tiers.len()).map(|tier| occurrences.last(tier, vm.id));
            return rules::broken(&AuditCase::new(vm, policy, occurrences.now(), due_since), planned);
        }
        Match::Unprotected => (Status::Unprotected, "that is in no policy"),
        Match::Conflict(_) => (Status::Conflict, "that several policies claim"),
    };
    let mut found = untouched_broken(planned, status, why);
    if planned.policy.is_some() {
        found.push("it is planned under another policy than its own".to_owned());
    }
    found
}

/// Finds what is wrong with a VM's plan when it is one to be left alone.
pub(super) fn untouched_broken(planned: &VmPlan, status: Status, why: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !planned.actions.is_empty() {
        found.push(format!("something is planned for a VM {why}"));
    }
    if planned.status != status {
        found.push(format!("its status is {:?} where it is {status:?}", planned.status));
    }
    if planned.suspended.is_some() {
        found.push(format!("a suspension is shown of a VM {why}"));
    }
    if planned.unmanaged != SnapshotUsage::default() {
        found.push(format!("unmanaged snapshots are counted of a VM {why}"));
    }
    found
}
