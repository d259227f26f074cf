//! Deletes a snapshot on the hypervisor, and checks that nothing else is gone.
//!
//! A DELETE that loses its body on the way is a cloud delete of the backup and of all that descends from it. So the
//! effect of each one is checked, and the first one of a run goes alone.

use super::action::ActionRef;
use super::canary::DeletePermit;
use super::reader::VmReading;
use super::step::{
    CloseReason, DropReason, FailureReason, StepError, StepSuccess, SuccessKind, UnclearAnswer,
    UnverifiedReason,
};
use super::timing::poll_intervals;
use super::worker::{VmWorker, delete_step, not_sent};
use super::write_attempts::WriteAttempts;
use super::write_loop::Write;
use crate::fifo::{FifoError, WriteAnswer, with_causes};
use crate::inventory::{BackupId, LocalState, RecordedState, Vm};
use crate::plan::Action;
use chrono::{DateTime, FixedOffset};
use std::ops::ControlFlow;
use tokio::time::Instant;

/// Every so many readings the list is read.
const READINGS_PER_LIST: u32 = 3;

/// The effect of a local delete, as readings show it. A vanished backup is an alarm instead.
enum DeleteEffect {
    /// The record is there and no longer local; every other record is there.
    Done,
    /// By the list, the snapshot and every record are still there.
    None,
    /// The list could not be read.
    Unknown(String),
}

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
            worker.guard_backups(self.backup, &seen.vm);
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
        match worker.effect_of(backup, true).await? {
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
        match worker.effect_of(backup, false).await? {
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

    /// Looks for the effect of a local delete. A single reading can show that it is done; only the list can show that
    /// a backup has vanished, or that nothing has happened.
    ///
    /// An accepted one is over once it is seen to be done. Any other may take effect up to a minute later, so that its
    /// effect is looked for until then.
    async fn effect_of(&mut self, backup: BackupId, was_accepted: bool) -> Result<DeleteEffect, StepError> {
        let timing = self.context.executor.settings.timing;
        let began = Instant::now();
        let mut intervals = poll_intervals(timing.pause_min / 4, timing.pause_max / 3);
        let mut readings = 0;
        loop {
            let is_last = began.elapsed() >= timing.verify;
            let mut is_missing = false;
            if let Ok(seen) = self.context.reader.read(self.id).await {
                is_missing = !self.nothing_vanished(&seen.vm);
                if was_accepted && !is_missing && is_deleted(&seen.vm, backup) {
                    return Ok(DeleteEffect::Done);
                }
            }
            readings += 1;
            if is_missing || is_last || readings % READINGS_PER_LIST == 0 {
                match self.guarded_list().await? {
                    Ok(vm) if (was_accepted || is_last) && is_deleted(&vm, backup) => {
                        return Ok(DeleteEffect::Done);
                    }
                    Ok(_) if is_last => return Ok(DeleteEffect::None),
                    Err(error) if is_last => return Ok(DeleteEffect::Unknown(with_causes(&error))),
                    Ok(_) | Err(_) => {}
                }
            }
            let left = timing.verify.saturating_sub(began.elapsed());
            tokio::time::sleep(intervals.next().unwrap_or(timing.pause_max).min(left)).await;
        }
    }
}

fn gate_is_closed(reason: CloseReason) -> StepError {
    StepError::Dropped(DropReason::GateClosed(reason))
}

fn is_deleted(vm: &Vm, backup: BackupId) -> bool {
    vm.backups.get(backup).is_some_and(|record| record.local == LocalState::Absent)
}
