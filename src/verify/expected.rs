//! Which objects FiFo's records promise.

use crate::inventory::{Backup, BackupId, Disk, RecordedState, Vm, VmId};
use std::collections::BTreeSet;

/// An object that a completed backup has according to its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) vm: VmId,
    pub(super) backup: BackupId,
    pub(super) parent: Option<BackupId>,
    pub(super) disk: Disk,
    /// The zone's configuration, and no stream.
    pub(super) is_xml: bool,
    pub(super) size_bytes: Option<u64>,
    pub(super) sha1: Option<[u8; 20]>,
}

impl Expected {
    /// Returns its name without the VM's.
    pub(super) fn file(&self) -> String {
        if self.is_xml {
            format!("{}.xml", self.backup)
        } else {
            format!("{}{}", self.backup, self.disk.suffix())
        }
    }

    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.vm, self.file())
    }

    /// Returns the snapshot that its stream has to be of.
    pub(super) fn snapshot(&self) -> String {
        format!("zones/{}{}@{}", self.vm, self.disk.suffix(), self.backup)
    }
}

pub(super) fn expected(vm: &Vm) -> Vec<Expected> {
    vm.backups
        .values()
        .filter(|backup| is_stored(backup))
        .flat_map(|backup| of_backup(vm.id, backup))
        .collect()
}

/// Says whether FiFo calls a backup stored.
pub(super) fn is_stored(backup: &Backup) -> bool {
    backup.state == RecordedState::Completed
}

pub(super) fn of_backup(vm: VmId, backup: &Backup) -> Vec<Expected> {
    let stream = |disk, size_bytes, sha1| Expected {
        vm,
        backup: backup.id,
        parent: backup.parent,
        disk,
        is_xml: false,
        size_bytes,
        sha1,
    };
    let mut objects: Vec<Expected> = match backup.files.as_slice() {
        [] => vec![stream(Disk::Zone, None, None)],
        // FiFo before 2016 has the size at the record's top level.
        [file] => vec![stream(file.disk, file.size_bytes.or(backup.record_size_bytes), file.sha1)],
        files => files.iter().map(|file| stream(file.disk, file.size_bytes, file.sha1)).collect(),
    };
    // A name of another form than FiFo's cannot be told; that it is not there says nothing.
    let mut seen = BTreeSet::new();
    objects.retain(|object| object.disk != Disk::Unknown && seen.insert(object.disk));
    // FiFo from 2016 on always stores the configuration.
    let is_new =
        backup.record_size_bytes.is_none() && !backup.has_record_checksum && !backup.files.is_empty();
    if is_new {
        objects.push(Expected { is_xml: true, ..stream(Disk::Zone, None, None) });
    }
    objects
}
