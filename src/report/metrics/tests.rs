use super::*;
use crate::apply::{ActionKind, ActionOutcome, ActionReport, Alarm, RunReport, VmRef, VmReport};
use crate::insight::status::{BackupHealth, TierHealth, VmHealth};
use crate::inventory::VmId;
use crate::report::tests::fixtures::{self, backup, health};
use crate::report::{Exit, RunSummary};
use crate::verify::{KnownVm, Proof, Restored};
use chrono::TimeDelta;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

fn at() -> DateTime<Utc> {
    fixtures::at("2026-11-22 21:00").to_utc()
}

/// A VM whose newest backup is 19 h old.
fn vm(number: u128, alias: &str, verdict: BackupHealth) -> VmHealth {
    let is_managed = matches!(verdict, BackupHealth::Safe | BackupHealth::TooOld);
    let mut vm = VmHealth {
        uuid: Some(VmId::new(Uuid::from_u128(number))),
        verdict,
        notes: Vec::new(),
        ..health(alias)
    };
    let newest = vm.newest.as_mut().unwrap();
    (newest.taken, newest.age_secs) = ((at() - TimeDelta::hours(19)).fixed_offset(), 19 * 3_600);
    if !is_managed {
        (vm.policy, vm.newest, vm.max_age_secs) = (None, None, None);
    }
    vm
}

fn overview(mut vms: Vec<VmHealth>) -> Health {
    let tier = |name: &str, newest| TierHealth { tier: name.into(), newest, is_up_to_date: newest.is_some() };
    for vm in vms.iter_mut().filter(|vm| vm.policy.is_some()) {
        vm.tiers = vec![tier("weekly", None), tier("daily", Some(at()))];
    }
    fixtures::overview(vms)
}

fn metrics_of(vms: Vec<VmHealth>) -> String {
    metrics_of_runs(&RunHistory { overview: Some(overview(vms)), ..RunHistory::default() })
}

fn metrics_of_runs(history: &RunHistory) -> String {
    text(history, at(), Dialect::Prometheus)
}

fn a_run() -> RunSummary {
    let at_vm = VmRef { vm: VmId::new(Uuid::nil()), alias: "web-1".to_owned() };
    let step = |kind, ending| ActionReport { kind, ending, code: "code", message: String::new() };
    let steps = vec![
        step(ActionKind::Create, ActionOutcome::Done),
        step(ActionKind::DeleteLocal, ActionOutcome::Done),
        step(ActionKind::DeleteLocal, ActionOutcome::Done),
        step(ActionKind::DeleteLocal, ActionOutcome::Failed),
    ];
    let gone = [1, 2].map(backup);
    let alarm = Alarm::vanished(at(), &at_vm, ActionKind::DeleteLocal, gone[0], gone.to_vec());
    RunSummary {
        report: Some(RunReport {
            vms: vec![VmReport { at: at_vm, steps }],
            alarms: vec![alarm],
            uncompared: Vec::new(),
            interrupted: false,
        }),
        overview: Some(overview(vec![vm(1, "web-1", BackupHealth::Safe)])),
        refused_deletes: Some(40),
        ended: at(),
        exit: Exit::Done,
        ..RunSummary::new("reconcile", at() - TimeDelta::milliseconds(90_500))
    }
}

fn looped() -> RunHistory {
    RunHistory { every: Some(Duration::from_secs(900)), ..RunHistory::default() }
}

#[test]
fn a_vm_has_a_series_of_each_kind_and_a_tier_too() {
    let text = metrics_of(vec![vm(1, "web-1", BackupHealth::Safe)]);
    let labels = r#"vm="00000000-0000-0000-0000-000000000001",alias="web-1",policy="grandfather""#;
    for line in [
        format!("fifo_retain_vm_safe{{{labels}}} 1"),
        format!("fifo_retain_vm_newest_restorable_timestamp_seconds{{{labels}}} 1795309200"),
        format!("fifo_retain_vm_max_age_seconds{{{labels}}} 93600"),
        format!("fifo_retain_vm_restore_steps{{{labels}}} 3"),
        format!("fifo_retain_vm_restore_bytes{{{labels}}} 3221225472"),
        format!("fifo_retain_vm_local_snapshots{{{labels}}} 2"),
        format!("fifo_retain_vm_local_bytes{{{labels}}} 4096"),
        format!("fifo_retain_newest_restorable_timestamp_seconds{{{labels},tier=\"daily\"}} 1795377600"),
        format!("fifo_retain_up_to_date{{{labels},tier=\"weekly\"}} 0"),
        "fifo_retain_vms{status=\"up_to_date\"} 1".to_owned(),
        "fifo_retain_vms{status=\"unreadable\"} 0".to_owned(),
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    let newest = text.lines().filter(|line| line.starts_with("fifo_retain_newest_restorable"));
    assert_eq!(newest.count(), 1, "a tier without a backup has no newest one:\n{text}");
    assert!(!text.contains("last_run") && !text.contains("_total"), "there was no run:\n{text}");
}

#[test]
fn an_alias_can_neither_end_its_quotes_nor_its_line() {
    let text = metrics_of(vec![vm(1, "a\"} 1\nb\\\u{1b}[2J\u{202e}", BackupHealth::Safe)]);
    assert!(text.contains(r#"alias="a\"} 1\\nb\\\\u{1b}[2J\\u{202e}""#), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("fifo_retain_"), "{line}");
    }
}

#[test]
fn one_in_conflict_is_not_safe_one_in_no_policy_is_not_reported_and_none_is_reported_twice() {
    let nameless = VmHealth { uuid: None, ..vm(4, "", BackupHealth::Unreadable) };
    let text = metrics_of(vec![
        vm(1, "c", BackupHealth::Conflict),
        vm(2, "u", BackupHealth::Unprotected),
        vm(3, "r", BackupHealth::Unreadable),
        vm(3, "r", BackupHealth::Unreadable),
        nameless,
    ]);
    let safe: Vec<&str> = text.lines().filter(|line| line.starts_with("fifo_retain_vm_safe{")).collect();
    assert_eq!(safe.len(), 2, "{text}");
    assert!(safe.iter().all(|line| line.ends_with(" 0")), "{text}");
    assert!(!text.contains("fifo_retain_vm_local"), "no policy protects these:\n{text}");
}

#[test]
fn a_vm_that_has_vanished_leaves_nothing_behind() {
    let mut history = looped();
    history.enter(a_run());
    assert!(metrics_of_runs(&history).contains("web-1"));
    history
        .enter(RunSummary { overview: Some(overview(vec![vm(2, "web-2", BackupHealth::Safe)])), ..a_run() });
    let text = metrics_of_runs(&history);
    assert!(text.contains("web-2") && !text.contains("web-1"), "{text}");
}

#[test]
fn what_was_read_is_kept_in_a_loop_and_grows_old() {
    let mut history = looped();
    history.enter(a_run());
    history.enter(RunSummary { ended: at(), exit: Exit::Failed, ..RunSummary::new("reconcile", at()) });
    let later = text(&history, at() + TimeDelta::hours(8), Dialect::Prometheus);
    assert!(later.contains("policy=\"grandfather\"} 0\n# HELP fifo_retain_vm_newest"), "27 h old:\n{later}");
    assert!(later.contains("\nfifo_retain_last_run_exit_code 1\n"), "{later}");
    assert!(!later.contains("last_run_actions"), "that run had none:\n{later}");
    assert!(later.contains(&format!("\nfifo_retain_inventory_timestamp_seconds {}\n", at().timestamp())));
}

#[test]
fn counters_survive_from_run_to_run_and_are_for_loops_only() {
    let mut history = looped();
    history.enter(a_run());
    history.enter(a_run());
    let text = metrics_of_runs(&history);
    for line in [
        "fifo_retain_actions_total{action=\"delete_local\",outcome=\"done\"} 4",
        "fifo_retain_last_run_actions{action=\"delete_local\",outcome=\"done\"} 2",
        "fifo_retain_runs_total{outcome=\"done\"} 2",
        "fifo_retain_last_run_duration_seconds 90.5",
        "fifo_retain_last_run_vanished_backups 2",
        "fifo_retain_last_run_refused_deletes 40",
        "fifo_retain_run_interval_seconds 900.0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    let mut once = RunHistory::default();
    once.enter(a_run());
    let text = metrics_of_runs(&once);
    assert!(!text.contains("_total") && text.contains("fifo_retain_last_run_actions{"), "{text}");
}

#[test]
fn every_metric_can_come_about_and_is_named_as_prometheus_wants_it() {
    let mut history = looped();
    history.enter(a_run());
    history.next_run = Some(at());
    let proof =
        Proof { listed_at: Some(at()), connects_at: Some(at()), read_at: Some(at()), ..Proof::default() };
    let restored = Restored { backup: backup(1), at: at(), took_secs: 60, size_bytes: 1 };
    let known = KnownVm { proof, restored: Some(restored), ..KnownVm::default() };
    history.verified.insert(VmId::new(Uuid::nil()), known);
    let text = metrics_of_runs(&history);
    let mut names = BTreeSet::new();
    for metric in METRICS {
        assert!(names.insert(metric.name), "{} is there twice", metric.name);
        assert!(
            text.contains(&format!("\n{}", metric.name)) || text.starts_with(metric.name),
            "{}",
            metric.name
        );
        assert!(!metric.help.ends_with('.') && !metric.help.contains('\n'), "{}", metric.help);
    }
}

#[test]
fn both_dialects_say_the_same_each_in_its_way() {
    let mut history = looped();
    history.enter(a_run());
    let [prometheus, open] = [Dialect::Prometheus, Dialect::OpenMetrics].map(|it| text(&history, at(), it));
    assert!(prometheus.contains("# TYPE fifo_retain_runs_total counter\n"), "{prometheus}");
    assert!(open.contains("# TYPE fifo_retain_runs counter\n") && open.ends_with("# EOF\n"), "{open}");
    assert!(!prometheus.contains("# EOF"), "{prometheus}");
    let samples = |text: &str| -> BTreeMap<String, String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.rsplit_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    };
    assert_eq!(samples(&prometheus), samples(&open));
}
