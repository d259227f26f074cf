//! What is known of runs, as data: a [`RunSummary`] of one run, a [`RunHistory`] of all runs of a process. Metrics, page,
//! notification and log are views of these.

use super::exit::{Exit, Failure};
use crate::apply::{ActionKind, ActionOutcome, RunReport, SafetyStop};
use crate::insight::status::Health;
use crate::inventory::VmId;
use crate::verify::KnownVm;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of VMs' stored backups.
pub type KnownVms = BTreeMap<VmId, KnownVm>;

/// The summary of one run. It fills while the run is in progress; what a run did not reach stays empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// The command: `reconcile` or `apply`.
    pub command: &'static str,
    pub endpoint: Option<String>,
    /// The user and API version of the connection: `as `ops`, API version 3`.
    pub identity: Option<String>,
    pub began: DateTime<Utc>,
    /// The health of the VMs at the last reading of FiFo; `None` for a run that did not get so far.
    pub overview: Option<Health>,
    /// What `verify` and `rehearse` had proven when the run began.
    pub verified: KnownVms,
    /// The result of each action; `None` for a run that carried out nothing.
    pub report: Option<RunReport>,
    /// How many deletes from storage were too many for one VM at once, so that none of them was planned; `None` for a run that
    /// did not get so far.
    pub refused_deletes: Option<usize>,
    pub failure: Option<Failure>,
    pub ended: DateTime<Utc>,
    pub exit: Exit,
}

impl RunSummary {
    pub fn new(command: &'static str, began: DateTime<Utc>) -> Self {
        Self { command, began, ended: began, ..Self::default() }
    }

    pub fn end(&mut self, at: DateTime<Utc>, ended: Result<Exit, Failure>) {
        self.ended = at;
        self.exit = ended.as_ref().map_or_else(|failure| failure.exit, |exit| *exit);
        self.failure = ended.err();
    }

    /// Says whether everything that was due was done.
    pub fn is_success(&self) -> bool {
        self.exit == Exit::Done
    }

    pub fn has_alarm(&self) -> bool {
        self.report.as_ref().is_some_and(|report| !report.alarms.is_empty())
    }

    /// Returns how long the run took. Zero where the clock was set back.
    pub fn duration(&self) -> TimeDelta {
        (self.ended - self.began).max(TimeDelta::zero())
    }

    pub fn action_counts(&self) -> BTreeMap<(ActionKind, ActionOutcome), u64> {
        let mut counts = BTreeMap::new();
        for step in self.report.iter().flat_map(|report| &report.vms).flat_map(|vm| &vm.steps) {
            *counts.entry((step.kind, step.ending)).or_default() += 1;
        }
        counts
    }
}

/// The runs of one process: counts, the last run, and the last known state of the VMs.
#[derive(Clone, Debug, Default)]
pub struct RunHistory {
    /// How often runs begin; `None` for a single run.
    pub every: Option<Duration>,
    /// Since when a run has been under way; `None` between runs.
    pub running_since: Option<DateTime<Utc>>,
    /// When the next run begins; `None` while one is under way, and when there will be none.
    pub next_run: Option<DateTime<Utc>>,
    /// Whether no further run begins, since one of this process has raised an alarm.
    pub is_halted: bool,
    pub safety_stop: Option<SafetyStop>,
    pub last: Option<RunSummary>,
    pub last_success: Option<DateTime<Utc>>,
    /// How the VMs stood when they were last read by any run.
    pub overview: Option<Health>,
    pub verified: KnownVms,
    pub runs: BTreeMap<&'static str, u64>,
    pub actions: BTreeMap<(ActionKind, ActionOutcome), u64>,
}

impl RunHistory {
    /// Says whether a safety stop holds: nothing is done until a person lifts it.
    pub fn is_stopped(&self) -> bool {
        self.is_halted || self.safety_stop.is_some()
    }

    /// Enters a run that has ended. What it did not find out is kept from earlier runs.
    pub fn enter(&mut self, summary: RunSummary) {
        self.running_since = None;
        self.is_halted |= summary.has_alarm();
        *self.runs.entry(summary.exit.word()).or_default() += 1;
        if summary.is_success() {
            self.last_success = Some(summary.ended);
        }
        for (key, count) in summary.action_counts() {
            *self.actions.entry(key).or_default() += count;
        }
        self.verified.clone_from(&summary.verified);
        if summary.overview.is_some() {
            self.overview.clone_from(&summary.overview);
        }
        self.last = Some(summary);
    }
}
