//! Would these backups have saved us?

use crate::insight::status::{BackupHealth, VmHealth};
use crate::plan::tests::fixtures::*;
use crate::policy::{Policies, Policy, Tier};
use std::num::NonZeroU32;

fn judged(policy: Policy, vm: VmBuilder, now: &str) -> VmHealth {
    let policies = Policies::new(vec![policy]);
    super::overview_of(&policies, &inventory([vm]), at(now)).vms.remove(0)
}

fn chain() -> VmBuilder {
    vm(1)
        .backup(1, "monthly", "2026-11-01 01:00")
        .backup(2, "weekly", "2026-11-15 01:00")
        .on(1)
        .local()
        .backup(3, "daily", "2026-11-16 01:00")
        .on(2)
        .local()
}

#[test]
fn the_newest_restorable_one_counts_with_all_that_it_rests_on() {
    let vm = judged(
        grandfather(),
        chain().backup(4, "daily", "2026-11-17 01:00").on(3).failed(),
        "2026-11-16 20:00",
    );
    assert_eq!(vm.verdict, BackupHealth::Safe);
    let newest = vm.newest.unwrap();
    assert_eq!((newest.backup, newest.steps, newest.size_bytes), (backup_id(3), 3, Some(3 * GIB)));
    assert_eq!(newest.age_secs, 19 * 3_600);
    assert_eq!((vm.local.snapshots, vm.local.size_bytes), (2, 2 * GIB));
}

#[test]
fn a_second_too_old_is_too_old() {
    let limit_hours = grandfather().max_age.num_hours();
    let is = |minutes: i64| {
        let now = at("2026-11-16 01:00") + chrono::TimeDelta::minutes(limit_hours * 60 + minutes);
        judged(grandfather(), chain(), &now.format("%Y-%m-%d %H:%M").to_string()).verdict
    };
    assert_eq!((is(0), is(1)), (BackupHealth::Safe, BackupHealth::TooOld));
}

#[test]
fn a_broken_chain_counts_as_no_backup() {
    let orphan = vm(1).backup(3, "daily", "2026-11-16 01:00").on(2).local();
    let vm = judged(grandfather(), orphan, "2026-11-16 20:00");
    assert_eq!((vm.verdict, vm.newest), (BackupHealth::NoBackup, None));
}

#[test]
fn a_gap_is_a_due_time_that_nothing_was_made_up_for_before_the_next() {
    // The one of the 4th was made up for in the afternoon, that of the 5th never, and that of the 7th may still be.
    let vm = vm(1)
        .backup(1, "monthly", "2026-11-01 01:00")
        .backup(2, "daily", "2026-11-02 01:00")
        .backup(3, "daily", "2026-11-03 01:00")
        .backup(4, "daily", "2026-11-04 15:00")
        .backup(5, "daily", "2026-11-05 01:00")
        .failed()
        .backup(6, "daily", "2026-11-06 01:00");
    let gaps = judged(grandfather(), vm, "2026-11-07 20:00").gaps;
    assert_eq!(gaps, [at("2026-11-05 01:00")]);
}

/// Sixty nights of a policy with a run at that time, each with what is due, without what its tiers no longer keep.
fn healthy_for_sixty_nights(policy: &Policy, time: &str) -> VmBuilder {
    let day = chrono::TimeDelta::days(1);
    let due_by_night = (0..60).map(|night| at(&format!("2026-10-01 {time}")) + day * night);
    let tier = |night: chrono::DateTime<chrono::Utc>| {
        let tiers = policy.tiers.iter();
        let mut due = tiers.filter(|tier| tier.schedule.last_at_or_before(night) > Some(night - day));
        due.next().unwrap()
    };
    let mut kept = std::collections::BTreeMap::new();
    let mut nights: Vec<_> = due_by_night.map(|night| (night, tier(night))).collect();
    nights.reverse();
    nights.retain(|(_, tier)| {
        let so_many = kept.entry(&*tier.name).or_insert(0);
        *so_many += 1;
        tier.keep.is_none_or(|keep| *so_many <= keep.get())
    });
    nights.reverse();
    let add = |vm: VmBuilder, (n, (night, tier)): (usize, &(chrono::DateTime<chrono::Utc>, &Tier))| {
        vm.backup(n as u128 + 1, &tier.name, &night.format("%Y-%m-%d %H:%M").to_string())
    };
    nights.iter().enumerate().fold(vm(1), add)
}

fn keeping(keep: [u32; 3]) -> Policy {
    let mut policy = grandfather();
    for (tier, keep) in policy.tiers.iter_mut().zip(keep) {
        tier.keep = NonZeroU32::new(keep);
    }
    policy
}

#[test]
fn what_has_gone_because_no_tier_keeps_it_any_longer_is_no_gap() {
    for keep in [[12, 5, 7], [1, 1, 1], [2, 3, 2], [1, 9, 40]] {
        let policy = keeping(keep);
        let vm = healthy_for_sixty_nights(&policy, "01:00");
        let gaps = judged(policy, vm, "2026-11-29 20:00").gaps;
        assert!(gaps.is_empty(), "{keep:?} {gaps:?}");
    }
}

#[test]
fn a_due_time_is_a_gap_as_long_as_one_tier_would_still_keep_its_backup() {
    let policy = keeping([12, 5, 7]);
    let healthy = healthy_for_sixty_nights(&policy, "01:00");
    let without = |night: &str| {
        let vm = healthy.clone().set(|vm| vm.backups.retain(|backup| backup.timestamp != Some(at(night))));
        judged(policy.clone(), vm, "2026-11-29 20:00").gaps
    };
    assert_eq!(without("2026-11-26 01:00"), [at("2026-11-26 01:00")], "a daily of the last week");
    assert_eq!(without("2026-11-08 01:00"), [at("2026-11-08 01:00")], "a weekly, when all dailies have gone");
}

#[test]
fn a_weekly_that_was_made_up_for_two_nights_later_is_no_gap_when_the_dailies_have_gone() {
    let policy = keeping([12, 5, 7]);
    let vm = healthy_for_sixty_nights(&policy, "01:00").set(|vm| {
        let weekly = vm.backups.values_mut().find(|it| it.timestamp == Some(at("2026-11-08 01:00"))).unwrap();
        weekly.timestamp = Some(at("2026-11-10 01:00"));
    });
    assert!(judged(policy, vm, "2026-11-29 20:00").gaps.is_empty());
}

#[test]
fn a_run_after_the_due_times_of_two_tiers_leaves_no_gap_between_them() {
    let mut policy = grandfather();
    policy.tiers[2].schedule =
        crate::policy::Schedule::parse("30 1 * * *", crate::policy::Zone::UTC).unwrap();
    let nights = [(8, "monthly"), (9, "daily"), (10, "daily"), (15, "weekly"), (16, "daily")];
    let vm = nights
        .into_iter()
        .fold(vm(1), |vm, (day, tier)| vm.backup(day, tier, &format!("2026-11-{day:02} 02:07")));
    let gaps = judged(policy, vm, "2026-11-16 20:00").gaps;
    assert_eq!(gaps, [11, 12, 13, 14].map(|day| at(&format!("2026-11-{day} 01:30"))));
}

#[test]
fn what_a_backup_that_has_expired_since_did_for_as_well_is_no_gap() {
    for (daily, time) in [("0 1 * * *", "01:00"), ("0 1 * * *", "02:07"), ("30 1 * * *", "02:07")] {
        for keep in [[12, 1, 30], [1, 1, 40], [12, 5, 7]] {
            let mut policy = keeping(keep);
            policy.tiers[2].schedule =
                crate::policy::Schedule::parse(daily, crate::policy::Zone::UTC).unwrap();
            let vm = healthy_for_sixty_nights(&policy, time);
            let gaps = judged(policy, vm, "2026-11-29 20:00").gaps;
            assert!(gaps.is_empty(), "{daily} {time} {keep:?} {gaps:?}");
        }
    }
}

#[test]
fn a_vm_in_no_policy_is_not_out_and_one_that_could_not_be_read_is() {
    assert!(!BackupHealth::Unprotected.is_out() && BackupHealth::Unreadable.is_out());
    let unprotected =
        judged(grandfather(), chain().set(|vm| vm.metadata = Default::default()), "2026-11-16 20:00");
    assert_eq!(unprotected.verdict, BackupHealth::Unprotected);
    assert_eq!(unprotected.local.snapshots, 2);
}
