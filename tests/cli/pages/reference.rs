//! The reference pages name everything there is, and nothing that there is not.

use super::page::Page;
use crate::shell::repository;
use clap::{Command, CommandFactory as _};
use fifo_retain::cli::args::Arguments;
use fifo_retain::report::Exit;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn program() -> Command {
    let mut program = Arguments::command();
    // Has clap add what it adds by itself, `help` among others.
    program.build();
    program
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

/// Lists the source files below a folder.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_guarantee_names_tests_that_there_are() {
    let page = Page::read("docs/safety.md");
    let mut seen = 0;
    for row in page.section("## What is guaranteed").lines().filter(|line| line.contains(": ")) {
        let Some(cell) = row.strip_suffix(" |").and_then(|row| row.rsplit(" | ").next()) else { continue };
        let mut text = String::new();
        for name in cell.trim_matches('`').split("`, `") {
            let name = name.split_once(": ").map_or(name, |(room, name)| {
                text.clear();
                let folder =
                    if room == "plan" { "src/plan/tests".to_owned() } else { format!("tests/{room}") };
                sources(&repository(&folder), &mut text);
                name
            });
            assert!(text.contains(&format!("fn {name}(")), "there is no test {name}: {row}");
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen} tests are named");
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
