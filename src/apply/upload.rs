//! Waiting for an upload, and checking the result.

use super::action::ActionOutcome;
use super::event::EventKind;
use super::reader::ReadError;
use super::slots::Slot;
use super::timing::{CLOCK_SKEW_MAX, PollIntervals};
use super::worker::{StepError, StepSuccess, VmWorker, WaitError};
use crate::fifo::with_causes;
use crate::inventory::{Backup, BackupId, ChainEnd, LocalState, RecordedState, Vm, chain_of};
use crate::plan::standing::{STREAM_BYTES_MIN, Standing, VmView};
use crate::plan::{Create, bytes_text, missing_file_info_text};
use crate::policy::Policy;
use chrono::{DateTime, Utc};
use std::time::Duration;
use tokio::time::Instant;

/// How many readings in a row may show nothing new before the list is looked at: a single reading can be old for ever.
const SAME_READINGS_MAX: u32 = 3;

/// A running upload, as a reading shows it.
#[derive(Clone, PartialEq)]
struct Uploading {
    backup: Backup,
    /// The VM as it was read: the backup is judged by what it rests on and by what FiFo tells of earlier ones.
    vm: Vm,
}

impl Uploading {
    fn find(vm: Vm, id: BackupId) -> Option<Self> {
        let backup = vm.backups.get(&id)?.clone();
        Some(Self { backup, vm })
    }
}

/// What is remembered from reading to reading.
#[derive(Default)]
struct UploadWatch {
    last: Option<Uploading>,
    same_readings: u32,
    /// Since when nothing at all could be read.
    blind_since: Option<Instant>,
    /// Since when FiFo calls it completed.
    completed_since: Option<Instant>,
}

impl VmWorker<'_> {
    /// Waits for a backup until it is complete, checked, and its snapshot is in place; or has come to a bad end.
    pub(super) async fn wait_for(
        &self,
        create: &Create,
        id: BackupId,
        slot: &Slot,
    ) -> Result<StepSuccess, StepError> {
        let timing = self.context.executor.settings.timing;
        let (began, began_at) = (self.context.executor.clock.now(), Instant::now());
        let mut watch = UploadWatch::default();
        let mut intervals = PollIntervals::new(timing.pause_min, timing.pause_max);
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
            self.context.tell(EventKind::Progress { at: self.at.clone(), backup: id, tier, bytes });

            match backup.state {
                RecordedState::Completed => {
                    if let Some(success) = self.judge_completed(create, &backup, &vm, &mut watch)? {
                        return Ok(success);
                    }
                }
                RecordedState::Failed => {
                    let message = format!(
                        "the upload of backup {id} failed after {}; check the hypervisor's agent and the backup store",
                        bytes_text(bytes)
                    );
                    return Err(StepError::Failed(message));
                }
                RecordedState::Accepted | RecordedState::Uploading | RecordedState::Other(_) => {
                    if self.is_stuck(&backup, began, began_at)? {
                        let message = format!(
                            "the upload of backup {id} is stuck at {}; check the hypervisor's agent and the backup store",
                            bytes_text(bytes)
                        );
                        return Err(StepError::Failed(message));
                    }
                }
            }
        }
    }

    /// Says whether an upload takes longer than `stuck_after`, counted from its own date as in the planner, but neither
    /// from before this run watches it nor from a date that a wrong clock puts far ahead. A clock that is set back
    /// meanwhile does not prolong it.
    fn is_stuck(&self, backup: &Backup, began: DateTime<Utc>, began_at: Instant) -> Result<bool, StepError> {
        let since = backup.timestamp.unwrap_or(began).clamp(began, began + CLOCK_SKEW_MAX);
        let until = since + self.policy()?.stuck_after;
        let lasts = (until - began).to_std().unwrap_or_default();
        Ok(self.context.executor.clock.now() >= until || began_at.elapsed() >= lasts)
    }

    /// Waits until the upload is looked at again, or is left to FiFo and the next run.
    async fn pause_between_readings(
        &self,
        pause: Duration,
        id: BackupId,
        watch: &UploadWatch,
    ) -> Result<(), StepError> {
        match self.wait(tokio::time::sleep(pause)).await {
            // The next reading says how FiFo refuses us.
            Ok(()) | Err(WaitError::Refused(_)) => Ok(()),
            // What is through is only to be checked.
            Err(WaitError::HandedOver) if watch.completed_since.is_some() => {
                self.pause(pause).await;
                Ok(())
            }
            Err(WaitError::HandedOver) => {
                let why = self.context.why_handed_over();
                Err(StepError::HandedOver(format!(
                    "backup {id} is still running in FiFo, and {why}; the next run checks the result"
                )))
            }
            Err(WaitError::Stopped) => Err(StepError::Interrupted(format!(
                "backup {id} is still running in FiFo; the next run checks the result"
            ))),
        }
    }

    /// Reads a running upload; `None` when nothing could be read, which is borne with for a while.
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
            Ok(None) => Err(StepError::Failed(format!(
                "backup {id} has vanished during its upload; check in FiFo who deleted it"
            ))),
            Err(ReadError::Gone) => {
                Err(StepError::Failed(format!("the VM has vanished during the upload of backup {id}")))
            }
            Err(error) => {
                let blind_since = *watch.blind_since.get_or_insert_with(Instant::now);
                if blind_since.elapsed() < self.context.executor.settings.timing.blind && !error.is_final() {
                    return Ok(None);
                }
                let why = with_causes(&error);
                Err(StepError::Unverified(format!(
                    "backup {id} is started, but its progress can no longer be read: {why}; the next run checks the result"
                )))
            }
        }
    }

    /// Judges a backup that FiFo calls completed; `None` while not everything is written down yet.
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
        let bytes = backup.size_bytes();
        let now = self.context.executor.clock.now();
        match (fault_of(vm, backup.id, create, policy, now), backup.local) {
            (None, LocalState::Present) if backup.missing_file_info().is_none() => {
                Ok(Some(success(backup.id, bytes, "")))
            }
            // A FiFo that has never told a checksum for this VM is an old one; but a new one may still write it.
            (None, LocalState::Present) if has_settled => {
                Ok(Some(success(backup.id, bytes, "; FiFo reports no checksum to verify it with")))
            }
            (None, _) if has_settled => {
                Ok(Some(success(backup.id, bytes, "; FiFo does not report its snapshot as local")))
            }
            (Some(fault), _) if has_settled => {
                Err(StepError::Failed(format!("FiFo reports backup {} as completed, but {fault}", backup.id)))
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
        let single = match self.context.reader.read(self.id).await {
            Ok(seen) => Uploading::find(seen.vm, id),
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
        executor.policies.iter().find(|policy| Some(&policy.name) == self.policy_name()).ok_or_else(|| {
            StepError::Failed("nothing was done: this run does not have the policy of the VM".to_owned())
        })
    }
}

fn success(backup: BackupId, bytes: Option<u64>, remark: &str) -> StepSuccess {
    let size = bytes.map_or("of unknown size".to_owned(), bytes_text);
    let message = format!("backup {} is complete ({size}){remark}", backup.short());
    StepSuccess { ending: ActionOutcome::Done, backup, message }
}

/// Finds what is wrong with a backup that FiFo calls completed, in a reading of its VM.
///
/// Whether it is good is for the planner to say, whose next plan would otherwise delete what this one has kept.
fn fault_of(vm: &Vm, id: BackupId, create: &Create, policy: &Policy, now: DateTime<Utc>) -> Option<String> {
    let view = VmView::new(vm, policy, now);
    let Some(judged) = view.get(id) else {
        return Some("it has no timestamp: it was deleted during its upload".to_owned());
    };
    let backup = judged.backup;
    let tier = judged.tier.map(|tier| &view.tier(tier).name);
    if backup.comment.as_ref() != Some(&create.comment) || tier != Some(&create.tier) {
        let comment =
            backup.comment.as_ref().map_or_else(|| "none".to_owned(), |comment| format!("`{comment}`"));
        return Some(format!("its comment is {comment}, not `{}`", create.comment));
    }
    if backup.parent != create.parent {
        let parent = |id: Option<BackupId>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        return Some(format!("its parent is {}, not {}", parent(backup.parent), parent(create.parent)));
    }
    match chain_of(&vm.backups, id).map(|chain| chain.end) {
        Some(ChainEnd::Full) | None => {}
        Some(ChainEnd::Missing(ancestor)) => {
            return Some(format!("backup {ancestor}, which a restore of it needs, is missing"));
        }
        Some(ChainEnd::Loop(ancestor)) => {
            return Some(format!("its chain of parents loops at backup {ancestor}"));
        }
    }
    match judged.standing {
        Standing::Completed if judged.restorable => None,
        Standing::Completed => Some("a backup that a restore of it needs is no longer usable".to_owned()),
        Standing::Hollow => {
            let bytes = backup.smallest_size_bytes().filter(|&bytes| bytes < STREAM_BYTES_MIN);
            Some(match bytes {
                Some(bytes) => format!(
                    "one of its stored files has only {}, too little for a stream: the export probably failed",
                    bytes_text(bytes)
                ),
                None => format!(
                    "its size of {} is below the minimum of {} that the policy sets for a full backup: the export probably failed",
                    bytes_text(backup.size_bytes().unwrap_or(0)),
                    bytes_text(policy.min_full_size_bytes)
                ),
            })
        }
        Standing::Unverified { .. } => Some(missing_file_info_text(backup).to_owned()),
        Standing::Failed | Standing::Stuck | Standing::InProgress => {
            Some("it is no longer completed".to_owned())
        }
    }
}
