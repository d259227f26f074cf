//! The occurrences of a policy's schedules over the time of a forecast, looked up once for all its VMs.

use crate::inventory::VmId;
use crate::plan::due::{Occurrences, share_of};
use crate::policy::{Policy, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};
use std::iter::successors;

/// Stands between two due times in [`VmOccurrenceRange::order`].
const THEN: TierIndex = TierIndex::MAX;

/// A policy's due times.
#[derive(Debug)]
pub(super) struct OccurrenceRange<'a> {
    policy: &'a Policy,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    /// Of each tier, before `spread`: from the one before the beginning, and so much further back as a spread may bring
    /// in, up to the end.
    tiers: Vec<Vec<DateTime<Utc>>>,
    /// Those of a policy without any spread, which all its VMs share.
    shared: Option<Vec<DateTime<Utc>>>,
}

/// The due times of one VM.
#[derive(Debug)]
pub(super) struct VmOccurrenceRange<'s, 'a> {
    range: &'s OccurrenceRange<'a>,
    /// Its share of each tier's spread.
    shares: Vec<TimeDelta>,
}

impl<'a> OccurrenceRange<'a> {
    /// Looks up what comes after one instant, up to another.
    pub(super) fn new(policy: &'a Policy, from: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        let tiers: Vec<Vec<DateTime<Utc>>> = policy
            .tiers
            .iter()
            .map(|tier| {
                let next = |after: &DateTime<Utc>| {
                    tier.schedule.next_after(*after).filter(|next| after < next && *next <= until)
                };
                let before = from - tier.spread;
                let first = tier.schedule.last_at_or_before(before).or_else(|| next(&before));
                successors(first, next).collect()
            })
            .collect();
        let mut range = Self { policy, from, until, tiers, shared: None };
        if policy.tiers.iter().all(|tier| tier.spread.is_zero()) {
            let shares = vec![TimeDelta::zero(); policy.tiers.len()];
            let due = VmOccurrenceRange { range: &range, shares }.due().into_iter().map(|(time, _)| time);
            let mut times: Vec<DateTime<Utc>> = due.collect();
            times.dedup();
            range.shared = Some(times);
        }
        range
    }

    /// Returns what is a VM's own.
    pub(super) fn of(&self, vm: VmId) -> VmOccurrenceRange<'_, 'a> {
        let shares = self.policy.tiers.iter().map(|tier| match tier.spread {
            spread if spread.is_zero() => TimeDelta::zero(),
            spread => share_of(spread, vm),
        });
        VmOccurrenceRange { range: self, shares: shares.collect() }
    }

    /// Returns the instant up to which it goes.
    pub(super) fn until(&self) -> DateTime<Utc> {
        self.until
    }
}

impl<'a> VmOccurrenceRange<'_, 'a> {
    /// Lists what is due when, earliest first.
    fn due(&self) -> Vec<(DateTime<Utc>, TierIndex)> {
        let OccurrenceRange { from, until, .. } = *self.range;
        let mut due: Vec<(DateTime<Utc>, TierIndex)> = Vec::new();
        for ((tier, times), share) in self.range.tiers.iter().enumerate().zip(&self.shares) {
            let times = times.iter().map(|time| *time + *share);
            due.extend(times.filter(|time| from < *time && *time <= until).map(|time| (time, tier)));
        }
        due.sort_unstable();
        due
    }

    /// Returns the instants at which some tier is due, each once, earliest first.
    pub(super) fn times(&self) -> Vec<DateTime<Utc>> {
        if let Some(shared) = &self.range.shared {
            return shared.clone();
        }
        let mut times: Vec<DateTime<Utc>> = self.due().into_iter().map(|(time, _)| time).collect();
        times.dedup();
        times
    }

    /// Returns the tiers in the order in which they are due, which shows whether two VMs with shares of their own
    /// go the same way. It is empty where all VMs of the policy do.
    pub(super) fn order(&self) -> Vec<TierIndex> {
        if self.range.shared.is_some() {
            return Vec::new();
        }
        let mut order = Vec::new();
        let mut last = None;
        for (time, tier) in self.due() {
            if last.replace(time) != Some(time) {
                order.push(THEN);
            }
            order.push(tier);
        }
        order
    }

    /// Counts the due times before an instant.
    pub(super) fn count_before(&self, instant: DateTime<Utc>) -> usize {
        match &self.range.shared {
            Some(shared) => shared.partition_point(|time| *time < instant),
            None => self.times().partition_point(|time| *time < instant),
        }
    }

    /// Returns the occurrences around an instant within the range.
    pub(super) fn occurrences(&self, instant: DateTime<Utc>) -> Occurrences<'a> {
        let last = self.range.tiers.iter().zip(&self.shares).map(|(times, share)| {
            let past = times.partition_point(|time| *time + *share <= instant);
            past.checked_sub(1).map(|last| times[last] + *share)
        });
        Occurrences::of_one_vm(self.range.policy, instant, last.collect())
    }
}
