//! The facts of one VM: each record is read once, so that every question about it is a look-up.

use super::records::{Age, Row, rows};
use crate::inventory::{BackupId, LocalState, RecordedState, Vm};
use crate::policy::{MissingParent, Policy, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};
use std::iter::successors;

/// One VM, its policy and the instant.
pub(super) struct AuditCase<'a> {
    pub(super) vm: &'a Vm,
    pub(super) policy: &'a Policy,
    pub(super) now: DateTime<Utc>,
    /// One a backup, by UUID.
    rows: Vec<Row<'a>>,
    /// One a tier, coarsest first.
    tiers: Vec<TierFacts>,
    /// The newest of all on which the rules may depend.
    newest: Option<Age>,
    /// The newest of those that only their snapshot can give back.
    newest_lost: Option<Age>,
    a_parent_is_unknown: bool,
}

/// What the backups of one tier show.
#[derive(Clone, Copy, Default)]
struct TierFacts {
    /// The tier's last occurrence for this VM.
    due_since: Option<DateTime<Utc>>,
    /// The newest on which the rules may depend.
    newest: Option<Age>,
    /// The newest of these that is local, with its place.
    newest_local: Option<(Age, usize)>,
    /// The last of those that `keep_local` asks for; `None` where there are fewer.
    last_kept: Option<Age>,
    /// The time of the newest that is restorable or in progress.
    newest_done: Option<DateTime<Utc>>,
    /// The tier's own failures since it is due.
    failures: usize,
    newest_failure: Option<DateTime<Utc>>,
    /// The place of the backup that an increment of the tier would be taken from.
    best_parent: Option<usize>,
}

/// What can be said of a tier, leaving aside whether FiFo would take a backup at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TierState {
    /// Its last occurrence has its backup, or one in progress, or there was none.
    NothingDue,
    /// It is due, no attempt has failed, and nothing of its own stands in its way.
    Fresh,
    /// It is due, an attempt has failed, and another one may be made.
    Again,
    /// It is due, and a failed attempt is too recent.
    Pausing,
    /// It is due, a failed attempt is too recent, and so many have failed that it is reported.
    PausingForLong,
    /// It is due, has no parent, and must not become a full one.
    NoParent,
}

impl<'a> AuditCase<'a> {
    /// Reads a VM's records; `due_since` has the last occurrence of each tier.
    pub(super) fn new(
        vm: &'a Vm,
        policy: &'a Policy,
        now: DateTime<Utc>,
        due_since: impl IntoIterator<Item = Option<DateTime<Utc>>>,
    ) -> Self {
        let tiers = due_since.into_iter().map(|due_since| TierFacts { due_since, ..TierFacts::default() });
        let mut case = Self {
            vm,
            policy,
            now,
            rows: rows(vm, policy, now),
            tiers: tiers.collect(),
            newest: None,
            newest_lost: None,
            a_parent_is_unknown: false,
        };
        case.find_newest();
        case.find_attempts();
        for tier in 0..case.tiers.len() {
            case.tiers[tier].best_parent = case.best_parent(tier);
            case.tiers[tier].last_kept = case.last_kept(tier);
        }
        let has_unknown_parent = |row: &Row<'_>| {
            (row.may_run || case.may_still_run(row))
                && row.backup.state == RecordedState::Accepted
                && row.backup.parent.is_none()
        };
        case.a_parent_is_unknown = case.rows.iter().any(has_unknown_parent);
        case
    }

    /// Returns the same case with another state of the VM.
    pub(super) fn with<'b>(&'b self, vm: &'b Vm) -> AuditCase<'b> {
        AuditCase::new(vm, self.policy, self.now, self.tiers.iter().map(|tier| tier.due_since))
    }

    fn find_newest(&mut self) {
        for (at, row) in self.rows.iter().enumerate() {
            let age = Some(row.age());
            if row.is_lost() {
                self.newest_lost = self.newest_lost.max(age);
            }
            if !row.counts() {
                continue;
            }
            self.newest = self.newest.max(age);
            if let Some(tier) = row.tier.map(|tier| &mut self.tiers[tier]) {
                tier.newest = tier.newest.max(age);
                if row.backup.local == LocalState::Present {
                    tier.newest_local = tier.newest_local.max(Some((row.age(), at)));
                }
            }
        }
    }

    fn find_attempts(&mut self) {
        for row in self.rows.iter().filter(|row| !row.is_future_or_undated) {
            let Some(tier) = row.tier.map(|tier| &mut self.tiers[tier]) else { continue };
            let time = row.backup.timestamp;
            if row.can_be_restored || row.may_run {
                tier.newest_done = tier.newest_done.max(time);
            }
            if row.is_failure() && tier.due_since.is_some_and(|due_since| time >= Some(due_since)) {
                tier.failures += 1;
                tier.newest_failure = tier.newest_failure.max(time);
            }
        }
    }

    /// Finds what an increment of a tier would be taken from: the newest one of a tier that it may be taken from that is
    /// local, restorable, and with nothing coarser that is restorable and newer.
    fn best_parent(&self, tier: TierIndex) -> Option<usize> {
        let from = self.policy.tiers[tier].kind.parents()?;
        let could_be = |own: &usize| {
            let local = self.tiers[*own].newest_local?;
            self.tiers[..*own].iter().all(|coarser| coarser.newest < Some(local.0)).then_some(local)
        };
        from.iter().filter_map(could_be).max().map(|(_, at)| at)
    }

    fn last_kept(&self, tier: TierIndex) -> Option<Age> {
        self.nth_newest(tier, (self.policy.tiers[tier].keep_local as usize).checked_sub(1)?)
    }

    /// Returns the age of the restorable backup of a tier that has so many newer ones; `None` where there is none.
    pub(super) fn nth_newest(&self, tier: TierIndex, others: usize) -> Option<Age> {
        let of_tier = self.all().filter(|row| row.tier == Some(tier) && row.counts());
        let mut ages: Vec<Age> = of_tier.map(Row::age).collect();
        (others < ages.len()).then(|| *ages.select_nth_unstable_by(others, |one, other| other.cmp(one)).1)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter()
    }

    pub(super) fn get(&self, id: BackupId) -> Option<&Row<'a>> {
        self.vm.backups.position(id).map(|at| &self.rows[at])
    }

    /// Returns the backups that are taken from one.
    pub(super) fn children(&self, row: &Row<'_>) -> impl Iterator<Item = &Row<'a>> {
        let child = row.child.map(|at| &self.rows[at]);
        successors(child, |row| row.sibling.map(|at| &self.rows[at]))
    }

    /// Says whether any of the VM's backups may be uploading, or is dated a little ahead by a clock that differs.
    pub(super) fn something_runs(&self) -> bool {
        let latest = self.now + TimeDelta::hours(1);
        let is_awaited = |row: &Row<'_>| {
            row.is_future_or_undated && row.backup.timestamp.is_some_and(|time| time <= latest)
        };
        self.all().any(|row| row.may_run || is_awaited(row))
    }

    /// Says whether it ran out of its time with nothing restorable after it, so that it may be uploading all the same.
    pub(super) fn may_still_run(&self, row: &Row<'_>) -> bool {
        row.never_ended && !row.is_future_or_undated && !self.is_outlived(row)
    }

    /// Says whether a backup that runs, or may still run, has no known parent yet.
    pub(super) fn a_parent_is_unknown(&self) -> bool {
        self.a_parent_is_unknown
    }

    /// Says whether it is the newest of the VM that can be restored.
    pub(super) fn is_the_newest(&self, row: &Row<'_>) -> bool {
        self.newest == Some(row.age())
    }

    /// Returns the time of the newest of the VM that can be restored.
    pub(super) fn newest_time(&self) -> Option<DateTime<Utc>> {
        self.newest.and_then(|(time, _)| time)
    }

    /// Says whether a newer backup of the VM can be restored.
    pub(super) fn is_outlived(&self, row: &Row<'_>) -> bool {
        self.newest > Some(row.age())
    }

    /// Says whether it is the newest that cannot be restored from storage, and nothing newer is restorable.
    pub(super) fn is_the_newest_lost(&self, row: &Row<'_>) -> bool {
        self.newest_lost == Some(row.age()) && !self.is_outlived(row)
    }

    /// Says whether it is one of the newest restorable ones of its tier, as many as `keep_local` asks for.
    pub(super) fn is_kept_by_keep_local(&self, row: &Row<'_>) -> bool {
        let asks = |tier: TierIndex| {
            self.policy.tiers[tier].keep_local > 0 && self.tiers[tier].last_kept <= Some(row.age())
        };
        row.can_be_restored && row.tier.is_some_and(asks)
    }

    /// Says whether it is the one that an increment of a tier would be taken from.
    pub(super) fn is_best_parent(&self, row: &Row<'_>, tier: TierIndex) -> bool {
        self.tiers[tier].best_parent.is_some_and(|at| self.rows[at].backup.id == row.backup.id)
    }

    /// Says whether the last increment on a backup that FiFo calls completed holds nothing.
    pub(super) fn came_out_empty(&self, parent: &Row<'_>) -> bool {
        self.last_done_on(parent).is_some_and(|last| last.is_next_to_empty)
    }

    /// Returns the last increment on a backup that FiFo calls completed.
    pub(super) fn last_done_on(&self, parent: &Row<'_>) -> Option<&Row<'a>> {
        let is_done =
            |row: &&Row<'_>| row.backup.state == RecordedState::Completed && row.backup.timestamp.is_some();
        self.children(parent).filter(is_done).max_by_key(|row| row.age())
    }

    /// Says whether an increment of a tier is to be taken, and not a full backup in its place.
    pub(super) fn takes_an_increment(&self, tier: TierIndex) -> bool {
        self.tiers[tier].best_parent.is_some_and(|at| !self.came_out_empty(&self.rows[at]))
    }

    /// Says whether FiFo would take a backup of this VM at all.
    pub(super) fn can_be_backed_up(&self) -> bool {
        self.vm.hypervisor.is_some()
            && !self.vm.delegated_datasets
            && !self.vm.creating
            && !self.vm.deleting
            && matches!(self.vm.state.as_str(), "running" | "stopped" | "booting" | "shutting_down")
    }

    /// Returns a tier's last occurrence for this VM.
    pub(super) fn due_since(&self, tier: TierIndex) -> Option<DateTime<Utc>> {
        self.tiers[tier].due_since
    }

    /// Says how it stands with a tier.
    pub(super) fn tier_state(&self, tier: TierIndex) -> TierState {
        let facts = &self.tiers[tier];
        let Some(due_since) = facts.due_since else { return TierState::NothingDue };
        // A coarser one does as well.
        if self.tiers[..=tier].iter().any(|own| own.newest_done >= Some(due_since)) {
            TierState::NothingDue
        } else if self.is_pausing(facts) {
            if self.is_past_the_last(facts) { TierState::PausingForLong } else { TierState::Pausing }
        } else if self.policy.tiers[tier].kind.parents().is_some()
            && self.policy.missing_parent == MissingParent::Block
            && !self.takes_an_increment(tier)
        {
            TierState::NoParent
        } else if facts.failures == 0 {
            TierState::Fresh
        } else {
            TierState::Again
        }
    }

    /// Says whether a tier is due and has failed so often that it must be reported.
    pub(super) fn has_given_up(&self, tier: TierIndex) -> bool {
        self.tier_state(tier) != TierState::NothingDue && self.is_past_the_last(&self.tiers[tier])
    }

    fn is_past_the_last(&self, tier: &TierFacts) -> bool {
        tier.failures >= self.policy.retry.attempts as usize
    }

    /// Says whether the pause after so many failures is not over: one `backoff` after the first, two after the second,
    /// four after the third, and never more than a day.
    fn is_pausing(&self, tier: &TierFacts) -> bool {
        let Some(newest) = tier.newest_failure else { return false };
        let day_us = 24 * 60 * 60 * 1_000_000_i64;
        let backoff_us = self.policy.retry.backoff.num_microseconds().unwrap_or(day_us).min(day_us);
        let doublings = u32::try_from(tier.failures - 1).unwrap_or(u32::MAX).min(20);
        let pause_us = backoff_us.saturating_mul(2_i64.pow(doublings)).min(day_us);
        (self.now - newest).num_microseconds().is_some_and(|since_us| since_us < pause_us)
    }
}
