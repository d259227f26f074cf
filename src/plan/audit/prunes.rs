//! What must never be true of deletes from storage.

use super::records::{Records, Row};
use crate::inventory::{BackupId, RecordedState};
use crate::plan::changeset::{Action, VmPlan};
use crate::policy::Policy;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;

pub(super) fn broken(
    records: &Records<'_>,
    policy: &Policy,
    planned: &VmPlan,
    now: DateTime<Utc>,
    is_requested: bool,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut gone: BTreeSet<BackupId> = BTreeSet::new();
    let last_other = planned.actions.iter().rposition(|action| !action.is_cloud_delete());
    for (place, action) in planned.actions.iter().enumerate() {
        let Action::DeleteCloud(delete) = action else { continue };
        let mut report =
            |what: &str| found.push(format!("backup {}: a delete from storage {what}", delete.backup));
        if last_other > Some(place) {
            report("before a create or a local delete");
        }
        let Some(row) = records.get(delete.backup).filter(|_| gone.insert(delete.backup)) else {
            report("of a backup that is not there");
            continue;
        };
        must_stay(records, row, now).into_iter().for_each(&mut report);
        if records.children(row).any(|child| !gone.contains(&child.backup.id)) {
            report("while a backup that descends from it is there");
        }
    }
    if !gone.is_empty() {
        let held = if is_requested { hold(records, policy, now) } else { Some("without both switches") };
        let held = held.map(|why| format!("deletes from storage {why}"));
        found.extend(held.into_iter().chain(too_few_left(records, policy, &gone)));
    }
    found
}

/// Returns why nothing of the VM may be deleted from storage.
fn hold(records: &Records<'_>, policy: &Policy, now: DateTime<Utc>) -> Option<&'static str> {
    let is_ended = |row: &Row<'_>| row.backup.timestamp.is_some_and(|time| now - time >= TimeDelta::days(35));
    let hides = |row: &Row<'_>| {
        row.hides_its_parent() && !is_ended(row) && (records.may_run(row) || row.is_future_or_undated)
    };
    if !policy.prune {
        Some("without both switches")
    } else if records.rows.iter().any(|row| row.backup.timestamp.is_some() && hides(row)) {
        Some("while an accepted backup has not named its parent")
    } else if records.newest.and_then(|(time, _)| time).is_none_or(|newest| newest + policy.max_age < now) {
        Some("while the newest restorable backup is too old")
    } else {
        None
    }
}

/// Returns what forbids to delete a backup, whatever the plan says of its expiry.
fn must_stay(records: &Records<'_>, row: &Row<'_>, now: DateTime<Utc>) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut report = |is_so: bool, what| found.extend(is_so.then_some(what));
    let age = row.backup.timestamp.map_or_else(TimeDelta::zero, |time| now - time);
    let is_young_begun = matches!(row.backup.state, RecordedState::Accepted | RecordedState::Uploading)
        && age < TimeDelta::days(35);
    report(row.tier.is_none(), "of an unmanaged backup");
    report(row.is_future_or_undated, "of a backup whose time cannot be believed");
    report(is_young_begun, "of a backup that may still upload");
    report(matches!(row.backup.state, RecordedState::Other(_)), "of a backup in an unknown state");
    report(row.backup.holds_snapshot(), "of a backup that holds a snapshot");
    report(row.backup.local_size_bytes > Some(0), "of a backup with bytes on the hypervisor");
    report(records.is_on_broken_chain(row), "of a backup on the chain of a broken one");
    report(age < TimeDelta::hours(1), "of a backup that is less than an hour old");
    report(row.is_whole_by_word && !row.is_restorable, "of a backup that is whole by FiFo's word");
    report(!records.is_outlived(row), "of a backup with nothing newer that can be restored");
    found
}

/// Says what would be missing afterwards: an ancestor of what stays, or backups of a tier.
fn too_few_left(records: &Records<'_>, policy: &Policy, gone: &BTreeSet<BackupId>) -> Vec<String> {
    let stays = |row: &&Row<'_>| !gone.contains(&row.backup.id);
    let loses = |row: &Row<'_>| row.backup.parent.is_some_and(|parent| gone.contains(&parent));
    let broken = records.rows.iter().filter(|row| row.is_restorable).filter(stays).filter(|row| loses(row));
    let broken = broken.map(|row| format!("backup {}: it could not be restored any more", row.backup.id));
    let mut found: Vec<String> = broken.collect();
    for (place, tier) in policy.tiers.iter().enumerate() {
        let mut had: Vec<&Row<'_>> =
            records.rows.iter().filter(|row| row.counts() && row.tier == Some(place)).collect();
        had.sort_by_key(|row| std::cmp::Reverse(row.age()));
        let keep = tier.keep.map_or(usize::MAX, |keep| usize::try_from(keep.get()).unwrap_or(usize::MAX));
        if had.iter().take(keep).any(|row| gone.contains(&row.backup.id)) {
            found.push(format!("a {} that `keep` asks for would be gone", tier.name));
        }
    }
    found
}
