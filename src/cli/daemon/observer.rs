//! Watches a run: pings a monitor at its start, updates the live view, and records alarms.

use super::reporting::{Reporting, StartPing};
use super::state::DaemonState;
use crate::apply::{Alarm, Event, EventKind, Observer, RunReport, StopFile};
use crate::cli::args::PlanningArgs;
use crate::cli::connection::Connection;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::planning;
use crate::cli::safety_stop;
use crate::insight::Overview;
use crate::policy::Policies;
use crate::run::RunSummary;
use futures::FutureExt as _;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

pub(in crate::cli) struct RunMonitor<'a> {
    reporting: &'a Reporting<'a>,
    live_view: Option<LiveView<'a>>,
    start_ping: StartPing,
    alarm_recorder: AlarmRecorder,
}

/// The live view of the VMs during a run.
#[derive(Clone, Copy)]
pub(in crate::cli) struct LiveView<'a> {
    pub(in crate::cli) state: &'a Arc<DaemonState>,
    /// How often it is read again.
    pub(in crate::cli) every: Duration,
}

impl<'a> RunMonitor<'a> {
    /// Starts to watch a run that has not been reported yet.
    pub(in crate::cli) fn new(reporting: &'a Reporting<'a>, live_view: Option<LiveView<'a>>) -> Self {
        Self {
            reporting,
            live_view,
            start_ping: StartPing::default(),
            alarm_recorder: AlarmRecorder::default(),
        }
    }

    /// Says whether the state of the VMs is reported anywhere.
    pub(in crate::cli) fn wants_overview(&self) -> bool {
        self.live_view.is_some() || self.reporting.wants_overview()
    }

    /// Reports the start of the run to the cron monitor. Called once the run has the lock.
    pub(in crate::cli) fn begin(&mut self) {
        self.start_ping = self.reporting.begin();
    }

    /// Returns the ping of the start, for the ping of the end.
    pub(in crate::cli) fn into_start_ping(self) -> StartPing {
        self.start_ping
    }

    /// Makes every alarm from now on set this safety stop.
    pub(in crate::cli) fn arm(&self, stop_file: StopFile) {
        self.alarm_recorder.recorded().stop_file = Some(stop_file);
    }

    /// Returns the observer that shows in the live view what a run waits for, where there is a live view.
    pub(in crate::cli) fn waiting_observer(&self) -> Option<WaitingObserver> {
        self.live_view.map(|live_view| WaitingObserver(Arc::clone(live_view.state)))
    }

    /// Returns the observer that records the alarms of a run.
    pub(in crate::cli) fn alarm_recorder(&self) -> AlarmRecorder {
        self.alarm_recorder.clone()
    }

    /// Enters the state of the VMs, and shows it at once.
    pub(in crate::cli) fn read(&self, overview: Overview, summary: &mut RunSummary) {
        if let Some(LiveView { state, .. }) = self.live_view {
            state.read(&overview);
        }
        summary.overview = Some(overview);
    }

    /// Reads FiFo at intervals for the live view while a run is in progress, which may take hours. It only reads; its
    /// failures do not affect the run.
    pub(in crate::cli) async fn keep_reading(
        &self,
        context: &Context,
        policies: &Policies,
        fifo: &Connection,
        selection: &PlanningArgs,
        summary: &mut RunSummary,
    ) -> Infallible {
        let Some(LiveView { every, .. }) = self.live_view else { return std::future::pending().await };
        loop {
            sleep(every).await;
            let reading = planning::look_again(context, policies, fifo, selection);
            match AssertUnwindSafe(reading).catch_unwind().await {
                Ok(Ok(overview)) => self.read(overview, summary),
                Ok(Err(error)) => {
                    let why = error.chain().join(": ");
                    tracing::warn!("failed to read the current state of the VMs: {why}; the run goes on");
                }
                Err(_) => {
                    tracing::warn!(
                        "failed to read the current state of the VMs, by a fault of this program; the run goes on"
                    );
                }
            }
        }
    }
}

/// Records alarms the moment that they are raised, and sets the safety stop before they are reported: whatever happens to
/// this process, the next one is held back.
#[derive(Clone, Default)]
pub(in crate::cli) struct AlarmRecorder(Arc<Mutex<RecordedAlarms>>);

#[derive(Default)]
struct RecordedAlarms {
    alarms: Vec<Alarm>,
    stop_file: Option<StopFile>,
    /// Why the safety stop could not be set.
    failure: Option<String>,
}

impl RecordedAlarms {
    fn set(&self) -> Result<(), String> {
        let Some(stop_file) = &self.stop_file else { return Err("no place is known for it".to_owned()) };
        stop_file.set(&self.alarms).map_err(|error| format!("{}: {error}", stop_file.path().display()))
    }
}

impl AlarmRecorder {
    fn recorded(&self) -> MutexGuard<'_, RecordedAlarms> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the error of a run whose safety stop could not be written.
    pub(in crate::cli) fn failure(&self) -> Option<CliError> {
        self.recorded().failure.as_deref().map(safety_stop::not_set)
    }

    /// Enters the alarms of a run without a report: a bug of this program must not hide them.
    pub(in crate::cli) fn add_missed_alarms(&self, summary: &mut RunSummary) {
        let alarms = self.recorded().alarms.clone();
        if summary.report.is_none() && !alarms.is_empty() {
            summary.report = Some(RunReport { alarms, ..RunReport::default() });
        }
    }
}

impl Observer for AlarmRecorder {
    fn observe(&self, event: &Event) {
        if let EventKind::CascadeAlarm(alarm) = &event.what {
            let mut recorded = self.recorded();
            recorded.alarms.push(alarm.clone());
            recorded.failure = recorded.set().err();
            if let Some(why) = &recorded.failure {
                tracing::error!("{}", safety_stop::not_set(why).chain().join(": "));
            }
        }
    }
}

/// Shows in the live view what a run waits for.
pub(in crate::cli) struct WaitingObserver(Arc<DaemonState>);

impl Observer for WaitingObserver {
    fn observe(&self, event: &Event) {
        if let EventKind::Waiting(waiting) = &event.what {
            self.0.wait(waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{ActionKind, RunCounts, VmRef};
    use crate::inventory::{BackupId, VmId};
    use chrono::{DateTime, Utc};
    use uuid::Uuid;

    fn time() -> DateTime<Utc> {
        "2026-11-22T20:00:00Z".parse().unwrap()
    }

    /// An alarm of one backup.
    fn raised(number: u128) -> Event {
        let id = Uuid::from_u128(number);
        let (at, backup) = (VmRef { vm: VmId::new(id), alias: "web".to_owned() }, BackupId::new(id));
        let alarm = Alarm::vanished(time(), &at, ActionKind::DeleteLocal, backup, vec![backup]);
        Event { time: time(), what: EventKind::CascadeAlarm(alarm) }
    }

    #[test]
    fn every_alarm_of_a_run_sets_the_safety_stop_the_moment_that_it_is_raised() {
        let folder = tempfile::tempdir().unwrap();
        let stop_file = StopFile::new(folder.path(), "https://fifo");
        let alarm_recorder = AlarmRecorder::default();
        alarm_recorder.recorded().stop_file = Some(stop_file.clone());
        for number in 1..=2 {
            alarm_recorder.observe(&raised(number));
            let stop = stop_file.read().unwrap();
            assert_eq!(stop.alarms.len(), usize::try_from(number).unwrap());
            let backup = BackupId::new(Uuid::from_u128(number));
            assert!(stop.alarms.iter().any(|alarm| alarm.gone == [backup]), "{stop:?}");
            assert!(alarm_recorder.failure().is_none());
        }
    }

    #[test]
    fn an_alarm_that_cannot_be_remembered_is_a_failure_of_its_own() {
        let alarm_recorder = AlarmRecorder::default();
        let stop_file = StopFile::new(std::path::Path::new("/no/such/folder"), "https://fifo");
        alarm_recorder.recorded().stop_file = Some(stop_file);
        alarm_recorder.observe(&raised(1));
        let failure = alarm_recorder.failure().unwrap();
        assert_eq!(crate::cli::exit::code(&Err(failure)), crate::cli::exit::SAFETY_STOP);
    }

    #[test]
    fn an_alarm_outlives_the_run_that_raised_it() {
        let alarm_recorder = AlarmRecorder::default();
        let observer: Box<dyn Observer> = Box::new(alarm_recorder.clone());
        let mut summary = RunSummary::new("reconcile", time());
        let finished = EventKind::Finished { tally: RunCounts::default() };
        observer.observe(&Event { time: time(), what: finished });
        alarm_recorder.add_missed_alarms(&mut summary);
        assert_eq!(summary.report, None, "nothing was raised");
        observer.observe(&raised(1));
        drop(observer);
        alarm_recorder.add_missed_alarms(&mut summary);
        assert!(summary.has_alarm());

        // An existing report has the alarms itself.
        let report = RunReport { interrupted: true, ..RunReport::default() };
        summary.report = Some(report.clone());
        alarm_recorder.add_missed_alarms(&mut summary);
        assert_eq!(summary.report, Some(report));
    }
}
