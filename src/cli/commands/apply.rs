//! `apply`: carries out a saved plan, or a new one that was shown and agreed to.

use crate::apply::{ProgressTracker, VmRef};
use crate::cli::args::{ApplyArgs, TextOrJson};
use crate::cli::connection::{Connection, FirstContact, PendingConnection};
use crate::cli::context::Context;
use crate::cli::daemon::observer::RunMonitor;
use crate::cli::daemon::single;
use crate::cli::error::{CliError, Kind};
use crate::cli::execute::{self, Execution, ExecutionRequest};
use crate::cli::exit::Outcome;
use crate::cli::interrupt::Interrupt;
use crate::cli::latch;
use crate::cli::planning::{self, Planned};
use crate::cli::policies;
use crate::insight::Estimate;
use crate::inventory::Inventory;
use crate::plan::{Action, Plan, SavedPlan, SkipReason, SkippedVm, VmPlan, confirm};
use crate::policy::Policies;
use crate::render;
use crate::render::text::{PlanExtras, TextOptions};
use crate::run::RunSummary;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The largest file that is read as a plan, in bytes: a plan of a hundred thousand VMs.
const PLAN_BYTES_MAX: u64 = 256 << 20;

/// Runs the command.
///
/// # Errors
///
/// The saved plan cannot be used, another run is under way, no plan can be made, or the answer to the question was no.
pub(in crate::cli) async fn run(args: &ApplyArgs, context: &Context) -> Result<Outcome, CliError> {
    context.format::<TextOrJson>()?;
    let is_asked = args.plan.is_none() && !args.auto_approve;
    if is_asked && !context.can_ask() {
        return Err(CliError::new(Kind::Usage, "there is no terminal to ask on")
            .hint("give --auto-approve to go on without asking, or use `reconcile`"));
    }
    single::run_and_report(context, &args.reporting, "apply", None, async |summary, monitor| {
        let mut reporting = RunReporting { summary, monitor };
        match &args.plan {
            Some(path) => saved(args, path, context, &mut reporting).await,
            None => fresh(args, context, &mut reporting).await,
        }
    })
    .await
}

/// The account of the run, and who watches it.
struct RunReporting<'a, 'w> {
    summary: &'a mut RunSummary,
    monitor: &'a mut RunMonitor<'w>,
}

async fn fresh(
    args: &ApplyArgs,
    context: &Context,
    reporting: &mut RunReporting<'_, '_>,
) -> Result<Outcome, CliError> {
    let policies = policies::load(context)?;
    let fifo = PendingConnection::of(context)?;
    reporting.summary.endpoint = Some(fifo.name().to_owned());
    let latch = latch::of(context, fifo.name())?;
    if args.auto_approve {
        let _lock = execute::lock(context, fifo.name(), "apply")?;
        latch::refuse_if_set(&latch)?;
        let fifo = fifo.open(context, FirstContact::FailFast).await?;
        reporting.monitor.begin();
        let Planned { plan, inventory, .. } = planned(args, context, &policies, &fifo, reporting).await?;
        execute::show_or_warn(context, &plan, &inventory);
        let work =
            ApprovedWork { vms: plan.vms.clone(), skipped: Vec::new(), plan: &plan, inventory: &inventory };
        return execute(args, context, fifo, &policies, work, reporting).await;
    }
    // The lock is taken after the answer: a question that nobody answers must not hold cron up. Nor has the run started
    // before it, which may take hours.
    latch::refuse_if_set(&latch)?;
    let identity = fifo.identity();
    let fifo = fifo.open(context, FirstContact::FailFast).await?;
    let Planned { plan: live_view, inventory, .. } =
        planned(args, context, &policies, &fifo, reporting).await?;
    if live_view.vms.iter().all(|vm| vm.due_actions().is_empty()) {
        execute::show_or_warn(context, &live_view, &inventory);
    } else {
        show_where_asked(context, &live_view, &inventory)?;
        if !context.ask(&format!("Carry this out on {} {identity}?", fifo.name()))? {
            return Err(CliError::new(Kind::Declined, "nothing was done"));
        }
    }
    let _lock = execute::lock(context, fifo.name(), "apply")?;
    latch::refuse_if_set(&latch)?;
    reporting.monitor.begin();
    let now = planned(args, context, &policies, &fifo, reporting).await?;
    let work = ApprovedWork::confirmed(&live_view, &now, "the plan that was shown");
    execute(args, context, fifo, &policies, work, reporting).await
}

/// Reads FiFo and plans, for the run and for those who watch it.
async fn planned(
    args: &ApplyArgs,
    context: &Context,
    policies: &Policies,
    fifo: &Connection,
    reporting: &mut RunReporting<'_, '_>,
) -> Result<Planned, CliError> {
    let planned = planning::make(context, policies, fifo, &args.planning, None).await?;
    reporting.monitor.read(&planned, policies, reporting.summary);
    Ok(planned)
}

async fn saved(
    args: &ApplyArgs,
    path: &Path,
    context: &Context,
    reporting: &mut RunReporting<'_, '_>,
) -> Result<Outcome, CliError> {
    let saved = read_plan(path)?;
    let policies = policies::load(context)?;
    let fifo = PendingConnection::of(context)?;
    reporting.summary.endpoint = Some(fifo.name().to_owned());
    if saved.endpoint != fifo.name() {
        let message =
            format!("{} is a plan for {}, and this is {}", path.display(), saved.endpoint, fifo.name());
        return Err(CliError::new(Kind::SavedPlan, message).hint("name the FiFo that the plan was made for"));
    }
    let _lock = execute::lock(context, fifo.name(), "apply")?;
    latch::refuse_if_set(&latch::of(context, fifo.name())?)?;
    let fifo = fifo.open(context, FirstContact::FailFast).await?;
    reporting.monitor.begin();
    let now = planned(args, context, &policies, &fifo, reporting).await?;
    if saved.policies != now.plan.policies {
        tracing::warn!("the policies are not those that {} was made from", path.display());
    }
    let mut work = ApprovedWork::confirmed(&saved, &now, &path.display().to_string());
    if work.is_nothing_left() {
        tracing::info!("nothing is left to do: all of {} is done or no longer wanted", path.display());
        // One line for the whole plan instead of one for each VM.
        work.skipped.clear();
    } else {
        execute::show_or_warn(context, &now.plan.limited_to(work.vms.clone()), &now.inventory);
    }
    execute(args, context, fifo, &policies, work, reporting).await
}

/// Shows what is going to be asked about: with JSON, which is for the events alone, on the terminal that is asked on.
fn show_where_asked(context: &Context, plan: &Plan, inventory: &Inventory) -> Result<(), CliError> {
    let estimate = Estimate::of(plan, inventory);
    if !context.is_json() {
        let extras = PlanExtras { identity: None, estimate: Some(&estimate) };
        return context.print(|out| render::text::plan(plan, extras, &context.text_options, out));
    }
    let text_options = TextOptions { styles: context.error_styles, ..context.text_options };
    let extras = PlanExtras { identity: None, estimate: Some(&estimate) };
    render::text::plan(plan, extras, &text_options, &mut io::stderr().lock()).map_err(|error| {
        CliError::new(Kind::Files, "failed to show the plan on standard error").because(error)
    })
}

/// What is to be carried out, and what of a saved plan is not.
struct ApprovedWork<'a> {
    plan: &'a Plan,
    vms: Vec<VmPlan>,
    skipped: Vec<SkippedVm>,
    inventory: &'a Inventory,
}

impl<'a> ApprovedWork<'a> {
    /// Takes of an earlier plan what the one made now still wants. `name` is what the earlier one is called.
    fn confirmed<C, D, N>(earlier: &Plan<VmPlan<Action<C, D>, N>>, now: &'a Planned, name: &str) -> Self {
        let Planned { plan, inventory, .. } = now;
        if let Some(until) = earlier.valid_until.filter(|&until| until <= plan.at) {
            tracing::warn!(
                "{name} was made to hold until {}: what has come due since is not in it and is not done",
                until.format("%Y-%m-%d %H:%M:%S UTC")
            );
        }
        let confirmed = confirm(earlier, plan);
        Self { plan, vms: confirmed.vms, skipped: confirmed.skipped, inventory }
    }

    /// Says whether everything that was listed is done or no longer wanted.
    fn is_nothing_left(&self) -> bool {
        self.vms.is_empty() && self.skipped.iter().all(|skipped| skipped.why == SkipReason::NothingLeft)
    }
}

async fn execute(
    args: &ApplyArgs,
    context: &Context,
    fifo: Connection,
    policies: &Policies,
    work: ApprovedWork<'_>,
    reporting: &mut RunReporting<'_, '_>,
) -> Result<Outcome, CliError> {
    let interrupt = Interrupt::listen()?;
    // Once more right before anything is done: the file may have been put there by hand.
    let latch = latch::of(context, fifo.name())?;
    latch::refuse_if_set(&latch)?;
    reporting.monitor.arm_latch(latch);
    let execution = Execution::begin(context, &interrupt, reporting.monitor)?;
    for skipped in &work.skipped {
        let at = skipped.vm.map(|vm| VmRef { vm, alias: skipped.alias.clone() });
        execution.warn(at, format!("{}: {}", skipped.alias, skip_text(skipped.why)));
    }
    let request = ExecutionRequest {
        args: &args.execute,
        handed_over_after: None,
        deadline: args.deadline,
        progress: &ProgressTracker::default(),
        selection: &args.planning,
        fifo: &fifo,
        policies,
        plan: work.plan,
        vms: &work.vms,
        inventory: work.inventory,
    };
    let outcome = execution.run(&request, reporting.monitor, reporting.summary).await;
    execute::close(fifo).await;
    let has_changed = work.skipped.iter().any(|skipped| skipped.why == SkipReason::Changed);
    Ok(match outcome {
        Outcome::Done if has_changed => Outcome::SomeFailed,
        outcome => outcome,
    })
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

fn read_plan(path: &Path) -> Result<SavedPlan, CliError> {
    let unreadable = |error| {
        CliError::new(Kind::Files, format!("failed to read the plan {}", path.display())).because(error)
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(PLAN_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    SavedPlan::from_json(&bytes).map_err(|error| {
        CliError::new(Kind::SavedPlan, format!("{} cannot be applied", path.display()))
            .because(error)
            .hint("make a new plan with `fifo-retain plan --out FILE`")
    })
}
