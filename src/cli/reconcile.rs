//! `reconcile`: plans and carries out without asking.

use super::args::{Format, ReconcileArgs};
use super::carry::{self, Job, Run};
use super::connection::{Chosen, Patience};
use super::context::Context;
use super::error::CliError;
use super::every;
use super::exit::Outcome;
use super::interrupt::Interrupt;
use super::latch;
use super::planning::{self, Planned};
use super::policies;
use super::telling;
use super::watch::Watch;
use crate::apply::Movements;
use crate::policy::Policies;
use crate::render::Account;
use std::time::Duration;

/// With runs closer together than this, one that is waiting goes on for as long: each new one reads the whole cloud.
const HAND_OVER_LEAST: Duration = Duration::from_secs(60);

/// Runs the command.
///
/// # Errors
///
/// See [`once`] and [`every::run`].
pub(super) async fn run(args: &ReconcileArgs, context: &Context) -> Result<Outcome, CliError> {
    context.allow(&[Format::Text, Format::Json])?;
    if let Some(interval) = args.every {
        return every::run(args, interval, context).await;
    }
    let interrupt = Interrupt::listen()?;
    telling::around(context, &args.telling, "reconcile", Some(&interrupt), async |account, watch| {
        let movements = Movements::default();
        once(args, context, &interrupt, policies::load(context), &movements, watch, account).await
    })
    .await
}

/// Does one run, and keeps account of it.
///
/// # Errors
///
/// The policies have mistakes, another run is under way, or no plan can be made. What goes wrong with a VM is in the
/// outcome.
pub(super) async fn once(
    args: &ReconcileArgs,
    context: &Context,
    interrupt: &Interrupt,
    policies: Result<Policies, CliError>,
    movements: &Movements,
    watch: &mut Watch<'_>,
    account: &mut Account,
) -> Result<Outcome, CliError> {
    let policies = policies?;
    let fifo = Chosen::of(context)?;
    account.endpoint = Some(fifo.name().to_owned());
    // Taken before FiFo is read: what another run is about to do must not be planned again.
    let _lock = carry::lock(context, fifo.name(), "reconcile")?;
    let latch = latch::of(context, fifo.name())?;
    latch::refuse_if_set(&latch)?;
    let fifo = fifo.open(context, Patience::Long).await?;
    watch.begin();
    let planned = tokio::select! {
        // Nothing has been done yet, so nothing has to be brought to an end.
        biased;
        told = interrupt.told() => return Ok(told),
        planned = planning::make(context, &policies, &fifo, &args.planning, None) => planned?,
    };
    watch.read(&planned, &policies, account);
    let Planned { plan, inventory } = &planned;
    carry::show_or_warn(context, plan);
    // Once more right before anything is done: the file may have been put there by hand.
    latch::refuse_if_set(&latch)?;
    watch.arm(latch);
    let run = Run::begin(context, interrupt, watch)?;
    let job = Job {
        args: &args.carry,
        handed_over_after: args.every.map(|every| every.max(HAND_OVER_LEAST)),
        deadline: Some(args.deadline),
        movements,
        wishes: &args.planning,
        fifo: &fifo,
        policies: &policies,
        plan,
        vms: &plan.vms,
        inventory,
    };
    let outcome = run.through(&job, watch, account).await;
    carry::close(fifo).await;
    Ok(outcome)
}
