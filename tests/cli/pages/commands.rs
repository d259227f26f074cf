//! What the pages say to type is typed.

use super::page::Page;
use super::script;
use crate::shell::{Shell, repository};
use clap::Parser as _;
use fifo_retain::cli::args::Arguments;
use fifo_retain::sandbox::{Record, User};
use std::collections::BTreeSet;
use std::sync::Mutex;

/// The FiFo, user and secret of all pages.
const ENDPOINT: &str = "https://fifo.example.com";
const USER: &str = "backup";
const SECRET_FILE: &str = "/run/secrets/fifo";

/// Languages in which commands could hide from being run.
const OTHER_SHELLS: [&str; 6] = ["bash", "shell", "zsh", "fish", "console", "shell-session"];

#[test]
fn every_block_has_a_language_and_commands_are_in_sh() {
    for page in Page::all() {
        for block in page.blocks() {
            let place = format!("{}:{}", page.name, block.first);
            assert_ne!(block.language, "", "{place}: a block without a language");
            assert!(!OTHER_SHELLS.contains(&block.language), "{place}: write `sh`, so that it is run");
        }
    }
}

#[test]
fn every_page_can_be_followed_line_by_line() {
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for page in Page::all() {
            let failed = &failed;
            scope.spawn(move || {
                if let Some(output) = followed(&page) {
                    failed.lock().unwrap().push(format!("{}\n{output}", page.name));
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Types everything that a page says, in one shell, with the policies and a FiFo in place. Returns the output where
/// that does not end well.
fn followed(page: &Page) -> Option<String> {
    let script = script::of(page)?;
    let mut shell = Shell::new();
    // A page that sets up its surroundings has to get by with those.
    if !script.contains("export FIFO_ENDPOINT") {
        shell = shell.signed_in();
    }
    // On a Sunday a weekly has failed, and after that it takes two runs until nothing is due.
    let has_failed = |record: &Record| record.state.as_deref() == Some("failed");
    shell.with(|state| {
        state.world.vms.values_mut().for_each(|vm| vm.backups.retain(|_, record| !has_failed(record)));
    });
    shell.user(USER, User::admin("opensesame"));
    shell.write("secret", "opensesame\n");
    shell.example_policies("work/policies");
    // The target branch's, checked out beside it.
    shell.example_policies("work/main/policies");
    shell.set("REPOSITORY", repository("").display().to_string());
    shell.command("cargo", include_str!("cargo.sh"));
    let secret = shell.path("secret").display().to_string();
    let script = script.replace(ENDPOINT, &shell.url()).replace(SECRET_FILE, &secret);
    let ended = shell.run(&script);
    (ended.code != Some(0)).then(|| format!("exit code {:?}\n{}\n{}", ended.code, ended.out, ended.err))
}

#[test]
fn every_crontab_line_has_five_fields_and_a_command_that_is_understood() {
    let mut seen = 0;
    for page in Page::all() {
        for block in page.blocks().iter().filter(|block| block.language == "crontab") {
            for line in block.lines.iter().filter(|line| line.starts_with(|sign: char| !"#".contains(sign))) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let is_setting = words[0].contains('=');
                let Some(at) = words.iter().position(|word| word.ends_with("fifo-retain")) else {
                    assert!(is_setting, "{}: {line}", page.name);
                    continue;
                };
                let is_field = |word: &&str| word.chars().all(|sign| "0123456789*/,-".contains(sign));
                let is_timed = words[..5].iter().all(is_field) || words[0].starts_with('@');
                assert!(is_timed, "{}: {line}", page.name);
                let arguments = words[at..].iter().take_while(|word| !"|>&;".contains(&word[..1]));
                if let Err(error) = Arguments::try_parse_from(arguments) {
                    panic!("{}: {line}\n{error}", page.name);
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 0, "no crontab line at all");
}

#[test]
fn what_the_pages_show_ends_as_it_does_in_a_run() {
    let shell = Shell::new();
    shell.example_policies("work/policies");
    let script = "fifo-retain --sandbox reconcile; fifo-retain --sandbox status";
    let run: BTreeSet<String> = shell.run(script).code(0).out.lines().filter_map(summary_shape).collect();
    assert_eq!(run.len(), 3, "{run:?}");
    let mut seen = 0;
    for page in Page::all() {
        for block in page.blocks().iter().filter(|block| block.language == "text") {
            for shape in block.lines.iter().filter_map(|line| summary_shape(line)) {
                assert!(run.contains(&shape), "{}: {shape}\nand a run says one of {run:#?}", page.name);
                seen += 1;
            }
        }
    }
    assert!(seen >= 3, "the pages show a plan, a run and a status");
}

/// Returns a line that sums up, with `#` for each number.
fn summary_shape(line: &str) -> Option<String> {
    ["Plan: ", "Done: ", "Status: "].iter().any(|begin| line.starts_with(begin)).then_some(())?;
    // What else there is behind the first two counts of a run differs from run to run.
    let line = if line.starts_with("Done: ") { line.split([';', '.']).next()? } else { line };
    let mut shape = String::new();
    for sign in line.chars() {
        match sign {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            _ => shape.push(sign),
        }
    }
    Some(shape)
}
