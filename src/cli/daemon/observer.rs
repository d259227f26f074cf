//! Who watches a run while it goes on: a monitor that hears of its start, a board that shows how the VMs stand, and an ear
//! for alarms, which must not be lost whatever becomes of the run.

use super::reporting::{Begun, Telling};
use super::state::Board;
use crate::apply::{CascadeAlarm, Event, Latch, LatchedAlarm, Observer, Report, What};
use crate::cli::args::PlanningArgs;
use crate::cli::connection::Connection;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::latch;
use crate::cli::planning::{self, Planned};
use crate::insight::Overview;
use crate::policy::Policies;
use crate::run::Account;
use futures::FutureExt as _;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// Those who watch one run.
pub(in crate::cli) struct Watch<'a> {
    telling: &'a Telling<'a>,
    shown: Option<Shown<'a>>,
    begun: Begun,
    ear: Ear,
}

/// Where it is shown how the VMs stand while the run goes on.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Shown<'a> {
    /// What shows it.
    pub(in crate::cli) board: &'a Arc<Board>,
    /// How often it is read anew.
    pub(in crate::cli) every: Duration,
}

impl<'a> Watch<'a> {
    /// Begins to watch a run of which nobody has heard yet.
    pub(in crate::cli) fn new(telling: &'a Telling<'a>, shown: Option<Shown<'a>>) -> Self {
        Self { telling, shown, begun: Begun::default(), ear: Ear::default() }
    }

    /// Says whether anybody wants to know how the VMs stand.
    pub(in crate::cli) fn is_anybody_there(&self) -> bool {
        self.shown.is_some() || self.telling.is_anybody_there()
    }

    /// Notes that the run has the lock, and so is one: only then does the monitor hear of it.
    pub(in crate::cli) fn begin(&mut self) {
        self.begun = self.telling.begin();
    }

    /// Gives what the monitor has been told, for telling it the end.
    pub(in crate::cli) fn into_begun(self) -> Begun {
        self.begun
    }

    /// Has every alarm from now on set this latch.
    pub(in crate::cli) fn arm(&self, latch: Latch) {
        self.ear.heard().latch = Some(latch);
    }

    /// Gives what shows on the board what a run waits for, where there is a board.
    pub(in crate::cli) fn waits(&self) -> Option<Waits> {
        self.shown.map(|shown| Waits(Arc::clone(shown.board)))
    }

    /// Gives what hears the alarms of a run.
    pub(in crate::cli) fn ear(&self) -> Ear {
        self.ear.clone()
    }

    /// Enters how the VMs stand, and shows it at once.
    pub(in crate::cli) fn read(&self, planned: &Planned, policies: &Policies, account: &mut Account) {
        if !self.is_anybody_there() {
            return;
        }
        let overview = Overview::of(&planned.plan, policies, &planned.inventory);
        if let Some(Shown { board, .. }) = self.shown {
            board.read(&overview);
        }
        account.overview = Some(overview);
    }

    /// Reads FiFo again and again while a run is under way, which may take hours, for those who look meanwhile. It only
    /// reads, and whatever goes wrong with that is none of the run's business.
    pub(in crate::cli) async fn keep_reading(
        &self,
        context: &Context,
        policies: &Policies,
        fifo: &Connection,
        wishes: &PlanningArgs,
        account: &mut Account,
    ) -> Infallible {
        let Some(Shown { every, .. }) = self.shown else { return std::future::pending().await };
        loop {
            sleep(every).await;
            let reading = planning::look_again(context, policies, fifo, wishes);
            match AssertUnwindSafe(reading).catch_unwind().await {
                Ok(Ok(planned)) => self.read(&planned, policies, account),
                Ok(Err(error)) => {
                    let why = error.chain().join(": ");
                    tracing::warn!("how the VMs stand by now could not be read: {why}; the run goes on");
                }
                Err(_) => {
                    tracing::warn!(
                        "how the VMs stand by now could not be read, by a fault of this program; the run goes on"
                    );
                }
            }
        }
    }
}

/// Hears alarms the moment that they are raised, and sets the latch before anybody is told: whatever becomes of this
/// process, the next one is held back.
#[derive(Clone, Default)]
pub(in crate::cli) struct Ear(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    alarms: Vec<CascadeAlarm>,
    /// The same for the latch.
    latched: Vec<LatchedAlarm>,
    latch: Option<Latch>,
    /// Why the latch could not be set.
    failure: Option<String>,
}

impl Heard {
    fn set(&self) -> Result<(), String> {
        let Some(latch) = &self.latch else { return Err("no place is known for it".to_owned()) };
        latch.set(&self.latched).map_err(|error| format!("{}: {error}", latch.path().display()))
    }
}

impl Ear {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the failure of a run of which the alarm could not be remembered.
    pub(in crate::cli) fn failure(&self) -> Option<CliError> {
        self.heard().failure.as_deref().map(latch::not_set)
    }

    /// Enters the alarms of a run that came to no report: a fault of this program must not hide them.
    pub(in crate::cli) fn rescue(&self, account: &mut Account) {
        let alarms = self.heard().alarms.clone();
        if account.report.is_none() && !alarms.is_empty() {
            account.report = Some(Report { alarms, ..Report::default() });
        }
    }
}

impl Observer for Ear {
    fn observe(&self, event: &Event) {
        if let What::CascadeAlarm { at, backup, gone } = &event.what {
            let alarm = CascadeAlarm { at: at.clone(), backup: *backup, gone: gone.clone() };
            let mut heard = self.heard();
            heard.latched.push(LatchedAlarm::new(event.time, &alarm));
            heard.alarms.push(alarm);
            heard.failure = heard.set().err();
            if let Some(why) = &heard.failure {
                tracing::error!("{}", latch::not_set(why).chain().join(": "));
            }
        }
    }
}

/// Shows on a board what a run waits for.
pub(in crate::cli) struct Waits(Arc<Board>);

impl Observer for Waits {
    fn observe(&self, event: &Event) {
        if let What::Waiting(waiting) = &event.what {
            self.0.wait(waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{Place, Tally};
    use crate::inventory::{BackupId, VmId};
    use uuid::Uuid;

    #[test]
    fn every_alarm_of_a_run_is_in_the_latch_the_moment_that_it_is_raised() {
        let folder = tempfile::tempdir().unwrap();
        let latch = Latch::new(folder.path(), "https://fifo");
        let ear = Ear::default();
        ear.heard().latch = Some(latch.clone());
        for number in 1..=2 {
            let id = Uuid::from_u128(number);
            let (at, backup) = (Place { vm: VmId::new(id), alias: "web".to_owned() }, BackupId::new(id));
            let what = What::CascadeAlarm { at, backup, gone: vec![backup] };
            ear.observe(&Event { time: "2026-11-22T20:00:00Z".parse().unwrap(), what });
            let stop = latch.read().unwrap();
            assert_eq!(stop.alarms.len(), usize::try_from(number).unwrap());
            assert!(stop.alarms.iter().any(|alarm| alarm.gone == [backup]), "{stop:?}");
            assert!(ear.failure().is_none());
        }
    }

    #[test]
    fn an_alarm_that_cannot_be_remembered_is_a_failure_of_its_own() {
        let ear = Ear::default();
        ear.heard().latch = Some(Latch::new(std::path::Path::new("/no/such/folder"), "https://fifo"));
        let backup = BackupId::new(Uuid::from_u128(1));
        let at = Place { vm: VmId::new(Uuid::from_u128(1)), alias: "web".to_owned() };
        let what = What::CascadeAlarm { at, backup, gone: vec![backup] };
        ear.observe(&Event { time: "2026-11-22T20:00:00Z".parse().unwrap(), what });
        let failure = ear.failure().unwrap();
        assert_eq!(crate::cli::exit::code(&Err(failure)), crate::cli::exit::SAFETY_STOP);
    }

    #[test]
    fn an_alarm_outlives_the_run_that_raised_it() {
        let time = "2026-11-22T20:00:00Z".parse().unwrap();
        let at = Place { vm: VmId::new(Uuid::from_u128(1)), alias: "web-1".to_owned() };
        let backup = BackupId::new(Uuid::from_u128(2));
        let raised = What::CascadeAlarm { at: at.clone(), backup, gone: vec![backup] };
        let ear = Ear::default();
        let observer: Box<dyn Observer> = Box::new(ear.clone());
        let mut account = Account::new("reconcile", time);
        observer.observe(&Event { time, what: What::Finished { tally: Tally::default() } });
        ear.rescue(&mut account);
        assert_eq!(account.report, None, "nothing was raised");
        observer.observe(&Event { time, what: raised });
        drop(observer);
        ear.rescue(&mut account);
        assert!(account.has_alarm());

        // A report that there is has the alarms itself.
        let report = Report { interrupted: true, ..Report::default() };
        account.report = Some(report.clone());
        ear.rescue(&mut account);
        assert_eq!(account.report, Some(report));
    }
}
