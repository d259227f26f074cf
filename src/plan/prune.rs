//! Which expired backups are deleted from storage, and in which order.
//!
//! This is the one part that destroys stored data. FiFo deletes everything that descends from a backup along with it, so a
//! backup goes only when all its descendants have gone before.

use super::due::{Occurrences, cannot_back_up};
use super::local::has_unknown_parent;
use super::note::PruneHold;
use super::standing::{BackupView, Standing, VmView, first_verified};
use super::stored::{mark_needed, needed_in_storage};
use crate::inventory::{Backup, BackupId, RecordedState};
use crate::policy::Prune;
use chrono::{DateTime, TimeDelta, Utc};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

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
        let cannot_go = backups.iter().filter(|backup| !may_go(view, backup)).map(|backup| backup.id());
        mark_needed(view, &mut stays, cannot_go);
        let deletes = if backups.is_empty() { Vec::new() } else { children_first(view, &stays) };
        Self { backups, deletes, hold: PruneHold::NotYet }
    }
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
    if has_unknown_parent(view) {
        return Some(PruneHold::UnknownParent);
    }
    if view.not_future_dated().any(|backup| backup.standing.is_failure() && !view.is_superseded(backup)) {
        return Some(PruneHold::NewestFailed);
    }
    let is_recent = |newest: &BackupView<'_>| view.now - newest.taken <= view.policy.max_age;
    (!view.newest_restorable().is_some_and(is_recent)).then_some(PruneHold::NewestTooOld)
}

/// Says whether an expired backup may be deleted by itself, whatever descends from it.
///
/// A state that is not known here may be a later FiFo's word for one that is good.
fn may_go(view: &VmView<'_>, backup: &BackupView<'_>) -> bool {
    !backup.backup.holds_snapshot()
        && backup.backup.local_size_bytes.unwrap_or(0) == 0
        && !matches!(backup.backup.state, RecordedState::Other(_))
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
