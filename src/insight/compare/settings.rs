//! What two sets of policies set differently, by name and whatever file it stands in.

use crate::policy::{MissingParent, Name, Policies, Policy, Tier, TierKind, duration_text};
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyChangeKind {
    Added,
    Removed,
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
    let names: BTreeSet<&Name> = before.iter().chain(after.iter()).map(|policy| &policy.name).collect();
    let change = |name: &Name| {
        let (change, settings) = match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) => (PolicyChangeKind::Changed, setting_changes(old, new)),
            (None, _) => (PolicyChangeKind::Added, Vec::new()),
            (_, None) => (PolicyChangeKind::Removed, Vec::new()),
        };
        let is_change = change != PolicyChangeKind::Changed || !settings.is_empty();
        is_change.then(|| PolicyChange { name: name.to_string(), change, settings })
    };
    names.into_iter().filter_map(change).collect()
}

fn setting_changes(old: &Policy, new: &Policy) -> Vec<SettingChange> {
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
    let suspended = suspend.as_ref().map(|suspend| {
        let vms = suspend.vms.as_ref().map(|vms| {
            let vms: Vec<String> = vms.iter().map(ToString::to_string).collect();
            format!("{} ", vms.join(", "))
        });
        format!("{}until {}", vms.unwrap_or_default(), suspend.until)
    });
    let order = tiers.iter().map(|tier| &*tier.name).collect::<Vec<_>>().join(", ");
    let set = [
        ("priority", Some(priority.to_string())),
        ("select", Some(format!("{{{select}}}"))),
        ("exclude", exclude.as_ref().map(|exclude| format!("{{{exclude}}}"))),
        ("timezone", Some(zone.name().to_owned())),
        ("tiers", Some(order)),
        ("missing_parent", Some(missing_parent.to_owned())),
        ("stuck_after", Some(duration_text(*stuck_after))),
        ("min_full_size", Some(format!("{min_full_size_bytes} bytes"))),
        ("retry", Some(format!("{} attempts, {}", retry.attempts, duration_text(retry.backoff)))),
        ("max_age", Some(duration_text(*max_age))),
        ("prune", Some(prune.to_string())),
        ("suspend", suspended),
    ];
    let set = set.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    set.chain(tiers.iter().flat_map(|tier| tier_settings(policy, tier))).collect()
}

/// Writes down what a tier sets: `tiers.daily.keep`, `7`.
fn tier_settings(policy: &Policy, tier: &Tier) -> impl Iterator<Item = (String, String)> {
    let Tier { name, schedule, kind, keep, keep_local, comment, also, spread } = tier;
    let kind = match kind {
        TierKind::Full => "full".to_owned(),
        TierKind::Incremental { from } => {
            // By their names: places shift when a tier comes in between.
            let names: Vec<&str> = from.iter().map(|&from| &*policy.tiers[from].name).collect();
            format!("incremental from {}", names.join(", "))
        }
    };
    let set = [
        ("schedule", Some(schedule.to_string())),
        ("type", Some(kind)),
        ("keep", Some(keep.map_or_else(|| "all".to_owned(), |keep| keep.to_string()))),
        ("keep_local", (*keep_local > 0).then(|| keep_local.to_string())),
        ("spread", (!spread.is_zero()).then(|| duration_text(*spread))),
        ("comment", (**comment != **name).then(|| comment.clone())),
        ("also", (!also.is_empty()).then(|| also.join(", "))),
    ];
    set.into_iter().filter_map(move |(setting, value)| Some((format!("tiers.{name}.{setting}"), value?)))
}
