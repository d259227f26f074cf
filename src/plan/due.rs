//! Which tier is due, and whether a backup of it may be started now.

use super::note::NoteCode;
use super::standing::{BackupView, VmView};
use crate::inventory::{Vm, VmId};
use crate::policy::{Policy, Tier, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::iter::successors;
use std::mem::replace;
use std::sync::OnceLock;

const BACKUP_STATES: [&str; 4] = ["running", "stopped", "booting", "shutting_down"];

/// How far back [`Occurrences::recent`] goes.
pub(crate) const RECENT: TimeDelta = TimeDelta::days(35);

/// The occurrences of a policy's schedules, looked up once for all VMs, as seen from an instant.
#[derive(Clone, Debug)]
pub struct Occurrences<'a> {
    policy: &'a Policy,
    now: DateTime<Utc>,
    /// By tier and without its spread, oldest first: from the last one a spread before the time to the first one after it.
    dues: Cow<'a, [Vec<DateTime<Utc>>]>,
    /// Those of each tier within [`RECENT`] and its spread before now, oldest first; looked up when they are first needed.
    recent: Vec<OnceLock<Vec<DateTime<Utc>>>>,
}

impl<'a> Occurrences<'a> {
    pub fn new(policy: &'a Policy, now: DateTime<Utc>) -> Self {
        Self::over(policy, now, now)
    }

    /// Looks up those of a time, as seen from its beginning.
    pub(crate) fn over(policy: &'a Policy, from: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        let of_tier = |tier: &Tier| {
            let next = |instant: &DateTime<Utc>| tier.schedule.next_after(*instant);
            let earliest = from - tier.spread;
            let first = tier.schedule.last_at_or_before(earliest).or_else(|| next(&earliest));
            let mut is_over = false;
            successors(first, next).take_while(|due| !replace(&mut is_over, *due > until)).collect()
        };
        let dues = policy.tiers.iter().map(of_tier).collect();
        Self { policy, now: from, dues, recent: vec![OnceLock::new(); policy.tiers.len()] }
    }

    /// Returns the same as seen from another instant of that time.
    pub(crate) fn at(&self, now: DateTime<Utc>) -> Occurrences<'_> {
        let recent = vec![OnceLock::new(); self.policy.tiers.len()];
        Occurrences { policy: self.policy, now, dues: Cow::Borrowed(&self.dues), recent }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Returns the instant since which a VM's backup of a tier is due.
    pub fn last(&self, tier: TierIndex, vm: VmId) -> Option<DateTime<Utc>> {
        let (past, due) = self.around(tier, vm);
        past.checked_sub(1).and_then(due)
    }

    /// Returns the instant from which a VM's next backup of a tier will be due.
    pub fn next(&self, tier: TierIndex, vm: VmId) -> Option<DateTime<Utc>> {
        let (past, due) = self.around(tier, vm);
        due(past)
    }

    /// Counts the known due instants of a VM's tier that have passed, and returns how to find each of them.
    fn around(&self, tier: TierIndex, vm: VmId) -> (usize, impl Fn(usize) -> Option<DateTime<Utc>>) {
        let (dues, share) = (&self.dues[tier], share_of(self.policy.tiers[tier].spread, vm));
        let until = self.now - share;
        let past = dues.partition_point(|due| *due <= until);
        (past, move |at| dues.get(at).map(|due| *due + share))
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
        let share = share_of(*spread, vm);
        let first = of_all.partition_point(|instant| *instant + share <= since);
        of_all[first..].iter().map(|instant| *instant + share).take_while(|due| *due <= self.now).collect()
    }

    /// Returns the instant from which a VM's first backup of a tier after another instant will be due.
    pub fn next_after(&self, tier: TierIndex, vm: VmId, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Tier { spread, schedule, .. } = &self.policy.tiers[tier];
        let share = share_of(*spread, vm);
        schedule.next_after(instant - share).map(|instant| instant + share)
    }
}

/// Returns a VM's fixed share of a spread, in whole seconds, below the spread; 0 for the VM of which nothing is known.
pub(crate) fn share_of(spread: TimeDelta, vm: VmId) -> TimeDelta {
    if spread.is_zero() || vm.uuid().is_nil() {
        return TimeDelta::zero();
    }
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
            !view.not_future_dated().rev().any(|backup| {
                backup.tier.is_some_and(|own| own <= tier)
                    && (backup.is_restorable() || backup.standing.is_running())
                    && backup.taken >= since
            })
        })
        .collect()
}

/// The longest pause between two attempts: less than a day, so that a nightly run never comes a minute too early.
const PAUSE_MAX: TimeDelta = TimeDelta::hours(20);

/// The failed attempts at a tier since the instant from which it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    pub tier: TierIndex,
    pub since: DateTime<Utc>,
    pub failed: u32,
    /// From when the next one may be made; `None` where none has failed.
    pub next_at: Option<DateTime<Utc>>,
    /// Whether there have been as many as the policy allows: it is reported, and retried at the same pace.
    pub gave_up: bool,
}

impl Attempts {
    pub fn is_backing_off(&self, now: DateTime<Utc>) -> bool {
        self.next_at.is_some_and(|at| now < at)
    }
}

/// Counts the failed attempts at a tier since an occurrence that it is due for: the next one starts afresh.
///
/// Each further attempt waits twice as long as the one before it, up to 20 hours, so that what will not succeed is tried
/// often at first and takes next to no time from the other tiers in the long run.
pub fn attempts(view: &VmView<'_>, tier: TierIndex, since: DateTime<Utc>) -> Attempts {
    let retry = view.policy.retry;
    let mut attempts = Attempts { tier, since, failed: 0, next_at: None, gave_up: false };
    let mut pause = retry.backoff.min(PAUSE_MAX);
    let is_failure =
        |it: &&BackupView<'_>| it.tier == Some(tier) && it.standing.is_failure() && it.taken >= since;
    for backup in view.not_future_dated().filter(is_failure) {
        attempts.failed += 1;
        attempts.next_at = Some(backup.taken + pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
    attempts.gave_up = attempts.failed >= retry.attempts;
    attempts
}
