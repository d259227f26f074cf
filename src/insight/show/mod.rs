//! Why each backup of a VM is kept, by the reasons that the plan is made from ([`keep`](crate::plan::keep)): the data of `show`. A
//! snapshot without a reason is exactly what the plan deletes.

mod reasons;
mod timeline;

use super::status::{NextDue, next_due};
use super::storage::{TierStorage, tier_storage};
pub use crate::inventory::Restore;
use crate::inventory::{BackupId, Backups, Inventory, LocalState, RecordedState, Vm, VmId, along_chains};
use crate::plan::due::Occurrences;
use crate::plan::keep::Keeps;
pub use crate::plan::standing::Standing;
use crate::plan::standing::VmView;
use crate::plan::{Action, BackupKind, Expired, Note, Plan, PruneHold, Request, VmPlan};
use crate::policy::{Name, Policies, Zone};
use crate::simulate::expiry_dates;
use chrono::{DateTime, FixedOffset, Utc};
pub use reasons::Reason;
use reasons::Reasons;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use timeline::timeline;
pub use timeline::{DueOutcome, PastDue};

/// The backups of some VMs at an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub at: DateTime<Utc>,
    pub endpoint: String,
    pub timezone: String,
    pub vms: Vec<VmExplanation>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VmExplanation {
    /// Its UUID; `None` only where not even that could be read.
    pub uuid: Option<VmId>,
    pub alias: String,
    pub policy: Option<Name>,
    pub is_suspended: bool,
    /// Its backups, each before those that are taken from it, and else the older one first.
    pub backups: Vec<BackupExplanation>,
    /// What each tier of its policy holds in storage, coarsest first.
    pub tiers: Vec<TierStorage>,
    /// When each tier of its policy is due next, coarsest first.
    pub next_due: Vec<NextDue>,
    /// What became of each due time of the last 35 days, tier by tier, coarsest first.
    pub timeline: Vec<PastDue>,
    pub notes: Vec<Note>,
}

/// One backup, with why it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupExplanation {
    pub backup: BackupId,
    /// The backup it is an increment on, whether or not that is still there.
    pub parent: Option<BackupId>,
    /// The number of steps from the start of its chain, which may be hundreds long: so the list is flat.
    pub depth: usize,
    pub tier: Option<String>,
    pub comment: Option<String>,
    /// When it was taken, in the policy's zone, or UTC where there is no policy.
    pub taken: Option<DateTime<FixedOffset>>,
    /// Full or incremental, as its record says.
    #[serde(rename = "type")]
    pub kind: BackupKind,
    pub standing: Standing,
    pub is_future_dated: bool,
    /// What restoring it fetches from storage; `None` when it cannot be restored from there.
    pub restore: Option<Restore>,
    pub size_bytes: Option<u64>,
    pub local: LocalCopy,
    pub stored: StoredCopy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LocalCopy {
    /// Whether the hypervisor holds it, as far as the record says.
    pub is_held: bool,
    /// The bytes it holds there; `None` when FiFo has not measured them.
    pub size_bytes: Option<u64>,
    /// Why it stays; `None` where there is none, or none that is wanted.
    #[serde(serialize_with = "as_list")]
    pub kept_for: Option<Reason>,
    pub delete: Option<DeleteWhen>,
}

/// When the plan deletes a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteWhen {
    Now,
    AfterCreate,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoredCopy {
    /// Why it stays; `None` when it has expired.
    #[serde(serialize_with = "as_list")]
    pub kept_for: Option<Reason>,
    pub is_expired: bool,
    /// When it expires if every backup that is due until then succeeds; `None` where it has expired, that is more than 400
    /// days away, or [was not asked for](enter_expiry_dates).
    pub not_before: Option<DateTime<FixedOffset>>,
    pub prune: Option<PruneOutlook>,
}

/// What becomes of an expired backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PruneOutlook {
    pub code: &'static str,
    /// The whole of it, for people.
    pub message: String,
}

impl PruneOutlook {
    fn deleted(reason: &str) -> Self {
        Self { code: "deleted", message: format!("{reason}; the next run with --prune deletes it") }
    }

    fn held(hold: PruneHold) -> Self {
        let (code, why) = match hold {
            PruneHold::NotAllowed => {
                ("not_allowed", "nothing deletes it without `prune: true` in its policy")
            }
            PruneHold::NotRequested => ("not_requested", "a run with --prune deletes it"),
            PruneHold::CannotBackUp => ("cannot_back_up", ""),
            PruneHold::NewestTooOld => ("newest_too_old", ""),
            PruneHold::UnknownParent => ("unknown_parent", ""),
            PruneHold::OverLimit(..) => ("over_prune_limit", ""),
            PruneHold::NotYet => (
                "not_yet",
                "not deleted yet: it, or what descends from it, holds a snapshot or is less than an hour old",
            ),
        };
        let why = if why.is_empty() { hold.to_string() } else { why.to_owned() };
        Self { code, message: format!("expired: no longer wanted; {why}") }
    }

    pub fn is_deleted(&self) -> bool {
        self.code == "deleted"
    }
}

/// Writes one reason or none as a list.
fn as_list<S: Serializer>(reason: &Option<Reason>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reason)
}

/// Explains the backups of a plan's VMs by the inventory, policies and request that the plan was made from.
pub fn explain(plan: &Plan, policies: &Policies, inventory: &Inventory, request: Request) -> Explanation {
    let vms = plan.vms.iter().map(|planned| {
        let vm = planned.uuid.and_then(|id| inventory.vms.get(&id)).filter(|_| planned.fingerprint.is_some());
        let view = vm.and_then(|vm| {
            let policy = policies.policy_for(vm).one()?;
            Some(VmView::one_of(vm, policies, policy, request))
        });
        let keeps = view.as_ref().map(Keeps::of);
        let occurrences = view.as_ref().map(|view| Occurrences::new(view.policy, request.due_at));
        let (under, due) = (view.as_ref().zip(keeps.as_ref()), view.as_ref().zip(occurrences.as_ref()));
        VmExplanation {
            uuid: planned.uuid,
            alias: planned.alias.clone(),
            policy: planned.policy.clone(),
            is_suspended: planned.is_suspended(),
            backups: vm.map_or_else(Vec::new, |vm| backups(vm, planned, under)),
            tiers: under.map_or_else(Vec::new, |(view, keeps)| tier_storage(view, keeps)),
            next_due: due.map_or_else(Vec::new, |(view, occurrences)| next_due(view, occurrences)),
            timeline: due.map_or_else(Vec::new, |(view, occurrences)| timeline(view, occurrences)),
            notes: planned.notes.iter().filter(|note| note.backup.is_none()).cloned().collect(),
        }
    });
    let (endpoint, timezone) = (plan.endpoint.clone(), plan.timezone.clone());
    Explanation { at: plan.at, endpoint, timezone, vms: vms.collect() }
}

/// Explains a VM's backups by the one policy that holds for it. Without one only the states that FiFo reports are known.
fn backups(vm: &Vm, planned: &VmPlan, under: Option<(&VmView<'_>, &Keeps)>) -> Vec<BackupExplanation> {
    let utc = Zone::UTC;
    let zone = under.map_or(&utc, |(view, _)| view.zone);
    let reasons = under.map(|(view, keeps)| Reasons { view, keeps });
    let hold = under.map(|(view, keeps)| Expired::of(view, keeps).hold);
    let restores = along_chains(&vm.backups, (Restore::NOTHING, true), |at, (below, is_good)| {
        let backup = &vm.backups[at];
        let is_good = is_good && backup.state == RecordedState::Completed && backup.timestamp.is_some();
        Some((below.and(backup.size_bytes(), backup.local == LocalState::Present), is_good))
    });
    let deletes = planned.actions.iter().filter_map(Action::as_local_delete).filter_map(|delete| {
        let when = if delete.after_create { DeleteWhen::AfterCreate } else { DeleteWhen::Now };
        Some((delete.backup?, when))
    });
    let deletes: BTreeMap<BackupId, DeleteWhen> = deletes.collect();
    let pruned = planned.actions.iter().filter_map(Action::as_cloud_delete);
    let pruned: BTreeMap<BackupId, &str> = pruned.map(|it| (it.backup, it.reason.as_str())).collect();
    let explain = |(depth, at): (usize, usize)| {
        let backup = &vm.backups[at];
        let judged = under.and_then(|(view, _)| view.get(backup.id));
        let standing = match (judged, &backup.state) {
            (Some(judged), _) => judged.standing,
            _ if backup.timestamp.is_none() => Standing::Unreadable,
            (_, RecordedState::Completed) if restores[at].is_some_and(|(_, is_good)| is_good) => {
                Standing::Restorable
            }
            (_, RecordedState::Completed) => Standing::Unrestorable,
            (_, RecordedState::Failed) => Standing::Failed,
            _ => Standing::InProgress,
        };
        let is_held = backup.holds_snapshot();
        let (local, stored) = match &reasons {
            Some(reasons) => (reasons.local(at), reasons.stored(at)),
            None => (is_held.then(Reason::no_policy), Some(Reason::no_policy())),
        };
        let prune = hold.filter(|_| stored.is_none()).map(|hold| match pruned.get(&backup.id) {
            Some(&reason) => PruneOutlook::deleted(reason),
            None => PruneOutlook::held(hold),
        });
        let tier = judged.and_then(|judged| judged.tier).zip(under);
        BackupExplanation {
            backup: backup.id,
            parent: backup.parent,
            depth,
            tier: tier.map(|(tier, (view, _))| view.tier(tier).name.to_string()),
            comment: backup.comment.as_deref().map(str::to_owned),
            taken: backup.timestamp.map(|taken| zone.moment(taken)),
            kind: if backup.parent.is_some() { BackupKind::Incremental } else { BackupKind::Full },
            standing,
            is_future_dated: judged.is_some_and(|judged| judged.is_future_dated),
            restore: restores[at].map(|it| it.0).filter(|_| standing == Standing::Restorable),
            size_bytes: backup.size_bytes(),
            local: LocalCopy {
                is_held,
                size_bytes: backup.local_size_bytes.filter(|_| is_held),
                kept_for: local,
                delete: deletes.get(&backup.id).copied(),
            },
            stored: StoredCopy { is_expired: stored.is_none(), kept_for: stored, not_before: None, prune },
        }
    };
    in_chains(&vm.backups).into_iter().map(explain).collect()
}

/// Lists each backup, by its [position](Backups::position), before those that are taken from it, and else the older one
/// first, with how far below the beginning of its chain it stands. What hangs on something missing begins a chain; so does
/// the oldest one of a loop.
fn in_chains(backups: &Backups) -> Vec<(usize, usize)> {
    // Positions are in the order of UUIDs, which decides on a tie.
    let mut by_age: Vec<usize> = (0..backups.len()).collect();
    by_age.sort_by_key(|&at| backups[at].timestamp);
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); backups.len()];
    for &at in &by_age {
        backups.parent_position(at).into_iter().for_each(|parent| children[parent].push(at));
    }
    let is_first = |&at: &usize| backups.parent_position(at).is_none();
    let (first, others): (Vec<usize>, Vec<usize>) = by_age.into_iter().partition(is_first);
    let mut is_listed = vec![false; backups.len()];
    let mut lines = Vec::with_capacity(backups.len());
    // Of the others only the members of loops are left by then.
    for begin in first.into_iter().chain(others) {
        let mut open = vec![(0, begin)];
        while let Some((depth, at)) = open.pop() {
            if !std::mem::replace(&mut is_listed[at], true) {
                lines.push((depth, at));
                open.extend(children[at].iter().rev().map(|&child| (depth + 1, child)));
            }
        }
    }
    lines
}

/// Enters when backups expire, as a simulation finds it.
pub fn enter_expiry_dates(explained: &mut Explanation, policies: &Policies, inventory: &Inventory) {
    for vm in &mut explained.vms {
        let Some(known) = vm.uuid.and_then(|id| inventory.vms.get(&id)) else { continue };
        let Some(policy) = policies.policy_for(known).one() else { continue };
        let dates = expiry_dates(known, policy, explained.at);
        for backup in &mut vm.backups {
            let date = dates.get(&backup.backup);
            backup.stored.not_before = date.map(|date| policies.display_zone().moment(*date));
        }
    }
}
