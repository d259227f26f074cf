//! The reference pages name everything there is, and nothing that there is not.

use super::page::Page;
use crate::shell::repository;
use clap::{Command, CommandFactory as _};
use fifo_retain::cli::args::Arguments;
use fifo_retain::report::Exit;
use std::collections::BTreeSet;

/// The section for what holds for every command.
const GLOBAL: &str = "## Options of every command";

fn program() -> Command {
    let mut program = Arguments::command();
    // Has clap add what it adds by itself, `help` among others.
    program.build();
    program
}

/// Lists a command's long options, `--help` and `--version` aside.
fn long_options(command: &Command, is_global: bool) -> BTreeSet<String> {
    let options = command.get_arguments().filter(|option| option.is_global_set() == is_global);
    let names = options.filter_map(|option| option.get_long());
    names.filter(|name| !["help", "version"].contains(name)).map(|name| format!("--{name}")).collect()
}

/// Lists the long options that a text describes, each as `` `--name` `` or `` `--name VALUE` `` at the start of a table's
/// row.
fn told_options(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split('`').next());
    let words = cells.flat_map(|cell| cell.split([' ', ',']));
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}

#[test]
fn every_command_and_option_is_reported_and_no_other() {
    let page = Page::read("docs/commands.md");
    assert_eq!(told_options(page.section(GLOBAL)), long_options(&program(), true), "{GLOBAL}");
    for command in program().get_subcommands().filter(|command| command.get_name() != "help") {
        let heading = format!("## `{}`", command.get_name());
        assert_eq!(told_options(page.section(&heading)), long_options(command, false), "{heading}");
    }
    let headings = page.text.lines().filter_map(|line| line.strip_prefix("## `"));
    let output: BTreeSet<&str> = headings.map(|rest| rest.trim_end_matches('`')).collect();
    let program = program();
    let there: BTreeSet<&str> =
        program.get_subcommands().map(Command::get_name).filter(|name| *name != "help").collect();
    assert_eq!(output, there);
}

/// Lists the codes in the first column of a text's tables.
fn told_codes(text: &str) -> BTreeSet<u8> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split('|').next());
    cells.flat_map(|cell| cell.split(", ")).filter_map(|word| word.trim().parse().ok()).collect()
}

#[test]
fn every_exit_code_is_reported_and_no_other() {
    let exits = [Exit::Done, Exit::Failed, Exit::Changes, Exit::SomeFailed, Exit::SafetyStop, Exit::Locked];
    let others = [Exit::WrongUsage, Exit::Interrupted(2), Exit::Interrupted(15)];
    let codes: BTreeSet<u8> = exits.into_iter().chain(others).map(Exit::code).collect();
    assert_eq!(told_codes(&Page::read("docs/exit-codes.md").text), codes);
    let mut help = program();
    let help = help.render_long_help().to_string();
    let (_, output) = help.split_once("Exit codes:").unwrap();
    for code in codes {
        assert!(output.contains(&code.to_string()), "{code} is not in --help");
    }
}

#[test]
fn the_index_of_a_folder_leads_to_every_page_and_folder_in_it() {
    for page in
        Page::all().iter().filter(|page| page.name.starts_with("docs/") && page.name != "docs/README.md")
    {
        let (folder, file) = page.name.rsplit_once('/').unwrap();
        let (folder, link) = match file {
            "README.md" => {
                let (above, name) = folder.rsplit_once('/').unwrap();
                (above, format!("{name}/{file}"))
            }
            file => (folder, file.to_owned()),
        };
        let index = Page::read(&format!("{folder}/README.md"));
        assert!(index.text.contains(&format!("]({link})")), "{} does not lead to {link}", index.name);
    }
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    for page in Page::all() {
        let base = repository(&page.name).parent().unwrap().to_owned();
        for link in page.text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !link.is_empty() && !link.contains("://") {
                assert!(base.join(link).exists(), "{}: nothing is at {link}", page.name);
            }
        }
    }
}
