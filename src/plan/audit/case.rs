//! The facts of one VM, read from its records in the plainest way: long walks instead of clever tables.

use crate::inventory::{Backup, BackupId, LocalState, RecordedState, Vm};
use crate::plan::due::Occurrences;
use crate::policy::{MissingParent, Policy, Tier, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;

/// One VM, its policy and the instant.
pub(super) struct AuditCase<'a> {
    pub(super) vm: &'a Vm,
    pub(super) policy: &'a Policy,
    pub(super) now: DateTime<Utc>,
    occurrences: &'a Occurrences<'a>,
    restorable: BTreeSet<BackupId>,
    unverified: BTreeSet<BackupId>,
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
    pub(super) fn new(vm: &'a Vm, policy: &'a Policy, occurrences: &'a Occurrences<'a>) -> Self {
        let mut case = Self {
            vm,
            policy,
            now: occurrences.now(),
            occurrences,
            restorable: BTreeSet::new(),
            unverified: BTreeSet::new(),
        };
        case.unverified = case.all().filter(|backup| case.is_unverified(backup)).map(|b| b.id).collect();
        case.restorable = case.all().filter(|backup| case.leads_to_a_full(backup)).map(|b| b.id).collect();
        case
    }

    /// Returns the same case with another state of the VM.
    pub(super) fn with<'b>(&'b self, vm: &'b Vm) -> AuditCase<'b> {
        AuditCase::new(vm, self.policy, self.occurrences)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'a Backup> + use<'a> {
        self.vm.backups.values()
    }

    pub(super) fn get(&self, id: BackupId) -> Option<&'a Backup> {
        self.vm.backups.get(id)
    }

    /// Says whether every file of a record has a size and a checksum: its own ones, or in the old form those of the whole
    /// record, where no file has any.
    fn tells_all_of_its_files(backup: &Backup) -> bool {
        let (mut sized, mut summed) = (0, 0);
        for file in &backup.files {
            sized += usize::from(file.size_bytes.is_some());
            summed += usize::from(file.has_checksum);
        }
        let files = backup.files.len();
        let has_sizes = sized == files || (sized == 0 && backup.record_size_bytes.is_some());
        let has_sums = summed == files || (summed == 0 && backup.has_record_checksum);
        files > 0 && has_sizes && has_sums
    }

    /// Says whether it is called completed with something missing that an older completed one has.
    fn is_unverified(&self, backup: &Backup) -> bool {
        backup.state == RecordedState::Completed
            && backup.timestamp.is_some()
            && !self.is_next_to_empty(backup)
            && !Self::tells_all_of_its_files(backup)
            && self.all().any(|older| {
                older.state == RecordedState::Completed
                    && older.timestamp.is_some()
                    && self.is_newer(backup, older)
                    && Self::tells_all_of_its_files(older)
            })
    }

    /// Finds a backup's tier by comparing comments: the tier's own, and those it takes over.
    pub(super) fn tier(&self, backup: &Backup) -> Option<TierIndex> {
        let comment = backup.comment.as_deref()?;
        let tiers = &self.policy.tiers;
        let is_of = |tier: &Tier| tier.comment == comment || tier.also.iter().any(|also| also == comment);
        tiers.iter().position(is_of)
    }

    /// Says whether its time is missing or more than ten minutes ahead.
    pub(super) fn is_future_or_undated(&self, backup: &Backup) -> bool {
        backup.timestamp.is_none_or(|time| time > self.now + TimeDelta::minutes(10))
    }

    /// Says whether it may be uploading, or may still be given what it lacks: it has not ended as it should, and did not
    /// begin too long ago.
    pub(super) fn may_run(&self, backup: &Backup) -> bool {
        (self.never_ended(backup) || self.unverified.contains(&backup.id))
            && backup.timestamp.is_some_and(|time| {
                time > self.now - self.policy.stuck_after && time < self.now + self.policy.stuck_after
            })
    }

    /// Says whether any of the VM's backups may be uploading.
    pub(super) fn something_runs(&self) -> bool {
        self.all().any(|backup| self.may_run(backup))
    }

    /// Says whether it ran out of its time with nothing restorable after it, so that it may be uploading all the same.
    pub(super) fn may_still_run(&self, backup: &Backup) -> bool {
        self.never_ended(backup) && !self.is_future_or_undated(backup) && !self.is_outlived(backup)
    }

    /// Says whether a backup that runs, or may still run, has no known parent yet.
    pub(super) fn a_parent_is_unknown(&self) -> bool {
        self.all().any(|backup| {
            (self.may_run(backup) || self.may_still_run(backup))
                && backup.state == RecordedState::Accepted
                && backup.parent.is_none()
        })
    }

    /// Says whether it is whole in itself: completed, with a timestamp, not next to empty, and with all the data that
    /// shows it.
    fn is_sound(&self, backup: &Backup) -> bool {
        backup.state == RecordedState::Completed
            && backup.timestamp.is_some()
            && !self.is_next_to_empty(backup)
            && !self.unverified.contains(&backup.id)
    }

    /// Says whether what is stored of it can be no backup.
    fn is_next_to_empty(&self, backup: &Backup) -> bool {
        let a_disk_is_missing = match backup.files.iter().find_map(|file| file.size_bytes) {
            Some(_) => backup.files.iter().any(|file| file.size_bytes.is_some_and(|bytes| bytes < 100)),
            None => backup.record_size_bytes.is_some_and(|bytes| bytes < 100),
        };
        let is_small = backup.parent.is_none()
            && backup.size_bytes().is_some_and(|bytes| bytes < self.policy.min_full_size_bytes);
        a_disk_is_missing || is_small
    }

    /// Says whether its state is neither completed nor failed, however long ago it began.
    fn never_ended(&self, backup: &Backup) -> bool {
        !matches!(backup.state, RecordedState::Completed | RecordedState::Failed)
            && backup.timestamp.is_some()
    }

    /// Says whether it ended badly or was given up on.
    fn is_failure(&self, backup: &Backup) -> bool {
        backup.timestamp.is_some() && !self.is_sound(backup) && !self.may_run(backup)
    }

    /// Walks to the full backup, at most as many steps as there are backups.
    fn leads_to_a_full(&self, backup: &Backup) -> bool {
        let mut step = backup;
        for _ in 0..=self.vm.backups.len() {
            if !self.is_sound(step) {
                return false;
            }
            match step.parent {
                None => return true,
                Some(parent) => match self.get(parent) {
                    Some(parent) => step = parent,
                    None => return false,
                },
            }
        }
        false
    }

    pub(super) fn can_be_restored(&self, backup: &Backup) -> bool {
        self.restorable.contains(&backup.id)
    }

    /// Says whether the rules may depend on the backup.
    pub(super) fn counts(&self, backup: &Backup) -> bool {
        self.can_be_restored(backup) && !self.is_future_or_undated(backup)
    }

    /// Says whether it is managed, has a usable time, and holds a snapshot on the hypervisor.
    pub(super) fn holds_a_snapshot_of_ours(&self, backup: &Backup) -> bool {
        self.tier(backup).is_some() && !self.is_future_or_undated(backup) && self.is_on_hypervisor(backup)
    }

    pub(super) fn is_on_hypervisor(&self, backup: &Backup) -> bool {
        backup.local == LocalState::Present
            || (backup.local == LocalState::Unknown && backup.local_size_bytes > Some(0))
    }

    pub(super) fn is_newer(&self, one: &Backup, other: &Backup) -> bool {
        (one.timestamp, one.id) > (other.timestamp, other.id)
    }

    /// Says whether a newer backup of the VM can be restored.
    pub(super) fn is_outlived(&self, backup: &Backup) -> bool {
        self.all().any(|other| self.counts(other) && self.is_newer(other, backup))
    }

    /// Says whether an increment of a tier may be taken from it: of a tier it may be taken from, local, restorable,
    /// and with nothing coarser that is restorable and newer.
    fn could_be_parent(&self, backup: &Backup, tier: TierIndex) -> bool {
        let Some(from) = self.policy.tiers[tier].kind.parents() else { return false };
        let Some(own) = self.tier(backup) else { return false };
        backup.local == LocalState::Present
            && from.contains(&own)
            && self.counts(backup)
            && !self.all().any(|other| {
                self.tier(other).is_some_and(|other| other < own)
                    && self.counts(other)
                    && self.is_newer(other, backup)
            })
    }

    /// Says whether it is the one that an increment of a tier would be taken from.
    pub(super) fn is_best_parent(&self, backup: &Backup, tier: TierIndex) -> bool {
        self.could_be_parent(backup, tier)
            && !self.all().any(|other| self.is_newer(other, backup) && self.could_be_parent(other, tier))
    }

    /// Says whether the last increment on a backup that FiFo calls completed holds nothing.
    pub(super) fn came_out_empty(&self, parent: &Backup) -> bool {
        let is_done = |backup: &&Backup| {
            backup.parent == Some(parent.id)
                && backup.state == RecordedState::Completed
                && backup.timestamp.is_some()
        };
        let last = self.all().filter(is_done).max_by_key(|backup| (backup.timestamp, backup.id));
        last.is_some_and(|last| self.is_next_to_empty(last))
    }

    /// Says whether an increment of a tier is to be taken, and not a full backup in its place.
    pub(super) fn takes_an_increment(&self, tier: TierIndex) -> bool {
        self.all().any(|backup| self.is_best_parent(backup, tier) && !self.came_out_empty(backup))
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
        self.occurrences.last(tier, self.vm.id)
    }

    /// Says how it stands with a tier.
    pub(super) fn tier_state(&self, tier: TierIndex) -> TierState {
        let Some(due_since) = self.due_since(tier) else { return TierState::NothingDue };
        let has_backup = self.all().any(|backup| {
            self.tier(backup).is_some_and(|own| own <= tier)
                && backup.timestamp >= Some(due_since)
                && !self.is_future_or_undated(backup)
                && (self.can_be_restored(backup) || self.may_run(backup))
        });
        if has_backup {
            return TierState::NothingDue;
        }
        let attempts = self.failed_attempts(tier, due_since);
        if self.is_pausing(&attempts) {
            if self.is_past_the_last(&attempts) { TierState::PausingForLong } else { TierState::Pausing }
        } else if self.policy.tiers[tier].kind.parents().is_some()
            && self.policy.missing_parent == MissingParent::Block
            && !self.takes_an_increment(tier)
        {
            TierState::NoParent
        } else if attempts.is_empty() {
            TierState::Fresh
        } else {
            TierState::Again
        }
    }

    /// Says whether a tier is due and has failed so often that it must be reported.
    pub(super) fn has_given_up(&self, tier: TierIndex) -> bool {
        self.tier_state(tier) != TierState::NothingDue
            && self
                .due_since(tier)
                .is_some_and(|due_since| self.is_past_the_last(&self.failed_attempts(tier, due_since)))
    }

    /// Returns the times of a tier's own failures since it is due.
    fn failed_attempts(&self, tier: TierIndex, due_since: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        self.all()
            .filter(|backup| self.tier(backup) == Some(tier) && self.is_failure(backup))
            .filter(|backup| !self.is_future_or_undated(backup))
            .filter_map(|backup| backup.timestamp.filter(|&time| time >= due_since))
            .collect()
    }

    fn is_past_the_last(&self, attempts: &[DateTime<Utc>]) -> bool {
        attempts.len() >= self.policy.retry.attempts as usize
    }

    /// Says whether the pause after so many failures is not over: one `backoff` after the first, two after the second,
    /// four after the third, and never more than a day.
    fn is_pausing(&self, attempts: &[DateTime<Utc>]) -> bool {
        let Some(newest) = attempts.iter().max() else { return false };
        let day_us = 24 * 60 * 60 * 1_000_000_i64;
        let backoff_us = self.policy.retry.backoff.num_microseconds().unwrap_or(day_us).min(day_us);
        let doublings = u32::try_from(attempts.len() - 1).unwrap_or(u32::MAX).min(20);
        let pause_us = backoff_us.saturating_mul(2_i64.pow(doublings)).min(day_us);
        (self.now - *newest).num_microseconds().is_some_and(|since_us| since_us < pause_us)
    }
}
