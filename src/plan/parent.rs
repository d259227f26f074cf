//! Which backup an incremental one is taken from.

use super::standing::{Judged, View};
use crate::policy::{TierIndex, TierKind};
use crate::sabotage::{Fault, planted};

/// Finds the parent for a new backup of a tier: the newest one of the tiers it may be taken from that is local,
/// restorable, and newer than every restorable backup of a tier coarser than its own.
///
/// `None` for a full tier, and when there is no such backup. FiFo itself checks only that a parent is local; it would
/// take an increment on a failed upload, which can never be restored.
pub fn parent_for<'v, 'a>(view: &'v View<'a>, tier: TierIndex) -> Option<&'v Judged<'a>> {
    let TierKind::Incremental { from } = &view.tier(tier).kind else { return None };
    let is_sound = |backup: &&Judged<'_>| backup.restorable || planted(Fault::FailedAsParent);
    view.believable().filter(is_sound).rev().find(|candidate| {
        let Some(own) = candidate.tier.filter(|own| from.contains(own)) else { return false };
        candidate.backup.local == Some(true)
            && view
                .restorable()
                .filter(|other| other.tier.is_some_and(|other| other < own))
                .all(|coarser| coarser.age_key() < candidate.age_key())
    })
}
