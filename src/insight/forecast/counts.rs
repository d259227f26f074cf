//! The counts of a forecast for a group of VMs.

use crate::plan::BackupKind;
use crate::policy::{Policy, TierIndex};
use serde::Serialize;

/// The result for some VMs over the forecast period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ForecastCounts {
    /// The backups that are made, coarsest tier first. Of a policy each tier is listed, also one of which none is made.
    pub creates: Vec<TierForecast>,
    /// How many snapshots are deleted on hypervisors, those of backups made meanwhile among them.
    pub deleted_locally: usize,
    /// How many snapshots are on hypervisors in the end.
    pub local: usize,
    /// The most snapshots of one VM on its hypervisor, between one backup and the next.
    pub local_max: usize,
    /// What is stored.
    #[serde(flatten)]
    pub stored: StoredForecast,
    /// The most backups that restoring one which is made meanwhile has to fetch.
    pub steps_max: usize,
}

/// What is stored of some VMs over the forecast period. With `prune: true` expired backups are deleted as with `--prune`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoredForecast {
    /// How many backups are stored in the end: completed ones.
    pub stored: usize,
    /// The most that are stored on the way, each VM counted at its own peak.
    pub stored_max: usize,
    /// The bytes stored in the end, as far as sizes are known. A backup that is made is taken for as large as the VM's newest
    /// one of its tier and type.
    pub stored_size_bytes: u64,
    /// How many are deleted from storage on the way.
    pub pruned: usize,
    /// How many stored backups are no longer wanted in the end.
    pub expired: usize,
}

/// The backups that are made of one tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TierForecast {
    pub tier: String,
    /// Full ones.
    pub full: usize,
    /// Incremental ones.
    pub incremental: usize,
}

impl ForecastCounts {
    pub(super) fn of(policy: Option<&Policy>) -> Self {
        let tiers = policy.map_or(&[][..], |policy| &policy.tiers);
        let creates =
            tiers.iter().map(|tier| TierForecast { tier: tier.name.to_string(), full: 0, incremental: 0 });
        Self { creates: creates.collect(), ..Self::default() }
    }

    pub(super) fn count_create(&mut self, tier: TierIndex, kind: BackupKind) {
        if let Some(tier) = self.creates.get_mut(tier) {
            match kind {
                BackupKind::Full => tier.full += 1,
                BackupKind::Incremental => tier.incremental += 1,
            }
        }
    }

    /// Adds another VM's, under the same policy.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, tier) in self.creates.iter_mut().zip(&other.creates) {
            sum.full += tier.full;
            sum.incremental += tier.incremental;
        }
        self.deleted_locally += other.deleted_locally;
        self.local += other.local;
        self.local_max = self.local_max.max(other.local_max);
        self.stored.stored += other.stored.stored;
        self.stored.stored_max += other.stored.stored_max;
        self.stored.stored_size_bytes =
            self.stored.stored_size_bytes.saturating_add(other.stored.stored_size_bytes);
        self.stored.pruned += other.stored.pruned;
        self.stored.expired += other.stored.expired;
        self.steps_max = self.steps_max.max(other.steps_max);
    }
}
