//! Creating a backup: asked for once, looked for rather than repeated, and waited for until it is good.

use super::event::{Ending, What};
use super::one_vm::{Good, Problem, Waited, Worker, chain, create_step};
use super::pace::Pauses;
use super::running::{Unwatched, Upload};
use crate::fifo::{NewBackup, WriteAnswer};
use crate::inventory::{BackupId, Vm};
use crate::plan::{Action, Create};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How often a write is refused with 412 before it is sent without a condition: behind several API nodes or a cache
/// the condition may never fit.
pub(super) const REFUSALS_MAX: u32 = 3;

/// What is said of a 412 to a write that went without a condition. FiFo does not do that, and asking again would only
/// be refused again.
pub(super) const REFUSED_WITHOUT_CONDITION: &str =
    "412 came back to a request without If-Match: something between here and FiFo refuses it";

/// How often a create is sent at the most, when each time no answer came and no new backup appeared.
const SENT_MAX: u32 = 5;

/// How often a 429 is taken for an answer to wait for; it does nothing.
pub(super) const BUSY_MAX: u32 = 10;

/// How long a `Retry-After` is heeded at the most.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// How far before the request a new backup's timestamp may lie, since sniffle's clock is not the API's. As far as two
/// clocks may differ at all: somebody else's backup taken for ours is only waited for, ours overlooked is made twice.
pub(super) const CLOCKS_APART_MAX: TimeDelta = TimeDelta::hours(1);

/// What looking for a new backup came to.
enum Search {
    Found(BackupId),
    /// The list was read to its end after all patience, and does not have it.
    Absent,
    /// Nothing could be read in the end.
    Unknown(String),
}

impl Worker<'_> {
    /// Creates a backup and waits until it is complete and checked.
    pub(super) async fn create(&mut self, create: &Create) -> Result<Good, Problem> {
        let settings = self.shared.executor.settings;
        let slot = if settings.wait {
            match self.wait(self.shared.slots.acquire(&self.hypervisor)).await {
                Waited::For(slot) => slot,
                Waited::Stopped => return Err(not_begun()),
                Waited::HandedOver => return Err(not_begun_either()),
            }
        } else {
            self.shared
                .slots
                .try_acquire(&self.hypervisor)
                .ok_or_else(|| Problem::Left("as many uploads as may run are running".to_owned()))?
        };
        let backup = match self.request(create).await {
            Ok(backup) => backup,
            Err(problem) => {
                if matches!(problem, Problem::Unverified(_)) {
                    let unseen = Upload::Unseen { before: self.known.clone() };
                    self.shared.keep_running(self.unwatched(unseen)?, slot);
                }
                return Err(problem);
            }
        };
        self.shared.tell(What::Accepted { at: self.at.clone(), backup, tier: create.tier.clone() });
        if !settings.wait {
            self.shared.keep_running(self.unwatched(Upload::Of(backup))?, slot);
            let message = format!("backup {backup} was started and is not waited for");
            return Ok(Good { ending: Ending::Started, backup, message });
        }
        let result = self.wait_for(create, backup).await;
        if matches!(result, Err(Problem::Unverified(_))) {
            // It is out of sight, and may well go on: its place is not free before somebody has seen it end.
            self.shared.keep_running(self.unwatched(Upload::Of(backup))?, slot);
        }
        result
    }

    fn unwatched(&self, which: Upload) -> Result<Unwatched, Problem> {
        // FiFo's clock, which stamps it and by which the planner counts, may be ahead of ours.
        let until = self.shared.executor.clock.now() + CLOCKS_APART_MAX + self.policy()?.stuck_after;
        Ok(Unwatched { vm: self.id, which, hypervisor: self.hypervisor.clone(), until })
    }

    /// Asks FiFo for the backup until it is on record, or it is certain that it is not.
    async fn request(&mut self, create: &Create) -> Result<BackupId, Problem> {
        let new = NewBackup { comment: create.comment.clone(), parent: create.parent };
        let mut refusals = 0;
        let mut sent = 0;
        let mut busy = 0;
        let mut waited = TimeDelta::zero();
        // What was on record, and when, before it was sent for the first time.
        let mut first: Option<(BTreeSet<BackupId>, DateTime<Utc>)> = None;
        loop {
            let seen = if refusals < REFUSALS_MAX { self.look().await? } else { self.look_in_list().await? };
            // What was sent before without an answer may have been slower than the search for it.
            if let Some((known, asked_at)) = &first
                && let Some(backup) = new_backup(&seen.vm, create, known, *asked_at, None)
            {
                return Ok(backup);
            }
            // By now it may be due since later than when it was planned: it may have waited for its place for long.
            let due_since = still_wanted(self.decide_anew(&seen)?.due_actions(), create)?;
            self.clocks_agree(seen.server_date)?;
            // A clock may be set back meanwhile, or stand still: in all it is waited for no longer than clocks may differ.
            if let Some(early) = early(due_since, seen.server_date).filter(|_| waited < CLOCKS_APART_MAX) {
                waited += early;
                match self.wait(tokio::time::sleep(early.to_std().unwrap_or_default())).await {
                    Waited::For(()) => {}
                    Waited::Stopped => return Err(not_begun()),
                    Waited::HandedOver => return Err(not_begun_either()),
                }
                // That may have been long, and what was seen is old.
                continue;
            }
            if self.is_stopped() {
                return Err(not_begun());
            }
            let known = self.known_with(&seen.vm);
            let asked_at = seen.server_date.unwrap_or_else(|| self.shared.executor.clock.now());
            self.shared.tell(What::ActionStarted { at: self.at.clone(), step: create_step(create, None) });
            let client = self.shared.executor.client;
            let answer = client.create_backup(self.id, &new, seen.etag.as_ref()).await;
            let unclear = match answer {
                Err(error) => return Err(Problem::Failed(format!("nothing was created: {}", chain(&error)))),
                Ok(WriteAnswer::Refused { status, .. }) => {
                    return Err(Problem::Failed(format!(
                        "FiFo refused the create with {status}; nothing was created"
                    )));
                }
                Ok(WriteAnswer::Accepted { backup, .. }) => {
                    return match self.search(create, &known, asked_at, backup).await {
                        Search::Found(backup) => Ok(backup),
                        Search::Absent => Err(Problem::Unverified(
                            "FiFo accepted the create, and no new backup is listed; look at the VM in FiFo"
                                .to_owned(),
                        )),
                        Search::Unknown(why) => Err(Problem::Unverified(format!(
                            "FiFo accepted the create, and then could not be read ({why})"
                        ))),
                    };
                }
                Ok(WriteAnswer::Changed) if seen.etag.is_none() => {
                    return Err(Problem::Failed(format!("{REFUSED_WITHOUT_CONDITION}; nothing was created")));
                }
                Ok(WriteAnswer::Changed) => {
                    // Somebody changed the VM since it was read, were it only a log line: look and decide again.
                    refusals += 1;
                    self.pause(self.shared.executor.settings.pace.pause_min).await;
                    continue;
                }
                Ok(WriteAnswer::TooMany { retry_after }) => {
                    busy += 1;
                    if busy >= BUSY_MAX {
                        return Err(Problem::Failed(
                            "FiFo answers 429 to every create; nothing was created".to_owned(),
                        ));
                    }
                    let pause = retry_after.unwrap_or(self.shared.executor.settings.pace.pause_max);
                    self.pause(pause.min(RETRY_AFTER_MAX)).await;
                    continue;
                }
                Ok(WriteAnswer::Failed { status }) => {
                    Unclear { what: format!("answered {status}"), may_repeat: false }
                }
                Ok(WriteAnswer::Unavailable { status }) => {
                    Unclear { what: format!("answered {status}"), may_repeat: true }
                }
                Ok(WriteAnswer::Lost { message } | WriteAnswer::NotSent { message }) => {
                    Unclear { what: format!("gave no answer ({message})"), may_repeat: true }
                }
            };
            sent += 1;
            let (known, asked_at) = first.get_or_insert((known, asked_at));
            match self.search(create, known, *asked_at, None).await {
                Search::Found(backup) => return Ok(backup),
                Search::Absent if unclear.may_repeat && sent < SENT_MAX => {}
                Search::Absent => {
                    return Err(Problem::Failed(format!(
                        "FiFo {} to the create, and no new backup appeared; {}",
                        unclear.what,
                        if unclear.may_repeat {
                            "it was sent five times"
                        } else {
                            "look at the VM's hypervisor, its agent and the backup store"
                        }
                    )));
                }
                Search::Unknown(why) => {
                    return Err(Problem::Unverified(format!(
                        "FiFo {} to the create and could not be read after it ({why}); it was not sent again, the next run looks",
                        unclear.what
                    )));
                }
            }
        }
    }

    /// With clocks too far apart nothing is planned; if one is set in the middle of a run, nothing more is created: the
    /// backup might be stamped before its due time, and not count for it.
    fn clocks_agree(&self, server_date: Option<DateTime<Utc>>) -> Result<(), Problem> {
        let ours = self.shared.executor.clock.now();
        match server_date.filter(|server| (*server - ours).abs() > CLOCKS_APART_MAX) {
            None => Ok(()),
            Some(server) => Err(Problem::Failed(format!(
                "nothing was created: it is {} here and {} on the server; set the wrong one of the two clocks",
                ours.format("%Y-%m-%d %H:%M:%S UTC"),
                server.format("%Y-%m-%d %H:%M:%S UTC"),
            ))),
        }
    }

    /// Looks for the new backup, in the VM's own reading and then in the list, until it is there or patience ends.
    async fn search(
        &self,
        create: &Create,
        known: &BTreeSet<BackupId>,
        asked_at: DateTime<Utc>,
        told: Option<BackupId>,
    ) -> Search {
        let pace = self.shared.executor.settings.pace;
        let is_ours = |vm: &Vm| new_backup(vm, create, known, asked_at, told);
        let began = Instant::now();
        let mut pauses = Pauses::new(pace.pause_min / 4, pace.pause_max);
        loop {
            let is_last = began.elapsed() >= pace.search;
            if let Ok(seen) = self.shared.look.at(self.id).await
                && let Some(backup) = is_ours(&seen.vm)
            {
                return Search::Found(backup);
            }
            match self.shared.look.in_list(self.id).await {
                Ok(vm) => match is_ours(&vm) {
                    Some(backup) => return Search::Found(backup),
                    None if is_last => return Search::Absent,
                    None => {}
                },
                Err(error) if is_last => return Search::Unknown(chain(&error)),
                Err(_) => {}
            }
            let left = pace.search.saturating_sub(began.elapsed());
            tokio::time::sleep(pauses.next().unwrap_or(pace.pause_max).min(left)).await;
        }
    }
}

/// An answer that does not say whether the backup was made.
struct Unclear {
    what: String,
    /// Whether it may be asked for again once it is certain that it was not made.
    may_repeat: bool,
}

/// Finds a planned create among what is wanted now, and gives since when it is due by that.
fn still_wanted(fresh: &[Action], create: &Create) -> Result<DateTime<Utc>, Problem> {
    let planned = Action::Create(create.clone());
    let due_since = fresh.iter().find_map(|action| match action {
        Action::Create(wanted) if action.is_same_deed_as(&planned) => Some(wanted.due_since.to_utc()),
        _ => None,
    });
    due_since.ok_or_else(|| {
        Problem::Dropped(
            "as the VM is now, this backup is not wanted; perhaps another run has made it".to_owned(),
        )
    })
}

/// Gives how long it is until the create is due by FiFo's clock too: a backup that FiFo stamps before its due time would
/// not count for it, and the next run would make another.
fn early(due_since: DateTime<Utc>, server_date: Option<DateTime<Utc>>) -> Option<TimeDelta> {
    let early = due_since - server_date?;
    // The server tells whole seconds.
    (early > TimeDelta::zero()).then(|| early.min(CLOCKS_APART_MAX) + TimeDelta::seconds(1))
}

pub(super) fn not_begun() -> Problem {
    Problem::Interrupted("the run ended before it was asked for".to_owned())
}

fn not_begun_either() -> Problem {
    Problem::Left("it was not asked for before the next run is due, which does it".to_owned())
}

/// Finds the backup that a create has made: one that was not there before, with its comment and no other parent, and
/// stamped no earlier than the clocks allow. Of several, the oldest.
fn new_backup(
    vm: &Vm,
    create: &Create,
    known: &BTreeSet<BackupId>,
    asked_at: DateTime<Utc>,
    told: Option<BackupId>,
) -> Option<BackupId> {
    if let Some(told) = told.filter(|told| vm.backups.contains_key(told)) {
        return Some(told);
    }
    vm.backups
        .values()
        .filter(|backup| !known.contains(&backup.id) && backup.comment.as_ref() == Some(&create.comment))
        .filter(|backup| backup.parent.is_none() || backup.parent == create.parent)
        .filter(|backup| backup.timestamp.is_none_or(|taken| taken >= asked_at - CLOCKS_APART_MAX))
        .min_by_key(|backup| (backup.timestamp, backup.id))
        .map(|backup| backup.id)
}
