//! What those who watch are shown.

use crate::insight::status::{BackupHealth, Health, HealthBuilder, TierHealth};
use crate::inventory::UnreadableVm;
use crate::plan::tests::fixtures::{VmBuilder, at, grandfather, inventory, vm, vm_id};
use crate::plan::{Planner, Status};
use crate::policy::Policies;
use chrono::TimeDelta;

fn overview(vms: impl IntoIterator<Item = VmBuilder>, now: &str) -> Health {
    let policies = Policies::new(vec![grandfather()]);
    super::overview_of(&policies, &inventory(vms), at(now))
}

/// The tiers of the only VM.
fn tiers(vms: [VmBuilder; 1], now: &str) -> Vec<TierHealth> {
    overview(vms, now).vms.remove(0).tiers
}

fn chain() -> VmBuilder {
    vm(1).backup(1, "monthly", "2026-11-01 01:00").backup(2, "daily", "2026-11-16 01:00").on(1).local()
}

#[test]
fn each_tier_has_its_own_newest_and_a_failed_one_is_none() {
    let vm = chain().backup(3, "weekly", "2026-11-15 01:00").on(1).failed();
    let tiers = tiers([vm], "2026-11-16 20:00");
    let shown: Vec<_> = tiers.iter().map(|it| (&*it.tier, it.newest, it.is_up_to_date)).collect();
    assert_eq!(
        shown,
        [
            ("monthly", Some(at("2026-11-01 01:00")), true),
            ("weekly", None, false),
            ("daily", Some(at("2026-11-16 01:00")), true),
        ]
    );
}

#[test]
fn what_is_on_its_way_is_up_to_date_and_not_yet_the_newest() {
    let vm = chain().backup(3, "daily", "2026-11-17 01:00").on(2).uploading();
    let tiers = tiers([vm], "2026-11-17 01:30");
    assert_eq!((tiers[2].newest, tiers[2].is_up_to_date), (Some(at("2026-11-16 01:00")), true));
}

#[test]
fn vms_in_no_policy_are_counted_and_have_no_tiers() {
    let other = vm(2).set(|vm| vm.metadata = Default::default());
    let overview = overview([chain(), other], "2026-11-16 20:00");
    let vms = overview.vms.iter().map(|vm| (vm.uuid, vm.status == Status::Unprotected, vm.tiers.len()));
    assert_eq!(vms.collect::<Vec<_>>(), [(Some(vm_id(1)), false, 3), (Some(vm_id(2)), true, 0)]);
}

#[test]
fn what_was_read_long_ago_is_not_safe_for_ever() {
    let health = overview([chain()], "2026-11-16 20:00");
    let max = grandfather().max_age;
    let verdict = |age: TimeDelta| health.aged(at("2026-11-16 01:00") + age).vms[0].verdict;
    assert_eq!(
        (verdict(max), verdict(max + TimeDelta::seconds(1))),
        (BackupHealth::Safe, BackupHealth::TooOld)
    );
    // A clock that was set back makes nothing younger.
    let age = |health: Health| health.vms[0].newest.as_ref().map(|it| it.age_secs);
    assert_eq!(age(health.aged(at("2026-11-16 02:00"))), Some(19 * 3_600));
}

#[test]
fn vms_are_listed_by_alias_and_a_forgotten_one_is_not() {
    let policies = Policies::new(vec![grandfather()]);
    let named = |n: u128, alias: &str| vm(n).set(|vm| vm.alias = alias.to_owned());
    let inventory = inventory([named(1, "web"), named(2, "db"), named(3, "app")]);
    let mut planner = Planner::new(&policies, at("2026-11-16 20:00"));
    let mut builder = HealthBuilder::default();
    for vm in inventory.vms.values() {
        builder.add(vm, planner.decide(vm));
    }
    assert_eq!(builder.forget(vm_id(3)).as_deref(), Some("app"));
    assert_eq!(builder.forget(vm_id(3)), None);
    let twice =
        UnreadableVm { id: Some(vm_id(3)), alias: "app".to_owned(), problems: vec!["twice".to_owned()] };
    let overview = builder.finish(&planner, "https://fifo", &[twice]);
    let vms = overview.vms.iter().map(|vm| (vm.alias.as_str(), vm.verdict));
    assert_eq!(
        vms.collect::<Vec<_>>(),
        [("app", BackupHealth::Unreadable), ("db", BackupHealth::NoBackup), ("web", BackupHealth::NoBackup),]
    );
    let unreadable = overview.vms.iter().map(|vm| (vm.status == Status::Unreadable, vm.tiers.len()));
    assert_eq!(unreadable.collect::<Vec<_>>(), [(true, 0), (false, 3), (false, 3)]);
}
