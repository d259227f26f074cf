//! Deleting a snapshot on the hypervisor, and making sure that nothing else went with it.
//!
//! A DELETE that loses its body on the way is a cloud delete of the backup and of all that descends from it. So the
//! effect is looked at each time, and the first one of a run goes alone.

use super::action::ActionOutcome;
use super::canary::DeletePermit;
use super::event::EventKind;
use super::reader::VmReading;
use super::timing::PollIntervals;
use super::worker::{StepError, StepSuccess, VmWorker, delete_step, not_begun};
use super::write_attempts::{AttemptResult, UnknownOutcome, WriteAttempts};
use crate::fifo::with_causes;
use crate::inventory::{Backup, BackupId, LocalState, RecordedState, Vm};
use crate::plan::Action;
use crate::policy::minute_text;
use tokio::time::Instant;

/// How many readings may show the snapshot before the list is looked at.
const READINGS_PER_LIST: u32 = 3;

/// What is seen after a local delete was asked for. That something else went is an alarm instead.
enum DeleteEffect {
    /// The record is there, no longer local, and so is every other.
    Done,
    /// By the list, the snapshot is still there, and so is every record.
    None,
    /// The list could not be read.
    Unknown(String),
}

/// A snapshot that is to be deleted, as the VM was just seen.
struct Wanted {
    seen: VmReading,
    /// What the snapshot is called.
    name: String,
    /// Whether the backup is stored whole.
    is_completed: bool,
}

impl Wanted {
    fn done(&self, backup: BackupId) -> StepSuccess {
        let stored = if self.is_completed { ", the stored copy is in place" } else { "" };
        StepSuccess {
            ending: ActionOutcome::Done,
            backup,
            message: format!("{} is deleted{stored}", self.name),
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
        // Before a turn is taken: those who wait for the first one must not take the turns away from it.
        let permit = self.context.gate.acquire(self.id).await.map_err(gate_is_closed)?;
        let _turn = self.context.take_turn().await;
        if self.is_stopped() {
            return Err(not_begun());
        }
        match self.delete_until_seen(&permit, tier, backup).await {
            Err(problem) if self.guard.is_some() => Err(self.final_check(&permit, backup, problem).await),
            result => result,
        }
    }

    /// Looks once more where a delete came to no good end after something was sent: FiFo may have done it all the same.
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
                permit.close(format!("the result of the one of backup {backup} is unknown"));
                problem
            }
        }
    }

    /// Asks FiFo for the delete until it is seen to be done, or it is certain that it is not.
    async fn delete_until_seen(
        &mut self,
        permit: &DeletePermit<'_>,
        tier: &str,
        backup: BackupId,
    ) -> Result<StepSuccess, StepError> {
        let mut attempts = WriteAttempts::for_delete();
        loop {
            let wanted = match self.read_if_wanted(&attempts, backup).await? {
                Ok(wanted) => wanted,
                Err(success) => return Ok(success),
            };
            self.clocks_agree(&attempts, wanted.seen.server_date)?;
            if permit.wait_for_others().await.map_err(gate_is_closed)? {
                // That may have been long, and what was seen is old.
                continue;
            }
            if self.is_stopped() {
                return Err(not_begun());
            }
            self.context
                .tell(EventKind::ActionStarted { at: self.at.clone(), step: delete_step(tier, backup) });
            let etag = wanted.seen.etag.as_ref();
            let answer = self.context.executor.client.delete_local(self.id, backup, etag).await;
            if WriteAttempts::may_have_arrived(&answer) {
                self.guard_backups(backup, &wanted.seen.vm);
            }
            match self.interpret(&mut attempts, answer, etag.is_some()).await? {
                AttemptResult::RetryLater => {}
                AttemptResult::Accepted(_) => {
                    self.see_accepted(permit, backup).await?;
                    return Ok(wanted.done(backup));
                }
                AttemptResult::Unknown(unclear) => {
                    if self.see_unclear(permit, backup, &attempts, unclear).await? {
                        return Ok(wanted.done(backup));
                    }
                }
            }
        }
    }

    /// Looks whether a snapshot is still to be deleted. Where it is gone already there is nothing to do.
    async fn read_if_wanted(
        &mut self,
        attempts: &WriteAttempts,
        backup: BackupId,
    ) -> Result<Result<Wanted, StepSuccess>, StepError> {
        let seen = self.read_vm_before_write(attempts).await?;
        let Some(record) = seen.vm.backups.get(&backup) else {
            return Err(StepError::Dropped(format!(
                "nothing was done: FiFo no longer lists backup {backup}"
            )));
        };
        let name = self.snapshot_text(record)?;
        let is_completed = record.state == RecordedState::Completed;
        if record.local == LocalState::Absent {
            return Ok(Err(StepSuccess {
                ending: ActionOutcome::Done,
                backup,
                message: format!("{name} was already deleted"),
            }));
        }
        let fresh = self.decide_again(&seen)?;
        let is_wanted = |action: &Action| matches!(action, Action::DeleteLocal(delete) if delete.backup == backup && !delete.after_create);
        if !fresh.due_actions().iter().any(is_wanted) {
            return Err(StepError::Dropped(
                "nothing was done: in its present state the VM needs this snapshot".to_owned(),
            ));
        }
        Ok(Ok(Wanted { seen, name, is_completed }))
    }

    /// Looks what a delete did that FiFo has taken on.
    async fn see_accepted(&mut self, permit: &DeletePermit<'_>, backup: BackupId) -> Result<(), StepError> {
        match self.effect_of(backup, true).await? {
            DeleteEffect::Done => {
                permit.confirm();
                Ok(())
            }
            DeleteEffect::None => {
                permit.close(format!(
                    "FiFo accepted the one of backup {backup}, but the snapshot is still there"
                ));
                Err(StepError::Unverified(
                    "FiFo accepted the local delete, but the snapshot is still there; this run starts no more of them, the next run checks again".to_owned(),
                ))
            }
            DeleteEffect::Unknown(why) => {
                permit.close(format!("the result of the one of backup {backup} is unknown"));
                Err(StepError::Unverified(format!(
                    "FiFo accepted the local delete, but the result is unknown ({why}); this run starts no more of them, the next run checks again"
                )))
            }
        }
    }

    /// Looks what a delete did of which FiFo did not say that it has taken it on. Says whether it is done; if not, it may
    /// be sent again.
    ///
    /// That it is done proves nothing about its body: what is seen may be somebody else's doing, as when the VM was moved
    /// meanwhile. So the next one goes alone as well.
    async fn see_unclear(
        &mut self,
        permit: &DeletePermit<'_>,
        backup: BackupId,
        attempts: &WriteAttempts,
        unclear: UnknownOutcome,
    ) -> Result<bool, StepError> {
        let said = &unclear.said;
        if !unclear.may_have_arrived {
            if attempts.may_retry(&unclear) {
                self.pause(self.context.executor.settings.timing.settle / 4).await;
                return Ok(false);
            }
            return Err(StepError::Failed(format!("FiFo {said}; nothing was deleted")));
        }
        let _unclear = permit.hold_others();
        match self.effect_of(backup, false).await? {
            DeleteEffect::Done => Ok(true),
            DeleteEffect::None if attempts.may_retry(&unclear) => Ok(false),
            DeleteEffect::None => Err(StepError::Failed(format!(
                "FiFo {said}, and the snapshot is still there; check the hypervisor's agent"
            ))),
            DeleteEffect::Unknown(why) => {
                permit.close(format!("the result of the one of backup {backup} is unknown"));
                Err(StepError::Unverified(format!(
                    "FiFo {said}, and the result is unknown ({why}); this run starts no more local deletes, the next run checks again"
                )))
            }
        }
    }

    /// Names a snapshot by what tells a VM's snapshots of one tier apart.
    fn snapshot_text(&self, backup: &Backup) -> Result<String, StepError> {
        let zone = &self.policy()?.zone;
        let taken = backup
            .timestamp
            .map(|taken| format!(" of {}", minute_text(zone.moment(taken))))
            .unwrap_or_default();
        Ok(format!("snapshot {}{taken}", backup.id.short()))
    }

    /// Looks what a local delete did. A single reading can show that it was done; that something has gone, or that
    /// nothing has happened, only the list can show.
    ///
    /// Where it was accepted, it is over once it is seen to be done. Else FiFo may come to it as late as a minute after,
    /// and what it does then is seen only by who is still looking.
    async fn effect_of(&mut self, backup: BackupId, was_accepted: bool) -> Result<DeleteEffect, StepError> {
        let timing = self.context.executor.settings.timing;
        let began = Instant::now();
        let mut intervals = PollIntervals::new(timing.pause_min / 4, timing.pause_max / 3);
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

fn gate_is_closed(reason: String) -> StepError {
    StepError::Dropped(format!("nothing was done: this run starts no more local deletes, since {reason}"))
}

fn is_deleted(vm: &Vm, backup: BackupId) -> bool {
    vm.backups.get(&backup).is_some_and(|record| record.local == LocalState::Absent)
}
