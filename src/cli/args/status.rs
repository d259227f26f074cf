use super::help;
use super::planning::PlanningArgs;
use super::value::instant;
use chrono::{DateTime, Utc};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = help::STATUS)]
pub struct StatusArgs {
    #[command(flatten)]
    pub planning: PlanningArgs,

    /// Exit with 2 when a VM is too old, has no restorable backup, is in conflict or unreadable, or after a safety stop
    #[arg(long)]
    pub check: bool,

    /// Show only the VMs that are out, with what is wrong and what to do
    #[arg(long)]
    pub problems: bool,

    /// Judge as of that instant, such as 2026-12-01T01:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub at: Option<DateTime<Utc>>,

    /// Write metrics to this file, for node_exporter's textfile collector; exit with 1 when that fails
    #[arg(long, value_name = "FILE", help_heading = "Reporting")]
    pub metrics_file: Option<PathBuf>,
}
