//! Which expired backups are deleted from storage, and in which order.
//!
//! This is the one part that destroys stored data. FiFo deletes everything that descends from a backup along with it, so a
//! backup goes only when all its descendants have gone before.

use super::due::{Occurrences, cannot_back_up};
use super::local::has_unknown_parent;
use super::note::PruneHold;
use super::standing::{BackupView, STREAM_BYTES_MIN, Standing, VmView, first_verified};
use super::stored::{mark_needed, needed_in_storage};
use crate::inventory::{Backup, BackupId, LocalState, RecordedState, Vm, restorable};
use crate::policy::{Match, Policies, Prune};
use chrono::{DateTime, TimeDelta, Utc};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// Nothing younger is deleted from storage, by FiFo's clock.
pub(super) const PRUNE_AGE_MIN: TimeDelta = TimeDelta::hours(1);

/// The stored backups of a VM that are no longer wanted.
#[derive(Debug)]
pub struct Expired<'v, 'a> {
    /// All of them, oldest first.
    pub backups: Vec<&'v BackupView<'a>>,
    /// Those that are deleted from storage now, children before parents, those that cannot be restored first.
    pub deletes: Vec<&'v BackupView<'a>>,
    /// Why the others are not deleted.
    pub hold: PruneHold,
}

impl<'v, 'a> Expired<'v, 'a> {
    /// Finds the expired backups of a VM, and those of them that are deleted.
    pub fn of(view: &'v VmView<'a>, occurrences: &Occurrences<'_>) -> Self {
        let mut stays = needed_in_storage(view, occurrences);
        let backups: Vec<&BackupView<'a>> = view.backups.iter().filter(|it| !stays[it.position]).collect();
        if let Some(hold) = hold(view) {
            return Self { backups, deletes: Vec::new(), hold };
        }
        let is_whole = whole_by_record(view.vm);
        let cannot_go = |backup: &&&BackupView<'_>| {
            !may_go(view, backup) || (!backup.restorable && is_whole[backup.position])
        };
        let cannot_go = backups.iter().filter(cannot_go).map(|backup| backup.id());
        mark_needed(view, &mut stays, cannot_go);
        let deletes = if backups.is_empty() { Vec::new() } else { children_first(view, &stays) };
        Self { backups, deletes, hold: PruneHold::NotYet }
    }
}

/// Returns the backups of a VM that its policy no longer keeps in storage; none where no single policy holds for it.
pub fn expired_backups(vm: &Vm, policies: &Policies, now: DateTime<Utc>) -> BTreeSet<BackupId> {
    let Match::One(policy) = policies.policy_for(vm) else { return BTreeSet::new() };
    let view = VmView::new(vm, policy, now);
    let expired = Expired::of(&view, &Occurrences::new(policy, now));
    expired.backups.iter().map(|backup| backup.id()).collect()
}

/// Returns why nothing of a VM is deleted from storage; `None` where expired backups are.
fn hold(view: &VmView<'_>) -> Option<PruneHold> {
    match view.policy.prune {
        Prune::Never => return Some(PruneHold::NotAllowed),
        Prune::OnRequest => return Some(PruneHold::NotRequested),
        Prune::Requested => {}
    }
    if cannot_back_up(view.vm).is_some() {
        return Some(PruneHold::CannotBackUp);
    }
    let is_silent = |backup: &BackupView<'_>| {
        backup.backup.state == RecordedState::Accepted && backup.backup.parent.is_none()
    };
    if has_unknown_parent(view) || view.backups.iter().any(|it| it.is_future_dated && is_silent(it)) {
        return Some(PruneHold::UnknownParent);
    }
    let is_bad = |backup: &BackupView<'_>| !backup.restorable && !backup.standing.is_running();
    if view.not_future_dated().any(|backup| is_bad(backup) && !view.is_superseded(backup)) {
        return Some(PruneHold::NewestFailed);
    }
    let is_recent = |newest: &BackupView<'_>| view.now - newest.taken <= view.policy.max_age;
    (!view.newest_restorable().is_some_and(is_recent)).then_some(PruneHold::NewestTooOld)
}

/// Finds the backups that are completed by FiFo's word, with all that they descend from, and hold more than an error
/// message; by [position](crate::inventory::Backups::position).
///
/// One that cannot be restored all the same only counts as bad because of a number in the policy, or because FiFo has not
/// told a size or checksum. That is reason enough to make another one, and not to delete it.
fn whole_by_record(vm: &Vm) -> Vec<bool> {
    let is_good = |backup: &Backup| {
        backup.state == RecordedState::Completed
            && backup.smallest_size_bytes().is_none_or(|bytes| bytes >= STREAM_BYTES_MIN)
    };
    let is_good: Vec<bool> = vm.backups.values().map(is_good).collect();
    restorable(&vm.backups, &is_good)
}

/// Says whether an expired backup may be deleted by itself, whatever descends from it.
///
/// A state that is not known here may be a later FiFo's word for one that is good, and what is said to upload and has no
/// snapshot yet may still do so.
fn may_go(view: &VmView<'_>, backup: &BackupView<'_>) -> bool {
    !backup.backup.holds_snapshot()
        && backup.backup.local_size_bytes.unwrap_or(0) == 0
        && !matches!(backup.backup.state, RecordedState::Other(_))
        && (backup.backup.state != RecordedState::Uploading || backup.backup.local == LocalState::Absent)
        && view.now - backup.taken >= PRUNE_AGE_MIN
}

/// Orders what does not stay so that each backup comes after all that descend from it, those that cannot be restored first.
///
/// A loop of parents has no such order, and is left out. The backup by which unverified ones are judged comes after all of
/// these, and is left out while one of them stays: without it they would count as good, and take the place of good ones.
fn children_first<'v, 'a>(view: &'v VmView<'a>, stays: &[bool]) -> Vec<&'v BackupView<'a>> {
    type Rank = Reverse<(bool, DateTime<Utc>, BackupId)>;
    let backups = &view.vm.backups;
    let parent_of = |backup: &Backup| backups.position(backup.parent?);
    let mut waits_for = vec![0_usize; backups.len()];
    backups.values().filter_map(parent_of).for_each(|parent| waits_for[parent] += 1);
    let reference = first_verified(view.vm).and_then(|(_, id)| backups.position(id));
    let is_judged_by_it = |backup: &BackupView<'_>| matches!(backup.standing, Standing::Unverified { .. });
    if let Some(reference) = reference {
        waits_for[reference] += view.backups.iter().filter(|backup| is_judged_by_it(backup)).count();
    }
    let rank = |backup: &BackupView<'_>| -> Rank { Reverse((backup.restorable, backup.taken, backup.id())) };
    let mut by_position: Vec<Option<&'v BackupView<'a>>> = vec![None; backups.len()];
    for backup in view.backups.iter().filter(|backup| !stays[backup.position]) {
        by_position[backup.position] = Some(backup);
    }
    let free = by_position.iter().flatten().filter(|backup| waits_for[backup.position] == 0);
    let mut ready: BinaryHeap<Rank> = free.map(|backup| rank(backup)).collect();
    let mut ordered = Vec::new();
    while let Some(Reverse((_, _, id))) = ready.pop() {
        let Some(backup) = view.get(id) else { continue };
        ordered.push(backup);
        for at in parent_of(backup.backup).into_iter().chain(reference.filter(|_| is_judged_by_it(backup))) {
            waits_for[at] -= 1;
            if let Some(next) = by_position[at].filter(|_| waits_for[at] == 0) {
                ready.push(rank(next));
            }
        }
    }
    ordered
}
