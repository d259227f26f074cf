//! Deletes an expired backup from storage, for good, and checks that exactly that one is gone.
//!
//! FiFo deletes everything that descends from it as well, so that it is only sent where nothing does. All deletes from storage
//! of a run go one after the other, each checked before the next one is sent.

use super::action::{ActionRef, DeleteKind};
use super::delete_effect::{DeleteEffect, SentDelete};
use super::expendable::keep_reason;
use super::reader::{ReadError, VmReading};
use super::step::{
    DropReason, FailureReason, HandOverReason, KeepReason, StepError, StepSuccess, StorageClose, SuccessKind,
    UnclearAnswer, UnverifiedReason, WriteFailure,
};
use super::worker::{VmWorker, could_not_read, prune_step};
use super::write_attempts::WriteAttempts;
use super::write_loop::Write;
use crate::fifo::{DeletedForGood, FifoError, WriteAnswer, with_causes};
use crate::inventory::BackupId;
use crate::plan::{Action, DeleteCloud};
use crate::policy::Prune;
use http::StatusCode;
use std::ops::ControlFlow;

/// The delete from storage of one backup.
struct CloudDelete<'d> {
    delete: &'d DeleteCloud,
    /// The turn of the whole run, with the reason for which nothing more is deleted.
    closed: &'d mut Option<StorageClose>,
    /// Whether an earlier request may have done it.
    may_be_done: bool,
}

impl CloudDelete<'_> {
    fn done(&self) -> StepSuccess {
        let DeleteCloud { backup, taken, size_bytes, .. } = *self.delete;
        StepSuccess { backup, kind: SuccessKind::Pruned { taken, bytes: size_bytes } }
    }

    fn sent(&self, was_accepted: bool) -> SentDelete {
        SentDelete { kind: DeleteKind::DeleteCloud, backup: self.delete.backup, was_accepted }
    }

    /// Ends all deletes from storage of the run, since it is not known what this one did.
    fn unknown(&mut self, reason: UnverifiedReason) -> StepError {
        *self.closed = Some(StorageClose::Unknown(self.delete.backup));
        StepError::Unverified(reason)
    }

    /// Looks in the list for a backup that FiFo does not find.
    async fn look_for(
        &mut self,
        worker: &mut VmWorker<'_>,
        attempts: &WriteAttempts,
    ) -> Result<Option<StepSuccess>, StepError> {
        let DeleteCloud { backup, taken, .. } = *self.delete;
        match worker.guarded_list().await? {
            Ok(vm) if vm.backups.contains(backup) => {
                let failure = WriteFailure::Refused { status: StatusCode::NOT_FOUND, permission: None };
                Err(attempts.failed(failure))
            }
            Ok(_) if self.may_be_done => Ok(Some(self.done())),
            Ok(_) => Ok(Some(StepSuccess { backup, kind: SuccessKind::AlreadyPruned { taken } })),
            Err(error @ ReadError::Gone) => Err(could_not_read(error)),
            Err(error) => {
                let (answer, why) = (UnclearAnswer::NotFound, with_causes(&error));
                Err(self.unknown(UnverifiedReason::PruneUnclear { answer, why }))
            }
        }
    }
}

impl Write for CloudDelete<'_> {
    type Wanted = ();
    type Done = StepSuccess;

    fn attempts(&self) -> WriteAttempts {
        WriteAttempts::for_prune()
    }

    fn step(&self) -> ActionRef {
        prune_step(self.delete)
    }

    fn check(
        &mut self,
        worker: &VmWorker<'_>,
        seen: &VmReading,
    ) -> Result<ControlFlow<StepSuccess, ()>, StepError> {
        let backup = self.delete.backup;
        if !seen.vm.backups.contains(backup) {
            // The list has been read, since the backup was known.
            return if self.may_be_done {
                Ok(ControlFlow::Break(self.done()))
            } else {
                Err(StepError::Dropped(DropReason::NotListed(backup)))
            };
        }
        match worker.reason_to_keep(seen, backup)? {
            Some(reason) => Err(StepError::Dropped(DropReason::Kept(reason))),
            None => Ok(ControlFlow::Continue(())),
        }
    }

    /// Waits for nothing, but leaves it to the next run where that is due, or the deadline has passed.
    async fn has_waited(
        &mut self,
        worker: &mut VmWorker<'_>,
        _wanted: &(),
        _seen: &VmReading,
    ) -> Result<bool, StepError> {
        let context = worker.context;
        if let Some(reason) = context.gate.closed() {
            let reason = StorageClose::LocalDeletes(reason);
            return Err(StepError::Dropped(DropReason::StorageClosed(reason)));
        }
        if context.hand_over_now.is_cancelled() {
            return Err(StepError::HandedOver(HandOverReason::NotSent(context.hand_over_cause())));
        }
        Ok(false)
    }

    async fn send(&mut self, worker: &mut VmWorker<'_>, seen: &VmReading) -> Result<WriteAnswer, FifoError> {
        let backup = self.delete.backup;
        let client = worker.context.executor.client;
        let answer = client.delete_cloud(worker.id, DeletedForGood(backup), seen.etag.as_ref()).await;
        if WriteAttempts::may_have_arrived(&answer) {
            worker.guard_backups(DeleteKind::DeleteCloud, backup, &seen.vm);
        }
        answer
    }

    async fn see_accepted(
        &mut self,
        worker: &mut VmWorker<'_>,
        _wanted: (),
        _named: Option<BackupId>,
    ) -> Result<StepSuccess, StepError> {
        worker.guard_strictly(true);
        let effect = worker.effect_of(self.sent(true)).await;
        worker.guard_strictly(false);
        match effect? {
            DeleteEffect::Done => Ok(self.done()),
            DeleteEffect::None => {
                *self.closed = Some(StorageClose::StillThere(self.delete.backup));
                Err(StepError::Unverified(UnverifiedReason::PruneNoEffect))
            }
            DeleteEffect::Unknown(why) => Err(self.unknown(UnverifiedReason::PruneUnknown(why))),
        }
    }

    async fn see_unclear(
        &mut self,
        worker: &mut VmWorker<'_>,
        _wanted: (),
        attempts: &WriteAttempts,
        answer: UnclearAnswer,
    ) -> Result<Option<StepSuccess>, StepError> {
        if matches!(answer, UnclearAnswer::NotFound) {
            return self.look_for(worker, attempts).await;
        }
        if !answer.may_have_arrived() {
            if attempts.may_retry(&answer) {
                worker.pause(worker.context.executor.settings.timing.settle / 4).await;
                return Ok(None);
            }
            return Err(StepError::Failed(FailureReason::DeleteNotSent(answer)));
        }
        self.may_be_done = true;
        match worker.effect_of(self.sent(false)).await? {
            DeleteEffect::Done => Ok(Some(self.done())),
            DeleteEffect::None if attempts.may_retry(&answer) => Ok(None),
            DeleteEffect::None => Err(StepError::Failed(FailureReason::StillStored(answer))),
            DeleteEffect::Unknown(why) => Err(self.unknown(UnverifiedReason::PruneUnclear { answer, why })),
        }
    }
}

impl VmWorker<'_> {
    /// Deletes a backup from storage, for good, in the VM's turn; `closed` is the reason for which nothing more is deleted.
    pub(super) async fn delete_from_storage(
        &mut self,
        delete: &DeleteCloud,
        closed: &mut Option<StorageClose>,
    ) -> Result<StepSuccess, StepError> {
        // The turn may have been taken long ago.
        self.wait(async {}).await.map_err(|cut| self.cut_short(cut))?;
        let reason = closed.or_else(|| self.context.gate.closed().map(StorageClose::LocalDeletes));
        if let Some(reason) = reason {
            return Err(StepError::Dropped(DropReason::StorageClosed(reason)));
        }
        if self.has_failed_to_prune {
            return Err(StepError::Dropped(DropReason::Kept(KeepReason::EarlierFailed)));
        }
        let mut result = self.write(CloudDelete { delete, closed, may_be_done: false }).await;
        if let Err(
            problem @ (StepError::Failed(_)
            | StepError::Dropped(_)
            | StepError::HandedOver(_)
            | StepError::Interrupted(_)),
        ) = result
        {
            result = Err(self.last_look(closed, delete.backup, problem).await);
        }
        match &result {
            Ok(success) => self.pruned(success.backup),
            Err(problem) => self.has_failed_to_prune |= matches!(problem, StepError::Failed(_)),
        }
        result
    }

    /// Takes note that a backup is gone from storage.
    fn pruned(&mut self, backup: BackupId) {
        self.gone.insert(backup);
        self.known.remove(&backup);
    }

    fn guard_strictly(&mut self, is_strict: bool) {
        if let Some(guard) = &mut self.guard {
            guard.set_strict(is_strict);
        }
    }

    /// Reads the list once more where a delete came to nothing after something was sent: FiFo may have executed it all the
    /// same.
    async fn last_look(
        &mut self,
        closed: &mut Option<StorageClose>,
        backup: BackupId,
        problem: StepError,
    ) -> StepError {
        let was_sent = |kind| self.guard.as_ref().is_some_and(|guard| guard.was_sent(kind, backup));
        if !was_sent(DeleteKind::DeleteCloud) {
            return problem;
        }
        match self.guarded_list().await {
            Err(alarm) => alarm,
            Ok(Ok(_)) => cut_short_after_sending(problem),
            Ok(Err(_)) => {
                *closed = Some(StorageClose::Unknown(backup));
                cut_short_after_sending(problem)
            }
        }
    }

    /// Returns the reason for which a backup that is planned to go stays, by a reading: what the records say of it, and then
    /// what a fresh decision says.
    fn reason_to_keep(&self, seen: &VmReading, backup: BackupId) -> Result<Option<KeepReason>, StepError> {
        let policy = self.policy()?;
        let Some(record) = seen.vm.backups.get(backup) else { return Ok(None) };
        if policy.prune != Prune::Requested {
            return Ok(Some(KeepReason::NotRequested));
        }
        if seen.etag.is_none() && !self.context.reader.proves_absence() {
            return Ok(Some(KeepReason::NoProof));
        }
        let was_local =
            |guard: &super::cascade_guard::CascadeGuard| guard.was_sent(DeleteKind::DeleteLocal, backup);
        if self.guard.as_ref().is_some_and(was_local) {
            return Ok(Some(KeepReason::Local));
        }
        let ours = self.context.executor.clock.now();
        let now = seen.server_date.map_or(ours, |date| date.min(ours));
        if let Some(reason) = keep_reason(&seen.vm, record, now, policy.stuck_after) {
            return Ok(Some(reason));
        }
        let is_listed = |action: &Action| action.as_cloud_delete().is_some_and(|it| it.backup == backup);
        let is_expired = self.decide_again(seen)?.due_actions().iter().any(is_listed);
        Ok((!is_expired).then_some(KeepReason::Wanted))
    }
}

/// Reports the end of the run before a delete that was sent has had a known effect: it is not one that was never sent.
fn cut_short_after_sending(problem: StepError) -> StepError {
    match problem {
        StepError::HandedOver(_) | StepError::Interrupted(_) => {
            StepError::Unverified(UnverifiedReason::PruneCutShort)
        }
        problem => problem,
    }
}
