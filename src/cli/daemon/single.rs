//! A single run with its reports, and the run of `reconcile`, single or repeated.

use super::observer::RunMonitor;
use super::reporting::{Reporting, close, is_not_a_run};
use crate::apply::ProgressTracker;
use crate::cli::args::{ReconcileArgs, ReportingArgs};
use crate::cli::connection::FirstContact;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::execute::RunRequest;
use crate::cli::exit::Outcome;
use crate::cli::interrupt::Interrupt;
use crate::cli::run_sequence::{self, Approved, ShownPlan};
use crate::cli::safety_stop;
use crate::policy::Policies;
use crate::run::{RunHistory, RunSummary};
use std::time::Duration;

/// With a shorter interval than this, a run that waits is still given this long: each new one reads the whole cloud.
const HAND_OVER_LEAST: Duration = Duration::from_secs(60);

/// Runs `run` once, and reports its result everywhere, unless there was no run: see [`is_not_a_run`].
///
/// # Errors
///
/// Those of the run; an address on the command line is invalid.
pub(in crate::cli) async fn run_and_report(
    context: &Context,
    args: &ReportingArgs,
    command: &'static str,
    interrupt: Option<&Interrupt>,
    run: impl AsyncFnOnce(&mut RunSummary, &mut RunMonitor<'_>) -> Result<Outcome, CliError>,
) -> Result<Outcome, CliError> {
    let reporting = Reporting::of(context, args)?;
    let mut summary = RunSummary::new(command, context.now());
    let mut monitor = RunMonitor::new(&reporting, None);
    let ended = run(&mut summary, &mut monitor).await;
    // A safety stop that could not be written is worse than one that is set.
    let ended = monitor.alarm_recorder().failure().map_or(ended, Err);
    close(&mut summary, context, &ended);
    let safety_stop = summary.endpoint.as_deref().and_then(|endpoint| safety_stop::shown(context, endpoint));
    let mut history = RunHistory { safety_stop, ..RunHistory::default() };
    history.enter(summary);
    if !is_not_a_run(&ended) {
        reporting.end(monitor.into_start_ping(), &history, interrupt).await;
    }
    ended
}

/// What a process keeps from run to run.
#[derive(Debug, Default)]
pub(in crate::cli) struct RunMemory {
    /// The progress of uploads: one that hung in the run before hangs in the next one as well.
    progress: ProgressTracker,
    /// The plan that was shown last: it is shown again only when it has changed.
    last_shown: Option<ShownPlan>,
}

/// Does one run, and enters its result into `summary`.
///
/// # Errors
///
/// The policies have mistakes, or those of [`run_sequence::run`]. A failure of a VM is in the outcome.
pub(in crate::cli) async fn reconcile_once(
    args: &ReconcileArgs,
    context: &Context,
    interrupt: &Interrupt,
    policies: Result<Policies, CliError>,
    memory: &mut RunMemory,
    monitor: &mut RunMonitor<'_>,
    summary: &mut RunSummary,
) -> Result<Outcome, CliError> {
    let request = RunRequest {
        command: "reconcile",
        first_contact: FirstContact::KeepTrying,
        args: &args.execute,
        handed_over_after: args.every.map(|every| every.max(HAND_OVER_LEAST)),
        deadline: Some(args.deadline),
        progress: &memory.progress,
        selection: &args.planning,
        policies: &policies?,
        interrupt: Some(interrupt),
    };
    let everything = Approved::Everything { last_shown: &mut memory.last_shown };
    run_sequence::run(&request, Some(everything), context, monitor, summary).await
}
