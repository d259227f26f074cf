//! Runs in which every VM has something to do, against a sandbox over loopback.

use super::commands::{folder, program};
use super::lists::{Cloud, Size};
use super::measure::{self, shown};
use fifo_retain::sandbox::{Clock, Options, RunningSandbox, Sandbox};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How many VMs, and how long each upload takes: what there is besides the uploads, and how well the slots are used.
const RUNS: [(u32, u32); 2] = [(1_000, 0), (200, 5_000)];
const BACKUPS: u32 = 100;

/// Without weeklies, each VM has one daily to create, and the snapshot of the daily before to delete if there is one.
const POLICY: &str = "\
version: 1
policy: nightly
select:
  metadata: { fifo.backup: 1 }
timezone: Europe/Berlin
tiers:
  - { name: monthly, schedule: \"0 1 1 * *\", type: full }
  - { name: daily, schedule: \"0 1 * * *\", type: incremental }
";

/// How often the sandbox's log of requests is emptied; it has room for 4096.
const EMPTY_EVERY: Duration = Duration::from_millis(20);

/// Measures each `reconcile` and counts its requests.
pub(crate) fn of_a_reconcile() {
    RUNS.iter().for_each(|(vms, upload_ms)| measure(*vms, *upload_ms));
}

fn measure(vms: u32, upload_ms: u32) {
    let folder = folder(POLICY);
    let runtime = Runtime::new().unwrap();
    let size = Size { vms, backups: BACKUPS, due: true };
    let mut world = Cloud::new(size, Clock::System.now_us()).world(0..vms);
    world.upload_ms = upload_ms.into();
    let options = Options { world: Some(world), ..Options::default() };
    let sandbox = runtime.block_on(Sandbox::start(options)).unwrap();
    let ended = AtomicBool::new(false);
    let (run, counts) = thread::scope(|scope| {
        let counting = scope.spawn(|| count(&sandbox, &ended));
        let run = measure::run(&mut program(folder.path(), &sandbox.url(), &["reconcile"]));
        ended.store(true, Ordering::SeqCst);
        (run.unwrap(), counting.join().unwrap())
    });
    let total: u64 = counts.values().sum();
    println!("| reconcile of {vms} VMs × {BACKUPS}, uploads of {upload_ms} ms | |");
    println!("|---|---|");
    println!("| wall | {} |", shown(run.wall));
    println!("| CPU | {} |", shown(run.cpu));
    println!("| peak memory | {} MiB |", run.peak_kib.div_ceil(1024));
    for (what, number) in &counts {
        println!("| {what} | {number} |");
    }
    println!(
        "| requests per VM | {}.{:02} |",
        total / u64::from(vms),
        total % u64::from(vms) * 100 / u64::from(vms)
    );
}

/// Counts the requests until the run has ended, by method and the kind of what they are about.
fn count(sandbox: &RunningSandbox, ended: &AtomicBool) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    loop {
        let is_last = ended.load(Ordering::SeqCst);
        for record in sandbox.with(|state| std::mem::take(&mut state.requests)) {
            let path = record.request.path().to_owned();
            let parts: Vec<&str> = path.split('/').skip(3).collect();
            let about = match parts[..] {
                ["vms"] => "list",
                ["vms", _] => "VM",
                ["vms", _, "backups", ..] => "backup",
                _ => "sign-in, connection",
            };
            *counts.entry(format!("{} {about}", record.request.method)).or_insert(0) += 1;
        }
        if is_last {
            return counts;
        }
        thread::sleep(EMPTY_EVERY);
    }
}
