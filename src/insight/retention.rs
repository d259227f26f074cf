//! How many stored backups the tiers of a policy hold at their peak, from the schedules alone.
//!
//! The nights of a VM of which every backup succeeds are followed until each tier holds all that its `keep` asks for, and a
//! year beyond. Then every length of month and week has been seen.

use crate::policy::{MissingParent, Name, Policies, Policy, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;

/// The most backups that are followed. Where these do not reach far enough, a peak is what was seen so far.
const MADE_MAX: usize = 2_000;

/// How long it goes on once each tier holds what it keeps.
const BEYOND: TimeDelta = TimeDelta::days(400);

/// Where the nights begin: a Thursday and a first of the month, in seconds since the Unix epoch (2026-01-01).
const BEGIN_SECS: i64 = 1_767_225_600;

/// What a tier holds at its peak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TierPeak {
    /// The tier.
    pub tier: Name,
    /// How many its `keep` asks for; `None` for all.
    pub keep: Option<u32>,
    /// The most that it holds at once: `keep`, and what stays only because kept backups descend from it. `None` where it holds
    /// more and more: it keeps all, or a tier that does is taken from it.
    pub peak: Option<usize>,
    /// With which parents it would hold fewer; `None` where there are none.
    pub fewer: Option<FewerBackups>,
}

impl TierPeak {
    /// Says whether it holds more than twice as many as its `keep` asks for.
    pub fn is_much_more_than_kept(&self) -> bool {
        let kept = self.keep.and_then(|keep| usize::try_from(keep).ok());
        kept.zip(self.peak).is_some_and(|(keep, peak)| peak > keep.saturating_mul(2))
    }
}

/// A `from` with which a tier holds fewer backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FewerBackups {
    /// The tiers that its backups would be taken from, coarsest first.
    pub from: Vec<Name>,
    /// The most that it would hold at once.
    pub peak: usize,
}

/// What a change of policies does to the peak of a tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeakChange {
    pub policy: Name,
    pub tier: Name,
    /// The peak before; `None` where there was no such tier.
    pub before: Option<TierPeak>,
    /// The peak after; `None` where there is no such tier any more.
    pub after: Option<TierPeak>,
}

/// Works out what each tier of a policy holds at its peak, coarsest first.
pub fn tier_peaks(policy: &Policy) -> Vec<TierPeak> {
    let due = due_tiers(policy);
    let from = policy.tiers.iter().map(|tier| tier.kind.parents().map(<[TierIndex]>::to_vec));
    let from: Vec<Option<Vec<TierIndex>>> = from.collect();
    let peaks = Nights::of(policy, &from, &due);
    let peak = |tier: TierIndex| TierPeak {
        tier: policy.tiers[tier].name.clone(),
        keep: policy.tiers[tier].keep.map(NonZeroU32::get),
        peak: peaks[tier],
        fewer: peaks[tier].and_then(|peak| fewer(policy, &from, &due, tier, peak)),
    };
    (0..policy.tiers.len()).map(peak).collect()
}

/// Lists the tiers whose peak a change of policies alters, by policy and tier.
pub fn peak_changes(before: &Policies, after: &Policies) -> Vec<PeakChange> {
    let mut changes: BTreeMap<(Name, Name), (Option<TierPeak>, Option<TierPeak>)> = BTreeMap::new();
    let is_same = |policy: &Policy, others: &Policies| others.iter().any(|other| other == policy);
    for policy in before.iter().filter(|policy| !is_same(policy, after)) {
        for peak in tier_peaks(policy) {
            let place = (policy.name.clone(), peak.tier.clone());
            changes.entry(place).or_default().0 = Some(peak);
        }
    }
    for policy in after.iter().filter(|policy| !is_same(policy, before)) {
        for peak in tier_peaks(policy) {
            let place = (policy.name.clone(), peak.tier.clone());
            changes.entry(place).or_default().1 = Some(peak);
        }
    }
    let held = |peak: &Option<TierPeak>| peak.as_ref().map(|peak| peak.peak);
    let changes = changes.into_iter().filter(|(_, (before, after))| held(before) != held(after));
    changes.map(|((policy, tier), (before, after))| PeakChange { policy, tier, before, after }).collect()
}

/// Finds the coarser parents with which a tier of increments would hold fewer.
fn fewer(
    policy: &Policy,
    from: &[Option<Vec<TierIndex>>],
    due: &[TierIndex],
    tier: TierIndex,
    peak: usize,
) -> Option<FewerBackups> {
    let keep = policy.tiers[tier].keep?.get() as usize;
    let parents = from[tier].as_ref().filter(|from| peak > keep && from.contains(&tier))?;
    let coarser: Vec<TierIndex> = parents.iter().copied().filter(|&parent| parent != tier).collect();
    let coarser = if coarser.is_empty() { (0..tier).collect() } else { coarser };
    let mut other = from.to_vec();
    other[tier] = Some(coarser.clone());
    let fewer = Nights::of(policy, &other, due)[tier].filter(|&fewer| fewer < peak)?;
    let names = coarser.iter().map(|&parent| policy.tiers[parent].name.clone());
    Some(FewerBackups { from: names.collect(), peak: fewer })
}

/// Lists which tier gets a backup at each due time, one after the other: the coarsest that is due then, which does for the
/// finer ones. Each VM's share of a spread is left out.
fn due_tiers(policy: &Policy) -> Vec<TierIndex> {
    let begin = DateTime::<Utc>::from_timestamp(BEGIN_SECS, 0).unwrap_or_default();
    let mut next: Vec<Option<DateTime<Utc>>> =
        policy.tiers.iter().map(|tier| tier.schedule.next_after(begin)).collect();
    let mut left: Vec<u32> = policy.tiers.iter().map(|tier| tier.keep.map_or(1, NonZeroU32::get)).collect();
    let mut end = None;
    let mut due = Vec::new();
    while due.len() < MADE_MAX
        && let Some(time) = next.iter().flatten().min().copied()
        && end.is_none_or(|end| time <= end)
    {
        let coarsest = next.iter().position(|next| *next == Some(time));
        for (tier, next) in policy.tiers.iter().zip(&mut next).filter(|(_, next)| **next == Some(time)) {
            *next = tier.schedule.next_after(time);
        }
        let Some(tier) = coarsest else { break };
        due.push(tier);
        left[tier] = left[tier].saturating_sub(1);
        if end.is_none() && left.iter().all(|left| *left == 0) {
            end = Some(time + BEYOND);
        }
    }
    due
}

/// The backups of one VM, made night after night.
struct Nights<'a> {
    policy: &'a Policy,
    from: &'a [Option<Vec<TierIndex>>],
    made: Vec<Made>,
    /// Of each tier the newest ones that `keep` asks for, oldest first.
    kept: Vec<VecDeque<usize>>,
    /// Those whose snapshots are wanted.
    local: Vec<usize>,
    held: Vec<usize>,
    /// The most of each tier that were held beyond its own newest ones.
    beyond_max: Vec<usize>,
}

struct Made {
    tier: TierIndex,
    parent: Option<usize>,
    /// For how many reasons it stays: its own place, its snapshot, and each backup taken from it that stays.
    reasons: usize,
}

impl<'a> Nights<'a> {
    /// Follows the nights, and returns the peak of each tier; `None` where it grows for ever.
    fn of(policy: &'a Policy, from: &'a [Option<Vec<TierIndex>>], due: &[TierIndex]) -> Vec<Option<usize>> {
        let tiers = policy.tiers.len();
        let mut nights = Self {
            policy,
            from,
            made: Vec::with_capacity(due.len()),
            kept: vec![VecDeque::new(); tiers],
            local: Vec::new(),
            held: vec![0; tiers],
            beyond_max: vec![0; tiers],
        };
        due.iter().for_each(|&tier| nights.make(tier));
        let peak = |tier: TierIndex| {
            let keep = policy.tiers[tier].keep?.get() as usize;
            (!nights.is_under_one_that_keeps_all(tier)).then_some(keep + nights.beyond_max[tier])
        };
        (0..tiers).map(peak).collect()
    }

    fn make(&mut self, tier: TierIndex) {
        let parent = self.parent_for(tier);
        let needs_parent = self.from[tier].is_some() && self.policy.missing_parent == MissingParent::Block;
        if needs_parent && parent.is_none() {
            return;
        }
        let new = self.made.len();
        self.made.push(Made { tier, parent, reasons: 0 });
        self.hold(new);
        self.kept[tier].push_back(new);
        self.local.push(new);
        self.hold(new);
        let wanted: Vec<usize> = (0..self.from.len()).filter_map(|tier| self.parent_for(tier)).collect();
        let (stay, go) = std::mem::take(&mut self.local).into_iter().partition(|it| wanted.contains(it));
        self.local = stay;
        let go: Vec<usize> = go;
        go.into_iter().for_each(|it| self.release(it));
        let keep = self.policy.tiers[tier].keep.map_or(usize::MAX, |keep| keep.get() as usize);
        if self.kept[tier].len() > keep
            && let Some(oldest) = self.kept[tier].pop_front()
        {
            self.release(oldest);
        }
        for tier in 0..self.held.len() {
            self.beyond_max[tier] = self.beyond_max[tier].max(self.held[tier] - self.kept[tier].len());
        }
    }

    /// Finds what an increment of a tier is taken from: the newest local one of the tiers in its `from` with nothing of a
    /// coarser tier that is newer.
    fn parent_for(&self, tier: TierIndex) -> Option<usize> {
        let from = self.from[tier].as_ref()?;
        let is_outdated = |at: usize, own: TierIndex| {
            (0..own).any(|coarser| self.kept[coarser].back().is_some_and(|&newest| newest > at))
        };
        let may_be = |at: &usize| {
            let own = self.made[*at].tier;
            from.contains(&own) && !is_outdated(*at, own)
        };
        self.local.iter().copied().filter(may_be).max()
    }

    /// Adds a reason for a backup to stay, and with the first one for what it was taken from.
    fn hold(&mut self, at: usize) {
        let mut step = Some(at);
        while let Some(at) = step {
            self.made[at].reasons += 1;
            let is_first = self.made[at].reasons == 1;
            self.held[self.made[at].tier] += usize::from(is_first);
            step = self.made[at].parent.filter(|_| is_first);
        }
    }

    /// Takes a reason away, and with the last one that of what it was taken from.
    fn release(&mut self, at: usize) {
        let mut step = Some(at);
        while let Some(at) = step {
            self.made[at].reasons -= 1;
            let was_last = self.made[at].reasons == 0;
            self.held[self.made[at].tier] -= usize::from(was_last);
            step = self.made[at].parent.filter(|_| was_last);
        }
    }

    /// Says whether a tier that keeps all has chains through this one.
    fn is_under_one_that_keeps_all(&self, tier: TierIndex) -> bool {
        let mut above = vec![false; self.from.len()];
        above[tier] = true;
        for _ in 0..self.from.len() {
            for (finer, from) in self.from.iter().enumerate() {
                above[finer] |= from.iter().flatten().any(|&parent| above[parent]);
            }
        }
        self.policy.tiers.iter().zip(above).any(|(tier, is_above)| is_above && tier.keep.is_none())
    }
}
