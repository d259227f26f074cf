//! Projects a VM into the future: after a create, after a local delete, after all actions of a plan.

use super::changeset::{Action, Create};
use super::standing::{FUTURE_TOLERANCE, tells_files};
use crate::inventory::{Backup, BackupId, Disk, LocalState, RecordedState, StoredFile, Vm};
use chrono::{DateTime, TimeDelta, Utc};

/// Returns the VM as it will be when a create has completed at about that instant and its snapshot is still there.
///
/// The new backup is newer than every other with a plausible timestamp, since FiFo stamps them all with one clock;
/// its own is plausible.
pub fn created(vm: &Vm, create: &Create, id: BackupId, now: DateTime<Utc>) -> Vm {
    with(vm, new_backup(vm, create, id, now))
}

/// Returns a VM with one more backup.
pub(super) fn with(vm: &Vm, backup: Backup) -> Vm {
    let mut vm = vm.clone();
    vm.backups.insert(backup);
    vm
}

/// Returns the backup that a create makes at about that instant, as it will be when it has completed.
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
        files: files_as_told(vm),
        record_size_bytes: None,
        has_record_checksum: false,
    }
}

/// A stored object that is all that a good backup's should be; its size stands for none.
pub(crate) const WHOLE: StoredFile =
    StoredFile { size_bytes: Some(u64::MAX), has_checksum: true, disk: Disk::Zone, sha1: None };

/// Returns a good backup's files as this FiFo records them: with size and checksum, where another backup has them.
fn files_as_told(vm: &Vm) -> Vec<StoredFile> {
    if tells_files(vm) { vec![WHOLE] } else { Vec::new() }
}

/// Returns the VM as it will be when a snapshot has been deleted from the hypervisor.
pub fn deleted_locally(vm: &Vm, backup: BackupId) -> Vm {
    let mut vm = vm.clone();
    if let Some(backup) = vm.backups.get_mut(backup) {
        backup.local = LocalState::Absent;
        backup.local_size_bytes = Some(0);
    }
    vm
}

/// Returns the VM as it will be when a backup from which nothing descends has been deleted from storage.
pub fn deleted_from_storage(vm: &Vm, backup: BackupId) -> Vm {
    let mut vm = vm.clone();
    vm.backups.remove(backup);
    vm
}

/// Returns the VM as it will be when all of these actions have been carried out and have gone well.
pub fn executed(vm: &Vm, actions: &[Action], new: BackupId, now: DateTime<Utc>) -> Vm {
    actions.iter().fold(vm.clone(), |vm, action| match action {
        Action::Create(create) => created(&vm, create, new, now),
        Action::DeleteLocal(delete) => deleted_locally(&vm, delete.backup.unwrap_or(new)),
        Action::DeleteCloud(delete) => deleted_from_storage(&vm, delete.backup),
    })
}
