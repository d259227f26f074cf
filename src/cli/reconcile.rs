//! `reconcile`: plans and executes without asking, once or again and again.

use super::apply::{ExecuteArgs, ReportingArgs};
use super::connect::{self, PlanningArgs};
use super::context::{Context, Format};
use super::policies;
use super::value::{address, interval, timeout};
use crate::report::{Exit, Failure};
use crate::runner::every::run_every;
use crate::runner::run::{Approval, Order, run_once};
use clap::Args;
use std::time::Duration;

/// With a shorter interval than this, a run that waits is still given this long: each new one reads the whole cloud.
const HAND_OVER_LEAST: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/reconcile.txt"))]
pub struct ReconcileArgs {
    /// Stay, and begin a run that often, such as every 15m
    #[arg(long, value_name = "DURATION", value_parser = interval, help_heading = "Repeating")]
    pub every: Option<Duration>,

    /// Serve /metrics, /healthz and a status page on this address, such as localhost:9797; none of it changes anything
    #[arg(long, value_name = "ADDRESS", value_parser = address, help_heading = "Repeating")]
    #[arg(requires = "every")]
    pub listen: Option<String>,

    /// Leave to the next run what still waits after this long; what runs in FiFo continues. With --every, the next run takes
    /// over when it is due, if that is sooner
    #[arg(long, value_name = "DURATION", value_parser = timeout, help_heading = "Carrying out")]
    #[arg(default_value = "1h")]
    deadline: Duration,

    #[command(flatten)]
    planning: PlanningArgs,

    #[command(flatten)]
    execute: ExecuteArgs,

    #[command(flatten)]
    reporting: ReportingArgs,
}

pub(super) async fn run(args: &ReconcileArgs, context: &Context) -> Result<Exit, Failure> {
    context.format(&[Format::Text, Format::Json])?;
    let order = Order {
        command: "reconcile",
        approval: Approval::Everything,
        selection: args.planning.selection(),
        settings: args.execute.settings(Some(args.deadline)),
        first_contact: None,
        handed_over_after: args.every.map(|every| every.max(HAND_OVER_LEAST)),
        policies: &|| policies::load_for(context, args.execute.prune.prune),
        fifo: &|| connect::target(context),
        store: &|| args.execute.store.open_if_given(context),
    };
    let reporting = args.reporting.open(context)?;
    match args.every {
        Some(every) => run_every(&context.host, &order, reporting, every, args.listen.as_deref()).await,
        None => Ok(run_once(&context.host, &order, reporting).await),
    }
}
