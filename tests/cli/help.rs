use crate::harness::{Fifo, Folder, PROGRAM};
use clap::CommandFactory as _;
use fifo_retain::cli::args::Arguments;
use fifo_retain::sandbox::Options;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Examples that would serve until they are stopped; `tests/cli/sandbox.rs` and `tests/cli/simulate.rs` do so.
const SERVING: [&str; 2] = ["fifo-retain sandbox", "fifo-retain simulate --listen"];

/// The example that asks questions; `tests/cli/init.rs` answers them.
const ASKING: &str = "fifo-retain init";

fn commands() -> Vec<String> {
    let program = Arguments::command();
    let names: Vec<String> = program.get_subcommands().map(|it| it.get_name().to_owned()).collect();
    assert!(names.len() >= 10, "{names:?}");
    names
}

fn help(columns: &str, line: &[&str]) -> String {
    let folder = Folder::new();
    let mut command = folder.command(line);
    command.env("COLUMNS", columns);
    crate::harness::Ended::of(command).code(0).out
}

/// Returns the help of the program and of every command, short and long.
fn tree(columns: &str) -> String {
    let mut tree = String::new();
    let names = commands();
    for name in std::iter::once(None).chain(names.iter().map(Some)) {
        let line = |option| name.map(String::as_str).into_iter().chain([option]).collect::<Vec<_>>();
        for option in ["-h", "--help"] {
            let line = line(option);
            writeln!(tree, "$ fifo-retain {}\n{}", line.join(" "), help(columns, &line)).unwrap();
        }
    }
    tree
}

#[test]
fn sixty_columns_hold_it_without_a_broken_word() {
    let counts = |text: &str| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        text.split_whitespace().for_each(|word| *counts.entry(word.to_owned()).or_default() += 1);
        counts
    };
    let narrow = tree("60");
    for line in narrow.lines() {
        let is_one_word = line.split_whitespace().count() <= 1;
        // clap breaks no usage.
        let is_usage = line.starts_with("Usage: ");
        assert!(line.chars().count() <= 60 || is_one_word || is_usage, "{line}");
    }
    assert_eq!(counts(&narrow), counts(&tree("100")));
}

#[test]
fn every_command_has_examples_and_they_work() {
    let folder = Folder::new();
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for entry in fs::read_dir(policies).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // The target branch's, too, which is what `--against` names.
        for folder_name in ["policies", "main/policies"] {
            folder.write(&format!("{folder_name}/{name}"), &fs::read_to_string(&path).unwrap());
        }
    }
    let fifo = Fifo::start(Options { upload_ms: 20, ..Options::default() });
    let programs = Path::new(PROGRAM).parent().unwrap().to_str().unwrap();
    for name in std::iter::once(None).chain(commands().iter().map(|it| Some(it.as_str()))) {
        let line: Vec<&str> = name.into_iter().chain(["--help"]).collect();
        let help = folder.run(&line).code(0).out;
        let examples: Vec<&str> = help
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|it| it.starts_with("fifo-retain "))
            .collect();
        assert!(!examples.is_empty(), "{name:?} has no example");
        // The first one of all builds a world of its own, with uploads of ten seconds each: the README's test runs it.
        let can_run = |line: &&&str| {
            !SERVING.iter().any(|serving| line.starts_with(serving))
                && **line != ASKING
                && !line.contains("--sandbox")
                && !line.contains("--every")
                && !line.contains("--listen")
                // These need a storage: `tests/store` runs them.
                && !line.starts_with("fifo-retain verify")
                && !line.starts_with("fifo-retain --format json verify")
                && !line.starts_with("fifo-retain rehearse")
        };
        for example in examples.iter().filter(can_run) {
            let mut shell = Command::new("sh");
            shell.env_clear().current_dir(folder.path("")).args(["-c", example]);
            shell.env("PATH", format!("{programs}:/usr/bin:/bin")).env("HOME", folder.path(""));
            shell.env("FIFO_ENDPOINT", fifo.url()).env("FIFO_USER", "admin").env("FIFO_PASSWORD", "admin");
            let ended = shell.output().unwrap();
            // 2 is asked for by some of them, and 3 is what a VM in trouble makes of any.
            let is_fine = matches!(ended.status.code(), Some(0 | 2 | 3));
            assert!(is_fine, "{example}\n{}", String::from_utf8_lossy(&ended.stderr));
        }
    }
}

#[test]
fn every_option_of_every_command_says_what_it_does() {
    let mut program = Arguments::command();
    program.build();
    for command in program.get_subcommands().chain([&program]) {
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        assert!(command.get_about().is_some(), "{}", command.get_name());
    }
}
