//! The executor: client, policies, clock, settings and observer; and what all VMs of a run share.

use super::event::{Event, EventKind, Observer, RunReport, Waiting};
use super::outcome::VmRef;
use super::proof::Proof;
use super::reader::VmReader;
use super::state::{Alarm, Notes};
use super::timing::{REPORT_EVERY, REPORT_FIRST_AFTER, Timing};
use super::upload::moving::Upload;
use super::upload::slots::{ProgressTracker, Slots, waiting_text};
use super::write::gate::Gate;
use crate::fifo::WriteClient;
use crate::plan::{Prune, VmPlan};
use crate::policy::{Policies, Policy};
use chrono::{DateTime, Utc};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

pub trait Clock: Send + Sync {
    fn now(&self) -> DateTime<Utc>;
}

/// What of the fresh decisions is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Everything, as `reconcile` does: also what becomes due in a VM once its new backup is there.
    Everything,
    /// What the plan lists, as `apply` does, and only on VMs that have not changed since.
    Listed,
}

#[derive(Clone, Copy, Debug)]
pub struct ExecutorSettings {
    /// How many uploads may run in all, counting those that were running already.
    pub max_uploads: usize,
    /// How many uploads may run on one hypervisor, counting those that were running already.
    pub max_uploads_per_hypervisor: usize,
    /// Whether uploads are waited for. If not, what comes after them is left to the next run.
    pub wait: bool,
    /// After how long what still waits, for an upload, a slot or a clock, is left to the next run.
    pub deadline: Option<Duration>,
    pub timing: Timing,
    pub prune: Prune,
}

pub struct Executor<'a> {
    pub client: &'a WriteClient,
    /// The policies that the plan was made from; each VM is decided again by them.
    pub policies: &'a Policies,
    pub clock: &'a dyn Clock,
    pub observer: &'a dyn Observer,
    pub stop: &'a CancellationToken,
    /// Cancelled when the next run is due: what still waits, for an upload, a slot or a clock, is then left to that run,
    /// which plans again for all VMs. One upload that hangs for hours must not delay what becomes due meanwhile.
    pub hand_over: &'a CancellationToken,
    /// The progress of uploads; to be kept from run to run.
    pub progress: &'a ProgressTracker,
    pub notes: &'a dyn Notes,
    pub proof: Option<&'a dyn Proof>,
    pub settings: ExecutorSettings,
}

impl Executor<'_> {
    pub(super) fn policy_of(&self, planned: &VmPlan) -> Option<&Policy> {
        self.policies.iter().find(|policy| Some(&policy.name) == planned.policy.as_ref())
    }

    pub(super) fn observe(&self, what: EventKind) {
        self.observer.observe(&Event { time: self.clock.now(), what });
    }
}

pub(super) struct Run<'a> {
    pub(super) executor: &'a Executor<'a>,
    pub(super) approval: Approval,
    pub(super) reader: VmReader<'a>,
    pub(super) slots: Arc<Slots>,
    pub(super) gate: Gate,
    pub(super) uploads: mpsc::UnboundedSender<Upload>,
    /// Cancelled when what still waits is left to the next run.
    pub(super) hand_over_now: CancellationToken,
    pub(super) deadline: Option<Instant>,
    /// Cancelled by a signal and by the first alarm: nothing new is started then. The results of what was sent are still
    /// looked for.
    pub(super) stop: CancellationToken,
    pub(super) report: Mutex<RunReport>,
}

impl Run<'_> {
    pub(super) fn emit(&self, what: EventKind) {
        self.executor.observe(what);
    }

    pub(super) fn warn(&self, at: &VmRef, message: String) {
        self.emit(EventKind::Warning { at: Some(at.clone()), message });
    }

    pub(super) fn register(&self, upload: Upload) {
        // The watch ends with the run only.
        drop(self.uploads.send(upload));
    }

    pub(super) fn raise(&self, alarm: Alarm) {
        self.gate.close("the safety stop is set".to_owned());
        self.emit(EventKind::CascadeAlarm(alarm.clone()));
        self.report().alarms.push(alarm);
        self.stop.cancel();
    }

    pub(super) fn report(&self) -> MutexGuard<'_, RunReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hand_over_cause(&self) -> &'static str {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            "the deadline of this run has passed"
        } else {
            "the next run is due"
        }
    }

    pub(super) async fn hand_over_at_deadline(&self) -> Infallible {
        if let Some(deadline) = self.deadline {
            sleep_until(deadline).await;
            self.hand_over_now.cancel();
        }
        std::future::pending().await
    }

    /// Reports at intervals what is waited for, and once more when that is over, so that a run of hours is never silent.
    pub(super) async fn report_waits(&self) -> Infallible {
        let mut is_reported = false;
        sleep(REPORT_FIRST_AFTER).await;
        loop {
            let slots = self.slots.waited_for();
            let for_slot = slots.iter().map(|slots| slots.waiting).sum();
            if for_slot > 0 || is_reported {
                let message = waiting_text(for_slot, &slots);
                self.emit(EventKind::Waiting(Waiting { for_slot, slots, message }));
            }
            is_reported = for_slot > 0;
            sleep(REPORT_EVERY).await;
        }
    }
}
