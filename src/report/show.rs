//! The document of VMs' backups: a tree a VM with one line a backup; with [`Detail::Full`] why each is kept and until when.

use super::doc::{Block, Column, Detail, Doc, Guide, Line, Row, Table, Tone};
use super::drawing::Drawing;
use super::groups::entry_head;
use super::layout::width;
use super::notes::note_line;
use super::words::{counted, next_due_text, origin, restore_text, vm_name, word};
use super::{graph, stop};
use crate::apply::SafetyStop;
use crate::insight::show::{
    BackupExplanation, DeleteWhen, Explanation, Reason, Standing, StoredCopy, VmExplanation,
};
use crate::insight::storage::{StoredUsage, TierStorage};
use crate::plan::{BackupKind, Status, bytes_text};
use crate::policy::minute_text;

const TYPE: usize = 2;
const COLUMNS: [Column; 7] = [
    Column::wrapping("backup", 0),
    Column::new("UUID", 0),
    Column::new("type", 1),
    Column::number("size", 4),
    Column::new("local", 3),
    Column::wrapping("to restore", 0),
    Column::new("stored", 2),
];

/// Reports the backups of VMs; on a terminal of so many columns their chains as a drawing, else as a tree.
pub fn document(
    explained: &Explanation,
    stop: Option<&SafetyStop>,
    identity: Option<&str>,
    detail: Detail,
    terminal: Option<usize>,
) -> Doc {
    let mut blocks = Vec::new();
    for vm in &explained.vms {
        let uuid = vm.uuid.map_or_else(String::new, |id| id.to_string());
        let head = entry_head(&[(&vm.alias, vm.uuid)], vm.policy.as_deref());
        let name =
            if vm.alias.is_empty() && vm.uuid.is_some() { uuid.clone() } else { vm_name(&vm.alias, vm.uuid) };
        let id = if name == uuid { String::new() } else { uuid };
        let (mut lines, mut table) = (lines(vm, detail), table(vm, detail));
        if let Some((drawn, key)) = terminal.and_then(|columns| drawn(vm, &table, columns)) {
            lines.push(Line::new(Tone::Plain, "chains", key));
            table = drawn;
        }
        blocks.push(Block::Entries(vec![super::doc::Entry { name, id, lines, ..head }]));
        blocks.push(Block::Table(table));
    }
    Doc {
        alarms: stop.map(stop::blocks).unwrap_or_default(),
        blocks,
        remarks: vec![(Tone::Plain, origin(&explained.endpoint, identity, &explained.timezone))],
        summary: vec![totals(explained)],
    }
}

pub(super) fn table(vm: &VmExplanation, detail: Detail) -> Table {
    let rows = vm.backups.iter().map(|backup| row(vm, backup, detail)).collect();
    Table { columns: &COLUMNS, rows, folded: None }
}

/// Makes a drawing of a tree, the newest first, with what its signs mean; `None` where it does not fit.
fn drawn(vm: &VmExplanation, tree: &Table, columns: usize) -> Option<(Table, String)> {
    let (drawing, places) = Drawing::of_vm(vm);
    let all: Vec<usize> = (0..places.len()).collect();
    let is_good = |&at: &usize| drawing.nodes[at].is_restorable && !vm.backups[places[at]].is_future_dated;
    let way = all.iter().copied().rfind(is_good).map(|newest| drawing.way(newest)).unwrap_or_default();
    let guides = graph::guides(&drawing, &all, &way, columns / graph::SHARE)?;
    let blank = " ".repeat(guides.first().map_or(0, |guide| width(&guide.first)));
    let undated = (0..tree.rows.len()).filter(|place| !places.contains(place));
    let guides = guides.into_iter().map(Some).chain(std::iter::repeat(None));
    let row = |(place, guide): (usize, Option<Guide>)| {
        let mut row = Row { depth: None, ..tree.rows[place].clone() };
        row.cells[TYPE].clear();
        if vm.backups[place].stored.is_expired && row.tone == Tone::Fine {
            row.tone = Tone::Plain;
        }
        row.guide = guide.or_else(|| Some(Guide { first: blank.clone(), below: blank.clone() }));
        row
    };
    let rows = places.iter().rev().copied().chain(undated).zip(guides).map(row).collect();
    let key =
        format!("newest first; {}; numbers are the steps of a restore of the newest", graph::key(&drawing));
    Some((Table { rows, ..tree.clone() }, key))
}

/// Returns the last line: `Shown: 9 backups on 1 VM, 14.2 GiB stored; 2 snapshots local, 415.9 MiB of quota.`
fn totals(explained: &Explanation) -> String {
    let backups = || explained.vms.iter().flat_map(|vm| &vm.backups);
    let sum = |sizes: &mut dyn Iterator<Item = u64>| bytes_text(sizes.fold(0, u64::saturating_add));
    format!(
        "Shown: {} on {}, {} stored; {} local, {} of quota.",
        counted(backups().count(), "backup"),
        counted(explained.vms.len(), "VM"),
        sum(&mut backups().filter_map(|backup| backup.size_bytes)),
        counted(backups().filter(|backup| backup.local.is_held).count(), "snapshot"),
        sum(&mut backups().filter_map(|backup| backup.local.size_bytes)),
    )
}

pub(super) fn lines(vm: &VmExplanation, detail: Detail) -> Vec<Line> {
    let notes = vm.notes.iter().filter(|_| detail > Detail::Brief);
    let mut lines: Vec<Line> = notes.map(|note| note_line(note, Status::UpToDate)).collect();
    if vm.backups.is_empty() && vm.uuid.is_some() {
        lines.push(Line::new(Tone::Plain, "no backup", String::new()));
    }
    if !vm.next_due.is_empty() {
        lines.push(Line::new(Tone::Plain, "next due", next_due_text(&vm.next_due)));
    }
    let storage = vm.tiers.iter().filter_map(storage_text);
    lines.extend(storage.map(|what| Line::new(Tone::Plain, "storage", what)));
    lines
}

/// Says what a tier holds in storage: `daily: 7 kept (1.4 GiB), 3 only for descendants (0.6 GiB); 4.2 GiB a month`; `None`
/// where that is nothing.
fn storage_text(tier: &TierStorage) -> Option<String> {
    let TierStorage { tier, kept, kept_otherwise, kept_for_descendants, expired, month_size_bytes } = tier;
    let text = |(usage, what): (&StoredUsage, &str)| {
        (usage.backups > 0).then(|| format!("{} {what} ({})", usage.backups, bytes_text(usage.size_bytes)))
    };
    let held = [
        (kept, "kept"),
        (kept_otherwise, "for other reasons"),
        (kept_for_descendants, "only for descendants"),
        (expired, "expired"),
    ];
    let held: Vec<String> = held.into_iter().filter_map(text).collect();
    let month = month_size_bytes.map_or_else(String::new, |bytes| format!("; {} a month", bytes_text(bytes)));
    (!held.is_empty()).then(|| format!("{tier}: {}{month}", held.join(", ")))
}

fn row(vm: &VmExplanation, backup: &BackupExplanation, detail: Detail) -> Row {
    let (tone, state) = standing_text(backup);
    let kind = match backup.kind {
        BackupKind::Full => "full",
        BackupKind::Incremental => "incr",
    };
    let size = |size: Option<u64>| size.map_or_else(|| "unknown".to_owned(), bytes_text);
    let goes = if backup.local.delete.is_some() { ", goes" } else { "" };
    let stored = match &backup.stored.prune {
        Some(prune) if prune.is_deleted() => "expired, goes",
        Some(_) => "expired",
        None => "",
    };
    let restore = backup.restore.map(|restore| restore_text(restore.steps, restore.size_bytes));
    let cells = vec![
        format!("{state}{}", name_of(backup)),
        backup.backup.short(),
        kind.to_owned(),
        size(backup.size_bytes),
        if backup.local.is_held { format!("{}{goes}", size(backup.local.size_bytes)) } else { String::new() },
        restore.unwrap_or_else(|| "impossible".to_owned()),
        stored.to_owned(),
    ];
    let below = if detail == Detail::Full { reasons(vm, backup) } else { Vec::new() };
    Row { tone, depth: Some(backup.depth), cells, below, ..Row::default() }
}

/// Names a backup: `weekly 2026-11-22 01:00`, and one of no tier by its comment.
fn name_of(backup: &BackupExplanation) -> String {
    let what = match (&backup.tier, &backup.comment) {
        (Some(tier), _) => tier.clone(),
        (None, Some(comment)) => format!("backup \"{comment}\""),
        (None, None) => "backup without a comment".to_owned(),
    };
    format!("{what} {}", backup.taken.map_or_else(|| "of an unknown time".to_owned(), minute_text))
}

/// Says how a backup stands, with a blank behind it; empty for one that can be restored.
fn standing_text(backup: &BackupExplanation) -> (Tone, String) {
    match backup.standing {
        _ if backup.is_future_dated => (Tone::Alarm, "future-dated ".to_owned()),
        Standing::Restorable if backup.tier.is_none() => (Tone::Plain, String::new()),
        Standing::Restorable => (Tone::Fine, String::new()),
        Standing::InProgress => (Tone::Wait, "running ".to_owned()),
        other => (Tone::Alarm, format!("{} ", word(&other))),
    }
}

/// Says what its whole UUID is, why its snapshot and its stored copy stay and until when, or that they go.
fn reasons(vm: &VmExplanation, backup: &BackupExplanation) -> Vec<String> {
    let mut texts = vec![format!("UUID: {}", backup.backup)];
    if let Some(restore) = backup.restore.filter(|restore| restore.steps_now < restore.steps) {
        texts.push(match restore.steps_now {
            0 => "restore: fetches nothing while its snapshot is there".to_owned(),
            steps => format!("restore: fetches {steps} while a snapshot that it depends on is there"),
        });
    }
    if backup.local.is_held {
        let but = if vm.is_suspended { "would go, were its policy not suspended," } else { "goes" };
        let goes = backup.local.delete.map(|when| match when {
            DeleteWhen::Now => format!("no longer wanted; {but} with the next run"),
            DeleteWhen::AfterCreate => {
                format!("{but} once the new backup, which is due, is complete and checked")
            }
        });
        let local = backup.local.kept_for.iter().map(reason_text).chain(goes);
        texts.extend(local.map(|text| format!("local: {text}")));
    }
    let StoredCopy { kept_for, not_before, prune, .. } = &backup.stored;
    let suspended = match prune {
        Some(prune) if vm.is_suspended && prune.is_deleted() => ", once its policy is no longer suspended",
        _ => "",
    };
    let expired = prune.iter().map(|prune| format!("{}{suspended}", prune.message));
    let not_before = not_before.filter(|_| prune.is_none());
    let not_before = not_before.map(|instant| format!("expires on {} at the earliest", minute_text(instant)));
    let kept = kept_for.iter().filter(|_| prune.is_none()).map(reason_text);
    texts.extend(expired.chain(kept).chain(not_before).map(|text| format!("stored: {text}")));
    texts
}

fn reason_text(reason: &Reason) -> String {
    let Reason { why, until, .. } = reason;
    match until {
        Some(until) => format!("{why}, {until}"),
        None => format!("{why}: it stays"),
    }
}
