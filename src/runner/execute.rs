//! Carries a plan out, with everybody who watches, and judges the result.

use super::fifo::Fifo;
use super::host::Host;
use super::interrupt::Interrupt;
use super::order::Order;
use super::output::{self, Stream};
use super::progress::Progress;
use super::safety_stop::AlarmRecorder;
use crate::apply::{
    ActionKind, ActionOutcome, Approval, Event, EventKind, Executor, ExecutorSettings, InFlight, Journal,
    Observer, ProgressTracker, RunReport, Timing, VmRef,
};
use crate::fifo::WriteClient;
use crate::inventory::{Inventory, VmId};
use crate::plan::{NoteCode, Plan, Status, VmPlan};
use crate::policy::Policies;
use crate::run::{Exit, Failure};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The execution of one plan, with its observers.
pub(super) struct Execution<'a> {
    host: &'a Host,
    order: &'a Order<'a>,
    interrupt: &'a Interrupt,
    watchers: Watchers,
    notes: InFlight,
}

impl<'a> Execution<'a> {
    /// Makes ready: opens the journal.
    pub(super) fn begin(
        host: &'a Host,
        order: &'a Order<'a>,
        interrupt: &'a Interrupt,
        endpoint: &str,
        alarms: &AlarmRecorder,
    ) -> Result<Self, Failure> {
        output::start();
        let folder = host.made_state_dir()?;
        let path = folder.join("journal.jsonl");
        let journal = Journal::open(&path, Uuid::new_v4()).inspect_err(|error| {
            // Backups that are not made are worse than a journal that is not written.
            tracing::warn!(path = %path.display(), %error, "the journal cannot be opened; the run goes on without");
        });
        let journal = journal.ok();
        let write = |stream, text: &str| {
            // A closed terminal must not stop a backup.
            drop(output::write_now(stream, text.as_bytes()));
        };
        let progress = Arc::new(Progress::new(&host.output, Box::new(write)));
        let watchers = Watchers { alarms: alarms.clone(), journal, progress, is_json: host.output.is_json };
        let notes = InFlight::new(folder, endpoint);
        Ok(Self { host, order, interrupt, watchers, notes })
    }

    /// Reports something that is not done, or is otherwise of note.
    pub(super) fn warn(&self, at: Option<VmRef>, message: String) {
        let what = EventKind::Warning { at, message };
        self.watchers.observe(&Event { time: self.host.now(), what });
    }

    /// Executes what is due. `inventory` has the VMs that [`KeptVms::ForRun`](super::read::KeptVms::ForRun) keeps.
    #[expect(clippy::too_many_arguments, reason = "all of it is of this one run")]
    pub(super) async fn run(
        &self,
        fifo: &Fifo,
        is_sandbox: bool,
        policies: &Policies,
        vms: &[VmPlan],
        inventory: Inventory,
        approval: Approval,
        progress: &ProgressTracker,
    ) -> RunReport {
        let client = WriteClient::new(fifo.read().clone());
        // A token of its own: the warning is to come before the executor ends.
        let (stop, hand_over) = (CancellationToken::new(), CancellationToken::new());
        let executor = Executor {
            client: &client,
            policies,
            clock: self.host,
            observer: &self.watchers,
            stop: &stop,
            hand_over: &hand_over,
            progress,
            notes: &self.notes,
            settings: ExecutorSettings { timing: timing(is_sandbox), ..self.order.settings },
        };
        let on_signal = async {
            self.interrupt.signalled().await;
            let message = "stopping: nothing new is started; a second signal ends the process at once";
            self.warn(None, message.to_owned());
            stop.cancel();
            std::future::pending().await
        };
        let next_is_due = async {
            if let Some(after) = self.order.handed_over_after {
                tokio::time::sleep(after).await;
                hand_over.cancel();
            }
            std::future::pending().await
        };
        let report = tokio::select! {
            // Reported before its consequences.
            biased;
            never = on_signal => match never {},
            never = next_is_due => match never {},
            report = executor.execute(vms, inventory, approval) => report,
        };
        report.uncompared.iter().for_each(|text| self.warn(None, text.clone()));
        report
    }
}

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

/// Says whether nothing is planned for a VM although a backup is due that FiFo could take: it waits, for a running upload or
/// for its next attempt, or no parent is there for an increment.
fn is_passed_over(vm: &VmPlan) -> bool {
    const CANNOT: [NoteCode; 3] = [NoteCode::NoHypervisor, NoteCode::DelegatedDatasets, NoteCode::VmState];
    match vm.status {
        _ if vm.is_suspended() => false,
        Status::Waiting => true,
        Status::Blocked => CANNOT.iter().all(|&code| vm.note(code).is_none()),
        _ => false,
    }
}

/// Returns the timing. The sandbox gets shorter pauses: its uploads take two seconds.
fn timing(is_sandbox: bool) -> Timing {
    let usual = Timing::default();
    if is_sandbox {
        Timing { pause_min: Duration::from_millis(200), pause_max: Duration::from_secs(1), ..usual }
    } else {
        usual
    }
}

/// All who get every event.
struct Watchers {
    alarms: AlarmRecorder,
    journal: Option<Journal>,
    progress: Arc<Progress>,
    is_json: bool,
}

impl Observer for Watchers {
    fn observe(&self, event: &Event) {
        // First, so that no failure of another one loses an alarm. Output last and in its turn, so that it blocks no run.
        self.alarms.observe(event);
        self.journal.iter().for_each(|journal| journal.observe(event));
        let is_progress = matches!(event.what, EventKind::Progress { .. } | EventKind::Waiting(_));
        if self.is_json {
            let line = serde_json::to_string(event).map(|line| line + "\n").unwrap_or_default();
            let task = move || drop(output::write_now(Stream::Out, line.as_bytes()));
            output::enqueue(is_progress, Box::new(task));
        } else {
            let (progress, event) = (Arc::clone(&self.progress), event.clone());
            output::enqueue(is_progress, Box::new(move || progress.observe(&event)));
        }
    }
}
