//! `apply`: executes a saved plan, or a new one that was shown and agreed to; and what `apply` and `reconcile` share.

use super::connect::{self, PlanningArgs, PruneArgs};
use super::context::{Context, Format};
use super::policies;
use super::store::StoreArgs;
use super::value::timeout;
use crate::apply::{ExecutorSettings, Timing};
use crate::report::{Exit, Failure, failed};
use crate::runner::fifo::FAIL_FAST;
use crate::runner::notify::SecretUrl;
use crate::runner::output::can_ask;
use crate::runner::reporting::{Address, Reporting};
use crate::runner::run::{Approval, Order, run_once};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/apply.txt"))]
pub struct ApplyArgs {
    /// A plan that `plan --out` saved (- is standard input); without one, a new plan is made, shown and asked about
    #[arg(value_name = "PLAN.json", conflicts_with_all = ["vms", "allow_empty"])]
    plan: Option<PathBuf>,

    #[command(flatten)]
    planning: PlanningArgs,

    /// Leave to the next run what still waits after this long, such as 2h; what runs in FiFo continues. Without it, every
    /// upload is waited for
    #[arg(long, value_name = "DURATION", value_parser = timeout, help_heading = "Carrying out")]
    deadline: Option<Duration>,

    /// Do not ask, not even about deletes from storage
    #[arg(long)]
    auto_approve: bool,

    #[command(flatten)]
    execute: ExecuteArgs,

    #[command(flatten)]
    reporting: ReportingArgs,
}

/// The arguments of every command that carries a plan out.
#[derive(Debug, Args)]
#[command(next_help_heading = "Carrying out")]
pub(super) struct ExecuteArgs {
    /// How many uploads may run in all, counting those that run already
    #[arg(long, value_name = "COUNT", default_value = "8")]
    max_uploads: NonZeroUsize,

    /// How many uploads may run on one hypervisor, counting those that run already
    #[arg(long, value_name = "COUNT", default_value = "2")]
    max_uploads_per_hypervisor: NonZeroUsize,

    /// Start the creates and leave the rest, what comes after them too, to the next run
    #[arg(long)]
    no_wait: bool,

    #[command(flatten)]
    pub(super) prune: PruneArgs,

    #[command(flatten)]
    pub(super) store: StoreArgs,
}

/// The arguments of every command that carries a plan out and reports the result.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reporting")]
pub(super) struct ReportingArgs {
    /// Write metrics to this file after the run, for node_exporter's textfile collector; it should end in .prom
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,

    /// Post a summary of the run as JSON to this address (FIFO_RETAIN_NOTIFY_URL, which others cannot see in `ps`)
    // Taken as it is and read later: clap would repeat what it cannot read, and that may hold a token.
    #[arg(long, value_name = "URL")]
    notify_url: Option<SecretString>,

    /// Ping a cron monitor: URL/start, then URL when all was done, else URL/fail (FIFO_RETAIN_PING_URL)
    #[arg(long, value_name = "URL")]
    ping_url: Option<SecretString>,
}

pub(super) async fn run(args: &ApplyArgs, context: &Context) -> Result<Exit, Failure> {
    context.format(&[Format::Text, Format::Json])?;
    let approval = match &args.plan {
        Some(path) => Approval::Saved(path),
        None if args.auto_approve => Approval::Everything,
        None if can_ask() => Approval::Asked,
        None => {
            return Err(Failure::usage("there is no terminal to ask on")
                .hint("give --auto-approve to go on without asking, or use `reconcile`"));
        }
    };
    let order = Order {
        command: "apply",
        approval,
        selection: args.planning.selection(),
        settings: args.execute.settings(args.deadline),
        first_contact: FAIL_FAST,
        handed_over_after: None,
        policies: &|| policies::load_for(context, args.execute.prune.prune),
        fifo: &|| connect::target(context),
        store: &|| args.execute.store.open_if_given(context),
    };
    let reporting = args.reporting.open(context)?;
    Ok(run_once(&context.host, &order, reporting).await)
}

impl ExecuteArgs {
    pub(super) fn settings(&self, deadline: Option<Duration>) -> ExecutorSettings {
        ExecutorSettings {
            max_uploads: self.max_uploads.get(),
            max_uploads_per_hypervisor: self.max_uploads_per_hypervisor.get(),
            wait: !self.no_wait,
            deadline,
            timing: Timing::default(),
            prune: self.prune.switch(),
        }
    }
}

impl ReportingArgs {
    pub(super) fn open<'a>(&'a self, context: &'a Context) -> Result<Reporting<'a>, Failure> {
        let notify = address("--notify-url", self.notify_url.as_ref(), "FIFO_RETAIN_NOTIFY_URL", context)?;
        let ping = address("--ping-url", self.ping_url.as_ref(), "FIFO_RETAIN_PING_URL", context)?;
        Ok(Reporting::new(&context.host, self.metrics_file.as_deref(), notify, ping))
    }
}

/// Returns an address of the command line, which has precedence, or what reads it from the environment.
fn address<'a>(
    option: &str,
    given: Option<&SecretString>,
    variable: &'static str,
    context: &'a Context,
) -> Result<Address<'a>, Failure> {
    if let Some(text) = given {
        let unusable = |error: String| Failure::usage(format!("{option} cannot be used")).because(error);
        let url: SecretUrl = text.expose_secret().parse().map_err(unusable)?;
        return Ok(Box::new(move || Ok(Some(url.clone()))));
    }
    Ok(Box::new(move || {
        let text = connect::secret(&context.environment, variable)?;
        text.map(|text| text.parse())
            .transpose()
            .map_err(failed::<String>(format!("{variable} cannot be used")))
    }))
}
