//! Waiting for an upload, and judging what came of it.

use super::create::CLOCKS_APART_MAX;
use super::event::{Ending, What};
use super::look::LookError;
use super::one_vm::{Good, Problem, Waited, Worker, chain};
use super::pace::Pauses;
use crate::inventory::{Backup, BackupId, ChainEnd, RecordedState, Vm, chain_of};
use crate::plan::standing::STREAM_BYTES_MIN;
use crate::plan::{Create, bytes_text};
use crate::policy::Policy;
use tokio::time::Instant;

/// How many readings in a row may show nothing new before the list is looked at: a single reading can be old for ever.
const SAME_READINGS_MAX: u32 = 3;

/// A running upload, as a reading shows it.
#[derive(Clone, PartialEq)]
struct Uploading {
    backup: Backup,
    /// Where its chain ends: somebody may have deleted an ancestor meanwhile.
    chain_end: ChainEnd,
}

impl Uploading {
    fn find(vm: &mut Vm, id: BackupId) -> Option<Self> {
        let chain_end = chain_of(&vm.backups, id)?.end;
        Some(Self { backup: vm.backups.remove(&id)?, chain_end })
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
            let Uploading { backup, chain_end } = match self.read_upload(id, &mut watch).await {
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
                    match (fault_of(&backup, chain_end, create, policy), backup.local) {
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
            Ok(mut seen) => Uploading::find(&mut seen.vm, id),
            Err(LookError::Gone) => {
                return Ok(Uploading::find(&mut self.shared.look.in_list(self.id).await?, id));
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
        Ok(Uploading::find(&mut self.shared.look.in_list(self.id).await?, id))
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

/// Finds what is wrong with a backup that FiFo calls completed.
fn fault_of(backup: &Backup, chain_end: ChainEnd, create: &Create, policy: &Policy) -> Option<String> {
    if backup.parent != create.parent {
        let parent = |id: Option<BackupId>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        return Some(format!("its parent is {}, not {}", parent(backup.parent), parent(create.parent)));
    }
    match chain_end {
        ChainEnd::Full => {}
        ChainEnd::Missing(ancestor) => {
            return Some(format!("backup {ancestor}, which it rests on, was deleted meanwhile"));
        }
        ChainEnd::Loop(ancestor) => return Some(format!("its chain runs in a circle at backup {ancestor}")),
    }
    if let Some(bytes) = backup.smallest_size_bytes().filter(|&bytes| bytes < STREAM_BYTES_MIN) {
        let bytes = bytes_text(bytes);
        return Some(format!(
            "a stored file of it has {bytes}, which is no stream: the export will have failed"
        ));
    }
    match backup.size_bytes() {
        None => Some("its size is not known".to_owned()),
        Some(bytes) if create.parent.is_none() && bytes < policy.min_full_size_bytes => Some(format!(
            "a full backup of {} is less than the {} that the policy expects: the export will have failed",
            bytes_text(bytes),
            bytes_text(policy.min_full_size_bytes)
        )),
        Some(_) if !backup.has_checksums() => Some("a stored file of it has no checksum".to_owned()),
        Some(_) => None,
    }
}
