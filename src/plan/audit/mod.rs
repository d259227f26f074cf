//! An independent check of what could hurt, before a plan is given out and before each write.
//!
//! It states what must never be true of what is planned for a VM and looks for it, from the records alone. On purpose it shares
//! nothing with the planner but the data types: one misunderstanding must not hide in both. It does not look at wording, counts
//! or notes: a slip there must not stop a backup.

mod prunes;
mod records;

use super::changeset::{Action, BackupKind, Create, DeleteLocal, VmPlan};
use super::request::Request;
use crate::inventory::{LocalState, Vm};
use crate::policy::{Match, Policies};
use records::Records;

/// Judges what is planned for one VM against that VM as it is; returns everything that must not be carried out.
///
/// This is asked again of the VM as it was last read, right before anything is carried out on it.
pub fn audit_vm(planned: &VmPlan, vm: &Vm, policies: &Policies, request: impl Into<Request>) -> Vec<String> {
    let Request { now, prune, .. } = request.into();
    if planned.actions.is_empty() {
        return Vec::new();
    }
    let policy = match policies.policy_for(vm) {
        Match::One(policy) => policy,
        Match::Unprotected => return vec!["something is planned for a VM that is in no policy".to_owned()],
        Match::Conflict(_) => {
            return vec!["something is planned for a VM that several policies claim".to_owned()];
        }
    };
    let mut found = Vec::new();
    let mut report = |what: &str| found.push(what.to_owned());
    if planned.policy.as_ref() != Some(&policy.name) {
        report("it is planned under another policy than its own");
    }
    if policy.suspends(vm, now) && !planned.is_suspended() {
        report("something is planned for a VM that is suspended");
    }
    let can_be_backed_up = vm.hypervisor.is_some()
        && !(vm.delegated_datasets || vm.creating || vm.deleting)
        && ["running", "stopped", "booting", "shutting_down"].contains(&vm.state.as_str());
    if !can_be_backed_up {
        report("something is planned for a VM that cannot be backed up");
    }
    let records = Records::read(vm, policy, now);
    let creates = planned.actions.iter().zip(0..).filter_map(|(action, at)| Some((at, action.as_create()?)));
    let creates: Vec<(usize, &Create)> = creates.collect();
    if creates.len() > 1 {
        report("there is more than one create");
    }
    for (_, create) in &creates {
        create_broken(&records, create).into_iter().for_each(&mut report);
    }
    for (at, action) in planned.actions.iter().enumerate() {
        if let Action::DeleteLocal(delete) = action {
            let before = creates.iter().find(|(place, _)| *place < at).map(|(_, create)| *create);
            let planned = creates.first().map(|(_, create)| *create);
            let name = delete.backup.map_or("the new backup".to_owned(), |id| format!("backup {id}"));
            let broken = local_delete_broken(&records, delete, planned, before);
            broken.into_iter().for_each(|what| report(&format!("{name}: a local delete {what}")));
        }
    }
    found.extend(prunes::broken(&records, policy, planned, now, prune.is_requested));
    found
}

fn create_broken(records: &Records<'_>, create: &Create) -> Option<&'static str> {
    if records.rows.iter().any(|row| row.may_run) {
        return Some("a create while another backup runs");
    }
    let parent = match (create.kind, create.parent) {
        (BackupKind::Full, None) => return None,
        (BackupKind::Full, Some(_)) => return Some("a full create with a parent"),
        (BackupKind::Incremental, parent) => parent.and_then(|parent| records.get(parent)),
    };
    match parent {
        None => Some("an incremental create without a parent that is there"),
        Some(parent) if parent.backup.local != LocalState::Present => {
            Some("a create whose parent is not local")
        }
        Some(parent) if !parent.counts() => Some("a create whose parent cannot be restored"),
        Some(_) => None,
    }
}

/// Finds what is wrong with a local delete; `planned` is the VM's create, and `before` the same where it comes first.
fn local_delete_broken(
    records: &Records<'_>,
    delete: &DeleteLocal,
    planned: Option<&Create>,
    before: Option<&Create>,
) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut report = |is_so: bool, what| found.extend(is_so.then_some(what));
    let waits = delete.after_create;
    report(waits && before.is_none(), "that waits for a create that does not come before it");
    let Some(id) = delete.backup else {
        report(!waits, "of the new backup before it is complete");
        return found;
    };
    let Some(row) = records.get(id) else {
        report(true, "of a backup that is not there");
        return found;
    };
    report(row.tier.is_none(), "of an unmanaged backup");
    report(row.is_future_or_undated, "of a backup whose time cannot be believed");
    report(row.may_run, "of a backup that runs");
    report(records.is_on_broken_chain(row), "of a backup on the chain of a broken one");
    let outlives = waits && before.is_some();
    report(!row.may_run && records.may_run(row) && !outlives, "of a stuck backup that may still run");
    let is_needed = |child: &records::Row<'_>| child.may_run || (records.may_run(child) && !outlives);
    report(records.children(row).any(is_needed), "of the parent of a backup that runs");
    let hides = |row: &records::Row<'_>| {
        row.hides_its_parent() && (row.may_run || (records.may_run(row) && !outlives))
    };
    report(records.rows.iter().any(hides), "while a backup runs whose parent is not known");
    let is_parent = planned.is_some_and(|create| create.parent == Some(id));
    report(is_parent && !waits, "of the planned backup's parent before that is complete");
    report(records.is_only_copy(row) && !outlives, "of the only copy of its moment");
    found
}
