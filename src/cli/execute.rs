//! Carrying a plan out: what `apply` and `reconcile` share.

use super::args::{CarryArgs, Format, PlanningArgs};
use super::connection::Connection;
use super::context::Context;
use super::daemon::observer::Watch;
use super::error::{CliError, Kind};
use super::exit::Outcome;
use super::interrupt::Interrupt;
use super::planning;
use super::voice;
use crate::apply::{
    Clock, Event, Executor, Holder, Journal, Lock, LockError, Movements, Observer, Pace, Place, Report,
    Settings, What,
};
use crate::fifo::WriteClient;
use crate::inventory::Inventory;
use crate::plan::{NoteCode, Plan, Status, VmPlan};
use crate::policy::Policies;
use crate::render::{self, JsonLines, People};
use crate::run::Account;
use chrono::{DateTime, Utc};
use std::fs::DirBuilder;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

impl Clock for Context {
    fn now(&self) -> DateTime<Utc> {
        Context::now(self)
    }
}

/// Takes the lock for a FiFo, so that no other run of this machine does anything to it meanwhile.
///
/// # Errors
///
/// Another run holds it, or the state folder cannot be used.
pub(super) fn lock(context: &Context, endpoint: &str, command: &str) -> Result<Lock, CliError> {
    let folder = state_dir(context)?;
    let holder = Holder { pid: context.process_id(), command: command.to_owned(), since: context.now() };
    Lock::take(&folder, endpoint, &holder).map_err(|error| {
        let kind = match &error {
            LockError::Held { .. } => Kind::Locked,
            LockError::Io { .. } => Kind::Files,
        };
        CliError::new(kind, error.to_string()).because(error)
    })
}

/// Gives the state folder, and makes it, for its owner only, where there is none.
fn state_dir(context: &Context) -> Result<PathBuf, CliError> {
    let folder = context.state_dir()?;
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder).map_err(|error| {
        CliError::new(Kind::Files, format!("could not make the state folder {}", folder.display()))
            .because(error)
            .hint("name another one with --state-dir or FIFO_RETAIN_STATE_DIR")
    })?;
    Ok(folder)
}

/// Shows a plan that nobody is asked about, in the form for people. Output that goes nowhere, to a full disk or a terminal
/// that nobody reads, stops no backup.
pub(super) fn show_or_warn(context: &Context, plan: &Plan) {
    voice::start();
    match context.global.format {
        Format::Json => {}
        Format::Text | Format::Github | Format::Markdown => {
            context.print_or_warn(|out| render::text::plan(plan, &context.look, out));
        }
    }
}

/// What is to be carried out.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    /// How.
    pub(super) args: &'a CarryArgs,
    /// After how long what it still waits for is left to the next run; without it, every upload is waited for.
    pub(super) handed_over_after: Option<Duration>,
    /// After how long it leaves to the next run what it still waits for, whether or not that one is due.
    pub(super) deadline: Option<Duration>,
    /// What is known of how uploads move.
    pub(super) movements: &'a Movements,
    /// Which VMs are meant, for reading them again.
    pub(super) wishes: &'a PlanningArgs,
    /// Where.
    pub(super) fifo: &'a Connection,
    /// By what each VM is decided again.
    pub(super) policies: &'a Policies,
    /// The plan made now, with what it could do nothing about.
    pub(super) plan: &'a Plan,
    /// What of it is done.
    pub(super) vms: &'a [VmPlan],
    /// Everything that FiFo was seen to have, whichever VMs are meant.
    pub(super) inventory: &'a Inventory,
}

/// One carrying out: who is told what happens, and who may end it.
pub(super) struct Run<'c> {
    context: &'c Context,
    observers: Observers,
    interrupt: Interrupt,
}

impl<'c> Run<'c> {
    /// Makes ready: opens the journal.
    ///
    /// # Errors
    ///
    /// The state folder cannot be made.
    pub(super) fn begin(
        context: &'c Context,
        interrupt: &Interrupt,
        watch: &Watch<'_>,
    ) -> Result<Self, CliError> {
        voice::start();
        // The ear first: whatever becomes of the others, it has heard. People last: they may not be listening.
        let mut observers: Vec<Box<dyn Observer>> = vec![Box::new(watch.ear())];
        let path = state_dir(context)?.join("journal.jsonl");
        match Journal::open(&path, Uuid::new_v4()) {
            Ok(journal) => observers.push(Box::new(journal)),
            // Backups that are not made are worse than a journal that is not written.
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the journal cannot be opened; the run goes on without");
            }
        }
        if let Some(waits) = watch.waits() {
            observers.push(Box::new(waits));
        }
        observers.push(Box::new(Spoken(match context.global.format {
            Format::Json => Arc::new(JsonLines::new(Box::new(io::stdout()))),
            Format::Text | Format::Github | Format::Markdown => Arc::new(People::new(
                Box::new(io::stdout()),
                Box::new(io::stderr()),
                context.look.styles,
                context.can_draw(),
                context.global.quiet,
            )),
        })));
        Ok(Self { context, observers: Observers(observers), interrupt: interrupt.clone() })
    }

    /// Tells something that is not done, or is otherwise worth knowing.
    pub(super) fn warn(&self, at: Option<Place>, message: String) {
        let what = What::Warning { at, message };
        self.observers.observe(&Event { time: self.context.now(), what });
    }

    /// Carries out what is due, enters what came of it, and judges it. Where somebody is told how the VMs stand, FiFo is
    /// read once more after something was done: what is told is to be what the run has left.
    pub(super) async fn through(&self, job: &Job<'_>, watch: &Watch<'_>, account: &mut Account) -> Outcome {
        let &Job { policies, fifo, wishes, .. } = job;
        let report = tokio::select! {
            biased;
            report = self.carry_out(job) => report,
            never = watch.keep_reading(self.context, policies, fifo, wishes, account) => match never {},
        };
        let outcome = self.judge(&report, job.plan);
        let is_changed = report.vms.iter().any(|vm| !vm.steps.is_empty());
        // Before anything else, which may take its time or fail: an alarm must not be lost.
        account.report = Some(report);
        if watch.is_anybody_there() && is_changed && !account.has_alarm() {
            self.look_again(job, watch, account).await;
        }
        outcome
    }

    /// Reads FiFo after a run, for those who are told how the VMs stand by now. Where that does not work they are told how
    /// they stood before, with the instant of that.
    async fn look_again(&self, job: &Job<'_>, watch: &Watch<'_>, account: &mut Account) {
        tokio::select! {
            biased;
            _ = self.interrupt.told() => {}
            planned = planning::look_again(self.context, job.policies, job.fifo, job.wishes) => match planned {
                Ok(planned) => watch.read(&planned, job.policies, account),
                Err(error) => {
                    tracing::warn!("what the run has left could not be read: {}", error.chain().join(": "));
                }
            },
        }
    }

    async fn carry_out(&self, job: &Job<'_>) -> Report {
        let &Job { args, handed_over_after, fifo, policies, vms, inventory, .. } = job;
        let client = WriteClient::new(fifo.read().clone());
        // Of its own: the executor is to end after it was told that it will, and cancelling reaches it first otherwise.
        let stop = CancellationToken::new();
        let hand_over = CancellationToken::new();
        let executor = Executor {
            client: &client,
            policies,
            clock: self.context,
            observer: &self.observers,
            stop: &stop,
            hand_over: &hand_over,
            movements: job.movements,
            settings: Settings {
                max_uploads: args.max_uploads.get(),
                max_uploads_per_hypervisor: args.max_uploads_per_hypervisor.get(),
                wait: !args.no_wait,
                deadline: job.deadline,
                pace: pace(self.context),
            },
        };
        let told_to_end = async {
            self.interrupt.stop().cancelled().await;
            self.warn(None, "told to end: nothing new is started; once more leaves at once".to_owned());
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
            // Told before what comes of it.
            biased;
            never = told_to_end => match never {},
            never = next_is_due => match never {},
            report = executor.carry_out(vms, inventory) => report,
        }
    }

    /// Judges a run by its report, and by what its plan could do nothing about.
    fn judge(&self, report: &Report, plan: &Plan) -> Outcome {
        let tally = report.tally();
        let is_trouble = |vm: &VmPlan| {
            matches!(vm.status, Status::Fault | Status::Conflict | Status::Unreadable)
                || vm.note(NoteCode::GaveUp).is_some()
        };
        if !report.alarms.is_empty() {
            Outcome::Alarm
        } else if let Some(signal) = self.interrupt.caught() {
            Outcome::Interrupted(signal)
        } else if tally.failed + tally.dropped > 0 || plan.vms.iter().any(is_trouble) {
            Outcome::SomeFailed
        } else {
            Outcome::Done
        }
    }
}

/// Ends a connection after a run. What came of the run stands, whatever becomes of that.
pub(super) async fn close(fifo: Connection) {
    if let Err(error) = fifo.close().await {
        tracing::warn!("{}", error.chain().join(": "));
    }
}

/// The built-in FiFo is near and quick, and its uploads take two seconds.
fn pace(context: &Context) -> Pace {
    let usual = Pace::default();
    if context.global.sandbox {
        Pace { pause_min: Duration::from_millis(200), pause_max: Duration::from_secs(1), ..usual }
    } else {
        usual
    }
}

/// Several observers, each told everything in turn.
struct Observers(Vec<Box<dyn Observer>>);

impl Observer for Observers {
    fn observe(&self, event: &Event) {
        self.0.iter().for_each(|observer| observer.observe(event));
    }
}

/// An observer whose words are written in their turn, however long that takes.
struct Spoken(Arc<dyn Observer>);

impl Observer for Spoken {
    fn observe(&self, event: &Event) {
        let (observer, event) = (Arc::clone(&self.0), event.clone());
        match event.what {
            What::Progress { .. } | What::Waiting(_) => {
                voice::say_in_passing(move || observer.observe(&event))
            }
            _ => voice::say(move || observer.observe(&event)),
        }
    }
}
