//! Deleting a snapshot on the hypervisor, and making sure that nothing else went with it.
//!
//! A DELETE that loses its body on the way is a cloud delete of the backup and of all that descends from it. So the
//! effect is looked at each time, and the first one of a run goes alone.

use super::asking::{Answer, Asking, Unclear};
use super::canary::Pass;
use super::create::not_begun;
use super::event::{Ending, What};
use super::look::Seen;
use super::one_vm::{Good, Problem, Worker, chain, delete_step};
use super::pace::Pauses;
use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use crate::plan::Action;
use crate::policy::minute_text;
use tokio::time::Instant;

/// How many readings may show the snapshot before the list is looked at.
const READINGS_PER_LIST: u32 = 3;

/// What is seen after a local delete was asked for. That something else went is an alarm instead.
enum Effect {
    /// The record is there, no longer local, and so is every other.
    Done,
    /// By the list, the snapshot is still there, and so is every record.
    None,
    /// The list could not be read.
    Unknown(String),
}

/// A snapshot that is to be deleted, as the VM was just seen.
struct Wanted {
    seen: Seen,
    /// What the snapshot is called.
    name: String,
    /// Whether the backup is stored whole.
    is_completed: bool,
}

impl Wanted {
    fn done(&self, backup: BackupId) -> Good {
        let stored = if self.is_completed { ", the stored copy is in place" } else { "" };
        Good { ending: Ending::Done, backup, message: format!("{} is deleted{stored}", self.name) }
    }
}

impl Worker<'_> {
    /// Deletes a backup's snapshot on the hypervisor.
    pub(super) async fn delete_locally(&mut self, tier: &str, backup: BackupId) -> Result<Good, Problem> {
        // Before a turn is taken: those who wait for the first one must not take the turns away from it.
        let pass = self.shared.gate.pass(self.id).await.map_err(gate_is_closed)?;
        let _turn = self.shared.take_turn().await;
        if self.is_stopped() {
            return Err(not_begun());
        }
        match self.delete_until_seen(&pass, tier, backup).await {
            Err(problem) if self.guard.is_some() => Err(self.last_look(&pass, backup, problem).await),
            result => result,
        }
    }

    /// Looks once more where a delete came to no good end after something was sent: FiFo may have done it all the same.
    async fn last_look(&mut self, pass: &Pass<'_>, backup: BackupId, problem: Problem) -> Problem {
        if matches!(problem, Problem::Alarm(_)) {
            return problem;
        }
        match self.guarded_list().await {
            Err(alarm) => alarm,
            Ok(Ok(_)) => problem,
            Ok(Err(_)) => {
                pass.close(format!("what came of the one of backup {backup} could not be read"));
                problem
            }
        }
    }

    /// Asks FiFo for the delete until it is seen to be done, or it is certain that it is not.
    async fn delete_until_seen(
        &mut self,
        pass: &Pass<'_>,
        tier: &str,
        backup: BackupId,
    ) -> Result<Good, Problem> {
        let mut asking = Asking::for_delete();
        loop {
            let wanted = match self.look_whether_wanted(&asking, backup).await? {
                Ok(wanted) => wanted,
                Err(good) => return Ok(good),
            };
            self.clocks_agree(&asking, wanted.seen.server_date)?;
            if pass.may_go().await.map_err(gate_is_closed)? {
                // That may have been long, and what was seen is old.
                continue;
            }
            if self.is_stopped() {
                return Err(not_begun());
            }
            self.shared.tell(What::ActionStarted { at: self.at.clone(), step: delete_step(tier, backup) });
            let etag = wanted.seen.etag.as_ref();
            let answer = self.shared.executor.client.delete_local(self.id, backup, etag).await;
            if Asking::has_left(&answer) {
                self.watch_over(backup, &wanted.seen.vm);
            }
            match self.understand(&mut asking, answer, etag.is_some()).await? {
                Answer::Later => {}
                Answer::Accepted(_) => {
                    self.see_accepted(pass, backup).await?;
                    return Ok(wanted.done(backup));
                }
                Answer::Unclear(unclear) => {
                    if self.see_unclear(pass, backup, &asking, unclear).await? {
                        return Ok(wanted.done(backup));
                    }
                }
            }
        }
    }

    /// Looks whether a snapshot is still to be deleted. Where it is gone already there is nothing to do.
    async fn look_whether_wanted(
        &mut self,
        asking: &Asking,
        backup: BackupId,
    ) -> Result<Result<Wanted, Good>, Problem> {
        let seen = self.look_before(asking).await?;
        let Some(record) = seen.vm.backups.get(&backup) else {
            return Err(Problem::Dropped(format!("backup {backup} is not on record any more")));
        };
        let name = self.snapshot_text(record)?;
        let is_completed = record.state == RecordedState::Completed;
        if record.local == Some(false) {
            return Ok(Err(Good {
                ending: Ending::Done,
                backup,
                message: format!("{name} was gone already"),
            }));
        }
        let fresh = self.decide_anew(&seen)?;
        let is_wanted = |action: &Action| matches!(action, Action::DeleteLocal(delete) if delete.backup == backup && !delete.after_create);
        if !fresh.due_actions().iter().any(is_wanted) {
            return Err(Problem::Dropped("as the VM is now, this snapshot is needed".to_owned()));
        }
        Ok(Ok(Wanted { seen, name, is_completed }))
    }

    /// Looks what a delete did that FiFo has taken on.
    async fn see_accepted(&mut self, pass: &Pass<'_>, backup: BackupId) -> Result<(), Problem> {
        match self.effect_of(backup, true).await? {
            Effect::Done => {
                pass.went_well();
                Ok(())
            }
            Effect::None => {
                pass.close(format!("FiFo accepted the one of backup {backup}, and it is still local"));
                Err(Problem::Unverified(
                    "FiFo accepted it, and the snapshot is still there; no more are started".to_owned(),
                ))
            }
            Effect::Unknown(why) => {
                pass.close(format!("what came of the one of backup {backup} could not be read"));
                Err(Problem::Unverified(format!(
                    "FiFo accepted it and could not be read after it ({why}); no more are started"
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
        pass: &Pass<'_>,
        backup: BackupId,
        asking: &Asking,
        unclear: Unclear,
    ) -> Result<bool, Problem> {
        let said = &unclear.said;
        if !unclear.has_left {
            if asking.may_go_on(&unclear) {
                self.pause(self.shared.executor.settings.pace.settle / 4).await;
                return Ok(false);
            }
            return Err(Problem::Failed(format!("FiFo {said}; nothing was deleted")));
        }
        let _unclear = pass.unclear();
        match self.effect_of(backup, false).await? {
            Effect::Done => Ok(true),
            Effect::None if asking.may_go_on(&unclear) => Ok(false),
            Effect::None => Err(Problem::Failed(format!(
                "FiFo {said}, and the snapshot is still there; look at the hypervisor's agent"
            ))),
            Effect::Unknown(why) => {
                pass.close(format!("what came of the one of backup {backup} could not be read"));
                Err(Problem::Unverified(format!(
                    "FiFo {said} and could not be read after it ({why}); no more are started"
                )))
            }
        }
    }

    /// Names a snapshot by what tells a VM's snapshots of one tier apart.
    fn snapshot_text(&self, backup: &Backup) -> Result<String, Problem> {
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
    async fn effect_of(&mut self, backup: BackupId, was_accepted: bool) -> Result<Effect, Problem> {
        let pace = self.shared.executor.settings.pace;
        let began = Instant::now();
        let mut pauses = Pauses::new(pace.pause_min / 4, pace.pause_max / 3);
        let mut readings = 0;
        loop {
            let is_last = began.elapsed() >= pace.verify;
            let mut is_missing = false;
            if let Ok(seen) = self.shared.look.at(self.id).await {
                is_missing = !self.is_nothing_gone(&seen.vm);
                if was_accepted && !is_missing && is_deleted(&seen.vm, backup) {
                    return Ok(Effect::Done);
                }
            }
            readings += 1;
            if is_missing || is_last || readings % READINGS_PER_LIST == 0 {
                match self.guarded_list().await? {
                    Ok(vm) if (was_accepted || is_last) && is_deleted(&vm, backup) => {
                        return Ok(Effect::Done);
                    }
                    Ok(_) if is_last => return Ok(Effect::None),
                    Err(error) if is_last => return Ok(Effect::Unknown(chain(&error))),
                    Ok(_) | Err(_) => {}
                }
            }
            let left = pace.verify.saturating_sub(began.elapsed());
            tokio::time::sleep(pauses.next().unwrap_or(pace.pause_max).min(left)).await;
        }
    }
}

fn gate_is_closed(reason: String) -> Problem {
    Problem::Dropped(format!("no more local deletes in this run: {reason}"))
}

fn is_deleted(vm: &Vm, backup: BackupId) -> bool {
    vm.backups.get(&backup).is_some_and(|record| record.local == Some(false))
}
