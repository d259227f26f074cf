//! What the days of a simulation add up to.

use super::Scenario;
use super::day::{Day, Totals};
use super::engine::Engine;
use super::world::{Made, SimulatedVm};
use crate::inventory::{Inventory, Vm, VmId};
use crate::policy::{Match, Name, Policies, Policy};
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
    /// By name.
    pub policies: Vec<PolicySimulation>,
}

/// What there would be of the VMs of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicySimulation {
    pub policy: Name,
    /// How many VMs there are.
    pub vms: usize,
    pub days: Vec<Day>,
    /// What is made of one VM, the first by alias of which anything is.
    #[serde(skip)]
    pub example: Example,
}

/// One of a policy's VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// `None` where there is no FiFo.
    pub vm: Option<VmId>,
    /// Its alias; empty where there is no FiFo.
    pub alias: String,
    pub made: Vec<Made>,
}

impl PolicySimulation {
    pub fn totals(&self) -> Totals {
        Totals::of(&self.days)
    }
}

/// Runs policies forward: over the VMs that they are for, or over one VM a policy of which nothing is known.
pub fn simulate(policies: &Policies, inventory: Option<&Inventory>, scenario: &Scenario) -> Simulation {
    let mut by_policy: BTreeMap<&Name, Vec<&Vm>> = BTreeMap::new();
    for vm in inventory.iter().flat_map(|inventory| inventory.vms.values()) {
        if let Match::One(policy) = policies.policy_for(vm) {
            by_policy.entry(&policy.name).or_default().push(vm);
        }
    }
    let of_policy = |policy: &Policy| {
        let mut vms = by_policy.remove(&policy.name).unwrap_or_default();
        vms.sort_by(|one, other| (&one.alias, one.id).cmp(&(&other.alias, other.id)));
        simulate_policy(policy, inventory.map(|_| vms.as_slice()), scenario)
    };
    let policies = policies.iter().map(of_policy).collect();
    Simulation { from: scenario.from, until: scenario.until, policies }
}

fn simulate_policy(policy: &Policy, vms: Option<&[&Vm]>, scenario: &Scenario) -> PolicySimulation {
    let engine = Engine::new(policy, scenario);
    let ends = day_ends(policy, scenario);
    let (days, example) = match vms {
        None => days_of(&engine, &ends, [SimulatedVm::unknown(policy, scenario)], |_, _| {}),
        Some(vms) => {
            let start = |vm: &&Vm| SimulatedVm::new(vm, policy, scenario);
            let threads = thread::available_parallelism().map_or(1, NonZero::get);
            let share = vms.len().div_ceil(threads).max(1);
            let parts: Vec<(Vec<Day>, Example)> = thread::scope(|scope| {
                let parts = vms
                    .chunks(share)
                    .map(|part| scope.spawn(|| days_of(&engine, &ends, part.iter().map(start), |_, _| {})));
                let parts: Vec<_> = parts.collect();
                parts
                    .into_iter()
                    .map(|part| part.join().unwrap_or_else(|fault| panic::resume_unwind(fault)))
                    .collect()
            });
            let begin = (days_of(&engine, &ends, [], |_, _| {}).0, Example::default());
            parts.into_iter().fold(begin, |(mut days, example), (other, others)| {
                days.iter_mut().zip(&other).for_each(|(day, other)| day.plus(other));
                (days, if example.made.is_empty() { others } else { example })
            })
        }
    };
    PolicySimulation { policy: policy.name.clone(), vms: vms.map_or(1, <[&Vm]>::len), days, example }
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
                days[at].plus(&Day { full, incremental, pruned: vm.pruned - pruned, ..vm.day(date, end) });
                (at, made, pruned) = (at + 1, vm.made.len(), vm.pruned);
            }
            ControlFlow::Continue(())
        });
        if example.made.is_empty() {
            example = Example { vm: vm.shares_of, alias: vm.vm.alias, made: vm.made };
        }
    }
    (days, example)
}
