//! What must never be true of a plan apart from its VMs: its endpoint, policies, order and counts.
//!
//! The planner makes all of this in one place, so tests judge it, not every run.

use crate::inventory::Inventory;
use crate::plan::{Action, Plan, SnapshotUsage, Status, Summary};
use crate::policy::Policies;

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
    let named = plan.policies.iter().map(|policy| (&policy.name, &policy.file, &policy.sha256));
    let used = policies.iter().map(|policy| (&policy.name, &policy.source.file, &policy.source.sha256));
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
    Summary {
        create: creates,
        delete_local: acting().count() - creates,
        delete_cloud: 0,
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
