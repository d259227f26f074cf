//! Which expired backups are deleted from storage, and in which order.
//!
//! This is the one part that destroys stored data. FiFo deletes everything that descends from a backup along with it, so a
//! backup goes only when all its descendants have gone before.

use super::due::{Occurrences, cannot_back_up};
use super::local::has_unknown_parent;
use super::standing::{BackupView, Standing, VmView, first_verified};
use super::stored::{expired, needed, wanted_in_storage};
use crate::inventory::{Backup, BackupId, LocalState};
use crate::policy::Prune;
use chrono::{DateTime, TimeDelta, Utc};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nothing younger is deleted from storage, by FiFo's clock.
pub(super) const PRUNE_AGE_MIN: TimeDelta = TimeDelta::hours(1);

/// Why an expired backup is not deleted from storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneHold {
    /// The policy does not say `prune: true`.
    NotAllowed,
    /// The command does not say `--prune`.
    NotRequested,
    /// The VM is on no hypervisor, or FiFo cannot back it up now. Of a VM on no hypervisor FiFo deletes the files and keeps
    /// the records, which then look restorable.
    CannotBackUp,
    /// The newest restorable backup is older than `max_age`: old ones must not go while no new ones come.
    NewestTooOld,
    /// A backup newer than the newest restorable one failed or is stuck.
    NewestFailed,
    /// An accepted backup has not named its parent yet, and that may be any.
    UnknownParent,
    /// It, or one that descends from it, still holds a snapshot, is less than an hour old, is in a loop of parents, or is
    /// needed to judge another backup by.
    NotYet,
}

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
        let backups = expired(view, occurrences);
        match hold(view) {
            Some(hold) => Self { backups, deletes: Vec::new(), hold },
            None => Self { deletes: deletes(view, occurrences, &backups), backups, hold: PruneHold::NotYet },
        }
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

/// Finds which expired backups are deleted now, in order.
fn deletes<'v, 'a>(
    view: &'v VmView<'a>,
    occurrences: &Occurrences<'_>,
    expired: &[&'v BackupView<'a>],
) -> Vec<&'v BackupView<'a>> {
    if expired.is_empty() {
        return Vec::new();
    }
    let wanted = wanted_in_storage(view, occurrences).into_iter().map(|(id, _)| id);
    let mut stay: Vec<BackupId> = wanted.collect();
    stay.extend(expired.iter().filter(|backup| !may_go(view, backup)).map(|backup| backup.id()));
    let mut stays = needed(view, stay.iter().copied());
    // An unverified backup is judged by the oldest one with sizes and checksums: that goes only after it.
    let is_judged_by_it =
        |it: &BackupView<'_>| matches!(it.standing, Standing::Unverified { .. }) && stays[it.position];
    if let Some((_, reference)) = first_verified(view.vm).filter(|_| view.backups.iter().any(is_judged_by_it))
    {
        stay.push(reference);
        stays = needed(view, stay);
    }
    children_first(view, &stays)
}

/// Says whether an expired backup may be deleted by itself, whatever descends from it.
fn may_go(view: &VmView<'_>, backup: &BackupView<'_>) -> bool {
    backup.backup.local == LocalState::Absent
        && backup.backup.local_size_bytes.unwrap_or(0) == 0
        && view.now - backup.taken >= PRUNE_AGE_MIN
}

/// Orders what does not stay so that each backup comes after all that descend from it. A loop of parents has no such order,
/// and is left out.
fn children_first<'v, 'a>(view: &'v VmView<'a>, stays: &[bool]) -> Vec<&'v BackupView<'a>> {
    type Rank = Reverse<(bool, DateTime<Utc>, BackupId)>;
    let backups = &view.vm.backups;
    let parent_of = |backup: &Backup| backups.position(backup.parent?);
    let mut children = vec![0_usize; backups.len()];
    backups.values().filter_map(parent_of).for_each(|parent| children[parent] += 1);
    let rank = |backup: &BackupView<'_>| -> Rank { Reverse((backup.restorable, backup.taken, backup.id())) };
    let mut by_position: Vec<Option<&'v BackupView<'a>>> = vec![None; backups.len()];
    for backup in view.backups.iter().filter(|backup| !stays[backup.position]) {
        by_position[backup.position] = Some(backup);
    }
    let leaves = by_position.iter().flatten().filter(|backup| children[backup.position] == 0);
    let mut ready: BinaryHeap<Rank> = leaves.map(|backup| rank(backup)).collect();
    let mut ordered = Vec::new();
    while let Some(Reverse((_, _, id))) = ready.pop() {
        let Some(backup) = view.get(id) else { continue };
        ordered.push(backup);
        let Some(parent) = parent_of(backup.backup) else { continue };
        children[parent] -= 1;
        if let Some(parent) = by_position[parent].filter(|_| children[parent] == 0) {
            ready.push(rank(parent));
        }
    }
    ordered
}
