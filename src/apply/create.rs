//! Creates a backup: the request is sent once, its result is searched for rather than sent again, the upload is checked.

use super::action::ActionRef;
use super::background::{BackgroundUpload, UploadRef};
use super::event::EventKind;
use super::reader::VmReading;
use super::search::{Sent, new_backup};
use super::slots::{Slot, SlotPriority};
use super::step::{DropReason, HandOverReason, StepError, StepSuccess, SuccessKind, UnclearAnswer};
use super::timing::CLOCK_SKEW_MAX;
use super::worker::{VmWorker, create_step};
use super::write_attempts::WriteAttempts;
use super::write_loop::Write;
use crate::fifo::{FifoError, NewBackup, WriteAnswer};
use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use crate::plan::{Action, Create};
use chrono::{DateTime, TimeDelta, Utc};
use std::ops::ControlFlow;
use tokio::time::sleep;

/// The create of one backup, from its first request to the backup on record.
struct CreateRequest<'c> {
    create: &'c Create,
    new: NewBackup,
    /// How long FiFo's clock was waited for.
    waited: TimeDelta,
    /// The VM before the first request that got no clear answer.
    first: Option<Sent>,
}

/// A create that is due, by the last reading of the VM.
struct DueCreate {
    due_since: DateTime<Utc>,
    /// The VM before the request.
    sent: Sent,
}

impl<'c> CreateRequest<'c> {
    fn new(create: &'c Create) -> Self {
        let new = NewBackup { comment: create.comment.clone(), parent: create.parent };
        Self { create, new, waited: TimeDelta::zero(), first: None }
    }
}

impl Write for CreateRequest<'_> {
    type Wanted = DueCreate;
    type Done = BackupId;

    fn attempts(&self) -> WriteAttempts {
        WriteAttempts::for_create()
    }

    fn step(&self) -> ActionRef {
        create_step(self.create, None)
    }

    fn check(
        &mut self,
        worker: &VmWorker<'_>,
        seen: &VmReading,
    ) -> Result<ControlFlow<BackupId, DueCreate>, StepError> {
        // A request without an answer may have been slower than the search for its backup.
        if let Some(sent) = &self.first
            && let Some(backup) = new_backup(&seen.vm, self.create, sent, None)
        {
            return Ok(ControlFlow::Break(backup));
        }
        if seen.vm.hypervisor.as_deref() != Some(worker.hypervisor.as_str()) {
            return Err(StepError::Dropped(DropReason::Moved));
        }
        let due_since = worker.still_wanted(seen, self.create)?;
        let sent = Sent { known: worker.known_with(&seen.vm), asked_at: seen.server_date };
        Ok(ControlFlow::Continue(DueCreate { due_since, sent }))
    }

    async fn has_waited(
        &mut self,
        worker: &mut VmWorker<'_>,
        due: &DueCreate,
        seen: &VmReading,
    ) -> Result<bool, StepError> {
        // The clock may be set back meanwhile, or stand still: all waits together last no longer than clocks may differ.
        let early = early(due.due_since, seen.server_date).filter(|_| self.waited < CLOCK_SKEW_MAX);
        if let Some(early) = early {
            self.waited += early;
            worker.wait_for_clock(early).await?;
            return Ok(true);
        }
        worker.check_stuck_twice(seen).await
    }

    async fn send(&mut self, worker: &mut VmWorker<'_>, seen: &VmReading) -> Result<WriteAnswer, FifoError> {
        worker.context.executor.client.create_backup(worker.id, &self.new, seen.etag.as_ref()).await
    }

    async fn see_accepted(
        &mut self,
        worker: &mut VmWorker<'_>,
        due: DueCreate,
        named: Option<BackupId>,
    ) -> Result<BackupId, StepError> {
        worker.find_accepted(self.create, &due.sent, named).await
    }

    async fn see_unclear(
        &mut self,
        worker: &mut VmWorker<'_>,
        due: DueCreate,
        attempts: &WriteAttempts,
        unclear: UnclearAnswer,
    ) -> Result<Option<BackupId>, StepError> {
        let first = self.first.get_or_insert(due.sent);
        worker.find_unclear(self.create, first, attempts, unclear).await
    }
}

impl VmWorker<'_> {
    /// Creates a backup and waits until it is complete and checked.
    pub(super) async fn create(&mut self, create: &Create) -> Result<StepSuccess, StepError> {
        let slot = self.take_slot(create).await?;
        let backup = match self.write(CreateRequest::new(create)).await {
            Ok(backup) => backup,
            Err(problem) => {
                if matches!(problem, StepError::Unverified(_)) {
                    let unseen = UploadRef::Unseen { before: self.known.clone() };
                    self.context.keep_in_background(self.background(unseen)?, slot);
                }
                return Err(problem);
            }
        };
        self.context.emit(EventKind::Accepted {
            at: self.at.clone(),
            backup,
            tier: create.tier.clone(),
            expected_bytes: self.expected_bytes,
        });
        if !self.context.executor.settings.wait {
            self.context.keep_in_background(self.background(UploadRef::Known(backup))?, slot);
            return Ok(StepSuccess { backup, kind: SuccessKind::Started });
        }
        let result = self.wait_for(create, backup, &slot).await;
        if matches!(result, Err(StepError::Unverified(_))) {
            // The upload may still run: its slot is not free before a reading shows that it has ended.
            self.context.keep_in_background(self.background(UploadRef::Known(backup))?, slot);
        }
        result
    }

    async fn take_slot(&self, create: &Create) -> Result<Slot, StepError> {
        let (slots, hypervisor) = (&self.context.slots, &self.hypervisor);
        if self.context.executor.settings.wait {
            let priority = SlotPriority::of(create, self.policy()?);
            self.wait(slots.acquire(hypervisor, priority)).await.map_err(|cut| self.cut_short(cut))
        } else {
            slots.try_acquire(hypervisor).ok_or(StepError::HandedOver(HandOverReason::SlotsInUse))
        }
    }

    fn background(&self, which: UploadRef) -> Result<BackgroundUpload, StepError> {
        // FiFo's clock stamps the backup, the planner counts from that, and it may be ahead of this machine's.
        let lasts = CLOCK_SKEW_MAX + self.policy()?.stuck_after;
        Ok(BackgroundUpload::new(self.at.clone(), which, lasts, self.context.executor.clock.now()))
    }

    /// Returns since when the create is due by a reading. It may have waited long for a slot, so that may be later than in
    /// the plan.
    fn still_wanted(&self, seen: &VmReading, create: &Create) -> Result<DateTime<Utc>, StepError> {
        let planned: Action = Action::Create(create.clone());
        let fresh = self.decide_again(seen)?;
        let due_since = fresh.due_actions().iter().find_map(|action| match action {
            Action::Create(wanted) if action.is_same_action_as(&planned) => Some(wanted.due_since.to_utc()),
            _ => None,
        });
        due_since.ok_or_else(|| {
            self.made_by_another(&seen.vm).unwrap_or(StepError::Dropped(DropReason::BackupNotNeeded))
        })
    }

    /// Returns that another run has made the planned backup, or is making it: a new one of its tier or of a coarser one.
    /// That is as good as one of this run.
    pub(super) fn made_by_another(&self, vm: &Vm) -> Option<StepError> {
        let policy = self.policy().ok()?;
        let planned = self.planned_create()?;
        let tier_of = |backup: &Backup| policy.tier_of(backup.comment.as_deref());
        let wanted = policy.tiers.iter().position(|tier| *tier.name == *planned.tier)?;
        let new = vm.backups.values().filter(|backup| {
            !self.known.contains(&backup.id)
                && backup.timestamp.is_some()
                && backup.state != RecordedState::Failed
                && tier_of(backup).is_some_and(|tier| tier <= wanted)
        });
        let made = new.max_by_key(|backup| (backup.timestamp, backup.id))?;
        let is_complete = made.state == RecordedState::Completed;
        Some(StepError::HandedOver(HandOverReason::MadeByAnotherRun { backup: made.id, is_complete }))
    }

    async fn wait_for_clock(&self, early: TimeDelta) -> Result<(), StepError> {
        let _waiting = self.context.waits_for_clock();
        let pause = sleep(early.to_std().unwrap_or_default());
        self.wait(pause).await.map_err(|cut| self.cut_short(cut))
    }
}

/// Returns how long it is until the create is due by FiFo's clock too: a backup that FiFo stamps before its due time would
/// not count for it, and the next run would create another.
fn early(due_since: DateTime<Utc>, server_date: Option<DateTime<Utc>>) -> Option<TimeDelta> {
    let early = due_since - server_date?;
    // The server's date has whole seconds.
    (early > TimeDelta::zero()).then(|| early.min(CLOCK_SKEW_MAX) + TimeDelta::seconds(1))
}
