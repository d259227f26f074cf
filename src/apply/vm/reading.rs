//! Readings of a VM, and what is decided by them.

use super::super::executor::Approval;
use super::super::outcome::Ended;
use super::super::reader::{ReadError, VmReading};
use super::super::write::answer::Attempt;
use super::{FRESH, VmRun};
use crate::fifo::with_causes;
use crate::inventory::Vm;
use crate::plan::{Action, Request, Status, VmPlan, audit, decide, fingerprint};
use crate::policy::{Match, Policy};
use chrono::{DateTime, Utc};

impl<'a> VmRun<'a> {
    /// Reads the VM; one reading that does not fit what is known may be old, so then the list decides.
    pub(super) async fn read(&mut self) -> Result<VmReading, Ended> {
        // One from the list has no version that a write could be made conditional on.
        let fresh = self.fresh.take().filter(|(seen, at)| at.elapsed() < FRESH && seen.etag.is_some());
        let seen = match fresh {
            Some((seen, _)) => seen,
            None => match self.run.reader.read(self.id).await {
                Ok(seen) => seen,
                Err(error) => return Err(self.unreadable(error)),
            },
        };
        let ours = self.run.executor.clock.now();
        self.server_ahead = seen.server_date.map(|date| date - ours).or(self.server_ahead);
        let is_without =
            self.attempt.as_ref().is_some_and(Attempt::is_without_condition) || seen.etag.is_none();
        let seen = if is_without {
            self.read_in_list().await?
        } else if self.known.fits(&seen.vm) && (self.has_compared || self.is_as_planned(&seen.vm)) {
            seen
        } else {
            VmReading { vm: self.read_in_list().await?.vm, ..seen }
        };
        self.compare(&seen)?;
        Ok(seen)
    }

    /// Reads the VM in the list, which is never old where it is whole.
    pub(in super::super) async fn read_in_list(&mut self) -> Result<VmReading, Ended> {
        let vm = match self.run.reader.in_list(self.id).await {
            Ok(vm) => vm,
            Err(error) => return Err(self.unreadable(error)),
        };
        if self.run.reader.proves_absence() {
            self.known.listed(&vm);
        }
        // The list is shared and has no date of its own; FiFo's clock is taken to be as far ahead as before.
        let server_date = self.server_ahead.map(|ahead| self.run.executor.clock.now() + ahead);
        Ok(VmReading { server_date, ..VmReading::of_list(vm) })
    }

    /// Decides the VM by a reading. The auditor has to agree, as with any plan.
    pub(super) fn decide(&self, seen: &VmReading) -> Result<VmPlan, Ended> {
        let (executor, ours) = (self.run.executor, self.run.executor.clock.now());
        let request = Request::by_clocks(ours, seen.server_date, executor.settings.prune);
        let fresh = decide(&seen.vm, executor.policies, request);
        let broken = audit::audit_vm(&fresh, &seen.vm, executor.policies, request);
        if broken.is_empty() {
            return Ok(fresh);
        }
        let text = format!(
            "nothing was done: the fresh decision for this VM breaks a rule ({}), which is a bug; please report it",
            broken.join("; ")
        );
        Err(Ended::failed("audit", text))
    }

    /// Returns the instant that a reading is judged at: the later one of the two clocks.
    pub(in super::super) fn now_by(&self, seen: &VmReading) -> DateTime<Utc> {
        let ours = self.run.executor.clock.now();
        seen.server_date.map_or(ours, |date| date.max(ours))
    }

    /// Returns the one policy that holds for the VM.
    pub(in super::super) fn policy_of(&self, vm: &Vm) -> Option<&'a Policy> {
        match self.run.executor.policies.policy_for(vm) {
            Match::One(policy) => Some(policy),
            Match::Unprotected | Match::Conflict(_) => None,
        }
    }

    pub(in super::super) fn unreadable(&self, error: ReadError) -> Ended {
        match error {
            ReadError::Gone if !self.tried.is_empty() || self.attempt.is_some() => {
                Ended::failed("vm_gone", "the VM is gone: it was deleted during the run".to_owned())
            }
            error => Ended::failed(
                "unreadable",
                format!("nothing was done: the VM could not be read: {}", with_causes(&error)),
            ),
        }
    }

    /// Compares the VM with what a saved or shown plan was made from, once.
    fn compare(&mut self, seen: &VmReading) -> Result<(), Ended> {
        if self.has_compared || self.is_as_planned(&seen.vm) {
            self.has_compared = true;
            return Ok(());
        }
        if let Some((backup, state)) = self.made_by_another(&seen.vm) {
            return Err(Ended::left("other_run", format!("made by another run: backup {backup} is {state}")));
        }
        let fresh = self.decide(seen)?;
        let is_wanted =
            |listed: &Action| fresh.due_actions().iter().any(|action| action.is_same_action_as(listed));
        if !self.planned.due_actions().iter().any(is_wanted) && fresh.status == Status::UpToDate {
            return Err(Ended::left("not_wanted", "nothing is left to do".to_owned()));
        }
        Err(Ended::dropped(
            "changed",
            "the VM has changed since the plan; the next run plans it again".to_owned(),
        ))
    }

    fn is_as_planned(&self, vm: &Vm) -> bool {
        self.run.approval == Approval::Everything || self.planned.fingerprint == Some(fingerprint(vm))
    }
}
