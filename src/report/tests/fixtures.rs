//! Clouds for reports.

use crate::apply::{ActionKind, ActionOutcome, ActionReport, RunReport, VmRef, VmReport};
use crate::insight::show::{
    BackupExplanation, DeleteWhen, Explanation, LocalCopy, PruneOutlook, Reason, Restore, Standing,
    StoredCopy, VmExplanation,
};
use crate::insight::status::{BackupHealth, Health, NewestBackup, VmHealth};
use crate::inventory::{BackupId, VmId};
use crate::plan::{
    Action, BackupKind, Create, DeleteCloud, DeleteLocal, FORMAT, Note, NoteCode, Plan, SnapshotUsage,
    Status, Summary, SuspendedUntil, VmPlan,
};
use crate::policy::Name;
use crate::report::{Exit, RunSummary};
use chrono::{DateTime, FixedOffset};
use uuid::Uuid;

pub(in crate::report) fn at(text: &str) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(&format!("{}:00+01:00", text.replace(' ', "T"))).unwrap()
}

pub(in crate::report) fn backup(n: u128) -> BackupId {
    BackupId::new(Uuid::from_u128(n << 96))
}

pub(super) fn vm(alias: &str, policy: &str, status: Status) -> VmPlan {
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

pub(super) fn weekly() -> Action {
    Action::Create(Create {
        tier: "weekly".into(),
        kind: BackupKind::Incremental,
        parent: Some(backup(0xa1)),
        parent_tier: Some("monthly".into()),
        parent_taken: Some(at("2026-11-01 01:00")),
        comment: "weekly".to_owned(),
        due_since: at("2026-11-22 01:00"),
        reason: "due since Sun 2026-11-22 01:00".to_owned(),
        is_retry: false,
    })
}

pub(super) fn full(tier: &str) -> Action {
    Action::Create(Create {
        tier: tier.into(),
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

pub(super) fn delete(tier: &str, taken: &str, after_create: bool) -> Action {
    let reason =
        if after_create { "once the new weekly is complete" } else { "no longer needed as a parent" };
    Action::DeleteLocal(DeleteLocal {
        backup: Some(backup(0xd1)),
        tier: tier.into(),
        taken: Some(at(taken)),
        after_create,
        reason: reason.to_owned(),
    })
}

pub(super) fn of(vms: Vec<VmPlan>, summary: Summary) -> Plan {
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
pub(super) fn cloud() -> Plan {
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

pub(super) fn prune(number: u128, tier: &str, taken: &str) -> Action {
    Action::DeleteCloud(DeleteCloud {
        backup: backup(number),
        tier: tier.into(),
        taken: at(taken),
        size_bytes: Some(3 << 30),
        reason: "expired: no longer one of the 7 newest of its tier since 2026-10-08 01:00".to_owned(),
    })
}

pub(super) fn pruned(alias: &str, deletes: u128) -> VmPlan {
    let mut vm = vm(alias, "grandfather", Status::Changes);
    vm.actions = vec![delete("daily", "2026-11-20 01:00", false)];
    vm.actions
        .extend((0..deletes).map(|number| prune(number, "daily", &format!("2026-10-0{} 01:00", number + 1))));
    vm.actions.push(prune(99, "weekly", "2026-10-04 01:00"));
    vm
}

/// A VM that is too old, with a note.
pub(in crate::report) fn health(alias: &str) -> VmHealth {
    let newest = NewestBackup {
        backup: backup(9),
        tier: Some("daily".into()),
        taken: at("2026-11-20 01:00"),
        age_secs: 68 * 3_600,
        steps: 3,
        size_bytes: Some(3 << 30),
    };
    VmHealth {
        uuid: Some(VmId::new(Uuid::from_u128(0x4fa4_4310 << 96))),
        alias: alias.to_owned(),
        hypervisor: None,
        policy: Some("grandfather".into()),
        verdict: BackupHealth::TooOld,
        status: Status::UpToDate,
        tiers: Vec::new(),
        is_suspended: false,
        newest: Some(newest),
        max_age_secs: Some(93_600),
        local: SnapshotUsage { snapshots: 2, size_bytes: 4_096 },
        unmanaged: SnapshotUsage::default(),
        next_due: Vec::new(),
        gaps: Vec::new(),
        notes: vec![Note::vm(NoteCode::VmState, format!("cannot be backed up while its state is {alias:?}"))],
    }
}

pub(in crate::report) fn overview(vms: Vec<VmHealth>) -> Health {
    let at = at("2026-11-22 21:00").to_utc();
    Health { at, endpoint: "https://fifo".to_owned(), timezone: "UTC".to_owned(), vms }
}

/// A run that ended so, on a VM with that alias, with a step that failed with that message.
pub(super) fn run(alias: &str, exit: Exit, message: &str) -> RunSummary {
    let began = at("2026-11-22 21:00").to_utc();
    let steps = vec![ActionReport {
        kind: ActionKind::Create,
        ending: ActionOutcome::Failed,
        code: "code",
        message: message.to_owned(),
    }];
    let at_vm = VmRef { vm: VmId::new(Uuid::from_u128(0x4fa4_4310 << 96)), alias: alias.to_owned() };
    let report = RunReport { vms: vec![VmReport { at: at_vm, steps }], ..RunReport::default() };
    RunSummary {
        report: Some(report),
        overview: Some(overview(vec![health(alias)])),
        ended: began,
        exit,
        ..RunSummary::new("reconcile", began)
    }
}

fn explained_backup(n: u128, depth: usize, parent: Option<u128>, tier: &str) -> BackupExplanation {
    BackupExplanation {
        backup: backup(n),
        parent: parent.map(backup),
        depth,
        tier: Some(tier.to_owned()),
        comment: Some(tier.to_owned()),
        taken: Some(at(&format!("2026-11-{n:02} 01:00"))),
        kind: if parent.is_some() { BackupKind::Incremental } else { BackupKind::Full },
        standing: Standing::Restorable,
        is_future_dated: false,
        restore: Some(Restore { steps: depth + 1, size_bytes: Some(3 << 30), steps_now: depth + 1 }),
        size_bytes: Some(1 << 30),
        local: LocalCopy { is_held: false, size_bytes: None, kept_for: None, delete: None },
        stored: StoredCopy {
            kept_for: Some(reason(
                "one of the 7 newest of its tier",
                Some("until 2 more of them can be restored"),
            )),
            ..StoredCopy::default()
        },
    }
}

fn reason(why: &str, until: Option<&str>) -> Reason {
    Reason { code: "keep", why: why.to_owned(), until: until.map(str::to_owned) }
}

/// A VM with a chain of three, one that failed, and one that was made by hand.
pub(super) fn explained(alias: &str, comment: &str) -> Explanation {
    let mut weekly = explained_backup(8, 1, Some(1), "weekly");
    weekly.local = LocalCopy {
        is_held: true,
        size_bytes: Some(1 << 20),
        kept_for: Some(reason("parent of the next weekly", Some("until a newer backup can be that"))),
        delete: Some(DeleteWhen::AfterCreate),
    };
    weekly.restore = Some(Restore { steps: 2, size_bytes: None, steps_now: 0 });
    let mut failed = explained_backup(9, 2, Some(8), "daily");
    failed.standing = Standing::Failed;
    failed.restore = None;
    failed.stored = StoredCopy {
        is_expired: true,
        prune: Some(PruneOutlook { code: "not_yet", message: "expired: not deleted yet".to_owned() }),
        ..StoredCopy::default()
    };
    let mut by_hand = explained_backup(10, 0, None, "");
    by_hand.tier = None;
    by_hand.comment = Some(comment.to_owned());
    by_hand.stored.kept_for = Some(reason("it matches no tier of its policy", None));
    let daily = explained_backup(10, 1, Some(1), "daily");
    let vm = VmExplanation {
        uuid: Some(VmId::new(Uuid::from_u128(0x4fa4_4310 << 96))),
        alias: alias.to_owned(),
        policy: Some("grandfather".into()),
        is_suspended: false,
        backups: vec![explained_backup(1, 0, None, "monthly"), weekly, failed, daily, by_hand],
        tiers: Vec::new(),
        next_due: Vec::new(),
        timeline: Vec::new(),
        notes: vec![Note::vm(NoteCode::VmState, "cannot be backed up while its state is \"frozen\"")],
    };
    Explanation {
        at: at("2026-11-22 21:00").to_utc(),
        endpoint: "https://fifo.example.com".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        vms: vec![vm],
    }
}
