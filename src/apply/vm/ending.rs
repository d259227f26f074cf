//! How a VM's actions end, and what that means for the rest of its run.

use super::{VmRun, WaitError, target};
use crate::apply::event::{ActionReport, EventKind};
use crate::apply::outcome::{ActionKind, ActionOutcome, ActionRef, Ended};
use crate::apply::upload::moving::Which;
use crate::plan::{Action, Status, VmPlan};

impl VmRun<'_> {
    /// Ends the action under way, if there is one, and returns how what comes after it ends.
    pub(super) fn end_attempt(&mut self, why: Ended) -> Ended {
        let Some(attempt) = &self.attempt else { return why };
        let action = attempt.action.clone();
        let mut ended = why.clone();
        let refused = self.hold.as_ref().map(|_| "answered with a refusal");
        if let Some(unclear) = attempt.unclear.as_deref().or(refused) {
            // "Nothing was done" is true of everything else that is left to do.
            let cause = why.message.strip_prefix("nothing was done: ").unwrap_or(&why.message);
            let text = format!(
                "a request was sent, to which FiFo {unclear}, and its effect is not known ({cause}); the next run checks it"
            );
            ended = Ended::unknown("unknown", text);
        } else {
            self.forget_note();
        }
        self.end(&action, ended);
        why
    }

    pub(super) fn end(&mut self, action: &Action, ended: Ended) {
        let (kind, vm) = (ActionKind::from(action), self.at.vm);
        let sent = self.attempt.take().and_then(|attempt| attempt.sent);
        let target = target(action);
        self.done.tried.insert(target);
        self.run.gate.count(kind, vm, &ended);
        let is_put_off = matches!(ended.outcome, ActionOutcome::HandedOver | ActionOutcome::Interrupted);
        if kind == ActionKind::Create {
            if let (ActionOutcome::Unverified, Some(sent)) = (ended.outcome, sent)
                && let Some(slot) = self.slot.take()
            {
                // The upload may run: its slot is not free before a reading shows that it has ended.
                self.run.register(self.upload(Which::Unseen(sent.before), slot, None));
            }
            self.slot = None;
            self.done.last_create = Some(ended.outcome);
            // An upload that failed is on record, and the next decision takes it into account. Anything else is not.
            let is_on_record = ended.code.starts_with("upload_") || matches!(ended.code, "faulty" | "broken");
            self.done.has_ended |= !ended.is_done() && (is_put_off || !is_on_record);
        } else if !ended.is_done() {
            if kind == ActionKind::DeleteLocal && ended.outcome == ActionOutcome::Unverified {
                let alias = &self.at.alias;
                self.run.gate.close(format!("the effect of a local delete of {alias} is not known"));
            }
            self.permit = None;
            if !is_put_off {
                self.done.over.insert(kind);
            }
            self.done.has_ended |= ended.code == "vm_gone";
        } else if kind == ActionKind::DeleteLocal {
            // A VM keeps its turn for all of its prunes, so that it is watched for seconds, and not for as long as all take.
            self.permit = None;
        }
        let is_listed = |listed: &&Action| match (listed, action) {
            (Action::Create(listed), Action::Create(create)) => listed.tier == create.tier,
            (listed, action) => self.is_same(listed, action),
        };
        if let Some(at) = self.rest.iter().position(is_listed) {
            self.rest.remove(at);
        }
        self.report(action, ended);
    }

    fn report(&mut self, action: &Action, ended: Ended) {
        let mut step = ActionRef::from(action);
        let Ended { outcome, code, message, made, .. } = ended;
        step.backup = step.backup.or(made);
        self.reports.push(ActionReport { kind: step.kind, ending: outcome, code, message: message.clone() });
        self.run.emit(EventKind::ActionEnded { at: self.at.clone(), step, outcome, code, message });
    }

    pub(super) fn report_rest(&mut self, rest: &Ended) {
        for (place, action) in std::mem::take(&mut self.rest).into_iter().enumerate() {
            let kind = ActionKind::from(action);
            let waits = action.as_local_delete().is_some_and(|delete| delete.after_create)
                || action.is_cloud_delete();
            let incomplete = self.done.last_create.filter(|outcome| *outcome != ActionOutcome::Done);
            let refusal = self.run.gate.refusal(kind, self.at.vm).filter(|_| kind != ActionKind::Create);
            let ended = match (incomplete, refusal) {
                (Some(create), _) if waits => awaits_create(create),
                _ if rest.outcome == ActionOutcome::Interrupted => rest.clone(),
                (_, Some(why)) => {
                    Ended::left("closed", format!("nothing was done: {why}; the next run does it"))
                }
                _ if self.done.over.contains(&kind) => {
                    let text = "nothing was done: see the earlier delete of this VM; the next run does it";
                    Ended::left("earlier_failed", text)
                }
                // A failure is said once a VM.
                _ if rest.is_failed() && place > 0 => {
                    Ended::left("not_tried", "nothing was done: see what the VM failed with above")
                }
                _ => rest.clone(),
            };
            self.report(action, ended);
        }
    }

    /// Returns how what is planned and not tried ends where no next action is left.
    pub(super) fn nothing_next(&self, fresh: &VmPlan) -> Ended {
        if self.run.stop.is_cancelled() {
            return self.cut_short(WaitError::Stopped);
        }
        match fresh.status {
            Status::Blocked | Status::Conflict | Status::Unprotected | Status::Fault => {
                let text = "in its present state the VM cannot have it; the next run plans it again";
                Ended::dropped("not_possible", text)
            }
            _ => Ended::left("not_wanted", "nothing was done: in its present state the VM does not need it"),
        }
    }

    /// Returns how an action ends that was not sent to FiFo, since the wait before it was cut short.
    pub(crate) fn cut_short(&self, cut: WaitError) -> Ended {
        match cut {
            WaitError::Stopped => {
                let text = "nothing was done: the run ended before this step";
                Ended::new(ActionOutcome::Interrupted, "stopped", text)
            }
            WaitError::HandedOver => Ended::left(
                "not_started",
                format!("nothing was done: {}; the next run does it", self.run.hand_over_cause()),
            ),
            WaitError::Refused(error) => self.unreadable(error),
        }
    }
}

fn awaits_create(create: ActionOutcome) -> Ended {
    let outcome = match create {
        ActionOutcome::Interrupted => ActionOutcome::Interrupted,
        ActionOutcome::HandedOver | ActionOutcome::Started => ActionOutcome::HandedOver,
        _ => ActionOutcome::Dropped,
    };
    Ended::new(outcome, "awaits_create", "waiting for the new backup, which has not completed")
}
