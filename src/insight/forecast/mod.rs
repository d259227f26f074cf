//! The effect of a change of policies over the next weeks: each VM whose policy does something else than before is run
//! forward under both, from due time to due time, on an assumed world in which every create succeeds at once and every
//! delete happens.
//!
//! With `prune: true` what expires is deleted from storage, as with `--prune`.
//!
//! It is a forecast and no plan: what runs now is taken to succeed, a VM that cannot be backed up now never can, and
//! no VM is moved, created or deleted. VMs with equal decisions are simulated once, so that a policy of
//! twenty thousand VMs costs little more than one of a handful; VMs whose decisions do not change are not simulated.

mod counts;
mod course;
mod occurrences;
mod replay;
mod run;
mod start_state;

use super::policy_changes::behaves_alike;
use crate::inventory::{Inventory, RecordedState, Vm};
use crate::policy::{Match, Policies, Policy};
use chrono::{DateTime, TimeDelta, Utc};
pub use counts::{ForecastCounts, StoredForecast, TierForecast};
use run::Runner;
use serde::Serialize;
use std::collections::BTreeMap;

/// The forecast period: the longest month and the days until the next Sunday, so that a scheme of months and weeks
/// is seen whole.
pub const FORECAST_WITHIN: TimeDelta = TimeDelta::days(35);

/// The limit of decisions in all, at most some tens of seconds. VMs beyond it are counted and reported, not
/// forecast.
const DECISIONS_MAX: usize = 1_500_000;

/// The effect of a change of policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// The instant from which it looks ahead.
    pub from: DateTime<Utc>,
    /// The instant up to which it looks.
    pub until: DateTime<Utc>,
    /// The VMs that something else is done to than before, counted together where they share both policies.
    pub groups: Vec<ForecastGroup>,
    /// VMs that are not in it because there were too many that differ.
    pub left_out: usize,
}

/// VMs with the same policy before and the same one after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForecastGroup {
    /// The policy before; `None` for none, or for several that are in conflict.
    pub before: Option<String>,
    /// The policy after.
    pub after: Option<String>,
    /// How many VMs are counted together.
    pub vms: usize,
    /// Their total result without the change.
    pub without: ForecastCounts,
    /// Their total result with the change.
    pub with: ForecastCounts,
}

/// Looks ahead from an instant, for those VMs to which the policies now do something else than those before.
pub fn forecast(before: &Policies, after: &Policies, inventory: &Inventory, now: DateTime<Utc>) -> Forecast {
    look_ahead(before, after, inventory, (now, now + FORECAST_WITHIN), DECISIONS_MAX)
}

/// Looks ahead from one instant to another, with a limit on the number of decisions.
pub(in crate::insight) fn look_ahead(
    before: &Policies,
    after: &Policies,
    inventory: &Inventory,
    (now, until): (DateTime<Utc>, DateTime<Utc>),
    decisions_max: usize,
) -> Forecast {
    let mut runners: [BTreeMap<&str, Runner<'_>>; 2] = Default::default();
    let mut alike: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    let mut groups: BTreeMap<(Option<&str>, Option<&str>), ForecastGroup> = BTreeMap::new();
    let mut decisions_left = decisions_max;
    let mut left_out = 0;
    for vm in inventory.vms.values() {
        let (old, new) = (one(before.policy_for(vm)), one(after.policy_for(vm)));
        let is_same = match (old, new) {
            (None, None) => true,
            (Some(old), Some(new)) => {
                let alike = alike.entry((&old.name, &new.name)).or_insert_with(|| behaves_alike(old, new));
                *alike && held_until(old, vm, now) == held_until(new, vm, now)
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if is_same {
            continue;
        }
        let mut look = |side: usize, policy| match policy {
            None => Some(untended(vm)),
            Some(policy) => {
                let runner = runner_of(&mut runners[side], policy, now, until);
                runner.run(vm, &mut decisions_left)
            }
        };
        let (Some(without), Some(with)) = (look(0, old), look(1, new)) else {
            left_out += 1;
            continue;
        };
        let names = (old.map(|policy| policy.name.as_str()), new.map(|policy| policy.name.as_str()));
        let group = groups.entry(names).or_insert_with(|| ForecastGroup {
            before: names.0.map(str::to_owned),
            after: names.1.map(str::to_owned),
            vms: 0,
            without: ForecastCounts::of(old),
            with: ForecastCounts::of(new),
        });
        group.vms += 1;
        group.without.add(&without);
        group.with.add(&with);
    }
    Forecast { from: now, until, groups: groups.into_values().collect(), left_out }
}

fn runner_of<'r, 'a>(
    runners: &'r mut BTreeMap<&'a str, Runner<'a>>,
    policy: &'a Policy,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> &'r mut Runner<'a> {
    runners.entry(policy.name.as_str()).or_insert_with(|| Runner::new(policy, from, until))
}

fn one(found: Match<'_>) -> Option<&Policy> {
    match found {
        Match::One(policy) => Some(policy),
        Match::Unprotected | Match::Conflict(_) => None,
    }
}

/// Returns the instant until which nothing is done to a VM; `None` when that is over already, or never was.
fn held_until(policy: &Policy, vm: &Vm, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    policy.suspended_until(vm).filter(|&until| now < until)
}

/// The result for a VM without a policy: its snapshots stay on the hypervisor, and its backups in storage.
fn untended(vm: &Vm) -> ForecastCounts {
    let local = vm.backups.values().filter(|backup| backup.holds_snapshot()).count();
    let completed = || vm.backups.values().filter(|backup| backup.state == RecordedState::Completed);
    let sizes = completed().filter_map(|backup| backup.size_bytes());
    let stored = StoredForecast {
        stored: completed().count(),
        stored_max: completed().count(),
        stored_size_bytes: sizes.fold(0, u64::saturating_add),
        ..StoredForecast::default()
    };
    ForecastCounts { local, local_max: local, stored, ..ForecastCounts::default() }
}
