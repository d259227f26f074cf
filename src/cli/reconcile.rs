//! `reconcile`: plans and carries out without asking.

use super::args::{Format, ReconcileArgs};
use super::carry::{self, Run};
use super::connection::Chosen;
use super::context::Context;
use super::error::CliError;
use super::exit::Outcome;
use super::planning::{self, Planned};
use super::policies;

/// Runs the command.
///
/// # Errors
///
/// Another run is under way, or no plan can be made. What goes wrong with a VM is in the outcome.
pub(super) async fn run(args: &ReconcileArgs, context: &Context) -> Result<Outcome, CliError> {
    context.allow(&[Format::Text, Format::Json])?;
    let policies = policies::load(context)?;
    let fifo = Chosen::of(context)?;
    // Taken before FiFo is read: what another run is about to do must not be planned again.
    let _lock = carry::lock(context, fifo.name(), "reconcile")?;
    let fifo = fifo.open(context).await?;
    let Planned { plan, inventory } = planning::make(context, &policies, &fifo, &args.planning, None).await?;
    carry::show_or_warn(context, &plan);
    let run = Run::begin(context)?;
    let report = run.carry_out(&args.carry, &fifo, &policies, &plan.vms, &inventory).await;
    let outcome = run.judge(&report, &plan);
    fifo.close().await?;
    Ok(outcome)
}
