//! An overview of a cloud at an instant: health and plan status together, for metrics, the status page and notifications.

use super::{BackupHealth, Health, VmHealth, vm_health, without_policy};
use crate::inventory::{Vm, VmId};
use crate::plan::due::unsatisfied;
use crate::plan::{DecidedVm, JudgedVm, Plan, Status};
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

/// Looks over VMs, one at a time.
#[derive(Debug, Default)]
pub struct OverviewBuilder(BTreeMap<VmId, VmOverview>);

#[derive(Debug)]
struct VmOverview {
    health: VmHealth,
    /// `None` where no policy or several claim the VM.
    tiers: Option<Vec<TierHealth>>,
}

impl OverviewBuilder {
    /// Looks over a VM for which something, or nothing, was decided.
    pub fn add(&mut self, vm: &Vm, decided: &DecidedVm<'_>) {
        let (health, tiers) = (vm_health(vm, decided), decided.judged.as_ref().map(tiers));
        self.0.insert(vm.id, VmOverview { health, tiers });
    }

    /// Forgets a VM, which turned out not to be known.
    pub fn forget(&mut self, vm: VmId) {
        self.0.remove(&vm);
    }

    /// Makes the overview of the VMs of a plan; one that was not added could not be read.
    pub fn finish(mut self, plan: &Plan) -> Overview {
        let (mut vms_by_status, mut tiers) = (BTreeMap::new(), BTreeMap::new());
        let vms = plan.vms.iter().map(|planned| {
            *vms_by_status.entry(planned.status).or_default() += 1;
            let Some((vm, known)) = planned.uuid.and_then(|id| Some((id, self.0.remove(&id)?))) else {
                return without_policy(planned, None, BackupHealth::Unreadable);
            };
            tiers.extend(known.tiers.map(|tiers| (vm, tiers)));
            known.health
        });
        let vms = vms.collect();
        let health =
            Health { at: plan.at, endpoint: plan.endpoint.clone(), timezone: plan.timezone.clone(), vms };
        Overview { health, vms_by_status, tiers }
    }
}

fn tiers(judged: &JudgedVm<'_>) -> Vec<TierHealth> {
    let JudgedVm { view, occurrences } = judged;
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
