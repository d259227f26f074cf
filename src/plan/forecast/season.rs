//! The due times of a policy within the time that is looked ahead, looked up once for all its VMs.

use crate::inventory::VmId;
use crate::plan::due::{Calendar, share_of};
use crate::policy::{Policy, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Stands between two due times in [`DueTimes::order`].
const THEN: TierIndex = TierIndex::MAX;

/// A policy's due times.
#[derive(Debug)]
pub(super) struct Season<'a> {
    policy: &'a Policy,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    /// Of each tier, before `spread`: from so long before the beginning that a spread may bring it in.
    tiers: Vec<Vec<DateTime<Utc>>>,
    /// Calendars that many VMs share; those of a policy with a spread are of one VM each.
    calendars: BTreeMap<DateTime<Utc>, Calendar<'a>>,
    shared: Option<DueTimes>,
}

/// The due times of one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DueTimes {
    /// The instants at which some tier is due, each once, earliest first.
    pub(super) times: Vec<DateTime<Utc>>,
    /// Which tiers these are, so that it can be told whether two VMs with shares of their own go the same way; empty
    /// where all VMs of the policy do.
    pub(super) order: Vec<TierIndex>,
}

impl<'a> Season<'a> {
    /// Looks up what comes after one instant, up to another.
    pub(super) fn new(policy: &'a Policy, from: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        let tiers: Vec<Vec<DateTime<Utc>>> = policy
            .tiers
            .iter()
            .map(|tier| {
                let next = |instant: &DateTime<Utc>| {
                    tier.schedule.next_after(*instant).filter(|next| next > instant && *next <= until)
                };
                std::iter::successors(next(&(from - tier.spread)), next).collect()
            })
            .collect();
        let mut season = Self { policy, from, until, tiers, calendars: BTreeMap::new(), shared: None };
        if policy.tiers.iter().all(|tier| tier.spread.is_zero()) {
            let shared = season.shifted(|_| TimeDelta::zero());
            season.shared = Some(DueTimes { order: Vec::new(), ..shared });
        }
        season
    }

    /// Gives a VM's due times.
    pub(super) fn of(&self, vm: VmId) -> Cow<'_, DueTimes> {
        match &self.shared {
            Some(shared) => Cow::Borrowed(shared),
            None => Cow::Owned(self.shifted(|tier| share_of(self.policy.tiers[tier].spread, vm))),
        }
    }

    fn shifted(&self, share: impl Fn(TierIndex) -> TimeDelta) -> DueTimes {
        let mut all: Vec<(DateTime<Utc>, TierIndex)> = Vec::new();
        for (tier, times) in self.tiers.iter().enumerate() {
            let share = share(tier);
            let within = times.iter().map(|time| *time + share);
            all.extend(
                within.filter(|time| self.from < *time && *time <= self.until).map(|time| (time, tier)),
            );
        }
        all.sort_unstable();
        let (mut times, mut order): (Vec<DateTime<Utc>>, _) = (Vec::new(), Vec::with_capacity(all.len() * 2));
        for (time, tier) in all {
            if times.last() != Some(&time) {
                times.push(time);
                order.push(THEN);
            }
            order.push(tier);
        }
        DueTimes { times, order }
    }

    /// Gives the instant up to which it goes.
    pub(super) fn until(&self) -> DateTime<Utc> {
        self.until
    }

    /// Gives the calendar of an instant.
    pub(super) fn calendar(&mut self, instant: DateTime<Utc>) -> Calendar<'a> {
        if self.shared.is_none() {
            return Calendar::new(self.policy, instant);
        }
        self.calendars.entry(instant).or_insert_with(|| Calendar::new(self.policy, instant)).clone()
    }
}
