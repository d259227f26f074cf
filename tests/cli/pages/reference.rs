//! The reference pages name everything there is, and nothing that there is not.

use super::page::Page;
use crate::shell::repository;
use clap::{Command, CommandFactory as _};
use fifo_retain::cli::args::Arguments;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

fn program() -> Command {
    let mut program = Arguments::command();
    // Has clap add what it adds by itself, `help` among others.
    program.build();
    program
}

/// Returns every exit code that the program can end with, by its constant's name.
fn exit_codes() -> BTreeMap<String, u8> {
    let source = fs::read_to_string(repository("src/run/exit.rs")).unwrap();
    let constants = source.lines().filter_map(|line| line.strip_prefix("pub const "));
    let mut codes: BTreeMap<String, u8> = constants
        .filter_map(|line| {
            let (name, value) = line.split_once(": u8 = ")?;
            Some((name.to_owned(), value.trim_end_matches(';').parse().ok()?))
        })
        .collect();
    let signalled = codes.remove("SIGNALLED").unwrap();
    codes.insert("SIGINT".to_owned(), signalled + 2);
    codes.insert("SIGTERM".to_owned(), signalled + 15);
    assert!(codes.len() >= 9, "{codes:?}");
    codes
}

/// Lists the codes in the first column of a text's tables.
fn told_codes(text: &str) -> BTreeSet<u8> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split('|').next());
    cells.flat_map(|cell| cell.split(", ")).filter_map(|word| word.trim().parse().ok()).collect()
}

#[test]
fn every_exit_code_is_reported_and_no_other() {
    let codes: BTreeSet<u8> = exit_codes().into_values().collect();
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
