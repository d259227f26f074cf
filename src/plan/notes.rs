//! What is told about a VM's backups and not done, in words.

use super::changeset::{Note, NoteCode};
use super::due::{CannotBackUp, cannot_back_up};
use super::standing::{BackupView, Standing, VmView};
use super::stored::expired;
use crate::inventory::{Backup, BackupId, LocalState, MissingFileInfo, Vm};
use crate::policy::minute_text;
use std::collections::BTreeSet;
use std::fmt;

impl Note {
    /// Makes a note about a VM.
    pub fn vm(code: NoteCode, message: impl Into<String>) -> Self {
        Self { code, backup: None, message: message.into() }
    }

    /// Makes a note about a backup.
    pub fn backup(code: NoteCode, backup: BackupId, message: impl Into<String>) -> Self {
        Self { code, backup: Some(backup), message: message.into() }
    }
}

/// Names a backup as people know it: `weekly of 2026-11-22 01:00`, and an unmanaged one by its comment.
///
/// Written only when it is shown: most backups never are.
pub(crate) fn name_of(view: &VmView<'_>, backup: &BackupView<'_>) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let taken = minute_text(view.policy.zone.moment(backup.taken));
        match backup.tier {
            Some(tier) => write!(f, "{} of {taken}", view.tier(tier).name),
            None => write!(f, "{} of {taken}", comment_text(backup.backup)),
        }
    })
}

fn comment_text(backup: &Backup) -> String {
    match backup.comment.as_deref() {
        None => "backup without a comment".to_owned(),
        Some("") => "backup with an empty comment".to_owned(),
        Some(comment) => format!("backup {comment:?}"),
    }
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

/// Tells what keeps a VM from being backed up, with the age of what there is.
pub(super) fn vm_note(view: &VmView<'_>) -> Option<Note> {
    let vm = view.vm;
    let (code, why) = match cannot_back_up(vm)? {
        CannotBackUp::NoHypervisor => {
            let state = if vm.state.is_empty() { "no state" } else { &vm.state };
            (NoteCode::NoHypervisor, format!("on no hypervisor ({state})"))
        }
        CannotBackUp::DelegatedDatasets => {
            (NoteCode::DelegatedDatasets, "has delegated datasets, which FiFo cannot back up".to_owned())
        }
        CannotBackUp::VmState => (NoteCode::VmState, format!("cannot be backed up while {}", state_text(vm))),
    };
    let newest = match view.newest_restorable() {
        Some(newest) => {
            format!("its newest restorable backup is the {}", name_of(view, newest))
        }
        None => "it has no restorable backup".to_owned(),
    };
    Some(Note::vm(code, format!("{why}; {newest}")))
}

fn state_text(vm: &Vm) -> String {
    match (vm.creating, vm.deleting, vm.state.as_str()) {
        (true, _, _) => "it is being created".to_owned(),
        (_, true, _) => "it is being deleted".to_owned(),
        (_, _, "") => "it has no state".to_owned(),
        (_, _, state) => format!("its state is {state:?}"),
    }
}

/// Tells everything worth telling about single backups, oldest backup first within each kind.
pub(super) fn backup_notes(view: &VmView<'_>) -> Vec<Note> {
    let mut notes: Vec<Note> = view
        .without_timestamp()
        .map(|backup| {
            let message = format!(
                "backup {} has no timestamp, probably because it was deleted during its upload; it is left alone",
                backup.id.short()
            );
            Note::backup(NoteCode::Unreadable, backup.id, message)
        })
        .collect();
    let expired: BTreeSet<BackupId> = expired(view).into_iter().collect();
    for backup in &view.backups {
        let name = name_of(view, backup);
        let mut tell = |code, message: String| notes.push(Note::backup(code, backup.id(), message));
        if backup.is_future_dated {
            tell(
                NoteCode::FutureTimestamp,
                format!("the timestamp of the {name} is in the future; it is ignored and left alone"),
            );
        }
        match backup.standing {
            Standing::InProgress => tell(NoteCode::InProgress, running_text(view, backup)),
            Standing::Unverified { is_overdue } => {
                let then = if is_overdue {
                    "it counts as failed".to_owned()
                } else {
                    let until = view.policy.zone.moment(backup.taken + view.policy.stuck_after);
                    format!("it counts as in progress until {}", minute_text(until))
                };
                let lacking = missing_file_info_text(backup.backup);
                tell(
                    NoteCode::Unverified,
                    format!("the {name} is marked as completed, but {lacking}; {then}"),
                );
            }
            Standing::Stuck => tell(
                NoteCode::Stuck,
                format!("the {name} did not end within `stuck_after`; it counts as failed"),
            ),
            Standing::Failed => tell(NoteCode::FailedBackup, format!("the {name} failed")),
            Standing::Hollow => {
                let size = backup
                    .backup
                    .size_bytes()
                    .map_or_else(String::new, |bytes| format!(" ({})", bytes_text(bytes)));
                tell(
                    NoteCode::Hollow,
                    format!("the {name} is marked as completed but nearly empty{size}; it counts as failed"),
                );
            }
            Standing::Completed if !backup.restorable => {
                tell(
                    NoteCode::Unrestorable,
                    format!(
                        "the {name} cannot be restored: a backup that it is based on is missing or not completed"
                    ),
                );
            }
            Standing::Completed => {}
        }
        if backup.backup.local == LocalState::Absent
            && let Some(bytes) = backup.backup.local_size_bytes.filter(|&bytes| bytes > 0)
        {
            tell(
                NoteCode::OrphanedSnapshot,
                format!(
                    "the snapshot of the {name} was deleted and still holds {} on the hypervisor",
                    bytes_text(bytes)
                ),
            );
        }
        if backup.tier.is_none() {
            tell(NoteCode::Unmanaged, format!("the {name} matches no tier and is left alone"));
        }
        if expired.contains(&backup.id()) {
            tell(
                NoteCode::Expired,
                format!("the {name} is no longer kept by its policy; nothing deletes it"),
            );
        }
    }
    // A stable sort: within a kind they stay in the order of age.
    notes.sort_by_key(|note| note.code);
    notes
}

/// Says what FiFo does not tell of a backup that it calls completed.
pub fn missing_file_info_text(backup: &Backup) -> &'static str {
    match backup.missing_file_info() {
        Some(MissingFileInfo::Files) => "FiFo lists no stored file, unlike for earlier backups",
        Some(MissingFileInfo::Size) => "FiFo reports no size for a stored file, unlike for earlier backups",
        Some(MissingFileInfo::Checksum) => {
            "FiFo reports no checksum for a stored file, unlike for earlier backups"
        }
        None => "it could not be checked",
    }
}

fn running_text(view: &VmView<'_>, backup: &BackupView<'_>) -> String {
    let what = match backup.tier {
        Some(tier) => format!("a {}", view.tier(tier).name),
        None => format!("the {}", comment_text(backup.backup)),
    };
    let since = minute_text(view.policy.zone.moment(backup.taken));
    match backup.backup.size_bytes() {
        Some(bytes) if bytes > 0 => {
            format!("{what} has been uploading since {since}, {} so far", bytes_text(bytes))
        }
        _ => format!("{what} has been running since {since}"),
    }
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
