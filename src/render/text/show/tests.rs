use super::*;
use crate::insight::show::{LocalCopy, PruneOutlook, Restore, StoredCopy};
use crate::inventory::{BackupId, VmId};
use crate::plan::{Note, NoteCode};
use crate::render::{Styles, markdown};
use chrono::DateTime;
use uuid::Uuid;

fn id(n: u128) -> BackupId {
    BackupId::new(Uuid::from_u128(n << 96))
}

fn reason(code: &'static str, why: &str, until: Option<&str>) -> Reason {
    Reason { code, why: why.to_owned(), until: until.map(str::to_owned), expires_after: None }
}

fn backup(n: u128, depth: usize, parent: Option<u128>, tier: &str) -> BackupExplanation {
    BackupExplanation {
        backup: id(n),
        parent: parent.map(id),
        depth,
        tier: Some(tier.to_owned()),
        comment: Some(tier.to_owned()),
        taken: Some(DateTime::parse_from_rfc3339(&format!("2026-11-{n:02}T01:00:00+01:00")).unwrap()),
        kind: if parent.is_some() { BackupKind::Incremental } else { BackupKind::Full },
        standing: ReportedStanding::Restorable,
        is_future_dated: false,
        restore: Some(Restore { steps: depth + 1, size_bytes: Some(3 << 30), steps_now: depth + 1 }),
        size_bytes: Some(1 << 30),
        local: LocalCopy { is_held: false, size_bytes: None, kept_for: None, delete: None },
        stored: StoredCopy {
            kept_for: Some(reason(
                "keep",
                "one of the 7 newest of its tier",
                Some("until 2 more of them can be restored"),
            )),
            ..StoredCopy::default()
        },
    }
}

fn vm() -> VmExplanation {
    let monthly = backup(1, 0, None, "monthly");
    let mut weekly = backup(8, 1, Some(1), "weekly");
    weekly.local = LocalCopy {
        is_held: true,
        size_bytes: Some(1 << 20),
        kept_for: Some(reason(
            "next_parent",
            "parent of the next weekly",
            Some("until a newer backup can be the parent of the next weekly"),
        )),
        delete: Some(DeleteWhen::AfterCreate),
    };
    weekly.restore = Some(Restore { steps: 2, size_bytes: None, steps_now: 0 });
    let mut failed = backup(9, 2, Some(8), "daily");
    failed.standing = ReportedStanding::Failed;
    failed.restore = None;
    failed.local = LocalCopy { is_held: true, delete: Some(DeleteWhen::Now), ..failed.local };
    failed.stored = StoredCopy {
        is_expired: true,
        prune: Some(PruneOutlook {
            code: "cannot_back_up",
            message: "expired: no longer wanted; not deleted, because the VM cannot be backed up now"
                .to_owned(),
        }),
        ..StoredCopy::default()
    };
    let mut by_hand = backup(10, 0, None, "");
    by_hand.tier = None;
    by_hand.comment = Some("before\u{1b}[2J | upgrade".to_owned());
    by_hand.stored.kept_for = Some(reason("unmanaged", "it matches no tier of its policy", None));
    VmExplanation {
        uuid: Some(VmId::new(Uuid::from_u128(0x4fa4_4310 << 96))),
        alias: "web-1".to_owned(),
        policy: Some("grandfather".into()),
        is_suspended: false,
        backups: vec![monthly, weekly, failed, backup(10, 1, Some(1), "daily"), by_hand],
        tiers: Vec::new(),
        next_due: Vec::new(),
        notes: vec![Note::vm(
            NoteCode::VmState,
            "cannot be backed up while its state is \"frozen\"; it has no restorable backup",
        )],
    }
}

fn explained(vm: VmExplanation) -> Explanation {
    let at = DateTime::parse_from_rfc3339("2026-11-22T20:00:00Z").unwrap().to_utc();
    Explanation {
        at,
        endpoint: "https://fifo.example.com".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        vms: vec![vm],
    }
}

fn text(vm: VmExplanation, columns: usize, detail: Detail, styles: Styles) -> String {
    let mut out = Vec::new();
    show(&explained(vm), None, &TextOptions { styles, columns, detail }, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn plain(vm: VmExplanation, columns: usize) -> String {
    text(vm, columns, Detail::Usual, Styles::plain())
}

#[test]
fn backups_stand_as_a_tree_with_their_reasons() {
    insta::assert_snapshot!(plain(vm(), 100), @r#"
    web-1  4fa44310-0000-0000-0000-000000000000  grandfather
      ! blocked  cannot be backed up while its state is "frozen"; it has no restorable backup
      = monthly of 2026-11-01 01:00 (00000001), full, 1.0 GiB
      │ restore fetches 1 backup, 3.0 GiB
      │ stored  one of the 7 newest of its tier, until 2 more of them can be restored
      ├ = weekly of 2026-11-08 01:00 (00000008), incremental on 00000001, 1.0 GiB, 1.0 MiB local
      │ │ restore fetches 2 backups, of unknown size; nothing while its snapshot is there
      │ │ local   parent of the next weekly, until a newer backup can be the parent of the next weekly
      │ │         goes once the new backup, which is due, is complete and checked
      │ │ stored  one of the 7 newest of its tier, until 2 more of them can be restored
      │ └ ! failed daily of 2026-11-09 01:00 (00000009), incremental on 00000008, 1.0 GiB, local
      │     local   no longer wanted; goes with the next run
      │     stored  expired: no longer wanted; not deleted, because the VM cannot be backed up now
      └ = daily of 2026-11-10 01:00 (0000000a), incremental on 00000001, 1.0 GiB
          restore fetches 2 backups, 3.0 GiB
          stored  one of the 7 newest of its tier, until 2 more of them can be restored
        backup "before\u{1b}[2J | upgrade" of 2026-11-10 01:00 (0000000a), full, 1.0 GiB
        restore fetches 1 backup, 3.0 GiB
        stored  it matches no tier of its policy: it stays

    Shown: 5 backups on 1 VM, 5.0 GiB stored; 2 snapshots local, 1.0 MiB of quota.
    "#);
}

#[test]
fn briefly_there_is_the_tree_alone_and_in_full_every_uuid() {
    insta::assert_snapshot!(text(vm(), 100, Detail::Brief, Styles::plain()), @r#"
    web-1  4fa44310-0000-0000-0000-000000000000  grandfather
      = monthly of 2026-11-01 01:00 (00000001), full, 1.0 GiB
      ├ = weekly of 2026-11-08 01:00 (00000008), incremental on 00000001, 1.0 GiB, 1.0 MiB local
      │ └ ! failed daily of 2026-11-09 01:00 (00000009), incremental on 00000008, 1.0 GiB, local
      └ = daily of 2026-11-10 01:00 (0000000a), incremental on 00000001, 1.0 GiB
        backup "before\u{1b}[2J | upgrade" of 2026-11-10 01:00 (0000000a), full, 1.0 GiB

    Shown: 5 backups on 1 VM, 5.0 GiB stored; 2 snapshots local, 1.0 MiB of quota.
    "#);
    let full = text(vm(), 100, Detail::Full, Styles::plain());
    assert!(full.contains(&id(8).to_string()) && !plain(vm(), 100).contains(&id(8).to_string()), "{full}");
}

#[test]
fn no_line_is_wider_than_the_terminal_however_deep_the_chain_and_no_word_is_lost() {
    let mut deep = vm();
    deep.alias = "データ👩‍👩‍👧é\u{301}-1".repeat(8);
    deep.backups[4].comment = Some("日次".repeat(40));
    for n in 0..30 {
        let mut next = backup(11, 1 + n, Some(10), "日次のバックアップ");
        next.local.is_held = n % 2 == 0;
        deep.backups.push(next);
    }
    let letters = |text: &str| {
        let mut letters: Vec<char> =
            text.chars().filter(|letter| !letter.is_whitespace() && !"│├└…".contains(*letter)).collect();
        letters.sort_unstable();
        letters
    };
    let wide = letters(&plain(deep.clone(), 1_000));
    for columns in 60..=200 {
        let text = plain(deep.clone(), columns);
        for line in text.lines() {
            assert!(width(line) <= columns, "{columns}: {line}");
        }
        assert_eq!(letters(&text), wide, "at {columns} columns");
    }
}

#[test]
fn a_comment_cannot_write_to_the_terminal_nor_into_a_table() {
    assert!(!plain(vm(), 100).contains('\u{1b}'));
    let mut out = Vec::new();
    markdown::show(&explained(vm()), None, &mut out).unwrap();
    let table = String::from_utf8(out).unwrap();
    assert!(!table.contains('\u{1b}') && table.contains(r"\| upgrade"), "{table}");
    let cells = |line: &str| line.replace(r"\|", "").matches('|').count();
    let lines: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
    assert!(lines.len() == 7 && lines.iter().all(|line| cells(line) == 7), "{table}");
}

#[test]
fn colour_changes_no_word() {
    let colored = text(vm(), 100, Detail::Usual, Styles::colored());
    assert!(colored.contains("\u{1b}["), "{colored}");
    assert_eq!(anstream::adapter::strip_str(&colored).to_string(), plain(vm(), 100));
}

#[test]
fn what_a_suspension_holds_back_only_would_go() {
    let text = plain(VmExplanation { is_suspended: true, ..vm() }, 120);
    assert!(
        text.contains("no longer wanted; would go, were its policy not suspended, with the next run"),
        "{text}"
    );
}
