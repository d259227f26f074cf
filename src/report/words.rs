//! What reports say alike everywhere: names, ages, counts.

use crate::apply::{ActionKind, RunCounts};
use crate::insight::status::{NewestBackup, NextDue};
use crate::inventory::VmId;
pub use crate::inventory::vm_name;
use crate::plan::{SnapshotUsage, bytes_text};
use crate::policy::minute_text;
use chrono::{DateTime, Utc};
use serde::Serialize;

/// Returns what stands behind a VM's name: the beginning of its UUID, unless that is the name.
pub(super) fn vm_id(alias: &str, uuid: Option<VmId>) -> String {
    match (alias, uuid) {
        ("", _) => String::new(),
        (_, Some(id)) => id.short(),
        (_, None) => "(no UUID)".to_owned(),
    }
}

/// Puts a number before a noun: `3 snapshots`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Lists what there is any of: `1 in conflict, 2 unreadable`.
pub(super) fn listed<'a>(counts: impl IntoIterator<Item = (usize, &'a str)>) -> String {
    let parts = counts.into_iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

/// Says which FiFo was read, as whom, and in which zone times are: `FiFo: https://fifo.example.com as `ops`. Times:
/// Europe/Berlin.`
pub(super) fn origin(endpoint: &str, identity: Option<&str>, timezone: &str) -> String {
    let identity = identity.map_or_else(String::new, |identity| format!(" {identity}"));
    format!("FiFo: {endpoint}{identity}. Times: {timezone}.")
}

/// Says what snapshots hold: `3 snapshots, 14.0 GiB of quota`.
pub(super) fn held_text(held: &SnapshotUsage) -> String {
    format!("{}, {} of quota", counted(held.snapshots, "snapshot"), bytes_text(held.size_bytes))
}

/// Names a backup: `weekly of 2026-11-22 01:00`.
pub(super) fn newest_text(newest: &NewestBackup) -> String {
    format!("{} of {}", newest.tier.as_deref().unwrap_or("backup by hand"), minute_text(newest.taken))
}

/// Says what a restore fetches: `3 backups, 12.4 GiB`.
pub(super) fn restore_text(steps: usize, size_bytes: Option<u64>) -> String {
    let bytes = size_bytes.map_or_else(|| "size unknown".to_owned(), bytes_text);
    format!("{}, {bytes}", counted(steps, "backup"))
}

/// Names next due times with their offset from UTC: `weekly 2026-11-29 01:00 +01:00, daily …`.
pub(super) fn next_due_text<'a>(next_due: impl IntoIterator<Item = &'a NextDue>) -> String {
    let text = |due: &NextDue| format!("{} {} {}", due.tier, minute_text(due.at), due.at.format("%:z"));
    next_due.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Writes an age: hours and minutes under three days, then days.
pub(super) fn age_text(secs: i64) -> String {
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

pub(super) fn instant_text(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Returns the word that JSON has for something.
pub fn word(of: &impl Serialize) -> String {
    serde_json::to_value(of).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

pub fn action_text(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Create => "create",
        ActionKind::DeleteLocal => "delete locally",
        ActionKind::DeleteCloud => "delete from storage",
    }
}

/// Writes the counts of a run in one line, always in this form: what is not there is left out behind the first two.
pub fn counts_text(counts: &RunCounts) -> String {
    let mut text = format!("Done: {} created, {} deleted locally", counts.created, counts.deleted_local);
    if counts.deleted_cloud > 0 {
        text.push_str(&format!(", {} deleted from storage", counts.deleted_cloud));
    }
    let others = listed([
        (counts.started, "started"),
        (counts.left, "left to the next run"),
        (counts.failed, "failed"),
        (counts.dropped, "dropped"),
        (counts.interrupted, "interrupted"),
    ]);
    if !others.is_empty() {
        text.push_str(&format!("; {others}"));
    }
    text + "."
}
