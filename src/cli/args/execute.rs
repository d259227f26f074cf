//! The arguments of the commands that execute a plan: `apply` and `reconcile`.

use super::help;
use super::planning::{PlanningArgs, PruneArgs};
use super::reporting::ReportingArgs;
use super::value::{interval, timeout};
use clap::Args;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// The arguments of every command that carries a plan out.
#[derive(Debug, Args)]
pub struct ExecuteArgs {
    /// How many uploads may run in all, counting those that run already
    #[arg(long, value_name = "COUNT", default_value = "8", help_heading = "Carrying out")]
    pub max_uploads: NonZeroUsize,

    /// How many uploads may run on one hypervisor, counting those that run already
    #[arg(long, value_name = "COUNT", default_value = "2", help_heading = "Carrying out")]
    pub max_uploads_per_hypervisor: NonZeroUsize,

    /// Start the creates and leave the rest, what comes after them too, to the next run
    #[arg(long, help_heading = "Carrying out")]
    pub no_wait: bool,

    #[command(flatten)]
    pub prune: PruneArgs,
}

#[derive(Debug, Args)]
#[command(after_help = help::APPLY)]
pub struct ApplyArgs {
    /// A plan that `plan --out` saved; without one, a new plan is made, shown and asked about
    #[arg(value_name = "PLAN.json", conflicts_with_all = ["vms", "allow_empty"])]
    pub plan: Option<PathBuf>,

    #[command(flatten)]
    pub planning: PlanningArgs,

    /// Leave to the next run what still waits after this long, such as 2h; what runs in FiFo continues. Without it, every
    /// upload is waited for
    #[arg(long, value_name = "DURATION", value_parser = timeout, help_heading = "Carrying out")]
    pub deadline: Option<Duration>,

    /// Do not ask, not even about deletes from storage
    #[arg(long)]
    pub auto_approve: bool,

    #[command(flatten)]
    pub execute: ExecuteArgs,

    #[command(flatten)]
    pub reporting: ReportingArgs,
}

#[derive(Debug, Args)]
#[command(after_help = help::RECONCILE)]
pub struct ReconcileArgs {
    /// Stay, and begin a run that often, such as every 15m
    #[arg(long, value_name = "DURATION", value_parser = interval, help_heading = "Repeating")]
    pub every: Option<Duration>,

    /// Serve /metrics, /healthz and a status page on this address, such as 127.0.0.1:9797; none of it changes anything
    #[arg(long, value_name = "ADDRESS", requires = "every", help_heading = "Repeating")]
    pub listen: Option<SocketAddr>,

    /// Leave to the next run what still waits after this long; what runs in FiFo continues. With --every, the next run takes
    /// over when it is due, if that is sooner
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = timeout,
        default_value = "1h",
        help_heading = "Carrying out"
    )]
    pub deadline: Duration,

    #[command(flatten)]
    pub planning: PlanningArgs,

    #[command(flatten)]
    pub execute: ExecuteArgs,

    #[command(flatten)]
    pub reporting: ReportingArgs,
}
