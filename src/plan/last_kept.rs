//! What kept an expired backup in storage last, as far as the records tell: why it goes.

use super::notes::{name_of, newest_text, time_text};
use super::standing::{BackupView, VmView};
use crate::inventory::BackupId;
use chrono::{DateTime, Utc};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

/// Until when it, or what descends from it, was among the newest of its tier (`None`: it cannot be restored), and why it goes.
type LastKept = (Option<DateTime<Utc>>, String);

/// Finds what kept each expired backup last: its own place among the newest of its tier, or that of one which descends from
/// it and is still on record. Both are by today's `keep`.
pub(super) fn last_kept(view: &VmView<'_>, expired: &[&BackupView<'_>]) -> BTreeMap<BackupId, LastKept> {
    let mut left = left_keep(view, expired);
    // The one that left last keeps all that it descends from, as far as none that left later does; a backup comes before what
    // descends from it where both left at once.
    left.sort_by_key(|(at, _, backup)| (Reverse(*at), backup.age_key()));
    let expired_ids: BTreeSet<BackupId> = expired.iter().map(|backup| backup.id()).collect();
    let mut found: BTreeMap<BackupId, LastKept> = BTreeMap::new();
    for (at, keep, backup) in left {
        let (newest, until) = (newest_text(keep), time_text(view, at));
        let mut step = Some(backup.id());
        while let Some(id) = step.filter(|id| expired_ids.contains(id) && !found.contains_key(id)) {
            let reason = if id == backup.id() {
                format!("expired: no longer {newest} since {until}")
            } else {
                format!("expired: needed by the {}, which was {newest} until {until}", name_of(view, backup))
            };
            found.insert(id, (Some(at), reason));
            step = view.vm.backups.get(id).and_then(|backup| backup.parent);
        }
    }
    for backup in expired.iter().filter(|backup| !backup.is_restorable()) {
        let newer = view.restorable().find(|newer| newer.age_key() > backup.age_key());
        found.extend(newer.map(|newer| {
            let reason = format!("expired: cannot be restored, and the newer {} can", name_of(view, newer));
            (backup.id(), (None, reason))
        }));
    }
    found
}

/// Finds when each expired backup that could be restored was no longer among the so many newest of its tier.
fn left_keep<'v, 'a>(
    view: &VmView<'a>,
    expired: &[&'v BackupView<'a>],
) -> Vec<(DateTime<Utc>, u32, &'v BackupView<'a>)> {
    let mut by_tier: Vec<Vec<DateTime<Utc>>> = vec![Vec::new(); view.policy.tiers.len()];
    let mut places: BTreeMap<BackupId, usize> = BTreeMap::new();
    for backup in view.restorable() {
        let Some(tier) = backup.tier else { continue };
        places.insert(backup.id(), by_tier[tier].len());
        by_tier[tier].push(backup.taken);
    }
    let left = |backup: &&'v BackupView<'a>| {
        let tier = backup.tier?;
        let keep = view.tier(tier).keep.map(NonZeroU32::get)?;
        let last_newer = places.get(&backup.id())? + usize::try_from(keep).ok()?;
        Some((*by_tier[tier].get(last_newer)?, keep, *backup))
    };
    expired.iter().filter_map(left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Action;
    use crate::plan::keep::Keeps;
    use crate::plan::tests::fixtures::*;
    use crate::plan::tests::properties::for_clouds;
    use crate::policy::{Match, Policies, Policy};
    use proptest::prelude::*;

    /// The grandfather scheme with one kept of each tier.
    fn keeping_one() -> Policy {
        let mut policy = grandfather();
        policy.tiers.iter_mut().for_each(|tier| tier.keep = NonZeroU32::new(1));
        Policy { prune: true, ..policy }
    }

    fn reasons(vm: &VmBuilder, now: &str) -> Vec<String> {
        let planned = vm.plan(&keeping_one(), now);
        let deletes = planned.actions.iter().filter_map(Action::as_cloud_delete);
        deletes.map(|delete| format!("{}: {}", delete.backup.uuid().as_u128(), delete.reason)).collect()
    }

    #[test]
    fn each_is_told_with_what_kept_it_last_and_until_when() {
        let vm = vm(1)
            .backup(1, "monthly", "2026-10-01 01:00")
            .backup(2, "weekly", "2026-10-04 01:00")
            .on(1)
            .backup(3, "daily", "2026-10-05 01:00")
            .on(2)
            .backup(4, "monthly", "2026-11-01 01:00")
            .backup(5, "weekly", "2026-11-15 01:00")
            .on(4)
            .backup(6, "daily", "2026-10-12 01:00")
            .failed()
            .backup(7, "daily", "2026-11-17 02:00")
            .on(5)
            .backup(8, "daily", "2026-11-18 01:00")
            .on(7);
        assert_eq!(
            reasons(&vm, "2026-11-18 12:00"),
            [
                "6: expired: cannot be restored, and the newer monthly of 2026-11-01 01:00 can",
                "3: expired: no longer the newest of its tier since 2026-11-17 02:00",
                "2: expired: needed by the daily of 2026-10-05 01:00, which was the newest of its tier until 2026-11-17 02:00",
                "1: expired: needed by the daily of 2026-10-05 01:00, which was the newest of its tier until 2026-11-17 02:00",
            ]
        );
    }

    #[test]
    fn one_that_was_kept_for_longer_than_what_descends_from_it_was_kept_by_its_own_place() {
        let vm = vm(1)
            .backup(1, "monthly", "2026-10-01 01:00")
            .backup(2, "daily", "2026-10-02 01:00")
            .on(1)
            .backup(3, "daily", "2026-10-03 01:00")
            .backup(4, "weekly", "2026-11-15 01:00")
            .backup(5, "monthly", "2026-11-17 01:00")
            .backup(6, "daily", "2026-11-18 01:00");
        assert_eq!(
            reasons(&vm, "2026-11-18 12:00"),
            [
                "2: expired: no longer the newest of its tier since 2026-10-03 01:00",
                "1: expired: no longer the newest of its tier since 2026-11-17 01:00",
                "3: expired: no longer the newest of its tier since 2026-11-18 01:00",
            ]
        );
    }

    #[test]
    fn what_kept_one_last_is_the_longest_kept_of_all_that_descend_from_it() {
        for_clouds(500, |cloud| {
            let policies = Policies::new(cloud.policies.clone());
            for vm in cloud.inventory.vms.values() {
                let Match::One(policy) = policies.policy_for(vm) else { continue };
                let view = VmView::new(vm, policy, cloud.now);
                let expired = Keeps::of(&view).expired(&view);
                let found = last_kept(&view, &expired);
                let ids: BTreeSet<BackupId> = expired.iter().map(|backup| backup.id()).collect();
                prop_assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), ids);
                for backup in &expired {
                    let of_tier = view.restorable().filter(|it| it.tier == backup.tier);
                    let newer: Vec<_> = of_tier.filter(|it| it.age_key() > backup.age_key()).collect();
                    let keep = view.tier(backup.tier.unwrap()).keep.map_or(0, NonZeroU32::get) as usize;
                    let own = newer
                        .get(keep.wrapping_sub(1))
                        .map(|newer| newer.taken)
                        .filter(|_| backup.is_restorable());
                    let children = expired.iter().filter(|it| it.backup.parent == Some(backup.id()));
                    let of_children = children.filter_map(|it| found[&it.id()].0).max();
                    prop_assert_eq!(found[&backup.id()].0, own.max(of_children));
                }
            }
            Ok(())
        });
    }

    #[test]
    fn a_number_kept_is_told_with_its_words() {
        assert_eq!([1, 7].map(newest_text), ["the newest of its tier", "one of the 7 newest of its tier"]);
    }
}
