//! What readings of a VM must show by now.

use crate::inventory::{BackupId, RecordedState, Vm};
use std::collections::BTreeSet;

/// What readings must show by now; one that does not is old.
#[derive(Debug, Default)]
pub(in super::super) struct Known {
    /// Backups that are on record.
    pub(super) ids: BTreeSet<BackupId>,
    /// Backups that are gone.
    gone: BTreeSet<BackupId>,
    /// Backups that this run has made.
    pub(super) own: BTreeSet<BackupId>,
    /// Those of them that were seen complete.
    completed: BTreeSet<BackupId>,
}

impl Known {
    pub(super) fn of(ids: BTreeSet<BackupId>) -> Self {
        Self { ids, ..Self::default() }
    }

    pub(in super::super) fn own(&mut self, backup: BackupId) {
        self.ids.insert(backup);
        self.own.insert(backup);
    }

    pub(in super::super) fn complete(&mut self, backup: BackupId) {
        self.completed.insert(backup);
    }

    pub(in super::super) fn forget(&mut self, backup: BackupId) {
        self.ids.remove(&backup);
        self.gone.insert(backup);
    }

    pub(super) fn fits(&self, vm: &Vm) -> bool {
        self.ids.iter().all(|&id| vm.backups.contains(id))
            && !self.gone.iter().any(|&id| vm.backups.contains(id))
            && self
                .completed
                .iter()
                .all(|&id| vm.backups.get(id).is_some_and(|backup| backup.state == RecordedState::Completed))
    }

    /// Takes over what a list shows that is never old.
    pub(super) fn listed(&mut self, vm: &Vm) {
        self.ids = vm.backups.keys().collect();
        self.completed.retain(|id| vm.backups.contains(*id));
    }
}
