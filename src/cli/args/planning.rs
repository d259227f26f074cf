//! What every command takes that makes a plan, and `plan` itself.

use super::help;
use super::value::{instant, max_bytes};
use crate::plan::Prune;
use crate::policy::Pattern;
use chrono::{DateTime, Utc};
use clap::Args;
use std::path::PathBuf;

/// The arguments of every command that makes a plan.
#[derive(Debug, Args)]
pub struct PlanningArgs {
    /// Only this VM, by UUID, or those with such an alias; can be given several times
    #[arg(long = "vm", value_name = "UUID|ALIAS-GLOB")]
    pub vms: Vec<Pattern>,

    /// Go on when this user can see no VM at all
    #[arg(long)]
    pub allow_empty: bool,
}

/// The arguments about deletes from storage.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct PruneArgs {
    /// Delete expired backups from storage too, for good, where the policy says `prune: true`
    #[arg(long, help_heading = "Pruning")]
    pub prune: bool,

    /// So many backups of each VM may be deleted from storage at once, where the limit is lower
    #[arg(long, value_name = "COUNT", requires = "prune", help_heading = "Pruning")]
    pub allow_mass_prune: Option<usize>,
}

impl PruneArgs {
    /// Returns what they say to the planner.
    pub fn switch(self) -> Prune {
        Prune { is_requested: self.prune, mass_allowed: self.allow_mass_prune.unwrap_or(0) }
    }
}

#[derive(Debug, Args)]
#[command(after_help = help::PLAN)]
pub struct PlanArgs {
    #[command(flatten)]
    pub planning: PlanningArgs,

    #[command(flatten)]
    pub prune: PruneArgs,

    /// Save the plan to a file, as JSON that can be applied later
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Exit with 2 when there are changes
    #[arg(long)]
    pub detailed_exitcode: bool,

    /// Plan as of that instant, such as 2026-12-01T01:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub at: Option<DateTime<Utc>>,

    /// Compare with the policies in that file or folder; can be given several times
    #[arg(long, value_name = "PATH", help_heading = "Comparison")]
    pub against: Vec<PathBuf>,

    /// With --format markdown: write no more bytes than that, and say what was left out [default: 65536]
    #[arg(long, value_name = "BYTES", value_parser = max_bytes, help_heading = "Output")]
    pub max_bytes: Option<usize>,

    /// Show actual against desired backups as a unified diff as well
    #[arg(long)]
    pub diff: bool,
}
