use super::help;
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = help::CHECK)]
pub struct CheckArgs {}
