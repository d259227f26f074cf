//! The notes on a VM's backups, and what keeps it from being backed up.

use super::due::cannot_back_up;
use super::note::{Note, NoteCode};
use super::prune::{Expired, PruneHold};
use super::standing::{BackupView, Standing, VmView, lacks, tells_files};
use crate::inventory::{BackupId, LocalState};
use crate::policy::{TierIndex, minute_text};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// Names a backup: `weekly of 2026-11-22 01:00`, and one of no tier by its comment.
pub(crate) fn name_of(view: &VmView<'_>, backup: &BackupView<'_>) -> String {
    format!("{} of {}", label_of(view, backup), time_text(view, backup.taken))
}

fn label_of(view: &VmView<'_>, backup: &BackupView<'_>) -> String {
    match (backup.tier, backup.backup.comment.as_deref()) {
        (Some(tier), _) => view.tier(tier).name.to_string(),
        (None, None) => "backup without a comment".to_owned(),
        (None, Some("")) => "backup with an empty comment".to_owned(),
        (None, Some(comment)) => format!("backup {comment:?}"),
    }
}

pub(crate) fn newest_text(keep: u32) -> String {
    match keep {
        1 => "the newest of its tier".to_owned(),
        keep => format!("one of the {keep} newest of its tier"),
    }
}

/// Writes an instant in the zone in which times are shown.
pub(crate) fn time_text(view: &VmView<'_>, instant: DateTime<Utc>) -> String {
    minute_text(view.zone.moment(instant))
}

/// Writes a number of bytes with a binary unit: `3.1 GiB`.
pub fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Returns what keeps a VM from being backed up, with its newest restorable backup.
pub(super) fn vm_note(view: &VmView<'_>) -> Option<Note> {
    let (code, why) = cannot_back_up(view.vm)?;
    let newest = view.newest_restorable().map_or_else(
        || "it has no restorable backup".to_owned(),
        |newest| format!("its newest restorable backup is the {}", name_of(view, newest)),
    );
    Some(Note::vm(code, format!("{why}; {newest}")))
}

/// Returns everything worth reporting about single backups, oldest backup first within each kind.
pub(super) fn backup_notes(view: &VmView<'_>, expired: &Expired<'_, '_>) -> Vec<Note> {
    let unreadable = view.without_timestamp().map(|backup| {
        let text = format!(
            "backup {} has no timestamp, probably because it was deleted during its upload; it is left alone",
            backup.id.short()
        );
        Note::backup(backup.id, NoteCode::Unreadable, text)
    });
    let mut notes: Vec<Note> = unreadable.collect();
    let tells_files = tells_files(view.vm);
    for backup in &view.backups {
        let name = || name_of(view, backup);
        let mut note = |code, message| notes.push(Note::backup(backup.id(), code, message));
        if backup.is_future_dated {
            let what = match backup.is_dated_ahead(view.now) {
                true => "no backup is created until then, since clocks differ",
                false => "it is ignored and left alone",
            };
            let text = format!("the timestamp of the {} is in the future; {what}", name());
            note(NoteCode::FutureTimestamp, text);
        }
        let held = backup.backup.local_size_bytes.unwrap_or(0);
        if backup.backup.local == LocalState::Absent && held > 0 {
            let (name, held) = (name(), bytes_text(held));
            let text =
                format!("the snapshot of the {name} was deleted and still holds {held} on the hypervisor");
            note(NoteCode::OrphanedSnapshot, text);
        }
        if backup.tier.is_none() {
            note(NoteCode::Unmanaged, format!("the {} matches no tier and is left alone", name()));
        }
        notes.extend(standing_note(view, backup, tells_files));
    }
    if let PruneHold::OverLimit(expired, limit) = expired.hold {
        let text = format!(
            "{expired} stored backups would be expired even without those of the last 8 days (limit {limit}), so none is \
             deleted from storage; --allow-mass-prune {expired} lets them go"
        );
        notes.push(Note::vm(NoteCode::OverPruneLimit, text));
    }
    notes.extend(expired_notes(view, expired));
    // A stable sort: within a kind they stay in the order of age.
    notes.sort_by_key(|note| note.code);
    notes
}

/// Counts what has expired of each tier and is not deleted, coarsest first.
fn expired_notes(view: &VmView<'_>, expired: &Expired<'_, '_>) -> Vec<Note> {
    let deleted: BTreeSet<BackupId> = expired.deletes.iter().map(|backup| backup.id()).collect();
    let mut by_tier: BTreeMap<TierIndex, (u32, u64, DateTime<Utc>)> = BTreeMap::new();
    for backup in expired.backups.iter().filter(|backup| !deleted.contains(&backup.id())) {
        let Some(tier) = backup.tier else { continue };
        let (count, bytes, _) = by_tier.entry(tier).or_insert((0, 0, backup.taken));
        *count += 1;
        *bytes = bytes.saturating_add(backup.backup.size_bytes().unwrap_or(0));
    }
    let note = |(tier, (count, bytes, oldest)): (TierIndex, (u32, u64, DateTime<Utc>))| {
        let (tier, oldest, hold) = (&view.tier(tier).name, time_text(view, oldest), expired.hold);
        let size = if bytes > 0 { format!(" ({})", bytes_text(bytes)) } else { String::new() };
        let text = match count {
            1 => format!("1 {tier} backup of {oldest}{size} is no longer kept by the policy; {hold}"),
            _ => format!(
                "{count} {tier} backups since {oldest}{size} are no longer kept by the policy; {hold}"
            ),
        };
        Note::vm(NoteCode::Expired, text)
    };
    by_tier.into_iter().map(note).collect()
}

/// Gives what is to be reported of how a backup stands; `None` for one that can be restored.
fn standing_note(view: &VmView<'_>, backup: &BackupView<'_>, tells_files: bool) -> Option<Note> {
    let is_unverified = tells_files && lacks(backup.backup).is_some();
    if backup.is_restorable() && !is_unverified {
        return None;
    }
    let name = name_of(view, backup);
    let (code, text) = match backup.standing {
        Standing::InProgress => {
            let article = if backup.tier.is_some() { "a" } else { "the" };
            let (label, since) = (label_of(view, backup), time_text(view, backup.taken));
            let text = match backup.backup.size_bytes().filter(|&bytes| bytes > 0).map(bytes_text) {
                Some(bytes) => format!("{article} {label} has been uploading since {since}, {bytes} so far"),
                None => format!("{article} {label} has been running since {since}"),
            };
            (NoteCode::InProgress, text)
        }
        Standing::Unverified => {
            let until = time_text(view, backup.taken + view.policy.stuck_after);
            unverified(&name, backup, &format!("in progress until {until}"))
        }
        Standing::Restorable | Standing::Unreadable => unverified(&name, backup, "completed"),
        Standing::Unrestorable => {
            let why = if backup.is_on_broken_chain { "broken" } else { "missing or not completed" };
            let text = format!("the {name} cannot be restored: a backup that it is based on is {why}");
            (NoteCode::Unrestorable, text)
        }
        Standing::Broken => (NoteCode::Broken, format!("the {name} is broken in storage")),
        Standing::Stuck => {
            (NoteCode::Stuck, format!("the {name} did not end within `stuck_after`; it counts as failed"))
        }
        Standing::Failed => (NoteCode::FailedBackup, format!("the {name} failed")),
        Standing::Hollow => {
            let size = backup.backup.size_bytes();
            let size = size.map_or_else(String::new, |bytes| format!(" ({})", bytes_text(bytes)));
            let text =
                format!("the {name} is marked as completed but nearly empty{size}; it counts as failed");
            (NoteCode::Hollow, text)
        }
    };
    let mut note = Note::backup(backup.id(), code, text);
    let is_lost = matches!(code, NoteCode::FailedBackup | NoteCode::Hollow | NoteCode::Unrestorable);
    if is_lost && view.newest_restorable().is_some_and(|newest| newest.taken > backup.taken) {
        note.advice = Some("no action: a newer backup is good");
    }
    Some(note)
}

fn unverified(name: &str, backup: &BackupView<'_>, counts_as: &str) -> (NoteCode, String) {
    let lacks = lacks(backup.backup).unwrap_or("checksum");
    let missing = format!("FiFo reports no {lacks} for a stored file, unlike for earlier backups");
    let text = format!("the {name} is marked as completed, but {missing}; it counts as {counts_as}");
    (NoteCode::Unverified, text)
}

#[cfg(test)]
mod tests {
    use super::bytes_text;

    #[test]
    fn bytes_are_written_in_the_largest_unit_that_fits() {
        let texts = [0, 1023, 1024, 1536, 3_328_599_654, u64::MAX].map(bytes_text);
        assert_eq!(texts, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "3.0 GiB", "16777215.9 TiB"]);
    }
}
