//! `reconcile`: plans and carries out without asking.

use super::args::{Format, ReconcileArgs};
use super::carry::{self, Run};
use super::connection::Chosen;
use super::context::Context;
use super::error::CliError;
use super::every;
use super::exit::Outcome;
use super::interrupt::Interrupt;
use super::planning::{self, Planned};
use super::policies;
use super::telling;
use crate::plan::Overview;
use crate::policy::Policies;
use crate::render::Account;

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
    telling::around(
        context,
        &args.telling,
        "reconcile",
        false,
        Some(&interrupt),
        async |account, is_watched| {
            once(args, context, &interrupt, policies::load(context), is_watched, account).await
        },
    )
    .await
}

/// Does one run, and keeps account of it. Where it is watched, FiFo is read once more after something was done: what is
/// told of the VMs is to be what the run has left, not what it has found.
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
    is_watched: bool,
    account: &mut Account,
) -> Result<Outcome, CliError> {
    let policies = policies?;
    let fifo = Chosen::of(context)?;
    account.endpoint = Some(fifo.name().to_owned());
    // Taken before FiFo is read: what another run is about to do must not be planned again.
    let _lock = carry::lock(context, fifo.name(), "reconcile")?;
    let fifo = fifo.open(context).await?;
    let Planned { plan, inventory } = tokio::select! {
        // Nothing has been done yet, so nothing has to be brought to an end.
        biased;
        told = interrupt.told() => return Ok(told),
        planned = planning::make(context, &policies, &fifo, &args.planning, None) => planned?,
    };
    if is_watched {
        account.overview = Some(Overview::of(&plan, &policies, &inventory));
    }
    carry::show_or_warn(context, &plan);
    let run = Run::begin(context, interrupt)?;
    let report = run.carry_out(&args.carry, args.every, &fifo, &policies, &plan.vms, &inventory).await;
    let outcome = run.judge(&report, &plan);
    if is_watched && report.vms.iter().any(|vm| !vm.steps.is_empty()) {
        carry::look_again(context, interrupt, &policies, &fifo, &args.planning, account).await;
    }
    account.report = Some(report);
    fifo.close().await?;
    Ok(outcome)
}
