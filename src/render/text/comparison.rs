//! What a change of policies does, as people read it: below the plan, with its counts last.

use super::rows::{Row, RowGroup, create_text, delete_text, stored_text};
use super::table::Table;
use super::{Detail, TextOptions, abandoned_text, span_text};
use crate::insight::{
    ActionCounts, Comparison, ComparisonSummary, PolicyChange, PolicyChangeKind, Protection,
    ProtectionChange, StoredBackups, VmChange, YearChange,
};
use crate::inventory::VmId;
use crate::plan::{Action, Plan, VmPlan, bytes_text};
use crate::policy::minute_text;
use crate::render::cells::{padded, visible, width, wrapped};
use crate::render::words::Symbol;
use crate::simulate::Totals;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Writes what a change of policies does. Its last line is always the counts, in a form that never changes.
///
/// `plan` is that of the policies now.
///
/// # Errors
///
/// Those of writing.
pub fn comparison(
    comparison: &Comparison,
    plan: &Plan,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    if options.detail > Detail::Brief {
        let heading = options.styles.heading;
        writeln!(out, "\n{heading}What this change of policies does{heading:#}")?;
        if comparison.against.is_empty() {
            writeln!(out, "There were no policies before.")?;
        }
        policies(comparison, options, out)?;
        vms(comparison, plan, options, out)?;
        years(comparison, options, out)?;
        writeln!(out)?;
    }
    if let Some(stranded) = abandoned_text(&comparison.summary.stranded) {
        for line in wrapped(&format!("Unmanaged by this change: {stranded}."), options.columns) {
            writeln!(out, "{line}")?;
        }
    }
    for line in expiry_lines(&comparison.summary) {
        for line in wrapped(&line, options.columns) {
            writeln!(out, "{line}")?;
        }
    }
    for line in wrapped(&change_totals(&comparison.summary), options.columns) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Says what expires at once, and what `--prune` may delete; nothing where nothing does.
pub(in crate::render) fn expiry_lines(summary: &ComparisonSummary) -> Vec<String> {
    let expired =
        stored_backups_text(&summary.expired).map(|text| format!("Expired by this change: {text}."));
    let prunable = stored_backups_text(&summary.prunable)
        .map(|text| format!("Deleted by a run with --prune because of this change: {text}."));
    expired.into_iter().chain(prunable).collect()
}

/// Counts stored backups: `12 backups, 34.0 GiB, from 2026-01-01 01:00 to 2026-03-01 01:00`; `None` where there are none.
pub(in crate::render) fn stored_backups_text(stored: &StoredBackups) -> Option<String> {
    let StoredBackups { backups, size_bytes, oldest, newest } = *stored;
    let when = match (oldest?, newest?) {
        (oldest, newest) if oldest == newest => format!("of {}", minute_text(oldest)),
        (oldest, newest) => format!("from {} to {}", minute_text(oldest), minute_text(newest)),
    };
    let noun = if backups == 1 { "backup" } else { "backups" };
    Some(format!("{backups} {noun}, {}, {when}", bytes_text(size_bytes)))
}

/// Returns the last line: `Change: 1 to create and 2 to delete locally because of it, 3 and 4 in any case, 0 and 1 no longer;
/// protection: 1 lost, 0 in conflict, 0 suspended, 2 gained, 0 resumed, 0 out of conflict, 1 moved.`
pub(in crate::render) fn change_totals(summary: &ComparisonSummary) -> String {
    let both = |counts: &ActionCounts| format!("{} and {}", counts.create, counts.delete_local);
    let ComparisonSummary {
        caused,
        anyway,
        no_longer,
        loses_protection,
        comes_into_conflict,
        suspended,
        gains_protection,
        resumed,
        leaves_conflict,
        changes_policy,
        stranded: _,
        expired: _,
        prunable: _,
    } = summary;
    let from_storage = match (caused.delete_cloud, anyway.delete_cloud, no_longer.delete_cloud) {
        (0, 0, 0) => String::new(),
        (caused, anyway, no_longer) => format!(
            " to delete from storage, for good: {caused} because of it, {anyway} in any case, {no_longer} no longer;"
        ),
    };
    format!(
        "Change: {} to create and {} to delete locally because of it, {} in any case, {} no longer;{from_storage} \
         protection: {loses_protection} lost, {comes_into_conflict} in conflict, {suspended} suspended, \
         {gains_protection} gained, {resumed} resumed, {leaves_conflict} out of conflict, {changes_policy} moved.",
        caused.create,
        caused.delete_local,
        both(anyway),
        both(no_longer),
    )
}

/// Says what a shift is.
pub(in crate::render) fn protection_change_text(shift: ProtectionChange) -> &'static str {
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

/// Says how a VM is protected.
pub(in crate::render) fn protection_text(protection: &Protection) -> String {
    match protection {
        Protection::Active { policy } => policy.clone(),
        Protection::Suspended { policy } => format!("{policy} (suspended)"),
        Protection::Conflict => "in conflict".to_owned(),
        Protection::Unprotected => "in no policy".to_owned(),
        Protection::Unreadable => "unreadable".to_owned(),
    }
}

/// Says what a policy sets otherwise, a setting a line.
pub(in crate::render) fn setting_lines(policy: &PolicyChange) -> Vec<String> {
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

fn policies(comparison: &Comparison, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    for policy in &comparison.policies {
        for line in setting_lines(policy) {
            let line = format!("policy {}: {}", visible(&policy.name), visible(&line));
            for (place, line) in wrapped(&line, options.columns.saturating_sub(4)).iter().enumerate() {
                writeln!(out, "{}{line}", if place == 0 { "  " } else { "    " })?;
            }
        }
    }
    Ok(())
}

fn vms(comparison: &Comparison, plan: &Plan, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    let planned: BTreeMap<VmId, &VmPlan> = plan.vms.iter().filter_map(|vm| Some((vm.uuid?, vm))).collect();
    let mut changes: Vec<&VmChange> = comparison.vms.iter().collect();
    // Protected worse than before comes first; a stable sort, so that they stay in their order otherwise.
    changes.sort_by_key(|change| {
        let worse = change.shift.filter(|shift| shift.is_worse());
        (worse.is_none(), worse)
    });
    let blocks: Vec<RowGroup> = changes
        .into_iter()
        .filter_map(|change| Some(block(change, planned.get(&change.uuid?)?, options.detail)))
        .collect();
    let table = Table::new(&blocks, options);
    blocks.iter().try_for_each(|block| table.write(block, out))
}

fn block(change: &VmChange, vm: &VmPlan, detail: Detail) -> RowGroup {
    let mut rows = Vec::new();
    if let Some(shift) = change.shift {
        let symbol = if shift.is_worse() { Symbol::Alarm } else { Symbol::Aside };
        let (before, after) = (protection_text(&change.before), protection_text(&change.after));
        let what = visible(&format!("{before} -> {after}"));
        rows.push(Row { symbol, verb: protection_change_text(shift), what, why: String::new() });
    }
    rows.extend(abandoned_text(&change.stranded).map(|what| Row {
        symbol: Symbol::Alarm,
        verb: "unmanaged",
        what,
        why: "a tier's `also` takes them over".to_owned(),
    }));
    rows.extend(stored_backups_text(&change.expired).map(|what| Row {
        symbol: Symbol::Alarm,
        verb: "expired",
        what,
        why: "by this change".to_owned(),
    }));
    rows.extend(stored_backups_text(&change.prunable).map(|what| Row {
        symbol: Symbol::Alarm,
        verb: "prunable",
        what,
        why: "--prune deletes them from storage".to_owned(),
    }));
    let text = |action: &Action| match action {
        Action::Create(create) => (create_text(create, detail), create.reason.to_string()),
        Action::DeleteLocal(delete) => (delete_text(vm, delete, detail), delete.reason.to_string()),
        Action::DeleteCloud(delete) => (stored_text(delete, detail), delete.reason.to_string()),
    };
    let row = |symbol, verb, action: &Action| {
        let (what, why) = text(action);
        Row { symbol, verb, what: visible(&what), why: visible(&why) }
    };
    for action in &change.caused {
        match action {
            Action::Create(_) => rows.push(row(Symbol::Create, "create", action)),
            Action::DeleteLocal(_) => rows.push(row(Symbol::Delete, "delete locally", action)),
            Action::DeleteCloud(_) => rows.push(row(Symbol::Destroy, "delete from storage", action)),
        }
    }
    for action in &change.no_longer {
        match action {
            Action::Create(_) => rows.push(row(Symbol::Held, "no longer create", action)),
            Action::DeleteLocal(_) => rows.push(row(Symbol::Held, "no longer delete", action)),
            Action::DeleteCloud(_) => rows.push(row(Symbol::Held, "no longer delete from storage", action)),
        }
    }
    if !change.anyway.is_empty() {
        let others = if change.anyway.all() == 1 { "action" } else { "actions" };
        let what = format!("{} other {others} of the plan", change.anyway.all());
        rows.push(Row { symbol: Symbol::Aside, verb: "in any case", what, why: String::new() });
    }
    RowGroup {
        alias: if vm.alias.is_empty() { "(no alias)".to_owned() } else { visible(&vm.alias) },
        id: vm.uuid.map_or_else(|| "(no UUID)".to_owned(), |id| id.short()),
        policy: vm.policy.as_deref().map(visible),
        rows,
    }
}

/// One line of a simulated year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::render) struct YearRow {
    /// The counted thing: `full backups made`.
    pub(in crate::render) what: &'static str,
    /// Without the change.
    pub(in crate::render) without: String,
    pub(in crate::render) with: String,
}

/// Puts into words how a policy's year differs.
pub(in crate::render) fn year_rows(year: &YearChange) -> Vec<YearRow> {
    type Number = fn(&Totals) -> String;
    const NUMBERS: [(&str, Number); 10] = [
        ("full backups made", |year| year.full.to_string()),
        ("incremental backups made", |year| year.incremental.to_string()),
        ("backups deleted from storage", |year| year.pruned.to_string()),
        ("backups stored in the end", |year| year.stored.to_string()),
        ("most backups stored", |year| year.stored_max.to_string()),
        ("stored in the end", |year| bytes_text(year.stored_bytes)),
        ("most snapshots on the hypervisor", |year| year.local_max.to_string()),
        ("backups that a restore reads at the most", |year| year.longest_chain.to_string()),
        ("bytes that a restore of the newest reads", |year| bytes_text(year.restore_bytes)),
        ("greatest age of the newest", |year| {
            year.newest_age_secs.map_or_else(|| "none".to_owned(), span_text)
        }),
    ];
    let rows = NUMBERS.iter().map(|(what, number)| {
        let of = |year: &Option<Totals>| year.as_ref().map_or_else(|| "-".to_owned(), number);
        YearRow { what, without: of(&year.before), with: of(&year.after) }
    });
    rows.filter(|row| row.without != row.with).collect()
}

fn years(comparison: &Comparison, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    let heading = options.styles.heading;
    for year in &comparison.years {
        let title = format!("A simulated year of one VM, {}", visible(&year.policy));
        let lines = wrapped(&title, options.columns);
        writeln!(out, "\n{heading}{}{heading:#}", lines.join("\n"))?;
        let rows = year_rows(year);
        let wide = |of: fn(&YearRow) -> &str| rows.iter().map(|row| width(of(row))).max().unwrap_or(0);
        let number = wide(|row| &row.without).max(wide(|row| &row.with)).max("without".len());
        let what = wide(|row| row.what);
        writeln!(out, "  {}  {:>number$}  {:>number$}", " ".repeat(what), "without", "with it")?;
        for YearRow { what: name, without, with } in &rows {
            writeln!(out, "  {}  {without:>number$}  {with:>number$}", padded(name, what))?;
        }
    }
    Ok(())
}
