//! What all VMs of a run share.

use super::event::{EventKind, Waiting};
use super::executor::{Approval, Executor};
use super::outcome::VmRef;
use super::reader::VmReader;
use super::report::RunReport;
use super::state::Alarm;
use super::timing::{REPORT_EVERY, REPORT_FIRST_AFTER};
use super::upload::moving::Upload;
use super::upload::slots::{Slots, waiting_text};
use super::write::gate::Gate;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

pub(super) struct Run<'a> {
    pub(super) executor: &'a Executor<'a>,
    pub(super) approval: Approval,
    pub(super) reader: VmReader<'a>,
    pub(super) slots: Arc<Slots>,
    pub(super) gate: Gate,
    /// Where uploads are registered that no VM of this run waits for.
    pub(super) uploads: mpsc::UnboundedSender<Upload>,
    /// Cancelled when what still waits is left to the next run.
    pub(super) hand_over_now: CancellationToken,
    /// When that is so at the latest.
    pub(super) deadline: Option<Instant>,
    /// Cancelled by a signal and by the first alarm: nothing new is started then. The results of what was sent are still
    /// looked for.
    pub(super) stop: CancellationToken,
    /// What is reported beside the actions of each VM.
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

    /// Leaves what still waits to the next run once the deadline has passed.
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
