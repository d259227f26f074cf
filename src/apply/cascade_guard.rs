//! Detects that backups have vanished after a local delete, however late FiFo executes it.

use crate::inventory::{BackupId, Vm};
use std::collections::BTreeSet;

/// The backups that must stay after a VM's first local delete was sent.
#[derive(Default)]
pub(super) struct CascadeGuard {
    /// The backups whose local deletes were sent, in order.
    sent: Vec<BackupId>,
    /// Every backup that was on record when one was sent, or that a list has shown since.
    ///
    /// Single readings are left out: one from a cache may still show what was deleted long before.
    on_record: BTreeSet<BackupId>,
}

impl CascadeGuard {
    /// Records that the local delete of a backup was sent, or may have been, with the VM as it was then.
    pub(super) fn record_delete(&mut self, backup: BackupId, vm: &Vm) {
        self.sent.push(backup);
        self.record_list(vm);
    }

    /// Records what a list shows.
    pub(super) fn record_list(&mut self, vm: &Vm) {
        self.on_record.extend(vm.backups.keys());
    }

    /// Removes what has been reported, so that the next reading does not report it again.
    pub(super) fn forget(&mut self, gone: &BTreeSet<BackupId>) {
        self.on_record.retain(|id| !gone.contains(id));
    }

    /// Returns what is missing from a reading.
    pub(super) fn missing_from(&self, vm: &Vm) -> BTreeSet<BackupId> {
        self.on_record.iter().copied().filter(|id| !vm.backups.contains(*id)).collect()
    }

    /// Returns the delete that caused it: the first one sent whose own backup is gone, else the last.
    pub(super) fn culprit(&self, gone: &BTreeSet<BackupId>) -> Option<BackupId> {
        self.sent.iter().find(|id| gone.contains(id)).or(self.sent.last()).copied()
    }
}
