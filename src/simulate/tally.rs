//! What the days of a simulation add up to.

use super::Scenario;
use super::engine::Engine;
use super::world::{Day, Made, SimulatedVm, unknown_vm};
use crate::inventory::{Inventory, Vm, VmId};
use crate::policy::{Name, Policies, Policy};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::{panic, thread};

/// What there would be, by policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Simulation {
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub policies: Vec<PolicySimulation>,
}

/// What there would be of the VMs of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicySimulation {
    pub policy: Name,
    pub vms: usize,
    pub days: Vec<Day>,
    /// What is made of one VM, the first by alias of which anything is.
    #[serde(skip)]
    pub example: Example,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// `None` where the policy has none.
    pub vm: Option<VmId>,
    /// Its alias; empty where there is no FiFo.
    pub alias: String,
    pub made: Vec<Made>,
}

/// The days of a policy in a few numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub full: usize,
    pub incremental: usize,
    pub pruned: usize,
    /// Backups in storage in the end.
    pub stored: usize,
    pub stored_max: usize,
    pub stored_bytes: u64,
    pub local_max: usize,
    pub longest_chain: usize,
    pub restore_bytes: u64,
    pub newest_age_secs: Option<i64>,
}

impl Totals {
    pub fn of(days: &[Day]) -> Self {
        days.iter().fold(Self::default(), |sum, day| Self {
            full: sum.full + day.full,
            incremental: sum.incremental + day.incremental,
            pruned: sum.pruned + day.pruned,
            stored: day.stored,
            stored_max: sum.stored_max.max(day.stored),
            stored_bytes: day.stored_bytes,
            local_max: sum.local_max.max(day.local),
            longest_chain: sum.longest_chain.max(day.longest_chain),
            restore_bytes: sum.restore_bytes.max(day.restore_bytes),
            newest_age_secs: sum.newest_age_secs.max(day.newest_age_secs),
        })
    }
}

/// Runs policies forward: over the VMs that they are for, or over one VM a policy of which nothing is known.
pub fn simulate(policies: &Policies, inventory: Option<&Inventory>, scenario: &Scenario) -> Simulation {
    let mut by_policy: BTreeMap<&Name, Vec<&Vm>> = BTreeMap::new();
    for vm in inventory.iter().flat_map(|inventory| inventory.vms.values()) {
        if let Some(policy) = policies.policy_for(vm).one() {
            by_policy.entry(&policy.name).or_default().push(vm);
        }
    }
    let unknown = [&unknown_vm()];
    let of_policy = |policy: &Policy| {
        let mut vms = by_policy.remove(&policy.name).unwrap_or_default();
        vms.sort_by(|one, other| (&one.alias, one.id).cmp(&(&other.alias, other.id)));
        simulate_policy(policy, if inventory.is_some() { &vms } else { &unknown }, scenario)
    };
    let policies = policies.iter().map(of_policy).collect();
    Simulation { from: scenario.from, until: scenario.until, policies }
}

fn simulate_policy(policy: &Policy, vms: &[&Vm], scenario: &Scenario) -> PolicySimulation {
    let engine = Engine::new(policy, scenario);
    let ends = day_ends(policy, scenario);
    let (mut days, mut example) = days_of(&engine, &ends, [], |_, _| {});
    for (others, made) in in_threads(vms, |vms| {
        let vms = vms.iter().map(|vm| SimulatedVm::new(vm, policy, scenario));
        days_of(&engine, &ends, vms, |_, _| {})
    }) {
        days.iter_mut().zip(&others).for_each(|(day, other)| day.add(other));
        if example.made.is_empty() {
            example = made;
        }
    }
    PolicySimulation { policy: policy.name.clone(), vms: vms.len(), days, example }
}

/// Has a thread for each processor do its part of some items, and returns what they came to, in order.
pub(super) fn in_threads<T: Sync, R: Send>(items: &[T], of: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = items.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let parts: Vec<_> = items.chunks(share).map(|part| scope.spawn(|| of(part))).collect();
        let ended = parts.into_iter().map(|it| it.join().unwrap_or_else(|fault| panic::resume_unwind(fault)));
        ended.collect()
    })
}

/// Lists the days of a scenario with the instant at which each ends.
pub(super) fn day_ends(policy: &Policy, scenario: &Scenario) -> Vec<(NaiveDate, DateTime<Utc>)> {
    let last = policy.zone.moment(scenario.until - TimeDelta::seconds(1)).date_naive();
    let days = policy.zone.moment(scenario.from).date_naive().iter_days().take_while(|day| *day <= last);
    let end = |day: NaiveDate| Some((day, policy.zone.day_start(day.succ_opt()?)?.min(scenario.until)));
    days.filter_map(end).collect()
}

/// Lets VMs live through the scenario one after the other; `watch` sees each as [`Engine::play`] shows it.
pub(super) fn days_of(
    engine: &Engine<'_>,
    ends: &[(NaiveDate, DateTime<Utc>)],
    vms: impl IntoIterator<Item = SimulatedVm>,
    mut watch: impl FnMut(&SimulatedVm, DateTime<Utc>),
) -> (Vec<Day>, Example) {
    let mut days: Vec<Day> = ends.iter().map(|(date, _)| Day { date: *date, ..Day::default() }).collect();
    let mut example = Example::default();
    for mut vm in vms {
        let (mut at, mut made, mut pruned) = (0, 0, 0);
        engine.play(&mut vm, |vm, now| {
            watch(vm, now);
            while let Some(&(date, end)) = ends.get(at).filter(|(_, end)| *end <= now) {
                let full = vm.made[made..].iter().filter(|made| made.is_full).count();
                let incremental = vm.made.len() - made - full;
                days[at].add(&Day { full, incremental, pruned: vm.pruned - pruned, ..vm.day(date, end) });
                (at, made, pruned) = (at + 1, vm.made.len(), vm.pruned);
            }
            ControlFlow::Continue(())
        });
        if example.made.is_empty() {
            example = Example { vm: Some(vm.vm.id), alias: vm.vm.alias, made: vm.made };
        }
    }
    (days, example)
}
