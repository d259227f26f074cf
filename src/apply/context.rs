//! What all VMs of a run share.

use super::event::{EventKind, Waiting};
use super::executor::{Approval, Executor};
use super::outcome::{ActionKind, ActionOutcome, Ended, VmRef};
use super::reader::VmReader;
use super::report::{ActionReport, RunReport};
use super::state::Alarm;
use super::upload::moving::{Registry, Upload};
use super::upload::slots::{Slots, waiting_text};
use super::write::gate::Gate;
use crate::inventory::VmId;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// A wait that is shorter than this is not reported.
const REPORT_FIRST_AFTER: Duration = Duration::from_secs(5);

/// After so many VMs in a row that failed alike, a kind of delete is left to the next run.
const ALIKE_MAX: usize = 3;

/// What all VMs of a run share.
pub(super) struct Run<'a> {
    pub(super) executor: &'a Executor<'a>,
    pub(super) approval: Approval,
    pub(super) reader: VmReader<'a>,
    pub(super) slots: Arc<Slots>,
    pub(super) uploads: Registry,
    pub(super) gate: Gate,
    /// Cancelled when what still waits is left to the next run.
    pub(super) hand_over_now: CancellationToken,
    /// Whether the deadline is the reason for that.
    pub(super) is_past_deadline: AtomicBool,
    /// Cancelled by a signal and by the first alarm: nothing new is started then. The results of what was sent are still
    /// looked for.
    pub(super) stop: CancellationToken,
    pub(super) results: Mutex<Results>,
}

#[derive(Default)]
pub(super) struct Results {
    pub(super) report: RunReport,
    /// Of each kind of delete, how the last VMs failed alike.
    alike: BTreeMap<ActionKind, Alike>,
    /// The VMs that get no delete, and why.
    barred: BTreeMap<VmId, String>,
}

struct Alike {
    code: &'static str,
    detail: Option<u16>,
    vms: BTreeSet<VmId>,
    message: String,
}

impl Run<'_> {
    pub(super) fn emit(&self, what: EventKind) {
        self.executor.observe(what);
    }

    pub(super) fn warn(&self, at: &VmRef, message: String) {
        self.emit(EventKind::Warning { at: Some(at.clone()), message });
    }

    /// Has an upload watched.
    pub(super) fn register(&self, upload: Upload) {
        // The watch ends with the run only.
        drop(self.uploads.send(upload));
    }

    /// Adds how one of a VM's actions ended.
    pub(super) fn report(&self, place: usize, step: ActionReport) {
        if let Some(vm) = self.results().report.vms.get_mut(place) {
            vm.steps.push(step);
        }
    }

    /// Counts how a delete ended: after some VMs in a row that failed alike the kind is left to the next run.
    ///
    /// Not so creates: where one hypervisor refuses them, the VMs of the others must get theirs.
    pub(super) fn count(&self, kind: ActionKind, vm: VmId, ended: &Ended) {
        let is_failure = matches!(ended.outcome, ActionOutcome::Failed | ActionOutcome::Unverified);
        let mut results = self.results();
        match results.alike.get_mut(&kind) {
            Some(alike) if alike.vms.len() >= ALIKE_MAX => {}
            Some(alike) if is_failure && (alike.code, alike.detail) == (ended.code, ended.detail) => {
                alike.vms.insert(vm);
            }
            _ if is_failure && kind != ActionKind::Create => {
                let Ended { code, detail, message, .. } = ended.clone();
                results.alike.insert(kind, Alike { code, detail, vms: BTreeSet::from([vm]), message });
            }
            _ => _ = results.alike.remove(&kind),
        }
    }

    /// Returns why a VM gets no more deletes of a kind; `None` where it may.
    pub(super) fn is_over(&self, kind: ActionKind, vm: VmId) -> Option<String> {
        if kind == ActionKind::Create {
            return None;
        }
        if let Some(reason) = self.gate.closed() {
            return Some(format!("this run sends no more deletes, since {reason}"));
        }
        let results = self.results();
        if let Some(reason) = results.barred.get(&vm) {
            return Some(reason.clone());
        }
        let alike = results.alike.get(&kind).filter(|alike| alike.vms.len() >= ALIKE_MAX)?;
        Some(format!("{ALIKE_MAX} VMs in a row have failed alike ({})", alike.message))
    }

    /// Sends a VM no deletes in this run.
    pub(super) fn bar(&self, vm: Option<VmId>, why: String) {
        let mut results = self.results();
        if let Some(vm) = vm {
            results.barred.insert(vm, why.clone());
        }
        results.report.uncompared.push(why);
    }

    /// Raises an alarm, and starts nothing new.
    pub(super) fn raise(&self, alarm: Alarm) {
        self.gate.close("the safety stop is set".to_owned());
        self.emit(EventKind::CascadeAlarm(alarm.clone()));
        self.results().report.alarms.push(alarm);
        self.stop.cancel();
    }

    /// Returns the reason why what still waits is left to the next run.
    pub(super) fn hand_over_cause(&self) -> &'static str {
        if self.is_past_deadline.load(Ordering::SeqCst) {
            "the deadline of this run has passed"
        } else {
            "the next run is due"
        }
    }

    /// Leaves what still waits to the next run once the deadline has passed.
    pub(super) async fn hand_over_at_deadline(&self) -> Infallible {
        if let Some(deadline) = self.executor.settings.deadline {
            sleep(deadline).await;
            self.is_past_deadline.store(true, Ordering::SeqCst);
            self.hand_over_now.cancel();
        }
        std::future::pending().await
    }

    /// Reports at intervals what is waited for, and once more when that is over, so that a run of hours is never silent.
    pub(super) async fn report_waits(&self) -> Infallible {
        let every = self.executor.settings.timing.report_every;
        let mut is_reported = false;
        sleep(REPORT_FIRST_AFTER.min(every)).await;
        loop {
            let slots = self.slots.waited_for();
            let for_slot = slots.iter().map(|slots| slots.waiting).sum();
            if for_slot > 0 || is_reported {
                let message = waiting_text(for_slot, &slots);
                self.emit(EventKind::Waiting(Waiting { for_slot, slots, message }));
            }
            is_reported = for_slot > 0;
            sleep(every).await;
        }
    }

    pub(super) fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
