//! What a change of policies does, as people read it: below the plan, with its counts last.

use super::rows::{Row, RowGroup, create_text, delete_text, stored_text};
use super::table::Table;
use super::{Detail, TextOptions, abandoned_text};
use crate::insight::forecast::{ForecastCounts, ForecastGroup};
use crate::insight::retention::TierPeak;
use crate::insight::{
    ActionCounts, Comparison, ComparisonSummary, PolicyChangeKind, Protection, ProtectionChange,
    StoredBackups, VmChange,
};
use crate::inventory::VmId;
use crate::plan::{Action, Plan, VmPlan, bytes_text};
use crate::policy::minute_text;
use crate::render::cells::{padded, visible, width, wrapped};
use crate::render::wording::Symbol;
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
        forecast(comparison, options, out)?;
        writeln!(out)?;
    }
    if let Some(stranded) = abandoned_text(&comparison.summary.stranded) {
        for line in wrapped(&format!("Unmanaged by this change: {stranded}."), options.columns) {
            writeln!(out, "{line}")?;
        }
    }
    for line in expiry_lines(&comparison.summary).into_iter().chain(peak_lines(comparison)) {
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

/// Says which tiers hold more or fewer stored backups at their peak.
pub(in crate::render) fn peak_lines(comparison: &Comparison) -> Vec<String> {
    let peak = |peak: &Option<TierPeak>| match peak {
        None => "none".to_owned(),
        Some(TierPeak { peak: None, .. }) => "ever more".to_owned(),
        Some(TierPeak { peak: Some(peak), .. }) => peak.to_string(),
    };
    let lines = comparison.stored_peaks.iter().map(|change| {
        let (policy, tier) = (visible(&change.policy), visible(&change.tier));
        let (before, after) = (peak(&change.before), peak(&change.after));
        format!("Stored of each VM at the peak, {policy} {tier}: {before} -> {after}.")
    });
    lines.collect()
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

fn policies(comparison: &Comparison, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    for policy in &comparison.policies {
        let what = match policy.change {
            PolicyChangeKind::Added => "new".to_owned(),
            PolicyChangeKind::Removed => "gone".to_owned(),
            PolicyChangeKind::Changed => policy.fields.join("; "),
        };
        let line = format!("policy {}: {}", visible(&policy.name), visible(&what));
        for (place, line) in wrapped(&line, options.columns.saturating_sub(4)).iter().enumerate() {
            writeln!(out, "{}{line}", if place == 0 { "  " } else { "    " })?;
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
        let others = if change.anyway.len() == 1 { "action" } else { "actions" };
        let what = format!("{} other {others} of the plan", change.anyway.len());
        rows.push(Row { symbol: Symbol::Aside, verb: "in any case", what, why: String::new() });
    }
    RowGroup {
        alias: if vm.alias.is_empty() { "(no alias)".to_owned() } else { visible(&vm.alias) },
        id: vm.uuid.map_or_else(|| "(no UUID)".to_owned(), |id| id.short()),
        policy: vm.policy.as_deref().map(visible),
        rows,
    }
}

/// One line of the forecast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::render) struct ForecastRow {
    /// The counted thing: `monthly backups`.
    pub(in crate::render) what: String,
    /// Without the change.
    pub(in crate::render) without: String,
    pub(in crate::render) with: String,
}

/// Puts into words how the forecast of a group differs; one row that says so where it does not.
pub(in crate::render) fn forecast_rows(group: &ForecastGroup) -> Vec<ForecastRow> {
    let (without, with) = (&group.without, &group.with);
    let mut rows = Vec::new();
    let mut row = |what: String, without: usize, with: usize| {
        if without != with {
            rows.push(ForecastRow { what, without: without.to_string(), with: with.to_string() });
        }
    };
    // In the order of the policy now; what only the one before had comes last.
    let mut names: Vec<&str> = Vec::new();
    for tier in with.creates.iter().chain(&without.creates) {
        if !names.contains(&tier.tier.as_str()) {
            names.push(&tier.tier);
        }
    }
    for name in names {
        let of = |outlook: &ForecastCounts| {
            let tier = outlook.creates.iter().find(|tier| tier.tier == name);
            tier.map_or((0, 0), |tier| (tier.full, tier.incremental))
        };
        let ((full_before, incremental_before), (full, incremental)) = (of(without), of(with));
        row(format!("{name} created, full"), full_before, full);
        row(format!("{name} created, incremental"), incremental_before, incremental);
    }
    let mut number =
        |what: &str, of: fn(&ForecastCounts) -> usize| row(what.to_owned(), of(without), of(with));
    number("snapshots deleted locally", |outlook| outlook.deleted_locally);
    number("snapshots at period end", |outlook| outlook.local);
    number("most snapshots of one VM", |outlook| outlook.local_max);
    number("backups deleted from storage", |outlook| outlook.stored.pruned);
    number("backups stored at period end", |outlook| outlook.stored.stored);
    number("most backups stored", |outlook| outlook.stored.stored_max);
    number("stored backups expired at period end", |outlook| outlook.stored.expired);
    number("steps of the longest restore", |outlook| outlook.steps_max);
    if rows.is_empty() {
        let same = || "the same".to_owned();
        rows.push(ForecastRow { what: "all that is counted".to_owned(), without: same(), with: same() });
    }
    rows
}

fn forecast(comparison: &Comparison, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    let forecast = &comparison.forecast;
    if forecast.groups.is_empty() && forecast.left_out == 0 {
        return Ok(());
    }
    let heading = options.styles.heading;
    let (from, until) = (forecast.from.format("%Y-%m-%d"), forecast.until.format("%Y-%m-%d"));
    writeln!(out, "\n{heading}Forecast from {from} to {until}{heading:#}")?;
    let about = "Only what differs, if every backup succeeds; VMs with the same policy before and after are \
                 counted together.";
    for line in wrapped(about, options.columns) {
        writeln!(out, "{line}")?;
    }
    if forecast.left_out > 0 {
        writeln!(out, "{} VMs are not in it: too many would have to be looked at.", forecast.left_out)?;
    }
    for group in &forecast.groups {
        let policy = |name: &Option<String>| name.as_deref().map_or_else(|| "no policy".to_owned(), visible);
        let vms = if group.vms == 1 { "1 VM".to_owned() } else { format!("{} VMs", group.vms) };
        let (before, after) = (policy(&group.before), policy(&group.after));
        let who = if before == after { before } else { format!("{before} -> {after}") };
        for line in wrapped(&format!("{who}  ({vms})"), options.columns) {
            writeln!(out, "{heading}{line}{heading:#}")?;
        }
        let rows = forecast_rows(group);
        let wide = |of: fn(&ForecastRow) -> &str| rows.iter().map(|row| width(of(row))).max().unwrap_or(0);
        let (what, number) = (wide(|row| &row.what), wide(|row| &row.without).max("without".len()));
        writeln!(out, "  {}  {:>number$}  {:>number$}", " ".repeat(what), "without", "with it")?;
        for row in &rows {
            let (without, with) = (&row.without, &row.with);
            let what = padded(&visible(&row.what), what);
            writeln!(out, "  {what}  {without:>number$}  {with:>number$}")?;
        }
    }
    Ok(())
}
