//! Which tier is due, and whether a backup of it may be started now.

use super::standing::{Standing, View};
use crate::inventory::{Vm, VmId};
use crate::policy::{Policy, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

/// A VM's states in which FiFo takes a backup.
const BACKUP_STATES: [&str; 4] = ["running", "stopped", "booting", "shutting_down"];

/// A policy's occurrences around an instant, looked up once for all VMs that share them.
#[derive(Clone, Debug)]
pub struct Calendar<'a> {
    policy: &'a Policy,
    now: DateTime<Utc>,
    last: Vec<Option<DateTime<Utc>>>,
    next: Vec<Option<DateTime<Utc>>>,
    /// Whether `last` is that of one VM, its share of each spread included; then there is no `next`.
    is_of_one_vm: bool,
}

impl<'a> Calendar<'a> {
    /// Looks up each tier's last occurrence at or before an instant, and the next one after it.
    pub fn new(policy: &'a Policy, now: DateTime<Utc>) -> Self {
        let last = policy.tiers.iter().map(|tier| tier.schedule.last_at_or_before(now)).collect();
        let next = policy.tiers.iter().map(|tier| tier.schedule.next_after(now)).collect();
        Self { policy, now, last, next, is_of_one_vm: false }
    }

    /// Takes each tier's last occurrence for one VM, its share of the spread included, from somebody who has looked up
    /// many of them at once.
    pub(super) fn of_one_vm(
        policy: &'a Policy,
        now: DateTime<Utc>,
        last: Vec<Option<DateTime<Utc>>>,
    ) -> Self {
        Self { policy, now, last, next: Vec::new(), is_of_one_vm: true }
    }

    /// Gives the instant that it is about.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Gives the instant since which a VM's backup of a tier is due.
    pub fn last(&self, tier: TierIndex, vm: VmId) -> Option<DateTime<Utc>> {
        let spread = self.policy.tiers[tier].spread;
        if spread.is_zero() || self.is_of_one_vm {
            return self.last[tier];
        }
        let shift = share_of(spread, vm);
        self.policy.tiers[tier].schedule.last_at_or_before(self.now - shift).map(|instant| instant + shift)
    }

    /// Gives the instant from which a VM's next backup of a tier will be due.
    pub fn next(&self, tier: TierIndex, vm: VmId) -> Option<DateTime<Utc>> {
        if self.policy.tiers[tier].spread.is_zero() && !self.is_of_one_vm {
            return self.next[tier];
        }
        self.next_after(tier, vm, self.now)
    }

    /// Gives the instant from which a VM's first backup of a tier after another instant will be due.
    pub fn next_after(&self, tier: TierIndex, vm: VmId, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let shift = share_of(self.policy.tiers[tier].spread, vm);
        self.policy.tiers[tier].schedule.next_after(instant - shift).map(|instant| instant + shift)
    }
}

/// Gives a VM's fixed share of a spread, in whole seconds, from 0 up to but not including the spread.
pub(super) fn share_of(spread: TimeDelta, vm: VmId) -> TimeDelta {
    let digest = Sha256::digest(vm.uuid().as_bytes());
    let draw = digest.iter().take(8).fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
    let spread_secs = u128::try_from(spread.num_seconds()).unwrap_or(0);
    let share_secs = (spread_secs * u128::from(draw)) >> 64;
    TimeDelta::seconds(i64::try_from(share_secs).unwrap_or(0))
}

/// Why FiFo would refuse to back a VM up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotBackUp {
    /// It is on no hypervisor.
    NoHypervisor,
    /// It has delegated datasets.
    DelegatedDatasets,
    /// It is being created or deleted, or its state allows none.
    VmState,
}

/// Finds out why a VM cannot be backed up; `None` when it can.
pub fn cannot_back_up(vm: &Vm) -> Option<CannotBackUp> {
    if vm.hypervisor.is_none() {
        Some(CannotBackUp::NoHypervisor)
    } else if vm.delegated_datasets {
        Some(CannotBackUp::DelegatedDatasets)
    } else if vm.creating || vm.deleting || !BACKUP_STATES.contains(&vm.state.as_str()) {
        Some(CannotBackUp::VmState)
    } else {
        None
    }
}

/// Finds the tiers that are due and not satisfied, coarsest first, each with the instant since which it is due.
///
/// A tier is satisfied by a backup of its own or a coarser tier, restorable or on its way, that is not older than that.
pub fn unsatisfied(view: &View<'_>, calendar: &Calendar<'_>) -> Vec<(TierIndex, DateTime<Utc>)> {
    (0..view.policy.tiers.len())
        .filter_map(|tier| Some((tier, calendar.last(tier, view.vm.id)?)))
        .filter(|&(tier, since)| {
            !view.believable().any(|backup| {
                backup.tier.is_some_and(|own| own <= tier)
                    && (backup.restorable || backup.standing == Standing::InProgress)
                    && backup.taken >= since
            })
        })
        .collect()
}

/// How far the attempts at a tier have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempts {
    /// Another one may start: this many have failed.
    Next(u32),
    /// The next one may start at that instant.
    RetryAt {
        /// When.
        at: DateTime<Utc>,
        /// How many have failed.
        failed: u32,
    },
    /// There have been as many as there may be.
    GaveUp,
}

/// Counts the failed attempts at a tier since the latest occurrence of any tier: each occurrence starts afresh.
pub fn attempts(view: &View<'_>, calendar: &Calendar<'_>, tier: TierIndex) -> Attempts {
    let afresh = (0..view.policy.tiers.len()).filter_map(|tier| calendar.last(tier, view.vm.id)).max();
    let mut failed = 0;
    let mut last = None;
    for backup in view.believable().filter(|backup| {
        backup.tier == Some(tier)
            && backup.standing.is_failure()
            && afresh.is_none_or(|afresh| backup.taken >= afresh)
    }) {
        failed += 1;
        last = Some(backup.taken);
    }
    let retry = view.policy.retry;
    match last {
        _ if failed >= retry.attempts => Attempts::GaveUp,
        Some(last) if view.now < last + retry.backoff => {
            Attempts::RetryAt { at: last + retry.backoff, failed }
        }
        _ => Attempts::Next(failed),
    }
}
