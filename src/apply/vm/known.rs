//! What is known of a VM.

use crate::apply::reader::VmReading;
use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use chrono::TimeDelta;
use std::collections::BTreeSet;

/// What readings have shown, and what they must show by now: one that does not is old.
#[derive(Default)]
pub(crate) struct Known {
    /// The backups that the plan was made from.
    pub(super) planned_on: BTreeSet<BackupId>,
    ids: BTreeSet<BackupId>,
    gone: BTreeSet<BackupId>,
    /// Backups that this run has made, and those of them that were seen complete.
    pub(super) own: BTreeSet<BackupId>,
    completed: BTreeSet<BackupId>,
    /// The last reading that confirmed something: the next step needs no other one if it follows at once.
    pub(crate) fresh: Option<VmReading>,
    /// Whether the VM was compared with what the plan was made from.
    pub(super) has_compared: bool,
    /// Whether the list has shown the VM as its own reading does.
    pub(crate) is_listed: bool,
    /// The uploads that count as stuck, as they were when they were read for the first time in this run.
    pub(crate) stuck_before: Vec<Backup>,
    /// How far FiFo's clock was ahead of this machine's in the last answer with a date.
    pub(crate) server_ahead: Option<TimeDelta>,
}

impl Known {
    pub(super) fn of(ids: BTreeSet<BackupId>) -> Self {
        Self { planned_on: ids.clone(), ids, ..Self::default() }
    }

    pub(crate) fn own(&mut self, backup: BackupId) {
        self.ids.insert(backup);
        self.own.insert(backup);
    }

    pub(crate) fn complete(&mut self, backup: BackupId) {
        self.completed.insert(backup);
    }

    pub(crate) fn forget(&mut self, backup: BackupId) {
        self.ids.remove(&backup);
        self.gone.insert(backup);
    }

    pub(super) fn fits(&self, vm: &Vm) -> bool {
        let is_complete =
            |id: BackupId| vm.backups.get(id).is_some_and(|it| it.state == RecordedState::Completed);
        self.ids.iter().all(|&id| vm.backups.contains(id))
            && !self.gone.iter().any(|&id| vm.backups.contains(id))
            && self.completed.iter().all(|&id| is_complete(id))
    }

    /// Takes over what a list shows that is never old.
    pub(super) fn listed(&mut self, vm: &Vm) {
        self.ids = vm.backups.keys().collect();
        self.completed.retain(|id| vm.backups.contains(*id));
    }
}
