//! What must never be true of a whole plan: that a VM is missing or there twice; its endpoint, policies, order and counts.
//!
//! The planner makes all of this in one place, so tests judge it, not every run.

use crate::inventory::{Inventory, UnreadableVm, VmId};
use crate::plan::audit::audit_vm;
use crate::plan::{Action, NoteCode, Plan, Request, SnapshotUsage, Status, Summary, VmPlan, fingerprint};
use crate::policy::Policies;
use std::collections::BTreeSet;

/// Finds what is wrong with a plan apart from its VMs.
pub(crate) fn frame_broken(plan: &Plan, policies: &Policies, inventory: &Inventory) -> Vec<String> {
    let mut found = Vec::new();
    let mut report = |what: &str| found.push(what.to_owned());
    if plan.endpoint != inventory.endpoint {
        report("it is for another FiFo than the one that was read");
    }
    if plan.valid_until.is_some_and(|until| until <= plan.at) {
        report("it no longer holds at the instant it is made for");
    }
    let named = plan.policies.iter().map(|policy| (policy.name.as_str(), &policy.file, &policy.sha256));
    let used = policies.iter().map(|policy| (&*policy.name, &policy.source.file, &policy.source.sha256));
    if !named.eq(used) {
        report("it names other policies than it was made from");
    }
    if !plan.vms.is_sorted_by_key(|vm| (&vm.alias, vm.uuid)) {
        report("its VMs are out of order");
    }
    if plan.summary != counted(plan) {
        report("the counts are not those of its VMs");
    }
    found
}

fn counted(plan: &Plan) -> Summary {
    let with = |status| plan.vms.iter().filter(move |vm| vm.status == status);
    let acting = || plan.vms.iter().filter(|vm| !vm.is_suspended()).flat_map(|vm| &vm.actions);
    let creates = acting().filter(|action| matches!(action, Action::Create(_))).count();
    let cloud_deletes = acting().filter(|action| matches!(action, Action::DeleteCloud(_))).count();
    Summary {
        create: creates,
        delete_local: acting().count() - creates - cloud_deletes,
        delete_cloud: cloud_deletes,
        stored: plan.vms.iter().map(|vm| vm.stored).sum(),
        up_to_date: with(Status::UpToDate).count(),
        waiting: with(Status::Waiting).count(),
        blocked: with(Status::Blocked).count(),
        unprotected: with(Status::Unprotected).count(),
        conflict: with(Status::Conflict).count(),
        fault: with(Status::Fault).count(),
        unreadable: with(Status::Unreadable).count(),
        suspended: with(Status::Changes).filter(|vm| vm.is_suspended()).count(),
        unmanaged: SnapshotUsage {
            snapshots: plan.vms.iter().map(|vm| vm.unmanaged.snapshots).sum(),
            size_bytes: plan.vms.iter().fold(0, |sum, vm| sum.saturating_add(vm.unmanaged.size_bytes)),
        },
    }
}

/// Judges what a plan has for each VM, and that it has each VM once, against the policies and the inventory it was made
/// from; gives everything that is wrong with it.
pub(crate) fn audit(
    plan: &Plan,
    policies: &Policies,
    inventory: &Inventory,
    request: Request,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut readable: BTreeSet<VmId> = inventory.vms.keys().copied().collect();
    let mut unreadable: Vec<&UnreadableVm> = inventory.unreadable.iter().collect();
    for planned in &plan.vms {
        let mut tell = |what| found.push(what);
        if inventory.unreadable.iter().any(|vm| is_about(planned, vm)) {
            match unreadable.iter().position(|vm| is_about(planned, vm)) {
                Some(place) => _ = unreadable.swap_remove(place),
                None => tell("it stands in the plan twice".to_owned()),
            }
            untouched_broken(planned, Status::Unreadable).into_iter().for_each(tell);
        } else if let Some(vm) = planned.uuid.and_then(|id| inventory.vms.get(&id)) {
            if !readable.remove(&vm.id) {
                tell("it stands in the plan twice".to_owned());
            }
            if planned.fingerprint.as_ref() != Some(&fingerprint(vm)) {
                tell("its fingerprint is not that of what was read".to_owned());
            }
            if planned.status == Status::Fault {
                fault_broken(planned).into_iter().for_each(tell);
            } else {
                audit_vm(planned, vm, policies, request).into_iter().for_each(tell);
            }
        } else {
            tell("it stands in the plan and is none that was read".to_owned());
        }
    }
    let unread: BTreeSet<VmId> = inventory.unreadable.iter().filter_map(|vm| vm.id).collect();
    let missing = readable.difference(&unread).copied().map(Some).chain(unreadable.iter().map(|vm| vm.id));
    found.extend(missing.map(|vm| format!("{vm:?} was read and is missing from the plan")));
    found
}

/// Finds what is wrong with a VM that is left out because its plan broke a rule.
fn fault_broken(planned: &VmPlan) -> Vec<String> {
    let mut found = untouched_broken(planned, Status::Fault);
    if planned.note(NoteCode::InternalError).is_none() {
        found.push("it is left out and nobody is told why".to_owned());
    }
    found
}

/// Says whether a VM's plan is that of this unreadable one.
fn is_about(planned: &VmPlan, vm: &UnreadableVm) -> bool {
    planned.uuid == vm.id && (vm.id.is_some() || planned.alias == vm.alias)
}

/// Finds what is wrong with a VM's plan when it is one to be left alone.
fn untouched_broken(planned: &VmPlan, status: Status) -> Vec<String> {
    let is_untouched = planned.actions.is_empty()
        && planned.status == status
        && planned.suspended.is_none()
        && planned.unmanaged == SnapshotUsage::default();
    if is_untouched { Vec::new() } else { vec![format!("it is not left alone as {status:?}: {planned:?}")] }
}
