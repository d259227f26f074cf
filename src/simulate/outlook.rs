//! Two questions to the engine that need no days: what a tier holds at its peak, and when a backup expires.

use super::Scenario;
use super::engine::Engine;
use super::world::SimulatedVm;
use crate::inventory::{BackupId, Vm};
use crate::plan::keep::Keeps;
use crate::plan::standing::VmView;
use crate::policy::{Name, Policy, TierIndex, TierKind};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::ControlFlow;

/// The most runs that are looked at. Where these do not reach far enough, a peak is what was seen so far, and a date is not known.
const RUNS_MAX: usize = 2_000;
/// How long it goes on once each tier holds what it keeps: then every length of month and week has been seen.
const BEYOND_DAYS: i64 = 400;
/// Where the nights begin: a Thursday and a first of the month, in seconds since the Unix epoch (2026-01-01).
const BEGIN_SECS: i64 = 1_767_225_600;
/// How far expiry dates are looked for.
const EXPIRY_DAYS: u32 = 400;

/// What a tier holds at its peak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierPeak {
    pub tier: Name,
    /// How many its `keep` asks for; `None` for all.
    pub keep: Option<u32>,
    /// The most that it holds at once: `keep`, and what stays only because kept backups descend from it. `None` where it holds
    /// more and more: it keeps all, or a tier that does is taken from it.
    pub peak: Option<usize>,
}

impl TierPeak {
    /// Says whether it holds more than twice as many as its `keep` asks for.
    pub fn is_much_more_than_kept(&self) -> bool {
        let kept = self.keep.and_then(|keep| usize::try_from(keep).ok());
        kept.zip(self.peak).is_some_and(|(keep, peak)| peak > keep.saturating_mul(2))
    }
}

/// A `from` with which a tier holds fewer backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FewerBackups {
    /// The tiers that its backups would be taken from, coarsest first.
    pub from: Vec<Name>,
    /// The most that it would hold at once.
    pub peak: usize,
}

/// Works out what each tier of a policy holds at its peak, coarsest first, for a VM of which every backup succeeds.
pub fn tier_peaks(policy: &Policy) -> Vec<TierPeak> {
    let held = most_held(policy);
    let peak = |(index, peak): (TierIndex, usize)| {
        let tier = &policy.tiers[index];
        let grows = is_under_one_that_keeps_all(policy, index);
        let keep = tier.keep.map(NonZeroU32::get);
        TierPeak { tier: tier.name.clone(), keep, peak: (!grows).then_some(peak) }
    };
    held.into_iter().enumerate().map(peak).collect()
}

/// Finds the coarser parents with which a tier of increments would hold fewer than it does.
pub fn fewer_backups(policy: &Policy, peak: &TierPeak) -> Option<FewerBackups> {
    let index = policy.tiers.iter().position(|tier| tier.name == peak.tier)?;
    let parents = policy.tiers[index].kind.parents().filter(|from| from.contains(&index))?;
    let coarser: Vec<TierIndex> = parents.iter().copied().filter(|&parent| parent != index).collect();
    let coarser = if coarser.is_empty() { (0..index).collect() } else { coarser };
    let from = coarser.iter().map(|&parent| policy.tiers[parent].name.clone()).collect();
    let mut other = policy.clone();
    other.tiers[index].kind = TierKind::Incremental { from: coarser };
    let fewer = most_held(&other)[index];
    (fewer < peak.peak?).then_some(FewerBackups { from, peak: fewer })
}

/// Counts the most backups of each tier that are wanted in storage at once.
fn most_held(policy: &Policy) -> Vec<usize> {
    let policy = &Policy { prune: false, suspend: None, ..policy.clone() };
    let from = DateTime::<Utc>::from_timestamp(BEGIN_SECS, 0).unwrap_or_default();
    let reach_secs = |tier: &crate::policy::Tier| {
        i64::from(tier.keep.map_or(1, NonZeroU32::get)).saturating_mul(tier.schedule.gap_max().num_seconds())
    };
    const YEARS_SECS: i64 = 100 * 366 * 86_400;
    let reach_secs = policy.tiers.iter().map(reach_secs).max().unwrap_or(0).min(YEARS_SECS);
    let until = from + TimeDelta::seconds(reach_secs) + TimeDelta::days(BEYOND_DAYS);
    let scenario = Scenario { until, ..Scenario::new(from, 0) };
    let mut most = vec![0; policy.tiers.len()];
    let mut runs = 0;
    Engine::new(policy, &scenario).play(&mut SimulatedVm::unknown(policy, &scenario), |vm, now| {
        let view = VmView::new(&vm.vm, policy, now);
        let keeps = Keeps::of(&view);
        let mut held = vec![0; most.len()];
        let wanted = view.restorable().filter(|backup| keeps.stored[backup.position].is_some());
        wanted.filter_map(|backup| backup.tier).for_each(|tier| held[tier] += 1);
        most.iter_mut().zip(held).for_each(|(most, held)| *most = held.max(*most));
        runs += 1;
        if runs < RUNS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    most
}

/// Says whether a tier keeps all, or one that does has chains through it.
fn is_under_one_that_keeps_all(policy: &Policy, tier: TierIndex) -> bool {
    let mut above = vec![false; policy.tiers.len()];
    above[tier] = true;
    // What a tier is taken from is coarser or itself, so that one pass is enough.
    for (finer, rules) in policy.tiers.iter().enumerate() {
        above[finer] |= rules.kind.parents().into_iter().flatten().any(|&parent| above[parent]);
    }
    policy.tiers.iter().zip(above).any(|(tier, is_above)| is_above && tier.keep.is_none())
}

/// Finds when the backups of a VM expire from an instant on, if every backup that is due until then succeeds; those that stay
/// for longer than 400 days, or 2,000 runs, are not among them.
pub fn expiry_dates(vm: &Vm, policy: &Policy, from: DateTime<Utc>) -> BTreeMap<BackupId, DateTime<Utc>> {
    let policy = &Policy { prune: false, ..policy.clone() };
    let view = VmView::new(vm, policy, from);
    let keeps = Keeps::of(&view);
    let is_open = |backup: &&crate::plan::standing::BackupView<'_>| {
        backup.tier.is_some() && keeps.stored[backup.position].is_some()
    };
    let mut open: BTreeSet<BackupId> =
        view.backups.iter().filter(is_open).map(|backup| backup.id()).collect();
    let mut dates = BTreeMap::new();
    if policy.tiers.iter().all(|tier| tier.keep.is_none()) {
        return dates;
    }
    let scenario = Scenario::new(from, EXPIRY_DAYS);
    let (mut last_run, mut runs) = (None, 0);
    Engine::new(policy, &scenario).play(&mut SimulatedVm::new(vm, policy, &scenario), |vm, now| {
        if let Some(then) = last_run.replace(now) {
            let view = VmView::new(&vm.vm, policy, then);
            let keeps = Keeps::of(&view);
            open.retain(|&id| {
                let is_kept = |at: usize| keeps.stored[at].is_some();
                let stays = vm.kept_for_ever.contains(&id) || vm.vm.backups.position(id).is_some_and(is_kept);
                if !stays {
                    dates.insert(id, then);
                }
                stays
            });
        }
        runs += 1;
        if open.is_empty() || runs > RUNS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    dates
}
