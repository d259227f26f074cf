//! Which tier is due, and whether a backup of it may be started now.

use super::note::NoteCode;
use super::standing::VmView;
use crate::inventory::{Vm, VmId};
use crate::policy::{Policy, Tier, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use std::iter::successors;
use std::sync::OnceLock;

/// A VM's states in which FiFo takes a backup.
const BACKUP_STATES: [&str; 4] = ["running", "stopped", "booting", "shutting_down"];

/// How far back [`Occurrences::recent`] goes.
pub(crate) const RECENT: TimeDelta = TimeDelta::days(35);

/// A policy's occurrences around an instant, looked up once for all VMs that share them.
#[derive(Clone, Debug)]
pub struct Occurrences<'a> {
    policy: &'a Policy,
    now: DateTime<Utc>,
    last: Vec<Option<DateTime<Utc>>>,
    next: Vec<Option<DateTime<Utc>>>,
    /// Those of each tier within [`RECENT`] and its spread before now, oldest first; looked up when they are first needed.
    recent: Vec<OnceLock<Vec<DateTime<Utc>>>>,
    /// Whether `last` and `next` are those of one VM, its share of each spread included.
    is_of_one_vm: bool,
}

impl<'a> Occurrences<'a> {
    /// Looks up each tier's last occurrence at or before an instant, and the next one after it.
    pub fn new(policy: &'a Policy, now: DateTime<Utc>) -> Self {
        let last = policy.tiers.iter().map(|tier| tier.schedule.last_at_or_before(now)).collect();
        let next = policy.tiers.iter().map(|tier| tier.schedule.next_after(now)).collect();
        let recent = vec![OnceLock::new(); policy.tiers.len()];
        Self { policy, now, last, next, recent, is_of_one_vm: false }
    }

    /// Takes each tier's last and next occurrence for one VM, its share of the spread included, from a caller that has
    /// looked up many of them at once.
    pub(crate) fn of_one_vm(
        policy: &'a Policy,
        now: DateTime<Utc>,
        last: Vec<Option<DateTime<Utc>>>,
        next: Vec<Option<DateTime<Utc>>>,
    ) -> Self {
        Self { policy, now, last, next, recent: Vec::new(), is_of_one_vm: true }
    }

    /// Returns the instant for which they were looked up.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Returns the instant since which a VM's backup of a tier is due.
    pub fn last(&self, tier: TierIndex, vm: VmId) -> Option<DateTime<Utc>> {
        let spread = self.policy.tiers[tier].spread;
        if spread.is_zero() || self.is_of_one_vm {
            return self.last[tier];
        }
        let shift = share_of(spread, vm);
        self.policy.tiers[tier].schedule.last_at_or_before(self.now - shift).map(|instant| instant + shift)
    }

    /// Returns the instant from which a VM's next backup of a tier will be due.
    pub fn next(&self, tier: TierIndex, vm: VmId) -> Option<DateTime<Utc>> {
        if self.policy.tiers[tier].spread.is_zero() || self.is_of_one_vm {
            return self.next[tier];
        }
        self.next_after(tier, vm, self.now)
    }

    /// Returns the instants after `since`, up to now, from which a VM's backups of a tier were due, oldest first; `since`
    /// lies no more than [`RECENT`] back.
    pub(crate) fn recent(&self, tier: TierIndex, vm: VmId, since: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let Tier { spread, schedule, .. } = &self.policy.tiers[tier];
        let of_all = self.recent[tier].get_or_init(|| {
            let next = |instant: &DateTime<Utc>| schedule.next_after(*instant);
            let begin = self.now - RECENT - *spread;
            successors(next(&begin), next).take_while(|instant| *instant <= self.now).collect()
        });
        let shift = if spread.is_zero() { TimeDelta::zero() } else { share_of(*spread, vm) };
        let first = of_all.partition_point(|instant| *instant + shift <= since);
        of_all[first..].iter().map(|instant| *instant + shift).take_while(|due| *due <= self.now).collect()
    }

    /// Returns the instant from which a VM's first backup of a tier after another instant will be due.
    pub fn next_after(&self, tier: TierIndex, vm: VmId, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let shift = share_of(self.policy.tiers[tier].spread, vm);
        self.policy.tiers[tier].schedule.next_after(instant - shift).map(|instant| instant + shift)
    }
}

/// Returns a VM's fixed share of a spread, in whole seconds, from 0 up to but not including the spread.
pub(crate) fn share_of(spread: TimeDelta, vm: VmId) -> TimeDelta {
    let digest = Sha256::digest(vm.uuid().as_bytes());
    let draw = digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
    let spread_secs = u128::try_from(spread.num_seconds()).unwrap_or(0);
    let share_secs = (spread_secs * u128::from(draw)) >> 64;
    TimeDelta::seconds(i64::try_from(share_secs).unwrap_or(0))
}

/// Finds out why FiFo would refuse to back a VM up, with the code of that; `None` when it would not.
pub fn cannot_back_up(vm: &Vm) -> Option<(NoteCode, String)> {
    let state = vm.state.as_str();
    if vm.hypervisor.is_none() {
        let state = if state.is_empty() { "no state" } else { state };
        return Some((NoteCode::NoHypervisor, format!("on no hypervisor ({state})")));
    }
    if vm.delegated_datasets {
        let why = "has delegated datasets, which FiFo cannot back up";
        return Some((NoteCode::DelegatedDatasets, why.to_owned()));
    }
    let why = match (vm.creating, vm.deleting) {
        (true, _) => "it is being created".to_owned(),
        (false, true) => "it is being deleted".to_owned(),
        _ if BACKUP_STATES.contains(&state) => return None,
        _ if state.is_empty() => "it has no state".to_owned(),
        _ => format!("its state is {state:?}"),
    };
    Some((NoteCode::VmState, format!("cannot be backed up while {why}")))
}

/// Finds the tiers that are due and not satisfied, coarsest first, each with the instant since which it is due.
///
/// A tier is satisfied by a backup of its own or a coarser tier, restorable or in progress, that is not older than that.
pub fn unsatisfied(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Vec<(TierIndex, DateTime<Utc>)> {
    (0..view.policy.tiers.len())
        .filter_map(|tier| Some((tier, occurrences.last(tier, view.vm.id)?)))
        .filter(|&(tier, since)| {
            !view.not_future_dated().any(|backup| {
                backup.tier.is_some_and(|own| own <= tier)
                    && (backup.restorable || backup.standing.is_running())
                    && backup.taken >= since
            })
        })
        .collect()
}

/// The longest pause between two attempts: less than a day, so that a nightly run never comes a minute too early.
const PAUSE_MAX: TimeDelta = TimeDelta::hours(20);

/// The failed attempts at a tier since its own due instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    pub failed: u32,
    /// From when the next one may be made; `None` where none has failed.
    pub next_at: Option<DateTime<Utc>>,
    /// Whether there have been as many as the policy allows: it is reported, and retried at the same pace.
    pub gave_up: bool,
}

impl Attempts {
    /// Says whether the pause after the last failed attempt is not over at an instant.
    pub fn is_backing_off(&self, now: DateTime<Utc>) -> bool {
        self.next_at.is_some_and(|at| now < at)
    }
}

/// Counts the failed attempts at a tier since the occurrence that it is due for: the next one starts afresh.
///
/// Each further attempt waits twice as long as the one before it, up to 20 hours, so that what will not succeed is tried
/// often at first and takes next to no time from the other tiers in the long run.
pub fn attempts(view: &VmView<'_>, occurrences: &Occurrences<'_>, tier: TierIndex) -> Attempts {
    let since = occurrences.last(tier, view.vm.id);
    let retry = view.policy.retry;
    let mut attempts = Attempts { failed: 0, next_at: None, gave_up: false };
    let mut pause = retry.backoff.min(PAUSE_MAX);
    for backup in view.not_future_dated().filter(|backup| {
        backup.tier == Some(tier)
            && backup.standing.is_failure()
            && since.is_none_or(|since| backup.taken >= since)
    }) {
        attempts.failed += 1;
        attempts.next_at = Some(backup.taken + pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
    attempts.gave_up = attempts.failed >= retry.attempts;
    attempts
}
