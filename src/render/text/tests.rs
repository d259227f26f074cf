use super::*;
use crate::inventory::{BackupId, VmId};
use crate::plan::{
    Action, BackupKind, Create, DeleteCloud, DeleteLocal, FORMAT, Note, NoteCode, SnapshotUsage, Status,
    SuspendedUntil,
};
use crate::policy::Name;
use crate::render::Styles;
use crate::render::cells::width;
use chrono::{DateTime, FixedOffset};
use uuid::Uuid;

fn at(text: &str) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(&format!("{}:00+01:00", text.replace(' ', "T"))).unwrap()
}

fn backup(n: u128) -> BackupId {
    BackupId::new(Uuid::from_u128(n << 96))
}

fn vm(alias: &str, policy: &str, status: Status) -> VmPlan {
    VmPlan {
        uuid: Some(VmId::new(Uuid::from_u128(0x4fa4_4310 << 96))),
        alias: alias.to_owned(),
        policy: Some(policy.into()).filter(|policy: &Name| !policy.is_empty()),
        status,
        fingerprint: None,
        suspended: None,
        actions: Vec::new(),
        unmanaged: SnapshotUsage::default(),
        stored: 0,
        refused_deletes: 0,
        notes: Vec::new(),
    }
}

fn weekly() -> Action {
    Action::Create(Create {
        tier: "weekly".to_owned(),
        kind: BackupKind::Incremental,
        parent: Some(backup(0xa1)),
        parent_tier: Some("monthly".to_owned()),
        parent_taken: Some(at("2026-11-01 01:00")),
        comment: "weekly".to_owned(),
        due_since: at("2026-11-22 01:00"),
        reason: "due since Sun 2026-11-22 01:00".to_owned(),
        is_retry: false,
    })
}

fn full(tier: &str) -> Action {
    Action::Create(Create {
        tier: tier.to_owned(),
        kind: BackupKind::Full,
        parent: None,
        parent_tier: None,
        parent_taken: None,
        comment: tier.to_owned(),
        due_since: at("2026-11-01 01:00"),
        reason: "due since Sun 2026-11-01 01:00, try 2 of 3".to_owned(),
        is_retry: true,
    })
}

fn delete(tier: &str, taken: &str, after_create: bool) -> Action {
    let reason =
        if after_create { "once the new weekly is complete" } else { "no longer needed as a parent" };
    Action::DeleteLocal(DeleteLocal {
        backup: Some(backup(0xd1)),
        tier: tier.to_owned(),
        taken: Some(at(taken)),
        after_create,
        reason: reason.to_owned(),
    })
}

fn of(vms: Vec<VmPlan>, summary: Summary) -> Plan {
    Plan {
        format: FORMAT.to_owned(),
        tool: String::new(),
        at: at("2026-11-22 21:00").to_utc(),
        valid_until: None,
        endpoint: "https://fifo.example.com".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        policies: Vec::new(),
        summary,
        vms,
        checksum: String::new(),
    }
}

/// One VM of each kind.
fn cloud() -> Plan {
    let mut web = vm("web-1", "grandfather", Status::Changes);
    web.actions = vec![
        delete("daily", "2026-11-20 01:00", false),
        weekly(),
        delete("monthly", "2026-11-01 01:00", true),
        delete("daily", "2026-11-21 01:00", true),
    ];
    web.notes = vec![
        Note::backup(backup(0xf1), NoteCode::FailedBackup, "the weekly of 2026-11-22 01:00 failed"),
        Note::vm(
            NoteCode::Expired,
            "21 daily backups since 2026-10-01 01:00 (5.0 GiB) are no longer kept by the policy; nothing deletes them",
        ),
    ];
    let mut db = vm("db-2", "databases", Status::Blocked);
    db.notes = vec![Note::vm(
        NoteCode::NoHypervisor,
        "on no hypervisor (stored); its newest restorable backup is the daily of 2026-10-30 01:00",
    )];
    let mut app = vm("app-7", "grandfather", Status::Waiting);
    app.notes = vec![Note::backup(
        backup(1),
        NoteCode::InProgress,
        "a daily has been uploading since 2026-11-22 01:02, 3.1 GiB so far",
    )];
    let mut held = vm("mail-1", "grandfather", Status::Changes);
    held.actions = vec![full("monthly")];
    let (until, reason) = ("2026-12-24".parse().unwrap(), "storage move".to_owned());
    held.suspended = Some(Box::new(SuspendedUntil { until, reason }));
    held.notes = vec![Note::vm(NoteCode::Suspended, "nothing is carried out until 2026-12-24: storage move")];
    let mut torn = vm("", "", Status::Unreadable);
    torn.uuid = None;
    torn.notes = vec![Note::vm(NoteCode::Unreadable, "could not be read completely: uuid: missing")];
    let mut both = vm("cache-3", "", Status::Conflict);
    both.notes = vec![Note::vm(
        NoteCode::PolicyConflict,
        "claimed by a and b with the same priority (0); give one a higher `priority` or exclude it from the others",
    )];
    let mut free = vm("scratch", "", Status::Unprotected);
    free.notes = vec![Note::vm(NoteCode::Unprotected, "matches no policy")];
    let mut calm = vm("dns-1", "grandfather", Status::UpToDate);
    calm.notes = vec![
        Note::vm(
            NoteCode::SuspensionEnded,
            "the suspension until 2026-11-01 (move) has ended; remove it from the policy",
        ),
        Note::backup(
            backup(2),
            NoteCode::Hollow,
            "the daily of 2026-11-02 01:00 is marked as completed but nearly empty (51 B); it counts as failed",
        ),
    ];
    let summary = Summary {
        create: 1,
        delete_local: 3,
        delete_cloud: 0,
        up_to_date: 1,
        waiting: 1,
        blocked: 1,
        unprotected: 1,
        conflict: 1,
        unmanaged: SnapshotUsage { snapshots: 3, size_bytes: 14 << 30 },
        stored: 0,
        fault: 0,
        unreadable: 1,
        suspended: 1,
    };
    of(vec![torn, app, both, db, calm, held, free, web], summary)
}

fn written(plan_: &Plan, columns: usize, detail: Detail, styles: Styles) -> String {
    let mut out = Vec::new();
    plan(plan_, PlanExtras::default(), &TextOptions { styles, columns, detail }, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn plain(plan: &Plan, columns: usize, detail: Detail) -> String {
    written(plan, columns, detail, Styles::plain())
}

#[test]
fn every_kind_of_vm_is_reported_in_words() {
    insta::assert_snapshot!(plain(&cloud(), 130, Detail::Usual), @r"
    (no alias)  (no UUID)
      ! unreadable      could not be read completely: uuid: missing
    app-7  4fa44310  grandfather
      . waiting         a daily has been uploading since 2026-11-22 01:02, 3.1 GiB so far
    cache-3  4fa44310
      ! conflict        claimed by a and b with the same priority (0); give one a higher `priority` or exclude it from the others
    db-2  4fa44310  databases
      ! blocked         on no hypervisor (stored); its newest restorable backup is the daily of 2026-10-30 01:00
    mail-1  4fa44310  grandfather
      ~ suspended       nothing is carried out until 2026-12-24: storage move
      ~ would create    monthly, full                                           due since Sun 2026-11-01 01:00, try 2 of 3
    web-1  4fa44310  grandfather
      - delete locally  daily of 2026-11-20 01:00                               no longer needed as a parent
      + create          weekly, incremental on the monthly of 2026-11-01 01:00  due since Sun 2026-11-22 01:00
      - delete locally  monthly of 2026-11-01 01:00                             once the new weekly is complete
      - delete locally  daily of 2026-11-21 01:00                               once the new weekly is complete

    Policy grandfather: the suspension until 2026-11-01 (move) has ended; remove it from the policy.
    Problems: 1 failed backup, 1 hollow backup on 2 VMs. -v shows which.
    Unmanaged: 3 snapshots, 14.0 GiB of quota, which no tier is for.
    Left alone: 1 in conflict, 1 unreadable, 1 suspended.
    Plan: 1 to create, 3 to delete locally; 1 up to date, 1 waiting, 1 blocked, 1 unprotected.
    ");
}

#[test]
fn with_detail_every_vm_every_note_and_every_backup_is_named() {
    insta::assert_snapshot!(plain(&cloud(), 130, Detail::Full), @r"
    (no alias)  (no UUID)
      ! unreadable      could not be read completely: uuid: missing
    app-7  4fa44310  grandfather
      . waiting         a daily has been uploading since 2026-11-22 01:02, 3.1 GiB so far
    cache-3  4fa44310
      ! conflict        claimed by a and b with the same priority (0); give one a higher `priority` or exclude it from the others
    db-2  4fa44310  databases
      ! blocked         on no hypervisor (stored); its newest restorable backup is the daily of 2026-10-30 01:00
    dns-1  4fa44310  grandfather
      = up to date
      ! not suspended   the suspension until 2026-11-01 (move) has ended; remove it from the policy
      ! hollow          the daily of 2026-11-02 01:00 is marked as completed but nearly empty (51 B); it counts as failed
    mail-1  4fa44310  grandfather
      ~ suspended       nothing is carried out until 2026-12-24: storage move
      ~ would create    monthly, full                                                      due since Sun 2026-11-01 01:00, try 2 of 3
    scratch  4fa44310
        unprotected     matches no policy
    web-1  4fa44310  grandfather
      - delete locally  daily of 2026-11-20 01:00 (000000d1)                               no longer needed as a parent
      + create          weekly, incremental on the monthly of 2026-11-01 01:00 (000000a1)  due since Sun 2026-11-22 01:00
      - delete locally  monthly of 2026-11-01 01:00 (000000d1)                             once the new weekly is complete
      - delete locally  daily of 2026-11-21 01:00 (000000d1)                               once the new weekly is complete
      ! failed          the weekly of 2026-11-22 01:00 failed
        expired         21 daily backups since 2026-10-01 01:00 (5.0 GiB) are no longer kept by the policy; nothing deletes them

    Policy grandfather: the suspension until 2026-11-01 (move) has ended; remove it from the policy.
    Problems: 1 failed backup, 1 hollow backup on 2 VMs.
    Unmanaged: 3 snapshots, 14.0 GiB of quota, which no tier is for.
    Left alone: 1 in conflict, 1 unreadable, 1 suspended.
    Plan: 1 to create, 3 to delete locally; 1 up to date, 1 waiting, 1 blocked, 1 unprotected.
    ");
}

#[test]
fn eighty_columns_are_enough() {
    insta::assert_snapshot!(plain(&cloud(), 80, Detail::Usual), @r"
    (no alias)  (no UUID)
      ! unreadable      could not be read completely: uuid: missing
    app-7  4fa44310  grandfather
      . waiting         a daily has been uploading since 2026-11-22 01:02, 3.1 GiB
                        so far
    cache-3  4fa44310
      ! conflict        claimed by a and b with the same priority (0); give one a
                        higher `priority` or exclude it from the others
    db-2  4fa44310  databases
      ! blocked         on no hypervisor (stored); its newest restorable backup is
                        the daily of 2026-10-30 01:00
    mail-1  4fa44310  grandfather
      ~ suspended       nothing is carried out until 2026-12-24: storage move
      ~ would create    monthly, full                due since Sun 2026-11-01 01:00,
                                                     try 2 of 3
    web-1  4fa44310  grandfather
      - delete locally  daily of 2026-11-20 01:00    no longer needed as a parent
      + create          weekly, incremental on the   due since Sun 2026-11-22 01:00
                        monthly of 2026-11-01 01:00
      - delete locally  monthly of 2026-11-01 01:00  once the new weekly is complete
      - delete locally  daily of 2026-11-21 01:00    once the new weekly is complete

    Policy grandfather: the suspension until 2026-11-01 (move) has ended; remove it
    from the policy.
    Problems: 1 failed backup, 1 hollow backup on 2 VMs. -v shows which.
    Unmanaged: 3 snapshots, 14.0 GiB of quota, which no tier is for.
    Left alone: 1 in conflict, 1 unreadable, 1 suspended.
    Plan: 1 to create, 3 to delete locally; 1 up to date, 1 waiting, 1 blocked, 1 unprotected.
    ");
}

#[test]
fn on_sixty_columns_reasons_go_below() {
    let mut web = cloud();
    web.vms.retain(|vm| vm.alias == "web-1");
    insta::assert_snapshot!(plain(&web, 60, Detail::Usual), @r"
    web-1  4fa44310  grandfather
      - delete locally  daily of 2026-11-20 01:00
                        no longer needed as a parent
      + create          weekly, incremental on the monthly of
                        2026-11-01 01:00
                        due since Sun 2026-11-22 01:00
      - delete locally  monthly of 2026-11-01 01:00
                        once the new weekly is complete
      - delete locally  daily of 2026-11-21 01:00
                        once the new weekly is complete

    Problems: 1 failed backup on 1 VM. -v shows which.
    Unmanaged: 3 snapshots, 14.0 GiB of quota, which no tier is
    for.
    Left alone: 1 in conflict, 1 unreadable, 1 suspended.
    Plan: 1 to create, 3 to delete locally; 1 up to date, 1 waiting, 1 blocked, 1 unprotected.
    ");
}

#[test]
fn briefly_only_the_counts_are_reported() {
    insta::assert_snapshot!(plain(&cloud(), 100, Detail::Brief), @r"
    Policy grandfather: the suspension until 2026-11-01 (move) has ended; remove it from the policy.
    Problems: 1 failed backup, 1 hollow backup on 2 VMs. -v shows which.
    Left alone: 1 in conflict, 1 unreadable, 1 suspended.
    Plan: 1 to create, 3 to delete locally; 1 up to date, 1 waiting, 1 blocked, 1 unprotected.
    ");
}

#[test]
fn a_plan_without_changes_is_one_line() {
    let summary = Summary { up_to_date: 9, unprotected: 1, ..Summary::default() };
    let calm = vm("dns-1", "grandfather", Status::UpToDate);
    assert_eq!(
        plain(&of(vec![calm], summary), 80, Detail::Usual),
        "Plan: 0 to create, 0 to delete locally; 9 up to date, 0 waiting, 0 blocked, 1 unprotected.\n"
    );
}

#[test]
fn a_new_backups_own_snapshot_that_goes_is_a_delete_of_its_own() {
    let mut web = vm("web-1", "grandfather", Status::Changes);
    let delete_new = DeleteLocal {
        backup: None,
        tier: "weekly".to_owned(),
        taken: None,
        after_create: true,
        reason: "not needed once it is complete".to_owned(),
    };
    web.actions = vec![weekly(), Action::DeleteLocal(delete_new)];
    for detail in [Detail::Usual, Detail::Full] {
        let text = plain(&of(vec![web.clone()], Summary::default()), 160, detail);
        let row = text.lines().nth(2).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(row, "- delete locally the new weekly not needed once it is complete", "{text}");
    }
}

#[test]
fn no_line_is_wider_than_the_terminal_and_no_word_is_lost() {
    let mut plan = cloud();
    plan.vms[7].alias = "データベース".repeat(20);
    plan.vms[3].notes[0].message =
        format!("nothing is carried out until 2026-12-24: storage move {}", "x".repeat(150));
    let letters = |text: &str| {
        let mut letters: Vec<char> = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        letters.sort_unstable();
        letters
    };
    let wide = letters(&plain(&plan, 1_000, Detail::Full));
    for columns in 60..=200 {
        let text = plain(&plan, columns, Detail::Full);
        // The last line never changes its form.
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[..lines.len() - 1] {
            assert!(width(line) <= columns, "{columns}: {line}");
        }
        assert_eq!(letters(&text), wide, "at {columns} columns");
    }
}

#[test]
fn columns_line_up_under_wide_letters() {
    let mut plan = cloud();
    plan.vms.retain(|vm| vm.alias == "web-1");
    let Action::DeleteLocal(delete) = &mut plan.vms[0].actions[0] else { panic!("a delete comes first") };
    delete.tier = "日次".to_owned();
    let text = plain(&plan, 130, Detail::Usual);
    let why = |line: &str, why: &str| width(&line[..line.find(why).unwrap()]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(why(lines[1], "no longer"), why(lines[2], "due since"));
}

#[test]
fn an_alias_cannot_write_to_the_terminal() {
    let mut plan = cloud();
    plan.vms[7].alias = "web\u{1b}[2J\nPlan: 0 to create".to_owned();
    let text = plain(&plan, 130, Detail::Usual);
    assert!(text.contains(r"web\u{1b}[2J\nPlan: 0 to create  4fa44310"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn colour_changes_no_word() {
    let colored = written(&cloud(), 130, Detail::Full, Styles::colored());
    assert!(colored.contains("\u{1b}[32m+ create"), "{colored}");
    let stripped = anstream::adapter::strip_str(&colored).to_string();
    let trimmed = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(trimmed(&stripped), trimmed(&plain(&cloud(), 130, Detail::Full)));
}

fn prune(number: u128, tier: &str, taken: &str) -> Action {
    Action::DeleteCloud(DeleteCloud {
        backup: backup(number),
        tier: tier.to_owned(),
        taken: at(taken),
        size_bytes: Some(3 << 30),
        reason: "expired: no longer one of the 7 newest of its tier since 2026-10-08 01:00".to_owned(),
    })
}

fn pruned(alias: &str, deletes: u128) -> VmPlan {
    let mut vm = vm(alias, "grandfather", Status::Changes);
    vm.actions = vec![delete("daily", "2026-11-20 01:00", false)];
    vm.actions
        .extend((0..deletes).map(|number| prune(number, "daily", &format!("2026-10-0{} 01:00", number + 1))));
    vm.actions.push(prune(99, "weekly", "2026-10-04 01:00"));
    vm
}

/// Writes a plan with the reason of every delete from storage, which is the planner's, replaced.
fn without_reasons(plan: &Plan) -> String {
    let reason = prune(1, "daily", "2026-10-01 01:00").as_cloud_delete().unwrap().reason.to_string();
    plain(plan, 180, Detail::Usual).replace(&reason, "(reason)")
}

#[test]
fn deletes_from_storage_have_a_sign_a_word_and_a_count_of_their_own() {
    let summary = Summary { delete_local: 1, delete_cloud: 2, ..Summary::default() };
    let plan = of(vec![pruned("web-1", 1)], summary);
    insta::assert_snapshot!(without_reasons(&plan), @r"
    web-1  4fa44310  grandfather
      - delete locally       daily of 2026-11-20 01:00            no longer needed as a parent
      x delete from storage  daily of 2026-10-01 01:00, 3.0 GiB   (reason)
      x delete from storage  weekly of 2026-10-04 01:00, 3.0 GiB  (reason)

    Plan: 0 to create, 1 to delete locally, 2 to delete from storage, for good; 0 up to date, 0 waiting, 0 blocked, 0 unprotected.
    ");
    let colored = written(&plan, 120, Detail::Usual, Styles::colored());
    let destroy = Styles::colored().destroy;
    assert_eq!(colored.matches(&format!("{destroy}x delete from storage")).count(), 2, "{colored}");
}

#[test]
fn deletes_from_storage_of_many_vms_are_counted_by_tier() {
    let vms: Vec<VmPlan> = (1..=40).map(|number| pruned(&format!("web-{number}"), 1 + number % 3)).collect();
    let plan = of(vms, Summary { delete_local: 40, delete_cloud: 120, ..Summary::default() });
    insta::assert_snapshot!(without_reasons(&plan), @r"
    web-*  (40 VMs)  grandfather
      - delete locally       daily of 2026-11-20 01:00, 40 snapshots               no longer needed as a parent
      x delete from storage  daily, 80 backups since 2026-10-01 01:00, 240.0 GiB   (reason)
      x delete from storage  weekly, 40 backups since 2026-10-04 01:00, 120.0 GiB  (reason)

    Plan: 0 to create, 40 to delete locally, 120 to delete from storage, for good; 0 up to date, 0 waiting, 0 blocked, 0 unprotected.
    ");
}
