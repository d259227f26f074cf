//! What is left of backups that vanished: no run goes past it until a person has said so.

use crate::cloud::Cloud;
use crate::exposition::Exposition;
use crate::harness::Ended;
use crate::processes::without_room;
use crate::running::Running;
use crate::terminal::Terminal;
use fifo_retain::apply::InFlight;
use fifo_retain::inventory::VmId;
use fifo_retain::sandbox::{Effect, Operation, Rule};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// A cloud with a proxy before it that drops the bodies of DELETEs.
pub(crate) fn with_a_bad_proxy() -> Cloud {
    let cloud = Cloud::with_leftovers(3);
    let rule = Rule::new(Effect::DropBody).on(Operation::Delete);
    cloud.fifo.running().with(|state| state.faults.rules.push(rule));
    cloud
}

fn run(cloud: &Cloud, line: &[&str]) -> Ended {
    cloud.folder.ask(&cloud.fifo, &[&["--state-dir", "state"], line].concat())
}

/// Forgets what FiFo was asked so far, and returns how much that was.
fn asked(cloud: &Cloud) -> usize {
    cloud.fifo.running().with(|state| state.requests.drain(..).count())
}

/// Returns the files of the safety stop that there are.
fn stop_files(cloud: &Cloud) -> Vec<PathBuf> {
    let is_stop = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("safety-stop-");
    let entries = fs::read_dir(cloud.folder.path("state")).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(is_stop).collect()
}

/// Has a first run come to the alarm; returns the file that it left.
fn stopped(cloud: &Cloud) -> PathBuf {
    run(cloud, &["reconcile"]).code(4);
    assert_eq!(cloud.deletes().len(), 1);
    asked(cloud);
    let [stop_file] = &stop_files(cloud)[..] else { panic!("{:?}", stop_files(cloud)) };
    stop_file.clone()
}

#[test]
fn after_backups_vanished_nothing_is_sent_until_a_person_has_said_so() {
    let cloud = with_a_bad_proxy();
    let stop_file = stopped(&cloud);
    assert_eq!(fs::metadata(&stop_file).unwrap().permissions().mode() & 0o777, 0o600);
    let content: Value = serde_json::from_str(&fs::read_to_string(&stop_file).unwrap()).unwrap();
    let alarm = &content["alarms"][0];
    let gone: Vec<&str> =
        alarm["gone"].as_array().unwrap().iter().map(|backup| backup.as_str().unwrap()).collect();
    assert_eq!((content["endpoint"].as_str(), gone.len()), (Some(cloud.fifo.url().as_str()), 2));
    assert!(gone.contains(&alarm["backup"].as_str().unwrap()), "{content:#}");

    run(&cloud, &["plan", "--out", "plan.json"]).code(0);
    asked(&cloud);
    for line in [&["reconcile"][..], &["apply", "--auto-approve"], &["apply", "plan.json"]] {
        let ended = run(&cloud, line).code(4);
        assert!(ended.err.starts_with("error: Safety stop since "), "{}", ended.err);
        for word in gone.iter().chain(&[alarm["alias"].as_str().unwrap(), "fifo-retain resume", "hint: "]) {
            assert!(ended.err.contains(*word), "{word} is not in\n{}", ended.err);
        }
        assert_eq!((ended.out.as_str(), asked(&cloud)), ("", 0));
    }

    let refused = run(&cloud, &["resume"]).code(64);
    assert!(refused.err.contains("--auto-approve") && refused.err.contains(gone[0]), "{}", refused.err);
    run(&cloud, &["reconcile"]).code(4);
    // A note that is left behind goes with the safety stop.
    let note =
        InFlight::new(&cloud.folder.path("state"), &cloud.fifo.url()).path(VmId::new(Uuid::from_u128(1)));
    fs::write(&note, "").unwrap();
    let lifted = run(&cloud, &["resume", "--auto-approve"]).code(0);
    assert!(lifted.out.starts_with("Safety stop since ") && lifted.out.contains(gone[0]), "{}", lifted.out);
    assert_eq!(lifted.last_line(), "The safety stop is lifted: the next run goes on.");
    assert_eq!((stop_files(&cloud), note.exists(), asked(&cloud)), (Vec::new(), false, 0));
    assert!(cloud.folder.read("state/journal.jsonl").lines().last().unwrap().contains("lifted"));

    cloud.fifo.running().with(|state| state.faults.rules.clear());
    run(&cloud, &["reconcile"]).code(0);
    let none = run(&cloud, &["resume"]).code(0);
    assert!(none.out.starts_with("No safety stop is set for http://127.0.0.1:"), "{}", none.out);
}

#[test]
fn read_only_commands_show_the_safety_stop_first() {
    let cloud = with_a_bad_proxy();
    stopped(&cloud);
    for line in [&["plan"][..], &["--quiet", "plan"], &["status"], &["show", "vm-1"]] {
        let text = run(&cloud, line).code(0);
        assert!(text.out.starts_with("Safety stop since "), "{}", text.out);
        let json = run(&cloud, &[&["--format", "json"], line].concat()).code(0);
        let json: Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(json["safety_stop"]["alarms"][0]["gone"].as_array().unwrap().len(), 2, "{json:#}");
        assert!(json["format"].is_string() && json["vms"].is_array(), "{json:#}");
        let markdown = run(&cloud, &[&["--format", "markdown"], line].concat()).code(0);
        let place = if line.contains(&"plan") { 1 } else { 0 };
        let first = markdown.out.lines().nth(place).unwrap();
        assert!(first.starts_with("**Safety stop since "), "{}", markdown.out);
    }
    // The counts stay the last line, and a saved plan is what it always is.
    let plan = run(&cloud, &["plan", "--out", "plan.json"]).code(0);
    assert!(plan.last_line().starts_with("Plan: "), "{}", plan.out);
    assert!(!cloud.folder.read("plan.json").contains("safety_stop"));
    run(&cloud, &["status", "--check", "--metrics-file", "status.prom"]).code(2);
    let metric = |file| Exposition::read(&cloud.folder.read(file)).get("fifo_retain_safety_stop");
    assert_eq!(metric("status.prom"), Some(1.0));
    run(&cloud, &["reconcile", "--metrics-file", "run.prom"]).code(4);
    assert_eq!(metric("run.prom"), Some(1.0));
    run(&cloud, &["resume", "--auto-approve"]).code(0);
    run(&cloud, &["status", "--metrics-file", "status.prom"]).code(0);
    assert_eq!(metric("status.prom"), Some(0.0));
    let json = run(&cloud, &["--format", "json", "plan"]).code(0);
    assert!(!json.out.contains("safety_stop"));
}

#[test]
fn one_that_cannot_be_read_counts_as_set_and_can_be_lifted() {
    let cloud = with_a_bad_proxy();
    let stop_file = stopped(&cloud);
    let whole = fs::read_to_string(&stop_file).unwrap();
    for (text, why) in [("", "it is empty"), (&whole[..40], "EOF"), ("rubbish", "expected value")] {
        fs::write(&stop_file, text).unwrap();
        let ended = run(&cloud, &["reconcile"]).code(4);
        assert!(ended.err.contains(&format!("could not be read ({why}")), "{}", ended.err);
        assert!(run(&cloud, &["plan"]).code(0).out.starts_with("Safety stop: "));
    }
    asked(&cloud);
    run(&cloud, &["resume", "--auto-approve"]).code(0);
    assert_eq!((stop_files(&cloud), asked(&cloud)), (Vec::new(), 0));
}

#[test]
fn another_fifo_is_not_held_back() {
    let (cloud, other) = (with_a_bad_proxy(), Cloud::of(1, 100));
    stopped(&cloud);
    let state = cloud.folder.path("state");
    let line = ["--state-dir", state.to_str().unwrap(), "reconcile"];
    other.folder.ask(&other.fifo, &line).code(0);
    other.is_done();
}

#[test]
fn killed_right_after_the_alarm_the_next_run_is_held_back() {
    let cloud = with_a_bad_proxy();
    let line = ["--format", "json", "--state-dir", "state", "reconcile"];
    let mut first = Running::start(cloud.folder.asking(&cloud.fifo, &line));
    first.until("cascade_alarm");
    first.signal("KILL");
    first.end();
    // What the killed run has sent may still arrive.
    while asked(&cloud) > 0 {
        std::thread::sleep(Duration::from_millis(200));
    }
    run(&cloud, &["reconcile"]).code(4);
    assert_eq!(asked(&cloud), 0);
}

#[test]
fn on_a_full_disk_no_delete_is_sent_so_that_no_chain_is_lost() {
    let cloud = with_a_bad_proxy();
    let could_be_restored = cloud.restorable();
    let output = without_room(&cloud, 0, &["--state-dir", "state", "reconcile"]).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{out}");
    assert!(out.contains("without a note on disk a kill would hide what the delete did"), "{out}");
    assert!(could_be_restored.is_subset(&cloud.restorable()));
}

#[test]
fn where_no_file_can_be_written_at_all_it_is_said_that_nothing_holds_the_next_run_back() {
    let cloud = with_a_bad_proxy();
    let slow = Rule::new(Effect::Delay { ms: 1_500 }).on(Operation::Delete);
    cloud.fifo.running().with(|state| state.faults.rules.push(slow));
    let line = ["--format", "json", "--state-dir", "state", "reconcile"];
    let mut first = Running::start(cloud.folder.asking(&cloud.fifo, &line));
    while first.until("action_started")["action"] != "delete_local" {}
    fs::rename(cloud.folder.path("state"), cloud.folder.path("away")).unwrap();
    let ended = first.end().code(4);
    assert!(ended.err.contains("THE SAFETY STOP COULD NOT BE WRITTEN"), "{}", ended.err);
    assert!(ended.err.contains("start no further run, by hand neither"), "{}", ended.err);
}

#[test]
fn resume_waits_for_no_run_and_needs_nothing_to_sign_in_with() {
    let cloud = with_a_bad_proxy();
    let stop_file = stopped(&cloud);
    let content = fs::read(&stop_file).unwrap();
    cloud.fifo.running().with(|state| state.faults.rules.clear());
    run(&cloud, &["resume", "--auto-approve"]).code(0);
    // A run that is under way holds the lock.
    cloud.fifo.running().with(|state| state.world.upload_ms = 60_000);
    let line = ["--format", "json", "--state-dir", "state", "reconcile"];
    let mut under_way = Running::start(cloud.folder.asking(&cloud.fifo, &line));
    under_way.until("accepted");
    fs::write(&stop_file, &content).unwrap();
    run(&cloud, &["resume", "--auto-approve"]).code(5);
    assert_eq!(stop_files(&cloud).len(), 1);
    drop(under_way);
    let url = cloud.fifo.url();
    cloud.folder.run(&["--endpoint", &url, "--state-dir", "state", "resume", "--auto-approve"]).code(0);
    assert_eq!(stop_files(&cloud), Vec::<PathBuf>::new());
}

#[test]
fn on_a_terminal_resume_asks() {
    let cloud = with_a_bad_proxy();
    stopped(&cloud);
    for (answer, code, left) in [("", 1, 1), ("n", 1, 1), ("y", 0, 0)] {
        let mut terminal = Terminal::start(&cloud, &["--state-dir", "state", "resume"]);
        terminal.until("may runs begin again? [y/N]");
        terminal.answer(answer);
        let ended = terminal.end().code(code);
        assert!(ended.out.contains("Safety stop since "), "{}", ended.out);
        assert_eq!(stop_files(&cloud).len(), left, "{}", ended.out);
    }
}

#[test]
fn a_safety_stop_that_is_set_while_a_question_waits_holds_the_answer_back() {
    let cloud = with_a_bad_proxy();
    let stop_file = stopped(&cloud);
    let content = fs::read(&stop_file).unwrap();
    run(&cloud, &["resume", "--auto-approve"]).code(0);
    let mut terminal = Terminal::start(&cloud, &["--state-dir", "state", "apply"]);
    terminal.until(", API version 3? [y/N]");
    fs::write(&stop_file, content).unwrap();
    asked(&cloud);
    terminal.answer("y");
    let ended = terminal.end().code(4);
    assert!(ended.out.contains("Safety stop since "), "{}", ended.out);
    assert_eq!(asked(&cloud), 0);
}
