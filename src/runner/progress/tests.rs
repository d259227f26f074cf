use super::*;
use crate::report::Styles;
use crate::runner::host::Host;
use std::sync::Arc;
use uuid::Uuid;

const MIB: u64 = 1 << 20;

/// What was written to standard output and to standard error.
type Written = Arc<Mutex<[String; 2]>>;

fn progress(detail: Detail, columns: Option<usize>) -> (Progress, Written) {
    let mut shown = Host::for_tests("x".as_ref()).output;
    (shown.text.detail, shown.out_columns) = (detail, columns);
    if columns.is_some() {
        shown.text.styles = Styles::Colored;
    }
    let written = Written::default();
    let to = Arc::clone(&written);
    let write = move |stream, text: &str| {
        to.lock().unwrap()[usize::from(stream == Stream::Err)].push_str(text);
    };
    (Progress::new(&shown, Box::new(write)), written)
}

fn texts(written: &Written) -> [String; 2] {
    written.lock().unwrap().clone()
}

fn observe(progress: &Progress, secs: i64, what: EventKind) {
    progress.observe(&Event { time: DateTime::UNIX_EPOCH + TimeDelta::seconds(secs), what });
}

fn at(vm: u128, alias: &str) -> VmRef {
    VmRef { vm: VmId::new(Uuid::from_u128(vm)), alias: alias.to_owned() }
}

fn id(backup: u128) -> BackupId {
    BackupId::new(Uuid::from_u128(backup))
}

fn started(create: usize, expected_bytes: u64) -> EventKind {
    let (endpoint, expected_bytes) = (String::new(), Some(expected_bytes));
    EventKind::Started { endpoint, create, delete_local: 0, delete_cloud: 0, expected_bytes }
}

fn accepted(vm: u128, alias: &str, backup: u128, bytes: u64) -> EventKind {
    let (tier, expected_bytes) = ("daily".to_owned(), Some(bytes));
    EventKind::Accepted { at: at(vm, alias), backup: id(backup), tier, expected_bytes }
}

fn read(vm: u128, alias: &str, backup: u128, bytes: u64) -> EventKind {
    EventKind::Progress { at: at(vm, alias), backup: id(backup), tier: "daily".to_owned(), bytes }
}

fn ended(at: VmRef, kind: ActionKind, backup: Option<u128>, outcome: ActionOutcome) -> EventKind {
    let step = ActionRef { kind, tier: "daily".to_owned(), parent: None, backup: backup.map(id) };
    EventKind::ActionEnded { at, step, outcome, code: "code", message: "so".to_owned() }
}

#[test]
fn quiet_reports_only_what_did_not_go_well() {
    let (progress, written) = progress(Detail::Brief, None);
    for outcome in [
        ActionOutcome::Done,
        ActionOutcome::Started,
        ActionOutcome::HandedOver,
        ActionOutcome::Failed,
        ActionOutcome::Unverified,
    ] {
        observe(&progress, 0, ended(at(1, "web-1"), ActionKind::DeleteLocal, None, outcome));
    }
    let lines = "web-1  delete locally daily: failed, so\nweb-1  delete locally daily: unverified, so\n";
    assert_eq!(texts(&written), [lines, ""]);
}

#[test]
fn what_ends_alike_on_a_vm_is_a_line_and_a_count() {
    for detail in [Detail::Errors, Detail::Brief, Detail::Usual] {
        let (progress, written) = progress(detail, None);
        for backup in 0..27 {
            let (kind, outcome) = (ActionKind::DeleteCloud, ActionOutcome::Failed);
            observe(&progress, 0, ended(at(1, "web-1"), kind, Some(backup), outcome));
        }
        let tally = RunCounts { failed: 27, ..RunCounts::default() };
        observe(&progress, 0, EventKind::Finished { tally });
        let [out, _] = texts(&written);
        let about: Vec<&str> = out.lines().filter(|line| line.contains("web-1")).collect();
        let more = "web-1  delete from storage: failed, 26 more (each is in the journal)";
        assert_eq!(about, ["web-1  delete from storage daily: failed, so", more]);
    }
}

#[test]
fn vms_that_had_not_started_are_one_line_and_progress_counts_the_whole_run() {
    let (progress, written) = progress(Detail::Usual, None);
    observe(&progress, 0, started(4, 41 * MIB));
    let step = ActionRef { kind: ActionKind::Create, tier: "daily".to_owned(), parent: None, backup: None };
    observe(&progress, 0, EventKind::ActionStarted { at: at(1, "web-1"), step });
    observe(&progress, 0, accepted(1, "web-1", 1, 11 * MIB));
    for secs in [0, 31] {
        observe(&progress, secs, read(1, "web-1", 1, MIB));
    }
    for vm in 1..=4 {
        let what = ended(at(vm, &format!("web-{vm}")), ActionKind::Create, None, ActionOutcome::Interrupted);
        observe(&progress, 32, what);
    }
    let tally = RunCounts { interrupted: 4, ..RunCounts::default() };
    observe(&progress, 33, EventKind::Finished { tally });
    let out = "web-1  create daily: interrupted, so\n3 VMs had not started and are left to the next run\n\n\
               Done: 0 created, 0 deleted locally; 4 interrupted.\n";
    let err = "0 of 4 backups done, 1 uploading, 3 waiting; about 21 min left: web-1 daily 1.0 MiB of about 11.0 MiB, about 6 min \
               left\n";
    assert_eq!(texts(&written), [out, err]);
}

#[test]
fn of_two_vms_of_one_alias_the_end_of_one_upload_leaves_the_other() {
    for backup in [Some(11), None] {
        let (progress, written) = progress(Detail::Usual, None);
        observe(&progress, 0, started(3, 30 * MIB));
        for (vm, backup) in [(1, 11), (2, 12)] {
            observe(&progress, 0, accepted(vm, "web", backup, 10 * MIB));
        }
        observe(&progress, 10, read(2, "web", 12, 5 * MIB));
        let outcome = if backup.is_some() { ActionOutcome::Done } else { ActionOutcome::Failed };
        observe(&progress, 11, ended(at(1, "web"), ActionKind::Create, backup, outcome));
        observe(&progress, 50, read(2, "web", 12, 6 * MIB));
        let [_, err] = texts(&written);
        let line = "1 of 3 backups done, 1 uploading, 1 waiting; about 117 s left: web daily 6.0 MiB of about 10.0 MiB, about 34 s \
                    left\n";
        assert_eq!(err, line);
    }
}

#[test]
fn colours_take_no_columns() {
    let (progress, written) = progress(Detail::Usual, Some(40));
    observe(&progress, 0, ended(at(1, "web-1"), ActionKind::Create, None, ActionOutcome::Done));
    let [out, _] = texts(&written);
    assert!(out.contains("\u{1b}[") && out.lines().count() == 1, "{out:?}");
}
