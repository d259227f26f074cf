//! From the YAML of a document to a policy, or to all the mistakes in it.

use super::fields::{At, Fields, did_you_mean, nearest};
use super::lint::lint;
use super::read_selector::{SELECTOR_FIELDS, pattern, selector};
use super::source::{Report, Span, quoted};
use super::units::duration_text;
use super::yaml::{Kind, Node, Value};
use super::{MissingParent, Policy, Retry, Schedule, Source, Suspension, Tier, TierIndex, TierKind, Zone};
use chrono::{NaiveDate, TimeDelta};
use std::cmp::Reverse;
use std::num::NonZeroU32;

#[rustfmt::skip]
pub(super) const POLICY_FIELDS: [&str; 15] = [
    "version", "policy", "description", "priority", "select", "exclude", "timezone", "tiers", "missing_parent",
    "stuck_after", "min_full_size", "retry", "max_age", "prune", "suspend",
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

/// Reads a document; notes every mistake in it, or else what is doubtful. `named` is told its name, mistakes or not.
pub(super) fn policy<'n>(
    node: &'n Node,
    source: Source,
    report: &'n Report<'n>,
    named: impl FnOnce(&str, Span),
) -> Option<Policy> {
    let errors = report.error_count();
    let at = At { key: "policy", node, report };
    // Another version may have other fields, so nothing else is said of it.
    if let Value::Map(entries) = &node.value
        && let Some(version) = entries.iter().find(|entry| entry.key == "version").map(|entry| &entry.value)
        && let Value::Scalar(text, Kind::Whole(number)) = &version.value
        && *number != Some(VERSION)
    {
        let message = format!("unsupported policy version {}", quoted(text));
        return At { node: version, ..at }.wrong(message, "the supported version is 1");
    }
    let fields = at.fields("a policy", &POLICY_FIELDS, |key| match key {
        _ if TIER_FIELDS.contains(&key) => format!("`{key}` is a field of a tier: put it under `tiers`"),
        _ if SELECTOR_FIELDS.contains(&key) => {
            format!("`{key}` is a field of a selector: put it under `select` or `exclude`")
        }
        _ => String::new(),
    })?;
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
    let zone = fields.or("timezone", Zone::UTC, zone);
    let missing_parent = fields.or("missing_parent", MissingParent::Full, |at| at.choice(&MISSING_PARENT));
    let tiers_hint = "define when backups are made; policies/README.md has working examples";
    let tiers = fields.need("tiers", tiers_hint).and_then(|at| tiers(at, &zone, missing_parent));
    let (tiers, tier_fields) = tiers.unwrap_or_default();
    let gap_max = tiers.iter().map(|tier| tier.schedule.gap_max()).min().unwrap_or_default();
    // A part that cannot be read is whatever it is: a mistake has been noted, and the policy is not taken.
    let policy = Policy {
        name: name.unwrap_or_default().into(),
        description: fields.or("description", "", At::text).to_owned(),
        source,
        priority: fields.or("priority", 0, |at| at.whole(i64::MIN..=i64::MAX, "")),
        select: select.unwrap_or_default(),
        exclude,
        tiers,
        missing_parent,
        stuck_after: fields.or("stuck_after", STUCK_AFTER, At::time),
        min_full_size_bytes: fields.or("min_full_size", MIN_FULL_SIZE_BYTES, At::bytes),
        retry: fields.or("retry", RETRY, retry),
        max_age: fields.or("max_age", gap_max + MAX_AGE_ALLOWANCE, At::time),
        prune: fields.or("prune", false, At::switch),
        suspend: fields.get("suspend").and_then(|at| suspension(at, &zone)),
        zone,
    };
    if report.error_count() > errors {
        return None;
    }
    lint(&policy, &fields, &tier_fields, report);
    Some(policy)
}

/// A tier of which some part may be missing or wrong, for comparison with the others.
struct Draft<'n> {
    fields: Fields<'n>,
    name: Option<&'n str>,
    is_full: Option<bool>,
    /// The comment of its backups and those of `also`, each with where it stands.
    comments: Vec<(&'n str, Span)>,
    /// What there is of it without comparison with the others; its kind is still to be told.
    tier: Option<Tier>,
}

fn tiers<'n>(at: At<'n>, zone: &Zone, missing_parent: MissingParent) -> Option<(Vec<Tier>, Vec<Fields<'n>>)> {
    if let Value::Map(_) = at.node.value {
        return at.wrong("`tiers` must be a list, found a map", "begin each tier with `- name: …`");
    }
    let items = at.list()?;
    if items.len() > TIERS_MAX {
        return at.wrong(format!("`tiers` has {} entries, more than {TIERS_MAX}", items.len()), "");
    }
    let report = at.report;
    let drafts: Vec<Draft<'_>> = items.iter().filter_map(|item| draft(*item, zone)).collect();
    unique_comments(&drafts, report);
    coarsest_first(&drafts, report);
    if let Some(coarsest) = drafts.first().filter(|it| it.is_full == Some(false)) {
        let hint = "incremental backups need a full backup first; list the tiers coarsest first";
        report.error(coarsest.fields.span("type"), "the first (coarsest) tier must be full", hint);
    }
    // Whether each tier can make a first backup where no full one steps in for a missing parent.
    let mut begins: Vec<bool> = Vec::new();
    let mut tiers = Vec::new();
    for (index, Draft { fields, name, tier, .. }) in drafts.iter().enumerate() {
        let first = drafts[..index].iter().find(|it| it.name == *name);
        if let (Some(name), Some(first)) = (name, first) {
            let line = report.line_of(first.fields.span("name").start);
            let hint = format!("give one of them another name; the first is on line {line}");
            report.error(fields.span("name"), format!("two tiers are named `{name}`"), hint);
        }
        let kind = kind(&drafts, index);
        let parents = kind.as_ref().and_then(TierKind::parents);
        let begins_here = parents.is_none_or(|from| from.iter().any(|&it| it < index && begins[it]));
        // That the first tier must be full has been reported.
        if missing_parent == MissingParent::Block && !begins_here && index > 0 && fields.has("from") {
            let message = "with `missing_parent: block` this tier can never make its first backup";
            let hint = "let `from` name a tier that leads back to a full one";
            report.error(fields.span("from"), message, hint);
        }
        begins.push(begins_here);
        tiers.extend(tier.clone().zip(kind).map(|(tier, kind)| Tier { kind, ..tier }));
    }
    let is_whole = tiers.len() == items.len();
    is_whole.then(|| (tiers, drafts.into_iter().map(|draft| draft.fields).collect()))
}

fn draft<'n>(at: At<'n>, zone: &Zone) -> Option<Draft<'n>> {
    let fields = at.fields("a tier", &TIER_FIELDS, |key| match key {
        _ if POLICY_FIELDS.contains(&key) => {
            format!("`{key}` is a field of the policy: put it beside `tiers`")
        }
        _ => String::new(),
    })?;
    let name_hint = "give the tier a name, such as `name: daily`";
    let name = fields.need("name", name_hint).and_then(name);
    let schedule_hint = "define when it is due, such as `schedule: \"0 1 * * *\"` for every day at 01:00";
    let schedule = fields.need("schedule", schedule_hint).and_then(|at| {
        let schedule = Schedule::parse(at.text()?, zone.clone());
        schedule.map_err(|error| at.wrong::<()>(error.message, error.hint)).ok()
    });
    let kind_hint = "write `type: full` or `type: incremental`";
    let is_full = fields.need("type", kind_hint).and_then(|at| at.choice(&KINDS));
    let own = fields.get("comment").and_then(comment);
    let own = own.or_else(|| name.map(|name| (name, fields.span("name"))));
    let also = fields.get("also").and_then(At::list).unwrap_or_default();
    let also: Vec<(&str, Span)> = also.into_iter().filter_map(comment).collect();
    let all = "leave it out to keep all backups";
    let keep = fields.get("keep").and_then(|at| at.whole::<u32>(1..=i64::from(u32::MAX), all));
    let none = "leave it out for the default, 0";
    let keep_local = fields.or("keep_local", 0, |at| at.whole(0..=KEEP_LOCAL_MAX, none));
    let spread = fields.or("spread", TimeDelta::zero(), |at| {
        let spread = at.time()?;
        let gap = schedule.as_ref().map(Schedule::gap_min).filter(|gap| spread >= *gap);
        let Some(gap) = gap.map(duration_text) else { return Some(spread) };
        at.wrong(
            "`spread` must be shorter than the shortest gap of the tier's schedule",
            format!("make it shorter than {gap}, otherwise a backup can be due before the previous one"),
        )
    });
    let tier = name.zip(schedule).zip(own).map(|((name, schedule), (comment, _))| Tier {
        name: name.into(),
        schedule,
        kind: TierKind::Full,
        keep: keep.and_then(NonZeroU32::new),
        keep_local,
        comment: comment.to_owned(),
        also: also.iter().map(|(comment, _)| (*comment).to_owned()).collect(),
        spread,
    });
    Some(Draft { name, is_full, comments: own.into_iter().chain(also).collect(), tier, fields })
}

/// A comment leads to one tier. Tiers of one name are not reported again for their common comment.
fn unique_comments(tiers: &[Draft<'_>], report: &Report<'_>) {
    let folded = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
    let is_name = |index: TierIndex, span: Span| tiers[index].fields.span("name") == span;
    let mut before: Vec<(TierIndex, &str, Span)> = Vec::new();
    for (index, (own, span)) in
        tiers.iter().enumerate().flat_map(|(index, it)| it.comments.iter().map(move |it| (index, *it)))
    {
        let comment = quoted(own);
        let alike = |at: TierIndex, other: &str| at != index && folded(other) == folded(own);
        match before.iter().find(|(_, other, _)| *other == own) {
            Some((at, ..)) if *at == index => {
                let hint = "`also` lists further comments; remove this one";
                report.error(span, format!("this tier already has the comment {comment}"), hint);
            }
            Some(&(at, _, first)) if is_name(at, first) && is_name(index, span) => {}
            Some((.., first)) => {
                let line = report.line_of(first.start);
                let hint =
                    format!("the comment alone identifies a backup's tier; the first is on line {line}");
                report.error(span, format!("two tiers have the comment {comment}"), hint);
            }
            None => {
                if let Some((_, other, _)) = before.iter().find(|(at, other, _)| alike(*at, other)) {
                    let other = quoted(other);
                    let message =
                        format!("the comments {other} and {comment} differ only in spaces and case");
                    report.warning(span, message, "these are easily confused; choose distinct comments");
                }
            }
        }
        before.push((index, own, span));
    }
}

/// What the planner holds for coarser does for what it holds for finer, so a tier must not come more rarely than the one
/// above it. Clock changes are left out: they make no tier coarser.
fn coarsest_first(tiers: &[Draft<'_>], report: &Report<'_>) {
    let known = tiers.iter().filter_map(|it| {
        let tier = it.tier.as_ref()?;
        Some((&*tier.name, tier.schedule.wall_gaps.max, it.fields.span("schedule")))
    });
    let known: Vec<(&str, TimeDelta, Span)> = known.collect();
    for pair in known.windows(2) {
        let [(above, gap_above, _), (name, gap, span)] = pair else { continue };
        if gap > gap_above {
            let (gap, gap_above) = (duration_text(*gap), duration_text(*gap_above));
            let mut sorted = known.clone();
            sorted.sort_by_key(|(_, gap, _)| Reverse(*gap));
            let names = sorted.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
            let message =
                format!("`{name}` is up to {gap} apart, and `{above}` above it only up to {gap_above}");
            report.error(*span, message, format!("list the tiers coarsest first, which is {names}"));
        }
    }
}

fn kind(tiers: &[Draft<'_>], index: TierIndex) -> Option<TierKind> {
    let is_full = tiers[index].is_full;
    let Some(at) = tiers[index].fields.get("from") else {
        let incremental = || TierKind::Incremental { from: (0..=index).collect() };
        return is_full.map(|is_full| if is_full { TierKind::Full } else { incremental() });
    };
    if is_full == Some(true) {
        let hint = "leave it out, or write `type: incremental`";
        return at.wrong("`from` is not allowed on a full tier", hint);
    }
    if matches!(&at.node.value, Value::List(items) if items.is_empty()) {
        let hint = "leave it out to mean the tier itself and every coarser one";
        return at.wrong("`from` is an empty list", hint);
    }
    let mut from: Vec<TierIndex> = Vec::new();
    for item in at.list()? {
        let Some(name) = item.text() else { continue };
        let quoted = quoted(name);
        let (message, hint) = match tiers.iter().position(|tier| tier.name == Some(name)) {
            Some(found) if found > index => {
                let hint = "the parent must be of the tier itself or of a coarser one, listed above it";
                (format!("`from` names {quoted}, which is finer than this tier"), hint.to_owned())
            }
            Some(found) if from.contains(&found) => (format!("`from` names {quoted} twice"), String::new()),
            Some(found) => {
                from.push(found);
                continue;
            }
            None => {
                let names: Vec<&str> = tiers.iter().filter_map(|tier| tier.name).collect();
                let guess = did_you_mean(nearest(name, names.iter().copied()));
                let hint = format!("the tiers are {}", names.join(", "));
                (format!("`from` names the unknown tier {quoted}{guess}"), hint)
            }
        };
        item.wrong::<()>(message, hint);
    }
    from.sort_unstable();
    is_full.map(|_| TierKind::Incremental { from })
}

fn retry(at: At<'_>) -> Option<Retry> {
    let fields = at.fields("`retry`", &RETRY_FIELDS, |_| String::new())?;
    let hint = "the first attempt counts; with 1, the first failure is reported as given up";
    let attempts = fields.or("attempts", RETRY.attempts, |at| at.whole(1..=ATTEMPTS_MAX, hint));
    Some(Retry { attempts, backoff: fields.or("backoff", RETRY.backoff, At::time) })
}

fn suspension(at: At<'_>, zone: &Zone) -> Option<Suspension> {
    let fields = at.fields("`suspend`", &SUSPEND_FIELDS, |_| String::new())?;
    let reason = fields.need("reason", "give the reason, such as `reason: storage move`").and_then(At::text);
    let until_hint = "name the day on which backups resume, such as `until: 2026-12-24`";
    let until = fields.need("until", until_hint).and_then(|at| {
        let word = at.text()?;
        let Some(day) = word.parse::<NaiveDate>().ok().filter(|day| day.to_string() == word) else {
            let message = format!("`{}` is not a valid date: {}", at.key, quoted(word));
            return at.wrong(message, "write year, month and day, such as 2026-12-24");
        };
        let start = zone.day_start(day).map(|start| (day, start));
        start.or_else(|| at.wrong("`until` is out of range", "choose an earlier day"))
    });
    let vms = fields.has("vms").then(|| fields.each("vms", pattern));
    let (until, until_instant) = until.unwrap_or_default();
    Some(Suspension { reason: reason.unwrap_or_default().to_owned(), until, until_instant, vms })
}

fn zone(at: At<'_>) -> Option<Zone> {
    let word = at.text()?;
    let zone = Zone::find(word);
    if zone.is_some() {
        return zone;
    }
    let names: Vec<String> = Zone::names().collect();
    let names = || names.iter().map(String::as_str);
    let wanted = word.replace(' ', "_");
    let is_its_city =
        |name: &&str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&wanted));
    let near = names().find(is_its_city).or_else(|| nearest(word, names()));
    let hint = format!("`{}` takes an IANA name such as Europe/Berlin, or UTC", at.key);
    at.wrong(format!("unknown time zone {}{}", quoted(word), did_you_mean(near)), hint)
}

pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '-')
}

fn name<'n>(at: At<'n>) -> Option<&'n str> {
    let word = at.text()?;
    if is_name(word) {
        return Some(word);
    }
    let words = word.split(|c: char| !c.is_ascii_alphanumeric()).filter(|it| !it.is_empty());
    let better = words.map(str::to_lowercase).collect::<Vec<_>>().join("-");
    let such = if better.is_empty() { String::new() } else { format!(", such as {}", quoted(&better)) };
    let what = if at.key == "policy" { "policy" } else { "tier" };
    let hint = format!("use lowercase letters, digits and `-`, starting with a letter or digit{such}");
    at.wrong(format!("invalid {what} name: {}", quoted(word)), hint)
}

fn comment<'n>(at: At<'n>) -> Option<(&'n str, Span)> {
    let word = at.text()?;
    if word.trim() != word || word.contains(char::is_control) {
        let message = format!("`{}` has surrounding spaces or a line break: {}", at.key, quoted(word));
        return at.wrong(message, "backups are matched by their exact comment; use one plain line");
    }
    at.warn_of_invisible(word);
    Some((word, at.node.span))
}
