//! Why each backup of a VM is kept: the data of `show`.
//!
//! The reasons are those that the plan is made from ([`keep`](crate::plan::keep));
//! nothing is decided here. A snapshot without a reason is exactly what the plan deletes: a test holds this over thousands of
//! clouds.

mod reasons;
mod timeline;
mod tree;

use super::status::{NextDue, next_due};
use super::storage::{TierStorage, tier_storage};
use crate::inventory::{
    Backup, BackupId, Backups, Inventory, LocalState, RecordedState, Vm, VmId, restorable,
};
use crate::plan::due::Occurrences;
use crate::plan::keep::Keeps;
use crate::plan::standing::{BackupView, Standing, VmView};
use crate::plan::{Action, BackupKind, Expired, Note, Plan, PruneHold, Request, VmPlan};
use crate::policy::{Match, Name, Policies};
use crate::simulate::expiry_dates;
use chrono::{DateTime, FixedOffset, Utc};
pub use reasons::Reason;
use reasons::Reasons;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use timeline::timeline;
pub use timeline::{DueOutcome, PastDue};
use tree::in_chains;

/// The backups of some VMs at an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub at: DateTime<Utc>,
    pub endpoint: String,
    /// The IANA name of the zone in which times are shown.
    pub timezone: String,
    /// The VMs, by alias, then UUID.
    pub vms: Vec<VmExplanation>,
}

/// One VM with its backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VmExplanation {
    /// Its UUID; `None` only where not even that could be read.
    pub uuid: Option<VmId>,
    /// Its alias; may be empty.
    pub alias: String,
    /// The policy it belongs to.
    pub policy: Option<Name>,
    /// Whether a suspension holds its actions back.
    pub is_suspended: bool,
    /// Its backups, each before those that are taken from it, and else the older one first.
    pub backups: Vec<BackupExplanation>,
    /// What each tier of its policy holds in storage, coarsest first.
    pub tiers: Vec<TierStorage>,
    /// When each tier of its policy is due next, coarsest first.
    pub next_due: Vec<NextDue>,
    /// What became of each due time of the last 35 days, tier by tier, coarsest first.
    pub timeline: Vec<PastDue>,
    /// The notes on the VM itself.
    pub notes: Vec<Note>,
}

/// One backup, with why it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupExplanation {
    pub backup: BackupId,
    /// The backup it is an increment on, whether or not that is still there.
    pub parent: Option<BackupId>,
    /// The number of steps from the start of its chain. The list is flat and not nested, since a chain may
    /// be hundreds long.
    pub depth: usize,
    /// Its tier; `None` for one of no tier.
    pub tier: Option<String>,
    pub comment: Option<String>,
    /// When it was taken, in the policy's zone, or UTC where there is no policy.
    pub taken: Option<DateTime<FixedOffset>>,
    /// Full or incremental, as its record says.
    #[serde(rename = "type")]
    pub kind: BackupKind,
    /// The state of the backup and of the chain that it depends on.
    pub standing: ReportedStanding,
    /// Whether its timestamp is too far ahead to be plausible.
    pub is_future_dated: bool,
    /// What restoring it fetches from storage; `None` when it cannot be restored from there.
    pub restore: Option<Restore>,
    /// The stored bytes; `None` when that is not known.
    pub size_bytes: Option<u64>,
    /// Its snapshot on the hypervisor.
    pub local: LocalCopy,
    /// Its copy in storage.
    pub stored: StoredCopy,
}

/// The state of a backup, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportedStanding {
    /// Complete, and so is all that it depends on.
    Restorable,
    /// Complete itself, but something that it depends on is missing or not complete.
    Unrestorable,
    /// FiFo says that it failed.
    Failed,
    /// FiFo says that it completed, and it is next to empty.
    Hollow,
    /// It has been running for longer than it may.
    Stuck,
    /// In progress.
    InProgress,
    /// FiFo says that it completed, without the size or checksum of one of its files, which an earlier backup has.
    Unverified,
    /// Its record has no timestamp: the remains of one that was deleted while it uploaded.
    Unreadable,
}

/// What a restore fetches, one backup after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Restore {
    /// The number of backups, when no snapshot is left on the hypervisor.
    pub steps: usize,
    /// Their total size in bytes; `None` when the size of one is unknown.
    pub size_bytes: Option<u64>,
    /// The number of backups now: FiFo stops at the first one whose snapshot is there. 0 is a rollback.
    pub steps_now: usize,
}

/// A backup's snapshot on the hypervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LocalCopy {
    /// Whether the hypervisor holds it, as far as the record says.
    pub is_held: bool,
    /// The bytes it holds there; `None` when FiFo has not measured them.
    pub size_bytes: Option<u64>,
    /// Why it stays; `None` where there is none, or none that is wanted.
    #[serde(serialize_with = "as_list")]
    pub kept_for: Option<Reason>,
    /// When the plan deletes it; `None` when it does not.
    pub delete: Option<DeleteWhen>,
}

/// When the plan deletes a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteWhen {
    /// With the next run.
    Now,
    /// Once the VM's next backup has completed and been checked.
    AfterCreate,
}

/// A backup's copy in storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoredCopy {
    /// Why it stays; `None` when it has expired.
    #[serde(serialize_with = "as_list")]
    pub kept_for: Option<Reason>,
    /// Whether retention no longer needs it.
    pub is_expired: bool,
    /// When it expires if every backup that is due until then succeeds; `None` where it has expired, that is more than 400
    /// days away, or [was not asked for](enter_expiry_dates).
    pub not_before: Option<DateTime<FixedOffset>>,
    /// What becomes of it once it has expired.
    pub prune: Option<PruneOutlook>,
}

/// What becomes of an expired backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PruneOutlook {
    /// The code that stands for it.
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
            PruneHold::OverLimit => ("over_prune_limit", ""),
            PruneHold::NotYet => (
                "not_yet",
                "not deleted yet: it, or what descends from it, holds a snapshot or is less than an hour old",
            ),
        };
        let why = if why.is_empty() { hold.to_string() } else { why.to_owned() };
        Self { code, message: format!("expired: no longer wanted; {why}") }
    }

    /// Says whether the next run with `--prune` deletes it.
    pub fn is_deleted(&self) -> bool {
        self.code == "deleted"
    }
}

/// Writes one reason or none as a list.
fn as_list<S: Serializer>(reason: &Option<Reason>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reason)
}

/// Explains the backups of a plan's VMs by the inventory and policies that the plan was made from.
///
/// The request is that of the plan.
pub fn explain(plan: &Plan, policies: &Policies, inventory: &Inventory, request: Request) -> Explanation {
    let vms = plan.vms.iter().map(|planned| {
        let vm = planned.uuid.and_then(|id| inventory.vms.get(&id)).filter(|_| planned.fingerprint.is_some());
        let (backups, tiers, next_due, timeline) = vm
            .map(|vm| match policies.policy_for(vm) {
                Match::One(policy) => {
                    let occurrences = Occurrences::new(policy, request.due_at);
                    let view = VmView::one_of(vm, policies, policy, request);
                    let keeps = Keeps::of(&view);
                    let backups = under_policy(planned, &view, &keeps);
                    let timeline = timeline(&view, &occurrences);
                    (backups, tier_storage(&view, &keeps), next_due(&view, &occurrences), timeline)
                }
                Match::Unprotected | Match::Conflict(_) => {
                    (without_policy(vm), Vec::new(), Vec::new(), Vec::new())
                }
            })
            .unwrap_or_default();
        VmExplanation {
            uuid: planned.uuid,
            alias: planned.alias.clone(),
            policy: planned.policy.clone(),
            is_suspended: planned.is_suspended(),
            backups,
            tiers,
            next_due,
            timeline,
            notes: planned.notes.iter().filter(|note| note.backup.is_none()).cloned().collect(),
        }
    });
    Explanation {
        at: plan.at,
        endpoint: plan.endpoint.clone(),
        timezone: plan.timezone.clone(),
        vms: vms.collect(),
    }
}

fn under_policy(planned: &VmPlan, view: &VmView<'_>, keeps: &Keeps) -> Vec<BackupExplanation> {
    let vm = view.vm;
    let reasons = Reasons::of(view, keeps);
    let lines = in_chains(&vm.backups);
    let restores = restores(&vm.backups, &lines);
    let mut deletes: Vec<Option<DeleteWhen>> = vec![None; vm.backups.len()];
    for (backup, when) in planned.actions.iter().filter_map(delete_of) {
        if let Some(at) = vm.backups.position(backup) {
            deletes[at] = Some(when);
        }
    }
    let cloud_deletes = planned.actions.iter().filter_map(Action::as_cloud_delete);
    let pruned: BTreeMap<BackupId, &str> =
        cloud_deletes.map(|delete| (delete.backup, delete.reason.as_str())).collect();
    let hold = Expired::of(view, keeps).hold;
    let outlook = |id| match pruned.get(&id) {
        Some(&reason) => PruneOutlook::deleted(reason),
        None => PruneOutlook::held(hold),
    };
    lines
        .into_iter()
        .map(|(depth, at)| {
            let backup = &vm.backups[at];
            let judged = reasons.judged(at);
            let standing = judged.map_or(ReportedStanding::Unreadable, standing);
            let stored = reasons.stored(at);
            BackupExplanation {
                depth,
                tier: judged.and_then(|judged| judged.tier).map(|tier| view.tier(tier).name.to_string()),
                taken: backup.timestamp.map(|taken| view.zone.moment(taken)),
                is_future_dated: judged.is_some_and(|judged| judged.is_future_dated),
                local: LocalCopy { kept_for: reasons.local(at), delete: deletes[at], ..held(backup) },
                stored: StoredCopy {
                    is_expired: stored.is_none(),
                    not_before: None,
                    prune: stored.is_none().then(|| outlook(backup.id)),
                    kept_for: stored,
                },
                ..recorded(backup, standing, restores[at])
            }
        })
        .collect()
}

/// Enters when backups expire, as a simulation finds it.
pub fn enter_expiry_dates(explained: &mut Explanation, policies: &Policies, inventory: &Inventory) {
    let at = explained.at;
    for vm in &mut explained.vms {
        let Some(known) = vm.uuid.and_then(|id| inventory.vms.get(&id)) else { continue };
        let Match::One(policy) = policies.policy_for(known) else { continue };
        let dates = expiry_dates(known, policy, at);
        for backup in &mut vm.backups {
            let date = dates.get(&backup.backup);
            backup.stored.not_before = date.map(|date| policies.display_zone().moment(*date));
        }
    }
}

fn delete_of(action: &Action) -> Option<(BackupId, DeleteWhen)> {
    let delete = action.as_local_delete()?;
    let when = if delete.after_create { DeleteWhen::AfterCreate } else { DeleteWhen::Now };
    Some((delete.backup?, when))
}

fn standing(judged: &BackupView<'_>) -> ReportedStanding {
    match judged.standing {
        Standing::Completed if judged.restorable => ReportedStanding::Restorable,
        Standing::Completed => ReportedStanding::Unrestorable,
        Standing::Failed => ReportedStanding::Failed,
        Standing::Hollow => ReportedStanding::Hollow,
        Standing::Stuck => ReportedStanding::Stuck,
        Standing::InProgress => ReportedStanding::InProgress,
        Standing::Unverified => ReportedStanding::Unverified,
    }
}

/// Without a policy only the states that FiFo reports are known, and no action is ever planned.
fn without_policy(vm: &Vm) -> Vec<BackupExplanation> {
    let is_good = |backup: &Backup| backup.state == RecordedState::Completed && backup.timestamp.is_some();
    let is_good: Vec<bool> = vm.backups.values().map(is_good).collect();
    let restorable = restorable(&vm.backups, &is_good);
    let lines = in_chains(&vm.backups);
    let restores = restores(&vm.backups, &lines);
    lines
        .into_iter()
        .map(|(depth, at)| {
            let backup = &vm.backups[at];
            let standing = match backup.state {
                _ if backup.timestamp.is_none() => ReportedStanding::Unreadable,
                RecordedState::Completed if restorable[at] => ReportedStanding::Restorable,
                RecordedState::Completed => ReportedStanding::Unrestorable,
                RecordedState::Failed => ReportedStanding::Failed,
                RecordedState::Accepted | RecordedState::Uploading | RecordedState::Other(_) => {
                    ReportedStanding::InProgress
                }
            };
            let held = held(backup);
            let kept_for = held.is_held.then(Reason::no_policy);
            BackupExplanation {
                depth,
                local: LocalCopy { kept_for, ..held },
                stored: StoredCopy { kept_for: Some(Reason::no_policy()), ..StoredCopy::default() },
                ..recorded(backup, standing, restores[at])
            }
        })
        .collect()
}

fn held(backup: &Backup) -> LocalCopy {
    let is_held = backup.holds_snapshot();
    LocalCopy {
        is_held,
        size_bytes: backup.local_size_bytes.filter(|_| is_held),
        kept_for: None,
        delete: None,
    }
}

/// Works out what a restore of each backup that leads back to a full one fetches, by position, from the backups in the
/// order of their chains.
fn restores(backups: &Backups, lines: &[(usize, usize)]) -> Vec<Option<Restore>> {
    let mut restores: Vec<Option<Restore>> = vec![None; backups.len()];
    // In that order a parent comes before what is taken from it; one that has none here has no full one either.
    for &(_, at) in lines {
        let backup = &backups[at];
        let below = match backup.parent {
            None => Some(Restore { steps: 0, size_bytes: Some(0), steps_now: 0 }),
            Some(_) => backups.parent_position(at).and_then(|parent| restores[parent]),
        };
        let Some(below) = below else { continue };
        let size_bytes = below.size_bytes.zip(backup.size_bytes()).map(|(sum, own)| sum.saturating_add(own));
        let steps_now = if backup.local == LocalState::Present { 0 } else { below.steps_now + 1 };
        restores[at] = Some(Restore { steps: below.steps + 1, size_bytes, steps_now });
    }
    restores
}

/// Returns the state that the record alone shows.
fn recorded(backup: &Backup, standing: ReportedStanding, restore: Option<Restore>) -> BackupExplanation {
    BackupExplanation {
        backup: backup.id,
        parent: backup.parent,
        depth: 0,
        tier: None,
        comment: backup.comment.as_deref().map(str::to_owned),
        taken: backup.timestamp.map(|taken| taken.fixed_offset()),
        kind: if backup.parent.is_some() { BackupKind::Incremental } else { BackupKind::Full },
        standing,
        is_future_dated: false,
        restore: restore.filter(|_| standing == ReportedStanding::Restorable),
        size_bytes: backup.size_bytes(),
        local: held(backup),
        stored: StoredCopy::default(),
    }
}
