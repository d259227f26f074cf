//! Detects that backups have vanished that were not to be deleted, however late FiFo executes a delete.

use super::action::DeleteKind;
use crate::inventory::{BackupId, Vm};
use std::collections::BTreeSet;

/// The backups that must stay after a VM's first delete was sent.
#[derive(Default)]
pub(super) struct CascadeGuard {
    /// The deletes that were sent, in order.
    sent: Vec<(DeleteKind, BackupId)>,
    /// The backups whose deletes from storage are planned or sent. Another run may carry out the same plan.
    may_go: BTreeSet<BackupId>,
    /// Every backup that was on record when one was sent, or that a list has shown since.
    ///
    /// Single readings are left out: one from a cache may still show what was deleted long before.
    on_record: BTreeSet<BackupId>,
    /// Whether only what was sent may be gone, and not what is merely planned.
    is_strict: bool,
}

impl CascadeGuard {
    /// Makes one for a VM whose plan lists these deletes from storage; nothing sent yet.
    pub(super) fn new(may_go: BTreeSet<BackupId>) -> Self {
        Self { may_go, ..Self::default() }
    }

    /// Records that a delete was sent, or may have been, with the VM as it was then.
    pub(super) fn record_delete(&mut self, kind: DeleteKind, backup: BackupId, vm: &Vm) {
        self.sent.push((kind, backup));
        // Another run has deleted these in the meantime.
        self.on_record.retain(|id| vm.backups.contains(*id) || !self.may_go.contains(id));
        self.record_list(vm);
    }

    /// Records what a list shows.
    pub(super) fn record_list(&mut self, vm: &Vm) {
        self.on_record.extend(vm.backups.keys());
    }

    /// Has only what was sent be gone from now on, or also what is planned. FiFo has accepted a delete on condition that
    /// the VM is as it was read: right after it nothing else can be gone, unless FiFo deletes more than it is asked to.
    pub(super) fn set_strict(&mut self, is_strict: bool) {
        self.is_strict = is_strict;
    }

    /// Says whether a delete was sent, or may have been.
    pub(super) fn was_sent(&self, kind: DeleteKind, backup: BackupId) -> bool {
        self.sent.contains(&(kind, backup))
    }

    /// Says whether a delete from storage was sent, or may have been.
    pub(super) fn has_pruned(&self) -> bool {
        self.sent.iter().any(|(kind, _)| *kind == DeleteKind::DeleteCloud)
    }

    /// Removes what has been reported, so that the next reading does not report it again.
    pub(super) fn forget(&mut self, gone: &BTreeSet<BackupId>) {
        self.on_record.retain(|id| !gone.contains(id));
    }

    /// Returns what is missing from a reading and was to stay.
    pub(super) fn missing_from(&self, vm: &Vm) -> BTreeSet<BackupId> {
        let may_go = |id| match self.is_strict {
            true => self.was_sent(DeleteKind::DeleteCloud, id),
            false => self.may_go.contains(&id),
        };
        self.on_record.iter().copied().filter(|id| !vm.backups.contains(*id) && !may_go(*id)).collect()
    }

    /// Returns the delete that caused it: the first one sent whose own backup is gone, else the last.
    pub(super) fn culprit(&self, gone: &BTreeSet<BackupId>) -> Option<(DeleteKind, BackupId)> {
        self.sent.iter().find(|(_, id)| gone.contains(id)).or(self.sent.last()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fifo::read_vm;
    use uuid::Uuid;

    fn id(number: u128) -> BackupId {
        BackupId::new(Uuid::from_u128(number))
    }

    fn vm(backups: &[u128]) -> Vm {
        let records: Vec<String> = backups.iter().map(|number| format!("\"{}\":{{}}", id(*number))).collect();
        let vm = Uuid::from_u128(100);
        read_vm(format!(r#"{{"uuid":"{vm}","backups":{{{}}}}}"#, records.join(",")).as_bytes()).unwrap()
    }

    #[test]
    fn what_another_run_may_delete_is_no_alarm_except_right_after_a_delete_of_ones_own() {
        let mut guard = CascadeGuard::new(BTreeSet::from([id(1), id(2), id(3)]));
        guard.record_delete(DeleteKind::DeleteCloud, id(1), &vm(&[1, 2, 3, 4]));
        assert_eq!(guard.missing_from(&vm(&[2, 3, 4])), BTreeSet::new());
        assert_eq!(guard.missing_from(&vm(&[3, 4])), BTreeSet::new(), "another run has deleted 2");
        guard.set_strict(true);
        assert_eq!(guard.missing_from(&vm(&[3, 4])), BTreeSet::from([id(2)]));
        guard.set_strict(false);
        guard.record_delete(DeleteKind::DeleteCloud, id(3), &vm(&[3, 4]));
        guard.set_strict(true);
        assert_eq!(guard.missing_from(&vm(&[4])), BTreeSet::new(), "2 was gone before");
        let gone = guard.missing_from(&vm(&[]));
        assert_eq!(gone, BTreeSet::from([id(4)]));
        assert_eq!(guard.culprit(&gone), Some((DeleteKind::DeleteCloud, id(3))));
    }

    #[test]
    fn a_local_delete_whose_own_backup_is_gone_is_the_one_that_did_it() {
        let mut guard = CascadeGuard::new(BTreeSet::from([id(1)]));
        guard.record_delete(DeleteKind::DeleteLocal, id(2), &vm(&[1, 2, 3]));
        guard.record_delete(DeleteKind::DeleteCloud, id(1), &vm(&[1, 2, 3]));
        let gone = guard.missing_from(&vm(&[]));
        assert_eq!(gone, BTreeSet::from([id(2), id(3)]));
        assert_eq!(guard.culprit(&gone), Some((DeleteKind::DeleteLocal, id(2))));
        assert!(
            guard.was_sent(DeleteKind::DeleteLocal, id(2)) && !guard.was_sent(DeleteKind::DeleteCloud, id(2))
        );
    }
}
