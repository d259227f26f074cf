//! Which stored backups are still wanted, why, and which have expired.

use super::due::Occurrences;
use super::local::wanted_locally;
use super::parent::{last_increment, parent_for};
use super::standing::{BackupView, VmView};
use crate::inventory::BackupId;

/// A reason for which a backup is wanted in storage for its own sake. There may be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WantedInStorage {
    /// It is the newest that can be restored.
    Newest,
    /// It is among the newest of its tier that `keep` asks for.
    Keep,
    /// Its snapshot is wanted on the hypervisor.
    Local,
    /// It is in progress.
    Running,
    /// It cannot be restored, and nothing newer can: what it holds may be all there is of that moment.
    NothingNewer,
    /// It failed since its tier was due last: the pause until the next attempt depends on it.
    Attempt,
    /// It is the last increment that was taken from the parent of the next one, and shows whether that still works.
    LastIncrement,
    /// It is of no tier, or its timestamp is missing or implausible: its expiry is not decided.
    NotJudged,
}

/// Finds every backup that is wanted in storage for its own sake, with all the reasons, in no order.
pub fn wanted_in_storage(
    view: &VmView<'_>,
    occurrences: &Occurrences<'_>,
) -> Vec<(BackupId, WantedInStorage)> {
    let mut wanted: Vec<(BackupId, WantedInStorage)> =
        wanted_locally(view).into_keys().map(|id| (id, WantedInStorage::Local)).collect();
    wanted.extend(view.newest_restorable().map(|newest| (newest.id(), WantedInStorage::Newest)));
    for (tier, rules) in view.policy.tiers.iter().enumerate() {
        let keep = rules.keep.map_or(usize::MAX, |keep| usize::try_from(keep.get()).unwrap_or(usize::MAX));
        let newest_first = view.restorable().rev().filter(|backup| backup.tier == Some(tier));
        wanted.extend(newest_first.take(keep).map(|backup| (backup.id(), WantedInStorage::Keep)));
        let last = parent_for(view, tier).and_then(|parent| last_increment(view, parent.id()));
        wanted.extend(last.map(|last| (last.id(), WantedInStorage::LastIncrement)));
    }
    for backup in &view.backups {
        let mut want = |reason| wanted.push((backup.id(), reason));
        if backup.tier.is_none() || backup.is_future_dated {
            want(WantedInStorage::NotJudged);
        }
        if backup.standing.is_running() {
            want(WantedInStorage::Running);
        }
        if is_attempt(view, occurrences, backup) {
            want(WantedInStorage::Attempt);
        }
        if !backup.restorable && !view.is_superseded(backup) {
            want(WantedInStorage::NothingNewer);
        }
    }
    wanted.extend(view.without_timestamp().map(|backup| (backup.id, WantedInStorage::NotJudged)));
    wanted
}

fn is_attempt(view: &VmView<'_>, occurrences: &Occurrences<'_>, backup: &BackupView<'_>) -> bool {
    let is_since = |tier| occurrences.last(tier, view.vm.id).is_none_or(|since| backup.taken >= since);
    backup.standing.is_failure() && !backup.is_future_dated && backup.tier.is_some_and(is_since)
}

/// Finds all that wanted backups are, or descend from; by [position](crate::inventory::Backups::position).
pub fn needed(view: &VmView<'_>, wanted: impl IntoIterator<Item = BackupId>) -> Vec<bool> {
    let backups = &view.vm.backups;
    let mut needed = vec![false; backups.len()];
    for id in wanted {
        let mut step = backups.position(id);
        // Each step of a chain once, however many backups depend on it.
        while let Some(at) = step.filter(|&at| !std::mem::replace(&mut needed[at], true)) {
            step = backups[at].parent.and_then(|parent| backups.position(parent));
        }
    }
    needed
}

/// Finds the managed backups that are no longer wanted in storage, oldest first.
///
/// Wanted are the newest `keep` restorable ones of each tier, whatever is wanted locally, what is in progress, what is
/// of no tier, and all that one of these descends from. The newest restorable one never expires. One that cannot be
/// restored expires only when a newer one can.
pub fn expired<'v, 'a>(view: &'v VmView<'a>, occurrences: &Occurrences<'_>) -> Vec<&'v BackupView<'a>> {
    let needed = needed(view, wanted_in_storage(view, occurrences).into_iter().map(|(id, _)| id));
    view.backups.iter().filter(|backup| !needed[backup.position]).collect()
}
