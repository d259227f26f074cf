//! Which backup an incremental one is taken from.

use super::standing::{BackupView, Standing, VmView};
use crate::inventory::{BackupId, LocalState, RecordedState};
use crate::policy::TierIndex;

/// Finds the parent for a new backup of a tier: the newest one of the tiers it may be taken from that is local,
/// restorable, and newer than every restorable backup of a tier coarser than its own. A full backup of the tier itself, made in
/// place of an increment, is one of these whatever `from` says: otherwise every further one would have to be full as well.
///
/// `None` for a full tier, and when there is no such backup. FiFo itself checks only that a parent is local; it would
/// take an increment on a failed upload, which can never be restored.
pub fn parent_for<'v, 'a>(view: &'v VmView<'a>, tier: TierIndex) -> Option<&'v BackupView<'a>> {
    let from = view.tier(tier).kind.parents()?;
    let mut coarsest_newer = TierIndex::MAX;
    view.restorable().rev().find(|candidate| {
        let Some(own) = candidate.tier else { return false };
        let is_outdated = coarsest_newer < own;
        coarsest_newer = coarsest_newer.min(own);
        let may_be = from.contains(&own) || own == tier && candidate.backup.parent.is_none();
        may_be && !is_outdated && candidate.backup.local == LocalState::Present
    })
}

/// Says whether an increment on a backup would be empty again: the last one that was taken from it is.
///
/// A record says `local` after its snapshot was destroyed on the hypervisor, or deleted while it was being uploaded.
/// `zfs send` then finds nothing to start from, and FiFo reports the empty result as completed, night after night. So
/// it is as if there were no parent.
pub fn yields_empty_increment(view: &VmView<'_>, parent: BackupId) -> bool {
    let mut completed = view.backups.iter().filter(|it| it.backup.state == RecordedState::Completed);
    let last = completed.rfind(|it| it.backup.parent == Some(parent));
    last.is_some_and(|last| last.standing == Standing::Hollow)
}
