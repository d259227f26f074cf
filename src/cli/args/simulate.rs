use super::help;
use super::planning::PlanningArgs;
use super::value::{change_rate, instant, interval, size, span};
use chrono::{DateTime, Utc};
use clap::Args;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = help::SIMULATE)]
pub struct SimulateArgs {
    #[command(flatten)]
    pub planning: PlanningArgs,

    /// How many days to run forward
    #[arg(long, value_name = "COUNT", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=3_660))]
    pub days: u32,

    /// Begin at that instant, such as 2026-12-01T01:00:00Z, and not now
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub from: Option<DateTime<Utc>>,

    /// Begin a run that long after the last one began, and not whenever something becomes due
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub every: Option<Duration>,

    /// Delete expired backups from storage too, where the policy says `prune: true`
    #[arg(long)]
    pub prune: bool,

    /// Compare with the policies in that file or folder; can be given several times
    #[arg(long, value_name = "PATH")]
    pub against: Vec<PathBuf>,

    /// No runs in that time, such as 2026-12-01..2026-12-08; can be given several times
    #[arg(long, value_name = "FROM..TO", value_parser = span, help_heading = "Assumptions")]
    pub down: Vec<Range<DateTime<Utc>>>,

    /// Every upload fails in that time; can be given several times
    #[arg(long, value_name = "FROM..TO", value_parser = span, help_heading = "Assumptions")]
    pub uploads_fail: Vec<Range<DateTime<Utc>>>,

    /// The size of a full backup where a VM has none yet
    #[arg(long, value_name = "SIZE", default_value = "40GiB", value_parser = size, help_heading = "Assumptions")]
    pub vm_size: u64,

    /// How much of a VM changes in a day, for the size of increments where its tier has none yet
    #[arg(long, value_name = "PERCENT", default_value = "3%", value_parser = change_rate, help_heading = "Assumptions")]
    pub change_rate: u64,
}
