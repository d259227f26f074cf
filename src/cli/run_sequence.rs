//! The sequence of one run, the same for `apply` and `reconcile`: lock, safety stop, plan, show, execute.

use super::agree;
use super::connection::{Connection, PendingConnection};
use super::context::Context;
use super::daemon::observer::RunMonitor;
use super::error::{CliError, Kind};
use super::execute::{self, Execution, ExecutionRequest, RunRequest};
use super::exit::Outcome;
use super::interrupt::Interrupt;
use super::output_queue;
use super::planning::{self, KeptVms, Planned, Wanted};
use super::safety_stop;
use crate::apply::{Approval, StopFile, VmRef};
use crate::plan::{ConfirmedPlan, NoteCode, Plan, SkipReason, confirm};
use crate::render;
use crate::render::text::{PlanExtras, TextOptions};
use crate::run::RunSummary;
use futures::FutureExt as _;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::Path;

/// What of the plan made now is executed.
pub(super) enum Approved<'a> {
    /// All of it. It is shown where it is not what the run before has shown.
    Everything {
        /// The plan that was shown last.
        last_shown: &'a mut Option<ShownPlan>,
    },
    /// What a plan lists that a person has seen and agreed to.
    Shown(&'a Plan),
    /// What a saved plan lists.
    Saved {
        plan: &'a Plan,
        /// Its file.
        path: &'a Path,
    },
}

/// A plan that was shown, digested.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ShownPlan([u8; 32]);

/// A FiFo that may be open already.
enum Contact {
    Pending(PendingConnection),
    Open(Connection),
}

/// A run with what it reports to.
struct RunSequence<'a, 'w> {
    request: &'a RunRequest<'a>,
    context: &'a Context,
    monitor: &'a mut RunMonitor<'w>,
    summary: &'a mut RunSummary,
}

/// Does one run, and enters its result into `summary`. Without anything approved the plan is shown and a person is asked.
///
/// The lock is taken before FiFo is read: what another run is about to do must not be planned again. Where a question is
/// asked the lock is taken after the answer, and FiFo is read again: an unanswered question must not hold back
/// other runs, and nothing is reported as started before it.
///
/// # Errors
///
/// Another run is under way, the safety stop is set, no plan can be made, the saved plan does not fit, or the answer was
/// no; a fault of this program has stopped the run. A failure of a VM is in the outcome.
pub(super) async fn run(
    request: &RunRequest<'_>,
    approved: Option<Approved<'_>>,
    context: &Context,
    monitor: &mut RunMonitor<'_>,
    summary: &mut RunSummary,
) -> Result<Outcome, CliError> {
    let ended = caught(run_steps(request, approved, context, monitor, summary)).await;
    monitor.alarm_recorder().add_missed_alarms(summary);
    // By the report: no other run may follow, whatever happened after the alarm.
    if summary.has_alarm() { Ok(Outcome::Alarm) } else { ended }
}

/// Catches a panic, so that each run reports its end, however it comes.
async fn caught(run: impl Future<Output = Result<Outcome, CliError>>) -> Result<Outcome, CliError> {
    let fault = |_| Err(CliError::new(Kind::Internal, "the run was stopped by a fault of this program"));
    AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(fault)
}

async fn run_steps(
    request: &RunRequest<'_>,
    approved: Option<Approved<'_>>,
    context: &Context,
    monitor: &mut RunMonitor<'_>,
    summary: &mut RunSummary,
) -> Result<Outcome, CliError> {
    let fifo = PendingConnection::of(context)?;
    let name = fifo.name().to_owned();
    summary.endpoint = Some(name.clone());
    summary.identity = Some(fifo.identity());
    if let Some(approved) = &approved {
        approved.refuse_other_endpoint(&name)?;
    }
    let stop_file = safety_stop::of(context, &name)?;
    let mut sequence = RunSequence { request, context, monitor, summary };
    let shown;
    let (fifo, approved) = match approved {
        Some(approved) => (Contact::Pending(fifo), approved),
        None => {
            safety_stop::refuse_if_set(&stop_file)?;
            let (fifo, plan) = sequence.ask(fifo).await?;
            shown = plan;
            (Contact::Open(fifo), Approved::Shown(&shown))
        }
    };
    let _lock = execute::lock(context, &name, request.command)?;
    safety_stop::refuse_if_set(&stop_file)?;
    let fifo = fifo.open(context, request).await?;
    sequence.monitor.begin();
    let planned = tokio::select! {
        // Nothing was sent yet, so the run can end at once.
        biased;
        Some(outcome) = signalled(request.interrupt) => return Ok(outcome),
        planned = sequence.plan(&fifo) => planned?,
    };
    let approval = approved.approval();
    let mut work = approved.work(&planned);
    approved.show(context, &planned, &mut work);
    sequence.execute(fifo, stop_file, planned, work, approval).await
}

impl RunSequence<'_, '_> {
    /// Shows a plan, and asks where it has anything to do. No signal is caught meanwhile: it ends the process.
    async fn ask(&mut self, fifo: PendingConnection) -> Result<(Connection, Plan), CliError> {
        let question = format!("Carry this out on {} {}?", fifo.name(), fifo.identity());
        let fifo = fifo.open(self.context, self.request.first_contact).await?;
        let planned = self.plan(&fifo).await?;
        if planned.plan.vms.iter().all(|vm| vm.due_actions().is_empty()) {
            show_or_warn(self.context, &planned.plan, &planned);
            return Ok((fifo, planned.plan));
        }
        show_where_asked(self.context, &planned)?;
        let plan = agree::asked(self.context, planned.plan, &question)?;
        Ok((fifo, plan))
    }

    /// Reads FiFo and plans, and shows the state of the VMs.
    async fn plan(&mut self, fifo: &Connection) -> Result<Planned, CliError> {
        let &RunRequest { policies, selection, .. } = self.request;
        let wanted = Wanted { vms: KeptVms::ForRun, overview: self.monitor.wants_overview() };
        let mut planned = planning::make(self.context, policies, fifo, selection, wanted, None).await?;
        if let Some(wait) = planned.wait_for_clocks() {
            tracing::info!(
                "a backup is due by one of the clocks and not by the other: waiting {} s for the slower one",
                wait.as_secs()
            );
            tokio::time::sleep(wait).await;
            planned = planning::make(self.context, policies, fifo, selection, wanted, None).await?;
        }
        if let Some(overview) = planned.overview.take() {
            self.monitor.read(overview, self.summary);
        }
        Ok(planned)
    }

    async fn execute(
        self,
        fifo: Connection,
        stop_file: StopFile,
        planned: Planned,
        work: ConfirmedPlan,
        approval: Approval,
    ) -> Result<Outcome, CliError> {
        let interrupt = self.request.interrupt.map_or_else(Interrupt::listen, |it| Ok(it.clone()))?;
        // Once more right before anything is done: the file may have been put there by hand.
        safety_stop::refuse_if_set(&stop_file)?;
        self.monitor.arm(stop_file);
        let execution = Execution::begin(self.context, &interrupt, fifo.name(), self.monitor)?;
        for skipped in &work.skipped {
            let at = skipped.vm.map(|vm| VmRef { vm, alias: skipped.alias.clone() });
            execution.warn(at, format!("{}: {}", skipped.alias, skip_text(skipped.why)));
        }
        let has_changed = work.skipped.iter().any(|skipped| skipped.why == SkipReason::Changed);
        let vms = work.vms;
        self.summary.plan(&vms);
        let Planned { plan, inventory, too_old, .. } = planned;
        for vm in &plan.vms {
            self.summary.refused_deletes += vm.refused_deletes;
            if let Some(note) = vm.note(NoteCode::OverPruneLimit).filter(|_| vm.refused_deletes > 0) {
                let at = vm.uuid.map(|id| VmRef { vm: id, alias: vm.alias.clone() });
                execution.warn(at, format!("{}: {note}", vm.alias));
            }
        }
        let request = ExecutionRequest {
            run: self.request,
            fifo: &fifo,
            plan: &plan,
            too_old: &too_old,
            approval,
            vms: &vms,
        };
        let outcome = execution.run(&request, inventory, self.monitor, self.summary).await;
        execute::close(fifo).await;
        Ok(match outcome {
            Outcome::Done if has_changed => Outcome::SomeFailed,
            outcome => outcome,
        })
    }
}

impl Contact {
    async fn open(self, context: &Context, request: &RunRequest<'_>) -> Result<Connection, CliError> {
        match self {
            Self::Pending(fifo) => fifo.open(context, request.first_contact).await,
            Self::Open(fifo) => Ok(fifo),
        }
    }
}

impl Approved<'_> {
    /// Refuses a saved plan that was made for another FiFo.
    fn refuse_other_endpoint(&self, name: &str) -> Result<(), CliError> {
        match self {
            Self::Saved { plan, path } if plan.endpoint != name => {
                let message =
                    format!("{} is a plan for {}, and this is {name}", path.display(), plan.endpoint);
                Err(CliError::new(Kind::SavedPlan, message).hint("name the FiFo that the plan was made for"))
            }
            Self::Everything { .. } | Self::Shown(_) | Self::Saved { .. } => Ok(()),
        }
    }

    fn approval(&self) -> Approval {
        match self {
            Self::Everything { .. } => Approval::Everything,
            Self::Shown(_) | Self::Saved { .. } => Approval::Listed,
        }
    }

    /// Takes of the plan made now what is approved.
    fn work(&self, now: &Planned) -> ConfirmedPlan {
        match self {
            Self::Everything { .. } => {
                let due = now.plan.vms.iter().filter(|vm| !vm.due_actions().is_empty());
                ConfirmedPlan { vms: due.cloned().collect(), skipped: Vec::new() }
            }
            Self::Shown(plan) => confirmed(plan, &now.plan, "the plan that was shown"),
            Self::Saved { plan, path } => {
                let path = path.display();
                if plan.policies != now.plan.policies {
                    tracing::warn!("the policies are not those that {path} was made from");
                }
                confirmed(plan, &now.plan, &path.to_string())
            }
        }
    }

    /// Shows of the work what was not shown yet.
    fn show(self, context: &Context, now: &Planned, work: &mut ConfirmedPlan) {
        match self {
            Self::Everything { last_shown } => show_if_changed(context, now, last_shown),
            Self::Shown(_) => {}
            Self::Saved { path, .. } if is_nothing_left(work) => {
                tracing::info!(
                    "nothing is left to do: all of {} is done or no longer wanted",
                    path.display()
                );
                // One line for the whole plan instead of one for each VM.
                work.skipped.clear();
            }
            Self::Saved { .. } => {
                show_or_warn(context, &now.plan.limited_to(work.vms.clone()), now);
            }
        }
    }
}

/// Waits for a signal; `None` at once where none is listened for.
async fn signalled(interrupt: Option<&Interrupt>) -> Option<Outcome> {
    match interrupt {
        Some(interrupt) => Some(interrupt.signalled().await),
        None => None,
    }
}

/// Takes of an earlier plan what the one made now still wants. `name` is what the earlier one is called.
fn confirmed(earlier: &Plan, now: &Plan, name: &str) -> ConfirmedPlan {
    if let Some(until) = earlier.valid_until.filter(|&until| until <= now.at) {
        tracing::warn!(
            "{name} was made to hold until {}: what has come due since is not in it and is not done",
            until.format("%Y-%m-%d %H:%M:%S UTC")
        );
    }
    confirm(earlier, now)
}

/// Returns whether everything that a saved plan lists is done or no longer wanted.
fn is_nothing_left(work: &ConfirmedPlan) -> bool {
    work.vms.is_empty() && work.skipped.iter().all(|skipped| skipped.why == SkipReason::NothingLeft)
}

fn skip_text(why: SkipReason) -> String {
    match why {
        SkipReason::Changed => "left out: it has changed since the plan; make a new one".to_owned(),
        SkipReason::NothingLeft => {
            "nothing to do: what the plan lists for it is no longer wanted, or is done".to_owned()
        }
        SkipReason::SomeDropped(1) => "one listed action is no longer wanted and is dropped".to_owned(),
        SkipReason::SomeDropped(count) => {
            format!("{count} listed actions are no longer wanted and are dropped")
        }
    }
}

/// Shows a plan as text, without asking. Output that cannot be written, because of a full disk or a blocked terminal,
/// stops no backup.
fn show_or_warn(context: &Context, plan: &Plan, made: &Planned) {
    output_queue::start();
    if !context.is_json() {
        let estimate = made.estimate(plan);
        let extras = PlanExtras { identity: Some(&made.identity), estimate: Some(&estimate) };
        context.print_or_warn(|out| render::text::plan(plan, extras, &context.text_options, out));
    }
}

/// Shows a plan like [`show_or_warn`], unless it is what was shown last. Notes and the progress of uploads are no change.
fn show_if_changed(context: &Context, made: &Planned, last: &mut Option<ShownPlan>) {
    let now = ShownPlan(made.plan.digest_without_notes());
    if last.as_ref() != Some(&now) {
        show_or_warn(context, &made.plan, made);
        *last = Some(now);
    }
}

/// Shows the plan that a question is about; with JSON output, which has only the events, on standard error.
fn show_where_asked(context: &Context, made: &Planned) -> Result<(), CliError> {
    let plan = &made.plan;
    let estimate = made.estimate(plan);
    let extras = PlanExtras { identity: Some(&made.identity), estimate: Some(&estimate) };
    if !context.is_json() {
        return context.print(|out| render::text::plan(plan, extras, &context.text_options, out));
    }
    let text_options = TextOptions { styles: context.error_styles, ..context.text_options };
    render::text::plan(plan, extras, &text_options, &mut io::stderr().lock()).map_err(|error| {
        CliError::new(Kind::Files, "failed to show the plan on standard error").because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_that_panics_ends_as_a_failed_one() {
        let ended = caught(async { panic!("a fault") }).await;
        assert_eq!(ended.unwrap_err().kind(), Kind::Internal);
    }
}
