//! Would these backups have saved us?

use super::fixtures::*;
use crate::plan::health::{Verdict, VmHealth, health};
use crate::plan::plan;
use crate::policy::{Policies, Policy};

fn judged(policy: Policy, vm: VmBuilder, now: &str) -> VmHealth {
    let policies = Policies::new(vec![policy]);
    let inventory = inventory([vm]);
    let plan = plan(&policies, &inventory, at(now)).unwrap();
    health(&plan, &policies, &inventory).vms.remove(0)
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
    assert_eq!(vm.verdict, Verdict::Safe);
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
    assert_eq!((is(0), is(1)), (Verdict::Safe, Verdict::TooOld));
}

#[test]
fn what_rests_on_nothing_saves_nobody() {
    let orphan = vm(1).backup(3, "daily", "2026-11-16 01:00").on(2).local();
    let vm = judged(grandfather(), orphan, "2026-11-16 20:00");
    assert_eq!((vm.verdict, vm.newest), (Verdict::NoBackup, None));
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

#[test]
fn a_vm_in_no_policy_is_not_out_and_one_that_could_not_be_read_is() {
    assert!(!Verdict::Unprotected.is_out() && Verdict::Unreadable.is_out());
    let unprotected =
        judged(grandfather(), chain().set(|vm| vm.metadata = Default::default()), "2026-11-16 20:00");
    assert_eq!(unprotected.verdict, Verdict::Unprotected);
    assert_eq!(unprotected.local.snapshots, 2);
}
