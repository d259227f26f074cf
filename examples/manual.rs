//! Writes the manual pages, for packages: `cargo run --example manual -- man1`.

use std::ffi::OsString;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).unwrap_or_else(|| OsString::from("man1"));
    write(folder.as_ref())
}

/// Writes the page of the program and of each command into a folder.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    let mut program = fifo_retain::cli::args::command().disable_help_subcommand(true);
    program.build();
    fs::create_dir_all(folder)?;
    let commands: Vec<clap::Command> = program.get_subcommands().cloned().collect();
    for command in std::iter::once(program).chain(commands) {
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        let mut page = Vec::new();
        clap_mangen::Man::new(command).manual("fifo-retain").source("fifo-retain").render(&mut page)?;
        fs::write(folder.join(format!("{name}.1")), page)?;
    }
    Ok(())
}
