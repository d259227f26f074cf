//! What two sets of policies say differently, by name and whatever file it stands in.

use crate::policy::{MissingParent, Policies, Policy, Selector, Tier, TierKind, duration_text};
use chrono::TimeDelta;
use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// A policy that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyChange {
    pub name: String,
    /// What happened to it.
    pub change: PolicyChangeKind,
    /// What it says differently, a line a field, such as `tiers.daily.keep: 7 -> 3`; empty for a new one and one that is
    /// gone.
    pub fields: Vec<String>,
}

/// What happened to a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyChangeKind {
    /// It was not there before.
    Added,
    /// It is no longer there.
    Removed,
    /// It says something else.
    Changed,
}

/// Lists the policies that are new, gone or say something else, by name.
///
/// Where a policy stands plays no part: the file's checksum is one of all the policies in it.
pub(super) fn changes(before: &Policies, after: &Policies) -> Vec<PolicyChange> {
    let by_name = |policies: &Policies| -> BTreeMap<String, Policy> {
        policies.iter().map(|policy| (policy.name.to_string(), policy.clone())).collect()
    };
    let (before, after) = (by_name(before), by_name(after));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let mut changes: Vec<PolicyChange> = names
        .filter_map(|name| {
            let (change, fields) = match (before.get(name), after.get(name)) {
                (None, _) => (PolicyChangeKind::Added, Vec::new()),
                (_, None) => (PolicyChangeKind::Removed, Vec::new()),
                (Some(old), Some(new)) => (PolicyChangeKind::Changed, fields(old, new)),
            };
            let is_change = change != PolicyChangeKind::Changed || !fields.is_empty();
            is_change.then(|| PolicyChange { name: name.clone(), change, fields })
        })
        .collect();
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    changes
}

/// Says whether two policies would do the same to a VM that belongs to them, whatever they are called, whom they are for
/// and for how long they are suspended.
pub(super) fn behaves_alike(one: &Policy, other: &Policy) -> bool {
    one.zone == other.zone
        && one.tiers == other.tiers
        && one.missing_parent == other.missing_parent
        && one.stuck_after == other.stuck_after
        && one.min_full_size_bytes == other.min_full_size_bytes
        && one.retry == other.retry
        && one.prune == other.prune
}

/// Names the fields in which two policies of one name differ, where they came from aside.
fn fields(old: &Policy, new: &Policy) -> Vec<String> {
    // By name, so that a new field does not compile until it is handled here.
    let Policy {
        name: _,
        description,
        source: _,
        priority,
        select,
        exclude,
        zone,
        tiers: _,
        missing_parent,
        stuck_after,
        min_full_size_bytes,
        retry,
        max_age,
        prune,
        suspend,
    } = new;
    let mut changes = Vec::new();
    let mut differs = |is_so: bool, text: String| {
        if is_so {
            changes.push(text);
        }
    };
    differs(old.description != *description, "description: changed".to_owned());
    differs(old.priority != *priority, format!("priority: {} -> {priority}", old.priority));
    differs(old.select != *select, format!("select: {{{}}} -> {{{select}}}", old.select));
    let excluded = |selector: &Option<Selector>| {
        selector.as_ref().map_or_else(|| "none".to_owned(), |it| format!("{{{it}}}"))
    };
    differs(old.exclude != *exclude, format!("exclude: {} -> {}", excluded(&old.exclude), excluded(exclude)));
    differs(old.zone != *zone, format!("timezone: {} -> {}", old.zone.name(), zone.name()));
    let word = |missing: MissingParent| match missing {
        MissingParent::Full => "full",
        MissingParent::Block => "block",
    };
    differs(
        old.missing_parent != *missing_parent,
        format!("missing_parent: {} -> {}", word(old.missing_parent), word(*missing_parent)),
    );
    differs(old.stuck_after != *stuck_after, spans("stuck_after", old.stuck_after, *stuck_after));
    differs(
        old.min_full_size_bytes != *min_full_size_bytes,
        format!("min_full_size: {} -> {min_full_size_bytes} bytes", old.min_full_size_bytes),
    );
    differs(
        old.retry.attempts != retry.attempts,
        format!("retry.attempts: {} -> {}", old.retry.attempts, retry.attempts),
    );
    differs(old.retry.backoff != retry.backoff, spans("retry.backoff", old.retry.backoff, retry.backoff));
    differs(old.max_age != *max_age, spans("max_age", old.max_age, *max_age));
    differs(old.prune != *prune, format!("prune: {} -> {prune}", old.prune));
    differs(
        old.suspend != *suspend,
        match (&old.suspend, suspend) {
            (None, Some(new)) => format!("suspend: until {}", new.until),
            (Some(_), None) => "suspend: removed".to_owned(),
            _ => "suspend: changed".to_owned(),
        },
    );
    changes.extend(tier_fields(old, new));
    changes
}

fn tier_fields(old: &Policy, new: &Policy) -> Vec<String> {
    let mut changes = Vec::new();
    for tier in &new.tiers {
        match old.tiers.iter().find(|other| other.name == tier.name) {
            None => changes.push(format!("tiers.{}: added", tier.name)),
            Some(other) => changes.extend(one_tier(&tier.name, (other, old), (tier, new))),
        }
    }
    let gone = old.tiers.iter().filter(|tier| !new.tiers.iter().any(|other| other.name == tier.name));
    changes.extend(gone.map(|tier| format!("tiers.{}: removed", tier.name)));
    if changes.is_empty()
        && old.tiers.iter().map(|tier| &tier.name).ne(new.tiers.iter().map(|tier| &tier.name))
    {
        changes.push("tiers: in another order".to_owned());
    }
    changes
}

fn one_tier(name: &str, (old, before): (&Tier, &Policy), (new, after): (&Tier, &Policy)) -> Vec<String> {
    let Tier { name: _, schedule, kind: _, keep, keep_local, comment, also, spread } = new;
    let mut changes = Vec::new();
    // A zone that differs is reported once, for the policy.
    if old.schedule.to_string() != schedule.to_string() {
        changes.push(format!("tiers.{name}.schedule: {} -> {schedule}", old.schedule));
    }
    let (was, is) = (kind_text(before, old), kind_text(after, new));
    if was != is {
        changes.push(format!("tiers.{name}.type: {was} -> {is}"));
    }
    if old.keep != *keep {
        let text = |keep: Option<NonZeroU32>| keep.map_or_else(|| "all".to_owned(), |keep| keep.to_string());
        changes.push(format!("tiers.{name}.keep: {} -> {}", text(old.keep), text(*keep)));
    }
    if old.keep_local != *keep_local {
        changes.push(format!("tiers.{name}.keep_local: {} -> {keep_local}", old.keep_local));
    }
    if old.comment != *comment {
        changes.push(format!("tiers.{name}.comment: {:?} -> {comment:?}", old.comment));
    }
    if old.also != *also {
        changes.push(format!("tiers.{name}.also: {:?} -> {also:?}", old.also));
    }
    if old.spread != *spread {
        changes.push(spans(&format!("tiers.{name}.spread"), old.spread, *spread));
    }
    changes
}

/// Names what a tier is, its parents by their names: places shift when a tier comes in between.
fn kind_text(policy: &Policy, tier: &Tier) -> String {
    match &tier.kind {
        TierKind::Full => "full".to_owned(),
        TierKind::Incremental { from } => {
            let names: Vec<&str> = from.iter().map(|&from| policy.tiers[from].name.as_str()).collect();
            format!("incremental from {}", names.join(", "))
        }
    }
}

fn spans(field: &str, old: TimeDelta, new: TimeDelta) -> String {
    format!("{field}: {} -> {}", duration_text(old), duration_text(new))
}
