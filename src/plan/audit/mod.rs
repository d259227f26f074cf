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
mod rules;

use super::changeset::{Plan, SnapshotUsage, Status, VmPlan};
use super::due::Occurrences;
use super::fingerprint::fingerprint;
use super::note::NoteCode;
use crate::inventory::{Inventory, UnreadableVm, Vm, VmId};
use crate::policy::{Match, Policies};
use case::AuditCase;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The VM; `None` for one of which not even the UUID could be read.
    pub vm: Option<VmId>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.vm {
            Some(vm) => write!(f, "VM {vm}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// Judges what a plan has for each VM, and that it has each VM once, against the policies and the inventory it was made
/// from; returns everything that is wrong with it.
pub fn audit(plan: &Plan, policies: &Policies, inventory: &Inventory) -> Vec<Violation> {
    let mut found: Vec<Violation> = Vec::new();
    let occurrences_by_policy = occurrences_by_policy(policies, plan.at);
    let mut readable: BTreeSet<VmId> = inventory.vms.keys().copied().collect();
    let mut unreadable: Vec<&UnreadableVm> = inventory.unreadable.iter().collect();
    for planned in &plan.vms {
        let mut report = |what| found.push(Violation { vm: planned.uuid, what });
        if inventory.unreadable.iter().any(|vm| is_about(planned, vm)) {
            match unreadable.iter().position(|vm| is_about(planned, vm)) {
                Some(place) => _ = unreadable.swap_remove(place),
                None => report("it stands in the plan twice".to_owned()),
            }
            let why = "that could not be read whole";
            untouched_broken(planned, Status::Unreadable, why).into_iter().for_each(report);
        } else if let Some(vm) = planned.uuid.and_then(|id| inventory.vms.get(&id)) {
            if !readable.remove(&vm.id) {
                report("it stands in the plan twice".to_owned());
            }
            if planned.fingerprint.as_ref() != Some(&fingerprint(vm)) {
                report("its fingerprint is not that of what was read".to_owned());
            }
            if planned.status == Status::Fault {
                fault_broken(planned).into_iter().for_each(report);
            } else {
                vm_broken(planned, vm, policies, &occurrences_by_policy).into_iter().for_each(report);
            }
        } else {
            report("it stands in the plan and is none that was read".to_owned());
        }
    }
    let unread: BTreeSet<VmId> = inventory.unreadable.iter().filter_map(|vm| vm.id).collect();
    let missing = readable.difference(&unread).copied().map(Some).chain(unreadable.iter().map(|vm| vm.id));
    found.extend(
        missing.map(|vm| Violation { vm, what: "it was read and is missing from the plan".to_owned() }),
    );
    found
}

/// Judges what is planned for one VM against that VM as it is; returns everything that is wrong with it.
///
/// This is asked again of the VM as it was last read, right before anything is carried out on it.
pub fn audit_vm(planned: &VmPlan, vm: &Vm, policies: &Policies, now: DateTime<Utc>) -> Vec<String> {
    vm_broken(planned, vm, policies, &occurrences_by_policy(policies, now))
}

fn occurrences_by_policy(policies: &Policies, now: DateTime<Utc>) -> BTreeMap<&str, Occurrences<'_>> {
    policies.iter().map(|policy| (policy.name.as_str(), Occurrences::new(policy, now))).collect()
}

fn vm_broken(
    planned: &VmPlan,
    vm: &Vm,
    policies: &Policies,
    occurrences_by_policy: &BTreeMap<&str, Occurrences<'_>>,
) -> Vec<String> {
    let (status, why) = match policies.policy_for(vm) {
        Match::One(policy) => {
            return rules::broken(
                &AuditCase::new(vm, policy, &occurrences_by_policy[policy.name.as_str()]),
                planned,
            );
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
fn untouched_broken(planned: &VmPlan, status: Status, why: &str) -> Vec<String> {
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

/// Finds what is wrong with a VM that is left out because its plan broke a rule.
fn fault_broken(planned: &VmPlan) -> Vec<String> {
    let mut found = untouched_broken(planned, Status::Fault, "that is left out");
    if planned.note(NoteCode::InternalError).is_none() {
        found.push("it is left out without a reason".to_owned());
    }
    found
}

/// Says whether a VM's plan is that of this unreadable one.
fn is_about(planned: &VmPlan, vm: &UnreadableVm) -> bool {
    planned.uuid == vm.id && (vm.id.is_some() || planned.alias == vm.alias)
}
