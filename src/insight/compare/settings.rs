//! What two sets of policies set differently, by name and whatever file it stands in.

use crate::policy::{MissingParent, Policies, Policy, Tier, TierKind, duration_text};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A policy that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyChange {
    pub name: String,
    pub change: PolicyChangeKind,
    /// What is set to something else, by name; empty for a new policy and one that is gone.
    pub settings: Vec<SettingChange>,
}

/// What happened to a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyChangeKind {
    /// It was not there before.
    Added,
    /// It is no longer there.
    Removed,
    /// It sets something else.
    Changed,
}

/// A setting before and after a change, as policies write it; `None` where it was or is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    /// Its name, such as `tiers.daily.keep`.
    pub setting: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Lists the policies that are new, gone or set something else, by name.
pub(super) fn policy_changes(before: &Policies, after: &Policies) -> Vec<PolicyChange> {
    let by_name = |policies: &Policies| -> BTreeMap<String, Policy> {
        policies.iter().map(|policy| (policy.name.to_string(), policy.clone())).collect()
    };
    let (before, after) = (by_name(before), by_name(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| {
        let (change, settings) = match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) => (PolicyChangeKind::Changed, setting_changes(old, new)),
            (None, _) => (PolicyChangeKind::Added, Vec::new()),
            (_, None) => (PolicyChangeKind::Removed, Vec::new()),
        };
        let is_change = change != PolicyChangeKind::Changed || !settings.is_empty();
        is_change.then(|| PolicyChange { name: name.clone(), change, settings })
    };
    names.into_iter().filter_map(change).collect()
}

/// Lists what two policies set differently, in the order of the names of settings.
pub(super) fn setting_changes(old: &Policy, new: &Policy) -> Vec<SettingChange> {
    let (mut old, mut new) = (settings(old), settings(new));
    let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    let change = |setting: String| {
        let (before, after) = (old.remove(&setting), new.remove(&setting));
        (before != after).then_some(SettingChange { setting, before, after })
    };
    names.into_iter().filter_map(change).collect()
}

/// Writes down all that a policy sets and that makes a difference to anything.
fn settings(policy: &Policy) -> BTreeMap<String, String> {
    // By name, so that a new field does not compile until it is handled here.
    let Policy {
        name: _,
        description: _,
        source: _,
        priority,
        select,
        exclude,
        zone,
        tiers,
        missing_parent,
        stuck_after,
        min_full_size_bytes,
        retry,
        max_age,
        prune,
        suspend,
    } = policy;
    let missing_parent = match missing_parent {
        MissingParent::Full => "full",
        MissingParent::Block => "block",
    };
    let set = [
        ("priority", priority.to_string()),
        ("select", format!("{{{select}}}")),
        ("timezone", zone.name().to_owned()),
        ("missing_parent", missing_parent.to_owned()),
        ("stuck_after", duration_text(*stuck_after)),
        ("min_full_size", format!("{min_full_size_bytes} bytes")),
        ("retry", format!("{} attempts, {}", retry.attempts, duration_text(retry.backoff))),
        ("max_age", duration_text(*max_age)),
        ("prune", prune.to_string()),
    ];
    let suspended = suspend.as_ref().map(|suspend| match &suspend.vms {
        None => format!("until {}", suspend.until),
        Some(vms) => {
            let vms: Vec<String> = vms.iter().map(ToString::to_string).collect();
            format!("{} until {}", vms.join(", "), suspend.until)
        }
    });
    let excluded = exclude.as_ref().map(|exclude| ("exclude", format!("{{{exclude}}}")));
    let set = set.into_iter().chain(excluded).chain(suspended.map(|suspended| ("suspend", suspended)));
    let set = set.map(|(name, value)| (name.to_owned(), value));
    let order = tiers.iter().map(|tier| tier.name.as_str()).collect::<Vec<_>>().join(", ");
    let tiers = tiers.iter().flat_map(|tier| tier_settings(policy, tier));
    set.chain([("tiers".to_owned(), order)]).chain(tiers).collect()
}

/// Writes down what a tier sets: `tiers.daily.keep`, `7`.
fn tier_settings(policy: &Policy, tier: &Tier) -> impl Iterator<Item = (String, String)> {
    let Tier { name, schedule, kind, keep, keep_local, comment, also, spread } = tier;
    let kind = match kind {
        TierKind::Full => "full".to_owned(),
        TierKind::Incremental { from } => {
            // By their names: places shift when a tier comes in between.
            let names: Vec<&str> = from.iter().map(|&from| policy.tiers[from].name.as_str()).collect();
            format!("incremental from {}", names.join(", "))
        }
    };
    let set = [
        ("schedule", Some(schedule.to_string())),
        ("type", Some(kind)),
        ("keep", Some(keep.map_or_else(|| "all".to_owned(), |keep| keep.to_string()))),
        ("keep_local", (*keep_local > 0).then(|| keep_local.to_string())),
        ("spread", (!spread.is_zero()).then(|| duration_text(*spread))),
        ("comment", (comment.as_str() != name.as_str()).then(|| comment.clone())),
        ("also", (!also.is_empty()).then(|| also.join(", "))),
    ];
    set.into_iter().filter_map(move |(setting, value)| Some((format!("tiers.{name}.{setting}"), value?)))
}
