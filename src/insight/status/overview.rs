//! An overview of a cloud at an instant: health and plan status together, for metrics, the status page and notifications.

use super::{BackupHealth, Health, VmHealth, judged};
use crate::inventory::{Inventory, VmId};
use crate::plan::due::{Occurrences, unsatisfied};
use crate::plan::standing::VmView;
use crate::plan::{Plan, Status};
use crate::policy::Policies;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// The VMs of a plan, as they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// How each of them stands, with the instant.
    pub health: Health,
    /// How many VMs have each status in the plan. A status that no VM has is missing.
    pub vms_by_status: BTreeMap<Status, usize>,
    /// The tiers of each VM that belongs to exactly one policy, coarsest first.
    pub tiers: BTreeMap<VmId, Vec<TierHealth>>,
}

/// How a VM stands with one tier of its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierHealth {
    /// The tier's name.
    pub tier: String,
    /// When the newest restorable backup of just this tier was taken; `None` where there is none.
    pub newest: Option<DateTime<Utc>>,
    /// Whether the backup that was due last exists or is in progress. A coarser tier's backup counts as well.
    pub is_up_to_date: bool,
}

impl Overview {
    /// Looks over the VMs of a plan and what it was made from.
    pub fn of(plan: &Plan, policies: &Policies, inventory: &Inventory) -> Self {
        let mut vms_by_status = BTreeMap::new();
        for vm in &plan.vms {
            *vms_by_status.entry(vm.status).or_default() += 1;
        }
        let (health, tiers) = judged(plan, policies, inventory, tiers);
        Self { health, vms_by_status, tiers }
    }
}

fn tiers(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Vec<TierHealth> {
    let missing = unsatisfied(view, occurrences);
    let tiers = view.policy.tiers.iter().enumerate().map(|(index, tier)| TierHealth {
        tier: tier.name.clone(),
        newest: view
            .restorable()
            .filter(|backup| backup.tier == Some(index))
            .map(|backup| backup.taken)
            .next_back(),
        is_up_to_date: missing.iter().all(|(tier, _)| *tier != index),
    });
    tiers.collect()
}

impl Health {
    /// Returns the same a while later, with nothing new known: backups have grown older, and may be too old by now.
    ///
    /// So a VM that was safe when it was read an hour ago does not count as safe because of that.
    #[must_use]
    pub fn aged(&self, now: DateTime<Utc>) -> Self {
        let vms = self.vms.iter().cloned().map(|vm| aged(vm, now));
        Self {
            at: self.at,
            endpoint: self.endpoint.clone(),
            timezone: self.timezone.clone(),
            vms: vms.collect(),
        }
    }
}

fn aged(mut vm: VmHealth, now: DateTime<Utc>) -> VmHealth {
    if let Some(newest) = &mut vm.newest {
        newest.age_secs = newest.age_secs.max((now - newest.taken.to_utc()).num_seconds());
        if vm.verdict == BackupHealth::Safe && vm.max_age_secs.is_some_and(|max| newest.age_secs > max) {
            vm.verdict = BackupHealth::TooOld;
        }
    }
    vm
}
