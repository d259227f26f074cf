use super::help;
use super::value::instant;
use crate::policy::Pattern;
use chrono::{DateTime, Utc};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = help::SHOW)]
pub struct ShowArgs {
    /// Which VMs: by UUID, or all with such an alias
    #[arg(value_name = "UUID|ALIAS-GLOB", required = true)]
    pub vms: Vec<Pattern>,

    /// Explain as of that instant, such as 2026-12-01T01:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub at: Option<DateTime<Utc>>,
}
