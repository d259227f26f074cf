//! The facts of one VM, read from its records in the plainest way: long walks instead of clever tables.

use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use crate::policy::{Policy, TierIndex, TierKind};
use chrono::{DateTime, TimeDelta, Utc};

/// One VM, its policy and the instant.
pub(super) struct Case<'a> {
    pub(super) vm: &'a Vm,
    pub(super) policy: &'a Policy,
    pub(super) now: DateTime<Utc>,
}

impl<'a> Case<'a> {
    pub(super) fn new(vm: &'a Vm, policy: &'a Policy, now: DateTime<Utc>) -> Self {
        Self { vm, policy, now }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'a Backup> + use<'a> {
        self.vm.backups.values()
    }

    pub(super) fn get(&self, id: BackupId) -> Option<&'a Backup> {
        self.vm.backups.get(&id)
    }

    /// Finds a backup's tier by comparing comments.
    pub(super) fn tier(&self, backup: &Backup) -> Option<TierIndex> {
        (0..self.policy.tiers.len())
            .find(|&tier| Some(&self.policy.tiers[tier].comment) == backup.comment.as_ref())
    }

    /// Says whether its time is missing or more than ten minutes ahead.
    pub(super) fn time_is_unusable(&self, backup: &Backup) -> bool {
        backup.timestamp.is_none_or(|time| time > self.now + TimeDelta::minutes(10))
    }

    /// Says whether it may be uploading: it has not ended, and did not begin too long ago.
    pub(super) fn may_run(&self, backup: &Backup) -> bool {
        let ended = matches!(backup.state, RecordedState::Completed | RecordedState::Failed);
        !ended
            && backup.timestamp.is_some_and(|time| {
                time > self.now - self.policy.stuck_after && time < self.now + self.policy.stuck_after
            })
    }

    /// Says whether it is whole in itself: completed, with a timestamp, and not next to empty.
    fn is_sound(&self, backup: &Backup) -> bool {
        let enough = match (backup.size_bytes(), backup.parent) {
            (Some(0), _) => false,
            (Some(bytes), None) => bytes >= self.policy.min_full_size_bytes,
            _ => true,
        };
        backup.state == RecordedState::Completed && backup.timestamp.is_some() && enough
    }

    /// Says whether its state is neither completed nor failed, however long ago it began.
    pub(super) fn never_ended(&self, backup: &Backup) -> bool {
        !matches!(backup.state, RecordedState::Completed | RecordedState::Failed)
            && backup.timestamp.is_some()
    }

    /// Says whether it was accepted and nothing has been heard of it since.
    pub(super) fn has_not_begun(&self, backup: &Backup) -> bool {
        backup.state == RecordedState::Accepted
    }

    /// Says whether it ended badly or was given up on.
    pub(super) fn is_failure(&self, backup: &Backup) -> bool {
        backup.timestamp.is_some() && !self.is_sound(backup) && !self.may_run(backup)
    }

    /// Walks to the full backup, at most as many steps as there are backups.
    pub(super) fn can_be_restored(&self, backup: &Backup) -> bool {
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

    /// Says whether it is a backup that the rules may rest on.
    pub(super) fn counts(&self, backup: &Backup) -> bool {
        self.can_be_restored(backup) && !self.time_is_unusable(backup)
    }

    pub(super) fn is_newer(&self, one: &Backup, other: &Backup) -> bool {
        (one.timestamp, one.id) > (other.timestamp, other.id)
    }

    /// Says whether a newer backup of the VM can be restored.
    pub(super) fn is_outlived(&self, backup: &Backup) -> bool {
        self.all().any(|other| self.counts(other) && self.is_newer(other, backup))
    }

    /// Says whether an increment of a tier may be taken from it, were it local: of a tier it may be taken from,
    /// restorable, and with nothing coarser that is restorable and newer.
    pub(super) fn could_be_parent(&self, backup: &Backup, tier: TierIndex) -> bool {
        let TierKind::Incremental { from } = &self.policy.tiers[tier].kind else { return false };
        let Some(own) = self.tier(backup) else { return false };
        from.contains(&own)
            && self.counts(backup)
            && !self.all().any(|other| {
                self.tier(other).is_some_and(|other| other < own)
                    && self.counts(other)
                    && self.is_newer(other, backup)
            })
    }

    /// Says whether it is the one that an increment of a tier would be taken from.
    pub(super) fn is_best_parent(&self, backup: &Backup, tier: TierIndex) -> bool {
        let fits = |backup: &Backup| backup.local == Some(true) && self.could_be_parent(backup, tier);
        fits(backup) && !self.all().any(|other| fits(other) && self.is_newer(other, backup))
    }

    /// Says whether FiFo would take a backup of this VM at all.
    pub(super) fn can_be_backed_up(&self) -> bool {
        self.vm.hypervisor.is_some()
            && !self.vm.delegated_datasets
            && !self.vm.creating
            && !self.vm.deleting
            && matches!(self.vm.state.as_str(), "running" | "stopped" | "booting" | "shutting_down")
    }
}
