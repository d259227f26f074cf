//! Which snapshots stay on the hypervisor, and why.

use super::parent::parent_for;
use super::standing::{BackupView, Standing, VmView};
use crate::inventory::{BackupId, RecordedState};
use crate::policy::TierIndex;
use std::collections::BTreeMap;

/// A reason for which a snapshot is wanted on the hypervisor. There may be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WantedLocally {
    /// The next backup of this tier would be taken from it.
    ParentOf(TierIndex),
    /// It is among the newest of its tier that `keep_local` asks for.
    KeepLocal,
    /// It is in progress.
    Running,
    /// It is stuck, and nothing newer can be restored: it may still be running.
    MayBeRunning,
    /// One that runs is taken from it.
    ParentOfRunning,
    /// One that is stuck and may still be running is taken from it.
    ParentOfStuck,
    /// It did not become a backup that can be restored from storage, and nothing newer did: its snapshot is the only
    /// copy of that moment.
    OnlyCopy,
}

/// Finds every snapshot that is wanted on the hypervisor, with all the reasons.
pub fn wanted_locally(view: &VmView<'_>) -> BTreeMap<BackupId, Vec<WantedLocally>> {
    let mut wanted: BTreeMap<BackupId, Vec<WantedLocally>> = BTreeMap::new();
    let mut want = |id, reason| wanted.entry(id).or_default().push(reason);

    for tier in 0..view.policy.tiers.len() {
        if let Some(parent) = parent_for(view, tier) {
            want(parent.id(), WantedLocally::ParentOf(tier));
        }
        let keep_local = usize::try_from(view.tier(tier).keep_local).unwrap_or(usize::MAX);
        for backup in view.restorable().rev().filter(|backup| backup.tier == Some(tier)).take(keep_local) {
            want(backup.id(), WantedLocally::KeepLocal);
        }
    }

    for backup in &view.backups {
        let (reason, of_its_parent) = if backup.standing.is_running() {
            (WantedLocally::Running, WantedLocally::ParentOfRunning)
        } else if may_be_running(view, backup) {
            (WantedLocally::MayBeRunning, WantedLocally::ParentOfStuck)
        } else {
            continue;
        };
        want(backup.id(), reason);
        if let Some(parent) = backup.backup.parent {
            want(parent, of_its_parent);
        }
    }

    // Not restorable and not running is failed, hollow, stuck, or completed on a broken chain: in each case storage
    // cannot give that moment back and the snapshot can. Only the newest is kept; older ones would eat the quota.
    // One that never got as far as a snapshot does not take the place of an older one that did.
    let lost = |backup: &&BackupView<'_>| {
        backup.tier.is_some()
            && backup.backup.holds_snapshot()
            && !backup.restorable
            && !backup.standing.is_running()
    };
    if let Some(backup) = view.not_future_dated().rev().find(lost)
        && !view.is_superseded(backup)
    {
        want(backup.id(), WantedLocally::OnlyCopy);
    }
    wanted
}

/// Says whether a backup is stuck and may still be running: nothing newer can be restored.
fn may_be_running(view: &VmView<'_>, backup: &BackupView<'_>) -> bool {
    backup.standing == Standing::Stuck && !backup.is_future_dated && !view.is_superseded(backup)
}

/// Says whether a backup that runs, or may be running, has been accepted and not started: its record does not say yet which
/// parent it needs, and that may be any.
pub(crate) fn has_unknown_parent(view: &VmView<'_>) -> bool {
    view.backups
        .iter()
        .filter(|backup| backup.backup.state == RecordedState::Accepted && backup.backup.parent.is_none())
        .any(|backup| backup.standing.is_running() || may_be_running(view, backup))
}

/// Finds the managed backups that hold a snapshot for which there is no reason, oldest first.
///
/// Never an unmanaged one, one without a timestamp or with an implausible one; and none at all while a
/// backup has been accepted and not started.
pub fn unwanted_locally<'v, 'a>(view: &'v VmView<'a>) -> Vec<&'v BackupView<'a>> {
    if has_unknown_parent(view) {
        return Vec::new();
    }
    let wanted = wanted_locally(view);
    view.not_future_dated()
        .filter(|backup| backup.tier.is_some() && backup.backup.holds_snapshot())
        .filter(|backup| !wanted.contains_key(&backup.id()))
        .collect()
}
