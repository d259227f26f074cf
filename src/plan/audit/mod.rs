//! An independent judge of finished plans.
//!
//! It states what must never be true of a plan and looks for it, from the records alone. On purpose it shares nothing
//! with the planner but the plain types and the calendar: one misunderstanding must not hide in both.

mod case;
mod rules;

use super::changeset::{Plan, Status, VmPlan};
use crate::inventory::{Inventory, VmId};
use crate::policy::{Match, Policies};
use case::Case;
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use std::fmt;

/// A rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The VM; `None` when it is the plan as a whole.
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

/// Judges a plan against the policies and the inventory it was made from; gives everything that is wrong with it.
pub fn audit(plan: &Plan, policies: &Policies, inventory: &Inventory) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut seen: BTreeSet<VmId> = BTreeSet::new();
    for planned in &plan.vms {
        let mut tell = |what: String| found.push(Violation { vm: planned.uuid, what });
        let Some(vm) = planned.uuid.and_then(|id| inventory.vms.get(&id)) else {
            if !planned.actions.is_empty() || planned.status != Status::Unreadable {
                tell("something is planned for a VM that was not read".to_owned());
            }
            continue;
        };
        if planned.status == Status::Unreadable {
            // The same UUID may stand among the unreadable ones too; that entry must not act.
            if !planned.actions.is_empty() {
                tell("something is planned for a VM that could not be read whole".to_owned());
            }
            continue;
        }
        if !seen.insert(vm.id) {
            tell("it stands in the plan twice".to_owned());
        }
        audit_vm(planned, vm, policies, plan.at).into_iter().for_each(tell);
    }
    for &vm in inventory.vms.keys().filter(|id| !seen.contains(id)) {
        found.push(Violation { vm: Some(vm), what: "it was read and is missing from the plan".to_owned() });
    }
    found
}

/// Judges what is planned for one VM against that VM as it is; gives everything that is wrong with it.
///
/// This is asked again of the VM as it was last read, right before anything is carried out on it.
pub fn audit_vm(
    planned: &VmPlan,
    vm: &crate::inventory::Vm,
    policies: &Policies,
    now: DateTime<Utc>,
) -> Vec<String> {
    match policies.policy_for(vm) {
        Match::One(policy) => rules::broken(&Case::new(vm, policy, now), planned),
        Match::Unprotected | Match::Conflict(_) if planned.actions.is_empty() => Vec::new(),
        Match::Unprotected => vec!["something is planned for a VM that is in no policy".to_owned()],
        Match::Conflict(_) => vec!["something is planned for a VM that several policies claim".to_owned()],
    }
}
