//! What must never be true of what is planned for one VM.

use super::case::{AuditCase, TierState};
use super::creates::{create_broken, nothing_created_although_due};
use super::deletes::{NEW_BACKUP, delete_broken, kept_without_reason, name_of, too_many_kept};
use super::prunes::prunes_broken;
use crate::inventory::BackupId;
use crate::plan::changeset::{Action, Create, DeleteLocal, Status, VmPlan};
use crate::plan::note::NoteCode;
use crate::plan::projection;
use std::collections::HashSet;

/// Finds every rule that is broken by what is planned for a VM.
pub(super) fn broken(case: &AuditCase<'_>, planned: &VmPlan) -> Vec<String> {
    let mut found = frame_broken(case, planned);
    let mut creates: Vec<(usize, &Create)> = Vec::new();
    let mut deletes: Vec<(usize, &DeleteLocal)> = Vec::new();
    for (place, action) in planned.actions.iter().enumerate() {
        match action {
            Action::Create(create) => creates.push((place, create)),
            Action::DeleteLocal(delete) => deletes.push((place, delete)),
            Action::DeleteCloud(_) => {} // See `prunes_broken`.
        }
    }
    if creates.len() > 1 {
        found.push("more than one create".to_owned());
    }
    let create = creates.first().map(|&(_, create)| create);
    let vm_after = create.map(|create| projection::created(case.vm, create, NEW_BACKUP, case.now));
    let after = vm_after.as_ref().map(|vm| case.with(vm));
    let create = create.zip(after.as_ref());
    match create {
        Some((create, _)) => found.extend(create_broken(case, create)),
        None => found.extend(nothing_created_although_due(case)),
    }

    let mut deleted: HashSet<BackupId> = HashSet::new();
    for &(place, delete) in &deletes {
        let id = delete.backup.unwrap_or(NEW_BACKUP);
        let name = name_of(id);
        if !deleted.insert(id) {
            found.push(format!("{name} is deleted twice"));
        }
        if creates.iter().any(|&(create, _)| (create < place) != delete.after_create) {
            found.push(format!("{name}: its local delete and the create are out of order"));
        }
        let later = &planned.actions[place + 1..];
        if delete.backup.is_none() && later.iter().any(|action| !action.is_cloud_delete()) {
            found.push(format!("{name}: its local delete is not the last one"));
        }
        let broken = delete_broken(case, delete, create);
        found.extend(broken.into_iter().map(|what| format!("{name}: {what}")));
    }
    let end = after.as_ref().unwrap_or(case);
    found.extend(kept_without_reason(case, end, &deleted));
    found.extend(too_many_kept(case, end, &deleted));
    found.extend(prunes_broken(case, planned));
    found
}

/// Finds what is wrong with the policy, the status and the suspension that are shown.
fn frame_broken(case: &AuditCase<'_>, planned: &VmPlan) -> Vec<String> {
    let mut found = Vec::new();
    if !planned.actions.is_empty() && !case.can_be_backed_up() {
        found.push("something is planned while it cannot be backed up".to_owned());
    }
    if planned.policy.as_ref() != Some(&case.policy.name) {
        found.push("it is planned under another policy than its own".to_owned());
    }
    let status = if planned.actions.is_empty() { idle_status(case) } else { Status::Changes };
    if planned.status != status {
        found.push(format!("its status is {:?} where it is {status:?}", planned.status));
    }
    let has_given_up =
        case.can_be_backed_up() && (0..case.policy.tiers.len()).any(|tier| case.has_given_up(tier));
    if has_given_up != planned.note(NoteCode::GaveUp).is_some() {
        found.push("attempts are reported as given up and are not, or the other way round".to_owned());
    }
    let (mut snapshots, mut bytes) = (0, 0_u64);
    for row in case.all().filter(|row| row.tier.is_none() && row.is_on_hypervisor()) {
        snapshots += 1;
        bytes = bytes.saturating_add(row.backup.local_size_bytes.unwrap_or(0));
    }
    if (planned.unmanaged.snapshots, planned.unmanaged.size_bytes) != (snapshots, bytes) {
        found.push("its unmanaged snapshots are miscounted".to_owned());
    }
    // What holds back the actions has to be what the policy says now, and has to be noted for people.
    let expected = case.policy.suspend.as_ref();
    let expected = expected.filter(|suspend| suspend.is_for(case.vm) && case.now < suspend.until_instant);
    let shown = planned.suspended.as_ref();
    if shown.map(|shown| (shown.until, shown.reason.as_str()))
        != expected.map(|suspend| (suspend.until, suspend.reason.as_str()))
        || planned.note(NoteCode::Suspended).is_some() != expected.is_some()
    {
        found.push("it is shown as suspended and is not, or the other way round".to_owned());
    }
    found
}

/// Says how a VM stands for which nothing is to be done.
fn idle_status(case: &AuditCase<'_>) -> Status {
    let prospects: Vec<TierState> = (0..case.policy.tiers.len()).map(|tier| case.tier_state(tier)).collect();
    let something_is_due = prospects.iter().any(|&tier_state| tier_state != TierState::NothingDue);
    if something_is_due && !case.can_be_backed_up() {
        Status::Blocked
    } else if case.something_runs() {
        Status::Waiting
    } else if !something_is_due {
        Status::UpToDate
    } else if prospects.contains(&TierState::Pausing) {
        Status::Waiting
    } else {
        Status::Blocked
    }
}
