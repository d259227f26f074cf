//! An overview of a cloud at an instant: health and plan status together, for metrics, the status page and notifications.

use super::{BackupHealth, Health, VmHealth, vm_health, without_policy};
use crate::inventory::{UnreadableVm, Vm, VmId};
use crate::plan::due::unsatisfied;
use crate::plan::{self, DecidedVm, JudgedVm, Planner, Status};
use crate::policy::Name;
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
    pub tier: Name,
    /// When the newest restorable backup of just this tier was taken; `None` where there is none.
    pub newest: Option<DateTime<Utc>>,
    /// Whether the backup that was due last exists or is in progress. A coarser tier's backup counts as well.
    pub is_up_to_date: bool,
}

/// Looks over VMs, one at a time.
#[derive(Debug, Default)]
pub struct OverviewBuilder {
    /// Each with its status in the plan.
    vms: Vec<(VmHealth, Status)>,
    tiers: BTreeMap<VmId, Vec<TierHealth>>,
}

impl OverviewBuilder {
    /// Looks over a VM for which something, or nothing, was decided.
    pub fn add(&mut self, vm: &Vm, decided: DecidedVm<'_>) {
        let DecidedVm { plan, judged } = decided;
        let judged = judged.as_ref();
        self.tiers.extend(judged.map(|judged| (vm.id, tiers(judged))));
        let status = plan.status;
        self.vms.push((vm_health(vm, plan, judged), status));
    }

    /// Forgets a VM, which turned out not to be known, and returns its alias.
    pub fn forget(&mut self, vm: VmId) -> Option<String> {
        self.tiers.remove(&vm);
        let place = self.vms.iter().position(|(known, _)| known.uuid == Some(vm))?;
        Some(self.vms.swap_remove(place).0.alias)
    }

    /// Makes the overview of these VMs, as decided by a planner, and of those that could not be read. It is the same
    /// whatever order these are in.
    pub fn finish(mut self, planner: &Planner<'_>, endpoint: &str, unreadable: &[UnreadableVm]) -> Overview {
        self.vms.extend(unreadable.iter().map(plan::unreadable).map(|vm| {
            let status = vm.status;
            (without_policy(vm, None, BackupHealth::Unreadable), status)
        }));
        self.vms.sort_unstable_by(|(a, _), (b, _)| {
            plan::sort_key(&a.alias, a.uuid, &a.notes).cmp(&plan::sort_key(&b.alias, b.uuid, &b.notes))
        });
        let mut vms_by_status = BTreeMap::new();
        self.vms.iter().for_each(|(_, status)| *vms_by_status.entry(*status).or_default() += 1);
        let vms = self.vms.into_iter().map(|(vm, _)| vm).collect();
        let (at, timezone) = (planner.request().now, planner.timezone());
        let health = Health { at, endpoint: endpoint.to_owned(), timezone, vms };
        Overview { health, vms_by_status, tiers: self.tiers }
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
        let mut health = self.clone();
        for vm in &mut health.vms {
            let Some(newest) = &mut vm.newest else { continue };
            newest.age_secs = newest.age_secs.max((now - newest.taken.to_utc()).num_seconds());
            if vm.verdict == BackupHealth::Safe && vm.max_age_secs.is_some_and(|max| newest.age_secs > max) {
                vm.verdict = BackupHealth::TooOld;
            }
        }
        health
    }
}
