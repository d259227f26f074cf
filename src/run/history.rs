//! The history of the runs of one process: counts, the last run, and the last known state of the VMs.

use super::summary::RunSummary;
use crate::apply::{ActionKind, ActionOutcome, SafetyStop};
use crate::insight::Overview;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::time::Duration;

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
    /// The safety stop that is set, whichever run set it.
    pub safety_stop: Option<SafetyStop>,
    /// The last run that ended, with whatever result.
    pub last: Option<RunSummary>,
    /// When the last run that did everything ended.
    pub last_success: Option<DateTime<Utc>>,
    /// How the VMs stood when they were last read by any run.
    pub overview: Option<Overview>,
    /// How many runs have ended, by their outcome.
    pub runs: BTreeMap<&'static str, u64>,
    /// How many actions have ended, by what they were and how they ended.
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
        if let Some(ended) = summary.ended {
            *self.runs.entry(ended.exit.word()).or_default() += 1;
            if summary.is_success() {
                self.last_success = Some(ended.at);
            }
        }
        for (key, count) in summary.action_counts() {
            *self.actions.entry(key).or_default() += count;
        }
        if summary.overview.is_some() {
            self.overview.clone_from(&summary.overview);
        }
        self.last = Some(summary);
    }
}
