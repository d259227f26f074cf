use super::*;
use crate::insight::status::{BackupHealth, VmHealth};
use crate::report::run::{FORMAT, lines, notification};
use crate::report::{Exit, Failure, RunSummary};

fn failed(cause: &str) -> RunSummary {
    RunSummary {
        failure: Some(Failure::new(cause.to_owned())),
        report: None,
        overview: None,
        ..run("web-1", Exit::Failed, "")
    }
}

fn payload(run: &RunSummary) -> serde_json::Value {
    let body = notification(run).unwrap();
    assert!(body.len() < 60_000, "{} bytes", body.len());
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn a_run_that_came_to_nothing_says_why_and_invents_nothing() {
    let payload = payload(&failed("could not read \u{1b}[2J it"));
    assert_eq!(payload["format"], FORMAT);
    assert_eq!((&payload["outcome"], &payload["exit_code"]), (&"failed".into(), &1.into()));
    assert_eq!(payload["text"], "reconcile: failed (exit code 1). could not read \\u{1b}[2J it");
    assert_eq!(payload["problems"][0]["code"], "run_failed");
    assert!(
        payload["vms"].is_null() && payload["actions"].is_null() && payload["endpoint"].is_null(),
        "{payload}"
    );
}

#[test]
fn beyond_fifty_problems_the_others_are_counted_and_nothing_makes_it_long() {
    let vm = VmHealth {
        verdict: BackupHealth::NoBackup,
        newest: None,
        notes: Vec::new(),
        ..health(&"web".repeat(1_000))
    };
    let overview = overview(vec![vm; 1_500]);
    let payload = payload(&RunSummary { overview: Some(overview), ..failed(&"ä".repeat(100_000)) });
    assert_eq!(payload["problems"].as_array().unwrap().len(), 50);
    assert_eq!((&payload["more_problems"], &payload["vms"]["no_backup"]), (&1_451.into(), &1_500.into()));
    assert_eq!(payload["problems"][0]["code"], "run_failed", "the most urgent first");
    assert!(lines(&failed(&"ä".repeat(100)), 300).starts_with("reconcile: failed"));
}

#[test]
fn the_page_is_as_urgent_as_the_worst_of_it_and_needs_nothing_from_outside() {
    let names = ["vm-10", "vm-2", "vm-1"];
    let mut done = run("vm-1", Exit::Done, "no slot was free");
    done.overview = Some(overview(names.map(health).into()));
    done.identity = Some("as `ops`, API version 3".to_owned());
    let mut history = RunHistory::default();
    history.enter(done);
    let page = page::page(&history, at("2026-11-22 21:00").to_utc());
    for words in [
        "<p class=\"bad\">Last run: done; VMs: 3 too old</p>",
        "Backups of https://fifo, read as `ops`, API version 3",
        "<summary>What is wrong with 3 VMs, and what to do</summary>",
        "too old: 3 VMs<span class=\"quiet\"> · grandfather, at most 26 h old</span>",
        "<summary>What the last run did: 1 action</summary>",
        "those of backups in UTC.",
    ] {
        assert!(page.contains(words), "{words} is not in\n{page}");
    }
    let place = |name: &str| page.find(&format!("\">{name}</a></th>"));
    assert!(place("vm-1").is_some(), "{page}");
    assert!(place("vm-1") < place("vm-2") && place("vm-2") < place("vm-10"), "{page}");
    for word in ["src=", "href=\"http", "url(", "@import", "<script", "<link", "<form", "http-equiv"] {
        assert!(!page.contains(word), "{word} is in\n{page}");
    }
}

#[test]
fn before_the_first_run_there_is_a_page_too_and_no_alias_writes_html() {
    let now = at("2026-11-22 21:00").to_utc();
    let empty = page::page(&RunHistory::default(), now);
    assert!(empty.contains("No run has ended yet") && empty.contains("No FiFo has been read yet"), "{empty}");
    let overview = Some(overview(vec![health("<script>alert(1)</script>\"'&")]));
    let page = page::page(&RunHistory { overview, ..RunHistory::default() }, now);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
}

#[test]
fn the_page_of_a_vm_says_what_the_last_run_did_to_it_and_what_was_being_uploaded_then() {
    let mut done = run("web-1", Exit::SomeFailed, "no slot was free");
    let note = Note::vm(NoteCode::InProgress, "a daily has been uploading since 01:02, 3.1 GiB so far");
    done.overview.as_mut().unwrap().vms[0].notes.push(note);
    let mut history = RunHistory { next_run: Some(done.began), ..RunHistory::default() };
    history.enter(done);
    let mut explained = explained("web-1", "by hand");
    let page = |explained: &_| super::super::html::vm::page(explained, &[], None, Some(&history));
    let (its, fleet) = (page(&explained), page::page(&history, at("2026-11-22 21:00").to_utc()));
    explained.vms[0].uuid = None;
    let others = page(&explained);
    for words in [
        "Ended 2026-11-22 20:00:00 UTC. reconcile: some_failed",
        "The next run begins 2026-11-22 20:00:00 UTC",
    ] {
        assert!(its.contains(words) && others.contains(words), "{words} is not in\n{its}");
    }
    let uploads = "a daily has been uploading since 01:02, 3.1 GiB so far (as of 2026-11-22 20:00:00 UTC)";
    assert!(its.contains("create, failed: no slot was free") && its.contains(uploads), "{its}");
    assert!(fleet.contains(&format!("web-1: {uploads}")), "{fleet}");
    assert!(
        others.contains("It did nothing to this VM.") && !others.contains("no slot was free"),
        "{others}"
    );
}
