//! The health of each VM's backups against its policy: the data of `status`, of metrics, of the status page and of notifications.

use crate::inventory::{BackupId, UnreadableVm, Vm, VmId, chain_of};
use crate::plan::due::{Occurrences, RECENT, unsatisfied};
use crate::plan::standing::VmView;
use crate::plan::{self, DecidedVm, JudgedVm, Note, Planner, SnapshotUsage, Status, VmPlan};
use crate::policy::{Name, TierIndex};
use chrono::{DateTime, FixedOffset, Utc};
use serde::Serialize;
use std::collections::BTreeSet;

/// The health of all VMs at an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    pub at: DateTime<Utc>,
    pub endpoint: String,
    pub timezone: String,
    /// The VMs, by alias, then UUID.
    pub vms: Vec<VmHealth>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VmHealth {
    /// Its UUID; `None` only where not even that could be read.
    pub uuid: Option<VmId>,
    pub alias: String,
    /// The UUID of the hypervisor it is on, as FiFo writes it; `None` where it is on none, or that could not be read.
    pub hypervisor: Option<String>,
    /// The policy that it belongs to; `None` for none or several.
    pub policy: Option<Name>,
    pub verdict: BackupHealth,
    #[serde(skip)]
    pub status: Status,
    /// How it stands with each tier of its policy, coarsest first.
    #[serde(skip)]
    pub tiers: Vec<TierHealth>,
    /// Whether its policy is suspended for it. Its backups grow old all the same.
    pub is_suspended: bool,
    pub newest: Option<NewestBackup>,
    pub max_age_secs: Option<i64>,
    /// What its backups hold on the hypervisor.
    pub local: SnapshotUsage,
    /// The part of `local` that belongs to no tier of its policy; nothing ever deletes it.
    pub unmanaged: SnapshotUsage,
    /// The due times of which a backup should still be stored and none can be restored, oldest first: those of the last
    /// 35 days, since the first backup there is, that are among the newest `keep` ones of a tier. Those that may still get
    /// a backup are not among them.
    pub gaps: Vec<DateTime<FixedOffset>>,
    pub next_due: Vec<NextDue>,
    pub notes: Vec<Note>,
}

/// How a VM stands with one tier of its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierHealth {
    pub tier: Name,
    /// When the newest restorable backup of just this tier was taken.
    pub newest: Option<DateTime<Utc>>,
    /// Whether the backup that was due last exists or is in progress. A coarser tier's backup counts as well.
    pub is_up_to_date: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NextDue {
    pub tier: Name,
    pub at: DateTime<FixedOffset>,
}

/// Whether the VM could be restored from a recent enough backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupHealth {
    /// Its newest restorable backup is no older than `max_age`.
    Safe,
    TooOld,
    NoBackup,
    /// Two policies claim it, so nothing is done to it.
    Conflict,
    /// It could not be read whole, so nothing is known.
    Unreadable,
    #[default]
    Unprotected,
}

impl BackupHealth {
    /// Says whether the VM needs attention. A VM without a policy does not.
    pub fn is_out(self) -> bool {
        match self {
            Self::Safe | Self::Unprotected => false,
            Self::TooOld | Self::NoBackup | Self::Conflict | Self::Unreadable => true,
        }
    }
}

/// A restorable backup with what restoring it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewestBackup {
    pub backup: BackupId,
    /// Its tier; `None` for a manual backup.
    pub tier: Option<Name>,
    /// When it was taken, in the policy's zone.
    pub taken: DateTime<FixedOffset>,
    pub age_secs: i64,
    /// The number of stored backups to fetch when no snapshot is left on the hypervisor.
    pub steps: usize,
    /// Their total size in bytes; `None` when the size of one is unknown.
    pub size_bytes: Option<u64>,
}

/// Looks over VMs, one at a time.
#[derive(Debug, Default)]
pub struct HealthBuilder(Vec<VmHealth>);

impl HealthBuilder {
    pub fn add(&mut self, vm: &Vm, DecidedVm { plan, judged }: DecidedVm<'_>) {
        self.0.push(match judged {
            Some(judged) => under_policy(plan, &judged),
            None => without_policy(plan, Some(vm)),
        });
    }

    /// Forgets a VM, which turned out not to be known, and returns its alias.
    pub fn forget(&mut self, vm: VmId) -> Option<String> {
        let place = self.0.iter().position(|known| known.uuid == Some(vm))?;
        Some(self.0.swap_remove(place).alias)
    }

    /// Makes the health of these VMs, in whatever order they are, and of those that could not be read.
    pub fn finish(self, planner: &Planner<'_>, endpoint: &str, unreadable: &[UnreadableVm]) -> Health {
        let mut vms = self.0;
        vms.extend(unreadable.iter().map(|vm| without_policy(plan::unreadable(vm), None)));
        vms.sort_unstable_by(|a, b| {
            plan::sort_key(&a.alias, a.uuid, &a.notes).cmp(&plan::sort_key(&b.alias, b.uuid, &b.notes))
        });
        let (at, timezone) = (planner.request().now, planner.timezone());
        Health { at, endpoint: endpoint.to_owned(), timezone, vms }
    }
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

fn without_policy(planned: VmPlan, vm: Option<&Vm>) -> VmHealth {
    let verdict = match planned.status {
        Status::Unreadable => BackupHealth::Unreadable,
        Status::Conflict => BackupHealth::Conflict,
        _ => BackupHealth::Unprotected,
    };
    VmHealth {
        uuid: planned.uuid,
        alias: planned.alias,
        hypervisor: vm.and_then(|vm| vm.hypervisor.clone()),
        verdict,
        status: planned.status,
        local: SnapshotUsage::of(vm.iter().flat_map(|vm| vm.backups.values())),
        unmanaged: planned.unmanaged,
        notes: planned.notes,
        ..VmHealth::default()
    }
}

fn under_policy(planned: VmPlan, judged: &JudgedVm<'_>) -> VmHealth {
    let JudgedVm { view, occurrences } = judged;
    let (vm, policy) = (view.vm, view.policy);
    let newest = view.newest_restorable().and_then(|newest| {
        let chain = chain_of(&vm.backups, newest.id())?;
        Some(NewestBackup {
            backup: newest.id(),
            tier: newest.tier.map(|tier| view.tier(tier).name.clone()),
            taken: view.zone.moment(newest.taken),
            age_secs: (view.now - newest.taken).num_seconds().max(0),
            steps: chain.steps.len(),
            size_bytes: chain.size_bytes(),
        })
    });
    let max_age_secs = policy.max_age.num_seconds();
    let verdict = match &newest {
        None => BackupHealth::NoBackup,
        Some(newest) if newest.age_secs > max_age_secs => BackupHealth::TooOld,
        Some(_) => BackupHealth::Safe,
    };
    VmHealth {
        policy: Some(policy.name.clone()),
        verdict,
        tiers: tiers(judged),
        is_suspended: planned.is_suspended(),
        newest,
        max_age_secs: Some(max_age_secs),
        gaps: gaps(view, occurrences),
        next_due: next_due(view, occurrences),
        ..without_policy(planned, Some(vm))
    }
}

fn tiers(JudgedVm { view, occurrences }: &JudgedVm<'_>) -> Vec<TierHealth> {
    let missing = unsatisfied(view, occurrences);
    let of_tier = |index| view.restorable().rev().find(|backup| backup.tier == Some(index));
    let tiers = view.policy.tiers.iter().enumerate().map(|(index, tier)| TierHealth {
        tier: tier.name.clone(),
        newest: of_tier(index).map(|backup| backup.taken),
        is_up_to_date: missing.iter().all(|(tier, _)| *tier != index),
    });
    tiers.collect()
}

pub(super) fn next_due(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Vec<NextDue> {
    let tiers = view.policy.tiers.iter().enumerate();
    let due = tiers.filter_map(|(index, tier)| {
        let at = view.zone.moment(occurrences.next(index, view.vm.id)?);
        Some(NextDue { tier: tier.name.clone(), at })
    });
    due.collect()
}

/// Finds the due times of a tier before whose next one no restorable backup of it or a coarser one was taken.
///
/// Only as many of a tier's newest due times count as it keeps backups: older ones expired as intended. So did the backup of a
/// coarser tier that was due about then, and may have done for this one as well.
fn gaps(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Vec<DateTime<FixedOffset>> {
    let managed = view.restorable().filter_map(|backup| Some((backup.tier?, backup.taken)));
    let managed: Vec<(TierIndex, DateTime<Utc>)> = managed.collect();
    let Some((_, first)) = managed.first() else { return Vec::new() };
    let since = (*first).max(occurrences.now() - RECENT);
    let mut gaps: BTreeSet<DateTime<Utc>> = BTreeSet::new();
    // The due times of coarser tiers that these no longer keep a backup of.
    let mut expired: Vec<DateTime<Utc>> = Vec::new();
    for (tier, rules) in view.policy.tiers.iter().enumerate() {
        let due = occurrences.recent(tier, view.vm.id, since);
        let keep = rules.keep.map_or(usize::MAX, |keep| usize::try_from(keep.get()).unwrap_or(usize::MAX));
        let kept_from = due.len().saturating_sub(keep);
        let mut taken = managed.iter().filter(|(own, _)| *own <= tier).map(|(_, taken)| *taken).peekable();
        // The last due time has no next one: its backup may still be made.
        for at in kept_from..due.len().saturating_sub(1) {
            let (began, ended) = (due[at], due[at + 1]);
            let before = at.checked_sub(1).map_or(since, |at| due[at]);
            while taken.next_if(|taken| *taken < began).is_some() {}
            let is_made = taken.peek().is_some_and(|taken| *taken < ended);
            if !is_made && !expired.iter().any(|other| before < *other && *other < ended) {
                gaps.insert(began);
            }
        }
        expired.extend(&due[..kept_from]);
    }
    gaps.into_iter().map(|began| view.zone.moment(began)).collect()
}
