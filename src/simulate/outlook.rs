//! Two questions to the engine that need no days: which tiers hold far more than they keep, and when a backup expires.

use super::Scenario;
use super::engine::Engine;
use super::tally::in_threads;
use super::world::{SimulatedVm, unknown_vm};
use crate::inventory::{BackupId, Vm};
use crate::plan::keep::Keeps;
use crate::plan::standing::VmView;
use crate::policy::{Name, Policies, Policy, Tier, TierIndex, TierKind};
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
const EXPIRY_DAYS: u32 = 400;

/// A tier that at its peak holds more than twice as many backups as its `keep` asks for, since kept ones descend from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeavyTier {
    pub policy: Name,
    pub tier: Name,
    pub keep: u32,
    /// The most that it holds at once, for a VM of which every backup succeeds.
    pub peak: usize,
    /// Coarser tiers with which in `from` it would hold fewer, and how many; coarsest first.
    pub fewer: Option<(Vec<Name>, usize)>,
}

/// Finds the tiers that hold far more than they keep; not those that hold more and more, since some tier keeps all.
pub fn heavy_tiers(policies: &Policies) -> Vec<HeavyTier> {
    in_threads(policies.iter().as_slice(), heavy_tiers_of).concat()
}

fn heavy_tiers_of(policies: &[Policy]) -> Vec<HeavyTier> {
    // Worked out once for all policies that make backups alike.
    let mut known: Vec<(Policy, Vec<usize>)> = Vec::new();
    let mut peaks_of = |policy: &Policy| {
        let is_alike = |it: &Policy| it.tiers == policy.tiers && it.missing_parent == policy.missing_parent;
        if let Some((_, peaks)) = known.iter().find(|(it, _)| is_alike(it)) {
            return peaks.clone();
        }
        let policy = Policy { prune: false, suspend: None, ..policy.clone() };
        let peaks = most_held(&policy);
        known.push((policy, peaks.clone()));
        peaks
    };
    let mut found = Vec::new();
    for policy in policies {
        for (index, tier) in policy.tiers.iter().enumerate() {
            let Some(keep) = tier.keep.map(NonZeroU32::get).filter(|_| !grows(policy, index)) else {
                continue;
            };
            let peak = peaks_of(policy)[index];
            if peak <= usize::try_from(keep).unwrap_or(usize::MAX).saturating_mul(2) {
                continue;
            }
            let fewer = coarser_parents(policy, index).and_then(|(other, from)| {
                let fewer = peaks_of(&other)[index];
                (fewer < peak).then_some((from, fewer))
            });
            found.push(HeavyTier { policy: policy.name.clone(), tier: tier.name.clone(), keep, peak, fewer });
        }
    }
    found
}

/// Says whether a tier keeps all, or one that does has chains through it.
fn grows(policy: &Policy, tier: TierIndex) -> bool {
    let mut above = vec![false; policy.tiers.len()];
    above[tier] = true;
    // What a tier is taken from is coarser or itself, so that one pass is enough.
    for (finer, rules) in policy.tiers.iter().enumerate() {
        above[finer] |= rules.kind.parents().into_iter().flatten().any(|&parent| above[parent]);
    }
    policy.tiers.iter().zip(above).any(|(tier, is_above)| is_above && tier.keep.is_none())
}

/// Returns a policy with a tier that is taken from itself taken from coarser ones instead, and their names.
fn coarser_parents(policy: &Policy, index: TierIndex) -> Option<(Policy, Vec<Name>)> {
    let parents = policy.tiers[index].kind.parents().filter(|from| from.contains(&index))?;
    let coarser: Vec<TierIndex> = parents.iter().copied().filter(|&parent| parent != index).collect();
    let from = if coarser.is_empty() { (0..index).collect() } else { coarser };
    let names = from.iter().map(|&parent| policy.tiers[parent].name.clone()).collect();
    let mut other = policy.clone();
    other.tiers[index].kind = TierKind::Incremental { from };
    Some((other, names))
}

/// Counts the most backups of each tier that are wanted in storage at once.
fn most_held(policy: &Policy) -> Vec<usize> {
    const YEARS_SECS: i64 = 100 * 366 * 86_400;
    let from = DateTime::<Utc>::from_timestamp(BEGIN_SECS, 0).unwrap_or_default();
    let reach_secs = |tier: &Tier| {
        i64::from(tier.keep.map_or(1, NonZeroU32::get)).saturating_mul(tier.schedule.gap_max().num_seconds())
    };
    let reach_secs = policy.tiers.iter().map(reach_secs).max().unwrap_or(0).min(YEARS_SECS);
    let until = from + TimeDelta::seconds(reach_secs) + TimeDelta::days(BEYOND_DAYS);
    let scenario = Scenario { until, ..Scenario::new(from, 0) };
    let mut most = vec![0; policy.tiers.len()];
    let mut runs = 0;
    Engine::new(policy, &scenario).play(
        &mut SimulatedVm::new(&unknown_vm(), policy, &scenario),
        |vm, now| {
            let view = VmView::new(&vm.vm, policy, now);
            let keeps = Keeps::of(&view);
            let mut held = vec![0; most.len()];
            let wanted = view.restorable().filter(|backup| keeps.stored[backup.position].is_some());
            wanted.filter_map(|backup| backup.tier).for_each(|tier| held[tier] += 1);
            most.iter_mut().zip(held).for_each(|(most, held)| *most = held.max(*most));
            runs += 1;
            if runs < RUNS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        },
    );
    most
}

/// Finds when the backups of a VM expire from an instant on, if every backup that is due until then succeeds; those that stay
/// for longer than 400 days, or 2,000 runs, are not among them.
pub fn expiry_dates(vm: &Vm, policy: &Policy, from: DateTime<Utc>) -> BTreeMap<BackupId, DateTime<Utc>> {
    let policy = &Policy { prune: false, ..policy.clone() };
    let mut dates = BTreeMap::new();
    if policy.tiers.iter().all(|tier| tier.keep.is_none()) {
        return dates;
    }
    let expired_at = |vm: &Vm, now| -> BTreeSet<BackupId> {
        let view = VmView::new(vm, policy, now);
        Keeps::of(&view).expired(&view).into_iter().map(|backup| backup.id()).collect()
    };
    let expired = expired_at(vm, from);
    let managed = VmView::new(vm, policy, from).backups.into_iter().filter(|backup| backup.tier.is_some());
    let mut open: Vec<BackupId> = managed.map(|backup| backup.id()).collect();
    open.retain(|id| !expired.contains(id));
    let scenario = Scenario::new(from, EXPIRY_DAYS);
    let (mut last_run, mut runs) = (None, 0);
    Engine::new(policy, &scenario).play(&mut SimulatedVm::new(vm, policy, &scenario), |vm, now| {
        if let Some(then) = last_run.replace(now) {
            let expired = expired_at(&vm.vm, then);
            open.retain(|id| {
                let is_there = vm.vm.backups.contains(*id) && !expired.contains(id);
                let stays = is_there || vm.kept_for_ever.contains(id);
                dates.extend((!stays).then_some((*id, then)));
                stays
            });
        }
        runs += 1;
        if open.is_empty() || runs > RUNS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    dates
}
