//! Conditions that mutation testing found no other test to notice.

use super::fixtures::{VmBuilder, backup_id, grandfather, mid_chain};
use crate::inventory::BackupId;
use crate::plan::NoteCode;

/// The backups that the plan of 17 November, 02:00, tells as expired.
fn expired(vm: &VmBuilder) -> Vec<BackupId> {
    let planned = vm.plan(&grandfather(), "2026-11-17 02:00");
    planned
        .notes
        .iter()
        .filter(|note| note.code == NoteCode::Expired)
        .filter_map(|note| note.backup)
        .collect()
}

#[test]
fn a_failed_backup_expires_only_when_a_newer_one_can_be_restored() {
    let older = mid_chain().backup(4, "daily", "2026-11-16 01:00").on(2).failed();
    assert_eq!(expired(&older), [backup_id(4)]);
    let newer = mid_chain().backup(4, "daily", "2026-11-17 01:30").on(3).failed();
    assert_eq!(expired(&newer), []);
}

#[test]
fn what_can_be_restored_and_is_beyond_no_keep_does_not_expire() {
    assert_eq!(expired(&mid_chain()), []);
}
