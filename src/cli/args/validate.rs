use super::help;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = help::VALIDATE)]
pub struct ValidateArgs {
    /// Files and folders with policies, instead of --policies
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Exit with 1 for warnings, too
    #[arg(long)]
    pub strict: bool,
}
