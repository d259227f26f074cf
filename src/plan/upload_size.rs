//! How large a new backup is likely to be.

use super::changeset::{BackupKind, Create};
use crate::inventory::{Backup, RecordedState, Vm};

/// Estimates the bytes of a planned backup: as many as the newest completed one of the same VM, comment and type has.
/// `None` where there is none.
pub fn expected_upload_bytes(vm: &Vm, create: &Create) -> Option<u64> {
    let is_alike = |backup: &&Backup| {
        backup.comment.as_deref() == Some(&create.comment)
            && backup.parent.is_none() == (create.kind == BackupKind::Full)
            && backup.state == RecordedState::Completed
            && backup.size_bytes().is_some()
    };
    vm.backups.values().filter(is_alike).max_by_key(|backup| backup.timestamp)?.size_bytes()
}
