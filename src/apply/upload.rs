//! Waits for an upload, and checks the result.

use super::event::EventKind;
use super::reader::{ReadError, VmReading};
use super::slots::Slot;
use super::step::{
    BackupFault, FailureReason, HandOverReason, InterruptReason, MissingFact, StepError, StepSuccess,
    SuccessKind, UnverifiedReason,
};
use super::timing::{CLOCK_SKEW_MAX, poll_intervals};
use super::worker::{VmWorker, WaitError};
use crate::fifo::with_causes;
use crate::inventory::{Backup, BackupId, ChainEnd, LocalState, RecordedState, Vm, chain_of};
use crate::plan::Create;
use crate::plan::standing::{STREAM_BYTES_MIN, Standing, VmView};
use crate::policy::Policy;
use chrono::{DateTime, Utc};
use std::time::Duration;
use tokio::time::Instant;

/// After so many readings in a row without anything new the list is read: a single reading can stay old indefinitely.
const SAME_READINGS_MAX: u32 = 3;

/// A running upload, as a reading shows it.
#[derive(Clone, PartialEq)]
struct Uploading {
    backup: Backup,
    /// The VM as it was read: the backup is judged by its chain and by what FiFo reports of earlier ones.
    vm: Vm,
}

impl Uploading {
    fn find(vm: Vm, id: BackupId) -> Option<Self> {
        let backup = vm.backups.get(id)?.clone();
        Some(Self { backup, vm })
    }
}

/// What is kept from reading to reading.
#[derive(Default)]
struct UploadWatch {
    last: Option<Uploading>,
    same_readings: u32,
    /// The last reading, where that was a single one and showed something new.
    fresh: Option<VmReading>,
    /// Since when nothing could be read.
    blind_since: Option<Instant>,
    /// Since when FiFo reports it as completed.
    completed_since: Option<Instant>,
}

impl VmWorker<'_> {
    /// Waits for a backup until it is complete and checked with its snapshot in place, or has failed.
    pub(super) async fn wait_for(
        &mut self,
        create: &Create,
        id: BackupId,
        slot: &Slot,
    ) -> Result<StepSuccess, StepError> {
        let timing = self.context.executor.settings.timing;
        let (began, began_at) = (self.context.executor.clock.now(), Instant::now());
        let mut watch = UploadWatch::default();
        let mut intervals = poll_intervals(timing.pause_min, timing.pause_max);
        loop {
            let pause = match watch.completed_since {
                Some(_) => timing.pause_min,
                None => intervals.next().unwrap_or(timing.pause_max),
            };
            self.pause_between_readings(pause, id, &watch).await?;
            let Some(Uploading { backup, vm }) = self.read_tolerating_errors(id, &mut watch).await? else {
                continue;
            };
            let bytes = backup.size_bytes().unwrap_or(0);
            slot.record(&self.at, &backup, self.context.executor.progress.record(&backup, &timing));
            let tier = create.tier.clone();
            self.context.emit(EventKind::Progress { at: self.at.clone(), backup: id, tier, bytes });

            match backup.state {
                RecordedState::Completed => {
                    if let Some(success) = self.judge_completed(create, &backup, &vm, &mut watch)? {
                        self.last_poll = watch.fresh.take().map(|seen| (seen, Instant::now()));
                        return Ok(success);
                    }
                }
                RecordedState::Failed => {
                    return Err(StepError::Failed(FailureReason::UploadFailed { backup: id, bytes }));
                }
                RecordedState::Accepted | RecordedState::Uploading | RecordedState::Other(_) => {
                    if self.is_stuck(&backup, began, began_at)? {
                        return Err(StepError::Failed(FailureReason::UploadStuck { backup: id, bytes }));
                    }
                }
            }
        }
    }

    /// Returns whether an upload takes longer than `stuck_after`, counted from its own date as in the planner, but neither
    /// from before this run started to watch it nor from a date that a wrong clock puts far ahead. A clock that is set back
    /// meanwhile does not prolong it.
    fn is_stuck(&self, backup: &Backup, began: DateTime<Utc>, began_at: Instant) -> Result<bool, StepError> {
        let since = backup.timestamp.unwrap_or(began).clamp(began, began + CLOCK_SKEW_MAX);
        let until = since + self.policy()?.stuck_after;
        let lasts = (until - began).to_std().unwrap_or_default();
        Ok(self.context.executor.clock.now() >= until || began_at.elapsed() >= lasts)
    }

    /// Waits until the next reading of the upload; an error leaves it to the next run.
    async fn pause_between_readings(
        &self,
        pause: Duration,
        id: BackupId,
        watch: &UploadWatch,
    ) -> Result<(), StepError> {
        match self.wait(tokio::time::sleep(pause)).await {
            // The next reading fails with the refusal.
            Ok(()) | Err(WaitError::Refused(_)) => Ok(()),
            // A completed upload is only to be checked.
            Err(WaitError::HandedOver) if watch.completed_since.is_some() => {
                self.pause(pause).await;
                Ok(())
            }
            Err(WaitError::HandedOver) => {
                let cause = self.context.hand_over_cause();
                Err(StepError::HandedOver(HandOverReason::UploadRuns { backup: id, cause }))
            }
            Err(WaitError::Stopped) => Err(StepError::Interrupted(InterruptReason::UploadRuns(id))),
        }
    }

    /// Reads a running upload; `None` when nothing could be read, which is tolerated for a while.
    async fn read_tolerating_errors(
        &self,
        id: BackupId,
        watch: &mut UploadWatch,
    ) -> Result<Option<Uploading>, StepError> {
        match self.read_upload(id, watch).await {
            Ok(Some(uploading)) => {
                watch.blind_since = None;
                Ok(Some(uploading))
            }
            Ok(None) => Err(StepError::Failed(FailureReason::BackupVanished(id))),
            Err(ReadError::Gone) => Err(StepError::Failed(FailureReason::VmVanished(id))),
            Err(error) => {
                let blind_since = *watch.blind_since.get_or_insert_with(Instant::now);
                if blind_since.elapsed() < self.context.executor.settings.timing.blind && !error.is_final() {
                    return Ok(None);
                }
                let why = with_causes(&error);
                Err(StepError::Unverified(UnverifiedReason::UploadUnreadable { backup: id, why }))
            }
        }
    }

    /// Judges a backup that FiFo reports as completed; `None` while FiFo may not have written all of its record yet.
    fn judge_completed(
        &self,
        create: &Create,
        backup: &Backup,
        vm: &Vm,
        watch: &mut UploadWatch,
    ) -> Result<Option<StepSuccess>, StepError> {
        let completed_since = *watch.completed_since.get_or_insert_with(Instant::now);
        let has_settled = completed_since.elapsed() >= self.context.executor.settings.timing.settle;
        let policy = self.policy()?;
        let now = self.context.executor.clock.now();
        let complete = |lacks| {
            let kind = SuccessKind::Complete { bytes: backup.size_bytes(), lacks };
            Ok(Some(StepSuccess { backup: backup.id, kind }))
        };
        match (fault_of(vm, backup.id, create, policy, now), backup.local) {
            (None, LocalState::Present) if backup.missing_file_info().is_none() => complete(None),
            // Without a checksum for any backup of this VM, FiFo is an old version; a new one may still write it.
            (None, LocalState::Present) if has_settled => complete(Some(MissingFact::Checksum)),
            (None, _) if has_settled => complete(Some(MissingFact::LocalSnapshot)),
            (Some(fault), _) if has_settled => {
                Err(StepError::Failed(FailureReason::Faulty { backup: backup.id, fault }))
            }
            _ => Ok(None),
        }
    }

    /// Reads a running upload; `None` when the list, which is never old, does not have it.
    async fn read_upload(
        &self,
        id: BackupId,
        watch: &mut UploadWatch,
    ) -> Result<Option<Uploading>, ReadError> {
        watch.fresh = None;
        let single = match self.context.reader.read(self.id).await {
            Ok(seen) => {
                let single = Uploading::find(seen.vm.clone(), id);
                watch.fresh = Some(seen).filter(|_| single != watch.last);
                single
            }
            Err(ReadError::Gone) => {
                return Ok(Uploading::find(self.context.reader.in_list(self.id).await?, id));
            }
            Err(error) => return Err(error),
        };
        if single.is_some() && single != watch.last {
            watch.same_readings = 0;
            watch.last = single.clone();
            return Ok(single);
        }
        watch.same_readings += 1;
        if watch.same_readings < SAME_READINGS_MAX
            && let Some(last) = &watch.last
        {
            return Ok(Some(last.clone()));
        }
        watch.same_readings = 0;
        Ok(Uploading::find(self.context.reader.in_list(self.id).await?, id))
    }

    pub(super) fn policy(&self) -> Result<&Policy, StepError> {
        let executor = self.context.executor;
        let is_ours = |policy: &&Policy| Some(&policy.name) == self.policy_name();
        executor.policies.iter().find(is_ours).ok_or(StepError::Failed(FailureReason::NoPolicy))
    }
}

/// Returns what is wrong with a backup that FiFo reports as completed, in a reading of its VM.
///
/// The planner's judgement decides: otherwise its next plan would delete what this one has kept.
fn fault_of(
    vm: &Vm,
    id: BackupId,
    create: &Create,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Option<BackupFault> {
    let view = VmView::new(vm, policy, now);
    let Some(judged) = view.get(id) else {
        return Some(BackupFault::NoTimestamp);
    };
    let backup = judged.backup;
    let tier = judged.tier.map(|tier| view.tier(tier).name.as_str());
    let found = backup.comment.as_deref();
    if found != Some(create.comment.as_str()) || tier != Some(create.tier.as_str()) {
        let found = found.map(str::to_owned);
        return Some(BackupFault::Comment { found, wanted: create.comment.clone() });
    }
    if backup.parent != create.parent {
        return Some(BackupFault::Parent { found: backup.parent, wanted: create.parent });
    }
    match chain_of(&vm.backups, id).map(|chain| chain.end) {
        Some(ChainEnd::Full) | None => {}
        Some(ChainEnd::Missing(ancestor)) => return Some(BackupFault::AncestorMissing(ancestor)),
        Some(ChainEnd::Loop(ancestor)) => return Some(BackupFault::ParentsLoop(ancestor)),
    }
    match judged.standing {
        Standing::Completed if judged.restorable => None,
        Standing::Completed => Some(BackupFault::ChainUnusable),
        Standing::Hollow => {
            Some(match backup.smallest_size_bytes().filter(|&bytes| bytes < STREAM_BYTES_MIN) {
                Some(bytes) => BackupFault::TinyFile { bytes },
                None => BackupFault::BelowMinimum {
                    bytes: backup.size_bytes().unwrap_or(0),
                    min: policy.min_full_size_bytes,
                },
            })
        }
        Standing::Unverified => Some(BackupFault::Unverified(backup.missing_file_info())),
        Standing::Failed | Standing::Stuck | Standing::InProgress => Some(BackupFault::NotCompleted),
    }
}
