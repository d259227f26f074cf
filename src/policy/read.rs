//! From the YAML of a document to a policy, or to all the mistakes in it.

use super::fields::{At, Fields, did_you_mean, nearest};
use super::lint::{Read, lint};
use super::read_selector::{SELECTOR_FIELDS, each, pattern, selector};
use super::source::{Report, Span, quoted};
use super::units::duration_text;
use super::yaml::{Kind, Node, Value};
use super::{MissingParent, Policy, Retry, Schedule, Source, Suspension, Tier, TierIndex, TierKind, Zone};
use chrono::{NaiveDate, TimeDelta};
use std::cmp::Reverse;
use std::num::NonZeroU32;

pub(super) const POLICY_FIELDS: [&str; 15] = [
    "version",
    "policy",
    "description",
    "priority",
    "select",
    "exclude",
    "timezone",
    "tiers",
    "missing_parent",
    "stuck_after",
    "min_full_size",
    "retry",
    "max_age",
    "prune",
    "suspend",
];
pub(super) const TIER_FIELDS: [&str; 9] =
    ["name", "schedule", "type", "from", "keep", "keep_local", "comment", "also", "spread"];
pub(super) const RETRY_FIELDS: [&str; 2] = ["attempts", "backoff"];
pub(super) const SUSPEND_FIELDS: [&str; 3] = ["reason", "until", "vms"];
pub(super) const MISSING_PARENT: [(&str, MissingParent); 2] =
    [("full", MissingParent::Full), ("block", MissingParent::Block)];
/// The words for what a tier's backups are, and whether these are full ones.
pub(super) const KINDS: [(&str, bool); 2] = [("full", true), ("incremental", false)];

const VERSION: i64 = 1;
/// The maximum number of tiers; each is compared with the ones above it.
const TIERS_MAX: usize = 32;
const KEEP_LOCAL_MAX: i64 = 1_000;
const ATTEMPTS_MAX: i64 = 100;

const STUCK_AFTER: TimeDelta = TimeDelta::hours(12);
const MIN_FULL_SIZE_BYTES: u64 = 64 * 1024;
const RETRY: Retry = Retry { attempts: 3, backoff: TimeDelta::hours(1) };
/// What a backup may take beyond the longest gap of the tier that comes most often before the newest one counts as too old.
const MAX_AGE_ALLOWANCE: TimeDelta = TimeDelta::hours(2);

/// Reads a document and notes every mistake in it, and what is doubtful if there is none. `named` is told its name, also
/// of a policy with mistakes.
pub(super) fn policy<'n>(
    node: &'n Node,
    source: Source,
    report: &'n Report<'n>,
    named: impl FnOnce(&str, Span),
) -> Option<Policy> {
    let errors = report.error_count();
    let at = At { key: "policy", node, report };
    if is_of_another_version(at) {
        return None;
    }
    let fields = at.fields("a policy", &POLICY_FIELDS, belongs_elsewhere)?;
    fields.need("version", "write `version: 1`").and_then(|at| at.whole::<i64>(VERSION..=VERSION, ""));
    let name_hint = "give the policy a name, such as `policy: grandfather`";
    let name = fields.need("policy", name_hint).and_then(name);
    if let Some(name) = name {
        named(name, fields.span("policy"));
    }
    let select_hint = "name the VMs that the policy applies to; `select: { all: true }` selects all of them";
    let select = fields.need("select", select_hint).and_then(selector);
    let exclude = fields.get("exclude").and_then(selector);
    if exclude.as_ref().is_some_and(|exclude| exclude.all) {
        report.error(fields.span("exclude"), "`exclude` excludes every VM", "remove `exclude`");
    }
    let zone = fields.get("timezone").and_then(zone).unwrap_or(Zone::UTC);
    let missing_parent = fields.get("missing_parent").and_then(|at| at.choice(&MISSING_PARENT));
    let missing_parent = missing_parent.unwrap_or(MissingParent::Full);
    let tiers_hint = "define when backups are made; policies/README.md has working examples";
    let tiers = fields.need("tiers", tiers_hint).and_then(|at| tiers(at, &zone, missing_parent));
    let description = fields.get("description").and_then(At::text).unwrap_or_default().to_owned();
    let priority = fields.get("priority").and_then(|at| at.whole(i64::MIN..=i64::MAX, "")).unwrap_or(0);
    let stuck_after = fields.get("stuck_after").and_then(At::time).unwrap_or(STUCK_AFTER);
    let min_full_size_bytes = fields.get("min_full_size").and_then(At::bytes).unwrap_or(MIN_FULL_SIZE_BYTES);
    let retry = fields.get("retry").and_then(retry).unwrap_or(RETRY);
    let max_age = fields.get("max_age").and_then(At::time);
    let prune = fields.get("prune").and_then(At::switch) == Some(true);
    let suspend = fields.get("suspend").and_then(|at| suspension(at, &zone));
    let (tiers, tier_fields) = tiers?;
    let gap_max = tiers.iter().map(|tier| tier.schedule.gap_max()).min()?;
    let policy = Policy {
        name: name?.into(),
        description,
        source,
        priority,
        select: select?,
        exclude,
        zone,
        tiers,
        missing_parent,
        stuck_after,
        min_full_size_bytes,
        retry,
        max_age: max_age.unwrap_or(gap_max + MAX_AGE_ALLOWANCE),
        prune,
        suspend,
    };
    if report.error_count() > errors {
        return None;
    }
    let read = Read { policy, fields, tiers: tier_fields };
    lint(&read, report);
    Some(read.policy)
}

/// Reported before anything else, since another version may have other fields.
fn is_of_another_version(at: At<'_>) -> bool {
    let Value::Map(entries) = &at.node.value else { return false };
    let Some(version) = entries.iter().find(|entry| entry.key == "version") else { return false };
    let Value::Scalar(scalar) = &version.value.value else { return false };
    let is_other = matches!(scalar.kind(), Kind::Whole(number) if number != Some(VERSION));
    if is_other {
        let message = format!("unsupported policy version {}", quoted(&scalar.text));
        at.report.error(version.value.span, message, "the supported version is 1");
    }
    is_other
}

fn belongs_elsewhere(key: &str) -> String {
    if TIER_FIELDS.contains(&key) {
        format!("`{key}` is a field of a tier: put it under `tiers`")
    } else if SELECTOR_FIELDS.contains(&key) {
        format!("`{key}` is a field of a selector: put it under `select` or `exclude`")
    } else {
        String::new()
    }
}

/// A tier of which some part may be missing or wrong, for comparison with the others.
struct Draft<'n> {
    fields: Fields<'n>,
    name: Option<&'n str>,
    schedule: Option<Schedule>,
    is_full: Option<bool>,
    /// The names in its `from`, where it has one that can be read.
    from: Option<Vec<At<'n>>>,
    comment: Option<&'n str>,
    /// Its further comments, each with its place.
    also: Vec<(&'n str, Span)>,
}

impl<'n> Draft<'n> {
    /// Returns the comments that count as its own, the one for new backups first.
    fn comments(&self) -> impl Iterator<Item = (&'n str, Span)> {
        let key = if self.comment.is_some() { "comment" } else { "name" };
        let own = self.comment.or(self.name).map(|own| (own, self.fields.span(key)));
        own.into_iter().chain(self.also.iter().copied())
    }
}

fn tiers<'n>(at: At<'n>, zone: &Zone, missing_parent: MissingParent) -> Option<(Vec<Tier>, Vec<Fields<'n>>)> {
    if let Value::Map(_) = at.node.value {
        return at.wrong("`tiers` must be a list, found a map", "begin each tier with `- name: …`");
    }
    let items: Vec<At<'n>> = at.list()?.collect();
    if items.len() > TIERS_MAX {
        return at.wrong(format!("`tiers` has {} entries, more than {TIERS_MAX}", items.len()), "");
    }
    let drafts: Vec<Draft<'_>> = items.iter().filter_map(|item| draft(*item, zone)).collect();
    let report = at.report;
    unique_names(&drafts, report);
    unique_comments(&drafts, report);
    coarsest_first(&drafts, report);
    if let Some(coarsest) = drafts.first().filter(|it| it.is_full == Some(false)) {
        let hint = "incremental backups need a full backup first; list the tiers coarsest first";
        report.error(coarsest.fields.span("type"), "the first (coarsest) tier must be full", hint);
    }
    let kinds: Vec<Option<TierKind>> = (0..drafts.len()).map(|index| kind(&drafts, index, report)).collect();
    if missing_parent == MissingParent::Block {
        can_begin(&drafts, &kinds, report);
    }
    let tiers: Vec<Option<Tier>> = drafts.iter().zip(kinds).map(|(draft, kind)| tier(draft, kind)).collect();
    let is_whole = tiers.len() == items.len();
    let tiers: Option<Vec<Tier>> = tiers.into_iter().collect();
    Some((tiers.filter(|_| is_whole)?, drafts.into_iter().map(|draft| draft.fields).collect()))
}

fn draft<'n>(at: At<'n>, zone: &Zone) -> Option<Draft<'n>> {
    let fields = at.fields("a tier", &TIER_FIELDS, |key| {
        let is_of_policy = POLICY_FIELDS.contains(&key);
        let hint = format!("`{key}` is a field of the policy: put it beside `tiers`");
        if is_of_policy { hint } else { String::new() }
    })?;
    let name_hint = "give the tier a name, such as `name: daily`";
    let schedule_hint = "define when it is due, such as `schedule: \"0 1 * * *\"` for every day at 01:00";
    let kind_hint = "write `type: full` or `type: incremental`";
    Some(Draft {
        name: fields.need("name", name_hint).and_then(name),
        schedule: fields.need("schedule", schedule_hint).and_then(|at| schedule(at, zone)),
        is_full: fields.need("type", kind_hint).and_then(|at| at.choice(&KINDS)),
        from: fields.get("from").and_then(from),
        comment: fields.get("comment").and_then(comment),
        also: fields.get("also").and_then(At::list).map_or_else(Vec::new, |items| {
            items.filter_map(|item| Some((comment(item)?, item.node.span))).collect()
        }),
        fields,
    })
}

/// Makes a tier of its draft, and reads the fields that are not compared with those of other tiers.
fn tier(draft: &Draft<'_>, kind: Option<TierKind>) -> Option<Tier> {
    let fields = &draft.fields;
    let keep_hint = "leave it out to keep all backups";
    let keep = fields.get("keep").and_then(|at| at.whole::<u32>(1..=i64::from(u32::MAX), keep_hint));
    let keep_local_hint = "leave it out for the default, 0";
    let keep_local = fields.get("keep_local").and_then(|at| at.whole(0..=KEEP_LOCAL_MAX, keep_local_hint));
    let spread = fields.get("spread").and_then(|at| {
        let spread = at.time()?;
        let gap_min = draft.schedule.as_ref().map(Schedule::gap_min).filter(|gap_min| spread >= *gap_min);
        if let Some(gap) = gap_min.map(duration_text) {
            return at.wrong(
                "`spread` must be shorter than the shortest gap of the tier's schedule",
                format!("make it shorter than {gap}, otherwise a backup can be due before the previous one"),
            );
        }
        Some(spread)
    });
    Some(Tier {
        name: draft.name?.into(),
        schedule: draft.schedule.clone()?,
        kind: kind?,
        keep: keep.and_then(NonZeroU32::new),
        keep_local: keep_local.unwrap_or(0),
        comment: draft.comment.or(draft.name)?.to_owned(),
        also: draft.also.iter().map(|(comment, _)| (*comment).to_owned()).collect(),
        spread: spread.unwrap_or(TimeDelta::zero()),
    })
}

fn unique_names(tiers: &[Draft<'_>], report: &Report<'_>) {
    for (index, tier) in tiers.iter().enumerate() {
        let first = tiers[..index].iter().find(|other| other.name.is_some() && other.name == tier.name);
        if let (Some(first), Some(name)) = (first, tier.name) {
            let line = report.line_of(first.fields.span("name").start);
            let hint = format!("give one of them another name; the first is on line {line}");
            report.error(tier.fields.span("name"), format!("two tiers are named `{name}`"), hint);
        }
    }
}

/// A comment leads to one tier. Tiers of one name are not reported again for their common comment.
fn unique_comments(tiers: &[Draft<'_>], report: &Report<'_>) {
    let folded = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
    let is_name = |index: TierIndex, span: Span| tiers[index].fields.span("name") == span;
    let mut before: Vec<(TierIndex, &str, Span)> = Vec::new();
    for (index, tier) in tiers.iter().enumerate() {
        for (own, span) in tier.comments() {
            let same = before.iter().find(|(_, comment, _)| *comment == own);
            let alike =
                || before.iter().find(|(at, comment, _)| *at != index && folded(comment) == folded(own));
            if let Some(&(at, _, first)) = same {
                let line = report.line_of(first.start);
                let comment = quoted(own);
                if at == index {
                    let hint = "`also` lists further comments; remove this one";
                    report.error(span, format!("this tier already has the comment {comment}"), hint);
                } else if !(is_name(at, first) && is_name(index, span)) {
                    let hint =
                        format!("the comment alone identifies a backup's tier; the first is on line {line}");
                    report.error(span, format!("two tiers have the comment {comment}"), hint);
                }
            } else if let Some((_, other, _)) = alike() {
                let (one, other) = (quoted(other), quoted(own));
                let message = format!("the comments {one} and {other} differ only in spaces and case");
                report.warning(span, message, "these are easily confused; choose distinct comments");
            }
            before.push((index, own, span));
        }
    }
}

/// What the planner holds for coarser does for what it holds for finer, so a tier must not come more rarely than the one
/// above it. Clock changes are left out: they make no tier coarser.
fn coarsest_first(tiers: &[Draft<'_>], report: &Report<'_>) {
    let known: Vec<(&str, TimeDelta, Span)> = tiers
        .iter()
        .filter_map(|it| Some((it.name?, it.schedule.as_ref()?.wall_gap_max(), it.fields.span("schedule"))))
        .collect();
    for pair in known.windows(2) {
        let [(above, gap_above, _), (name, gap, span)] = pair else { continue };
        if gap <= gap_above {
            continue;
        }
        let (gap, gap_above) = (duration_text(*gap), duration_text(*gap_above));
        let mut sorted = known.clone();
        sorted.sort_by_key(|(_, gap, _)| Reverse(*gap));
        let names: Vec<&str> = sorted.iter().map(|(name, ..)| *name).collect();
        let message = format!("`{name}` is up to {gap} apart, and `{above}` above it only up to {gap_above}");
        report.error(*span, message, format!("list the tiers coarsest first, which is {}", names.join(", ")));
    }
}

fn kind(tiers: &[Draft<'_>], index: TierIndex, report: &Report<'_>) -> Option<TierKind> {
    let tier = &tiers[index];
    match (&tier.from, tier.is_full?) {
        (None, true) => Some(TierKind::Full),
        (None, false) => Some(TierKind::Incremental { from: (0..=index).collect() }),
        (Some(_), true) => {
            let hint = "leave it out, or write `type: incremental`";
            report.error(tier.fields.span("from"), "`from` is not allowed on a full tier", hint);
            None
        }
        (Some(names), false) => {
            let mut from: Vec<TierIndex> = Vec::new();
            for at in names {
                let Some(found) = from_index(tiers, index, *at) else { continue };
                if from.contains(&found) {
                    at.wrong::<()>(
                        format!("`from` names `{}` twice", tiers[found].name.unwrap_or_default()),
                        "",
                    );
                }
                from.push(found);
            }
            from.sort_unstable();
            Some(TierKind::Incremental { from })
        }
    }
}

fn from(at: At<'_>) -> Option<Vec<At<'_>>> {
    if matches!(&at.node.value, Value::List(items) if items.is_empty()) {
        let hint = "leave it out to mean the tier itself and every coarser one";
        return at.wrong("`from` is an empty list", hint);
    }
    Some(at.list()?.filter(|item| item.text().is_some()).collect())
}

fn from_index(tiers: &[Draft<'_>], own: TierIndex, at: At<'_>) -> Option<TierIndex> {
    let Value::Scalar(scalar) = &at.node.value else { return None };
    let name = scalar.text.as_str();
    match tiers.iter().position(|tier| tier.name == Some(name)) {
        Some(index) if index <= own => Some(index),
        Some(_) => at.wrong(
            format!("`from` names {}, which is finer than this tier", quoted(name)),
            "the parent must be of the tier itself or of a coarser one, listed above it",
        ),
        None => {
            let names: Vec<&str> = tiers.iter().filter_map(|tier| tier.name).collect();
            let guess = did_you_mean(nearest(name, names.iter().copied()));
            at.wrong(
                format!("`from` names the unknown tier {}{guess}", quoted(name)),
                format!("the tiers are {}", names.join(", ")),
            )
        }
    }
}

/// Where no full backup steps in for a missing parent, every tier must lead back to a full one.
fn can_begin(tiers: &[Draft<'_>], kinds: &[Option<TierKind>], report: &Report<'_>) {
    let mut begins: Vec<bool> = Vec::new();
    for (index, (tier, kind)) in tiers.iter().zip(kinds).enumerate() {
        let ok = match kind {
            Some(TierKind::Incremental { from }) => from.iter().any(|&it| it < index && begins[it]),
            Some(TierKind::Full) | None => true,
        };
        // That the first tier must be full has been reported.
        if !ok && index > 0 && tier.from.is_some() {
            let message = "with `missing_parent: block` this tier can never make its first backup";
            let hint = "let `from` name a tier that leads back to a full one";
            report.error(tier.fields.span("from"), message, hint);
        }
        begins.push(ok);
    }
}

fn schedule(at: At<'_>, zone: &Zone) -> Option<Schedule> {
    match Schedule::parse(at.text()?, zone.clone()) {
        Ok(schedule) => Some(schedule),
        Err(error) => at.wrong(error.to_string(), error.hint),
    }
}

fn retry(at: At<'_>) -> Option<Retry> {
    let fields = at.fields("`retry`", &RETRY_FIELDS, |_| String::new())?;
    let hint = "the first attempt counts; with 1, the first failure is reported as given up";
    let attempts = fields.get("attempts").and_then(|at| at.whole(1..=ATTEMPTS_MAX, hint));
    let backoff = fields.get("backoff").and_then(At::time);
    Some(Retry { attempts: attempts.unwrap_or(RETRY.attempts), backoff: backoff.unwrap_or(RETRY.backoff) })
}

fn suspension(at: At<'_>, zone: &Zone) -> Option<Suspension> {
    let fields = at.fields("`suspend`", &SUSPEND_FIELDS, |_| String::new())?;
    let reason = fields.need("reason", "give the reason, such as `reason: storage move`").and_then(At::text);
    let until_hint = "name the day on which backups resume, such as `until: 2026-12-24`";
    let until = fields.need("until", until_hint).and_then(|at| {
        let day = day(at)?;
        let start = zone.day_start(day);
        start
            .map(|start| (day, start))
            .or_else(|| at.wrong("`until` is out of range", "choose an earlier day"))
    });
    let vms = each(fields.get("vms"), pattern);
    let (until, until_instant) = until?;
    Some(Suspension {
        reason: reason?.to_owned(),
        until,
        until_instant,
        vms: fields.has("vms").then_some(vms),
    })
}

fn day(at: At<'_>) -> Option<NaiveDate> {
    let word = at.text()?;
    match word.parse::<NaiveDate>() {
        Ok(day) if day.to_string() == word => Some(day),
        _ => at.wrong(
            format!("`{}` is not a valid date: {}", at.key, quoted(word)),
            "write year, month and day, such as 2026-12-24",
        ),
    }
}

fn zone(at: At<'_>) -> Option<Zone> {
    let word = at.text()?;
    if let Some(zone) = Zone::find(word) {
        return Some(zone);
    }
    let names: Vec<String> = Zone::names().collect();
    let wanted = word.replace(' ', "_");
    let is_its_city =
        |name: &&str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&wanted));
    let names = || names.iter().map(String::as_str);
    let near = names().find(is_its_city).or_else(|| nearest(word, names()));
    at.wrong(
        format!("unknown time zone {}{}", quoted(word), did_you_mean(near)),
        format!("`{}` takes an IANA name such as Europe/Berlin, or UTC", at.key),
    )
}

/// Says whether a text can be the name of a policy or a tier.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '-')
}

/// Reads the name of a policy or a tier.
fn name<'n>(at: At<'n>) -> Option<&'n str> {
    let word = at.text()?;
    if is_name(word) {
        return Some(word);
    }
    let words = word.split(|c: char| !c.is_ascii_alphanumeric()).filter(|it| !it.is_empty());
    let better = words.map(str::to_lowercase).collect::<Vec<_>>().join("-");
    let such = if better.is_empty() { String::new() } else { format!(", such as {}", quoted(&better)) };
    let what = if at.key == "policy" { "policy" } else { "tier" };
    at.wrong(
        format!("invalid {what} name: {}", quoted(word)),
        format!("use lowercase letters, digits and `-`, starting with a letter or digit{such}"),
    )
}

fn comment<'n>(at: At<'n>) -> Option<&'n str> {
    let word = at.text()?;
    if word.trim() != word || word.contains(char::is_control) {
        return at.wrong(
            format!("`{}` has surrounding spaces or a line break: {}", at.key, quoted(word)),
            "backups are matched by their exact comment; use one plain line",
        );
    }
    at.warn_of_invisible(word);
    Some(word)
}
