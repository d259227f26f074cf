//! What each tier holds in storage.

use crate::insight::storage::{StoredUsage, TierStorage, tier_storage};
use crate::plan::keep::Keeps;
use crate::plan::standing::VmView;
use crate::plan::tests::fixtures::*;
use crate::plan::tests::properties::for_clouds;
use crate::policy::{Match, Policies};
use proptest::prelude::*;
use std::num::NonZeroU32;

fn usage(backups: usize, gib: u64) -> StoredUsage {
    StoredUsage { backups, size_bytes: gib * GIB }
}

#[test]
fn each_tier_is_told_with_what_its_keep_holds_what_stays_besides_and_what_it_costs() {
    let mut policy = grandfather();
    policy.tiers.iter_mut().for_each(|tier| tier.keep = NonZeroU32::new(1));
    let vm = vm(1)
        .backup(1, "monthly", "2026-10-01 01:00")
        .size(62 * GIB)
        .backup(2, "monthly", "2026-11-01 01:00")
        .size(62 * GIB)
        .backup(3, "weekly", "2026-11-08 01:00")
        .on(2)
        .size(7 * GIB)
        .backup(4, "weekly", "2026-11-15 01:00")
        .on(3)
        .size(8 * GIB)
        .backup(5, "daily", "2026-10-02 01:00")
        .on(1)
        .backup(6, "daily", "2026-11-17 01:00")
        .on(4)
        .size(2 * GIB)
        .backup(7, "daily", "2026-11-18 01:00")
        .on(6)
        .size(3 * GIB)
        .backup(8, "daily", "2026-11-18 02:00")
        .failed();
    let now = at("2026-11-18 03:00");
    let tier =
        |tier: &str, kept, kept_otherwise, kept_for_descendants, expired, month_gib: u64| TierStorage {
            tier: tier.into(),
            kept,
            kept_otherwise,
            kept_for_descendants,
            expired,
            month_size_bytes: Some(month_gib * GIB),
        };
    let none = usage(0, 0);
    let view = VmView::new(&vm.vm, &policy, now);
    assert_eq!(
        tier_storage(&view, &Keeps::of(&view)),
        [
            tier("monthly", usage(1, 62), none, none, usage(1, 62), 60),
            tier("weekly", usage(1, 8), none, usage(1, 7), none, 15),
            tier("daily", usage(1, 3), usage(1, 1), usage(1, 2), usage(1, 1), 5),
        ]
    );
}

#[test]
fn together_they_are_all_managed_backups_and_those_that_have_expired() {
    for_clouds(300, |cloud| {
        let policies = Policies::new(cloud.policies.clone());
        for vm in cloud.inventory.vms.values() {
            let Match::One(policy) = policies.policy_for(vm) else { continue };
            let view = VmView::new(vm, policy, cloud.now);
            let keeps = Keeps::of(&view);
            let tiers = tier_storage(&view, &keeps);
            let sum = |of: fn(&TierStorage) -> usize| tiers.iter().map(of).sum::<usize>();
            let managed = view.backups.iter().filter(|backup| backup.tier.is_some()).count();
            let all = |it: &TierStorage| {
                it.kept.backups
                    + it.kept_otherwise.backups
                    + it.kept_for_descendants.backups
                    + it.expired.backups
            };
            prop_assert_eq!(sum(all), managed);
            prop_assert_eq!(sum(|it| it.expired.backups), keeps.expired(&view).len());
            for (tier, held) in policy.tiers.iter().zip(&tiers) {
                let keep = tier.keep.map_or(usize::MAX, |keep| keep.get() as usize);
                prop_assert!(held.kept.backups <= keep);
            }
        }
        Ok(())
    });
}
