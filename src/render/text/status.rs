//! The status of all VMs as text: a table, the details of those in trouble, then the counts.

use super::rows::{Row, RowGroup, note_row};
pub use super::status_text::span_text;
pub(in crate::render) use super::status_text::{age_text, gaps_text, local_text, name_of, restore_text};
use super::status_text::{is_problem, next_due_text};
use super::table::Table;
use super::{Detail, TextOptions, origin_text, status_table, unmanaged};
use crate::insight::status::{BackupHealth, Health, VmHealth};
use crate::plan::Status;
use crate::render::cells::{visible, wrapped};
use crate::render::natural;
use crate::render::wording::Symbol;
use std::io::{self, Write};

/// Which VMs `status` shows, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusView {
    /// A table of all VMs, and below it the details of those that are out. With [`Detail::Full`] the details of all VMs.
    All,
    /// The details of those that are out.
    ProblemsOnly,
}

/// Writes the status of VMs, those in trouble first. The last line is always the counts, in a form that never changes.
/// With [`Detail::Brief`] nothing at all is written where no VM is out.
///
/// # Errors
///
/// Those of writing.
pub fn status(
    health: &Health,
    view: StatusView,
    identity: Option<&str>,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    if options.detail <= Detail::Brief && !health.vms.iter().any(|vm| vm.verdict.is_out()) {
        return Ok(());
    }
    let mut vms: Vec<&VmHealth> = health.vms.iter().collect();
    vms.sort_by(|a, b| trouble(a).cmp(&trouble(b)).then_with(|| natural::compare(&a.alias, &b.alias)));
    let shows_all = view == StatusView::All && options.detail == Detail::Full;
    if view == StatusView::All && options.detail == Detail::Usual {
        status_table::write(&vms, options, out)?;
        if !vms.is_empty() {
            writeln!(out)?;
        }
    }
    vms.retain(|vm| shows_all || vm.verdict.is_out());
    // Each block is made twice, so that never more than one of them is in memory.
    let blocks = || vms.iter().map(|vm| block(vm, options.detail));
    let table = Table::new(blocks(), options);
    for block in blocks() {
        table.write(&block, out)?;
    }
    if !vms.is_empty() {
        writeln!(out)?;
    }
    let origin = identity.map(|identity| origin_text(&health.endpoint, identity, &health.timezone));
    let origin = origin.filter(|_| options.detail > Detail::Brief);
    for line in origin.into_iter().chain([totals(health)]) {
        for line in wrapped(&line, options.columns) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Ranks a VM by how urgent its state is: the most urgent has the lowest rank.
fn trouble(vm: &VmHealth) -> u8 {
    match vm.verdict {
        BackupHealth::NoBackup => 0,
        BackupHealth::TooOld => 1,
        BackupHealth::Conflict => 2,
        BackupHealth::Unreadable => 3,
        BackupHealth::Safe if vm.notes.iter().any(|note| note.advice.is_some()) => 4,
        BackupHealth::Safe => 5,
        BackupHealth::Unprotected => 6,
    }
}

/// Returns the last line: `Status: 9 safe, 1 too old, 0 without a backup, 0 in conflict, 0 unreadable; 1 unprotected, 1
/// suspended.`
pub(in crate::render) fn totals(health: &Health) -> String {
    let count = |verdict| health.vms.iter().filter(|vm| vm.verdict == verdict).count();
    format!(
        "Status: {} safe, {} too old, {} without a backup, {} in conflict, {} unreadable; {} unprotected, {} suspended.",
        count(BackupHealth::Safe),
        count(BackupHealth::TooOld),
        count(BackupHealth::NoBackup),
        count(BackupHealth::Conflict),
        count(BackupHealth::Unreadable),
        count(BackupHealth::Unprotected),
        health.vms.iter().filter(|vm| vm.is_suspended).count(),
    )
}

fn block(vm: &VmHealth, detail: Detail) -> RowGroup {
    let mut rows: Vec<Row> = verdict_row(vm).into_iter().collect();
    if detail == Detail::Full && vm.policy.is_some() && vm.local.snapshots > 0 {
        rows.push(row(Symbol::Aside, "local", local_text(vm), String::new()));
    }
    if detail == Detail::Full
        && let Some(unmanaged) = unmanaged(&vm.unmanaged)
    {
        let advice = "name the comment in a tier's `also`, or delete them locally by hand";
        rows.push(row(Symbol::Aside, "unmanaged", unmanaged, advice.to_owned()));
    }
    if !vm.gaps.is_empty() {
        rows.push(row(Symbol::Waiting, "gaps", gaps_text(&vm.gaps), String::new()));
    }
    if detail == Detail::Full && !vm.next_due.is_empty() {
        rows.push(row(Symbol::Aside, "next due", next_due_text(&vm.next_due), String::new()));
    }
    let notes = vm.notes.iter().filter(|note| detail == Detail::Full || is_problem(note));
    rows.extend(notes.map(|note| {
        let why = note.advice.unwrap_or_default().to_owned();
        Row { why, ..note_row(note, Status::UpToDate) }
    }));
    RowGroup {
        alias: if vm.alias.is_empty() { "(no alias)".to_owned() } else { visible(&vm.alias) },
        id: vm.uuid.map_or_else(|| "(no UUID)".to_owned(), |id| id.short()),
        policy: vm.policy.as_deref().map(visible),
        rows,
    }
}

fn row(symbol: Symbol, verb: &'static str, what: String, why: String) -> Row {
    Row { symbol, verb, what: visible(&what), why: visible(&why) }
}

/// Says how old the newest backup is and what restoring it takes; what has no policy says it in its notes.
fn verdict_row(vm: &VmHealth) -> Option<Row> {
    let (symbol, verb) = match vm.verdict {
        BackupHealth::Safe => (Symbol::Fine, "safe"),
        BackupHealth::TooOld => (Symbol::Alarm, "too old"),
        BackupHealth::NoBackup => {
            return Some(row(
                Symbol::Alarm,
                "no backup",
                "nothing can be restored".to_owned(),
                String::new(),
            ));
        }
        BackupHealth::Conflict | BackupHealth::Unreadable | BackupHealth::Unprotected => return None,
    };
    let newest = vm.newest.as_ref()?;
    let limit = vm.max_age_secs.map_or_else(String::new, |secs| format!(", {} at most", age_text(secs)));
    let what = format!("{}, {} old{limit}", name_of(newest), age_text(newest.age_secs));
    Some(row(symbol, verb, what, restore_text(newest)))
}
