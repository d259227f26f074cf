//! Which stored backups are still wanted, and which have expired.

use super::local::wanted_locally;
use super::standing::{Standing, View};
use crate::inventory::BackupId;
use std::collections::BTreeSet;

/// Finds the managed backups that are no longer wanted in storage, oldest first.
///
/// Wanted are the newest `keep` restorable ones of each tier, whatever is wanted locally, what is on its way, what is
/// of no tier, and all that one of these descends from. The newest restorable one never expires. One that cannot be
/// restored expires only when a newer one can.
pub fn expired(view: &View<'_>) -> Vec<BackupId> {
    let Some(newest) = view.newest_restorable() else { return Vec::new() };
    let mut wanted: BTreeSet<BackupId> = wanted_locally(view).into_keys().collect();
    wanted.insert(newest.id());
    for (tier, rules) in view.policy.tiers.iter().enumerate() {
        let keep = rules.keep.map_or(usize::MAX, |keep| usize::try_from(keep.get()).unwrap_or(usize::MAX));
        let newest_first = view.restorable().rev().filter(|backup| backup.tier == Some(tier));
        wanted.extend(newest_first.take(keep).map(|backup| backup.id()));
    }
    for backup in &view.backups {
        let cannot_judge = backup.tier.is_none() || backup.future || backup.standing == Standing::InProgress;
        let newest_of_its_kind = !backup.restorable && backup.age_key() > newest.age_key();
        if cannot_judge || newest_of_its_kind {
            wanted.insert(backup.id());
        }
    }
    wanted.extend(view.remains().map(|backup| backup.id));

    // Each step of a chain once, however many hang on it.
    let mut needed: BTreeSet<BackupId> = BTreeSet::new();
    for id in wanted {
        let mut step = Some(id);
        while let Some(id) = step.filter(|&id| needed.insert(id)) {
            step = view.vm.backups.get(&id).and_then(|backup| backup.parent);
        }
    }
    view.backups.iter().map(|backup| backup.id()).filter(|id| !needed.contains(id)).collect()
}
