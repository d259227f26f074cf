//! The health of each VM's backups against its policy: the data of `status`.

mod overview;

pub use overview::{Overview, OverviewBuilder, TierHealth};

use crate::inventory::{BackupId, Vm, VmId, chain_of};
use crate::plan::due::{Occurrences, RECENT};
use crate::plan::standing::VmView;
use crate::plan::{JudgedVm, Note, SnapshotUsage, Status, VmPlan};
use crate::policy::{Name, TierIndex};
use chrono::{DateTime, FixedOffset, Utc};
use serde::Serialize;
use std::collections::BTreeSet;

/// The health of all VMs at an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    pub at: DateTime<Utc>,
    pub endpoint: String,
    /// The IANA name of the zone in which times are shown.
    pub timezone: String,
    /// The VMs, by alias, then UUID.
    pub vms: Vec<VmHealth>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VmHealth {
    /// Its UUID; `None` only where not even that could be read.
    pub uuid: Option<VmId>,
    pub alias: String,
    /// The UUID of the hypervisor it is on, as FiFo writes it; `None` where it is on none, or that could not be read.
    pub hypervisor: Option<String>,
    /// The policy that it belongs to; `None` for none or several.
    pub policy: Option<Name>,
    pub verdict: BackupHealth,
    /// Whether its policy is suspended for it. Its backups grow old all the same.
    pub is_suspended: bool,
    /// The newest backup that can be restored.
    pub newest: Option<NewestBackup>,
    /// The policy's `max_age`, in seconds.
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NextDue {
    pub tier: Name,
    /// In the policy's zone.
    pub at: DateTime<FixedOffset>,
}

/// Whether the VM could be restored from a recent enough backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupHealth {
    /// Its newest restorable backup is no older than `max_age`.
    Safe,
    TooOld,
    /// None can be restored.
    NoBackup,
    /// Two policies claim it, so nothing is done to it.
    Conflict,
    /// It could not be read whole, so nothing is known.
    Unreadable,
    /// It matches no policy.
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

/// Judges a VM by what its plan was decided by.
fn vm_health(vm: &Vm, planned: VmPlan, judged: Option<&JudgedVm<'_>>) -> VmHealth {
    match (judged, planned.status) {
        (Some(judged), _) => under_policy(planned, judged),
        (None, Status::Conflict) => without_policy(planned, Some(vm), BackupHealth::Conflict),
        (None, _) => without_policy(planned, Some(vm), BackupHealth::Unprotected),
    }
}

fn without_policy(planned: VmPlan, vm: Option<&Vm>, verdict: BackupHealth) -> VmHealth {
    VmHealth {
        uuid: planned.uuid,
        alias: planned.alias,
        hypervisor: vm.and_then(|vm| vm.hypervisor.clone()),
        policy: None,
        verdict,
        is_suspended: false,
        newest: None,
        max_age_secs: None,
        local: SnapshotUsage::of(vm.iter().flat_map(|vm| vm.backups.values())),
        unmanaged: planned.unmanaged,
        gaps: Vec::new(),
        next_due: Vec::new(),
        notes: planned.notes,
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
        is_suspended: planned.is_suspended(),
        newest,
        max_age_secs: Some(max_age_secs),
        gaps: gaps(view, occurrences),
        next_due: next_due(view, occurrences),
        ..without_policy(planned, Some(vm), verdict)
    }
}

pub(super) fn next_due(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Vec<NextDue> {
    let tiers = view.policy.tiers.iter().enumerate();
    let due = tiers.filter_map(|(index, tier)| {
        let at = view.zone.moment(occurrences.next(index, view.vm.id)?);
        Some(NextDue { tier: tier.name.clone(), at })
    });
    due.collect()
}

/// Finds the due times of a tier that nothing has satisfied: no backup of it or a coarser one that can be restored was taken before
/// its next due time.
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
