use crate::cloud::Cloud;
use crate::harness::{Ended, Folder};
use crate::running::Running;
use crate::terminal::Terminal;
use fifo_retain::sandbox::{Effect, Operation, Rule, User};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

/// The one body that a DELETE may have, and its length.
const BODY: (&str, &str) = (r#"{"location":"hypervisor"}"#, "25");

fn disturb(cloud: &Cloud, rule: Rule) {
    cloud.fifo.running().with(|state| state.faults.rules.push(rule));
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[test]
fn a_reconciled_cloud_is_up_to_date_and_its_deletes_were_local() {
    let cloud = Cloud::with_leftovers(3);
    let ended = cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(0);
    assert!(ended.out.contains("Plan: 3 to create, 6 to delete locally"), "{}", ended.out);
    assert_eq!(ended.last_line(), "Done: 3 created, 6 deleted locally.");
    cloud.is_done();
    let deletes = cloud.deletes();
    assert_eq!(deletes.len(), 6);
    for (body, length) in deletes {
        assert_eq!((body.as_str(), length.as_deref()), (BODY.0, Some(BODY.1)));
    }

    let again = cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(0);
    assert_eq!(again.last_line(), "Done: 0 created, 0 deleted locally.");
}

#[test]
fn one_vm_that_is_refused_takes_no_other_with_it() {
    let cloud = Cloud::of(3, 100);
    let refused = cloud.vms[1];
    let answer = Effect::Answer { status: 403, retry_after_s: None, location: None };
    disturb(&cloud, Rule::new(answer).on(Operation::Create).of_vm(refused.id));
    let ended = cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(3);
    assert_eq!(ended.last_line(), "Done: 2 created, 2 deleted locally; 1 failed, 1 dropped.");
    let output = ended.out.lines().find(|line| line.contains("failed")).unwrap();
    assert!(output.starts_with("vm-2  create daily: failed, FiFo refused the create with 403"), "{output}");
    assert_eq!(cloud.made_and_local(refused), (Vec::new(), vec![refused.daily]));
}

#[test]
fn a_proxy_that_drops_the_bodies_of_deletes_is_noticed_at_the_first() {
    let cloud = Cloud::with_leftovers(3);
    disturb(&cloud, Rule::new(Effect::DropBody).on(Operation::Delete));
    let ended = cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(4);
    assert_eq!(cloud.deletes().len(), 1);
    let hit: Vec<_> = cloud
        .vms
        .iter()
        .filter(|vm| cloud.fifo.running().with(|state| state.world.vms[&vm.id].backups.is_empty()))
        .collect();
    let [hit] = &hit[..] else { panic!("one chain is lost:\n{}\n{}", ended.out, ended.err) };
    for gone in [hit.monthly, hit.daily] {
        assert!(ended.err.contains("SAFETY STOP") && ended.err.contains(&gone.to_string()), "{}", ended.err);
    }
    assert!(ended.out.contains("find the cause before the next run"), "{}", ended.out);
}

#[test]
fn interrupted_it_reports_what_keeps_running_and_the_next_run_finishes() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let cloud = Cloud::of(2, 60_000);
        let mut run = Running::reconcile(&cloud);
        let backups = [run.until("accepted"), run.until("accepted")].map(|output| output["backup"].clone());
        run.signal(signal);
        let ended = run.end().code(code);
        let output = json_lines(&ended.out);
        let warned = output.iter().find(|output| output["event"] == "warning").unwrap();
        assert!(warned["message"].as_str().unwrap().contains("nothing new is started"), "{warned}");
        for backup in backups {
            let goes_on = format!("backup {} is still running in FiFo", backup.as_str().unwrap());
            let is_it =
                |output: &&Value| output["message"].as_str().is_some_and(|text| text.contains(&goes_on));
            assert_eq!(output.iter().find(is_it).unwrap()["outcome"], "interrupted");
        }
        assert_eq!(
            output.last().unwrap()["interrupted"],
            4,
            "the creates, and the deletes that come after them"
        );
        cloud.end_uploads();
        cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(0);
        cloud.is_done();
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let cloud = Cloud::of(1, 60_000);
    // Looking for what became of the create takes as long as FiFo stays silent.
    disturb(&cloud, Rule::new(Effect::ActThenDrop).on(Operation::Create));
    for operation in [Operation::ReadVm, Operation::List] {
        disturb(&cloud, Rule::new(Effect::Delay { ms: 60_000 }).on(operation).after(1));
    }
    let mut run = Running::reconcile(&cloud);
    run.until("action_started");
    std::thread::sleep(Duration::from_millis(500));
    run.signal("INT");
    std::thread::sleep(Duration::from_millis(500));
    run.signal("TERM");
    run.end().code(143);
}

#[test]
fn with_json_there_is_one_event_a_line_and_nothing_else() {
    let cloud = Cloud::of(2, 100);
    let ended = cloud.folder.ask(&cloud.fifo, &["--format", "json", "reconcile"]).code(0);
    let output = json_lines(&ended.out);
    assert_eq!((&output[0]["event"], &output[0]["create"]), (&"started".into(), &2.into()));
    let last = output.last().unwrap();
    assert_eq!((&last["event"], &last["created"]), (&"finished".into(), &2.into()));
    assert!(output.iter().all(|event| event["time"].is_string()));
    assert_eq!(ended.err, "");
}

#[test]
fn the_journal_has_every_action_and_no_secret() {
    let cloud = Cloud::of(1, 100);
    let password = "correct horse #1; battery";
    cloud.fifo.running().with(|state| state.world.users.insert("ann".to_owned(), User::admin(password)));
    let line = ["-vvv", "--log-format", "json", "--state-dir", "state", "reconcile"];
    let mut command = cloud.folder.command(&line);
    command.env("FIFO_ENDPOINT", cloud.fifo.url()).env("FIFO_USER", "ann").env("FIFO_PASSWORD", password);
    let ended = Ended::of(command).code(0);
    let journal = cloud.folder.read("state/journal.jsonl");
    let events: Vec<String> = json_lines(&journal)
        .iter()
        .map(|entry| {
            assert!(entry["run"].is_string() && entry["time"].is_string(), "{entry}");
            format!("{} {}", entry["event"].as_str().unwrap(), entry["action"].as_str().unwrap_or("-"))
        })
        .collect();
    assert_eq!(
        events,
        [
            "started -",
            "action_started create",
            "accepted -",
            "action_ended create",
            "action_started delete_local",
            "action_ended delete_local",
            "finished -"
        ]
    );
    let mode = |path: &str| fs::metadata(cloud.folder.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state"), mode("state/journal.jsonl")), (0o700, 0o600));

    let output = ended.out + &ended.err + &journal;
    let tokens: Vec<String> = cloud.fifo.running().with(|state| state.world.tokens.keys().cloned().collect());
    assert!(!tokens.is_empty());
    for secret in tokens.iter().map(String::as_str).chain([password, "Bearer"]) {
        assert!(!output.contains(secret), "{secret} appears in:\n{output}");
    }
}

#[test]
fn a_journal_that_cannot_be_written_stops_nothing() {
    let cloud = Cloud::of(1, 100);
    cloud.folder.write("state/journal.jsonl/something", "");
    let ended = cloud.folder.ask(&cloud.fifo, &["--state-dir", "state", "reconcile"]).code(0);
    assert!(ended.err.contains("warning: the journal cannot be opened"), "{}", ended.err);
    assert!(ended.err.contains("state/journal.jsonl"), "{}", ended.err);
    cloud.is_done();
}

#[test]
fn a_state_folder_that_cannot_be_made_is_named() {
    let cloud = Cloud::of(1, 100);
    cloud.folder.write("state", "a file");
    let ended = cloud.folder.ask(&cloud.fifo, &["--state-dir", "state/deeper", "reconcile"]).code(1);
    assert!(ended.err.contains("failed to make the state folder state/deeper"), "{}", ended.err);
    assert!(ended.err.contains("hint: name another one with --state-dir"), "{}", ended.err);
    assert_eq!(cloud.fifo.asked(), [""; 0]);
}

#[test]
fn output_without_a_reader_stops_nothing() {
    let cloud = Cloud::of(1, 100);
    let command = || cloud.folder.asking(&cloud.fifo, &["reconcile"]);
    let mut child = command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    cloud.is_done();

    let cloud = Cloud::of(1, 100);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = cloud
        .folder
        .asking(&cloud.fifo, &["reconcile"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let err = String::from_utf8(ended.stderr).unwrap();
    assert!(err.contains("warning: failed to write to standard output"), "{err}");
    cloud.is_done();
}

#[test]
fn without_waiting_the_next_run_does_what_comes_after() {
    let cloud = Cloud::of(1, 100);
    let ended = cloud.folder.ask(&cloud.fifo, &["reconcile", "--no-wait"]).code(0);
    assert_eq!(ended.last_line(), "Done: 0 created, 0 deleted locally; 1 started, 1 left to the next run.");
    cloud.wait_for_uploads();
    // A store that does not have it: nothing is deleted that would rely on it.
    fs::create_dir(cloud.folder.path("store")).unwrap();
    let store = format!("file://{}", cloud.folder.path("store").display());
    let ended = cloud.folder.ask(&cloud.fifo, &["reconcile", "--store", &store]).code(0);
    assert_eq!(ended.last_line(), "Done: 0 created, 0 deleted locally; 1 left to the next run.");
    assert!(
        ended.out.contains("the storage does not show whether the newest backup is good"),
        "{}",
        ended.out
    );
    let ended = cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(0);
    assert_eq!(ended.last_line(), "Done: 0 created, 1 deleted locally.");
    cloud.is_done();
}

#[test]
fn two_in_one_folder_do_not_overwrite_each_others_world() {
    let folder = Folder::new();
    let line = ["--sandbox", "--format", "json", "reconcile", "--vm", "web-3"];
    let mut first = Running::start(folder.sealed(&line));
    first.until("accepted");
    let ended = folder.run(&["--sandbox", "plan"]).code(5);
    assert!(
        ended.err.contains("another sandbox is using the world in .fifo-retain/sandbox.json"),
        "{}",
        ended.err
    );
    first.end().code(0);
    folder.run(&["--sandbox", "plan", "--vm", "web-3", "--detailed-exitcode"]).code(0);
}

#[test]
fn a_world_that_cannot_be_written_down_does_not_hide_what_was_done() {
    let folder = Folder::new();
    let line = ["--sandbox", "--format", "json", "reconcile", "--vm", "web-3"];
    let mut run = Running::start(folder.sealed(&line));
    run.until("accepted");
    // No file can take the place of a folder that is not empty.
    let _ = fs::remove_file(folder.path(".fifo-retain/sandbox.json"));
    folder.write(".fifo-retain/sandbox.json/in-the-way", "");
    assert_eq!(run.until("finished")["created"], 1);
    let ended = run.end().code(0);
    assert!(ended.err.contains("warning: the sandbox failed to save its world: "), "{}", ended.err);
}

#[test]
fn quietly_a_run_tells_what_it_did_and_nothing_of_a_run_without_work() {
    let cloud = Cloud::of(1, 100);
    let ended = cloud.folder.ask(&cloud.fifo, &["-q", "reconcile"]).code(0);
    assert!(ended.out.contains("\nDone: 1 created, 1 deleted locally.\n"), "{ended:?}");
    let ended = cloud.folder.ask(&cloud.fifo, &["-q", "reconcile"]).code(0);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("", ""));
}

#[test]
fn a_message_during_an_upload_begins_a_line_of_its_own() {
    let cloud = Cloud::of(1, 60_000);
    let terminal = Terminal::of_kind(&cloud, &["-vv", "--color", "never", "reconcile"], "xterm");
    // The bar of the upload.
    terminal.until("]  ");
    terminal.until("  vm-1 daily");
    let answer = Effect::Answer { status: 503, retry_after_s: None, location: None };
    cloud.fifo.running().with(|state| state.faults.rules.push(Rule::new(answer).times(1)));
    terminal.until("debug: retrying");
    cloud.end_uploads();
    let ended = terminal.end().code(0);
    for (place, _) in ended.out.match_indices("debug: ").chain(ended.out.match_indices("trace: ")) {
        let before = &ended.out[..place];
        let is_free = ["\n", "\r", "\u{1b}[2K", "\u{1b}[1A"].iter().any(|end| before.ends_with(end));
        assert!(is_free, "{:?}", &ended.out[place.saturating_sub(80)..place + 20]);
    }
}

#[test]
fn a_vm_in_conflict_and_one_that_was_given_up_take_no_other_with_them() {
    // The first VM is claimed by two policies.
    let claimed = Cloud::of(2, 100);
    let policy = claimed.folder.read("policies/grandfather.yaml");
    let second = policy
        .replace("policy: small", "policy: second")
        .replace("  metadata: { fifo.backup: 1 }", "  alias: vm-1");
    claimed.folder.write("policies/second.yaml", &second);
    claimed.folder.ask(&claimed.fifo, &["reconcile"]).code(3);

    // The daily of the first VM has failed as often as the policy says, the last time a few minutes ago.
    let gave_up = Cloud::of(2, 100);
    let vm = gave_up.vms[0];
    gave_up.fifo.running().with(|state| {
        let ids: Vec<_> = (0..3).map(|_| state.world.new_uuid()).collect();
        let backups = &mut state.world.vms.get_mut(&vm.id).unwrap().backups;
        for (id, mins_ago) in ids.into_iter().zip([300, 200, 5]) {
            let mut failed = backups[&vm.daily].clone();
            failed.timestamp =
                Some((chrono::Utc::now() - chrono::TimeDelta::minutes(mins_ago)).timestamp_micros());
            (failed.state, failed.local) = (Some("failed".to_owned()), Some(false));
            backups.insert(id, failed);
        }
    });
    let ended = gave_up.folder.ask(&gave_up.fifo, &["reconcile"]).code(3);
    assert!(ended.out.contains("the daily failed 3 times"), "{}", ended.out);

    for cloud in [claimed, gave_up] {
        assert_eq!(cloud.made_and_local(cloud.vms[1]).0.len(), 1, "the other one is done");
    }
}
