//! The document of a change of policies: what it causes, and what is due anyway only counted.

use super::doc::{Block, Column, Detail, Doc, Entry, Line, Row, Table, Tone};
use super::groups::entry_head;
use super::plan::{self, PlanParts, action_line};
use super::simulate::NUMBERS;
use super::words::{counted, held_text, listed};
use crate::insight::{
    AbandonedBackups, Comparison, ComparisonSummary, PolicyChange, PolicyChangeKind, Protection,
    ProtectionChange, StoredBackups, VmChange,
};
use crate::inventory::VmId;
use crate::plan::{Action, Plan, VmPlan, bytes_text};
use crate::policy::minute_text;
use crate::simulate::Totals;
use std::collections::BTreeMap;

const YEAR_COLUMNS: [Column; 4] = [
    Column::wrapping("policy", 0),
    Column::wrapping("in a year of one VM", 0),
    Column::number("without this change", 0),
    Column::number("with it", 0),
];

pub fn document(plan: &Plan, comparison: &Comparison, parts: PlanParts<'_>, detail: Detail) -> Doc {
    let has_details = parts.has_details;
    let mut doc = plan::document(plan, PlanParts { has_details: false, ..parts }, detail);
    if detail > Detail::Brief {
        let mut planned = std::mem::take(&mut doc.blocks);
        doc.blocks = changes(plan, comparison, detail);
        if has_details {
            let title = "The whole plan, with what is due anyway".to_owned();
            planned.extend(plan::further(plan, &[]));
            doc.blocks.push(Block::Details { title, blocks: planned });
        } else {
            planned.append(&mut doc.blocks);
            doc.blocks = planned;
        }
    }
    doc.remarks.splice(0..0, remarks(comparison));
    doc.summary.push(totals(&comparison.summary));
    doc
}

fn changes(plan: &Plan, comparison: &Comparison, detail: Detail) -> Vec<Block> {
    let mut blocks = vec![Block::Heading("What this change of policies does".to_owned())];
    if comparison.against.is_empty() {
        blocks.push(Block::Para(Tone::Plain, "There were no policies before.".to_owned()));
    }
    let settings = comparison.policies.iter().flat_map(|policy| {
        let lines = setting_lines(policy).into_iter();
        lines.map(|line| (Tone::Plain, format!("policy {}: {line}", policy.name))).collect::<Vec<_>>()
    });
    blocks.push(Block::List(settings.collect()));
    let planned: BTreeMap<VmId, &VmPlan> = plan.vms.iter().filter_map(|vm| Some((vm.uuid?, vm))).collect();
    let mut changes: Vec<&VmChange> = comparison.vms.iter().collect();
    // Protected worse than before comes first; a stable sort, so that they stay in their order otherwise.
    changes.sort_by_key(|change| {
        let worse = change.shift.filter(|shift| shift.is_worse());
        (worse.is_none(), worse)
    });
    let entries =
        changes.iter().filter_map(|change| Some(entry(change, planned.get(&change.uuid?)?, detail)));
    blocks.push(Block::Entries(entries.collect()));
    blocks.extend(years(comparison));
    blocks
}

fn entry(change: &VmChange, vm: &VmPlan, detail: Detail) -> Entry {
    let mut lines = Vec::new();
    if let Some(shift) = change.shift {
        let tone = if shift.is_worse() { Tone::Alarm } else { Tone::Plain };
        let (before, after) = (protection_text(&change.before), protection_text(&change.after));
        lines.push(Line::new(tone, shift_text(shift), format!("{before} -> {after}")));
    }
    let alarms = [
        ("unmanaged", abandoned_text(&change.stranded), "a tier's `also` takes them over"),
        ("expired", stored_text(&change.expired), "by this change"),
        ("prunable", stored_text(&change.prunable), "--prune deletes them from storage"),
    ];
    lines.extend(
        alarms.into_iter().filter_map(|(verb, what, why)| {
            Some(Line::new(Tone::Alarm, verb, what?).because(why.to_owned()))
        }),
    );
    lines.extend(change.caused.iter().map(|action| action_line(&[(vm, action)], detail)));
    lines.extend(change.no_longer.iter().map(|action| {
        let verb = match action {
            Action::Create(_) => "no longer create",
            Action::DeleteLocal(_) => "no longer delete",
            Action::DeleteCloud(_) => "no longer delete from storage",
        };
        Line { tone: Tone::Held, verb, ..action_line(&[(vm, action)], detail) }
    }));
    if !change.anyway.is_empty() {
        let what = format!("{} of the plan", counted(change.anyway.all(), "other action"));
        lines.push(Line::new(Tone::Plain, "in any case", what));
    }
    Entry { lines, ..entry_head(&[(&vm.alias, vm.uuid)], vm.policy.as_deref()) }
}

/// Counts the backups that a change of policies makes unmanaged; `None` where there are none.
fn abandoned_text(stranded: &AbandonedBackups) -> Option<String> {
    let held = match stranded.held.snapshots {
        0 => String::new(),
        _ => format!(", with {}", held_text(&stranded.held)),
    };
    let backups = counted(stranded.backups, "backup");
    (!stranded.is_empty()).then(|| format!("{backups} no longer in a tier{held}"))
}

/// Counts stored backups: `12 backups, 34.0 GiB, from 2026-01-01 01:00 to 2026-03-01 01:00`; `None` where there are none.
fn stored_text(stored: &StoredBackups) -> Option<String> {
    let StoredBackups { backups, size_bytes, oldest, newest } = *stored;
    let when = match (oldest?, newest?) {
        (oldest, newest) if oldest == newest => format!("of {}", minute_text(oldest)),
        (oldest, newest) => format!("from {} to {}", minute_text(oldest), minute_text(newest)),
    };
    Some(format!("{}, {}, {when}", counted(backups, "backup"), bytes_text(size_bytes)))
}

fn shift_text(shift: ProtectionChange) -> &'static str {
    match shift {
        ProtectionChange::LosesProtection => "loses protection",
        ProtectionChange::ComesIntoConflict => "in conflict",
        ProtectionChange::Suspended => "suspended",
        ProtectionChange::GainsProtection => "gains protection",
        ProtectionChange::Resumed => "no longer suspended",
        ProtectionChange::LeavesConflict => "out of conflict",
        ProtectionChange::ChangesPolicy => "changes policy",
    }
}

fn protection_text(protection: &Protection) -> String {
    match protection {
        Protection::Active { policy } => policy.clone(),
        Protection::Suspended { policy } => format!("{policy} (suspended)"),
        Protection::Conflict => "in conflict".to_owned(),
        Protection::Unprotected => "in no policy".to_owned(),
        Protection::Unreadable => "unreadable".to_owned(),
    }
}

fn remarks(comparison: &Comparison) -> Vec<(Tone, String)> {
    let summary = &comparison.summary;
    let mut remarks = Vec::new();
    let worse = listed([
        (summary.loses_protection, "no longer protected"),
        (summary.comes_into_conflict, "in conflict"),
        (summary.suspended, "suspended"),
    ]);
    if !worse.is_empty() {
        remarks.push((Tone::Alarm, format!("VMs protected worse than before: {worse}.")));
    }
    let causes = [
        ("Unmanaged by this change", abandoned_text(&summary.stranded)),
        ("Expired by this change", stored_text(&summary.expired)),
        ("Deleted by a run with --prune because of this change", stored_text(&summary.prunable)),
    ];
    let causes = causes.into_iter().filter_map(|(what, text)| Some(format!("{what}: {}.", text?)));
    remarks.extend(causes.map(|text| (Tone::Alarm, text)));
    remarks
}

/// Returns the last line: `Change: 1 to create and 2 to delete locally because of it, 3 and 4 in any case, 0 and 1 no longer;
/// protection: 1 lost, 0 in conflict, 0 suspended, 2 gained, 0 resumed, 0 out of conflict, 1 moved.`
fn totals(summary: &ComparisonSummary) -> String {
    let ComparisonSummary { caused, anyway, no_longer, .. } = summary;
    let from_storage = match (caused.delete_cloud, anyway.delete_cloud, no_longer.delete_cloud) {
        (0, 0, 0) => String::new(),
        (caused, anyway, no_longer) => format!(
            " to delete from storage, for good: {caused} because of it, {anyway} in any case, {no_longer} no longer;"
        ),
    };
    format!(
        "Change: {} to create and {} to delete locally because of it, {} and {} in any case, {} and {} no \
         longer;{from_storage} protection: {} lost, {} in conflict, {} suspended, {} gained, {} resumed, {} out of \
         conflict, {} moved.",
        caused.create,
        caused.delete_local,
        anyway.create,
        anyway.delete_local,
        no_longer.create,
        no_longer.delete_local,
        summary.loses_protection,
        summary.comes_into_conflict,
        summary.suspended,
        summary.gains_protection,
        summary.resumed,
        summary.leaves_conflict,
        summary.changes_policy,
    )
}

fn setting_lines(policy: &PolicyChange) -> Vec<String> {
    match policy.change {
        PolicyChangeKind::Added => return vec!["new".to_owned()],
        PolicyChangeKind::Removed => return vec!["gone".to_owned()],
        PolicyChangeKind::Changed => {}
    }
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let lines = policy.settings.iter().map(|setting| {
        format!("{}: {} -> {}", setting.setting, value(&setting.before), value(&setting.after))
    });
    lines.collect()
}

fn years(comparison: &Comparison) -> Vec<Block> {
    let mut rows = Vec::new();
    for year in &comparison.years {
        let mut policy = year.policy.to_string();
        for (what, number) in NUMBERS {
            let of = |year: &Option<Totals>| year.as_ref().map_or_else(|| "-".to_owned(), number);
            let (before, after) = (of(&year.before), of(&year.after));
            if before != after {
                let cells = vec![std::mem::take(&mut policy), what.to_owned(), before, after];
                rows.push(Row { cells, ..Row::default() });
            }
        }
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let table = Table { columns: &YEAR_COLUMNS, rows, folded: None };
    vec![Block::Heading("The simulated year".to_owned()), Block::Table(table)]
}
