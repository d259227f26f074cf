//! The plan as text: a block for each VM with something to show, then the counts.

mod comparison;
mod groups;
mod options;
pub(super) mod rows;
pub(super) mod show;
pub(super) mod status;
mod status_table;
mod status_text;
mod table;

#[cfg(test)]
mod tests;

use super::cells::{visible, wrapped};
use super::wording::{ProblemName, wording};
use crate::insight::{AbandonedBackups, Estimate};
use crate::plan::{NoteCode, Plan, SnapshotUsage, Status, Summary, VmPlan, bytes_text};
pub use comparison::comparison;
pub(super) use comparison::{
    change_totals, expiry_lines, forecast_rows, peak_lines, protection_change_text, protection_text,
    stored_backups_text,
};
use groups::Blocks;
pub use options::{Detail, TextOptions};
pub use show::show;
pub use status::{StatusView, span_text, status};
pub(super) use status_text::next_due_text;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use table::Table;

/// What a plan as text shows besides the plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanExtras<'a> {
    /// As whom FiFo was read.
    pub identity: Option<&'a str>,
    /// The estimate of the bytes that the plan frees and uploads.
    pub estimate: Option<&'a Estimate>,
}

/// Says which FiFo was read, as whom, and in which zone times are: `FiFo: https://fifo.example.com as `ops`. Times:
/// Europe/Berlin.`
fn origin_text(endpoint: &str, identity: &str, timezone: &str) -> String {
    format!("FiFo: {} {}. Times: {timezone}.", visible(endpoint), visible(identity))
}

/// Writes a plan as text. Its last line is always the counts, in a form that never changes.
///
/// # Errors
///
/// Those of writing.
pub fn plan(
    plan: &Plan,
    extras: PlanExtras<'_>,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    if is_left_out(plan, options.detail) {
        return Ok(());
    }
    let blocks = Blocks::new(plan, options.detail);
    let table = Table::new(blocks.iter(), options);
    for block in blocks.iter() {
        table.write(&block, out)?;
    }
    if !blocks.is_empty() {
        writeln!(out)?;
    }
    let origin = extras.identity.map(|identity| origin_text(&plan.endpoint, identity, &plan.timezone));
    let origin = origin.filter(|_| options.detail > Detail::Brief);
    let estimate = extras.estimate.and_then(estimate_text);
    for line in remarks(plan, options.detail).into_iter().chain(origin).chain(estimate) {
        for line in wrapped(&line, options.columns) {
            writeln!(out, "{line}")?;
        }
    }
    writeln!(out, "{}", totals(&plan.summary))
}

/// Says whether there is nothing in a plan that is worth a line at this level of detail.
fn is_left_out(plan: &Plan, detail: Detail) -> bool {
    let is_wrong = |vm: &VmPlan| vm.status == Status::Blocked || vm.note(NoteCode::SuspensionEnded).is_some();
    let is_told = |vm: &VmPlan| match detail {
        Detail::Errors => vm.is_in_trouble(),
        _ => vm.is_in_trouble() || is_wrong(vm) || !vm.due_actions().is_empty(),
    };
    detail <= Detail::Brief && !plan.vms.iter().any(is_told)
}

/// Says what a plan moves: `Estimate: 4.2 GiB freed on hypervisors, about 31.0 GiB to upload.`; `None` where it moves
/// nothing.
fn estimate_text(estimate: &Estimate) -> Option<String> {
    let Estimate { freed_bytes, pruned_bytes, upload_bytes, creates, creates_unknown } = *estimate;
    if freed_bytes == 0 && pruned_bytes == 0 && creates == 0 {
        return None;
    }
    let pruned = match pruned_bytes {
        0 => String::new(),
        bytes => format!(", {} in storage", bytes_text(bytes)),
    };
    let upload = match creates_unknown {
        0 => format!("about {} to upload", bytes_text(upload_bytes)),
        unknown if unknown == creates => "an unknown size to upload".to_owned(),
        unknown => format!("about {} to upload, and {unknown} of unknown size", bytes_text(upload_bytes)),
    };
    Some(format!("Estimate: {} freed on hypervisors{pruned}, {upload}.", bytes_text(freed_bytes)))
}

/// Returns the last line of a plan: `Plan: 1 to create, 2 to delete locally; 9 up to date, 1 waiting, 1 blocked, 1
/// unprotected.`
pub fn totals(summary: &Summary) -> String {
    let Summary { create, delete_local, delete_cloud, up_to_date, waiting, blocked, unprotected, .. } =
        summary;
    let from_storage = match delete_cloud {
        0 => String::new(),
        count => format!(", {count} to delete from storage, for good"),
    };
    format!(
        "Plan: {create} to create, {delete_local} to delete locally{from_storage}; \
         {up_to_date} up to date, {waiting} waiting, {blocked} blocked, {unprotected} unprotected."
    )
}

/// Returns the lines that stand before the last one where there is a reason for them.
fn remarks(plan: &Plan, detail: Detail) -> Vec<String> {
    let mut lines = ended_suspensions(&plan.vms);
    if let Some(problems) = problems(&plan.vms) {
        let where_to_look = if detail == Detail::Full { "" } else { " -v shows which." };
        lines.push(format!("Problems: {problems}.{where_to_look}"));
    }
    if detail > Detail::Brief
        && let Some(unmanaged) = unmanaged(&plan.summary.unmanaged)
    {
        lines.push(format!("Unmanaged: {unmanaged}, which no tier is for."));
    }
    lines.extend(left_alone(&plan.summary));
    lines
}

/// Says what snapshots hold: `3 snapshots, 14.0 GiB of quota`.
pub(super) fn held_text(held: &SnapshotUsage) -> String {
    let snapshots = if held.snapshots == 1 { "snapshot" } else { "snapshots" };
    format!("{} {snapshots}, {} of quota", held.snapshots, bytes_text(held.size_bytes))
}

/// Counts the backups without a tier; `None` where there are none.
pub(super) fn unmanaged(held: &SnapshotUsage) -> Option<String> {
    (held.snapshots > 0).then(|| held_text(held))
}

/// Counts the backups that a change of policies makes unmanaged; `None` where there are none.
fn abandoned_text(stranded: &AbandonedBackups) -> Option<String> {
    let backups = if stranded.backups == 1 { "backup" } else { "backups" };
    let held = unmanaged(&stranded.held).map_or_else(String::new, |held| format!(", with {held}"));
    (!stranded.is_empty()).then(|| format!("{} {backups} no longer in a tier{held}", stranded.backups))
}

/// Counts the VMs that get no actions: `Left alone: 1 in conflict, 2 unreadable.`; `None` where there is no such VM.
pub(super) fn left_alone(summary: &Summary) -> Option<String> {
    let Summary { fault, conflict, unreadable, suspended, .. } = *summary;
    let left_alone = listed([
        (fault, "by a fault of this program"),
        (conflict, "in conflict"),
        (unreadable, "unreadable"),
        (suspended, "suspended"),
    ]);
    (!left_alone.is_empty()).then(|| format!("Left alone: {left_alone}."))
}

fn listed<const N: usize>(counts: [(usize, &str); N]) -> String {
    let parts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// A suspension belongs to its policy, so it is shown once for all of the policy's VMs.
fn ended_suspensions(vms: &[VmPlan]) -> Vec<String> {
    let ended: BTreeSet<(&str, String)> = vms
        .iter()
        .filter_map(|vm| {
            let note = vm.note(NoteCode::SuspensionEnded)?;
            Some((vm.policy.as_deref().unwrap_or_default(), note.to_string()))
        })
        .collect();
    ended
        .into_iter()
        .map(|(policy, message)| format!("Policy {}: {}.", visible(policy), visible(&message)))
        .collect()
}

/// Counts what is wrong with single backups, over all VMs; `None` when nothing is.
fn problems(vms: &[VmPlan]) -> Option<String> {
    let mut counts: BTreeMap<NoteCode, (usize, ProblemName)> = BTreeMap::new();
    let mut troubled = 0;
    for vm in vms {
        let problems = vm.notes.iter().filter_map(|note| Some((note.code, wording(note).problem?)));
        let mut is_troubled = false;
        for (code, name) in problems {
            counts.entry(code).or_insert((0, name)).0 += 1;
            is_troubled = true;
        }
        troubled += usize::from(is_troubled);
    }
    let counted = counts.into_values();
    let counted: Vec<String> =
        counted.map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" })).collect();
    let vms = if troubled == 1 { "VM" } else { "VMs" };
    (troubled > 0).then(|| format!("{} on {troubled} {vms}", counted.join(", ")))
}
