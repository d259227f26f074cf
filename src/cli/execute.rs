//! Executes a plan: what `apply` and `reconcile` share.

use super::args::{ExecuteArgs, PlanningArgs};
use super::connection::{Connection, FirstContact};
use super::context::Context;
use super::daemon::observer::RunMonitor;
use super::error::{CliError, Kind};
use super::exit::Outcome;
use super::interrupt::Interrupt;
use super::output_queue;
use super::planning;
use crate::apply::{
    ActionKind, ActionOutcome, Approval, Clock, Event, EventKind, Executor, ExecutorSettings, Holder,
    InFlight, Journal, Lock, LockError, Observer, ProgressTracker, RunReport, Timing, VmRef,
};
use crate::fifo::WriteClient;
use crate::inventory::{Inventory, VmId};
use crate::plan::{NoteCode, Plan, Status, VmPlan};
use crate::policy::Policies;
use crate::render::{JsonObserver, TextObserver};
use crate::run::RunSummary;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A timer that finds a run in progress is routine; one that has held the lock for longer than this is reported as a
/// failure.
const LOCK_ROUTINE_MAX: TimeDelta = TimeDelta::hours(24);

impl Clock for Context {
    fn now(&self) -> DateTime<Utc> {
        Context::now(self)
    }
}

/// Takes the lock for a FiFo, so that no other run of this machine changes it meanwhile.
///
/// # Errors
///
/// Another run holds it, or the state folder cannot be used.
pub(super) fn lock(context: &Context, endpoint: &str, command: &str) -> Result<Lock, CliError> {
    let folder = state_dir(context)?;
    let holder = Holder { pid: context.process_id(), command: command.to_owned(), since: context.now() };
    Lock::take(&folder, endpoint, &holder).map_err(|error| {
        let kind = match &error {
            LockError::Held { holder: Some(other), .. }
                if command == "reconcile" && context.now() - other.since < LOCK_ROUTINE_MAX =>
            {
                Kind::RunInProgress
            }
            LockError::Held { .. } => Kind::Locked,
            LockError::Io { .. } => Kind::Files,
        };
        CliError::new(kind, error.to_string()).because(error)
    })
}

/// Returns the state folder, and makes it, for its owner only, where there is none.
fn state_dir(context: &Context) -> Result<PathBuf, CliError> {
    let folder = context.state_dir()?;
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder).map_err(|error| {
        CliError::new(Kind::Files, format!("failed to make the state folder {}", folder.display()))
            .because(error)
            .hint("name another one with --state-dir or FIFO_RETAIN_STATE_DIR")
    })?;
    Ok(folder)
}

/// How `apply` and `reconcile` differ, and what they are given.
#[derive(Clone, Copy)]
pub(super) struct RunRequest<'a> {
    /// The command, which the lock names.
    pub(super) command: &'static str,
    /// How long a FiFo that does not answer is retried.
    pub(super) first_contact: FirstContact,
    /// Limits, and whether uploads are waited for.
    pub(super) args: &'a ExecuteArgs,
    /// The time after which the next run is due, and gets what still waits; without it, every upload is waited for.
    pub(super) handed_over_after: Option<Duration>,
    /// The time after which the next run gets what still waits, whether or not that run is due.
    pub(super) deadline: Option<Duration>,
    /// The progress of uploads that earlier runs of this process have seen.
    pub(super) progress: &'a ProgressTracker,
    /// Which VMs are meant.
    pub(super) selection: &'a PlanningArgs,
    /// The policies that each VM is decided by.
    pub(super) policies: &'a Policies,
    /// What also ends planning; without it, signals are caught only while a plan is executed.
    pub(super) interrupt: Option<&'a Interrupt>,
}

/// What is to be executed.
#[derive(Clone, Copy)]
pub(super) struct ExecutionRequest<'a> {
    pub(super) run: &'a RunRequest<'a>,
    pub(super) fifo: &'a Connection,
    /// The plan made now, with the problems that it could not solve.
    pub(super) plan: &'a Plan,
    /// The VMs without a restorable backup as young as their policy wants it.
    pub(super) too_old: &'a BTreeSet<VmId>,
    /// Whether only what a plan lists is carried out.
    pub(super) approval: Approval,
    /// The part of it to carry out.
    pub(super) vms: &'a [VmPlan],
}

/// The execution of one plan, with its observers.
pub(super) struct Execution<'c> {
    context: &'c Context,
    observers: Observers,
    interrupt: Interrupt,
    notes: InFlight,
}

impl<'c> Execution<'c> {
    /// Makes ready: opens the journal.
    pub(super) fn begin(
        context: &'c Context,
        interrupt: &Interrupt,
        endpoint: &str,
        monitor: &RunMonitor<'_>,
    ) -> Result<Self, CliError> {
        output_queue::start();
        // The alarm recorder first, so that no failure of another one loses an alarm. The terminal last: it may block.
        let mut observers: Vec<Box<dyn Observer>> = vec![Box::new(monitor.alarm_recorder())];
        let folder = state_dir(context)?;
        let notes = InFlight::new(&folder, endpoint);
        let path = folder.join("journal.jsonl");
        match Journal::open(&path, Uuid::new_v4()) {
            Ok(journal) => observers.push(Box::new(journal)),
            // Backups that are not made are worse than a journal that is not written.
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the journal cannot be opened; the run goes on without");
            }
        }
        if let Some(waiting_observer) = monitor.waiting_observer() {
            observers.push(Box::new(waiting_observer));
        }
        let shown: Arc<dyn Observer> = if context.is_json() {
            Arc::new(JsonObserver::new(Box::new(io::stdout())))
        } else {
            Arc::new(TextObserver::new(
                Box::new(io::stdout()),
                Box::new(io::stderr()),
                context.text_options,
                context.terminals(),
            ))
        };
        observers.push(Box::new(QueuedObserver(shown)));
        Ok(Self { context, observers: Observers(observers), interrupt: interrupt.clone(), notes })
    }

    /// Reports something that is not done, or is otherwise of note.
    pub(super) fn warn(&self, at: Option<VmRef>, message: String) {
        let what = EventKind::Warning { at, message };
        self.observers.observe(&Event { time: self.context.now(), what });
    }

    /// Executes what is due, records the result, and judges it. Where the state of the VMs is reported, FiFo is
    /// read once more after something was done, so that the report shows the state after the run.
    ///
    /// `inventory` has the VMs that [`KeptVms::ForRun`](super::planning::KeptVms::ForRun) keeps.
    pub(super) async fn run(
        &self,
        request: &ExecutionRequest<'_>,
        inventory: Inventory,
        monitor: &RunMonitor<'_>,
        summary: &mut RunSummary,
    ) -> Outcome {
        let &ExecutionRequest { fifo, run: &RunRequest { policies, selection, .. }, .. } = request;
        let report = tokio::select! {
            biased;
            report = self.execute(request, inventory) => report,
            never = monitor.keep_reading(self.context, policies, fifo, selection, summary) => match never {},
        };
        for text in &report.uncompared {
            self.warn(None, text.clone());
        }
        let outcome = self.judge(&report, request);
        let is_changed = report.vms.iter().any(|vm| !vm.steps.is_empty());
        // Before anything else, which may take long or fail: an alarm must not be lost.
        summary.report = Some(report);
        if monitor.wants_overview() && is_changed && !summary.has_alarm() {
            self.reread(request, monitor, summary).await;
        }
        outcome
    }

    /// Reads FiFo after a run, for the reports of how the VMs stand. Where that fails, these show the state before the run,
    /// with its instant.
    async fn reread(
        &self,
        request: &ExecutionRequest<'_>,
        monitor: &RunMonitor<'_>,
        summary: &mut RunSummary,
    ) {
        let &RunRequest { policies, selection, .. } = request.run;
        tokio::select! {
            biased;
            _ = self.interrupt.signalled() => {}
            looked = planning::look_again(self.context, policies, request.fifo, selection) => match looked {
                Ok(overview) => monitor.read(overview, summary),
                Err(error) => {
                    tracing::warn!("failed to read the VMs after the run: {}", error.chain().join(": "));
                }
            },
        }
    }

    async fn execute(&self, request: &ExecutionRequest<'_>, inventory: Inventory) -> RunReport {
        let &ExecutionRequest { run, fifo, vms, approval, .. } = request;
        let &RunRequest { args, handed_over_after, policies, .. } = run;
        let client = WriteClient::new(fifo.read().clone());
        // A token of its own: the warning is to come before the executor ends.
        let stop = CancellationToken::new();
        let hand_over = CancellationToken::new();
        let executor = Executor {
            client: &client,
            policies,
            clock: self.context,
            observer: &self.observers,
            stop: &stop,
            hand_over: &hand_over,
            progress: run.progress,
            notes: &self.notes,
            settings: ExecutorSettings {
                max_uploads: args.max_uploads.get(),
                max_uploads_per_hypervisor: args.max_uploads_per_hypervisor.get(),
                wait: !args.no_wait,
                deadline: run.deadline,
                timing: timing(self.context),
                prune: args.prune.switch(),
            },
        };
        let on_signal = async {
            self.interrupt.stop().cancelled().await;
            self.warn(
                None,
                "stopping: nothing new is started; a second signal ends the process at once".to_owned(),
            );
            stop.cancel();
            std::future::pending().await
        };
        let next_is_due = async {
            if let Some(after) = handed_over_after {
                tokio::time::sleep(after).await;
                hand_over.cancel();
            }
            std::future::pending().await
        };
        tokio::select! {
            // Reported before its consequences.
            biased;
            never = on_signal => match never {},
            never = next_is_due => match never {},
            report = executor.execute(vms, inventory, approval) => report,
        }
    }

    /// Judges a run by its report, and by the problems that its plan could not solve.
    fn judge(&self, report: &RunReport, request: &ExecutionRequest<'_>) -> Outcome {
        let tally = report.tally();
        let is_trouble = |vm: &VmPlan| {
            vm.is_in_trouble()
                || is_passed_over(vm) && vm.uuid.is_some_and(|id| request.too_old.contains(&id))
        };
        // A backup that another run makes is on its way.
        let is_left = |code: &str| matches!(code, "slots" | "not_started" | "unproven" | "not_tried");
        let left_too_old = report.vms.iter().any(|vm| {
            let mut creates = vm.steps.iter().filter(|step| step.kind == ActionKind::Create);
            request.too_old.contains(&vm.at.vm)
                && creates.any(|step| step.ending == ActionOutcome::HandedOver && is_left(step.code))
        });
        if !report.alarms.is_empty() {
            Outcome::Alarm
        } else if let Some(signal) = self.interrupt.caught() {
            Outcome::Interrupted(signal)
        } else if tally.failed + tally.dropped > 0
            || left_too_old
            || !report.uncompared.is_empty()
            || request.plan.vms.iter().any(is_trouble)
        {
            Outcome::SomeFailed
        } else {
            Outcome::Done
        }
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

/// Closes a connection after a run. A failure to close it does not change the result of the run.
pub(super) async fn close(fifo: Connection) {
    if let Err(error) = fifo.close().await {
        tracing::warn!("{}", error.chain().join(": "));
    }
}

/// Returns the timing. The sandbox gets shorter pauses: its uploads take two seconds.
fn timing(context: &Context) -> Timing {
    let usual = Timing::default();
    if context.global.sandbox {
        Timing { pause_min: Duration::from_millis(200), pause_max: Duration::from_secs(1), ..usual }
    } else {
        usual
    }
}

/// Several observers, each of which gets every event.
struct Observers(Vec<Box<dyn Observer>>);

impl Observer for Observers {
    fn observe(&self, event: &Event) {
        self.0.iter().for_each(|observer| observer.observe(event));
    }
}

/// An observer that writes through the output queue, so that slow output blocks no run.
struct QueuedObserver(Arc<dyn Observer>);

impl Observer for QueuedObserver {
    fn observe(&self, event: &Event) {
        let (observer, event) = (Arc::clone(&self.0), event.clone());
        match event.what {
            EventKind::Progress { .. } | EventKind::Waiting(_) => {
                output_queue::write_if_idle(move || observer.observe(&event))
            }
            _ => output_queue::write(move || observer.observe(&event)),
        }
    }
}
