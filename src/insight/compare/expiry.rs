//! Which stored backups a change of policies makes expire, and which it lets `--prune` delete.

use super::settings::setting_changes;
use crate::inventory::{BackupId, Vm};
use crate::plan::keep::Keeps;
use crate::plan::standing::{BackupView, VmView};
use crate::policy::{Match, Policies, Policy, Zone};
use chrono::{DateTime, FixedOffset, Utc};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Some stored backups, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoredBackups {
    pub backups: usize,
    /// Their stored bytes, as far as FiFo tells them.
    pub size_bytes: u64,
    /// When the oldest was taken, in its policy's zone; `None` where there is none.
    pub oldest: Option<DateTime<FixedOffset>>,
    /// When the newest was taken.
    pub newest: Option<DateTime<FixedOffset>>,
}

impl StoredBackups {
    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.backups == 0
    }

    /// Adds others.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            backups: self.backups + other.backups,
            size_bytes: self.size_bytes.saturating_add(other.size_bytes),
            oldest: self.oldest.into_iter().chain(other.oldest).min(),
            newest: self.newest.into_iter().chain(other.newest).max(),
        }
    }

    fn one(backup: &BackupView<'_>, zone: &Zone) -> Self {
        let taken = Some(zone.moment(backup.taken));
        let size_bytes = backup.backup.size_bytes().unwrap_or(0);
        Self { backups: 1, size_bytes, oldest: taken, newest: taken }
    }
}

/// What a change of policies does to the stored backups of a VM at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ExpiryChange {
    /// Those that expire because of it.
    pub(super) expired: StoredBackups,
    /// Those that it lets `--prune` delete: they expire because of it, or had expired and the policy did not allow it.
    pub(super) prunable: StoredBackups,
}

/// Finds the changes of VM after VM.
pub(super) struct ExpiryChanges<'p> {
    before: &'p Policies,
    after: &'p Policies,
    now: DateTime<Utc>,
    /// Of two policies, whether they set the same.
    is_same: BTreeMap<(&'p str, &'p str), bool>,
}

impl<'p> ExpiryChanges<'p> {
    pub(super) fn new(before: &'p Policies, after: &'p Policies, now: DateTime<Utc>) -> Self {
        Self { before, after, now, is_same: BTreeMap::new() }
    }

    pub(super) fn of(&mut self, vm: &Vm) -> ExpiryChange {
        let Match::One(after) = self.after.policy_for(vm) else { return ExpiryChange::default() };
        let before = match self.before.policy_for(vm) {
            Match::One(before) => Some(before),
            Match::Unprotected | Match::Conflict(_) => None,
        };
        let is_same = |before: &'p Policy| {
            let both = (before.name.as_str(), after.name.as_str());
            *self.is_same.entry(both).or_insert_with(|| setting_changes(before, after).is_empty())
        };
        if before.is_some_and(is_same) {
            return ExpiryChange::default();
        }
        let now = self.now;
        let known = |policy: &Policy| -> Vec<(BackupId, StoredBackups)> {
            let view = VmView::new(vm, policy, now);
            let expired = Keeps::of(&view).expired(&view).into_iter();
            expired
                .map(|backup| (backup.id(), StoredBackups::one(backup, self.after.display_zone())))
                .collect()
        };
        let had: BTreeSet<BackupId> = before.map(known).into_iter().flatten().map(|(id, _)| id).collect();
        let was_pruned = before.is_some_and(|before| before.prune);
        let mut change = ExpiryChange::default();
        for (id, counted) in known(after) {
            let is_new = !had.contains(&id);
            if is_new {
                change.expired = change.expired.plus(counted);
            }
            if after.prune && (is_new || !was_pruned) {
                change.prunable = change.prunable.plus(counted);
            }
        }
        change
    }
}
