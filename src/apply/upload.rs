//! Waiting for an upload, and judging what came of it.

use super::create::CLOCKS_APART_MAX;
use super::event::{Ending, What};
use super::look::LookError;
use super::one_vm::{Good, Problem, Waited, Worker, chain};
use super::pace::Pauses;
use crate::inventory::{Backup, BackupId, ChainEnd, RecordedState, Vm, chain_of};
use crate::plan::standing::{STREAM_BYTES_MIN, Standing, View};
use crate::plan::{Create, bytes_text, lacking_text};
use crate::policy::Policy;
use chrono::{DateTime, Utc};
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
struct Watch {
    last: Option<Uploading>,
    same_readings: u32,
    /// Since when nothing at all could be read.
    blind_since: Option<Instant>,
    /// Since when FiFo calls it completed.
    completed_since: Option<Instant>,
}

impl Worker<'_> {
    /// Waits for a backup until it is complete, checked, and its snapshot is in place; or has come to a bad end.
    pub(super) async fn wait_for(&self, create: &Create, id: BackupId) -> Result<Good, Problem> {
        let pace = self.shared.executor.settings.pace;
        let began = self.shared.executor.clock.now();
        let mut watch = Watch::default();
        let mut pauses = Pauses::new(pace.pause_min, pace.pause_max);
        loop {
            let pause = match watch.completed_since {
                Some(_) => pace.pause_min,
                None => pauses.next().unwrap_or(pace.pause_max),
            };
            match self.wait(tokio::time::sleep(pause)).await {
                Waited::For(()) => {}
                // What is through is only to be checked.
                Waited::HandedOver if watch.completed_since.is_some() => self.pause(pause).await,
                Waited::HandedOver => {
                    let message =
                        format!("backup {id} goes on in FiFo; the next run, which is due, takes it over");
                    return Err(Problem::Left(message));
                }
                Waited::Stopped => {
                    let message = format!("backup {id} goes on in FiFo; the next run looks what came of it");
                    return Err(Problem::Interrupted(message));
                }
            }
            let Uploading { backup, vm } = match self.read_upload(id, &mut watch).await {
                Ok(Some(uploading)) => uploading,
                Ok(None) => {
                    return Err(Problem::Failed(format!("backup {id} has vanished while it was uploading")));
                }
                Err(LookError::Gone) => {
                    return Err(Problem::Failed(format!(
                        "the VM has vanished while backup {id} was uploading"
                    )));
                }
                Err(error) => {
                    let blind_since = *watch.blind_since.get_or_insert_with(Instant::now);
                    if blind_since.elapsed() < pace.blind && !error.is_final() {
                        continue;
                    }
                    let why = chain(&error);
                    let message = format!("backup {id} was started and can no longer be watched: {why}");
                    return Err(Problem::Unverified(message));
                }
            };
            watch.blind_since = None;
            let bytes = backup.size_bytes().unwrap_or(0);
            let tier = create.tier.clone();
            self.shared.tell(What::Progress { at: self.at.clone(), backup: id, tier, bytes });

            let policy = self.policy()?;
            match backup.state {
                RecordedState::Completed => {
                    let completed_since = *watch.completed_since.get_or_insert_with(Instant::now);
                    let has_settled = completed_since.elapsed() >= pace.settle;
                    let now = self.shared.executor.clock.now();
                    match (fault_of(&vm, id, create, policy, now), backup.local) {
                        (None, Some(true)) => return Ok(good(id, bytes, "")),
                        (None, _) if has_settled => {
                            return Ok(good(id, bytes, "; FiFo does not say that its snapshot is in place"));
                        }
                        (Some(fault), _) if has_settled => {
                            let message = format!("FiFo calls backup {id} completed, but {fault}");
                            return Err(Problem::Failed(message));
                        }
                        _ => {}
                    }
                }
                RecordedState::Failed => {
                    let message = format!(
                        "the upload of backup {id} failed after {}; look at the hypervisor's agent and the backup store",
                        bytes_text(bytes)
                    );
                    return Err(Problem::Failed(message));
                }
                RecordedState::Accepted | RecordedState::Uploading | RecordedState::Other(_) => {
                    // By its own date, as the planner counts; but a wrong clock must not hold the run for as long.
                    let since = backup.timestamp.unwrap_or(began).clamp(began, began + CLOCKS_APART_MAX);
                    if self.shared.executor.clock.now() >= since + policy.stuck_after {
                        let message = format!("backup {id} is stuck at {}", bytes_text(bytes));
                        return Err(Problem::Failed(message));
                    }
                }
            }
        }
    }

    /// Reads a running upload; `None` when the list, which is never old, does not have it.
    async fn read_upload(&self, id: BackupId, watch: &mut Watch) -> Result<Option<Uploading>, LookError> {
        let single = match self.shared.look.at(self.id).await {
            Ok(seen) => Uploading::find(seen.vm, id),
            Err(LookError::Gone) => {
                return Ok(Uploading::find(self.shared.look.in_list(self.id).await?, id));
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
        Ok(Uploading::find(self.shared.look.in_list(self.id).await?, id))
    }

    pub(super) fn policy(&self) -> Result<&Policy, Problem> {
        let executor = self.shared.executor;
        executor
            .policies
            .iter()
            .find(|policy| Some(&policy.name) == self.policy_name())
            .ok_or_else(|| Problem::Failed("its policy is not among those of this run".to_owned()))
    }
}

fn good(backup: BackupId, bytes: u64, remark: &str) -> Good {
    let message = format!("backup {} is complete ({}){remark}", backup.short(), bytes_text(bytes));
    Good { ending: Ending::Done, backup, message }
}

/// Finds what is wrong with a backup that FiFo calls completed, in a reading of its VM.
///
/// Whether it is good is for the planner to say, whose next plan would otherwise delete what this one has kept.
fn fault_of(vm: &Vm, id: BackupId, create: &Create, policy: &Policy, now: DateTime<Utc>) -> Option<String> {
    let view = View::new(vm, policy, now);
    let Some(judged) = view.get(id) else {
        return Some("its record has no timestamp, as the remains of a backup that was deleted".to_owned());
    };
    let backup = judged.backup;
    if backup.comment.as_ref() != Some(&create.comment) {
        return Some(format!("its comment is {:?}, not {:?}", backup.comment, create.comment));
    }
    if backup.parent != create.parent {
        let parent = |id: Option<BackupId>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        return Some(format!("its parent is {}, not {}", parent(backup.parent), parent(create.parent)));
    }
    match chain_of(&vm.backups, id).map(|chain| chain.end) {
        Some(ChainEnd::Full) | None => {}
        Some(ChainEnd::Missing(ancestor)) => {
            return Some(format!("backup {ancestor}, which it rests on, was deleted meanwhile"));
        }
        Some(ChainEnd::Loop(ancestor)) => {
            return Some(format!("its chain runs in a circle at backup {ancestor}"));
        }
    }
    match judged.standing {
        Standing::Completed if judged.restorable => None,
        Standing::Completed => Some("a backup that it rests on is not good any more".to_owned()),
        Standing::Hollow => {
            let bytes = backup.smallest_size_bytes().filter(|&bytes| bytes < STREAM_BYTES_MIN);
            Some(match bytes {
                Some(bytes) => format!(
                    "a stored file of it has {}, which is no stream: the export will have failed",
                    bytes_text(bytes)
                ),
                None => format!(
                    "a full backup of {} is less than the {} that the policy expects: the export will have failed",
                    bytes_text(backup.size_bytes().unwrap_or(0)),
                    bytes_text(policy.min_full_size_bytes)
                ),
            })
        }
        Standing::Unverified { .. } => Some(lacking_text(backup).to_owned()),
        Standing::Failed | Standing::Stuck | Standing::InProgress => {
            Some("it is not completed any more".to_owned())
        }
    }
}
