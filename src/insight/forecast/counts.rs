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
    /// How many stored backups are no longer wanted in the end.
    pub expired: usize,
    /// The most backups that restoring one which is made meanwhile has to fetch.
    pub steps_max: usize,
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
        self.expired += other.expired;
        self.steps_max = self.steps_max.max(other.steps_max);
    }
}
