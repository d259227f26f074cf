//! Deletes a snapshot on the hypervisor, and checks that nothing else is gone.
//!
//! A DELETE that loses its body on the way is a cloud delete of the backup and of all that descends from it. So the
//! effect of each one is checked, and the first one of a run goes alone.

use super::action::{ActionRef, DeleteKind};
use super::canary::DeletePermit;
use super::delete_effect::{DeleteEffect, SentDelete};
use super::reader::VmReading;
use super::step::{
    CloseReason, DropReason, FailureReason, StepError, StepSuccess, SuccessKind, UnclearAnswer,
    UnverifiedReason,
};
use super::worker::{VmWorker, delete_step, not_sent};
use super::write_attempts::WriteAttempts;
use super::write_loop::Write;
use crate::fifo::{FifoError, WriteAnswer};
use crate::inventory::{BackupId, LocalState, RecordedState};
use crate::plan::Action;
use chrono::{DateTime, FixedOffset};
use std::ops::ControlFlow;

/// The local delete of one backup.
struct LocalDelete<'d> {
    permit: &'d DeletePermit<'d>,
    tier: &'d str,
    backup: BackupId,
}

/// A snapshot that is to be deleted, by the last reading of the VM.
struct WantedDelete {
    taken: Option<DateTime<FixedOffset>>,
    /// Whether the stored copy is complete.
    is_stored: bool,
}

impl WantedDelete {
    fn done(self, backup: BackupId) -> StepSuccess {
        let Self { taken, is_stored } = self;
        StepSuccess { backup, kind: SuccessKind::Deleted { taken, is_stored } }
    }
}

impl LocalDelete<'_> {
    fn sent(&self, was_accepted: bool) -> SentDelete {
        SentDelete { kind: DeleteKind::DeleteLocal, backup: self.backup, was_accepted }
    }
}

impl Write for LocalDelete<'_> {
    type Wanted = WantedDelete;
    type Done = StepSuccess;

    fn attempts(&self) -> WriteAttempts {
        WriteAttempts::for_delete()
    }

    fn step(&self) -> ActionRef {
        delete_step(self.tier, Some(self.backup))
    }

    fn check(
        &mut self,
        worker: &VmWorker<'_>,
        seen: &VmReading,
    ) -> Result<ControlFlow<StepSuccess, WantedDelete>, StepError> {
        let backup = self.backup;
        let Some(record) = seen.vm.backups.get(backup) else {
            return Err(StepError::Dropped(DropReason::NotListed(backup)));
        };
        let zone = &worker.policy()?.display_zone;
        let taken = record.timestamp.map(|taken| zone.moment(taken));
        if record.local == LocalState::Absent {
            return Ok(ControlFlow::Break(StepSuccess {
                backup,
                kind: SuccessKind::AlreadyDeleted { taken },
            }));
        }
        let fresh = worker.decide_again(seen)?;
        let is_wanted = |action: &Action| matches!(action, Action::DeleteLocal(delete) if delete.backup == Some(backup) && !delete.after_create);
        if !fresh.due_actions().iter().any(is_wanted) {
            return Err(StepError::Dropped(DropReason::SnapshotNeeded));
        }
        let is_stored = record.state == RecordedState::Completed;
        Ok(ControlFlow::Continue(WantedDelete { taken, is_stored }))
    }

    async fn has_waited(
        &mut self,
        _worker: &mut VmWorker<'_>,
        _wanted: &WantedDelete,
        _seen: &VmReading,
    ) -> Result<bool, StepError> {
        self.permit.wait_for_others().await.map_err(gate_is_closed)
    }

    async fn send(&mut self, worker: &mut VmWorker<'_>, seen: &VmReading) -> Result<WriteAnswer, FifoError> {
        let etag = seen.etag.as_ref();
        let answer = worker.context.executor.client.delete_local(worker.id, self.backup, etag).await;
        if WriteAttempts::may_have_arrived(&answer) {
            worker.guard_backups(DeleteKind::DeleteLocal, self.backup, &seen.vm);
        }
        answer
    }

    async fn see_accepted(
        &mut self,
        worker: &mut VmWorker<'_>,
        wanted: WantedDelete,
        _named: Option<BackupId>,
    ) -> Result<StepSuccess, StepError> {
        let (permit, backup) = (self.permit, self.backup);
        match worker.effect_of(self.sent(true)).await? {
            DeleteEffect::Done => {
                permit.confirm();
                Ok(wanted.done(backup))
            }
            DeleteEffect::None => {
                permit.close(CloseReason::NoEffect(backup));
                Err(StepError::Unverified(UnverifiedReason::DeleteNoEffect))
            }
            DeleteEffect::Unknown(why) => {
                permit.close(CloseReason::Unknown(backup));
                Err(StepError::Unverified(UnverifiedReason::DeleteUnknown(why)))
            }
        }
    }

    /// A snapshot that is gone does not prove that the body arrived: the VM may have been moved meanwhile, say. So the next
    /// delete goes alone as well.
    async fn see_unclear(
        &mut self,
        worker: &mut VmWorker<'_>,
        wanted: WantedDelete,
        attempts: &WriteAttempts,
        answer: UnclearAnswer,
    ) -> Result<Option<StepSuccess>, StepError> {
        if !answer.may_have_arrived() {
            if attempts.may_retry(&answer) {
                worker.pause(worker.context.executor.settings.timing.settle / 4).await;
                return Ok(None);
            }
            return Err(StepError::Failed(FailureReason::DeleteNotSent(answer)));
        }
        let (permit, backup) = (self.permit, self.backup);
        let _unclear = permit.hold_others();
        match worker.effect_of(self.sent(false)).await? {
            DeleteEffect::Done => Ok(Some(wanted.done(backup))),
            DeleteEffect::None if attempts.may_retry(&answer) => Ok(None),
            DeleteEffect::None => Err(StepError::Failed(FailureReason::SnapshotStillThere(answer))),
            DeleteEffect::Unknown(why) => {
                permit.close(CloseReason::Unknown(backup));
                Err(StepError::Unverified(UnverifiedReason::DeleteUnclear { answer, why }))
            }
        }
    }
}

impl VmWorker<'_> {
    /// Deletes a backup's snapshot on the hypervisor.
    pub(super) async fn delete_locally(
        &mut self,
        tier: &str,
        backup: BackupId,
    ) -> Result<StepSuccess, StepError> {
        // Before a turn is taken: those that wait for the first one must not take its turn.
        let permit = self.context.gate.acquire(self.id).await.map_err(gate_is_closed)?;
        let _turn = self.context.take_turn().await;
        if self.is_stopped() {
            return Err(not_sent());
        }
        match self.write(LocalDelete { permit: &permit, tier, backup }).await {
            Err(problem) if self.guard.is_some() => Err(self.final_check(&permit, backup, problem).await),
            result => result,
        }
    }

    /// Reads the list once more where a delete failed after something was sent: FiFo may have executed it all the same.
    async fn final_check(
        &mut self,
        permit: &DeletePermit<'_>,
        backup: BackupId,
        problem: StepError,
    ) -> StepError {
        if matches!(problem, StepError::Alarm(_)) {
            return problem;
        }
        match self.guarded_list().await {
            Err(alarm) => alarm,
            Ok(Ok(_)) => problem,
            Ok(Err(_)) => {
                permit.close(CloseReason::Unknown(backup));
                problem
            }
        }
    }
}

fn gate_is_closed(reason: CloseReason) -> StepError {
    StepError::Dropped(DropReason::GateClosed(reason))
}
