//! Noticing that backups have vanished after a local delete, however late FiFo carries it out.

use super::reader::ReadError;
use super::report::CascadeAlarm;
use super::worker::{StepError, VmWorker, could_not_read};
use crate::inventory::{BackupId, Vm};
use std::collections::BTreeSet;

/// What may not go any more once a VM's first local delete was sent.
pub(super) struct CascadeGuard {
    /// The backups whose local deletes were sent, in order.
    sent: Vec<BackupId>,
    /// Every backup that was on record when one was sent, or in a list since.
    ///
    /// Single readings are left out: one from a cache may still show what somebody took away long before.
    on_record: BTreeSet<BackupId>,
}

impl CascadeGuard {
    /// Gives what is missing from a reading.
    pub(super) fn missing_from(&self, vm: &Vm) -> BTreeSet<BackupId> {
        self.on_record.iter().copied().filter(|id| !vm.backups.contains_key(id)).collect()
    }

    /// Gives the delete that took them: the first one sent whose own backup is gone, else the last.
    fn culprit(&self, gone: &BTreeSet<BackupId>) -> Option<BackupId> {
        self.sent.iter().find(|id| gone.contains(id)).or(self.sent.last()).copied()
    }
}

impl VmWorker<'_> {
    /// Notes that the local delete of a backup was sent, or may have been, when the VM was like this.
    pub(super) fn guard_backups(&mut self, backup: BackupId, vm: &Vm) {
        let guard =
            self.guard.get_or_insert_with(|| CascadeGuard { sent: Vec::new(), on_record: BTreeSet::new() });
        guard.sent.push(backup);
        guard.on_record.extend(vm.backups.keys());
    }

    /// Says whether a reading lacks nothing that was there when a local delete was sent.
    pub(super) fn nothing_vanished(&self, vm: &Vm) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard.missing_from(vm).is_empty())
    }

    /// Reads the VM in the list, and raises the alarm when backups have gone since a local delete was sent.
    pub(super) async fn guarded_list(&mut self) -> Result<Result<Vm, ReadError>, StepError> {
        let vm = match self.context.reader.in_list(self.id).await {
            Ok(vm) => vm,
            Err(error) => return Ok(Err(error)),
        };
        let Some(guard) = &mut self.guard else { return Ok(Ok(vm)) };
        let gone = guard.missing_from(&vm);
        if gone.is_empty() {
            guard.on_record.extend(vm.backups.keys());
            return Ok(Ok(vm));
        }
        let Some(backup) = guard.culprit(&gone) else { return Ok(Ok(vm)) };
        // What has been told is not told again by the next look.
        guard.on_record.retain(|id| !gone.contains(id));
        let alarm = CascadeAlarm { at: self.at.clone(), backup, gone: gone.into_iter().collect() };
        self.context.raise_alarm(alarm.clone());
        Err(StepError::Alarm(alarm))
    }

    /// As [`VmWorker::guarded_list`], where a list that cannot be read ends the action.
    pub(super) async fn read_in_list(&mut self) -> Result<Vm, StepError> {
        self.guarded_list().await?.map_err(could_not_read)
    }
}
