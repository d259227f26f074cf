//! What becomes of each backup of one VM: the data of a page that draws it.

use super::Scenario;
use super::engine::Engine;
use super::tally::{Example, PolicySimulation, Simulation, day_ends, days_of, simulate};
use super::world::{Day, SimulatedVm, unknown_vm};
use crate::inventory::{BackupId, Inventory, Vm};
use crate::plan::keep::{Keep, Keeps};
use crate::plan::standing::VmView;
use crate::policy::{Policies, Policy, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

/// One VM of a policy through a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Its alias; empty where there is no FiFo.
    pub alias: String,
    pub days: Vec<Day>,
    /// Those that were there and those that were made, oldest first.
    pub backups: Vec<StoredBackup>,
    pub failed: Vec<DateTime<Utc>>,
    /// What a day without runs costs; `None` where that cannot be said.
    pub missed_day: Option<MissedDay>,
}

/// What a day without runs costs a VM of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissedDay {
    /// How many backups fewer are made, once the next day has ended.
    pub backups: usize,
    /// How old the newest backup that can be restored gets.
    pub newest_age_secs: i64,
}

/// A completed backup with its later events; an instant that is `None` does not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredBackup {
    pub taken: DateTime<Utc>,
    /// `None` is of no tier.
    pub tier: Option<TierIndex>,
    /// The place of the backup that it is an increment on, where that is among these.
    pub parent: Option<usize>,
    pub is_full: bool,
    pub is_restorable: bool,
    pub size_bytes: u64,
    /// When its snapshot is deleted; at the beginning where there is none.
    pub local_until: Option<DateTime<Utc>>,
    /// Since when only backups that descend from it keep it.
    pub needed_since: Option<DateTime<Utc>>,
    pub expired_since: Option<DateTime<Utc>>,
    pub pruned: Option<DateTime<Utc>>,
}

/// Simulates policies, and tells the story of the VM that each of them has as its example, in the order of the policies.
pub fn simulate_with_stories(
    policies: &Policies,
    inventory: Option<&Inventory>,
    scenario: &Scenario,
) -> (Simulation, Vec<Story>) {
    let Some(inventory) = inventory else {
        // The one VM of each is its example.
        let of_policy = |policy: &Policy| {
            let (example, story) = story(policy, &unknown_vm(), scenario);
            let days = story.days.clone();
            (PolicySimulation { policy: policy.name.clone(), vms: 1, days, example }, story)
        };
        let (simulated, stories) = policies.iter().map(of_policy).unzip();
        return (Simulation { from: scenario.from, until: scenario.until, policies: simulated }, stories);
    };
    let simulation = simulate(policies, Some(inventory), scenario);
    let of_policy = |policy: &Policy| {
        let simulated = simulation.policies.iter().find(|simulated| simulated.policy == policy.name)?;
        Some(story(policy, inventory.vms.get(&simulated.example.vm?)?, scenario).1)
    };
    let stories = policies.iter().map(|policy| of_policy(policy).unwrap_or_default()).collect();
    (simulation, stories)
}

fn story(policy: &Policy, vm: &Vm, scenario: &Scenario) -> (Example, Story) {
    let engine = Engine::new(policy, scenario);
    let (alias, vm) = (vm.alias.clone(), SimulatedVm::new(vm, policy, scenario));
    let mut writer = Writer::new(policy, scenario);
    let half = scenario.from + (scenario.until - scenario.from) / 2;
    let mut at_half = None;
    let (days, example) = days_of(&engine, &day_ends(policy, scenario), [vm], |vm, now| {
        writer.look(vm, now);
        if now >= half && now < scenario.until && at_half.is_none() {
            at_half = Some((vm.clone(), now));
        }
    });
    let missed_day = at_half.and_then(|(vm, now)| missed_day(policy, vm, now, scenario));
    (example, Story { alias, days, backups: writer.backups, failed: writer.failed, missed_day })
}

/// Lets a VM live from an instant to the end of a day without runs and of the next one, and the same with runs.
fn missed_day(
    policy: &Policy,
    vm: SimulatedVm,
    from: DateTime<Utc>,
    scenario: &Scenario,
) -> Option<MissedDay> {
    let day = policy.zone.moment(from).date_naive().succ_opt()?;
    let begin = policy.zone.day_start(day)?;
    let end = policy.zone.day_start(day.succ_opt()?)?;
    let days = |down: Vec<Range<DateTime<Utc>>>| {
        let until = end + TimeDelta::days(1);
        let scenario = Scenario { from, until, down, uploads_fail: Vec::new(), ..scenario.clone() };
        let engine = Engine::new(policy, &scenario);
        days_of(&engine, &day_ends(policy, &scenario), [vm.clone()], |_, _| {}).0
    };
    let (well, down) = (days(Vec::new()), days(vec![begin..end]));
    let made = |days: &[Day]| days.iter().map(|day| day.full + day.incremental).sum::<usize>();
    let newest_age_secs = down.iter().filter_map(|day| day.newest_age_secs).max()?;
    Some(MissedDay { backups: made(&well).saturating_sub(made(&down)), newest_age_secs })
}

/// Notes what has changed from run to run.
struct Writer<'a> {
    policy: &'a Policy,
    scenario: &'a Scenario,
    last_run: Option<DateTime<Utc>>,
    places: HashMap<BackupId, usize>,
    backups: Vec<StoredBackup>,
    open: Vec<(BackupId, usize)>,
    failed: Vec<DateTime<Utc>>,
}

impl<'a> Writer<'a> {
    fn new(policy: &'a Policy, scenario: &'a Scenario) -> Self {
        let (places, backups, open, failed) = Default::default();
        Self { policy, scenario, last_run: None, places, backups, open, failed }
    }

    /// Looks at a VM before a run, or at the end: what is new was done by the last run.
    fn look(&mut self, vm: &SimulatedVm, now: DateTime<Utc>) {
        let at = self.last_run.replace(now).unwrap_or(self.scenario.from);
        let view = VmView::new(&vm.vm, self.policy, at);
        let keeps = Keeps::of(&view);
        self.failed.clone_from(&vm.failed);
        let begin = self.backups.len();
        for judged in &view.backups {
            let Some((size_bytes, is_restorable)) = vm.stored(judged.id()) else { continue };
            let Entry::Vacant(place) = self.places.entry(judged.id()) else { continue };
            place.insert(self.backups.len());
            self.open.push((judged.id(), self.backups.len()));
            self.backups.push(StoredBackup {
                taken: judged.taken,
                tier: judged.tier,
                is_full: judged.backup.parent.is_none(),
                is_restorable,
                size_bytes,
                ..StoredBackup::default()
            });
        }
        for (id, place) in self.open.iter().rev().take(self.backups.len() - begin) {
            let parent = vm.vm.backups.get(*id).and_then(|backup| backup.parent);
            self.backups[*place].parent = parent.and_then(|parent| self.places.get(&parent)).copied();
        }
        let prunes = self.policy.prune && self.scenario.prune.is_requested;
        let backups = &mut self.backups;
        self.open.retain(|&(id, place)| {
            let backup = &mut backups[place];
            let Some(position) = vm.vm.backups.position(id) else {
                // Deleted; or else no decision reads it any more.
                if prunes {
                    backup.pruned = Some(at);
                } else if !vm.kept_for_ever.contains(&id) {
                    backup.expired_since.get_or_insert(at);
                }
                backup.local_until.get_or_insert(at);
                return false;
            };
            if !vm.vm.backups[position].holds_snapshot() {
                backup.local_until.get_or_insert(at);
            }
            let keep = keeps.stored[position];
            let since = |is_so: bool, since: Option<DateTime<Utc>>| is_so.then(|| since.unwrap_or(at));
            backup.needed_since = since(keep == Some(Keep::Needed), backup.needed_since);
            backup.expired_since = since(keep.is_none(), backup.expired_since);
            true
        });
    }
}
