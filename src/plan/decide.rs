//! The decision for one VM.

use super::changeset::{
    Action, BackupKind, Create, DeleteCloud, DeleteLocal, SnapshotUsage, Status, SuspendedUntil, VmPlan,
};
use super::due::{Attempts, Occurrences, attempts, cannot_back_up, unsatisfied};
use super::fingerprint::fingerprint;
use super::last_kept::last_kept;
use super::local::unwanted_locally;
use super::note::{FailedAttempts, Note, NoteKind};
use super::notes::{backup_notes, name_of, vm_note};
use super::parent::{parent_for, yields_empty_increment};
use super::projection;
use super::prune::Expired;
use super::reason::{Attempt, CreateReason, DeleteReason};
use super::standing::{BackupView, VmView};
use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use crate::policy::{Match, MissingParent, Policies, Policy, TierIndex};
use chrono::{DateTime, Utc};
use std::collections::HashSet;
use uuid::Uuid;

/// The placeholder UUID of the backup to be created: the greatest, so that it wins every tie as the newest.
const NEW_BACKUP: BackupId = BackupId::new(Uuid::max());

/// Decides what is to be done to one VM.
pub fn decide(vm: &Vm, policies: &Policies, now: DateTime<Utc>) -> VmPlan {
    match policies.policy_for(vm) {
        Match::One(policy) => decide_under(vm, policy, &Occurrences::new(policy, now)),
        Match::Unprotected => unprotected(vm),
        Match::Conflict(policies) => conflict(vm, &policies),
    }
}

/// Returns the plan of a VM in no policy.
pub(super) fn unprotected(vm: &Vm) -> VmPlan {
    untouched(vm, Status::Unprotected, Note::vm(NoteKind::Unprotected))
}

/// Returns the plan of a VM that several policies claim.
pub(super) fn conflict(vm: &Vm, policies: &[&Policy]) -> VmPlan {
    let kind = NoteKind::PolicyConflict {
        policies: policies.iter().map(|policy| policy.name.to_string()).collect(),
        priority: policies.first().map_or(0, |policy| policy.priority),
    };
    untouched(vm, Status::Conflict, Note::vm(kind))
}

fn untouched(vm: &Vm, status: Status, note: Note) -> VmPlan {
    VmPlan {
        uuid: Some(vm.id),
        alias: vm.alias.clone(),
        policy: None,
        status,
        fingerprint: Some(fingerprint(vm)),
        suspended: None,
        actions: Vec::new(),
        notes: vec![note],
        unmanaged: SnapshotUsage::default(),
        stored: stored(vm),
    }
}

/// Counts the completed backups of a VM.
pub(super) fn stored(vm: &Vm) -> usize {
    vm.backups.values().filter(|backup| backup.state == RecordedState::Completed).count()
}

/// Decides what is to be done to one VM under the policy that it belongs to, at the calendar's instant.
pub(crate) fn decide_under(vm: &Vm, policy: &Policy, occurrences: &Occurrences<'_>) -> VmPlan {
    planned(&VmView::new(vm, policy, occurrences.now()), occurrences)
}

/// Returns the plan of a VM.
pub(super) fn planned(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> VmPlan {
    let Decided { status, suspended, actions, notes } = decided(view, occurrences);
    let (vm, policy) = (view.vm, view.policy);
    let is_unmanaged = |backup: &&Backup| policy.tier_of(backup.comment.as_deref()).is_none();
    VmPlan {
        uuid: Some(vm.id),
        alias: vm.alias.clone(),
        policy: Some(policy.name.clone()),
        status,
        fingerprint: Some(fingerprint(vm)),
        suspended,
        actions,
        notes,
        unmanaged: SnapshotUsage::of(vm.backups.values().filter(is_unmanaged)),
        stored: stored(vm),
    }
}

/// The part of a VM's plan that changes with time alone.
#[derive(Debug)]
pub(super) struct Decided {
    status: Status,
    suspended: Option<Box<SuspendedUntil>>,
    actions: Vec<Action>,
    notes: Vec<Note>,
}

impl Decided {
    /// Says whether a plan of the same VM says the same.
    pub(super) fn is_that_of(&self, planned: &VmPlan) -> bool {
        self.status == planned.status
            && self.suspended == planned.suspended
            && self.actions == planned.actions
            && self.notes == planned.notes
    }
}

/// Decides what is to be done to a VM, and what is to be reported of it.
pub(super) fn decided(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Decided {
    let (suspended, suspension_note) = suspension(view).unzip();
    let mut notes: Vec<Note> = suspension_note.into_iter().chain(vm_note(view)).collect();
    // There is one of each of these for each VM of a cloud, and most of them are short.
    let (idle, mut actions) = match decision(view, occurrences, &mut notes) {
        Decision::Act { actions, .. } => (Status::Changes, actions),
        Decision::Idle(status) => (status, Vec::new()),
    };
    let expired = Expired::of(view, occurrences);
    // Old backups go last: not before the new one is there.
    actions.extend(deletes_from_storage(view, &expired));
    actions.shrink_to_fit();
    let status = if actions.is_empty() { idle } else { Status::Changes };
    notes.extend(backup_notes(view, &expired));
    notes.shrink_to_fit();
    Decided { status, suspended: suspended.flatten(), actions, notes }
}

/// What is to be done to a VM.
pub(crate) enum Decision {
    /// These actions, at least one.
    Act {
        /// The actions, in their order.
        actions: Vec<Action>,
        /// The tier of the create among them.
        tier: Option<TierIndex>,
    },
    /// Nothing, and why.
    Idle(Status),
}

/// Decides on creates and local deletes alone; the notes that explain a create, or why there is none, are added to `notes`.
pub(crate) fn decision(view: &VmView<'_>, occurrences: &Occurrences<'_>, notes: &mut Vec<Note>) -> Decision {
    let create = decide_create(view, occurrences, notes);
    // FiFo would refuse, or is in the middle of something: nothing is done to such a VM until that has passed.
    let deletes = if cannot_back_up(view.vm).is_some() { Vec::new() } else { unwanted_locally(view) };
    let mut actions: Vec<Action> = deletes
        .iter()
        .filter_map(|backup| delete_local(view, backup, None))
        .map(Action::DeleteLocal)
        .collect();
    match create {
        CreateDecision::Create { tier, create } => {
            let now: HashSet<BackupId> = deletes.into_iter().map(BackupView::id).collect();
            let later = deletes_after(view, &create, &now);
            actions.push(Action::Create(create));
            actions.extend(later.into_iter().map(Action::DeleteLocal));
            Decision::Act { actions, tier: Some(tier) }
        }
        CreateDecision::Idle(status) if actions.is_empty() => Decision::Idle(status),
        CreateDecision::Idle(_) => Decision::Act { actions, tier: None },
    }
}

/// Returns the policy's suspension where it holds for the VM, with the note on it; one that has ended is only noted.
fn suspension(view: &VmView<'_>) -> Option<(Option<Box<SuspendedUntil>>, Note)> {
    let suspend = view.policy.suspend.as_ref().filter(|suspend| suspend.is_for(view.vm))?;
    let (until, reason) = (suspend.until, suspend.reason.clone());
    Some(if view.now < suspend.until_instant {
        let suspended = SuspendedUntil { until, reason: reason.clone() };
        (Some(Box::new(suspended)), Note::vm(NoteKind::Suspended { until, reason }))
    } else {
        (None, Note::vm(NoteKind::SuspensionEnded { until, reason }))
    })
}

enum CreateDecision {
    Create { tier: TierIndex, create: Create },
    Idle(Status),
}

/// A tier that is due, with the attempts at it.
struct DueTier {
    tier: TierIndex,
    since: DateTime<Utc>,
    attempts: Attempts,
}

/// Decides whether a backup is to be made now, and which.
fn decide_create(view: &VmView<'_>, occurrences: &Occurrences<'_>, notes: &mut Vec<Note>) -> CreateDecision {
    let mut due: Vec<DueTier> = unsatisfied(view, occurrences)
        .into_iter()
        .map(|(tier, since)| DueTier { tier, since, attempts: attempts(view, occurrences, tier) })
        .collect();
    if !due.is_empty() && cannot_back_up(view.vm).is_some() {
        return CreateDecision::Idle(Status::Blocked);
    }
    notes.extend(due.iter().filter_map(|due| attempts_note(view, due)));
    if view.running().chain(view.dated_ahead()).next().is_some() {
        return CreateDecision::Idle(Status::Waiting);
    }
    if due.is_empty() {
        return CreateDecision::Idle(Status::UpToDate);
    }
    // What has not failed yet goes first, so that a tier that will not go through never keeps the others from theirs. The
    // sort is stable: within each group the coarsest stays the first.
    due.sort_by_key(|due| due.attempts.failed > 0);
    let mut idle = Status::Blocked;
    for due in due {
        if due.attempts.is_backing_off(view.now) {
            if !due.attempts.gave_up {
                idle = Status::Waiting;
            }
            continue;
        }
        match create(view, &due) {
            Ok(create) => {
                notes.extend(full_instead(view, due.tier, &create));
                return CreateDecision::Create { tier: due.tier, create };
            }
            Err(note) => notes.push(note),
        }
    }
    CreateDecision::Idle(idle)
}

/// Reports a tier whose attempts were given up for now, or whose next one waits.
fn attempts_note(view: &VmView<'_>, due: &DueTier) -> Option<Note> {
    let kind = match due.attempts {
        Attempts { gave_up: true, .. } => NoteKind::GaveUp,
        attempts if attempts.is_backing_off(view.now) => NoteKind::RetryLater,
        Attempts { .. } => return None,
    };
    Some(Note::vm(kind(FailedAttempts {
        tier: view.tier(due.tier).name.clone(),
        failed: due.attempts.failed,
        next_at: view.policy.display_zone.moment(due.attempts.next_at?),
    })))
}

fn create(view: &VmView<'_>, due: &DueTier) -> Result<Create, Note> {
    let rules = view.tier(due.tier);
    let parent = parent_for(view, due.tier).filter(|parent| !yields_empty_increment(view, parent.id()));
    if rules.kind.parents().is_some()
        && parent.is_none()
        && view.policy.missing_parent == MissingParent::Block
    {
        return Err(no_parent(view, due.tier, MissingParent::Block));
    }
    let zone = &view.policy.display_zone;
    let due_since = zone.moment(due.since);
    let Attempts { failed, gave_up, .. } = due.attempts;
    let attempt = (failed > 0)
        .then(|| Attempt { number: failed + 1, of: (!gave_up).then_some(view.policy.retry.attempts) });
    Ok(Create {
        tier: rules.name.to_string(),
        kind: if parent.is_some() { BackupKind::Incremental } else { BackupKind::Full },
        parent: parent.map(BackupView::id),
        parent_tier: parent.and_then(|parent| parent.tier).map(|tier| view.tier(tier).name.to_string()),
        parent_taken: parent.map(|parent| zone.moment(parent.taken)),
        comment: rules.comment.clone(),
        due_since,
        reason: CreateReason { due_since, attempt },
    })
}

fn full_instead(view: &VmView<'_>, tier: TierIndex, create: &Create) -> Option<Note> {
    let rules = view.tier(tier);
    let is_instead = rules.kind.parents().is_some() && create.kind == BackupKind::Full;
    is_instead.then(|| no_parent(view, tier, MissingParent::Full))
}

/// Reports that there is nothing that an increment of a tier can be taken from, and what is done about it.
fn no_parent(view: &VmView<'_>, tier: TierIndex, missing_parent: MissingParent) -> Note {
    let emptied = parent_for(view, tier).map(|parent| Box::new(name_of(view, parent)));
    Note::vm(NoteKind::NoParent { tier: view.tier(tier).name.clone(), emptied, missing_parent })
}

/// Lists the local deletes of what will not be wanted once the create has completed, oldest first, but for those that are
/// deleted now; the new backup's may be the last.
fn deletes_after(view: &VmView<'_>, create: &Create, now: &HashSet<BackupId>) -> Vec<DeleteLocal> {
    let of = |after: &VmView<'_>| {
        let later = unwanted_locally(after).into_iter().filter(|backup| !now.contains(&backup.id()));
        later.filter_map(|backup| delete_local(view, backup, Some(create))).collect()
    };
    let new = projection::new_backup(view.vm, create, NEW_BACKUP, view.now);
    match view.with_new(&new) {
        Some(after) => of(&after),
        None => {
            let vm = projection::with(view.vm, new.clone());
            of(&VmView::new(&vm, view.policy, view.now))
        }
    }
}

fn delete_local(view: &VmView<'_>, backup: &BackupView<'_>, after: Option<&Create>) -> Option<DeleteLocal> {
    if let Some(create) = after.filter(|_| backup.id() == NEW_BACKUP) {
        return Some(DeleteLocal {
            backup: None,
            tier: create.tier.clone(),
            taken: None,
            after_create: true,
            reason: DeleteReason::NotNeeded,
        });
    }
    let reason = match after {
        Some(create) => DeleteReason::Replaced { tier: create.tier.clone() },
        None if backup.restorable => DeleteReason::NoParent,
        None => match view.newest_restorable().filter(|_| view.is_superseded(backup)) {
            Some(newest) => DeleteReason::Superseded { by: name_of(view, newest) },
            None => DeleteReason::NewerSnapshotKept,
        },
    };
    Some(DeleteLocal {
        backup: Some(backup.id()),
        tier: view.tier(backup.tier?).name.to_string(),
        taken: Some(view.policy.display_zone.moment(backup.taken)),
        after_create: after.is_some(),
        reason,
    })
}

fn deletes_from_storage(view: &VmView<'_>, expired: &Expired<'_, '_>) -> Vec<Action> {
    if expired.deletes.is_empty() {
        return Vec::new();
    }
    let mut last_kept = last_kept(view, &expired.backups);
    let delete = |backup: &&BackupView<'_>| {
        Some(Action::DeleteCloud(DeleteCloud {
            backup: backup.id(),
            tier: view.tier(backup.tier?).name.to_string(),
            taken: view.policy.display_zone.moment(backup.taken),
            size_bytes: backup.backup.size_bytes(),
            reason: DeleteReason::Expired(last_kept.remove(&backup.id())?),
        }))
    };
    expired.deletes.iter().filter_map(delete).collect()
}
