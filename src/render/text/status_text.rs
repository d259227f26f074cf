//! How the status of a VM is put into words.

use crate::insight::status::{NewestBackup, NextDue, VmHealth};
use crate::plan::{Note, bytes_text};
use crate::policy::minute_text;
use crate::render::wording::{Symbol, wording};
use chrono::{DateTime, FixedOffset};

/// The number of gaps that are listed.
const GAPS_NAMED: usize = 3;

/// Names a backup: `weekly of 2026-11-22 01:00`.
pub(in crate::render) fn name_of(newest: &NewestBackup) -> String {
    let tier = newest.tier.as_deref().unwrap_or("backup by hand");
    format!("{tier} of {}", minute_text(newest.taken))
}

/// Says what a restore fetches: `3 backups to fetch, 12.4 GiB`.
pub(in crate::render) fn restore_text(newest: &NewestBackup) -> String {
    let backups = if newest.steps == 1 { "backup" } else { "backups" };
    let bytes = newest.size_bytes.map_or_else(|| "of unknown size".to_owned(), bytes_text);
    format!("{} {backups} to fetch, {bytes}", newest.steps)
}

pub(in crate::render) fn local_text(vm: &VmHealth) -> String {
    let snapshots = if vm.local.snapshots == 1 { "snapshot" } else { "snapshots" };
    format!("{} {snapshots}, {} of its quota", vm.local.snapshots, bytes_text(vm.local.size_bytes))
}

pub(in crate::render) fn gaps_text(gaps: &[DateTime<FixedOffset>]) -> String {
    let named: Vec<String> = gaps.iter().rev().take(GAPS_NAMED).map(|gap| minute_text(*gap)).collect();
    let more = gaps.len().saturating_sub(GAPS_NAMED);
    let more = if more > 0 { format!(" and {more} before") } else { String::new() };
    format!("nothing to restore of {}{more}", named.join(", "))
}

/// Names next due times with their offset from UTC: `weekly 2026-11-29 01:00 +01:00, daily …`.
pub(in crate::render) fn next_due_text(next_due: &[NextDue]) -> String {
    let text = |due: &NextDue| format!("{} {} {}", due.tier, minute_text(due.at), due.at.format("%:z"));
    next_due.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Writes an age: hours and minutes under three days, then days.
pub(in crate::render) fn age_text(secs: i64) -> String {
    match (secs / 86_400, secs / 3_600, secs / 60 % 60) {
        (3.., _, _) => format!("{} days", secs / 86_400),
        (_, 0, minutes) => format!("{minutes} min"),
        (_, hours, 0) => format!("{hours} h"),
        (_, hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// Writes how long something took: seconds under two minutes, then as ages are written.
pub fn span_text(secs: i64) -> String {
    if secs < 120 { format!("{} s", secs.max(0)) } else { age_text(secs) }
}

/// Says whether a note belongs to what `status` shows of a VM at every level of detail.
pub(super) fn is_problem(note: &Note) -> bool {
    note.advice.is_some() || wording(note).symbol == Symbol::Waiting
}
