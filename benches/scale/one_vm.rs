//! A process that decides on the backups of one VM, by turns with pgBackRest on the same history.

use super::commands::{POLICY, folder, program};
use super::lists::{self, Size};
use super::measure::{self, Runs, TURNS, shown};
use super::pgbackrest::{self, Repository};
use super::serve::Server;

/// Measures `plan` over one VM, and pgBackRest's `expire --dry-run` where it is installed.
pub(crate) fn with_peers() {
    let version = pgbackrest::version();
    println!("| backups of one VM | cold process | minimum | median | peak memory | of `plan` |");
    println!("|---|---|---|---|---|---|");
    for backups in [2_000, 10_000] {
        of(backups, version.as_deref());
    }
    match version {
        Some(version) => println!("\npgBackRest {version}.\n"),
        None => println!("\npgBackRest is not installed: no comparison.\n"),
    }
}

fn of(backups: u32, version: Option<&str>) {
    let folder = folder(POLICY);
    let list = folder.path().join("list.json");
    lists::write(&list, Size { vms: 1, backups, due: false }).unwrap();
    let repository = version.map(|version| Repository::write(folder.path(), &list, version).unwrap());
    if let Some(repository) = &repository {
        repository.check();
    }
    let url = Server::start(&list, "127.0.0.1:0").unwrap().url();
    let (mut ours, mut theirs) = (Runs::default(), Runs::default());
    for _ in 0..TURNS {
        ours.push(measure::run(&mut program(folder.path(), &url, &["plan"])).unwrap());
        if let Some(repository) = &repository {
            theirs.push(measure::run(&mut repository.expire()).unwrap());
        }
    }
    row(backups, "plan", &ours, &ours);
    if repository.is_some() {
        row(backups, "pgbackrest expire --dry-run", &theirs, &ours);
    }
}

fn row(backups: u32, command: &str, runs: &Runs, ours: &Runs) {
    let ratio = runs.median().as_secs_f64() / ours.median().as_secs_f64();
    println!(
        "| {backups} | {command} | {} | {} | {} MiB | {ratio:.1} |",
        shown(runs.least()),
        shown(runs.median()),
        runs.peak_mib()
    );
}
