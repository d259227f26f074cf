//! What all VMs of a run share.

use super::background::BackgroundUpload;
use super::canary::DeleteGate;
use super::event::EventKind;
use super::executor::Executor;
use super::reader::VmReader;
use super::report::{ActionReport, RunReport, VmReport};
use super::slots::{Slot, Slots};
use super::state::Alarm;
use super::step::{CloseReason, HandOverCause, StorageClose};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// What all VMs of a run share.
pub(super) struct RunContext<'a> {
    pub(super) executor: &'a Executor<'a>,
    pub(super) reader: VmReader<'a>,
    pub(super) slots: Arc<Slots>,
    pub(super) gate: DeleteGate,
    /// Uploads that no worker watches, with the slots that they hold.
    pub(super) background: Mutex<Vec<(BackgroundUpload, Slot)>>,
    /// The turn to delete from storage, which one VM has at a time; it holds the reason for which nothing more is deleted.
    pub(super) storage: tokio::sync::Mutex<Option<StorageClose>>,
    /// How many VMs may be in the middle of a local delete.
    pub(super) turns: Semaphore,
    /// How many VMs wait for a clock.
    pub(super) clock_waits: AtomicUsize,
    /// Cancelled when what still waits is left to the next run.
    pub(super) hand_over_now: CancellationToken,
    /// Whether the deadline is the reason for that.
    pub(super) is_past_deadline: AtomicBool,
    pub(super) reports: Mutex<Vec<VmReport>>,
    pub(super) alarms: Mutex<Vec<Alarm>>,
    /// Cancelled by a signal and by the first alarm: nothing new is started then. The results of what was sent are still
    /// looked for.
    pub(super) stop: CancellationToken,
}

impl RunContext<'_> {
    pub(super) fn emit(&self, what: EventKind) {
        self.executor.observe(what);
    }

    /// Leaves what still waits to the next run once the deadline has passed.
    pub(super) async fn hand_over_at_deadline(&self) -> Infallible {
        if let Some(deadline) = self.executor.settings.deadline {
            tokio::time::sleep(deadline).await;
            self.is_past_deadline.store(true, Ordering::SeqCst);
            self.hand_over_now.cancel();
        }
        std::future::pending().await
    }

    /// Returns the reason why what still waits is left to the next run.
    pub(super) fn hand_over_cause(&self) -> HandOverCause {
        if self.is_past_deadline.load(Ordering::SeqCst) {
            HandOverCause::Deadline
        } else {
            HandOverCause::NextRunDue
        }
    }

    /// Counts a VM that waits for a clock, as long as the result is held.
    pub(super) fn waits_for_clock(&self) -> WaitCount<'_> {
        WaitCount::new(&self.clock_waits)
    }

    /// Returns how many VMs wait for a clock.
    pub(super) fn clock_waits(&self) -> usize {
        self.clock_waits.load(Ordering::SeqCst)
    }

    /// Keeps a slot for an upload that no worker watches, until a reading shows that it has ended.
    pub(super) fn keep_in_background(&self, upload: BackgroundUpload, slot: Slot) {
        self.background.lock().unwrap_or_else(PoisonError::into_inner).push((upload, slot));
    }

    /// Takes out the uploads that no worker watches, for reading them.
    pub(super) fn take_background(&self) -> Vec<(BackgroundUpload, Slot)> {
        std::mem::take(&mut *self.background.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a turn to do a local delete.
    pub(super) async fn take_turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so this always succeeds.
        self.turns.acquire().await.ok()
    }

    /// Adds how one of a VM's actions ended.
    pub(super) fn report(&self, place: usize, step: ActionReport) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = reports.get_mut(place) {
            report.steps.push(step);
        }
    }

    /// Reports that backups have vanished, and starts nothing new.
    pub(super) fn raise_alarm(&self, alarm: Alarm) {
        self.gate.close(CloseReason::Vanished);
        self.emit(EventKind::CascadeAlarm(alarm.clone()));
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner).push(alarm);
        self.stop.cancel();
    }

    pub(super) fn into_report(self) -> RunReport {
        RunReport {
            vms: self.reports.into_inner().unwrap_or_else(PoisonError::into_inner),
            alarms: self.alarms.into_inner().unwrap_or_else(PoisonError::into_inner),
            interrupted: self.executor.stop.is_cancelled(),
        }
    }
}

/// One more in a count, until it is dropped.
#[derive(Debug)]
pub(super) struct WaitCount<'a>(&'a AtomicUsize);

impl<'a> WaitCount<'a> {
    pub(super) fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for WaitCount<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_counted_while_it_lasts() {
        let count = AtomicUsize::new(0);
        let wait = WaitCount::new(&count);
        assert_eq!(count.load(Ordering::SeqCst), 1);
        drop(wait);
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }
}
