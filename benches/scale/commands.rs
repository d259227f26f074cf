//! The commands over lists from files, by turns with the floor.

use super::lists::{self, Size};
use super::measure::{self, Runs, TURNS, shown};
use super::serve::Server;
use std::path::Path;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fifo-retain");

pub(crate) const POLICY: &str = include_str!("../../policies/grandfather.yaml");

const BACKUPS: u32 = 100;

/// The commands of the table, with the name of each.
const COMMANDS: [(&str, &[&str]); 4] = [
    ("plan", &["plan"]),
    ("plan, JSON", &["--format", "json", "plan"]),
    ("status", &["status"]),
    ("reconcile, nothing to do", &["reconcile"]),
];

/// The program in a folder of its own, with the policies in it.
pub(crate) fn program(folder: &Path, url: &str, line: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("HOME", folder).current_dir(folder);
    command.env("FIFO_ENDPOINT", url).env("FIFO_USER", "admin").env("FIFO_PASSWORD", "admin");
    command.args(["--state-dir", "state"]).args(line);
    command
}

/// Makes a folder with a policy.
pub(crate) fn folder(policy: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("policy.yaml"), policy).unwrap();
    folder
}

/// Measures the commands over lists of so many VMs.
pub(crate) fn over_lists(sizes: &[u32]) {
    println!("| list | command | minimum | median | of the floor | CPU | peak memory |");
    println!("|---|---|---|---|---|---|---|");
    for vms in sizes {
        over_list(Size { vms: *vms, backups: BACKUPS, due: false }, &COMMANDS);
        over_list(Size { vms: *vms, backups: BACKUPS, due: true }, &COMMANDS[..2]);
    }
    println!();
}

fn over_list(size: Size, commands: &[(&str, &[&str])]) {
    let folder = folder(POLICY);
    let list = folder.path().join("list.json");
    let bytes = lists::write(&list, size).unwrap();
    let url = Server::start(&list, "127.0.0.1:0").unwrap().url();
    let floor_program = std::env::current_exe().unwrap();
    let mut floor = Runs::default();
    let mut all: Vec<Runs> = commands.iter().map(|_| Runs::default()).collect();
    for _ in 0..TURNS {
        floor.push(measure::run(Command::new(&floor_program).args(["floor", &url])).unwrap());
        for ((_, line), runs) in commands.iter().zip(&mut all) {
            runs.push(measure::run(&mut program(folder.path(), &url, line)).unwrap());
        }
    }
    let due = if size.due { ", all due" } else { "" };
    let name = format!("{} × {}{due}, {} MB", size.vms, size.backups, bytes / 1_000_000);
    row(&name, "floor", &floor, &floor);
    for ((command, _), runs) in commands.iter().zip(&all) {
        row(&name, command, runs, &floor);
    }
}

fn row(list: &str, command: &str, runs: &Runs, floor: &Runs) {
    let ratio = runs.median().as_secs_f64() / floor.median().as_secs_f64();
    println!(
        "| {list} | {command} | {} | {} | {ratio:.2} | {} | {} MiB |",
        shown(runs.least()),
        shown(runs.median()),
        shown(runs.cpu()),
        runs.peak_mib()
    );
}
