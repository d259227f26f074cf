//! Who watches a run, and how its result is judged.

use super::host::Host;
use super::journal::Journal;
use super::output::{self, Stream};
use super::progress::Progress;
use super::safety_stop::AlarmRecorder;
use crate::apply::{ActionKind, ActionOutcome, Event, EventKind, Observer, RunReport, VmRef};
use crate::inventory::VmId;
use crate::plan::{NoteCode, Plan, Status, VmPlan};
use crate::report::{Exit, json, vm_name};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Judges a run by its report, and by the problems that its plan could not solve. `too_old` are the VMs without a restorable
/// backup as young as their policy wants it, `signal` is how a signal ends the run.
pub(super) fn judge(report: &RunReport, plan: &Plan, too_old: &BTreeSet<VmId>, signal: Option<Exit>) -> Exit {
    let tally = report.tally();
    let is_trouble = |vm: &VmPlan| {
        vm.is_in_trouble() || is_passed_over(vm) && vm.uuid.is_some_and(|id| too_old.contains(&id))
    };
    // A backup that another run makes is on its way.
    let is_left = |code: &str| matches!(code, "slots" | "not_started" | "unproven" | "not_tried");
    let left_too_old = report.vms.iter().any(|vm| {
        let mut creates = vm.steps.iter().filter(|step| step.kind == ActionKind::Create);
        too_old.contains(&vm.at.vm)
            && creates.any(|step| step.ending == ActionOutcome::HandedOver && is_left(step.code))
    });
    let some_failed = tally.failed + tally.dropped > 0
        || left_too_old
        || !report.uncompared.is_empty()
        || plan.vms.iter().any(is_trouble);
    match signal {
        _ if !report.alarms.is_empty() => Exit::SafetyStop,
        Some(interrupted) => interrupted,
        None if some_failed => Exit::SomeFailed,
        None => Exit::Done,
    }
}

/// Says whether nothing is planned for a VM although a backup is due that FiFo could take: it waits for a running upload or
/// its next attempt, or an increment has no parent.
fn is_passed_over(vm: &VmPlan) -> bool {
    const CANNOT: [NoteCode; 3] = [NoteCode::NoHypervisor, NoteCode::DelegatedDatasets, NoteCode::VmState];
    match vm.status {
        _ if vm.is_suspended() => false,
        Status::Waiting => true,
        Status::Blocked => CANNOT.iter().all(|&code| vm.note(code).is_none()),
        _ => false,
    }
}

pub(super) struct Watchers<'a> {
    host: &'a Host,
    alarms: &'a AlarmRecorder,
    journal: Option<Journal>,
    progress: Arc<Progress>,
}

impl<'a> Watchers<'a> {
    pub(super) fn new(host: &'a Host, journal: Option<Journal>, alarms: &'a AlarmRecorder) -> Self {
        // A closed terminal must not stop a backup.
        let write = |stream, text: &str| drop(output::write_now(stream, text.as_bytes()));
        let progress = Arc::new(Progress::new(&host.output, Box::new(write)));
        Self { host, alarms, journal, progress }
    }

    /// Reports something of a VM that is not done.
    pub(super) fn warn_of(&self, alias: &str, vm: Option<VmId>, what: String) {
        let at = vm.map(|vm| VmRef { vm, alias: alias.to_owned() });
        self.warn(at, format!("{}: {what}", vm_name(alias, vm)));
    }

    pub(super) fn warn(&self, at: Option<VmRef>, message: String) {
        self.observe(&Event { time: self.host.now(), what: EventKind::Warning { at, message } });
    }
}

impl Observer for Watchers<'_> {
    fn observe(&self, event: &Event) {
        // First, so that no failure of another one loses an alarm. Output last and in its turn, so that it blocks no run.
        self.alarms.observe(event);
        self.journal.iter().for_each(|journal| journal.observe(event));
        let is_progress = matches!(event.what, EventKind::Progress { .. } | EventKind::Waiting(_));
        if self.host.output.is_json {
            let mut line = Vec::new();
            // A vector takes everything that is written to it.
            drop(json::line(event, &mut line));
            output::enqueue(is_progress, Box::new(move || drop(output::write_now(Stream::Out, &line))));
        } else {
            let (progress, event) = (Arc::clone(&self.progress), event.clone());
            output::enqueue(is_progress, Box::new(move || progress.observe(&event)));
        }
    }
}
