//! How a VM's actions end, and what that means for the rest of its run.

use super::super::event::EventKind;
use super::super::outcome::{ActionKind, ActionOutcome, ActionRef, ActionReport, Ended};
use super::super::reader::VmReading;
use super::super::state::Alarm;
use super::{LastCreate, Target, VmRun, WaitError};
use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use crate::plan::{Action, Status, VmPlan};

impl VmRun<'_> {
    /// Ends the action under way, if there is one, and returns how what comes after it ends.
    pub(super) fn end_attempt(&mut self, why: Ended) -> Ended {
        let Some(attempt) = self.attempt.take() else { return why };
        let ended = match &attempt.unclear {
            Some(unclear) => {
                // That is true of everything else that is left to do.
                let cause = why.message.strip_prefix("nothing was done: ").unwrap_or(&why.message);
                let text = format!(
                    "a request was sent, to which FiFo {unclear}, and its effect is not known ({cause}); the next run checks it"
                );
                Ended::unknown("unknown", text)
            }
            None => {
                self.forget_note();
                why.clone()
            }
        };
        self.end(&attempt.action, ended);
        why
    }

    /// Reports how an action has ended, and draws the consequences for the VM.
    pub(super) fn end(&mut self, action: &Action, ended: Ended) {
        let kind = ActionKind::from(action);
        let target = Target::of(action);
        self.attempt = None;
        self.tried.extend(target);
        self.run.count(kind, self.id, &ended);
        match kind {
            ActionKind::Create => {
                self.slot = None;
                self.create = if ended.is_done() {
                    LastCreate::Completed
                } else {
                    LastCreate::Incomplete(ended.outcome)
                };
                // An upload that failed is on record, and the next decision takes it into account. Anything else is not.
                self.has_ended |=
                    !ended.is_done() && !ended.code.starts_with("upload_") && ended.code != "faulty";
                self.has_ended |=
                    matches!(ended.outcome, ActionOutcome::HandedOver | ActionOutcome::Interrupted);
            }
            ActionKind::DeleteLocal | ActionKind::DeleteCloud if !ended.is_done() => {
                if kind == ActionKind::DeleteLocal && ended.outcome == ActionOutcome::Unverified {
                    let alias = &self.at.alias;
                    self.run.gate.close(format!("the effect of a local delete of {alias} is not known"));
                }
                self.permit = None;
                if !matches!(ended.outcome, ActionOutcome::HandedOver | ActionOutcome::Interrupted) {
                    self.over.insert(kind);
                }
                self.has_ended |= ended.code == "vm_gone";
            }
            ActionKind::DeleteLocal => self.permit = None,
            // The VM keeps its turn for all of them, so that it is watched for seconds, and not for as long as all others take.
            ActionKind::DeleteCloud => {}
        }
        let mut step = ActionRef::from(action);
        if action.is_create() {
            step.backup = self.made.take();
        }
        self.mark_reported(action);
        self.emit_end(kind, step, ended);
    }

    fn mark_reported(&mut self, action: &Action) {
        let own = &self.known.own;
        let is_listed = |listed: &Action| match (listed, action) {
            (Action::DeleteLocal(listed), Action::DeleteLocal(delete)) if listed.backup.is_none() => {
                delete.backup.is_some_and(|id| own.contains(&id))
            }
            (Action::Create(listed), Action::Create(create)) => listed.tier == create.tier,
            (listed, action) => listed.is_same_action_as(action),
        };
        let at = self.planned.due_actions().iter().position(is_listed);
        if let Some(reported) = at.and_then(|at| self.reported.get_mut(at)) {
            *reported = true;
        }
    }

    fn emit_end(&self, kind: ActionKind, step: ActionRef, ended: Ended) {
        let Ended { outcome, code, message, .. } = ended;
        self.run.emit(EventKind::ActionEnded {
            at: self.at.clone(),
            step,
            outcome,
            code,
            message: message.clone(),
        });
        self.run.report(self.place, ActionReport { kind, ending: outcome, code, message });
    }

    /// Reports what is planned and was not tried.
    pub(super) fn report_rest(&mut self, rest: &Ended) {
        let mut is_first = true;
        for (at, action) in self.planned.due_actions().iter().enumerate() {
            if self.reported.get(at).copied().unwrap_or(true) {
                continue;
            }
            let kind = ActionKind::from(action);
            let waits = action.as_local_delete().is_some_and(|delete| delete.after_create)
                || action.is_cloud_delete();
            let ended = match (&self.create, self.run.is_over(kind, self.id)) {
                (LastCreate::Incomplete(outcome), _) if waits => awaits_create(*outcome),
                _ if rest.outcome == ActionOutcome::Interrupted => rest.clone(),
                (_, Some(why)) if kind != ActionKind::Create => {
                    Ended::left("closed", format!("nothing was done: {why}; the next run does it"))
                }
                _ if self.over.contains(&kind) => {
                    let text = "nothing was done: see the earlier delete of this VM; the next run does it";
                    Ended::left("earlier_failed", text.to_owned())
                }
                // A failure is said once a VM.
                _ if rest.outcome == ActionOutcome::Failed && !is_first => {
                    Ended::left("not_tried", "nothing was done: see what the VM failed with above".to_owned())
                }
                _ => rest.clone(),
            };
            is_first = false;
            self.emit_end(kind, ActionRef::from(action), ended);
        }
    }

    /// Returns how what is planned and not tried ends where no next action is left.
    pub(super) fn nothing_next(&mut self, fresh: &VmPlan, seen: &VmReading) -> Ended {
        let ended = if self.run.stop.is_cancelled() {
            Ended::interrupted("stopped", "nothing was done: the run ended before this step".to_owned())
        } else if let Some((backup, state)) = self.made_by_another(&seen.vm) {
            Ended::left("other_run", format!("made by another run: backup {backup} is {state}"))
        } else if matches!(
            fresh.status,
            Status::Blocked | Status::Conflict | Status::Unprotected | Status::Fault
        ) {
            let text = "in its present state the VM cannot have it; the next run plans it again";
            Ended::dropped("not_possible", text.to_owned())
        } else {
            Ended::left(
                "not_wanted",
                "nothing was done: in its present state the VM does not need it".to_owned(),
            )
        };
        self.end_attempt(ended)
    }

    /// Finds a backup that another run has made, or is making, instead of the planned one: a new one of its tier or of a
    /// coarser one.
    pub(super) fn made_by_another(&self, vm: &Vm) -> Option<(BackupId, &'static str)> {
        let policy = self.policy_of(vm)?;
        let planned = self.planned.due_actions().iter().find_map(Action::as_create)?;
        let tier_of = |backup: &Backup| policy.tier_of(backup.comment.as_deref());
        let wanted = policy.tiers.iter().position(|tier| *tier.name == *planned.tier)?;
        let made = vm
            .backups
            .values()
            .filter(|backup| {
                backup.timestamp >= Some(planned.due_since.to_utc())
                    && !self.known.own.contains(&backup.id)
                    && !self.planned_on.contains(&backup.id)
                    && backup.state != RecordedState::Failed
                    && tier_of(backup).is_some_and(|tier| tier <= wanted)
            })
            .max_by_key(|backup| (backup.timestamp, backup.id))?;
        let is_complete = made.state == RecordedState::Completed;
        Some((made.id, if is_complete { "complete" } else { "in progress" }))
    }

    /// Raises the alarm about backups that have vanished.
    pub(in super::super) fn vanished(&self, action: &Action, gone: Vec<BackupId>) -> Ended {
        let step = ActionRef::from(action);
        let Some(backup) = step.backup else { return Ended::failed("safety_stop", String::new()) };
        let now = self.run.executor.clock.now();
        self.alarm(Alarm::vanished(now, &self.at, step.kind, backup, gone))
    }

    pub(in super::super) fn alarm(&self, alarm: Alarm) -> Ended {
        let text = alarm.to_string();
        self.run.raise(alarm);
        Ended::failed("safety_stop", text)
    }

    /// Reports an action that was not sent to FiFo, since the wait before it was cut short.
    pub(in super::super) fn cut_short(&self, cut: WaitError) -> Ended {
        match cut {
            WaitError::Stopped => {
                Ended::interrupted("stopped", "nothing was done: the run ended before this step".to_owned())
            }
            WaitError::HandedOver => Ended::left(
                "not_started",
                format!("nothing was done: {}; the next run does it", self.run.hand_over_cause()),
            ),
            WaitError::Refused(error) => self.unreadable(error),
        }
    }
}

/// Reports a delete whose create has not completed.
fn awaits_create(outcome: ActionOutcome) -> Ended {
    const TEXT: &str = "waiting for the new backup, which has not completed";
    let text = TEXT.to_owned();
    match outcome {
        ActionOutcome::Interrupted => Ended::interrupted("awaits_create", text),
        ActionOutcome::HandedOver | ActionOutcome::Started => Ended::left("awaits_create", text),
        _ => Ended { message: text, ..Ended::dropped("awaits_create", String::new()) },
    }
}
