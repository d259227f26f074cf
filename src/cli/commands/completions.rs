//! `completions` and `man`: what shells and manuals know of this program, made of the command line itself.

use crate::cli::args::{self, CompletionsArgs, ManArgs, TextOnly};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::exit::Outcome;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
use std::io;
use std::path::Path;

/// The name of the program.
const PROGRAM: &str = "fifo-retain";

/// Runs `completions`.
pub(in crate::cli) fn run(wanted: &CompletionsArgs, context: &Context) -> Result<Outcome, CliError> {
    context.format::<TextOnly>()?;
    // Written to memory first: the generator treats a closed pipe as an error.
    let mut script = Vec::new();
    clap_complete::generate(wanted.shell, &mut args::command(), PROGRAM, &mut script);
    if wanted.shell == Shell::Bash {
        // clap_complete 4.6 writes a program's name with a `-` in it in two ways, and what a command takes is never found.
        script =
            String::from_utf8_lossy(&script).replace("fifo__subcmd__retain", "fifo__retain").into_bytes();
    }
    context.print(|out| out.write_all(&script))?;
    Ok(Outcome::Done)
}

/// Runs `man`.
///
/// # Errors
///
/// There is no such command, or the pages cannot be written.
pub(in crate::cli) fn man(args: &ManArgs, context: &Context) -> Result<Outcome, CliError> {
    context.format::<TextOnly>()?;
    let pages = pages();
    if let Some(folder) = &args.out {
        let count = pages.len();
        write_all(pages, folder).map_err(|error| {
            let message = format!("failed to write the manual pages to {}", folder.display());
            CliError::new(Kind::Files, message).because(error)
        })?;
        tracing::info!("wrote {count} manual pages to {}", folder.display());
        return Ok(Outcome::Done);
    }
    let wanted = args.command.as_ref().map_or_else(|| PROGRAM.to_owned(), |name| format!("{PROGRAM}-{name}"));
    let names: Vec<String> = pages
        .iter()
        .filter_map(|page| name_of(page).strip_prefix("fifo-retain-").map(str::to_owned))
        .collect();
    let Some(page) = pages.into_iter().find(|page| name_of(page) == wanted) else {
        let message = format!("there is no command {}", args.command.as_deref().unwrap_or_default());
        let hint = format!("there are {}", names.join(", "));
        return Err(CliError::new(Kind::Usage, message).hint(hint));
    };
    context.print(|out| page_of(page).render(out))?;
    Ok(Outcome::Done)
}

/// Returns the program and each of its commands.
fn pages() -> Vec<Command> {
    let mut program = args::command().disable_help_subcommand(true);
    program.build();
    let commands: Vec<Command> = program.get_subcommands().cloned().collect();
    std::iter::once(program).chain(commands).collect()
}

/// Returns the name of a command's page: `fifo-retain-plan`, as building the command line has set it.
fn name_of(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page_of(command: Command) -> Man {
    Man::new(command).manual("fifo-retain").source(PROGRAM)
}

fn write_all(pages: Vec<Command>, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for page in pages {
        let file = folder.join(format!("{}.1", name_of(&page)));
        let mut text = Vec::new();
        page_of(page).render(&mut text)?;
        fs::write(file, text)?;
    }
    Ok(())
}
