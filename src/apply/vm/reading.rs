//! Readings of a VM, and what is decided by them.

use super::VmRun;
use crate::apply::executor::Approval;
use crate::apply::outcome::Ended;
use crate::apply::reader::{ReadError, VmReading};
use crate::apply::write::attempt::Attempt;
use crate::fifo::with_causes;
use crate::inventory::Vm;
use crate::plan::{Action, Request, Status, VmPlan, audit, decide, fingerprint};
use crate::policy::{Match, Policy};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// A reading that is older than this is not acted on: the VM is read again.
const FRESH: Duration = Duration::from_secs(1);

impl<'a> VmRun<'a> {
    /// Reads the VM; one reading that does not fit what is known may be old, so then the list decides.
    pub(super) async fn read(&mut self) -> Result<VmReading, Ended> {
        // One from the list has no version that a write could be made conditional on.
        let fresh = self.known.fresh.take().filter(|seen| seen.at.elapsed() < FRESH && seen.etag.is_some());
        let seen = match fresh {
            Some(seen) => seen,
            None => self.run.reader.read(self.at.vm).await.map_err(|error| self.unreadable(error))?,
        };
        let ours = self.run.executor.clock.now();
        self.known.server_ahead = seen.server_date.map(|date| date - ours).or(self.known.server_ahead);
        let is_without =
            self.attempt.as_ref().is_some_and(Attempt::is_without_condition) || seen.etag.is_none();
        let seen = if is_without {
            self.read_in_list().await?
        } else if self.known.fits(&seen.vm) && (self.known.has_compared || self.is_as_planned(&seen.vm)) {
            seen
        } else {
            VmReading { vm: self.read_in_list().await?.vm, ..seen }
        };
        self.compare(&seen)?;
        Ok(seen)
    }

    /// Reads the VM in the list, which is never old where it is whole.
    pub(crate) async fn read_in_list(&mut self) -> Result<VmReading, Ended> {
        let vm = self.run.reader.in_list(self.at.vm).await.map_err(|error| self.unreadable(error))?;
        if self.run.reader.proves_absence() {
            self.known.listed(&vm);
        }
        // The list is shared and has no date of its own; FiFo's clock is taken to be as far ahead as before.
        let server_date = self.known.server_ahead.map(|ahead| self.run.executor.clock.now() + ahead);
        Ok(VmReading { server_date, ..VmReading::of_list(vm) })
    }

    /// Decides the VM by a reading. The auditor has to agree, as with any plan.
    pub(super) fn decide(&self, seen: &VmReading) -> Result<VmPlan, Ended> {
        let (executor, request) = (self.run.executor, self.request(seen));
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

    /// Returns what is asked for by a reading. What has become due since the first create of this run was sent is left to the
    /// next run: a tier that has been made already would come before one that is to be made up.
    pub(super) fn request(&self, seen: &VmReading) -> Request {
        let executor = self.run.executor;
        let request = Request::by_clocks(executor.clock.now(), seen.server_date, executor.settings.prune);
        Request { due_at: self.done.due_by.unwrap_or(request.due_at).min(request.due_at), ..request }
    }

    /// Returns the instant that a reading is judged at: the later one of the two clocks.
    pub(crate) fn now_by(&self, seen: &VmReading) -> DateTime<Utc> {
        let ours = self.run.executor.clock.now();
        seen.server_date.map_or(ours, |date| date.max(ours))
    }

    pub(crate) fn policy_of(&self, vm: &Vm) -> Option<&'a Policy> {
        match self.run.executor.policies.policy_for(vm) {
            Match::One(policy) => Some(policy),
            Match::Unprotected | Match::Conflict(_) => None,
        }
    }

    pub(crate) fn unreadable(&self, error: ReadError) -> Ended {
        match error {
            ReadError::Gone if !self.done.tried.is_empty() || self.attempt.is_some() => {
                Ended::failed("vm_gone", "the VM is gone: it was deleted during the run")
            }
            error => Ended::failed(
                "unreadable",
                format!("nothing was done: the VM could not be read: {}", with_causes(&error)),
            ),
        }
    }

    /// Compares the VM with what a saved or shown plan was made from, once.
    fn compare(&mut self, seen: &VmReading) -> Result<(), Ended> {
        if self.known.has_compared || self.is_as_planned(&seen.vm) {
            self.known.has_compared = true;
            return Ok(());
        }
        let fresh = self.decide(seen)?;
        let is_wanted =
            |listed: &Action| fresh.due_actions().iter().any(|action| action.is_same_action_as(listed));
        let is_calm = matches!(fresh.status, Status::UpToDate | Status::Waiting);
        if is_calm && !self.planned.due_actions().iter().any(is_wanted) {
            // Another run has done it, or is at it.
            return Err(Ended::left("not_wanted", "nothing was done: nothing is left to do"));
        }
        Err(Ended::dropped("changed", "the VM has changed since the plan; the next run plans it again"))
    }

    fn is_as_planned(&self, vm: &Vm) -> bool {
        self.run.approval == Approval::Everything || self.planned.fingerprint == Some(fingerprint(vm))
    }
}
