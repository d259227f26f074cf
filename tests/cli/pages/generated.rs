//! The parts of pages that are made from the code, between `<!-- made from … -->` and `<!-- end -->`.
//!
//! `UPDATE_GOLDEN=1 cargo test --test cli generated` writes them anew; where `CI` is set it does not.

use super::page::Page;
use crate::shell::repository;
use clap::{Arg, ArgAction, Command, CommandFactory as _};
use fifo_retain::cli::args::Arguments;
use fifo_retain::plan::{Note, NoteCode};
use fifo_retain::report::metrics::{METRICS, Metric};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Compares a part of a page with what it has to be, or writes it.
#[track_caller]
fn assert_made(page: &str, source: &str, made: &str) {
    let text = Page::read(page).text;
    let begin = format!("<!-- made from {source} -->\n");
    let (before, rest) =
        text.split_once(&begin).unwrap_or_else(|| panic!("{page} has no line {}", begin.trim_end()));
    let (part, after) =
        rest.split_once("<!-- end -->\n").unwrap_or_else(|| panic!("{page}: {source} has no end"));
    let update = std::env::var_os("UPDATE_GOLDEN").is_some() && std::env::var_os("CI").is_none();
    if update {
        fs::write(repository(page), format!("{before}{begin}{made}<!-- end -->\n{after}")).unwrap();
    } else {
        similar_asserts::assert_eq!(
            part,
            made,
            "{page}: run UPDATE_GOLDEN=1 cargo test --test cli generated"
        );
    }
}

/// Makes a table of rows; a `|` in a cell would end it.
fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | ")).replace("|  |", "| |");
    let cells = |row: [String; N]| row.map(|cell| cell.replace('|', "\\|"));
    let rows: String = rows.into_iter().map(|row| line(&cells(row))).collect();
    format!("{}{}\n{rows}", line(&head.map(str::to_owned)), "|---".repeat(N) + "|")
}

fn sentence(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text[..1].make_ascii_uppercase();
    if text.ends_with(['.', '?']) { text } else { text + "." }
}

/// Names an option with its value: `-p, --policies PATH`.
fn name_of(option: &Arg) -> Option<String> {
    let long = option.get_long()?;
    let short = option.get_short().map_or_else(String::new, |short| format!("-{short}, "));
    let takes_value = matches!(option.get_action(), ArgAction::Set | ArgAction::Append);
    let value = option.get_value_names().filter(|_| takes_value).and_then(|names| names.first());
    Some(format!("{short}--{long}{}", value.map_or_else(String::new, |value| format!(" {value}"))))
}

/// Says all that clap knows of an option.
fn meaning_of(option: &Arg) -> String {
    let help = option.get_long_help().or(option.get_help());
    let help = help.map_or_else(String::new, ToString::to_string);
    let mut meaning = sentence(&help.replace("; can be given several times", "; repeatable"));
    let values = option.get_possible_values();
    let takes_value = matches!(option.get_action(), ArgAction::Set | ArgAction::Append);
    if takes_value && !values.is_empty() {
        let names: Vec<String> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        meaning.push_str(&format!(" One of {}.", names.join(", ")));
    }
    let default = option.get_default_values().first().filter(|_| !option.is_hide_default_value_set());
    if let Some(default) = default.filter(|_| takes_value) {
        meaning.push_str(&format!(" Default: `{}`.", default.to_string_lossy()));
    }
    if let Some(variable) = option.get_env() {
        meaning.push_str(&format!(" Variable: `{}`.", variable.to_string_lossy()));
    }
    meaning
}

/// Lists a command's own options, or the program's; those that an earlier command has alike share a line.
fn options(
    command: &Command,
    is_global: bool,
    earlier: &mut BTreeMap<(String, String), String>,
) -> Option<String> {
    let (mut lines, mut shared) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    for option in command.get_arguments().filter(|option| option.is_global_set() == is_global) {
        let Some(name) = name_of(option).filter(|_| !option.is_hide_set()) else { continue };
        if ["--help", "--version"].iter().any(|built_in| name.ends_with(built_in)) {
            continue;
        }
        let key = (name.clone(), meaning_of(option));
        match earlier.get(&key) {
            Some(first) => shared.entry(first.clone()).or_default().push(format!("`{name}`")),
            None => {
                lines.push(format!("- `{name}`: {}\n", key.1));
                earlier.insert(key, command.get_name().to_owned());
            }
        }
    }
    lines.extend(
        shared.into_iter().map(|(first, names)| format!("- {}: as for `{first}`\n", names.join(", "))),
    );
    (!lines.is_empty()).then(|| lines.concat())
}

#[test]
fn the_options_are_those_of_the_command_line() {
    let mut program = Arguments::command();
    // Has clap add what it adds by itself.
    program.build();
    let mut earlier = BTreeMap::new();
    let page = "docs/commands.md";
    assert_made(page, "fifo-retain --help", &options(&program, true, &mut earlier).unwrap());
    let mut sections = BTreeSet::new();
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_name();
        let about = sentence(&command.get_about().unwrap().to_string());
        let options = options(command, false, &mut earlier);
        let made = format!("{about}\n{}", options.map_or_else(String::new, |list| format!("\n{list}")));
        assert_made(page, &format!("fifo-retain {name} --help"), &made);
        sections.insert(format!("## `{name}`"));
    }
    let text = Page::read(page).text;
    let headings: BTreeSet<String> =
        text.lines().filter(|line| line.starts_with("## `")).map(str::to_owned).collect();
    assert_eq!(headings, sections);
}

#[test]
fn the_metrics_are_those_of_the_registry() {
    let line = |metric: Metric| {
        let labels = if metric.labels.is_empty() { "" } else { &format!("{{{}}}", metric.labels.join(",")) };
        format!("- `{}{labels}`: {}\n", metric.name, sentence(metric.help))
    };
    assert_made("docs/metrics.md", "the registry", &METRICS.map(line).concat());
}

/// Lists an enumeration of a schema: each word with its description.
fn words_of(definition: &str) -> Vec<(String, String)> {
    let schema = fs::read_to_string(repository("docs/schema/plan.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let variants = schema["$defs"][definition]["oneOf"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    variants.iter().map(|it| (text(&it["const"]), text(&it["description"]))).collect()
}

#[test]
fn the_notes_are_those_of_the_schema() {
    let rows = words_of("NoteCode").into_iter().map(|(word, meaning)| {
        let code: NoteCode = serde_json::from_value(word.clone().into()).unwrap();
        let advice = Note::vm(code, "").advice.unwrap_or("nothing");
        [format!("`{word}`"), sentence(&meaning), sentence(advice)]
    });
    assert_made("docs/statuses.md", "the notes", &table(["code", "meaning", "what to do"], rows));
    let text = Page::read("docs/statuses.md").text;
    for (status, _) in words_of("Status") {
        assert!(text.contains(&format!("\n| `{status}` |")), "{status} is not in docs/statuses.md");
    }
}
