use super::help;
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = help::RESUME)]
pub struct ResumeArgs {
    /// Do not ask
    #[arg(long)]
    pub auto_approve: bool,
}
