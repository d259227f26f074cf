//! What is no mistake and yet hardly meant: found without a clock and without FiFo, so that it is found alike everywhere.

use super::fields::{At, Fields};
use super::source::{Report, Span};
use super::units::duration_text;
use super::{Policy, Tier, TierIndex, TierKind, minute_text};
use chrono::TimeDelta;
use std::collections::BTreeSet;

/// Warns of a policy, given the fields that it and its tiers were read from.
pub(super) fn lint(policy: &Policy, fields: &Fields<'_>, tiers: &[Fields<'_>], report: &Report<'_>) {
    for (index, (tier, at)) in policy.tiers.iter().zip(tiers).enumerate() {
        covered(policy, index, at.span("name"), report);
        spread_apart(policy, index, at, report);
        skipped_hour(tier, at.span("schedule"), report);
        days_that_matter(tier, at, report);
        keeps_more_locally(tier, at.span("keep_local"), report);
        kept_by_chains(policy, index, at.span("keep"), report);
    }
    stuck_late(policy, fields, tiers, report);
    let Some(finest) = policy.tiers.iter().min_by_key(|tier| tier.schedule.gap_max()) else { return };
    if policy.max_age < finest.schedule.gap_max() {
        let (name, gap) = (&finest.name, duration_text(finest.schedule.gap_max()));
        let message = format!("`max_age` is shorter than the longest gap of `{name}`, {gap}");
        let hint = format!("set it to more than {gap}, otherwise every VM is reported as too old at times");
        report.warning(fields.span("max_age"), message, hint);
    }
}

/// Coarser tiers that are due at the same times leave a tier nothing to do. Tiers that are spread differently are not
/// compared: their instants differ from VM to VM. A clock change, a day a year, makes no tier useful.
fn covered(policy: &Policy, index: TierIndex, span: Span, report: &Report<'_>) {
    let tier = &policy.tiers[index];
    let coarser = || policy.tiers[..index].iter().filter(|it| it.spread == tier.spread);
    let covering = |wall| coarser().find(|it| it.schedule.cron.is_at(wall)).map(|it| &*it.name);
    let covering: Option<BTreeSet<&str>> = tier.schedule.walls().map(covering).collect();
    if let Some(names) = covering {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let (name, names) = (&tier.name, names.join(" or "));
        let message = format!("`{name}` is always due together with {names}, which satisfies it");
        report.warning(span, message, "remove this tier, or change its schedule");
    }
}

/// A backup of a coarser tier does for a finer one that is due at the same instant. Different spreads shift a VM's due
/// times of that night by different shares, and each tier makes a backup of its own.
fn spread_apart(policy: &Policy, index: TierIndex, at: &Fields<'_>, report: &Report<'_>) {
    let tier = &policy.tiers[index];
    let mut apart = policy.tiers[..index].iter().filter(|other| other.spread != tier.spread);
    let other = apart.find(|other| tier.schedule.walls().any(|wall| other.schedule.cron.is_at(wall)));
    if let Some(Tier { name, .. }) = other {
        let span = at.span(if at.has("spread") { "spread" } else { "name" });
        let other = &tier.name;
        let message = format!("`{name}` and `{other}` are due on the same night with different `spread`");
        let hint = "each VM gets two backups that night; give both tiers the same `spread`";
        report.warning(span, message, hint);
    }
}

fn skipped_hour(tier: &Tier, span: Span, report: &Report<'_>) {
    let Some((wanted, change)) = tier.schedule.skipped_time() else { return };
    let zone = tier.schedule.zone();
    let hint = if tier.schedule.cron.any_hour {
        let hours = tier.schedule.cron.pattern.hours.values();
        let hours = hours.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        format!(
            "a schedule with a step of hours skips it; with named hours, `{hours}`, it is due at the clock change"
        )
    } else {
        let change = minute_text(zone.moment(change));
        format!("the backup is then due at {change}; choose an hour that is never skipped")
    };
    let (day, wanted) = (wanted.format("%Y-%m-%d"), wanted.format("%H:%M"));
    let message = format!("clocks in {} skip {wanted} on some days, such as {day}", zone.name());
    report.warning(span, message, hint);
}

/// `0 1 1-7 * SUN` looks like the first Sunday and is eleven days a month; `0 1 31 * *` leaves out five months of the year.
fn days_that_matter(tier: &Tier, at: &Fields<'_>, report: &Report<'_>) {
    let (cron, span) = (&tier.schedule.cron, at.span("schedule"));
    let text: Vec<&str> =
        at.get("schedule").and_then(At::text).into_iter().flat_map(str::split_whitespace).collect();
    let [minute, hour, days, months, weekdays] = text[..] else { return };
    if let Some(day) = cron.day_that_some_months_lack() {
        let message = format!("`{}` is not due at all in a month that has no day {day}", tier.name);
        let last = format!("`{minute} {hour} L {months} {weekdays}` is the last day of every month");
        report.warning(span, message, format!("{last}; or choose a day up to 28"));
    }
    if !cron.means_either_day() {
        return;
    }
    let is_plain =
        |weekday: &str| weekday.chars().all(|c| c.is_ascii_alphanumeric()) && !weekday.ends_with(['L', 'l']);
    let hint = match cron.seventh_of_month() {
        Some(nth) if weekdays.split(',').all(is_plain) => {
            let nth_weekdays: Vec<String> = weekdays.split(',').map(|it| format!("{it}#{nth}")).collect();
            let word = ["first", "second", "third", "fourth"][usize::from(nth) - 1];
            let nth_weekdays = nth_weekdays.join(",");
            format!("for the {word} such day of the month write `{minute} {hour} * {months} {nth_weekdays}`")
        }
        _ => format!("for days that match both write `{minute} {hour} {days} {months} +{weekdays}`"),
    };
    let message = format!("`{}` is due on days that match either day field, as in cron", tier.name);
    report.warning(span, message, hint);
}

fn keeps_more_locally(tier: &Tier, span: Span, report: &Report<'_>) {
    if let Some(keep) = tier.keep.filter(|keep| tier.keep_local > keep.get()) {
        let hint =
            "a backup kept on the hypervisor is also kept in storage; raise `keep`, or lower `keep_local`";
        report.warning(span, format!("`keep_local` exceeds `keep: {keep}`"), hint);
    }
}

/// Full backups stay as long as the increments on them, whatever their own `keep` says.
fn kept_by_chains(policy: &Policy, full: TierIndex, span: Span, report: &Report<'_>) {
    let tier = &policy.tiers[full];
    let (TierKind::Full, Some(keep)) = (&tier.kind, tier.keep) else { return };
    let times = |gap: TimeDelta, count: u32| i64::from(count).saturating_mul(gap.num_seconds());
    let reach_secs = times(tier.schedule.gap_max(), keep.get());
    // The tiers whose chains can lead to this one, directly or by way of others.
    let mut reached = vec![false; policy.tiers.len()];
    reached[full] = true;
    for (index, hanging) in policy.tiers.iter().enumerate() {
        if !hanging.kind.parents().is_some_and(|parents| parents.iter().any(|it| reached[*it])) {
            continue;
        }
        reached[index] = true;
        let kept = match hanging.keep {
            Some(count) if times(hanging.schedule.gap_min(), count.get() - 1) <= reach_secs => continue,
            Some(count) => format!("the newest {count}"),
            None => "all".to_owned(),
        };
        report.warning(
            span,
            format!("`keep: {keep}` of `{}` is shorter than the backups based on it are kept", tier.name),
            format!(
                "`{}` keeps {kept}, and their full backups are kept as long; raise this `keep`, or lower that one",
                hanging.name
            ),
        );
        return;
    }
}

/// A clock change that brings two occurrences nearer to each other, once a year, is no reason to give up an upload early.
fn stuck_late(policy: &Policy, fields: &Fields<'_>, tiers: &[Fields<'_>], report: &Report<'_>) {
    let tiers = policy.tiers.iter().zip(tiers);
    let Some((tier, at)) = tiers.min_by_key(|(tier, _)| tier.schedule.wall_gaps.min) else { return };
    let gap = tier.schedule.wall_gaps.min;
    if policy.stuck_after <= gap {
        return;
    }
    let span = if fields.has("stuck_after") { fields.span("stuck_after") } else { at.span("schedule") };
    let (name, stuck, gap) = (&tier.name, duration_text(policy.stuck_after), duration_text(gap));
    let message = format!("`{name}` is due every {gap}, and a backup counts as stuck only after {stuck}");
    let hint = format!("until then a hanging backup blocks the next one; set `stuck_after` to {gap} or less");
    report.warning(span, message, hint);
}
