//! The notes on a VM's backups, and what keeps it from being backed up.

use super::due::{CannotBackUp, cannot_back_up};
use super::note::{BackupLabel, BackupName, BlockingState, ExpiredBackups, Note, NoteKind};
use super::prune::Expired;
use super::standing::{BackupView, Standing, VmView, lacks, tells_files};
use crate::inventory::{BackupId, LocalState, Vm};
use crate::policy::TierIndex;
use std::collections::{BTreeMap, BTreeSet};

/// Names a backup.
pub(crate) fn name_of(view: &VmView<'_>, backup: &BackupView<'_>) -> BackupName {
    let label = match backup.tier {
        Some(tier) => BackupLabel::Tier(view.tier(tier).name.clone()),
        None => BackupLabel::Comment(backup.backup.comment.as_deref().map(str::to_owned)),
    };
    BackupName { label, taken: view.policy.display_zone.moment(backup.taken) }
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
    let vm = view.vm;
    let why = cannot_back_up(vm)?;
    let newest = view.newest_restorable().map(|newest| Box::new(name_of(view, newest)));
    Some(Note::vm(match why {
        CannotBackUp::NoHypervisor => NoteKind::NoHypervisor { state: vm.state.clone(), newest },
        CannotBackUp::DelegatedDatasets => NoteKind::DelegatedDatasets { newest },
        CannotBackUp::VmState => NoteKind::VmState { state: blocking_state(vm), newest },
    }))
}

fn blocking_state(vm: &Vm) -> BlockingState {
    match (vm.creating, vm.deleting) {
        (true, _) => BlockingState::Creating,
        (_, true) => BlockingState::Deleting,
        (false, false) => BlockingState::Other(vm.state.clone()),
    }
}

/// Returns everything worth reporting about single backups, oldest backup first within each kind.
pub(super) fn backup_notes(view: &VmView<'_>, expired: &Expired<'_, '_>) -> Vec<Note> {
    let unreadable = view.without_timestamp();
    let mut notes: Vec<Note> =
        unreadable.map(|backup| Note::backup(backup.id, NoteKind::NoTimestamp(backup.id))).collect();
    let tells_files = tells_files(view.vm);
    for backup in &view.backups {
        let name = || Box::new(name_of(view, backup));
        let mut note = |kind| notes.push(Note::backup(backup.id(), kind));
        if backup.is_future_dated {
            let is_waited_for = backup.is_dated_ahead(view.now);
            note(NoteKind::FutureTimestamp { backup: name(), is_waited_for });
        }
        standing_note(view, backup, tells_files).into_iter().for_each(&mut note);
        if backup.backup.local == LocalState::Absent
            && let Some(size_bytes) = backup.backup.local_size_bytes.filter(|&bytes| bytes > 0)
        {
            note(NoteKind::OrphanedSnapshot { backup: name(), size_bytes });
        }
        if backup.tier.is_none() {
            note(NoteKind::Unmanaged(name()));
        }
    }
    notes.extend(expired.over_limit.map(|over| Note::vm(NoteKind::OverPruneLimit(over))));
    notes.extend(expired_notes(view, expired));
    // A stable sort: within a kind they stay in the order of age.
    notes.sort_by_key(Note::code);
    notes
}

/// Counts what has expired of each tier and is not deleted, coarsest first: where `keep` is short these are most of the
/// backups there are.
fn expired_notes(view: &VmView<'_>, expired: &Expired<'_, '_>) -> Vec<Note> {
    let deleted: BTreeSet<BackupId> = expired.deletes.iter().map(|backup| backup.id()).collect();
    let mut by_tier: BTreeMap<TierIndex, ExpiredBackups> = BTreeMap::new();
    for backup in expired.backups.iter().filter(|backup| !deleted.contains(&backup.id())) {
        // What is of no tier never expires.
        let Some(tier) = backup.tier else { continue };
        let of_tier = by_tier.entry(tier).or_insert_with(|| ExpiredBackups {
            tier: view.tier(tier).name.clone(),
            count: 0,
            size_bytes: 0,
            oldest: view.policy.display_zone.moment(backup.taken),
            hold: expired.hold,
        });
        of_tier.count += 1;
        of_tier.size_bytes = of_tier.size_bytes.saturating_add(backup.backup.size_bytes().unwrap_or(0));
    }
    by_tier.into_values().map(|expired| Note::vm(NoteKind::Expired(expired))).collect()
}

/// Gives what is to be reported of how a backup stands; `None` for one that can be restored.
fn standing_note(view: &VmView<'_>, backup: &BackupView<'_>, tells_files: bool) -> Option<NoteKind> {
    let name = || Box::new(name_of(view, backup));
    let size_bytes = || backup.backup.size_bytes();
    let unverified = |in_progress_until| NoteKind::Unverified {
        backup: name(),
        missing: lacks(backup.backup),
        in_progress_until,
    };
    Some(match backup.standing {
        Standing::InProgress => NoteKind::InProgress { backup: name(), size_bytes: size_bytes() },
        Standing::Unverified => {
            let until = view.policy.display_zone.moment(backup.taken + view.policy.stuck_after);
            unverified(Some(until))
        }
        Standing::Stuck => NoteKind::Stuck(name()),
        Standing::Failed => NoteKind::FailedBackup(name()),
        Standing::Hollow => NoteKind::Hollow { backup: name(), size_bytes: size_bytes() },
        Standing::Completed if !backup.restorable => NoteKind::Unrestorable(name()),
        Standing::Completed if tells_files && lacks(backup.backup).is_some() => unverified(None),
        Standing::Completed => return None,
    })
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
