//! What must never be true of local deletes, or of their absence.

use super::case::AuditCase;
use super::records::Row;
use crate::inventory::BackupId;
use crate::plan::changeset::{Create, DeleteLocal};
use std::collections::HashSet;
use uuid::Uuid;

/// The id that the new backup is given here; no backup of FiFo's has it.
pub(super) const NEW_BACKUP: BackupId = BackupId::new(Uuid::max());

/// Names a backup in what is reported.
pub(super) fn name_of(id: BackupId) -> String {
    if id == NEW_BACKUP { "the new backup".to_owned() } else { format!("backup {id}") }
}

/// Finds what is wrong with a local delete; `after` is the VM as it will be when the create that it waits for has
/// completed.
pub(super) fn delete_broken(
    case: &AuditCase<'_>,
    delete: &DeleteLocal,
    create: Option<(&Create, &AuditCase<'_>)>,
) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut report = |what| found.push(what);
    let judged = match create {
        Some((_, after)) if delete.after_create => after,
        _ => case,
    };
    // Of the backup that is not there yet only the VM with it can tell.
    let Some(row) = delete.backup.map_or_else(|| judged.get(NEW_BACKUP), |id| case.get(id)) else {
        report("a local delete of a backup that is not there");
        return found;
    };
    let Some(tier) = row.tier else {
        report("a local delete of an unmanaged backup");
        return found;
    };
    if *case.policy.tiers[tier].name != *delete.tier {
        report("it is shown under another tier than its own");
    }
    if delete.backup.and(row.backup.timestamp) != delete.taken.map(|taken| taken.to_utc()) {
        report("it is shown with another time than its own");
    }
    if row.is_future_or_undated {
        report("a local delete of a backup whose time cannot be believed");
    }
    if !row.is_on_hypervisor() {
        report("a local delete of a backup that is not local");
    }
    if judged.a_parent_is_unknown() {
        report("a local delete while a backup runs whose parent is not known yet");
    }
    // Checked on the VM as it is for immediate deletes, and on the VM with the new backup for later ones.
    match create {
        Some((_, after)) if delete.after_create => {
            let then = after.get(row.backup.id);
            then.into_iter().flat_map(|then| still_wanted(after, then)).for_each(&mut report);
            let is_there = delete.backup.is_some();
            if is_there && still_wanted(case, row).is_empty() && !case.a_parent_is_unknown() {
                report("a local delete put off although nothing needs the snapshot now");
            }
        }
        _ => still_wanted(case, row).into_iter().for_each(&mut report),
    }
    match create {
        None if delete.after_create => report("a local delete after a create that is not planned"),
        Some((create, _)) if create.parent == Some(row.backup.id) && !delete.after_create => {
            report("a local delete of the create's parent before it");
        }
        _ => {}
    }
    found
}

/// Returns the reasons for which a snapshot must stay where it is.
fn still_wanted(case: &AuditCase<'_>, row: &Row<'_>) -> Vec<&'static str> {
    let mut found = Vec::new();
    if (0..case.policy.tiers.len()).any(|tier| case.is_best_parent(row, tier)) {
        found.push("a local delete of the next increment's parent");
    }
    if case.is_kept_by_keep_local(row) {
        found.push("a local delete of one of those that `keep_local` asks for");
    }
    if case.is_the_newest_lost(row) {
        found.push("a local delete of the only copy of its moment");
    }
    if row.may_run {
        found.push("a local delete of a backup that runs");
    }
    if case.may_still_run(row) {
        found.push("a local delete of a stuck backup that may still run");
    }
    if case.children(row).any(|child| child.may_run) {
        found.push("a local delete of the parent of a backup that runs");
    }
    if case.children(row).any(|child| !child.may_run && case.may_still_run(child)) {
        found.push("a local delete of the parent of a stuck backup that may still run");
    }
    found
}

/// Finds the snapshots that would stay without a reason: quota that is never freed. `end` is the VM with the
/// new backup, where one is made.
pub(super) fn kept_without_reason(
    case: &AuditCase<'_>,
    end: &AuditCase<'_>,
    deleted: &HashSet<BackupId>,
) -> Vec<String> {
    if !case.can_be_backed_up() || end.a_parent_is_unknown() {
        return Vec::new();
    }
    end.all()
        .filter(|row| row.holds_a_snapshot_of_ours() && !deleted.contains(&row.backup.id))
        .filter(|row| still_wanted(end, row).is_empty())
        .map(|row| format!("{}: its snapshot would stay without a reason", name_of(row.backup.id)))
        .collect()
}

/// Says that more snapshots would stay than the scheme ever needs: one an incremental tier, what `keep_local` asks for,
/// one lost, and those that run or may be running with their parents.
pub(super) fn too_many_kept(
    case: &AuditCase<'_>,
    end: &AuditCase<'_>,
    deleted: &HashSet<BackupId>,
) -> Option<String> {
    if !case.can_be_backed_up() || case.a_parent_is_unknown() {
        return None;
    }
    let kept = end.all().filter(|row| row.holds_a_snapshot_of_ours() && !deleted.contains(&row.backup.id));
    let kept = kept.count();
    let incremental = case.policy.tiers.iter().filter(|tier| tier.kind.parents().is_some()).count();
    let keep_local: usize = case.policy.tiers.iter().map(|tier| tier.keep_local as usize).sum();
    let running = case.all().filter(|row| row.may_run || case.may_still_run(row));
    let allowed = incremental + keep_local + 2 * running.count() + 1;
    (kept > allowed).then(|| format!("{kept} snapshots would stay where at most {allowed} are needed"))
}
