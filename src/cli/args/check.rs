//! What `check` takes.

use super::help;
use clap::Args;

/// The arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = help::CHECK)]
pub struct CheckArgs {}
