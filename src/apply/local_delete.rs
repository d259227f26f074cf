//! Deleting a snapshot on the hypervisor, and making sure that nothing else went with it.
//!
//! A DELETE that loses its body on the way is a cloud delete of the backup and of all that descends from it. So the
//! effect is looked at each time, and the first one of a run goes alone.

use super::canary::Pass;
use super::create::{BUSY_MAX, REFUSALS_MAX, REFUSED_WITHOUT_CONDITION, RETRY_AFTER_MAX, not_begun};
use super::event::{Ending, What};
use super::one_vm::{Good, Problem, Worker, chain, delete_step};
use super::outcome::CascadeAlarm;
use super::pace::Pauses;
use crate::fifo::WriteAnswer;
use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use crate::plan::Action;
use crate::policy::minute_text;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// How often a local delete is sent at the most, when each time no answer came and nothing has changed. Repeating it
/// is harmless, once it is certain that nothing has gone.
const SENT_MAX: u32 = 3;

/// How many readings may show the snapshot before the list is looked at.
const READINGS_PER_LIST: u32 = 3;

/// What is seen after a local delete was asked for.
enum Effect {
    /// The record is there, no longer local, and so is every other.
    Done,
    /// These are gone, by the list.
    Gone(BTreeSet<BackupId>),
    /// By the list, the snapshot is still there, and so is every record.
    None,
    /// The list could not be read.
    Unknown(String),
}

impl Worker<'_> {
    /// Deletes a backup's snapshot on the hypervisor.
    pub(super) async fn delete_locally(&mut self, tier: &str, backup: BackupId) -> Result<Good, Problem> {
        let _turn = self.shared.take_turn().await;
        let pass = self.shared.gate.pass().await.map_err(gate_is_closed)?;
        if self.is_stopped() {
            return Err(not_begun());
        }
        let pace = self.shared.executor.settings.pace;
        let mut refusals = 0;
        let mut sent = 0;
        let mut busy = 0;
        loop {
            let seen = if refusals < REFUSALS_MAX { self.look().await? } else { self.look_in_list().await? };
            let Some(record) = seen.vm.backups.get(&backup) else {
                return Err(Problem::Dropped(format!("backup {backup} is not on record any more")));
            };
            let snapshot = self.snapshot_text(record)?;
            let is_completed = record.state == RecordedState::Completed;
            if record.local == Some(false) {
                let message = format!("{snapshot} was gone already");
                return Ok(Good { ending: Ending::Done, backup, message });
            }
            let fresh = self.decide_anew(&seen)?;
            let is_wanted = |action: &Action| matches!(action, Action::DeleteLocal(delete) if delete.backup == backup && !delete.after_create);
            if !fresh.due_actions().iter().any(is_wanted) {
                return Err(Problem::Dropped("as the VM is now, this snapshot is needed".to_owned()));
            }
            pass.still_holds().map_err(gate_is_closed)?;
            if self.is_stopped() {
                return Err(not_begun());
            }
            let before: BTreeSet<BackupId> = seen.vm.backups.keys().copied().collect();
            self.shared.tell(What::ActionStarted { at: self.at.clone(), step: delete_step(tier, backup) });
            let answer = self.shared.executor.client.delete_local(self.id, backup, seen.etag.as_ref()).await;
            let (said, was_accepted, may_repeat) = match answer {
                Err(error) => return Err(Problem::Failed(format!("nothing was deleted: {}", chain(&error)))),
                Ok(WriteAnswer::Refused { status, .. }) => {
                    return Err(Problem::Failed(format!(
                        "FiFo refused the delete with {status}; nothing was deleted"
                    )));
                }
                Ok(WriteAnswer::Changed) if seen.etag.is_none() => {
                    return Err(Problem::Failed(format!("{REFUSED_WITHOUT_CONDITION}; nothing was deleted")));
                }
                Ok(WriteAnswer::Changed) => {
                    refusals += 1;
                    self.pause(pace.pause_min).await;
                    continue;
                }
                Ok(WriteAnswer::TooMany { retry_after }) => {
                    busy += 1;
                    if busy >= BUSY_MAX {
                        return Err(Problem::Failed(
                            "FiFo answers 429 to every delete; nothing was deleted".to_owned(),
                        ));
                    }
                    self.pause(retry_after.unwrap_or(pace.pause_max).min(RETRY_AFTER_MAX)).await;
                    continue;
                }
                Ok(WriteAnswer::Accepted { .. }) => ("accepted it".to_owned(), true, false),
                Ok(WriteAnswer::Failed { status }) => (format!("answered {status}"), false, false),
                Ok(WriteAnswer::Unavailable { status }) => (format!("answered {status}"), false, true),
                Ok(WriteAnswer::Lost { message } | WriteAnswer::NotSent { message }) => {
                    (format!("gave no answer ({message})"), false, true)
                }
            };
            sent += 1;
            match self.effect_of(backup, &before, was_accepted).await {
                Effect::Done => {
                    // One that FiFo did not say it has taken proves nothing about its body: what is seen may be somebody
                    // else's doing, as when the VM was moved meanwhile. Then the next one goes alone as well.
                    if was_accepted {
                        pass.went_well();
                    }
                    let stored = if is_completed { ", the stored copy is in place" } else { "" };
                    let message = format!("{snapshot} is deleted{stored}");
                    return Ok(Good { ending: Ending::Done, backup, message });
                }
                Effect::Gone(gone) => return Err(self.raise(pass, backup, gone)),
                Effect::None if may_repeat && sent < SENT_MAX => {}
                Effect::None if was_accepted => {
                    let reason = format!("FiFo accepted the one of backup {backup}, and it is still local");
                    pass.close(reason);
                    let message =
                        "FiFo accepted it, and the snapshot is still there; no more are started".to_owned();
                    return Err(Problem::Unverified(message));
                }
                Effect::None => {
                    return Err(Problem::Failed(format!(
                        "FiFo {said}, and the snapshot is still there; look at the hypervisor's agent"
                    )));
                }
                Effect::Unknown(why) => {
                    pass.close(format!("what came of the one of backup {backup} could not be read"));
                    let message =
                        format!("FiFo {said} and could not be read after it ({why}); no more are started");
                    return Err(Problem::Unverified(message));
                }
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

    fn raise(&self, pass: Pass<'_>, backup: BackupId, gone: BTreeSet<BackupId>) -> Problem {
        pass.close("backups have vanished".to_owned());
        let alarm = CascadeAlarm { at: self.at.clone(), backup, gone: gone.into_iter().collect() };
        self.shared.raise(alarm.clone());
        Problem::Alarm(alarm)
    }

    /// Looks what a local delete did. A single reading can show that it was done; that something has gone, or that
    /// nothing has happened, only the list can show.
    ///
    /// An accepted one is looked for with all patience; of another it is only asked what is so now.
    async fn effect_of(&self, backup: BackupId, before: &BTreeSet<BackupId>, was_accepted: bool) -> Effect {
        let pace = self.shared.executor.settings.pace;
        let patience = if was_accepted { pace.verify } else { pace.settle / 4 };
        let began = Instant::now();
        let mut pauses = Pauses::new(pace.pause_min / 4, pace.pause_max / 3);
        let mut readings = 0;
        loop {
            let is_last = began.elapsed() >= patience;
            let mut missing = false;
            if let Ok(seen) = self.shared.look.at(self.id).await {
                match effect_in(&seen.vm, backup, before) {
                    Effect::Done => return Effect::Done,
                    Effect::Gone(_) => missing = true,
                    Effect::None | Effect::Unknown(_) => {}
                }
            }
            readings += 1;
            if missing || is_last || readings % READINGS_PER_LIST == 0 {
                match self.shared.look.in_list(self.id).await {
                    Ok(vm) => match effect_in(&vm, backup, before) {
                        Effect::None if !is_last => {}
                        effect => return effect,
                    },
                    Err(error) if is_last => return Effect::Unknown(chain(&error)),
                    Err(_) => {}
                }
            }
            let left = patience.saturating_sub(began.elapsed());
            tokio::time::sleep(pauses.next().unwrap_or(pace.pause_max).min(left)).await;
        }
    }
}

fn gate_is_closed(reason: String) -> Problem {
    Problem::Dropped(format!("no more local deletes in this run: {reason}"))
}

fn effect_in(vm: &Vm, backup: BackupId, before: &BTreeSet<BackupId>) -> Effect {
    let gone: BTreeSet<BackupId> = before.iter().copied().filter(|id| !vm.backups.contains_key(id)).collect();
    if !gone.is_empty() {
        return Effect::Gone(gone);
    }
    match vm.backups.get(&backup) {
        Some(record) if record.local == Some(false) => Effect::Done,
        _ => Effect::None,
    }
}
