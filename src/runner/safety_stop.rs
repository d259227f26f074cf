//! The safety stop of a run: set the moment that an alarm is raised, and looked at before anything is done.

use crate::apply::{Alarm, Event, EventKind, Observer, RunReport, StopFile};
use crate::report::stop::text;
use crate::report::{Exit, Failure, RunSummary};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) fn refuse_if_set(stop_file: &StopFile) -> Result<(), Failure> {
    let Some(stop) = stop_file.read() else { return Ok(()) };
    Err(Failure::ending(Exit::SafetyStop, text(&stop)).hint(
        "find what drops the bodies of DELETE requests between here and FiFo, and put an end to it: another run could take \
         more backups; then run `fifo-retain resume`",
    ))
}

fn not_set(why: &str) -> Failure {
    let message = format!(
        "runs have to stop, and THE SAFETY STOP COULD NOT BE WRITTEN, so nothing holds the next run back: {why}"
    );
    Failure::ending(Exit::SafetyStop, message).hint(
        "start no further run, by hand neither, and stop every timer, service and job that starts one, until the cause \
         is found: another run could take more backups",
    )
}

/// Records alarms the moment that they are raised, and sets the safety stop before they are reported: whatever happens to
/// this process, the next one is held back.
#[derive(Default)]
pub(super) struct AlarmRecorder(Mutex<Recorded>);

#[derive(Default)]
struct Recorded {
    alarms: Vec<Alarm>,
    stop_file: Option<StopFile>,
    failure: Option<Failure>,
}

impl AlarmRecorder {
    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every alarm from now on set this safety stop.
    pub(super) fn arm(&self, stop_file: StopFile) {
        self.recorded().stop_file = Some(stop_file);
    }

    /// Returns how a run really ended, and enters its alarms where it has no report: neither an error nor a bug of this
    /// program must hide that no other run may follow. A safety stop that could not be written is worse than one that is set.
    pub(super) fn judge(
        &self,
        ended: Result<Exit, Failure>,
        summary: &mut RunSummary,
    ) -> Result<Exit, Failure> {
        let recorded = self.recorded();
        if summary.report.is_none() && !recorded.alarms.is_empty() {
            summary.report = Some(RunReport { alarms: recorded.alarms.clone(), ..RunReport::default() });
        }
        match &recorded.failure {
            Some(failure) => Err(failure.clone()),
            None if summary.has_alarm() => Ok(Exit::SafetyStop),
            None => ended,
        }
    }
}

impl Observer for AlarmRecorder {
    fn observe(&self, event: &Event) {
        let EventKind::CascadeAlarm(alarm) = &event.what else { return };
        let mut recorded = self.recorded();
        recorded.alarms.push(alarm.clone());
        let failure = match &recorded.stop_file {
            Some(file) => {
                let set = file.set(&recorded.alarms).err();
                set.map(|error| not_set(&format!("{}: {error}", file.path().display())))
            }
            None => Some(not_set("no place is known for it")),
        };
        failure.iter().for_each(|failure| tracing::error!("{}", failure.text()));
        recorded.failure = failure;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{ActionKind, RunCounts, VmRef};
    use crate::inventory::{BackupId, VmId};
    use chrono::{DateTime, Utc};
    use std::path::Path;
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

    fn stopped() -> Result<Exit, Failure> {
        Err(Failure::new("stopped by a fault"))
    }

    #[test]
    fn every_alarm_of_a_run_sets_the_safety_stop_the_moment_that_it_is_raised() {
        let folder = tempfile::tempdir().unwrap();
        let stop_file = StopFile::new(folder.path(), "https://fifo");
        let recorder = AlarmRecorder::default();
        recorder.arm(stop_file.clone());
        for number in 1..=2 {
            recorder.observe(&raised(number));
            let stop = stop_file.read().unwrap();
            assert_eq!(stop.alarms.len(), usize::try_from(number).unwrap());
            let backup = BackupId::new(Uuid::from_u128(number));
            assert!(stop.alarms.iter().any(|alarm| alarm.gone == [backup]), "{stop:?}");
        }
    }

    #[test]
    fn an_alarm_that_cannot_be_remembered_is_a_failure_of_its_own() {
        let recorder = AlarmRecorder::default();
        recorder.arm(StopFile::new(Path::new("/no/such/folder"), "https://fifo"));
        recorder.observe(&raised(1));
        let failure = recorder.judge(Ok(Exit::Done), &mut RunSummary::new("reconcile", time())).unwrap_err();
        assert_eq!(failure.exit, Exit::SafetyStop);
        assert!(failure.text().contains("COULD NOT BE WRITTEN"), "{}", failure.text());
    }

    #[test]
    fn an_alarm_outlives_the_run_that_raised_it() {
        let recorder = AlarmRecorder::default();
        let mut summary = RunSummary::new("reconcile", time());
        let finished = EventKind::Finished { tally: RunCounts::default() };
        recorder.observe(&Event { time: time(), what: finished });
        assert_eq!(recorder.judge(stopped(), &mut summary), stopped());
        assert_eq!(summary.report, None, "nothing was raised");
        let folder = tempfile::tempdir().unwrap();
        recorder.arm(StopFile::new(folder.path(), "https://fifo"));
        recorder.observe(&raised(1));
        assert_eq!(recorder.judge(stopped(), &mut summary), Ok(Exit::SafetyStop));
        assert!(summary.has_alarm());

        // An existing report has the alarms itself.
        let report = RunReport { interrupted: true, ..RunReport::default() };
        summary.report = Some(report.clone());
        assert_eq!(recorder.judge(Ok(Exit::Done), &mut summary), Ok(Exit::Done));
        assert_eq!(summary.report, Some(report));
    }
}
