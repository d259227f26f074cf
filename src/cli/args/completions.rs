//! What `completions` and `man` take.

use super::help;
use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = help::COMPLETIONS)]
pub struct CompletionsArgs {
    /// The shell that is to complete
    #[arg(value_enum)]
    pub shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = help::MAN)]
pub struct ManArgs {
    /// Write all pages into this folder, one file a command
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,

    /// The command whose page is printed [default: the page of fifo-retain itself]
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    pub command: Option<String>,
}
