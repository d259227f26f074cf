//! Which stored backups are still wanted, why, and which have expired.

use super::due::Occurrences;
use super::local::wanted_locally;
use super::standing::{BackupView, VmView};
use crate::inventory::{BackupId, LocalState, RecordedState};
use crate::policy::TierIndex;
use chrono::{DateTime, Utc};

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
    /// It failed since its tier was due last, and the tier has no backup since then: the pause until the next attempt
    /// depends on it.
    Attempt,
    /// It is the last increment on a backup that is still on the hypervisor, and shows whether increments on that one work.
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
    let mut attempts_since = vec![None; view.policy.tiers.len()];
    for (tier, rules) in view.policy.tiers.iter().enumerate() {
        let keep = rules.keep.map_or(usize::MAX, |keep| usize::try_from(keep.get()).unwrap_or(usize::MAX));
        let newest_first = view.restorable().rev().filter(|backup| backup.tier == Some(tier));
        wanted.extend(newest_first.take(keep).map(|backup| (backup.id(), WantedInStorage::Keep)));
        let since = occurrences.last(tier, view.vm.id);
        attempts_since[tier] = since.filter(|&since| !has_backup_since(view, tier, since));
    }
    wanted.extend(last_increments(view).map(|id| (id, WantedInStorage::LastIncrement)));
    for backup in &view.backups {
        let mut want = |reason| wanted.push((backup.id(), reason));
        if backup.tier.is_none() || backup.is_future_dated {
            want(WantedInStorage::NotJudged);
        }
        if backup.standing.is_running() {
            want(WantedInStorage::Running);
        }
        let is_attempt = |tier: TierIndex| attempts_since[tier].is_some_and(|since| backup.taken >= since);
        if backup.standing.is_failure() && !backup.is_future_dated && backup.tier.is_some_and(is_attempt) {
            want(WantedInStorage::Attempt);
        }
        if !backup.restorable && !view.is_superseded(backup) {
            want(WantedInStorage::NothingNewer);
        }
    }
    wanted.extend(view.without_timestamp().map(|backup| (backup.id, WantedInStorage::NotJudged)));
    wanted
}

/// Says whether a tier has a restorable backup of its own or a coarser tier since an instant: then its failed attempts play
/// no part any more.
fn has_backup_since(view: &VmView<'_>, tier: TierIndex, since: DateTime<Utc>) -> bool {
    let does = |backup: &BackupView<'_>| backup.tier.is_some_and(|own| own <= tier);
    view.restorable().rev().take_while(|backup| backup.taken >= since).any(does)
}

/// Finds the last increment on each backup that a next one may be taken from.
fn last_increments<'a>(view: &'a VmView<'_>) -> impl Iterator<Item = BackupId> + 'a {
    let mut last: Vec<Option<BackupId>> = vec![None; view.vm.backups.len()];
    let parent_of = |backup: &BackupView<'_>| view.vm.backups.position(backup.backup.parent?);
    for backup in &view.backups {
        if backup.backup.state == RecordedState::Completed
            && let Some(parent) = parent_of(backup)
        {
            last[parent] = Some(backup.id());
        }
    }
    let may_be_parent = |backup: &&BackupView<'_>| backup.backup.local == LocalState::Present;
    view.restorable().filter(may_be_parent).filter_map(move |backup| last[backup.position])
}

/// Finds all that wanted backups are, or descend from; by [position](crate::inventory::Backups::position).
pub fn needed(view: &VmView<'_>, wanted: impl IntoIterator<Item = BackupId>) -> Vec<bool> {
    let mut needed = vec![false; view.vm.backups.len()];
    mark_needed(view, &mut needed, wanted);
    needed
}

/// Marks all that further backups are, or descend from.
pub(super) fn mark_needed(
    view: &VmView<'_>,
    needed: &mut [bool],
    wanted: impl IntoIterator<Item = BackupId>,
) {
    let backups = &view.vm.backups;
    for id in wanted {
        let mut step = backups.position(id);
        // Each step of a chain once, however many backups depend on it.
        while let Some(at) = step.filter(|&at| !std::mem::replace(&mut needed[at], true)) {
            step = backups[at].parent.and_then(|parent| backups.position(parent));
        }
    }
}

/// Finds all that stays in storage: what is wanted there, and what that descends from; by
/// [position](crate::inventory::Backups::position).
///
/// Wanted are the newest `keep` restorable ones of each tier, whatever is wanted locally, what is in progress, what is
/// of no tier or not to be judged, what other rules judge by, and all that one of these descends from. The newest
/// restorable one never expires. One that cannot be restored expires only when a newer one can.
pub(super) fn needed_in_storage(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Vec<bool> {
    needed(view, wanted_in_storage(view, occurrences).into_iter().map(|(id, _)| id))
}

/// Finds the managed backups that are no longer wanted in storage, oldest first.
pub fn expired<'v, 'a>(view: &'v VmView<'a>, occurrences: &Occurrences<'_>) -> Vec<&'v BackupView<'a>> {
    let needed = needed_in_storage(view, occurrences);
    view.backups.iter().filter(|backup| !needed[backup.position]).collect()
}
