//! The decision for one VM.

use super::changeset::{
    Action, BackupKind, Create, DeleteCloud, DeleteLocal, SnapshotUsage, Status, SuspendedUntil, VmPlan,
};
use super::due::{Attempts, Occurrences, attempts, cannot_back_up, unsatisfied};
use super::fingerprint::fingerprint;
use super::keep::{self, Keep, Keeps, unwanted_locally};
use super::last_kept::last_kept;
use super::note::{FailedAttempts, InsteadOfIncrement, Note, NoteKind};
use super::notes::{backup_notes, name_of, vm_note};
use super::parent::{parent_for, yields_empty_increment};
use super::projection;
use super::prune::Expired;
use super::reason::{Attempt, CreateReason, DeleteReason};
use super::standing::{BackupView, VmView};
use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use crate::policy::{Match, MissingParent, Policies, Policy, TierIndex, TierKind};
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
    Decision::new(&VmView::new(vm, policy, occurrences.now()), occurrences).plan_of(vm, policy)
}

/// The part of a VM's plan that changes with time alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    status: Status,
    suspended: Option<Box<SuspendedUntil>>,
    actions: Vec<Action>,
    notes: Vec<Note>,
}

impl Decision {
    /// Decides what is to be done to a VM, and what is to be reported of it.
    pub(super) fn new(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Self {
        let (suspended, suspension_note) = suspension(view).unzip();
        let mut notes: Vec<Note> = suspension_note.into_iter().chain(vm_note(view)).collect();
        let keeps = Keeps::of(view);
        let (idle, mut actions) = creates_and_local_deletes(view, occurrences, &keeps.local, &mut notes);
        let expired = Expired::of(view, &keeps);
        // Old backups go last: not before the new one is there.
        actions.extend(deletes_from_storage(view, &expired));
        let status = if actions.is_empty() { idle } else { Status::Changes };
        notes.extend(backup_notes(view, &expired));
        // There is one of each of these for each VM of a cloud, and most of them are short.
        actions.shrink_to_fit();
        notes.shrink_to_fit();
        Self { status, suspended: suspended.flatten(), actions, notes }
    }

    /// Makes the VM's plan of it.
    pub(super) fn plan_of(self, vm: &Vm, policy: &Policy) -> VmPlan {
        let is_unmanaged = |backup: &&Backup| policy.tier_of(backup.comment.as_deref()).is_none();
        VmPlan {
            uuid: Some(vm.id),
            alias: vm.alias.clone(),
            policy: Some(policy.name.clone()),
            status: self.status,
            fingerprint: Some(fingerprint(vm)),
            suspended: self.suspended,
            actions: self.actions,
            notes: self.notes,
            unmanaged: SnapshotUsage::of(vm.backups.values().filter(is_unmanaged)),
            stored: stored(vm),
        }
    }
}

/// Returns what is to be done to a VM, whether or not a suspension holds it back.
pub(crate) fn actions(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Vec<Action> {
    Decision::new(view, occurrences).actions
}

/// Decides on creates and local deletes, and on the status where there are none; adds the notes that explain a create, or why
/// there is none.
fn creates_and_local_deletes(
    view: &VmView<'_>,
    occurrences: &Occurrences<'_>,
    local: &[Option<Keep>],
    notes: &mut Vec<Note>,
) -> (Status, Vec<Action>) {
    let create = decide_create(view, occurrences, notes);
    // FiFo would refuse, or is in the middle of something: nothing is done to such a VM until that has passed.
    let can_be_backed_up = cannot_back_up(view.vm).is_none();
    let deletes = if can_be_backed_up { unwanted_locally(view, local) } else { Vec::new() };
    let mut actions: Vec<Action> =
        deletes.iter().filter_map(|it| delete_local(view, it, None)).map(Action::DeleteLocal).collect();
    match create {
        Err(idle) => (idle, actions),
        Ok(create) => {
            let now: HashSet<BackupId> = deletes.into_iter().map(BackupView::id).collect();
            let later = deletes_after(view, &create, &now);
            actions.push(Action::Create(create));
            actions.extend(later.into_iter().map(Action::DeleteLocal));
            (Status::Changes, actions)
        }
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

/// A tier that is due, with the attempts at it.
struct DueTier {
    tier: TierIndex,
    since: DateTime<Utc>,
    attempts: Attempts,
}

/// Decides which backup is to be made now; where none is, how the VM stands.
fn decide_create(
    view: &VmView<'_>,
    occurrences: &Occurrences<'_>,
    notes: &mut Vec<Note>,
) -> Result<Create, Status> {
    let mut due: Vec<DueTier> = unsatisfied(view, occurrences)
        .into_iter()
        .map(|(tier, since)| DueTier { tier, since, attempts: attempts(view, occurrences, tier) })
        .collect();
    if !due.is_empty() && cannot_back_up(view.vm).is_some() {
        return Err(Status::Blocked);
    }
    notes.extend(due.iter().filter_map(|due| attempts_note(view, due)));
    if view.running().chain(view.dated_ahead()).next().is_some() {
        return Err(Status::Waiting);
    }
    if due.is_empty() {
        return Err(Status::UpToDate);
    }
    let is_full = |due: &&DueTier| view.tier(due.tier).kind == TierKind::Full;
    let full: Vec<TierIndex> = due.iter().filter(is_full).map(|due| due.tier).collect();
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
        let parent = parent_for(view, due.tier);
        let usable = parent.filter(|parent| !yields_empty_increment(view, parent.id()));
        if usable.is_some() || view.tier(due.tier).kind == TierKind::Full {
            return Ok(create(view, &due, usable));
        }
        let coarser = full.iter().find(|&&tier| tier < due.tier).map(|&tier| view.tier(tier).name.clone());
        let instead = match (view.policy.missing_parent, coarser) {
            (MissingParent::Block, _) => InsteadOfIncrement::Nothing,
            (MissingParent::Full, Some(tier)) => InsteadOfIncrement::FullOf(tier),
            (MissingParent::Full, None) => InsteadOfIncrement::Full,
        };
        let makes_full = instead == InsteadOfIncrement::Full;
        let emptied = parent.map(|parent| Box::new(name_of(view, parent)));
        let tier = view.tier(due.tier).name.clone();
        notes.push(Note::vm(NoteKind::NoParent { tier, emptied, instead }));
        if makes_full {
            return Ok(create(view, &due, None));
        }
    }
    Err(idle)
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

fn create(view: &VmView<'_>, due: &DueTier, parent: Option<&BackupView<'_>>) -> Create {
    let rules = view.tier(due.tier);
    let zone = &view.policy.display_zone;
    let due_since = zone.moment(due.since);
    let Attempts { failed, gave_up, .. } = due.attempts;
    let attempt = (failed > 0)
        .then(|| Attempt { number: failed + 1, of: (!gave_up).then_some(view.policy.retry.attempts) });
    Create {
        tier: rules.name.to_string(),
        kind: if parent.is_some() { BackupKind::Incremental } else { BackupKind::Full },
        parent: parent.map(BackupView::id),
        parent_tier: parent.and_then(|parent| parent.tier).map(|tier| view.tier(tier).name.to_string()),
        parent_taken: parent.map(|parent| zone.moment(parent.taken)),
        comment: rules.comment.clone(),
        due_since,
        reason: CreateReason { due_since, attempt },
    }
}

/// Lists the local deletes of what will not be wanted once the create has completed, oldest first, but for those that are
/// deleted now; the new backup's may be the last.
fn deletes_after(view: &VmView<'_>, create: &Create, now: &HashSet<BackupId>) -> Vec<DeleteLocal> {
    let new = projection::new_backup(view.vm, create, NEW_BACKUP, view.now);
    let Some(after) = view.with_new(&new) else { return Vec::new() };
    let later = unwanted_locally(&after, &keep::local(&after));
    let later = later.into_iter().filter(|backup| !now.contains(&backup.id()));
    later.filter_map(|backup| delete_local(view, backup, Some(create))).collect()
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
