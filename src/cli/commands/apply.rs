//! `apply`: carries out a saved plan, or a new one that was shown and agreed to.

use crate::apply::{Movements, Place};
use crate::cli::args::{ApplyArgs, Format};
use crate::cli::connection::{Chosen, Connection, Patience};
use crate::cli::context::Context;
use crate::cli::daemon::observer::Watch;
use crate::cli::daemon::single;
use crate::cli::error::{CliError, Kind};
use crate::cli::execute::{self, Job, Run};
use crate::cli::exit::Outcome;
use crate::cli::interrupt::Interrupt;
use crate::cli::latch;
use crate::cli::planning::{self, Planned};
use crate::cli::policies;
use crate::inventory::Inventory;
use crate::plan::{LeftOut, Plan, VmPlan, Why, agree};
use crate::policy::Policies;
use crate::render;
use crate::render::text::Look;
use crate::run::Account;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The largest file that is read as a plan, in bytes: a plan of a hundred thousand VMs.
const PLAN_BYTES_MAX: u64 = 256 << 20;

/// Runs the command.
///
/// # Errors
///
/// The saved plan cannot be used, another run is under way, no plan can be made, or whoever was asked said no.
pub(in crate::cli) async fn run(args: &ApplyArgs, context: &Context) -> Result<Outcome, CliError> {
    context.allow(&[Format::Text, Format::Json])?;
    let is_asked = args.plan.is_none() && !args.auto_approve;
    if is_asked && !context.can_ask() {
        return Err(CliError::new(Kind::Usage, "there is no terminal to ask on")
            .hint("give --auto-approve to go on without asking, or use `reconcile`"));
    }
    single::around(context, &args.telling, "apply", None, async |account, watch| {
        let mut told = Told { account, watch };
        match &args.plan {
            Some(path) => saved(args, path, context, &mut told).await,
            None => fresh(args, context, &mut told).await,
        }
    })
    .await
}

/// The account of the run, and who watches it.
struct Told<'a, 'w> {
    account: &'a mut Account,
    watch: &'a mut Watch<'w>,
}

async fn fresh(args: &ApplyArgs, context: &Context, told: &mut Told<'_, '_>) -> Result<Outcome, CliError> {
    let policies = policies::load(context)?;
    let fifo = Chosen::of(context)?;
    told.account.endpoint = Some(fifo.name().to_owned());
    let latch = latch::of(context, fifo.name())?;
    if args.auto_approve {
        let _lock = execute::lock(context, fifo.name(), "apply")?;
        latch::refuse_if_set(&latch)?;
        let fifo = fifo.open(context, Patience::Short).await?;
        told.watch.begin();
        let Planned { plan, inventory } = planned(args, context, &policies, &fifo, told).await?;
        execute::show_or_warn(context, &plan);
        let deeds = Deeds { vms: plan.vms.clone(), left_out: Vec::new(), plan: &plan, inventory: &inventory };
        return carry_out(args, context, fifo, &policies, deeds, told).await;
    }
    // The lock is taken after the answer: a question that nobody answers must not hold cron up. Nor has anything begun
    // before it, which may take hours.
    latch::refuse_if_set(&latch)?;
    let fifo = fifo.open(context, Patience::Short).await?;
    let shown = planned(args, context, &policies, &fifo, told).await?.plan;
    if shown.vms.iter().all(|vm| vm.due_actions().is_empty()) {
        execute::show_or_warn(context, &shown);
    } else {
        show_where_asked(context, &shown)?;
        if !context.ask("Carry this out?")? {
            return Err(CliError::new(Kind::Declined, "nothing was done"));
        }
    }
    let _lock = execute::lock(context, fifo.name(), "apply")?;
    latch::refuse_if_set(&latch)?;
    told.watch.begin();
    let now = planned(args, context, &policies, &fifo, told).await?;
    let deeds = Deeds::agreed(&shown, &now, "the plan that was shown");
    carry_out(args, context, fifo, &policies, deeds, told).await
}

/// Reads FiFo and plans, for the run and for those who watch it.
async fn planned(
    args: &ApplyArgs,
    context: &Context,
    policies: &Policies,
    fifo: &Connection,
    told: &mut Told<'_, '_>,
) -> Result<Planned, CliError> {
    let planned = planning::make(context, policies, fifo, &args.planning, None).await?;
    told.watch.read(&planned, policies, told.account);
    Ok(planned)
}

async fn saved(
    args: &ApplyArgs,
    path: &Path,
    context: &Context,
    told: &mut Told<'_, '_>,
) -> Result<Outcome, CliError> {
    let saved = read_plan(path)?;
    let policies = policies::load(context)?;
    let fifo = Chosen::of(context)?;
    told.account.endpoint = Some(fifo.name().to_owned());
    if saved.endpoint != fifo.name() {
        let message =
            format!("{} is a plan for {}, and this is {}", path.display(), saved.endpoint, fifo.name());
        return Err(CliError::new(Kind::SavedPlan, message).hint("name the FiFo that the plan was made for"));
    }
    let _lock = execute::lock(context, fifo.name(), "apply")?;
    latch::refuse_if_set(&latch::of(context, fifo.name())?)?;
    let fifo = fifo.open(context, Patience::Short).await?;
    told.watch.begin();
    let now = planned(args, context, &policies, &fifo, told).await?;
    if saved.policies != now.plan.policies {
        tracing::warn!("the policies are not those that {} was made from", path.display());
    }
    execute::show_or_warn(context, &saved);
    let deeds = Deeds::agreed(&saved, &now, &path.display().to_string());
    carry_out(args, context, fifo, &policies, deeds, told).await
}

/// Shows what is going to be asked about: with JSON, which is for the events alone, on the terminal that is asked on.
fn show_where_asked(context: &Context, plan: &Plan) -> Result<(), CliError> {
    match context.global.format {
        Format::Text | Format::Github | Format::Markdown => {
            context.print(|out| render::text::plan(plan, &context.look, out))
        }
        Format::Json => {
            let look = Look { styles: context.error_styles, ..context.look };
            render::text::plan(plan, &look, &mut io::stderr().lock()).map_err(|error| {
                CliError::new(Kind::Files, "could not show the plan on standard error").because(error)
            })
        }
    }
}

/// What is to be carried out, and what of a saved plan is not.
struct Deeds<'a> {
    /// The plan made now.
    plan: &'a Plan,
    vms: Vec<VmPlan>,
    left_out: Vec<LeftOut>,
    inventory: &'a Inventory,
}

impl<'a> Deeds<'a> {
    /// Takes of an earlier plan what the one made now still wants. `name` is what the earlier one is called.
    fn agreed(earlier: &Plan, now: &'a Planned, name: &str) -> Self {
        let Planned { plan, inventory } = now;
        if let Some(until) = earlier.valid_until.filter(|&until| until <= plan.at) {
            tracing::warn!(
                "{name} was made to hold until {}: what has come due since is not in it and is not done",
                until.format("%Y-%m-%d %H:%M:%S UTC")
            );
        }
        let agreement = agree(earlier, plan);
        Self { plan, vms: agreement.vms, left_out: agreement.left_out, inventory }
    }
}

async fn carry_out(
    args: &ApplyArgs,
    context: &Context,
    fifo: Connection,
    policies: &Policies,
    deeds: Deeds<'_>,
    told: &mut Told<'_, '_>,
) -> Result<Outcome, CliError> {
    let interrupt = Interrupt::listen()?;
    // Once more right before anything is done: the file may have been put there by hand.
    let latch = latch::of(context, fifo.name())?;
    latch::refuse_if_set(&latch)?;
    told.watch.arm(latch);
    let run = Run::begin(context, &interrupt, told.watch)?;
    for left_out in &deeds.left_out {
        let at = left_out.vm.map(|vm| Place { vm, alias: left_out.alias.clone() });
        run.warn(at, format!("{}: {}", left_out.alias, why_text(left_out.why)));
    }
    let job = Job {
        args: &args.carry,
        handed_over_after: None,
        deadline: args.deadline,
        movements: &Movements::default(),
        wishes: &args.planning,
        fifo: &fifo,
        policies,
        plan: deeds.plan,
        vms: &deeds.vms,
        inventory: deeds.inventory,
    };
    let outcome = run.through(&job, told.watch, told.account).await;
    execute::close(fifo).await;
    let has_changed = deeds.left_out.iter().any(|left_out| left_out.why == Why::Changed);
    Ok(match outcome {
        Outcome::Done if has_changed => Outcome::SomeFailed,
        outcome => outcome,
    })
}

fn why_text(why: Why) -> String {
    match why {
        Why::Changed => "left out: it has changed since the plan; make a new one".to_owned(),
        Why::Settled => {
            "nothing to do: what the plan lists for it is no longer wanted, or is done".to_owned()
        }
        Why::Partly(1) => "one listed action is no longer wanted and is dropped".to_owned(),
        Why::Partly(count) => format!("{count} listed actions are no longer wanted and are dropped"),
    }
}

/// Reads a saved plan.
fn read_plan(path: &Path) -> Result<Plan, CliError> {
    let unreadable = |error| {
        CliError::new(Kind::Files, format!("could not read the plan {}", path.display())).because(error)
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(PLAN_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    Plan::from_saved(&bytes).map_err(|error| {
        CliError::new(Kind::SavedPlan, format!("{} cannot be applied", path.display()))
            .because(error)
            .hint("make a new plan with `fifo-retain plan --out FILE`")
    })
}
