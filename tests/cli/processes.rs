//! What befalls real processes: killed at any moment, without room on the disk, two at once, their terminal gone. Each
//! time nothing is lost, and the next run finishes the job.

use crate::cloud::Cloud;
use crate::harness::{Fifo, Folder};
use crate::running::Running;
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::plan::Plan;
use fifo_retain::sandbox::{Options, Seed};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// At how many moments a run is killed.
const MOMENTS: u32 = 50;

/// How many of these tests' clouds live at a time: each mostly waits.
const AT_A_TIME: u32 = 10;

#[test]
fn killed_at_fifty_moments_nothing_is_lost_and_the_next_run_finishes() {
    let undisturbed = Cloud::with_leftovers(3);
    let began = Instant::now();
    undisturbed.folder.ask(&undisturbed.fifo, &["reconcile"]).code(0);
    let takes = began.elapsed();

    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let moment = next.fetch_add(1, Ordering::SeqCst);
                    if moment >= MOMENTS {
                        break;
                    }
                    killed(takes * moment / MOMENTS);
                }
            });
        }
    });
}

/// Kills a run after a while, and has the next one finish.
fn killed(after: Duration) {
    let cloud = Cloud::with_leftovers(3);
    let could_be_restored = cloud.restorable();
    let line = ["--format", "json", "--state-dir", "state", "reconcile"];
    let run = Running::start(cloud.folder.asking(&cloud.fifo, &line));
    std::thread::sleep(after);
    run.signal("KILL");
    drop(run);
    cloud.wait_for_uploads();
    age_notes(&cloud);
    cloud.folder.ask(&cloud.fifo, &line).code(0);
    cloud.is_done();
    assert!(could_be_restored.is_subset(&cloud.restorable()), "killed after {after:?}");

    // A line that the kill cut off spoils no other one.
    let journal = cloud.folder.read("state/journal.jsonl");
    let torn = journal.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count();
    assert!(torn <= 1, "killed after {after:?}:\n{journal}");
    let last = journal.lines().next_back().unwrap();
    assert_eq!(serde_json::from_str::<Value>(last).unwrap()["event"], "finished");
}

/// Makes the notes on deletes in flight three minutes old: the next run compares one that is younger than two minutes twice.
fn age_notes(cloud: &Cloud) {
    let Ok(files) = fs::read_dir(cloud.folder.path("state")) else { return };
    let paths = files.map(|file| file.unwrap().path());
    for path in paths.filter(|path| path.to_string_lossy().contains("in-flight-")) {
        let Ok(mut note) = serde_json::from_slice::<Value>(&fs::read(&path).unwrap()) else { continue };
        let time: DateTime<Utc> = note["time"].as_str().unwrap().parse().unwrap();
        note["time"] = json!(time - TimeDelta::minutes(3));
        fs::write(&path, note.to_string()).unwrap();
    }
}

#[test]
fn killed_while_it_saves_a_plan_there_is_the_old_one_or_the_new_one() {
    let fifo = Fifo::start(Options { seed: Seed { vms: 1_500, seed: 1 }, ..Options::default() });
    let folder = Folder::new();
    let line = ["plan", "--quiet", "--out", "plan.json"];
    let began = Instant::now();
    folder.ask(&fifo, &line).code(0);
    let takes = began.elapsed();
    for moment in 0..20 {
        let mut child =
            folder.asking(&fifo, &line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The file is written towards the end.
        std::thread::sleep(takes * (60 + 2 * moment) / 100);
        child.kill().unwrap();
        child.wait().unwrap();
        let plan = Plan::from_json(folder.read("plan.json").as_bytes()).unwrap();
        assert!(plan.vms.len() >= 1_500);
    }
    folder.ask(&fifo, &line).code(0);
}

#[test]
fn a_lock_file_of_a_dead_process_or_with_rubbish_in_it_locks_nothing() {
    let cloud = Cloud::of(1, 100);
    let line = ["--state-dir", "state", "reconcile"];
    cloud.folder.ask(&cloud.fifo, &line).code(0);
    let lock = lock_file(&cloud);
    for text in
        ["{\"pid\":1,\"command\":\"reconcile\",\"since\":\"2026-11-22T01:00:00Z\"}", "{\"pid", "\0\0\0"]
    {
        fs::write(&lock, text).unwrap();
        cloud.folder.ask(&cloud.fifo, &line).code(0);
    }
}

#[test]
fn quietly_a_run_in_progress_is_no_news_until_it_has_held_the_lock_for_a_day() {
    let cloud = Cloud::of(1, 100);
    let run = |line: &str| {
        let line: Vec<&str> = ["--state-dir", "state"].into_iter().chain(line.split(' ')).collect();
        cloud.folder.ask(&cloud.fifo, &line)
    };
    run("reconcile").code(0);
    let path = lock_file(&cloud);
    let held_for = |hours| {
        let since = chrono::Utc::now() - chrono::TimeDelta::hours(hours);
        let holder = serde_json::json!({"pid": 1, "command": "reconcile", "since": since});
        fs::write(&path, holder.to_string()).unwrap();
        let lock = fs::File::open(&path).unwrap();
        lock.lock().unwrap();
        lock
    };
    let lock = held_for(23);
    for quiet in ["-q", "-qq"] {
        let ended = run(&format!("{quiet} reconcile")).code(5);
        assert_eq!((ended.out.as_str(), ended.err.as_str()), ("", ""));
    }
    let ended = run("reconcile").code(5);
    assert!(ended.err.contains("is under way: process 1"), "{}", ended.err);
    // What a person starts says why it does nothing.
    let ended = run("-q apply --auto-approve").code(5);
    assert!(ended.err.contains("is under way: process 1"), "{}", ended.err);
    drop(lock);
    let _lock = held_for(25);
    let ended = run("-qq reconcile").code(5);
    assert!(ended.err.contains("is under way: process 1"), "{}", ended.err);
}

/// Returns the lock file in the folder `state`.
fn lock_file(cloud: &Cloud) -> PathBuf {
    let entries = fs::read_dir(cloud.folder.path("state")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|extension| extension == "lock")).unwrap()
}

/// Waits until no run holds the lock: a process that ended in whatever way has released it.
fn wait_for_the_end(cloud: &Cloud) {
    let lock = fs::File::open(lock_file(cloud)).unwrap();
    let began = Instant::now();
    while lock.try_lock().is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "the run never ends");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a command with no room for any file beyond so many blocks of 512 bytes: what a full disk is to a program.
pub(crate) fn without_room(cloud: &Cloud, blocks: u32, arguments: &[&str]) -> Command {
    let asking = cloud.folder.asking(&cloud.fifo, arguments);
    let limited = format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$0\" \"$@\"");
    wrapped(
        &asking,
        Command::new("sh").args(["-c", &limited]).arg(asking.get_program()).args(asking.get_args()),
    )
}

/// Copies the environment of another command.
fn wrapped(asking: &Command, command: &mut Command) -> Command {
    command.env_clear().envs(asking.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", "/usr/bin:/bin").current_dir(asking.get_current_dir().unwrap());
    std::mem::replace(command, Command::new("true"))
}

#[test]
fn a_disk_that_is_full_from_the_start_or_in_the_middle_stops_no_backup_and_is_reported_once() {
    for (blocks, warning) in [(0, "the lock is held, but writing its holder into it failed"), (1, "")] {
        let cloud = Cloud::of(3, 100);
        let output = without_room(&cloud, blocks, &["--state-dir", "state", "reconcile"]).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        // Without a note on disk no snapshot is deleted.
        assert_eq!(output.status.code(), Some(3), "{err}");
        assert_eq!(err.matches("failed to write to the journal").count(), 1, "{err}");
        assert!(err.contains(warning), "{err}");
        assert_eq!(cloud.asked().get("POST"), Some(&3));
        assert_eq!(cloud.asked().get("DELETE"), None);
        // With room again, the next run's lines are whole.
        cloud.folder.ask(&cloud.fifo, &["--state-dir", "state", "reconcile"]).code(0);
        cloud.is_done();
        let journal = cloud.folder.read("state/journal.jsonl");
        let last: Value = serde_json::from_str(journal.lines().next_back().unwrap()).unwrap();
        assert_eq!(last["event"], "finished", "{journal}");
    }
}

#[test]
fn a_plan_that_there_is_no_room_for_leaves_the_old_one() {
    let cloud = Cloud::of(3, 100);
    let line = ["plan", "--out", "plan.json"];
    cloud.folder.ask(&cloud.fifo, &line).code(0);
    let old = cloud.folder.read("plan.json");
    let output = without_room(&cloud, 1, &line).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("failed to save the plan to plan.json"), "{err}");
    assert_eq!(cloud.folder.read("plan.json"), old);
    let left: Vec<_> =
        fs::read_dir(cloud.folder.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp")), "{left:?}");
}

#[test]
fn two_machines_at_once_make_one_backup_of_each_vm() {
    let cloud = Cloud::of(4, 500);
    let could_be_restored = cloud.restorable();
    let runs: Vec<Running> = ["one", "two"]
        .iter()
        .map(|state| {
            let line = ["--format", "json", "--state-dir", state, "reconcile"];
            Running::start(cloud.folder.asking(&cloud.fifo, &line))
        })
        .collect();
    for run in runs {
        let ended = run.end();
        // What the other one has done meanwhile is reported as left out.
        assert!(matches!(ended.code, Some(0 | 3)), "{}\n{}", ended.out, ended.err);
    }
    cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(0);
    cloud.is_done();
    assert!(could_be_restored.is_subset(&cloud.restorable()));
}

/// Runs something on a terminal of its own, which is closed when the child is killed.
fn on_a_terminal(cloud: &Cloud, script: &str) -> std::process::Child {
    let asking = cloud.folder.asking(&cloud.fifo, &[]);
    let program = asking.get_program().to_str().unwrap();
    let script = script.replace("fifo-retain", program);
    let mut command = wrapped(&asking, Command::new("script").args(["-qec", &script, "/dev/null"]));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_terminal_that_is_closed_under_a_run_loses_nothing() {
    // Without further ado the run ends with its terminal; one that is to outlive it, goes on without.
    for (script, outlives) in [
        ("exec fifo-retain --state-dir state reconcile", false),
        ("trap '' HUP; exec fifo-retain --state-dir state reconcile", true),
    ] {
        let cloud = Cloud::of(2, 600_000);
        let could_be_restored = cloud.restorable();
        let mut terminal = on_a_terminal(&cloud, script);
        while cloud.asked().get("POST").is_none_or(|posts| *posts < 2) {
            std::thread::sleep(Duration::from_millis(10));
        }
        terminal.kill().unwrap();
        terminal.wait().unwrap();
        if outlives {
            cloud.end_uploads();
        }
        wait_for_the_end(&cloud);
        cloud.end_uploads();
        assert_eq!(cloud.deletes().len(), if outlives { 2 } else { 0 }, "{script}");
        cloud.folder.ask(&cloud.fifo, &["--state-dir", "state", "reconcile"]).code(0);
        cloud.is_done();
        assert!(could_be_restored.is_subset(&cloud.restorable()), "{script}");
    }
}

#[test]
fn a_terminal_without_a_reader_stops_nothing() {
    for format in ["text", "json"] {
        let cloud = Cloud::with_leftovers(3);
        // As much as a pipe holds: a writer now waits for a reader indefinitely.
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&[b' '; 65_536]).unwrap();
        let mut run = cloud
            .folder
            .asking(&cloud.fifo, &["--format", format, "-vv", "--state-dir", "state", "reconcile"])
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .spawn()
            .unwrap();
        let began = Instant::now();
        let ended = loop {
            if let Some(ended) = run.try_wait().unwrap() {
                break ended;
            }
            assert!(began.elapsed() < Duration::from_secs(40), "{format}: it waits for a reader");
            std::thread::sleep(Duration::from_millis(20));
        };
        drop(reader);
        assert_eq!(ended.code(), Some(0), "{format}");
        cloud.is_done();
        let journal = cloud.folder.read("state/journal.jsonl");
        assert!(journal.lines().next_back().unwrap().contains("\"finished\""), "{format}: {journal}");
    }
}

#[test]
fn a_reader_who_takes_his_time_loses_no_event() {
    let cloud = Cloud::of(40, 100);
    let mut run = cloud
        .folder
        .asking(&cloud.fifo, &["--format", "json", "reconcile", "--max-uploads", "40"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = run.stdout.take().unwrap();
    let mut text = Vec::new();
    let mut piece = [0; 2_048];
    loop {
        match out.read(&mut piece).unwrap() {
            0 => break,
            length => text.extend_from_slice(&piece[..length]),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(run.wait().unwrap().code(), Some(0));
    let text = String::from_utf8(text).unwrap();
    let ended = text.lines().filter(|line| line.contains("\"action_ended\"")).count();
    assert_eq!(ended, 80, "40 creates and 40 deletes");
    assert!(text.lines().next_back().unwrap().contains("\"finished\""));
}
