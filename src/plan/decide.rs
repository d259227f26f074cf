//! The decision for one VM.

use super::changeset::{
    Action, BackupKind, Create, DeleteCloud, DeleteLocal, SnapshotUsage, Status, SuspendedUntil, VmPlan,
};
use super::due::{Attempts, Occurrences, attempts, cannot_back_up, unsatisfied};
use super::fingerprint::fingerprint;
use super::keep::{self, Keeps, unwanted_locally};
use super::last_kept::last_kept;
use super::note::{Note, NoteCode};
use super::notes::{backup_notes, name_of, time_text, vm_note};
use super::parent::{parent_for, yields_empty_increment};
use super::projection;
use super::prune::{Expired, PruneHold};
use super::request::Request;
use super::standing::{BackupView, VmView};
use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use crate::policy::{Match, MissingParent, Policies, TierIndex, TierKind, weekday_text};
use std::collections::HashSet;
use uuid::Uuid;

/// The placeholder UUID of the backup to be created: the greatest, so that it wins every tie as the newest.
const NEW_BACKUP: BackupId = BackupId::new(Uuid::max());

pub fn decide(vm: &Vm, policies: &Policies, request: impl Into<Request>) -> VmPlan {
    let request = request.into();
    let plan = match policies.policy_for(vm) {
        Match::One(policy) => {
            let view = VmView::one_of(vm, policies, policy, request);
            decide_under(&view, &Occurrences::new(policy, request.due_at))
        }
        claims => without_policy(vm, &claims),
    };
    VmPlan { fingerprint: Some(fingerprint(vm)), ..plan }
}

/// Returns the plan of a VM that no single policy claims, as [`untouched`] does.
pub(super) fn without_policy(vm: &Vm, claims: &Match<'_>) -> VmPlan {
    let Match::Conflict(policies) = claims else {
        return untouched(vm, Status::Unprotected, Note::vm(NoteCode::Unprotected, "matches no policy"));
    };
    let names: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
    let text = format!(
        "claimed by {} with the same priority ({}); give one a higher `priority` or exclude it from the others",
        names.join(" and "),
        policies.first().map_or(0, |policy| policy.priority)
    );
    untouched(vm, Status::Conflict, Note::vm(NoteCode::PolicyConflict, text))
}

/// Returns the plan of a VM to which nothing is done, without its fingerprint.
pub(super) fn untouched(vm: &Vm, status: Status, note: Note) -> VmPlan {
    let stored = vm.backups.values().filter(|backup| backup.state == RecordedState::Completed).count();
    let (uuid, alias, notes) = (Some(vm.id), vm.alias.clone(), vec![note]);
    VmPlan { uuid, alias, status, notes, stored, ..VmPlan::default() }
}

/// Decides what is to be done to a VM under the policy that it belongs to, by its due times. The plan is
/// without its fingerprint, which takes as long as all the rest.
pub(crate) fn decide_under(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> VmPlan {
    let (suspended, suspension_note) = suspension(view).unzip();
    let suspended = suspended.flatten();
    let mut notes: Vec<Note> = suspension_note.into_iter().chain(vm_note(view)).collect();
    let keeps = Keeps::of(view);
    let expired = Expired::of(view, &keeps);
    let (idle, mut actions) = actions_under(view, occurrences, &keeps, &expired, &mut notes);
    notes.extend(backup_notes(view, &expired));
    // There is one of each of these for each VM of a cloud, and most of them are short.
    actions.shrink_to_fit();
    notes.shrink_to_fit();
    let is_unmanaged = |backup: &&Backup| view.policy.tier_of(backup.comment.as_deref()).is_none();
    VmPlan {
        uuid: Some(view.vm.id),
        alias: view.vm.alias.clone(),
        policy: Some(view.policy.name.clone()),
        status: if actions.is_empty() { idle } else { Status::Changes },
        fingerprint: None,
        refused_deletes: match expired.hold {
            PruneHold::OverLimit(expired, _) if suspended.is_none() => expired,
            _ => 0,
        },
        suspended,
        actions,
        notes,
        unmanaged: SnapshotUsage::of(view.vm.backups.values().filter(is_unmanaged)),
        stored: view.completed().count(),
    }
}

/// Returns what is to be done to a VM, whether or not a suspension holds it back.
pub(crate) fn actions(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Vec<Action> {
    let keeps = Keeps::of(view);
    let (_, actions) = actions_under(view, occurrences, &keeps, &Expired::of(view, &keeps), &mut Vec::new());
    actions
}

/// Decides on the actions, and on the status where there are none; adds the notes that explain a create, or why there is none.
fn actions_under(
    view: &VmView<'_>,
    occurrences: &Occurrences<'_>,
    keeps: &Keeps,
    expired: &Expired<'_, '_>,
    notes: &mut Vec<Note>,
) -> (Status, Vec<Action>) {
    let create = decide_create(view, occurrences, notes);
    // FiFo would refuse, or is in the middle of something: nothing is done to such a VM until that has passed.
    let can_be_backed_up = cannot_back_up(view.vm).is_none();
    let deletes = if can_be_backed_up { unwanted_locally(view, &keeps.local) } else { Vec::new() };
    let mut actions: Vec<Action> =
        deletes.iter().filter_map(|it| delete_local(view, it, None)).map(Action::DeleteLocal).collect();
    let mut idle = Status::UpToDate;
    match create {
        Err(status) => idle = status,
        Ok(create) => {
            let now: HashSet<BackupId> = deletes.into_iter().map(BackupView::id).collect();
            let mut later = deletes_after(view, &create, &now);
            if let Some(without) = view.without_findings() {
                // What only a backup that is made because of a finding takes the place of waits until that is there.
                let others = self::actions(&without, occurrences);
                let is_among = |delete: &DeleteLocal| {
                    others.iter().filter_map(Action::as_local_delete).any(|it| it.backup == delete.backup)
                };
                later.retain(is_among);
            }
            actions.push(Action::Create(create));
            actions.extend(later.into_iter().map(Action::DeleteLocal));
        }
    }
    // Old backups go last: not before the new one is there.
    actions.extend(deletes_from_storage(view, expired));
    (idle, actions)
}

/// Returns the policy's suspension where it holds for the VM, with the note on it; one that has ended is only noted.
fn suspension(view: &VmView<'_>) -> Option<(Option<Box<SuspendedUntil>>, Note)> {
    let suspend = view.policy.suspend.as_ref().filter(|suspend| suspend.is_for(view.vm))?;
    let (until, reason) = (suspend.until, &suspend.reason);
    Some(if view.now < suspend.until_instant {
        let text = format!("nothing is carried out until {until}: {reason}");
        let suspended = SuspendedUntil { until, reason: reason.clone() };
        (Some(Box::new(suspended)), Note::vm(NoteCode::Suspended, text))
    } else {
        let text = format!("the suspension until {until} ({reason}) has ended; remove it from the policy");
        (None, Note::vm(NoteCode::SuspensionEnded, text))
    })
}

/// Decides which backup is to be made now; where none is, how the VM stands.
fn decide_create(
    view: &VmView<'_>,
    occurrences: &Occurrences<'_>,
    notes: &mut Vec<Note>,
) -> Result<Create, Status> {
    let mut due: Vec<Attempts> =
        unsatisfied(view, occurrences).into_iter().map(|(tier, since)| attempts(view, tier, since)).collect();
    if !due.is_empty() && cannot_back_up(view.vm).is_some() {
        return Err(Status::Blocked);
    }
    notes.extend(due.iter().filter_map(|due| attempts_note(view, due)));
    // What runs, runs, whatever its timestamp says.
    if view.backups.iter().any(|it| it.standing.is_running() || it.is_dated_ahead(view.now)) {
        return Err(Status::Waiting);
    }
    if due.is_empty() {
        return Err(Status::UpToDate);
    }
    let is_full = |due: &&Attempts| view.tier(due.tier).kind == TierKind::Full;
    let full: Vec<TierIndex> = due.iter().filter(is_full).map(|due| due.tier).collect();
    // What has not failed yet goes first, so that a tier that will not go through never keeps the others from theirs. The
    // sort is stable: within each group the coarsest stays the first.
    due.sort_by_key(|due| due.failed > 0);
    let mut idle = Status::Blocked;
    for due in due {
        if due.is_backing_off(view.now) {
            if !due.gave_up {
                idle = Status::Waiting;
            }
            continue;
        }
        let parent = parent_for(view, due.tier);
        let usable = parent.filter(|parent| !yields_empty_increment(view, parent.id()));
        if usable.is_some() || view.tier(due.tier).kind == TierKind::Full {
            return Ok(create(view, &due, usable));
        }
        let coarser = full.iter().find(|&&tier| tier < due.tier).map(|&tier| &view.tier(tier).name);
        let (makes_full, instead) = match (view.policy.missing_parent, coarser) {
            (MissingParent::Block, _) => (false, ", and the policy has `missing_parent: block`".to_owned()),
            (MissingParent::Full, Some(tier)) => {
                (false, format!("; it waits for the {tier}, which is due and full"))
            }
            (MissingParent::Full, None) => (true, ": a full backup instead".to_owned()),
        };
        let why = match parent {
            None => format!("no local, restorable parent for the {}", view.tier(due.tier).name),
            Some(parent) => format!(
                "the last increment on the {} is empty, so its snapshot is probably gone",
                name_of(view, parent)
            ),
        };
        notes.push(Note::vm(NoteCode::NoParent, format!("{why}{instead}")));
        if makes_full {
            return Ok(create(view, &due, None));
        }
    }
    Err(idle)
}

fn attempts_note(view: &VmView<'_>, due: &Attempts) -> Option<Note> {
    let failed = due.failed;
    let code = match due.gave_up {
        true => NoteCode::GaveUp,
        false if due.is_backing_off(view.now) => NoteCode::RetryLater,
        false => return None,
    };
    let times = if failed == 1 { "once".to_owned() } else { format!("{failed} times") };
    let (tier, next) = (&view.tier(due.tier).name, time_text(view, due.next_at?));
    Some(Note::vm(code, format!("the {tier} failed {times}; it is tried again from {next}")))
}

fn create(view: &VmView<'_>, due: &Attempts, parent: Option<&BackupView<'_>>) -> Create {
    let rules = view.tier(due.tier);
    let due_since = view.zone.moment(due.since);
    let mut reason = format!("due since {}", weekday_text(due_since));
    if due.failed > 0 {
        reason.push_str(&format!(", try {}", due.failed + 1));
        if !due.gave_up {
            reason.push_str(&format!(" of {}", view.policy.retry.attempts));
        }
    }
    Create {
        tier: rules.name.clone(),
        kind: if parent.is_some() { BackupKind::Incremental } else { BackupKind::Full },
        parent: parent.map(BackupView::id),
        parent_tier: parent.and_then(|parent| parent.tier).map(|tier| view.tier(tier).name.clone()),
        parent_taken: parent.map(|parent| view.zone.moment(parent.taken)),
        comment: rules.comment.clone(),
        due_since,
        reason,
        is_retry: due.failed > 0,
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
    let is_new = backup.id() == NEW_BACKUP;
    let reason = match after {
        Some(_) if is_new => "not needed once it is complete".to_owned(),
        Some(create) => format!("once the new {} is complete", create.tier),
        None if backup.is_restorable() => "no longer needed as a parent".to_owned(),
        None => match view.newest_restorable().filter(|_| view.is_superseded(backup)) {
            Some(newest) => format!("superseded: the newer {} can be restored", name_of(view, newest)),
            None => "superseded: a newer snapshot is kept".to_owned(),
        },
    };
    Some(DeleteLocal {
        backup: (!is_new).then(|| backup.id()),
        tier: view.tier(backup.tier?).name.clone(),
        taken: (!is_new).then(|| view.zone.moment(backup.taken)),
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
            tier: view.tier(backup.tier?).name.clone(),
            taken: view.zone.moment(backup.taken),
            size_bytes: backup.backup.size_bytes(),
            reason: last_kept.remove(&backup.id())?.1,
        }))
    };
    expired.deletes.iter().filter_map(delete).collect()
}
