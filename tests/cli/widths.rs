//! `status` and `plan` of small and of large clouds, on narrow and on wide terminals.

use crate::harness::{AT, Fifo, Folder};
use chrono::{DateTime, Utc};
use fifo_retain::plan::{Action, Plan};
use fifo_retain::sandbox::{Clock, Options, Seed};

/// Of a longer output, so many lines of its beginning and of its end are kept.
const LINES_KEPT: usize = 14;

fn cloud(vms: usize) -> Fifo {
    let at: DateTime<Utc> = AT.parse().unwrap();
    let clock = Clock::manual(at.timestamp_micros());
    Fifo::start(Options { clock, seed: Seed { vms, seed: 1 }, ..Options::default() })
}

fn shown(fifo: &Fifo, command: &[&str], columns: usize) -> String {
    let folder = Folder::new();
    let line = [command, &["--at", AT]].concat();
    let ended = folder.asking(fifo, &line).env("COLUMNS", columns.to_string()).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    // The port, which differs from run to run, always has five digits here, so that lines break at the same words.
    let (url, stable) = (fifo.url(), "http://127.0.0.1:12345");
    String::from_utf8(ended.stdout).unwrap().replace(&url, &format!("{stable:<width$}", width = url.len()))
}

/// Returns a command's output at every width, each checked to keep to it.
fn at_every_width(vms: usize, command: &[&str]) -> String {
    let fifo = cloud(vms);
    let mut all = String::new();
    for columns in [60, 80, 120, 200] {
        let out = shown(&fifo, command, columns);
        // Only the form of the last line is fixed, whatever the width.
        let is_kept = |line: &&str| {
            line.starts_with("Plan: ") || line.starts_with("Status: ") || line.chars().count() <= columns
        };
        assert!(out.lines().all(|line| is_kept(&line)), "{columns}\n{out}");
        all.push_str(&format!("== {columns} columns\n{}", shortened(&out)));
    }
    all
}

fn shortened(out: &str) -> String {
    let lines: Vec<&str> = out.lines().collect();
    let left_out = lines.len().saturating_sub(2 * LINES_KEPT);
    if left_out < 10 {
        return out.to_owned();
    }
    let (head, tail) = (&lines[..LINES_KEPT], &lines[lines.len() - LINES_KEPT..]);
    format!("{}\n[{left_out} lines left out]\n{}\n", head.join("\n"), tail.join("\n"))
}

#[test]
fn status_of_12_vms() {
    insta::assert_snapshot!(at_every_width(12, &["status"]));
}

#[test]
fn status_of_200_vms() {
    insta::assert_snapshot!(at_every_width(200, &["status"]));
}

#[test]
fn plan_of_12_vms() {
    insta::assert_snapshot!(at_every_width(12, &["plan"]));
}

#[test]
fn plan_of_200_vms() {
    insta::assert_snapshot!(at_every_width(200, &["plan"]));
}

#[test]
fn a_grouped_plan_counts_every_delete_and_verbose_shows_every_vm() {
    let (fifo, folder) = (cloud(200), Folder::new());
    let json = folder.ask(&fifo, &["--format", "json", "plan", "--at", AT]).code(0).out;
    let plan: Plan = serde_json::from_str(&json).unwrap();
    let is_delete = |action: &&Action| matches!(action, Action::DeleteLocal(_));
    let deletes = plan.vms.iter().flat_map(|vm| &vm.actions).filter(is_delete).count();

    let grouped = shown(&fifo, &["plan"], 200);
    let mut counted = 0;
    for line in grouped.lines().filter(|line| line.trim_start().starts_with("- delete locally")) {
        let count = line.split_once(" snapshots").and_then(|(begin, _)| begin.rsplit_once(", "));
        counted += count.map_or(1, |(_, count)| count.parse().unwrap());
    }
    assert_eq!(counted, deletes, "{grouped}");
    assert!(grouped.lines().count() < 60, "{grouped}");

    let every = shown(&fifo, &["-v", "plan"], 200);
    assert_eq!(every.matches("- delete locally").count(), deletes);
    assert!(plan.vms.iter().all(|vm| every.contains(&format!("{}  ", vm.alias))), "{every}");
    assert_eq!(grouped.lines().last(), every.lines().last());
}

#[test]
fn those_in_trouble_come_first_and_numbers_in_names_count() {
    let out = shown(&cloud(200), &["status"], 120);
    let place =
        |alias: &str| out.lines().position(|line| line[2..].starts_with(&format!("{alias} "))).unwrap();
    assert!(place("files-1") < place("files-2") && place("files-2") < place("files-10"), "{out}");
    assert!(place("files-10") < place("app-2") && place("app-2") < place("web-1"), "{out}");
}

#[test]
fn problems_are_shown_alone() {
    let fifo = cloud(15);
    let (all, alone) = (shown(&fifo, &["status"], 120), shown(&fifo, &["status", "--problems"], 120));
    let (_, below) = all.split_once("\n\n").unwrap();
    assert_eq!(alone, below);
    assert!(!alone.contains("= safe") && alone.contains("app-2  f77752ff"), "{alone}");
}
