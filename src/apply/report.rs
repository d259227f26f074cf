//! The report of a run: the outcome of each action, and alarms.

use super::outcome::{ActionKind, ActionOutcome, RunCounts, VmRef};
use super::state::Alarm;

/// The result of a whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunReport {
    /// The VMs that something was to be done to, in the order of the plan.
    pub vms: Vec<VmReport>,
    /// Why the safety stop is to be set: each time that backups had vanished that were to stay, or a body was lost on the
    /// way. After the first one nothing new was started; others may have been in progress.
    pub alarms: Vec<Alarm>,
    /// Notes on deletes of earlier runs that could not be compared, in words.
    pub uncompared: Vec<String>,
    /// Whether a signal ended the run.
    pub interrupted: bool,
}

/// The results of one VM's actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmReport {
    pub at: VmRef,
    pub steps: Vec<ActionReport>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionReport {
    pub kind: ActionKind,
    pub ending: ActionOutcome,
    pub code: &'static str,
    pub message: String,
}

impl RunReport {
    pub fn tally(&self) -> RunCounts {
        let mut tally = RunCounts::default();
        for step in self.vms.iter().flat_map(|vm| &vm.steps) {
            let count = match (step.ending, step.kind) {
                (ActionOutcome::Done, ActionKind::Create) => &mut tally.created,
                (ActionOutcome::Done, ActionKind::DeleteLocal) => &mut tally.deleted_local,
                (ActionOutcome::Done, ActionKind::DeleteCloud) => &mut tally.deleted_cloud,
                (ActionOutcome::Started, _) => &mut tally.started,
                (ActionOutcome::HandedOver, _) => &mut tally.left,
                (ActionOutcome::Failed | ActionOutcome::Unverified, _) => &mut tally.failed,
                (ActionOutcome::Dropped, _) => &mut tally.dropped,
                (ActionOutcome::Interrupted, _) => &mut tally.interrupted,
            };
            *count += 1;
        }
        tally
    }
}
