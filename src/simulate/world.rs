//! One simulated VM: its records as the decisions see them, and what is counted of its backups.

use super::Scenario;
use crate::inventory::{Backup, BackupId, LocalState, RecordedState, Restore, Vm, along_chains};
use crate::plan::keep::Keeps;
use crate::plan::standing::{Standing, VmView};
use crate::plan::{BackupKind, Create, Request, projection};
use crate::policy::{Policy, TierIndex};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    pub at: DateTime<Utc>,
    pub tier: TierIndex,
    pub is_full: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedVm {
    /// The working set: all that a decision can read.
    pub(super) vm: Vm,
    /// The completed backups in storage, those among them that have left the working set.
    stored: HashMap<BackupId, Stored>,
    /// Those of what has left the working set that never expire.
    pub(super) kept_for_ever: HashSet<BackupId>,
    pub(super) made: Vec<Made>,
    pub(super) failed: Vec<DateTime<Utc>>,
    pub(super) pruned: usize,
    sizes: Sizes,
    /// How many backups the last trim left in the working set.
    trimmed_to: usize,
}

/// Makes a VM of which nothing is known, with shares of spreads of 0.
pub(super) fn unknown_vm() -> Vm {
    Vm { hypervisor: Some(String::new()), state: "running".to_owned(), ..Vm::default() }
}

/// The end of a day in the policy's zone, and what was done on it: sums over the VMs; chain, restore and age are the worst.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Day {
    pub date: NaiveDate,
    pub stored: usize,
    pub local: usize,
    pub stored_bytes: u64,
    pub local_bytes: u64,
    pub full: usize,
    pub incremental: usize,
    pub pruned: usize,
    /// The most backups that restoring one of those in storage reads.
    pub longest_chain: usize,
    pub restore_bytes: u64,
    /// The age of the newest backup that can be restored; `None` while no VM has one.
    pub newest_age_secs: Option<i64>,
}

impl Day {
    pub(super) fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.local += other.local;
        self.stored_bytes = self.stored_bytes.saturating_add(other.stored_bytes);
        self.local_bytes = self.local_bytes.saturating_add(other.local_bytes);
        self.full += other.full;
        self.incremental += other.incremental;
        self.pruned += other.pruned;
        self.longest_chain = self.longest_chain.max(other.longest_chain);
        self.restore_bytes = self.restore_bytes.max(other.restore_bytes);
        self.newest_age_secs = self.newest_age_secs.max(other.newest_age_secs);
    }
}

/// What is known of a completed backup besides its record.
#[derive(Clone, Copy, Debug)]
struct Stored {
    size_bytes: u64,
    /// What restoring it reads; `None` where it cannot be restored.
    restore: Option<Restore>,
}

impl SimulatedVm {
    /// Takes a VM as it was read. What runs is taken to succeed at once.
    pub(super) fn new(vm: &Vm, policy: &Policy, scenario: &Scenario) -> Self {
        let sizes = Sizes::of(vm, policy, scenario);
        let (mut settled, mut is_good) = (vm.clone(), vec![false; vm.backups.len()]);
        for view in VmView::new(vm, policy, scenario.from).backups {
            let runs = view.standing.is_running();
            if !runs && !matches!(view.standing, Standing::Restorable | Standing::Unrestorable) {
                continue;
            }
            is_good[view.position] = true;
            let Some(backup) = settled.backups.get_mut(view.id()) else { continue };
            // Alike, so that no further backup is judged by what is known of another one's files.
            (backup.state, backup.files) = (RecordedState::Completed, vec![projection::WHOLE]);
            (backup.record_size_bytes, backup.has_record_checksum) = (None, false);
            if runs {
                backup.local = LocalState::Present;
            }
        }
        let size = |at: usize| {
            let backup = &vm.backups[at];
            let tier = policy.tier_of(backup.comment.as_deref());
            let estimate = || sizes.estimate(tier, backup.parent.is_none(), TimeDelta::days(1));
            backup.size_bytes().unwrap_or_else(|| if is_good[at] { estimate() } else { 0 })
        };
        let restores = along_chains(&settled.backups, Restore::NOTHING, |at, below| {
            is_good[at].then(|| below.and(Some(size(at)), true))
        });
        let stored = |(at, backup): (usize, &Backup)| {
            let stored = Stored { size_bytes: size(at), restore: restores[at] };
            (backup.state == RecordedState::Completed).then_some((backup.id, stored))
        };
        Self {
            stored: settled.backups.values().enumerate().filter_map(stored).collect(),
            vm: settled,
            sizes,
            ..Self::default()
        }
    }

    /// Makes a backup, whose upload ends at once; one that fails leaves its record and its snapshot.
    pub(super) fn create(&mut self, policy: &Policy, create: &Create, now: DateTime<Utc>, succeeds: bool) {
        // Greater than any that there is, as if each of them won every tie.
        let attempts = u64::try_from(self.made.len() + self.failed.len()).unwrap_or(u64::MAX);
        let id = BackupId::new(Uuid::from_u64_pair(u64::MAX, attempts));
        let mut backup = projection::new_backup(&self.vm, create, id, now);
        if !succeeds {
            backup.state = RecordedState::Failed;
            self.vm.backups.insert(backup);
            self.failed.push(now);
            return;
        }
        let is_full = create.kind == BackupKind::Full;
        let tier = policy.tiers.iter().position(|tier| *tier.name == *create.tier);
        let parent = create.parent.and_then(|parent| self.vm.backups.get(parent)?.timestamp);
        let since_parent = parent.map_or(TimeDelta::zero(), |parent| now - parent);
        let size_bytes = self.sizes.estimate(tier, is_full, since_parent);
        let below = match create.parent {
            Some(parent) => self.stored.get(&parent).and_then(|parent| parent.restore),
            None => Some(Restore::NOTHING),
        };
        let restore = below.map(|below| below.and(Some(size_bytes), true));
        self.stored.insert(id, Stored { size_bytes, restore });
        self.vm.backups.insert(backup);
        self.made.extend(tier.map(|tier| Made { at: now, tier, is_full }));
    }

    /// Returns the bytes of a completed backup in the working set, and whether it can be restored.
    pub(super) fn stored(&self, id: BackupId) -> Option<(u64, bool)> {
        self.stored.get(&id).map(|stored| (stored.size_bytes, stored.restore.is_some()))
    }

    pub(super) fn prune(&mut self, backups: &[BackupId]) {
        for &id in backups {
            self.vm.backups.remove(id);
            self.stored.remove(&id);
        }
        self.pruned += backups.len();
    }

    /// Takes what no decision reads any more out of the working set once that is large: what has expired, or is kept for ever.
    ///
    /// Newer backups stand for these wherever a decision asks for the newest of some kind. What may still be a parent, or tells
    /// that increments on one are not empty, stays, and so does all that something which stays descends from. Where expired
    /// backups are deleted nothing is taken out: the limit counts all of them.
    pub(super) fn trim(&mut self, policy: &Policy, request: Request, above: usize) {
        let is_small = self.vm.backups.len() <= above.max(self.trimmed_to * 3 / 2);
        if is_small || policy.prune && request.prune.is_requested {
            return;
        }
        let view = VmView::new(&self.vm, policy, request);
        let keeps = Keeps::of(&view);
        let backups = &self.vm.backups;
        let holds = |at: usize| backups[at].holds_snapshot();
        let mut newer: Vec<u32> = vec![0; policy.tiers.len()];
        let mut goes: Vec<bool> = vec![false; backups.len()];
        for backup in view.restorable().rev() {
            let Some(tier) = backup.tier else { continue };
            let (at, rules) = (backup.position, &policy.tiers[tier]);
            let is_over =
                keeps.stored[at].is_none() || rules.keep.is_none() && newer[tier] >= rules.keep_local.max(1);
            newer[tier] += 1;
            goes[at] = is_over && !holds(at) && !backups.parent_position(at).is_some_and(holds);
        }
        // Each step of a chain once.
        let mut stays: Vec<usize> = (0..backups.len()).filter(|&at| !goes[at]).collect();
        while let Some(at) = stays.pop() {
            if let Some(parent) = backups.parent_position(at).filter(|&parent| goes[parent]) {
                goes[parent] = false;
                stays.push(parent);
            }
        }
        let kept = (0..backups.len()).filter(|&at| goes[at] && keeps.stored[at].is_some());
        self.kept_for_ever.extend(kept.map(|at| backups[at].id));
        let mut goes = goes.into_iter();
        self.vm.backups.retain(|_| !goes.next().unwrap_or(false));
        self.trimmed_to = self.vm.backups.len();
    }

    /// Counts what there is at an instant, the end of a day; what was done on it is not counted here.
    pub(super) fn day(&self, date: NaiveDate, end: DateTime<Utc>) -> Day {
        let mut day = Day { date, stored: self.stored.len(), ..Day::default() };
        for stored in self.stored.values() {
            day.stored_bytes = day.stored_bytes.saturating_add(stored.size_bytes);
            day.longest_chain = day.longest_chain.max(stored.restore.map_or(0, |restore| restore.steps));
        }
        for backup in self.vm.backups.values() {
            let age = backup.timestamp.map(|taken| end - taken);
            if backup.holds_snapshot() {
                let held = backup.local_size_bytes;
                day.local += 1;
                day.local_bytes += held.unwrap_or_else(|| self.sizes.changed(age.unwrap_or_default()));
            }
            let restore = self.stored.get(&backup.id).and_then(|stored| stored.restore);
            let (Some(restore), Some(age)) = (restore, age) else { continue };
            let age_secs = age.num_seconds();
            if age_secs >= 0 && day.newest_age_secs.is_none_or(|newest| age_secs <= newest) {
                (day.newest_age_secs, day.restore_bytes) = (Some(age_secs), restore.size_bytes.unwrap_or(0));
            }
        }
        day
    }
}

#[derive(Clone, Debug, Default)]
struct Sizes {
    vm_bytes: u64,
    change_ppm: u64,
    /// The median of each tier's own, full and incremental.
    medians: HashMap<(TierIndex, bool), u64>,
}

impl Sizes {
    fn of(vm: &Vm, policy: &Policy, scenario: &Scenario) -> Self {
        let mut known: HashMap<(TierIndex, bool), Vec<u64>> = HashMap::new();
        let mut fulls = Vec::new();
        for backup in vm.backups.values().filter(|backup| backup.state == RecordedState::Completed) {
            let (Some(size_bytes), is_full) = (backup.size_bytes(), backup.parent.is_none()) else {
                continue;
            };
            fulls.extend(is_full.then_some(size_bytes));
            if let Some(tier) = policy.tier_of(backup.comment.as_deref()) {
                known.entry((tier, is_full)).or_default().push(size_bytes);
            }
        }
        let medians = known.into_iter().filter_map(|(of, sizes)| Some((of, median(sizes)?))).collect();
        let vm_bytes = median(fulls).unwrap_or(scenario.vm_size_bytes);
        Self { vm_bytes, change_ppm: scenario.change_ppm, medians }
    }

    fn estimate(&self, tier: Option<TierIndex>, is_full: bool, since_parent: TimeDelta) -> u64 {
        let own = tier.and_then(|tier| self.medians.get(&(tier, is_full))).copied();
        own.unwrap_or_else(|| if is_full { self.vm_bytes } else { self.changed(since_parent) })
    }

    /// Returns how much of the VM has changed in a time: all of it at the most.
    fn changed(&self, time: TimeDelta) -> u64 {
        const DAY_SECS: u128 = 24 * 3_600;
        let secs = u128::try_from(time.num_seconds()).unwrap_or(0);
        let changed = u128::from(self.vm_bytes) * u128::from(self.change_ppm) * secs / (1_000_000 * DAY_SECS);
        u64::try_from(changed).unwrap_or(u64::MAX).min(self.vm_bytes)
    }
}

fn median(mut sizes: Vec<u64>) -> Option<u64> {
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied()
}
