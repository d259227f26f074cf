//! How the program behaves towards terminals, pipes and those who read its messages.

use crate::harness::{AT, Ended, Fifo, Folder};
use fifo_retain::policy::Zone;
use fifo_retain::sandbox::{BackupRequest, Options, Shape, Vm, World};
use serde_json::Value;
use std::io::Read as _;
use std::process::Stdio;
use unicode_width::UnicodeWidthStr as _;

/// Names that take more columns than letters, or fewer.
const ALIASES: [&str; 5] = [
    "データベース・バックアップ・サーバー一号機",
    "🚀-web-🌍",
    "cafe\u{301}-e\u{301}t\u{e9}",
    "an-alias-that-somebody-has-made-as-long-as-it-would-go-and-then-some-more-of-it-for-good-measure",
    "tab\there",
];

/// A FiFo with such names, in which each VM has a backup, and those a comment of wide letters.
fn with_wide_names() -> Fifo {
    let at = AT.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros();
    let mut world = World::new(Shape::default(), 1);
    world.upload_ms = 10;
    for alias in ALIASES {
        let id = world.new_uuid();
        let marked = serde_json::json!({"fifo": {"backup": 1}});
        world.vms.insert(id, Vm::new(alias, "hv-1").with("metadata", marked));
        for (comment, hours_ago) in [("monthly", 48), ("データ保存前", 24)] {
            let order = BackupRequest { comment: comment.to_owned(), parent: None, delete: false };
            world.create_backup(id, &order, at - hours_ago * 3_600_000_000).unwrap();
            world.advance(at - (hours_ago - 1) * 3_600_000_000);
        }
    }
    let clock = fifo_retain::sandbox::Clock::manual(at);
    Fifo::start(Options { world: Some(world), clock, ..Options::default() })
}

fn at_width(folder: &Folder, fifo: &Fifo, columns: usize, line: &[&str]) -> Ended {
    let mut command = folder.asking(fifo, line);
    command.env("COLUMNS", columns.to_string());
    Ended::of(assert_cmd::Command::from_std(command)).code(0)
}

#[test]
fn no_line_is_wider_than_the_columns_whatever_the_names() {
    let (folder, fifo) = (Folder::new(), with_wide_names());
    for line in [
        &["-v", "plan", "--at", AT][..],
        &["plan", "--at", AT],
        &["status", "--at", AT],
        &["-v", "status", "--at", AT],
        &["show", "*", "--at", AT],
        &["simulate", "--from", AT, "--days", "40", "--prune", "--against", "policies", "--vm", "*-web-*"],
    ] {
        for columns in [60, 61, 72, 80, 100, 132, 200] {
            let out = at_width(&folder, &fifo, columns, line).out;
            assert!(out.contains("🚀"), "{out}");
            // The last line is for programs as well, and never changes its form.
            let is_counts =
                |line: &&str| ["Plan: ", "Status: ", "Shown: "].iter().any(|word| line.starts_with(word));
            for output in out.lines().filter(|line| !is_counts(line)) {
                assert!(output.width() <= columns, "{line:?} at {columns}: {output}");
            }
        }
    }
}

#[test]
fn fewer_columns_than_sixty_are_taken_for_sixty() {
    let (folder, fifo) = (Folder::new(), with_wide_names());
    let line = ["status", "--at", AT];
    assert_eq!(at_width(&folder, &fifo, 20, &line).out, at_width(&folder, &fifo, 60, &line).out);
}

#[test]
fn no_color_is_heeded_and_an_option_goes_before_it() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    for line in [["plan", "--at", AT].as_slice(), &["status", "--at", AT], &["show", "app-1", "--at", AT]] {
        let output = |option: &[&str]| {
            let mut command = folder.asking(&fifo, &[option, line].concat());
            command.env("NO_COLOR", "1").env("CLICOLOR_FORCE", "1");
            Ended::of(assert_cmd::Command::from_std(command)).code(0).out
        };
        assert!(!output(&[]).contains('\u{1b}'), "{line:?}");
        assert!(output(&["--color", "always"]).contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn a_pipe_that_is_closed_early_is_no_failure() {
    let (folder, fifo) = (Folder::new(), Fifo::now());
    for line in [
        &["-v", "plan", "--out", "plan.json"][..],
        &["status"],
        &["show", "*"],
        &["schema"],
        &["completions", "zsh"],
        &["validate"],
        &["--help"],
    ] {
        let mut command = folder.asking(&fifo, line);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let err = if line.contains(&"--out") { "" } else { err.as_str() };
        assert_eq!((child.wait().unwrap().code(), err), (Some(0), ""), "{line:?}");
    }
    assert!(folder.path("plan.json").exists(), "it is saved before it is shown");
}

#[test]
fn every_message_of_a_log_in_json_is_json() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    // A warning about a policy that no VM matches, one about plain HTTP, and a mistake.
    let other =
        crate::harness::GRANDFATHER.replace("grandfather", "nobody").replace("fifo.backup: 1", "x.y: 1");
    folder.write("policies/nobody.yaml", &other);
    let warned = folder.ask(&fifo, &["--log-format", "json", "-v", "-v", "plan", "--at", AT]).code(0);
    let foreign = folder.ask(&fifo, &["--log-format", "json", "plan", "--vm", "##[group]\u{202e}*"]).code(1);
    folder.write("policies/broken.yaml", "version: 1\ntier: []\n");
    let failed = folder.ask(&fifo, &["--log-format", "json", "plan", "--at", AT]).code(1);
    let reconciled = {
        std::fs::remove_file(folder.path("policies/broken.yaml")).unwrap();
        let fifo = Fifo::start(Options { upload_ms: 20, ..Options::default() });
        folder.ask(&fifo, &["--log-format", "json", "reconcile"])
    };
    assert!(
        !foreign.err.contains("##[") && !foreign.err.contains('\u{202e}'),
        "it would act: {}",
        foreign.err
    );
    let mut levels = std::collections::BTreeSet::new();
    for err in [&warned.err, &failed.err, &foreign.err, &reconciled.err] {
        for line in err.lines() {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(event["timestamp"].is_string() && event["fields"]["message"].is_string(), "{line}");
            levels.insert(event["level"].as_str().unwrap().to_owned());
        }
    }
    assert!(levels.contains("WARN") && levels.contains("ERROR"), "{levels:?}");
}

#[test]
fn looking_sends_nothing_but_a_sign_in_and_reads() {
    let (folder, fifo) = (Folder::new(), Fifo::now());
    let looks =
        [&["check"][..], &["plan", "--prune"], &["status"], &["show", "*"], &["simulate", "--days", "2"]];
    for line in looks {
        folder.ask(&fifo, line);
        let asked = fifo.running().with(|state| state.requests.drain(..).collect::<Vec<_>>());
        let is_harmless =
            |method: &str, path: &str| method == "GET" || (method, path) == ("POST", "/api/3/oauth/token");
        assert!(asked.len() > 1, "{line:?}");
        assert!(
            asked.iter().all(|it| is_harmless(&it.request.method, it.request.path())),
            "{line:?}: {asked:?}"
        );
    }
}

#[test]
fn the_version_names_the_release_of_the_time_zones() {
    let version = Folder::new().run(&["--version"]).code(0).out;
    let zones = Zone::database_version().unwrap();
    assert_eq!(version, format!("fifo-retain {} (tz database {zones})\n", env!("CARGO_PKG_VERSION")));
}
