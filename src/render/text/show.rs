//! The backups of a VM as a tree of chains, each with why it is kept.

use super::rows::{Row, RowGroup, note_row};
use super::status_text::next_due_text;
use super::table::Table;
use super::{Detail, TextOptions, origin_text};
use crate::insight::show::{
    BackupExplanation, DeleteWhen, Explanation, Reason, ReportedStanding, StoredCopy, VmExplanation,
};
use crate::insight::storage::{StoredUsage, TierStorage};
use crate::plan::{BackupKind, Status, bytes_text};
use crate::policy::minute_text;
use crate::render::cells::{padded, visible, width, wrapped};
use crate::render::wording::Symbol;
use std::io::{self, Write};

#[cfg(test)]
mod tests;

/// Blanks before a tree.
const INDENT: &str = "  ";
/// The number of steps of a chain that are indented; further ones stay at the last indentation.
const LEVELS_MAX: usize = 8;
/// The columns of what a line is about, and the blank behind it.
const LABEL: usize = 8;

/// Writes the backups of VMs. The last line is always the counts.
///
/// # Errors
///
/// Those of writing.
pub fn show(
    explained: &Explanation,
    identity: Option<&str>,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let blocks: Vec<RowGroup> = explained.vms.iter().map(|vm| block(vm, options.detail)).collect();
    let table = Table::new(&blocks, options);
    for (vm, block) in explained.vms.iter().zip(&blocks) {
        table.write(block, out)?;
        for (backup, guides) in vm.backups.iter().zip(guides(&vm.backups)) {
            write(vm, backup, &guides, options, out)?;
        }
        writeln!(out)?;
    }
    let origin = identity.map(|identity| origin_text(&explained.endpoint, identity, &explained.timezone));
    for line in origin.into_iter().chain([totals(explained)]) {
        for line in wrapped(&line, options.columns) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Returns the last line: `Shown: 9 backups on 1 VM, 14.2 GiB stored; 2 snapshots local, 415.9 MiB of its quota.`
fn totals(explained: &Explanation) -> String {
    let backups = || explained.vms.iter().flat_map(|vm| &vm.backups);
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let sum = |sizes: &mut dyn Iterator<Item = u64>| bytes_text(sizes.fold(0, u64::saturating_add));
    format!(
        "Shown: {} on {}, {} stored; {} local, {} of quota.",
        plural(backups().count(), "backup"),
        plural(explained.vms.len(), "VM"),
        sum(&mut backups().filter_map(|backup| backup.size_bytes)),
        plural(backups().filter(|backup| backup.local.is_held).count(), "snapshot"),
        sum(&mut backups().filter_map(|backup| backup.local.size_bytes)),
    )
}

fn block(vm: &VmExplanation, detail: Detail) -> RowGroup {
    let notes = vm.notes.iter().filter(|_| detail > Detail::Brief);
    let mut rows: Vec<Row> = notes.map(|note| note_row(note, Status::UpToDate)).collect();
    if vm.backups.is_empty() && vm.uuid.is_some() {
        rows.push(Row { symbol: Symbol::Aside, verb: "no backup", what: String::new(), why: String::new() });
    }
    if !vm.next_due.is_empty() {
        let what = visible(&next_due_text(&vm.next_due));
        rows.push(Row { symbol: Symbol::Aside, verb: "next due", what, why: String::new() });
    }
    rows.extend(vm.tiers.iter().filter_map(storage_text).map(|what| Row {
        symbol: Symbol::Aside,
        verb: "storage",
        what: visible(&what),
        why: String::new(),
    }));
    RowGroup {
        alias: if vm.alias.is_empty() { "(no alias)".to_owned() } else { visible(&vm.alias) },
        id: vm.uuid.map_or_else(|| "(no UUID)".to_owned(), |id| id.to_string()),
        policy: vm.policy.as_deref().map(visible),
        rows,
    }
}

/// Says what a tier holds in storage: `daily: 7 kept (1.4 GiB), 3 only for descendants (0.6 GiB); 4.2 GiB a month`; `None`
/// where that is nothing.
pub(in crate::render) fn storage_text(tier: &TierStorage) -> Option<String> {
    let TierStorage { tier, kept, kept_otherwise, kept_for_descendants, expired, month_size_bytes } = tier;
    let text = |usage: &StoredUsage, what: &str| {
        (usage.backups > 0).then(|| format!("{} {what} ({})", usage.backups, bytes_text(usage.size_bytes)))
    };
    let held: Vec<String> = [
        text(kept, "kept"),
        text(kept_otherwise, "for other reasons"),
        text(kept_for_descendants, "only for descendants"),
        text(expired, "expired"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let month = month_size_bytes.map_or_else(String::new, |bytes| format!("; {} a month", bytes_text(bytes)));
    (!held.is_empty()).then(|| format!("{tier}: {}{month}", held.join(", ")))
}

/// What stands left of a backup's lines.
struct Guides {
    /// Left of its first line.
    first: String,
    /// Left of the others.
    rest: String,
}

/// Draws the tree: the branch of each backup, and the branches that continue beside it.
fn guides(backups: &[BackupExplanation]) -> Vec<Guides> {
    // Read from the end, so that it is known of each whether a sibling and whether a child follows.
    let mut goes_on: Vec<bool> = Vec::new();
    let mut all: Vec<Guides> = Vec::with_capacity(backups.len());
    let mut depth_below = 0;
    for backup in backups.iter().rev() {
        let depth = backup.depth;
        goes_on.resize(depth.max(goes_on.len()) + 1, false);
        let has_sibling = goes_on[depth];
        let has_child = depth_below > depth;
        let bar = |is_open: bool| if is_open { "│ " } else { "  " };
        let beside: String = (1..depth.min(LEVELS_MAX)).map(|level| bar(goes_on[level])).collect();
        let own = match (depth, has_sibling) {
            (0, _) => "",
            _ if depth > LEVELS_MAX => "… ",
            (_, true) => "├ ",
            (_, false) => "└ ",
        };
        let own_below = if depth == 0 || depth > LEVELS_MAX { "" } else { bar(has_sibling) };
        let below = if depth < LEVELS_MAX { bar(has_child) } else { "  " };
        all.push(Guides { first: format!("{beside}{own}"), rest: format!("{beside}{own_below}{below}") });
        goes_on.truncate(depth + 1);
        goes_on[depth] = true;
        depth_below = depth;
    }
    all.reverse();
    all
}

fn write(
    vm: &VmExplanation,
    backup: &BackupExplanation,
    guides: &Guides,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (first, rest) = (format!("{INDENT}{}", guides.first), format!("{INDENT}{}", guides.rest));
    let room = |left: &str, taken: usize| options.columns.saturating_sub(width(left) + taken);
    let style = match symbol(backup) {
        Symbol::Alarm => options.styles.alarm,
        Symbol::Waiting => options.styles.wait,
        _ => options.styles.quiet,
    };
    for (place, line) in wrapped(&visible(&head(backup, options.detail)), room(&first, 2)).iter().enumerate()
    {
        if place == 0 {
            writeln!(out, "{first}{style}{}{style:#} {line}", symbol(backup).sign())?;
        } else {
            writeln!(out, "{rest}{line}")?;
        }
    }
    if options.detail == Detail::Brief {
        return Ok(());
    }
    let mut label_before = "";
    for (label, text) in facts(vm, backup) {
        let shown = if label == label_before { "" } else { label };
        label_before = label;
        for (place, line) in wrapped(&visible(&text), room(&rest, LABEL)).iter().enumerate() {
            let label = padded(if place == 0 { shown } else { "" }, LABEL);
            writeln!(out, "{rest}{label}{line}")?;
        }
    }
    Ok(())
}

fn symbol(backup: &BackupExplanation) -> Symbol {
    match backup.standing {
        _ if backup.is_future_dated => Symbol::Alarm,
        ReportedStanding::Restorable if backup.tier.is_none() => Symbol::Aside,
        ReportedStanding::Restorable => Symbol::Fine,
        ReportedStanding::InProgress => Symbol::Waiting,
        ReportedStanding::Unrestorable
        | ReportedStanding::Failed
        | ReportedStanding::Hollow
        | ReportedStanding::Stuck
        | ReportedStanding::Unverified
        | ReportedStanding::Unreadable => Symbol::Alarm,
    }
}

/// Names a backup, and says what it is: `failed weekly of 2026-11-22 01:00 (4fa44310), incremental on 07c21d9a, 3.1 GiB,
/// 208.0 MiB local`.
fn head(backup: &BackupExplanation, detail: Detail) -> String {
    let id = if detail == Detail::Full { backup.backup.to_string() } else { backup.backup.short() };
    let kind = match (backup.kind, backup.parent) {
        (BackupKind::Incremental, Some(parent)) => format!("incremental on {}", parent.short()),
        (BackupKind::Incremental, None) => "incremental".to_owned(),
        (BackupKind::Full, _) => "full".to_owned(),
    };
    let size = backup.size_bytes.map_or_else(|| "size unknown".to_owned(), bytes_text);
    let local = match (backup.local.is_held, backup.local.size_bytes) {
        (false, _) => String::new(),
        (true, Some(bytes)) => format!(", {} local", bytes_text(bytes)),
        (true, None) => ", local".to_owned(),
    };
    format!("{}{} ({id}), {kind}, {size}{local}", standing_text(backup), name_of(backup))
}

/// Names a backup: `weekly of 2026-11-22 01:00`, and one of no tier by its comment.
pub(in crate::render) fn name_of(backup: &BackupExplanation) -> String {
    let what = match (&backup.tier, &backup.comment) {
        (Some(tier), _) => tier.clone(),
        (None, Some(comment)) => format!("backup {comment:?}"),
        (None, None) => "backup without a comment".to_owned(),
    };
    match backup.taken {
        Some(taken) => format!("{what} of {}", minute_text(taken)),
        None => format!("{what} of an unknown time"),
    }
}

/// Returns the state of a backup and a blank; empty for one that can be restored.
pub(in crate::render) fn standing_text(backup: &BackupExplanation) -> &'static str {
    match backup.standing {
        _ if backup.is_future_dated => "future-dated ",
        ReportedStanding::Restorable => "",
        ReportedStanding::Unrestorable => "unrestorable ",
        ReportedStanding::Failed => "failed ",
        ReportedStanding::Hollow => "hollow ",
        ReportedStanding::Stuck => "stuck ",
        ReportedStanding::Unverified => "unverified ",
        ReportedStanding::InProgress => "running ",
        ReportedStanding::Unreadable => "unreadable ",
    }
}

fn facts(vm: &VmExplanation, backup: &BackupExplanation) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(restore) = restore_text(backup) {
        facts.push(("restore", restore));
    }
    facts.extend(local_texts(vm, backup).into_iter().map(|text| ("local", text)));
    facts.extend(stored_texts(vm, backup).into_iter().map(|text| ("stored", text)));
    facts
}

/// Says what restoring it fetches; `None` when it cannot be restored.
pub(in crate::render) fn restore_text(backup: &BackupExplanation) -> Option<String> {
    let restore = backup.restore?;
    let backups = if restore.steps == 1 { "backup" } else { "backups" };
    let bytes = restore.size_bytes.map_or_else(|| "of unknown size".to_owned(), bytes_text);
    let now = match restore.steps_now {
        steps if steps == restore.steps => String::new(),
        0 => "; nothing while its snapshot is there".to_owned(),
        steps => format!("; {steps} while a snapshot that it depends on is there"),
    };
    Some(format!("fetches {} {backups}, {bytes}{now}", restore.steps))
}

/// Says why its snapshot stays on the hypervisor, or that it is deleted; empty where there is none.
pub(in crate::render) fn local_texts(vm: &VmExplanation, backup: &BackupExplanation) -> Vec<String> {
    if !backup.local.is_held {
        return Vec::new();
    }
    let mut texts: Vec<String> = backup.local.kept_for.iter().map(reason_text).collect();
    let but = if vm.is_suspended { "would go, were its policy not suspended," } else { "goes" };
    match backup.local.delete {
        Some(DeleteWhen::Now) => texts.push(format!("no longer wanted; {but} with the next run")),
        Some(DeleteWhen::AfterCreate) => {
            texts.push(format!("{but} once the new backup, which is due, is complete and checked"));
        }
        None => {}
    }
    texts
}

/// Says why it stays in storage, or that it has expired.
pub(in crate::render) fn stored_texts(vm: &VmExplanation, backup: &BackupExplanation) -> Vec<String> {
    let StoredCopy { kept_for, not_before, prune, .. } = &backup.stored;
    if let Some(prune) = prune {
        let suspended = if vm.is_suspended && prune.is_deleted() {
            ", once its policy is no longer suspended"
        } else {
            ""
        };
        return vec![format!("{}{suspended}", prune.message)];
    }
    let mut texts: Vec<String> = kept_for.iter().map(reason_text).collect();
    // Where its own `keep` is what holds it longest, that says so.
    let is_said = |instant| kept_for.iter().any(|reason| reason.expires_after == Some(instant));
    if let Some(instant) = not_before.filter(|&instant| !is_said(instant)) {
        texts.push(format!("expires on {} at the earliest", minute_text(instant)));
    }
    texts
}

fn reason_text(reason: &Reason) -> String {
    let Reason { why, until, .. } = reason;
    match until {
        Some(until) => format!("{why}, {until}"),
        None => format!("{why}: it stays"),
    }
}
