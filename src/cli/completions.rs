//! `completions`: what shells know of this program, made of the command line itself.

use super::context::{Context, Format};
use crate::report::{Exit, Failure};
use crate::runner::output::print_text;
use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Args)]
#[command(after_help = include_str!("help/completions.txt"))]
pub struct CompletionsArgs {
    /// The shell that is to complete
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(
    wanted: &CompletionsArgs,
    program: &mut clap::Command,
    context: &Context,
) -> Result<Exit, Failure> {
    context.format(&[Format::Text])?;
    // Written to memory first: the generator treats a closed pipe as an error.
    let mut script = Vec::new();
    clap_complete::generate(wanted.shell, program, "fifo-retain", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if wanted.shell == Shell::Bash {
        // clap_complete 4.6 writes a program's name with a `-` in it in two ways, and what a command takes is never found.
        script = script.replace("fifo__subcmd__retain", "fifo__retain");
    }
    print_text(&script)?;
    Ok(Exit::Done)
}
