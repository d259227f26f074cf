//! Detects that backups have vanished after a local delete, however late FiFo executes it.

use crate::inventory::{BackupId, Vm};
use std::collections::BTreeSet;

/// What may not go any more once a VM's first local delete was sent.
#[derive(Default)]
pub(super) struct CascadeGuard {
    /// The backups whose local deletes were sent, in order.
    sent: Vec<BackupId>,
    /// Every backup that was on record when one was sent, or in a list since.
    ///
    /// Single readings are left out: one from a cache may still show what somebody took away long before.
    on_record: BTreeSet<BackupId>,
}

impl CascadeGuard {
    /// Notes that the local delete of a backup was sent, or may have been, when the VM was like this.
    pub(super) fn record_delete(&mut self, backup: BackupId, vm: &Vm) {
        self.sent.push(backup);
        self.record_list(vm);
    }

    /// Notes what a list shows.
    pub(super) fn record_list(&mut self, vm: &Vm) {
        self.on_record.extend(vm.backups.keys());
    }

    /// Leaves out what has been reported, so that the next reading does not report it again.
    pub(super) fn forget(&mut self, gone: &BTreeSet<BackupId>) {
        self.on_record.retain(|id| !gone.contains(id));
    }

    /// Gives what is missing from a reading.
    pub(super) fn missing_from(&self, vm: &Vm) -> BTreeSet<BackupId> {
        self.on_record.iter().copied().filter(|id| !vm.backups.contains_key(id)).collect()
    }

    /// Gives the delete that took them: the first one sent whose own backup is gone, else the last.
    pub(super) fn culprit(&self, gone: &BTreeSet<BackupId>) -> Option<BackupId> {
        self.sent.iter().find(|id| gone.contains(id)).or(self.sent.last()).copied()
    }
}
