//! Projects a VM into the future: after all actions of a plan.

use super::changeset::{Action, BackupKind, Create};
use super::standing::{FUTURE_TOLERANCE, tells_files};
use crate::inventory::{Backup, BackupId, Disk, LocalState, RecordedState, StoredFile, Vm};
use chrono::{DateTime, TimeDelta, Utc};

/// A stored object that is all that a good backup's should be; its size stands for none.
pub(crate) const WHOLE: StoredFile =
    StoredFile { size_bytes: Some(u64::MAX), has_checksum: true, disk: Disk::Zone, sha1: None };

/// Returns the backup that a create makes at about that instant, as it will be when it has completed, with its snapshot.
///
/// It is newer than every other with a plausible timestamp, since FiFo stamps them all with one clock; its own is plausible. It
/// has size and checksum, where another backup has them.
pub(crate) fn new_backup(vm: &Vm, create: &Create, id: BackupId, now: DateTime<Utc>) -> Backup {
    let latest = now + FUTURE_TOLERANCE;
    let timestamps = vm.backups.values().filter_map(|backup| backup.timestamp);
    let newest = timestamps.filter(|&taken| taken <= latest).max();
    let after_newest = newest.map_or(now, |newest| latest.min(newest + TimeDelta::microseconds(1)));
    Backup {
        id,
        comment: Some(create.comment.as_str().into()),
        timestamp: Some(now.max(after_newest)),
        state: RecordedState::Completed,
        parent: create.parent,
        local: LocalState::Present,
        local_size_bytes: None,
        files: if tells_files(vm) { vec![WHOLE] } else { Vec::new() },
        record_size_bytes: None,
        has_record_checksum: false,
        is_broken: false,
    }
}

/// Takes a backup's snapshot off the hypervisor.
pub(crate) fn delete_locally(vm: &mut Vm, backup: BackupId) {
    if let Some(backup) = vm.backups.get_mut(backup) {
        (backup.local, backup.local_size_bytes) = (LocalState::Absent, Some(0));
    }
}

/// Returns the VM as it will be when all of these actions have been carried out and have gone well.
pub fn executed(vm: &Vm, actions: &[Action], new: BackupId, now: DateTime<Utc>) -> Vm {
    let mut vm = vm.clone();
    for action in actions {
        match action {
            Action::Create(create) => {
                let backup = new_backup(&vm, create, new, now);
                vm.backups.insert(backup);
            }
            Action::DeleteLocal(delete) => delete_locally(&mut vm, delete.backup.unwrap_or(new)),
            Action::DeleteCloud(delete) => vm.backups.remove(delete.backup),
        }
    }
    vm
}

/// Estimates the bytes of a planned backup by the newest completed one of the same VM, comment and type.
pub fn expected_upload_bytes(vm: &Vm, create: &Create) -> Option<u64> {
    let is_alike = |backup: &&Backup| {
        backup.comment.as_deref() == Some(&create.comment)
            && backup.parent.is_none() == (create.kind == BackupKind::Full)
            && backup.state == RecordedState::Completed
            && backup.size_bytes().is_some()
    };
    vm.backups.values().filter(is_alike).max_by_key(|backup| backup.timestamp)?.size_bytes()
}
