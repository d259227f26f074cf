//! The shape of a policy document: which fields there are and what kind of value each takes.
//!
//! What a value means beside the others is the business of [`super::check`].

use super::fields::{Fields, bytes, choice, list, nearest, switch, text, time, whole};
use super::node::{Kind, Node, Value};
use super::selection::{SELECTOR_FIELDS, patterns, selector};
use super::text::{DiagnosticSink, Located, Span, quoted};
use super::{MissingParent, Pattern, Selector, Zone};
use chrono::{NaiveDate, TimeDelta};
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

const VERSION: i64 = 1;
/// The maximum number of tiers; each is compared with the ones above it.
const TIERS_MAX: usize = 32;
const KEEP_LOCAL_MAX: i64 = 1_000;
const ATTEMPTS_MAX: i64 = 100;

/// A policy as its document has it. What could not be read has been reported and is left out.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) span: Span,
    pub(super) name: Option<Located<String>>,
    pub(super) description: Option<Located<String>>,
    pub(super) priority: Option<Located<i64>>,
    pub(super) select: Option<Located<Selector>>,
    pub(super) exclude: Option<Located<Selector>>,
    pub(super) zone: Option<Located<Zone>>,
    pub(super) tiers: Vec<TierDocument>,
    pub(super) missing_parent: Option<Located<MissingParent>>,
    pub(super) stuck_after: Option<Located<TimeDelta>>,
    pub(super) min_full_size_bytes: Option<Located<u64>>,
    pub(super) retry: RetryDocument,
    pub(super) max_age: Option<Located<TimeDelta>>,
    pub(super) prune: Option<Located<bool>>,
    pub(super) suspend: Option<SuspendDocument>,
}

/// A tier as its document has it.
#[derive(Debug)]
pub(super) struct TierDocument {
    pub(super) name: Option<Located<String>>,
    pub(super) schedule: Option<Located<String>>,
    pub(super) kind: Option<Located<KindWord>>,
    pub(super) from: Option<Located<Vec<Located<String>>>>,
    pub(super) keep: Option<Located<NonZeroU32>>,
    pub(super) keep_local: Option<Located<u32>>,
    pub(super) comment: Option<Located<String>>,
    pub(super) also: Option<Located<Vec<Located<String>>>>,
    pub(super) spread: Option<Located<TimeDelta>>,
}

/// The word for what a tier's backups are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KindWord {
    Full,
    Incremental,
}

/// `retry` as its document has it.
#[derive(Debug, Default)]
pub(super) struct RetryDocument {
    pub(super) attempts: Option<u32>,
    pub(super) backoff: Option<TimeDelta>,
}

/// `suspend` as its document has it.
#[derive(Debug)]
pub(super) struct SuspendDocument {
    pub(super) reason: Option<Located<String>>,
    pub(super) until: Option<Located<NaiveDate>>,
    pub(super) vms: Option<Located<Vec<Pattern>>>,
}

/// Reads a document; `None` when it is no map, or of another version of the format, whose fields mean nothing here.
pub(super) fn document(node: &Node, report: &mut DiagnosticSink<'_>) -> Option<Document> {
    if of_another_version(node, report) {
        return None;
    }
    let fields = Fields::of(node, "a policy", &POLICY_FIELDS, belongs_elsewhere, report)?;
    fields.required("version", "write `version: 1`", whole(VERSION..=VERSION, ""), report);
    let hint = "give the policy a name, such as `policy: grandfather`";
    let name = fields.required("policy", hint, name, report);
    let hint = "name the VMs that the policy applies to; `select: { all: true }` selects all of them";
    let select = fields.required("select", hint, selector, report);
    let exclude = fields.optional("exclude", selector, report);
    if let Some(exclude) = &exclude
        && exclude.value.all
    {
        report.error(exclude.span, "`exclude` excludes every VM").hint("remove `exclude`");
    }
    let hint = "define when backups are made; policies/README.md has working examples";
    let tiers = fields.required("tiers", hint, tiers, report);
    Some(Document {
        span: fields.span,
        name,
        description: fields.optional("description", text, report),
        priority: fields.optional("priority", whole(i64::MIN..=i64::MAX, ""), report),
        select,
        exclude,
        zone: fields.optional("timezone", zone, report),
        tiers: tiers.map_or_else(Vec::new, |it| it.value),
        missing_parent: fields.optional("missing_parent", choice(&MISSING_PARENT), report),
        stuck_after: fields.optional("stuck_after", time, report),
        min_full_size_bytes: fields.optional("min_full_size", bytes, report),
        retry: fields.optional("retry", retry, report).map(|it| it.value).unwrap_or_default(),
        max_age: fields.optional("max_age", time, report),
        prune: fields.optional("prune", switch, report),
        suspend: fields.optional("suspend", suspend, report).map(|it| it.value),
    })
}

pub(super) const MISSING_PARENT: [(&str, MissingParent); 2] =
    [("full", MissingParent::Full), ("block", MissingParent::Block)];
pub(super) const KINDS: [(&str, KindWord); 2] =
    [("full", KindWord::Full), ("incremental", KindWord::Incremental)];

/// Reported before anything else, since another version may have other fields.
fn of_another_version(node: &Node, report: &mut DiagnosticSink<'_>) -> bool {
    let Value::Map(pairs) = &node.value else { return false };
    for (key, value) in pairs {
        if let (Value::Scalar(key), Value::Scalar(version)) = (&key.value, &value.value)
            && key.text == "version"
            && matches!(version.kind(), Kind::Whole(number) if number != Some(VERSION))
        {
            report
                .error(value.span, format!("unsupported policy version {}", quoted(&version.text)))
                .hint("the supported version is 1");
            return true;
        }
    }
    false
}

fn belongs_elsewhere(key: &str) -> Option<String> {
    if TIER_FIELDS.contains(&key) {
        Some(format!("`{key}` is a field of a tier: put it under `tiers`"))
    } else if SELECTOR_FIELDS.contains(&key) {
        Some(format!("`{key}` is a field of a selector: put it under `select` or `exclude`"))
    } else {
        None
    }
}

fn tiers(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<Vec<TierDocument>> {
    if let Value::Map(_) = node.value {
        report
            .error(node.span, "`tiers` must be a list, found a map")
            .hint("begin each tier with `- name: …`");
        return None;
    }
    let items = list(key, node, report)?;
    if items.len() > TIERS_MAX {
        report.error(node.span, format!("`tiers` has {} entries, more than {TIERS_MAX}", items.len()));
        return None;
    }
    Some(items.iter().filter_map(|item| tier(item, report)).collect())
}

fn tier(node: &Node, report: &mut DiagnosticSink<'_>) -> Option<TierDocument> {
    let elsewhere = |key: &str| {
        POLICY_FIELDS
            .contains(&key)
            .then(|| format!("`{key}` is a field of the policy: put it beside `tiers`"))
    };
    let fields = Fields::of(node, "a tier", &TIER_FIELDS, elsewhere, report)?;
    let schedule_hint = "define when it is due, such as `schedule: \"0 1 * * *\"` for every day at 01:00";
    Some(TierDocument {
        name: fields.required("name", "give the tier a name, such as `name: daily`", name, report),
        schedule: fields.required("schedule", schedule_hint, text, report),
        kind: fields.required("type", "write `type: full` or `type: incremental`", choice(&KINDS), report),
        from: fields.optional("from", from, report),
        keep: fields.optional("keep", keep, report),
        keep_local: fields
            .optional("keep_local", whole(0..=KEEP_LOCAL_MAX, "leave it out for the default, 0"), report)
            .and_then(|it| Some(Located { span: it.span, value: u32::try_from(it.value).ok()? })),
        comment: fields.optional("comment", comment, report),
        also: fields.optional("also", also, report),
        spread: fields.optional("spread", time, report),
    })
}

fn keep(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<NonZeroU32> {
    let bounds = 1..=i64::from(u32::MAX);
    let number = whole(bounds, "leave it out to keep all backups")(key, node, report)?;
    u32::try_from(number).ok().and_then(NonZeroU32::new)
}

fn from(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<Vec<Located<String>>> {
    if let Value::List(items) = &node.value
        && items.is_empty()
    {
        report
            .error(node.span, "`from` is an empty list")
            .hint("leave it out to mean the tier itself and every coarser one");
        return None;
    }
    located(key, node, text, report)
}

fn also(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<Vec<Located<String>>> {
    located(key, node, comment, report)
}

/// Reads the texts of a list that is not empty, each with its place.
fn located(
    key: &str,
    node: &Node,
    read: impl Fn(&str, &Node, &mut DiagnosticSink<'_>) -> Option<String>,
    report: &mut DiagnosticSink<'_>,
) -> Option<Vec<Located<String>>> {
    let items = list(key, node, report)?;
    let read = |item: &Node| Some(Located { span: item.span, value: read(key, item, report)? });
    Some(items.iter().filter_map(read).collect())
}

fn retry(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<RetryDocument> {
    let fields = Fields::of(node, &format!("`{key}`"), &RETRY_FIELDS, |_| None, report)?;
    let attempts = whole(
        1..=ATTEMPTS_MAX,
        "the first attempt counts; with 1, the first failure is reported as given up",
    );
    Some(RetryDocument {
        attempts: fields.optional("attempts", attempts, report).and_then(|it| u32::try_from(it.value).ok()),
        backoff: fields.optional("backoff", time, report).map(|it| it.value),
    })
}

fn suspend(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<SuspendDocument> {
    let fields = Fields::of(node, &format!("`{key}`"), &SUSPEND_FIELDS, |_| None, report)?;
    let reason_hint = "give the reason, such as `reason: storage move`";
    let until_hint = "name the day on which backups resume, such as `until: 2026-12-24`";
    Some(SuspendDocument {
        reason: fields.required("reason", reason_hint, text, report),
        until: fields.required("until", until_hint, day, report),
        vms: fields.optional("vms", patterns, report),
    })
}

fn day(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<NaiveDate> {
    let word = text(key, node, report)?;
    match word.parse::<NaiveDate>() {
        Ok(day) if day.to_string() == word => Some(day),
        _ => {
            report
                .error(node.span, format!("`{key}` is not a valid date: {}", quoted(&word)))
                .hint("write year, month and day, such as 2026-12-24");
            None
        }
    }
}

fn zone(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<Zone> {
    let word = text(key, node, report)?;
    if let Some(zone) = Zone::find(&word) {
        return Some(zone);
    }
    let names: Vec<String> = Zone::names().collect();
    let city = |name: &&String| {
        name.rsplit_once('/').is_some_and(|(_, city)| city.eq_ignore_ascii_case(&word.replace(' ', "_")))
    };
    let near = names
        .iter()
        .find(city)
        .map(String::as_str)
        .or_else(|| nearest(&word, names.iter().map(String::as_str)));
    let guess = near.map_or(String::new(), |near| format!(", did you mean `{near}`?"));
    report
        .error(node.span, format!("unknown time zone {}{guess}", quoted(&word)))
        .hint(format!("`{key}` takes an IANA name such as Europe/Berlin, or UTC"));
    None
}

/// Says whether a text can be the name of a policy or a tier.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '-')
}

/// Reads the name of a policy or a tier.
fn name(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<String> {
    let word = text(key, node, report)?;
    if is_name(&word) {
        return Some(word);
    }
    let words: Vec<String> = word
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|it| !it.is_empty())
        .map(str::to_lowercase)
        .collect();
    let better = words.join("-");
    let such = if better.is_empty() { String::new() } else { format!(", such as {}", quoted(&better)) };
    let what = if key == "policy" { "policy" } else { "tier" };
    report
        .error(node.span, format!("invalid {what} name: {}", quoted(&word)))
        .hint(format!("use lowercase letters, digits and `-`, starting with a letter or digit{such}"));
    None
}

fn comment(key: &str, node: &Node, report: &mut DiagnosticSink<'_>) -> Option<String> {
    let word = text(key, node, report)?;
    if word.trim() != word || word.contains(char::is_control) {
        report
            .error(node.span, format!("`{key}` has surrounding spaces or a line break: {}", quoted(&word)))
            .hint("backups are matched by their exact comment; use one plain line");
        return None;
    }
    Some(word)
}
