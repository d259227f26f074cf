//! What is no mistake and yet hardly meant: found without a clock and without FiFo, so that it is found alike everywhere.

use super::document::{Document, TierDocument};
use super::text::{DiagnosticSink, Span};
use super::units::duration_text;
use super::{Policies, Policy, Schedule, SkippedTime, Tier, TierIndex, TierKind, minute_text};
use crate::inventory::Inventory;
use chrono::TimeDelta;
use std::collections::BTreeSet;
use std::iter::successors;

/// Finds the policies that match no VM of an inventory.
///
/// A VM that could not be read may be one that a policy matches, so with an unreadable one there is nothing to report.
pub fn unmatched<'a>(policies: &'a Policies, inventory: &Inventory) -> Vec<&'a Policy> {
    if !inventory.unreadable.is_empty() {
        return Vec::new();
    }
    policies.iter().filter(|policy| !inventory.vms.values().any(|vm| policy.matches(vm))).collect()
}

/// Warns of what is doubtful in a policy that is free of mistakes.
pub(super) fn lint(document: &Document, policy: &Policy, report: &mut DiagnosticSink<'_>) {
    let spots: Vec<Spots> = document.tiers.iter().map(|tier| Spots::of(tier, document.span)).collect();
    for (index, tier) in policy.tiers.iter().enumerate() {
        covered(policy, index, spots[index].name, report);
        spread_apart(policy, index, &spots[index], report);
        skipped_hour(tier, spots[index].schedule, report);
        either_day(tier, &document.tiers[index], report);
        keeps_more_locally(tier, spots[index].keep_local, report);
        kept_by_chains(policy, index, spots[index].keep, report);
    }
    stuck_late(document, policy, report);
    if let Some(max_age) = &document.max_age
        && let Some(finest) = policy.tiers.iter().min_by_key(|tier| tier.schedule.gap_max())
        && max_age.value < finest.schedule.gap_max()
    {
        let gap = duration_text(finest.schedule.gap_max());
        report
            .warning(
                max_age.span,
                format!("`max_age` is shorter than the longest gap of `{}`, {gap}", finest.name),
            )
            .hint(format!("set it to more than {gap}, otherwise every VM is reported as too old at times"));
    }
}

/// Where the parts of a tier stand.
struct Spots {
    name: Span,
    schedule: Span,
    keep: Span,
    keep_local: Span,
    spread: Option<Span>,
}

impl Spots {
    fn of(tier: &TierDocument, otherwise: Span) -> Self {
        Self {
            name: tier.name.as_ref().map_or(otherwise, |it| it.span),
            schedule: tier.schedule.as_ref().map_or(otherwise, |it| it.span),
            keep: tier.keep.as_ref().map_or(otherwise, |it| it.span),
            keep_local: tier.keep_local.as_ref().map_or(otherwise, |it| it.span),
            spread: tier.spread.as_ref().map(|it| it.span),
        }
    }
}

/// Coarser tiers that are due at the same times leave a tier nothing to do. Tiers that are spread differently are not
/// compared: their instants differ from VM to VM. Nor are clock changes looked at: a day a year makes no tier useful.
fn covered(policy: &Policy, index: TierIndex, span: Span, report: &mut DiagnosticSink<'_>) {
    let tier = &policy.tiers[index];
    let coarser: Vec<&Tier> = policy.tiers[..index].iter().filter(|it| it.spread == tier.spread).collect();
    let mut with = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for day in days_of(tier) {
        let there: Vec<usize> =
            (0..coarser.len()).filter(|&it| coarser[it].schedule.cron().is_on(day)).collect();
        if seen.contains(&there) {
            continue;
        }
        for minute in tier.schedule.cron().minutes() {
            let at_it = |it: &&usize| coarser[**it].schedule.cron().minutes().binary_search(minute).is_ok();
            match there.iter().find(at_it) {
                Some(&it) => with.insert(format!("`{}`", coarser[it].name)),
                None => return,
            };
        }
        seen.insert(there);
    }
    let with: Vec<String> = with.into_iter().collect();
    report
        .warning(
            span,
            format!("`{}` is always due together with {}, which satisfies it", tier.name, with.join(" or ")),
        )
        .hint("remove this tier, or change its schedule");
}

/// The days that a tier comes on, over some years.
fn days_of(tier: &Tier) -> impl Iterator<Item = i64> {
    let cron = tier.schedule.cron();
    let next = move |from: i64| cron.first_day_in(from..Schedule::scan_days().end);
    successors(next(Schedule::scan_days().start), move |day| next(day + 1))
}

/// A backup of a coarser tier does for a finer one that is due at the same instant. Different spreads shift a VM's due
/// times of that night by different shares, and each tier makes a backup of its own.
fn spread_apart(policy: &Policy, index: TierIndex, spots: &Spots, report: &mut DiagnosticSink<'_>) {
    let tier = &policy.tiers[index];
    let (cron, minutes) = (tier.schedule.cron(), tier.schedule.cron().minutes());
    let falls_together = |other: &&Tier| {
        let other = other.schedule.cron();
        minutes.iter().any(|minute| other.minutes().binary_search(minute).is_ok())
            && Schedule::scan_days().any(|day| other.is_on(day) && cron.is_on(day))
    };
    let mut apart = policy.tiers[..index].iter().filter(|other| other.spread != tier.spread);
    if let Some(other) = apart.find(falls_together) {
        report
            .warning(
                spots.spread.unwrap_or(spots.name),
                format!(
                    "`{}` and `{}` are due on the same night with different `spread`",
                    other.name, tier.name
                ),
            )
            .hint("each VM gets two backups that night; give both tiers the same `spread`");
    }
}

fn skipped_hour(tier: &Tier, span: Span, report: &mut DiagnosticSink<'_>) {
    if let Some(SkippedTime { wanted, change, is_taken }) = tier.schedule.skipped_time() {
        let zone = tier.schedule.zone();
        let (day, wanted) = (wanted.format("%Y-%m-%d"), wanted.format("%H:%M"));
        let hint = if is_taken {
            let change = minute_text(zone.moment(change));
            format!("the backup is then due at {change}; choose an hour that is never skipped")
        } else {
            let hours: Vec<String> = tier.schedule.cron().hours().iter().map(u16::to_string).collect();
            format!(
                "a schedule with a step of hours skips it; with named hours, `{}`, it is due at the clock change",
                hours.join(",")
            )
        };
        report
            .warning(span, format!("clocks in {} skip {wanted} on some days, such as {day}", zone.name()))
            .hint(hint);
    }
}

/// `0 1 1-7 * SUN` looks like the first Sunday and is eleven days a month.
fn either_day(tier: &Tier, document: &TierDocument, report: &mut DiagnosticSink<'_>) {
    let Some(schedule) = &document.schedule else { return };
    let fields: Vec<&str> = schedule.value.split_whitespace().collect();
    let cron = tier.schedule.cron();
    let [minute, hour, days, months, weekdays] = fields[..] else { return };
    if !cron.means_either_day() {
        return;
    }
    let is_plain =
        |weekday: &str| weekday.chars().all(|c| c.is_ascii_alphanumeric()) && !weekday.ends_with(['L', 'l']);
    let hint = match cron.seventh_of_month() {
        Some(nth) if weekdays.split(',').all(is_plain) => {
            let nth_weekdays: Vec<String> = weekdays.split(',').map(|it| format!("{it}#{nth}")).collect();
            let word = ["first", "second", "third", "fourth"][usize::from(nth) - 1];
            format!(
                "for the {word} such day of the month write `{minute} {hour} * {months} {}`",
                nth_weekdays.join(",")
            )
        }
        _ => format!("for days that match both write `{minute} {hour} {days} {months} +{weekdays}`"),
    };
    report
        .warning(
            schedule.span,
            format!("`{}` is due on days that match either day field, as in cron", tier.name),
        )
        .hint(hint);
}

fn keeps_more_locally(tier: &Tier, span: Span, report: &mut DiagnosticSink<'_>) {
    if let Some(keep) = tier.keep
        && tier.keep_local > keep.get()
    {
        report.warning(span, format!("`keep_local` exceeds `keep: {keep}`")).hint(
            "a backup kept on the hypervisor is also kept in storage; raise `keep`, or lower `keep_local`",
        );
    }
}

/// When the increments of some tier are kept for longer than a full tier's `keep` reaches back, older full backups stay
/// for their sake, whatever `keep` says.
fn kept_by_chains(policy: &Policy, full: TierIndex, span: Span, report: &mut DiagnosticSink<'_>) {
    let tier = &policy.tiers[full];
    let (TierKind::Full, Some(keep)) = (&tier.kind, tier.keep) else { return };
    let times = |gap: TimeDelta, count: u32| i64::from(count).saturating_mul(gap.num_seconds());
    let reach_secs = times(tier.schedule.gap_max(), keep.get());
    for hanging in hanging_on(policy, full) {
        let kept = match hanging.keep {
            Some(count) if times(hanging.schedule.gap_min(), count.get() - 1) <= reach_secs => continue,
            Some(count) => format!("the newest {count}"),
            None => "all".to_owned(),
        };
        report
            .warning(span, format!("`keep: {keep}` of `{}` is shorter than the backups based on it are kept", tier.name))
            .hint(format!(
                "`{}` keeps {kept}, and their full backups are kept as long; raise this `keep`, or lower that one",
                hanging.name
            ));
        return;
    }
}

/// The incremental tiers whose chains can lead to a full one, directly or by way of others.
fn hanging_on(policy: &Policy, full: TierIndex) -> Vec<&Tier> {
    let mut reached = BTreeSet::from([full]);
    for (index, tier) in policy.tiers.iter().enumerate() {
        if tier.kind.parents().is_some_and(|parents| parents.iter().any(|it| reached.contains(it))) {
            reached.insert(index);
        }
    }
    reached.remove(&full);
    reached.into_iter().map(|index| &policy.tiers[index]).collect()
}

/// A clock change that brings two occurrences nearer to each other, once a year, is no reason to give up an upload early.
fn stuck_late(document: &Document, policy: &Policy, report: &mut DiagnosticSink<'_>) {
    let tiers = policy.tiers.iter().zip(&document.tiers);
    let Some((tier, shape)) = tiers.min_by_key(|(tier, _)| tier.schedule.wall_gap_min()) else { return };
    if policy.stuck_after <= tier.schedule.wall_gap_min() {
        return;
    }
    let spot = document.stuck_after.as_ref().map(|it| it.span);
    let span = spot.or(shape.schedule.as_ref().map(|it| it.span)).unwrap_or(document.span);
    let (stuck, gap) = (duration_text(policy.stuck_after), duration_text(tier.schedule.wall_gap_min()));
    report
        .warning(
            span,
            format!("`{}` is due every {gap}, and a backup counts as stuck only after {stuck}", tier.name),
        )
        .hint(format!("until then a hanging backup blocks the next one; set `stuck_after` to {gap} or less"));
}
