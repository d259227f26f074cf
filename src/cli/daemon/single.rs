//! A single run: with its reports, and as `reconcile` does it, once or repeatedly.

use super::observer::Watch;
use super::reporting::{Telling, close, is_no_run};
use crate::apply::Movements;
use crate::cli::args::{ReconcileArgs, TellingArgs};
use crate::cli::connection::{Chosen, Patience};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::execute::{self, Job, Run};
use crate::cli::exit::Outcome;
use crate::cli::interrupt::Interrupt;
use crate::cli::latch;
use crate::cli::planning::{self, Planned};
use crate::policy::Policies;
use crate::run::{Account, Ledger};
use std::time::Duration;

/// With runs closer together than this, one that is waiting goes on for as long: each new one reads the whole cloud.
const HAND_OVER_LEAST: Duration = Duration::from_secs(60);

/// Runs something once, and tells everybody what came of it, unless there was no run: see [`is_no_run`].
///
/// # Errors
///
/// Those of the run; an address on the command line is none.
pub(in crate::cli) async fn around(
    context: &Context,
    args: &TellingArgs,
    command: &'static str,
    interrupt: Option<&Interrupt>,
    run: impl AsyncFnOnce(&mut Account, &mut Watch<'_>) -> Result<Outcome, CliError>,
) -> Result<Outcome, CliError> {
    let telling = Telling::of(context, args)?;
    let mut account = Account::new(command, context.now());
    let mut watch = Watch::new(&telling, None);
    let ended = run(&mut account, &mut watch).await;
    // An alarm that could not be remembered is more than an alarm.
    let ended = watch.ear().failure().map_or(ended, Err);
    close(&mut account, context, &ended);
    let safety_stop = account.endpoint.as_deref().and_then(|endpoint| latch::shown(context, endpoint));
    let mut ledger = Ledger { safety_stop, ..Ledger::default() };
    ledger.enter(account);
    if !is_no_run(&ended) {
        telling.end(watch.into_begun(), &ledger, interrupt).await;
    }
    ended
}

/// Does one run, and keeps account of it.
///
/// # Errors
///
/// The policies have mistakes, another run is under way, or no plan can be made. What goes wrong with a VM is in the
/// outcome.
pub(in crate::cli) async fn reconcile_once(
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
    let _lock = execute::lock(context, fifo.name(), "reconcile")?;
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
    execute::show_or_warn(context, plan);
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
    execute::close(fifo).await;
    Ok(outcome)
}
