//! From a document to a policy: what its values mean beside each other.

use super::document::{Document, KindWord, SuspendDocument, TierDocument};
use super::fields::nearest;
use super::text::{DiagnosticSink, Located, quoted};
use super::units::duration_text;
use super::{
    MissingParent, Policy, Prune, Retry, Schedule, ScheduleError, Source, Suspension, Tier, TierIndex,
    TierKind, Zone,
};
use chrono::TimeDelta;
use std::cmp::Reverse;
use std::collections::BTreeMap;

const STUCK_AFTER: TimeDelta = TimeDelta::hours(12);
const MIN_FULL_SIZE_BYTES: u64 = 64 * 1024;
const ATTEMPTS: u32 = 3;
const BACKOFF: TimeDelta = TimeDelta::hours(1);
/// What a backup may take beyond the longest gap of the tier that comes most often before the newest one counts as too old.
const MAX_AGE_ALLOWANCE: TimeDelta = TimeDelta::hours(2);

/// Makes a policy of a document, noting every mistake; `None` when something it cannot do without is missing.
///
/// A policy that is made in spite of mistakes only serves to find more of them.
pub(super) fn check(document: &Document, source: Source, report: &mut DiagnosticSink<'_>) -> Option<Policy> {
    let zone = document.zone.as_ref().map_or(Zone::UTC, |it| it.value.clone());
    let suspend = document.suspend.as_ref().and_then(|it| suspension(it, &zone, report));
    unique_names(&document.tiers, report);
    unique_comments(&document.tiers, report);
    coarsest_is_full(&document.tiers, report);
    let missing_parent = document.missing_parent.as_ref().map_or(MissingParent::Full, |it| it.value);
    let kinds: Vec<Option<TierKind>> =
        (0..document.tiers.len()).map(|index| kind(&document.tiers, index, report)).collect();
    if missing_parent == MissingParent::Block {
        can_begin(&document.tiers, &kinds, report);
    }
    let schedules: Vec<Option<Schedule>> =
        document.tiers.iter().map(|tier| schedule(tier, &zone, report)).collect();
    coarsest_first(&document.tiers, &schedules, report);
    let tiers: Vec<Option<Tier>> = document
        .tiers
        .iter()
        .zip(kinds.into_iter().zip(schedules))
        .map(|(tier, (kind, schedule))| {
            spread_fits(tier, schedule.as_ref(), report);
            Some(Tier {
                name: tier.name.as_ref()?.value.as_str().into(),
                schedule: schedule?,
                kind: kind?,
                keep: tier.keep.as_ref().map(|it| it.value),
                keep_local: tier.keep_local.as_ref().map_or(0, |it| it.value),
                comment: comment(tier)?.value.clone(),
                also: also(tier).map(|it| it.value.clone()).collect(),
                spread: tier.spread.as_ref().map_or(TimeDelta::zero(), |it| it.value),
            })
        })
        .collect();
    let tiers: Vec<Tier> = tiers.into_iter().collect::<Option<_>>()?;
    let gap_max = tiers.iter().map(|tier| tier.schedule.gap_max()).min()?;
    Some(Policy {
        name: document.name.as_ref()?.value.as_str().into(),
        description: document.description.as_ref().map_or_else(String::new, |it| it.value.clone()),
        source,
        priority: document.priority.as_ref().map_or(0, |it| it.value),
        select: document.select.as_ref()?.value.clone(),
        exclude: document.exclude.as_ref().map(|it| it.value.clone()),
        missing_parent,
        stuck_after: document.stuck_after.as_ref().map_or(STUCK_AFTER, |it| it.value),
        min_full_size_bytes: document.min_full_size_bytes.as_ref().map_or(MIN_FULL_SIZE_BYTES, |it| it.value),
        retry: Retry {
            attempts: document.retry.attempts.unwrap_or(ATTEMPTS),
            backoff: document.retry.backoff.unwrap_or(BACKOFF),
        },
        max_age: document.max_age.as_ref().map_or(gap_max + MAX_AGE_ALLOWANCE, |it| it.value),
        mass_prune_allowed: 0,
        prune: if document.prune.as_ref().is_some_and(|it| it.value) {
            Prune::OnRequest
        } else {
            Prune::Never
        },
        suspend,
        display_zone: zone.clone(),
        zone,
        tiers,
    })
}

/// The comment that a tier's backups carry: its own, or its name.
fn comment(tier: &TierDocument) -> Option<&Located<String>> {
    tier.comment.as_ref().or(tier.name.as_ref())
}

fn unique_names(tiers: &[TierDocument], report: &mut DiagnosticSink<'_>) {
    let mut first = BTreeMap::new();
    for name in tiers.iter().filter_map(|tier| tier.name.as_ref()) {
        if let Some(&before) = first.get(name.value.as_str()) {
            let line = report.line_of(before);
            report
                .error(name.span, format!("two tiers are named `{}`", name.value))
                .hint(format!("give one of them another name; the first is on line {line}"));
        } else {
            first.insert(name.value.as_str(), name.span.start);
        }
    }
}

/// The further comments that count as a tier's.
fn also(tier: &TierDocument) -> impl Iterator<Item = &Located<String>> {
    tier.also.iter().flat_map(|it| &it.value)
}

/// A comment leads to one tier. Tiers of one name are not reported again for their common comment.
fn unique_comments(tiers: &[TierDocument], report: &mut DiagnosticSink<'_>) {
    let mut before: Vec<(TierIndex, &Located<String>)> = Vec::new();
    for (index, tier) in tiers.iter().enumerate() {
        for own in comment(tier).into_iter().chain(also(tier)) {
            unique_comment(tiers, &before, (index, own), report);
            before.push((index, own));
        }
    }
}

fn unique_comment(
    tiers: &[TierDocument],
    before: &[(TierIndex, &Located<String>)],
    (index, own): (TierIndex, &Located<String>),
    report: &mut DiagnosticSink<'_>,
) {
    let same = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
    if let Some(&(other, first)) = before.iter().find(|(_, it)| it.value == own.value) {
        let is_name = |index: TierIndex, it: &Located<String>| tiers[index].name.as_ref() == Some(it);
        if is_name(other, first) && is_name(index, own) {
            return;
        }
        let line = report.line_of(first.span.start);
        let comment = quoted(&own.value);
        if other == index {
            report
                .error(own.span, format!("this tier already has the comment {comment}"))
                .hint("`also` lists further comments; remove this one");
        } else {
            report
                .error(own.span, format!("two tiers have the comment {comment}"))
                .hint(format!("the comment alone identifies a backup's tier; the first is on line {line}"));
        }
    } else if let Some((_, other)) =
        before.iter().find(|(other, it)| *other != index && same(&it.value) == same(&own.value))
    {
        let message = format!(
            "the comments {} and {} differ only in spaces and case",
            quoted(&other.value),
            quoted(&own.value)
        );
        report.warning(own.span, message).hint("these are easily confused; choose distinct comments");
    }
}

/// What the planner holds for coarser does for what it holds for finer, so a tier must not come more rarely than the one
/// above it. Clock changes are left out: they make no tier coarser.
fn coarsest_first(tiers: &[TierDocument], schedules: &[Option<Schedule>], report: &mut DiagnosticSink<'_>) {
    let known =
        || tiers.iter().zip(schedules).filter_map(|(tier, schedule)| Some((tier, schedule.as_ref()?)));
    for ((above, coarser), (tier, finer)) in known().zip(known().skip(1)) {
        let (Some(above), Some(name), Some(text)) = (&above.name, &tier.name, &tier.schedule) else {
            continue;
        };
        let gaps = [finer.wall_gap_max(), coarser.wall_gap_max()];
        if gaps[0] <= gaps[1] {
            continue;
        }
        let [gap, gap_above] = gaps.map(duration_text);
        let mut sorted: Vec<(&TierDocument, &Schedule)> = known().collect();
        sorted.sort_by_key(|(_, schedule)| Reverse(schedule.wall_gap_max()));
        let names: Vec<&str> =
            sorted.iter().filter_map(|(tier, _)| Some(tier.name.as_ref()?.value.as_str())).collect();
        let message = format!(
            "`{}` is up to {gap} apart, and `{}` above it only up to {gap_above}",
            name.value, above.value
        );
        report
            .error(text.span, message)
            .hint(format!("list the tiers coarsest first, which is {}", names.join(", ")));
    }
}

fn coarsest_is_full(tiers: &[TierDocument], report: &mut DiagnosticSink<'_>) {
    let Some(coarsest) = tiers.first() else { return };
    if let Some(kind) = &coarsest.kind
        && kind.value == KindWord::Incremental
    {
        report
            .error(kind.span, "the first (coarsest) tier must be full")
            .hint("incremental backups need a full backup first; list the tiers coarsest first");
    }
}

fn kind(tiers: &[TierDocument], index: TierIndex, report: &mut DiagnosticSink<'_>) -> Option<TierKind> {
    let tier = &tiers[index];
    let word = tier.kind.as_ref()?.value;
    match (&tier.from, word) {
        (None, KindWord::Full) => Some(TierKind::Full),
        (None, KindWord::Incremental) => Some(TierKind::Incremental { from: (0..=index).collect() }),
        (Some(from), KindWord::Full) => {
            report
                .error(from.span, "`from` is not allowed on a full tier")
                .hint("leave it out, or write `type: incremental`");
            None
        }
        (Some(from), KindWord::Incremental) => {
            let mut indices: Vec<TierIndex> = Vec::new();
            for name in &from.value {
                let Some(found) = from_index(tiers, index, name, report) else { continue };
                if indices.contains(&found) {
                    report.error(name.span, format!("`from` names {} twice", quoted(&name.value)));
                }
                indices.push(found);
            }
            indices.sort_unstable();
            Some(TierKind::Incremental { from: indices })
        }
    }
}

fn from_index(
    tiers: &[TierDocument],
    own: TierIndex,
    name: &Located<String>,
    report: &mut DiagnosticSink<'_>,
) -> Option<TierIndex> {
    let names = || tiers.iter().filter_map(|tier| tier.name.as_ref()).map(|name| name.value.as_str());
    let found = tiers.iter().position(|tier| tier.name.as_ref().is_some_and(|it| it.value == name.value));
    match found {
        Some(index) if index <= own => return Some(index),
        Some(_) => {
            report
                .error(
                    name.span,
                    format!("`from` names {}, which is finer than this tier", quoted(&name.value)),
                )
                .hint("the parent must be of the tier itself or of a coarser one, listed above it");
        }
        None => {
            let near = nearest(&name.value, names());
            let guess = near.map_or(String::new(), |near| format!(", did you mean `{near}`?"));
            let list: Vec<&str> = names().collect();
            report
                .error(name.span, format!("`from` names the unknown tier {}{guess}", quoted(&name.value)))
                .hint(format!("the tiers are {}", list.join(", ")));
        }
    }
    None
}

/// Where no full backup steps in for a missing parent, every tier must lead back to a full one.
fn can_begin(tiers: &[TierDocument], kinds: &[Option<TierKind>], report: &mut DiagnosticSink<'_>) {
    let mut begins: Vec<bool> = Vec::new();
    for (index, (tier, kind)) in tiers.iter().zip(kinds).enumerate() {
        let ok = match kind {
            Some(TierKind::Incremental { from }) => from.iter().any(|&it| it < index && begins[it]),
            Some(TierKind::Full) | None => true,
        };
        // That the first tier must be full has been reported.
        if let Some(from) = &tier.from
            && !ok
            && index > 0
        {
            report
                .error(from.span, "with `missing_parent: block` this tier can never make its first backup")
                .hint("let `from` name a tier that leads back to a full one");
        }
        begins.push(ok);
    }
}

fn schedule(tier: &TierDocument, zone: &Zone, report: &mut DiagnosticSink<'_>) -> Option<Schedule> {
    let text = tier.schedule.as_ref()?;
    match Schedule::parse(&text.value, zone.clone()) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            let hint = match &error {
                ScheduleError::Fields(_) => schedule_hint(&text.value),
                ScheduleError::Field { .. } => {
                    "the fields are minute (0-59), hour (0-23), day of month (1-31), month (1-12 or JAN-DEC) and day of \
                     week (0-7 or SUN-SAT)"
                }
                ScheduleError::Never => "`L` is the last day of any month",
            };
            report.error(text.span, error.to_string()).hint(hint);
            None
        }
    }
}

/// Returns the five fields for a word that is probably meant as a schedule.
fn schedule_hint(text: &str) -> &'static str {
    match text.trim_start_matches('@').to_ascii_lowercase().as_str() {
        "daily" | "midnight" => {
            "write \"0 0 * * *\" for every day at midnight, \"0 1 * * *\" for every day at 01:00"
        }
        "weekly" => {
            "write \"0 0 * * SUN\" for every Sunday at midnight, \"0 1 * * SUN\" for every Sunday at 01:00"
        }
        "monthly" => {
            "write \"0 0 1 * *\" for the first of every month at midnight, \"0 1 1 * *\" for 01:00 on that day"
        }
        "yearly" | "annually" => "write \"0 0 1 1 *\" for every 1st of January at midnight",
        "hourly" => "write \"0 * * * *\" for every hour",
        _ => "\"0 1 * * *\" is every day at 01:00, \"0 1 * * SUN\" every Sunday",
    }
}

fn spread_fits(tier: &TierDocument, schedule: Option<&Schedule>, report: &mut DiagnosticSink<'_>) {
    if let (Some(spread), Some(schedule)) = (&tier.spread, schedule)
        && spread.value >= schedule.gap_min()
    {
        let gap = duration_text(schedule.gap_min());
        report
            .error(spread.span, "`spread` must be shorter than the shortest gap of the tier's schedule")
            .hint(format!(
                "make it shorter than {gap}, otherwise a backup can be due before the previous one"
            ));
    }
}

fn suspension(
    document: &SuspendDocument,
    zone: &Zone,
    report: &mut DiagnosticSink<'_>,
) -> Option<Suspension> {
    let until = document.until.as_ref()?;
    let Some(until_instant) = zone.day_start(until.value) else {
        report.error(until.span, "`until` is out of range").hint("choose an earlier day");
        return None;
    };
    Some(Suspension {
        reason: document.reason.as_ref()?.value.clone(),
        until: until.value,
        until_instant,
        vms: document.vms.as_ref().map(|it| it.value.clone()),
    })
}
