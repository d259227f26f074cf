//! The summary of one run, as data; metrics, page and notification are views of it.

use super::exit::Exit;
use super::failure::Failure;
use crate::apply::{ActionKind, ActionOutcome, RunReport};
use crate::insight::Overview;
use crate::plan::VmPlan;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;

/// The summary of one run. It fills while the run is in progress; what a run did not reach stays empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSummary {
    /// The command: `reconcile` or `apply`.
    pub command: &'static str,
    /// The FiFo's endpoint, once it is known.
    pub endpoint: Option<String>,
    /// The user and API version of the connection: `as `ops`, API version 3`.
    pub identity: Option<String>,
    /// When the run began.
    pub began: DateTime<Utc>,
    /// The health of the VMs at the last reading of FiFo; `None` for a run that did not get so far.
    pub overview: Option<Overview>,
    /// How many actions of each kind the run was to carry out; `None` for a run that did not get so far.
    pub planned: Option<BTreeMap<ActionKind, usize>>,
    /// The result of each action; `None` for a run that carried out nothing.
    pub report: Option<RunReport>,
    /// How many deletes from storage were too many for one VM at once, so that none of them was planned.
    pub refused_deletes: usize,
    /// Why the run failed as a whole.
    pub failure: Option<Failure>,
    /// How the run ended; `None` while it goes on.
    pub ended: Option<RunEnd>,
}

/// When and how a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunEnd {
    pub at: DateTime<Utc>,
    pub exit: Exit,
}

impl RunSummary {
    /// Starts a summary; nothing is known yet.
    pub fn new(command: &'static str, began: DateTime<Utc>) -> Self {
        Self {
            command,
            endpoint: None,
            identity: None,
            began,
            overview: None,
            planned: None,
            report: None,
            refused_deletes: 0,
            failure: None,
            ended: None,
        }
    }

    /// Enters what the run was to carry out.
    pub fn plan(&mut self, vms: &[VmPlan]) {
        const KINDS: [ActionKind; 3] = [ActionKind::Create, ActionKind::DeleteLocal, ActionKind::DeleteCloud];
        let mut planned: BTreeMap<ActionKind, usize> = KINDS.map(|kind| (kind, 0)).into();
        for action in vms.iter().flat_map(VmPlan::due_actions) {
            *planned.entry(ActionKind::from(action)).or_default() += 1;
        }
        self.planned = Some(planned);
    }

    /// Enters the end of the run.
    pub fn end(&mut self, at: DateTime<Utc>, ended: Result<Exit, Failure>) {
        let exit = ended.as_ref().map_or_else(|failure| failure.exit, |exit| *exit);
        self.ended = Some(RunEnd { at, exit });
        self.failure = ended.err();
    }

    /// Says whether the run has ended and everything that was due was done.
    pub fn is_success(&self) -> bool {
        self.ended.is_some_and(|ended| ended.exit == Exit::Done)
    }

    /// Says whether an alarm was raised.
    pub fn has_alarm(&self) -> bool {
        self.report.as_ref().is_some_and(|report| !report.alarms.is_empty())
    }

    /// Returns how long the run took; `None` while it goes on. Zero where the clock was set back.
    pub fn duration(&self) -> Option<TimeDelta> {
        self.ended.map(|ended| (ended.at - self.began).max(TimeDelta::zero()))
    }

    /// Counts the actions by kind and outcome.
    pub fn action_counts(&self) -> BTreeMap<(ActionKind, ActionOutcome), u64> {
        let mut counts = BTreeMap::new();
        for step in self.report.iter().flat_map(|report| &report.vms).flat_map(|vm| &vm.steps) {
            *counts.entry((step.kind, step.ending)).or_default() += 1;
        }
        counts
    }
}
