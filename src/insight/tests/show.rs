//! Why every backup is where it is.

use crate::insight::show::{
    BackupExplanation, DeleteWhen, Reason, Standing, VmExplanation, enter_expiry_dates, explain,
};
use crate::inventory::{BackupId, LocalState, chain_of};
use crate::plan::tests::fixtures::*;
use crate::plan::tests::properties::{for_clouds, planned};
use crate::plan::{Action, NoteCode, plan};
use crate::policy::{Policies, Policy};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::num::NonZeroU32;

fn explained(policy: Policy, vm: VmBuilder, now: &str) -> VmExplanation {
    let policies = Policies::new(vec![policy]);
    let inventory = inventory([vm]);
    let request = pruning(at(now));
    let plan = plan(&policies, &inventory, request);
    explain(&plan, &policies, &inventory, request).vms.remove(0)
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

fn of(vm: &VmExplanation, n: u128) -> &BackupExplanation {
    vm.backups.iter().find(|backup| backup.backup == backup_id(n)).unwrap()
}

fn local(backup: &BackupExplanation) -> Vec<&'static str> {
    backup.local.kept_for.iter().map(|reason| reason.code).collect()
}

fn stored(backup: &BackupExplanation) -> Vec<&'static str> {
    backup.stored.kept_for.iter().map(|reason| reason.code).collect()
}

#[test]
fn a_snapshot_without_a_reason_is_exactly_what_the_plan_deletes() {
    let seen = std::cell::RefCell::new((0, 0, 0));
    for_clouds(2_000, |cloud| {
        let plan = planned(&cloud, cloud.now)?;
        let policies = Policies::new(cloud.policies.clone());
        let explained = explain(&plan, &policies, &cloud.inventory, cloud.request(cloud.now));
        let mut seen = seen.borrow_mut();
        for (planned, vm) in plan.vms.iter().zip(&explained.vms) {
            prop_assert_eq!(planned.uuid, vm.uuid);
            let deleted = |wanted: bool| -> BTreeSet<BackupId> {
                let deletes = planned.actions.iter().filter_map(|action| match action {
                    Action::DeleteLocal(delete) if delete.after_create == wanted => delete.backup,
                    _ => None,
                });
                deletes.collect()
            };
            let unwanted =
                |backup: &&BackupExplanation| backup.local.is_held && backup.local.kept_for.is_none();
            let backups_where = |is_it: &dyn Fn(&&BackupExplanation) -> bool| -> BTreeSet<BackupId> {
                vm.backups.iter().filter(|backup| is_it(backup)).map(|backup| backup.backup).collect()
            };
            prop_assert_eq!(backups_where(&unwanted), deleted(false), "{:#?}", vm);
            prop_assert_eq!(backups_where(&|it| it.local.delete == Some(DeleteWhen::Now)), deleted(false));
            prop_assert_eq!(
                backups_where(&|it| it.local.delete == Some(DeleteWhen::AfterCreate)),
                deleted(true)
            );
            let notes = planned.notes.iter().filter(|note| note.code == NoteCode::Expired);
            let counts = notes.map(|note| note.message.split(' ').next().unwrap().parse::<u32>().unwrap());
            let expired = backups_where(&|it| it.stored.is_expired);
            let pruned = planned.actions.iter().filter(|action| action.is_cloud_delete()).count();
            prop_assert_eq!(expired.len(), counts.sum::<u32>() as usize + pruned, "{:#?}", vm);
            seen.0 += deleted(false).len();
            seen.1 += deleted(true).len();
            seen.2 += expired.len();
        }
        Ok(())
    });
    let (now, after, expired) = seen.into_inner();
    assert!(now > 100 && after > 100 && expired > 100, "{now} {after} {expired}");
}

#[test]
fn every_backup_is_listed_once_and_after_its_parent() {
    for_clouds(500, |cloud| {
        let plan = planned(&cloud, cloud.now)?;
        let explained = explain(
            &plan,
            &Policies::new(cloud.policies.clone()),
            &cloud.inventory,
            cloud.request(cloud.now),
        );
        for vm in &explained.vms {
            let Some(known) = vm.uuid.and_then(|id| cloud.inventory.vms.get(&id)) else { continue };
            let listed: Vec<BackupId> = vm.backups.iter().map(|backup| backup.backup).collect();
            let different: BTreeSet<BackupId> = listed.iter().copied().collect();
            prop_assert_eq!(&different, &known.backups.keys().collect::<BTreeSet<_>>());
            prop_assert_eq!(different.len(), listed.len());
            let mut open: Vec<BackupId> = Vec::new();
            for backup in &vm.backups {
                open.truncate(backup.depth);
                prop_assert_eq!(open.len(), backup.depth, "no step of a chain is left out");
                prop_assert!(backup.depth == 0 || backup.parent == open.last().copied(), "{:#?}", backup);
                prop_assert_eq!(backup.restore.is_some(), backup.standing == Standing::Restorable);
                if let Some(restore) = backup.restore {
                    let chain = chain_of(&known.backups, backup.backup).unwrap();
                    let fetched = chain.steps.iter().take_while(|step| step.local != LocalState::Present);
                    let walked = (chain.steps.len(), chain.size_bytes(), fetched.count());
                    prop_assert_eq!((restore.steps, restore.size_bytes, restore.steps_now), walked);
                }
                open.push(backup.backup);
            }
        }
        Ok(())
    });
}

#[test]
fn a_chain_says_why_each_of_its_steps_is_kept() {
    let vm = explained(grandfather(), chain(), "2026-11-16 20:00");
    assert_eq!(vm.backups.iter().map(|backup| backup.depth).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(local(of(&vm, 1)), [""; 0]);
    assert_eq!(local(of(&vm, 2)), ["next_parent"]);
    assert_eq!(local(of(&vm, 3)), ["next_parent"]);
    assert_eq!([1, 2, 3].map(|n| stored(of(&vm, n))), [["keep"]; 3]);
    let Reason { why, until, .. } = of(&vm, 2).local.kept_for.as_ref().unwrap();
    assert_eq!(why, "parent of the next weekly");
    assert_eq!(until.as_deref(), Some("until a newer backup can be the parent of the next weekly"));
    let vm = chain().backup(4, "daily", "2026-11-17 01:00").on(3).local();
    let vm = explained(keeping(1), vm, "2026-11-17 02:00");
    let needed = of(&vm, 3).stored.kept_for.as_ref().unwrap();
    assert_eq!((needed.code, needed.why.as_str()), ("needed", "required by the daily of 2026-11-17 01:00"));
}

#[test]
fn a_restore_fetches_its_chain_and_stops_at_what_is_still_there() {
    let vm = explained(
        grandfather(),
        chain().change(|daily| daily.local = LocalState::Absent),
        "2026-11-16 20:00",
    );
    let restore = of(&vm, 3).restore.unwrap();
    assert_eq!((restore.steps, restore.steps_now, restore.size_bytes), (3, 1, Some(3 * GIB)));
    assert_eq!(of(&vm, 2).restore.unwrap().steps_now, 0, "its own snapshot is there");
}

#[test]
fn what_makes_way_for_a_new_backup_is_kept_until_that_is_complete() {
    let vm = explained(grandfather(), chain(), "2026-11-17 20:00");
    let daily = of(&vm, 3);
    assert_eq!((local(daily), daily.local.delete), (vec!["next_parent"], Some(DeleteWhen::AfterCreate)));
}

#[test]
fn the_parent_of_a_stuck_backup_waits_for_a_newer_one_and_not_for_its_end() {
    let vm =
        |now| explained(grandfather(), chain().backup(4, "daily", "2026-11-17 01:00").on(3).uploading(), now);
    let until = |vm: &VmExplanation| {
        let kept = of(vm, 3).local.kept_for.iter().find(|reason| reason.code == "parent_of_running");
        kept.unwrap().until.clone().unwrap()
    };
    assert_eq!(until(&vm("2026-11-17 02:00")), "until that has ended");
    assert_eq!(until(&vm("2026-11-17 20:00")), "until a newer backup can be restored");
}

#[test]
fn how_many_more_have_to_come_is_counted() {
    let mut policy = grandfather();
    policy.tiers[2].keep = std::num::NonZeroU32::new(3);
    let vm = vm(1)
        .backup(1, "monthly", "2026-11-01 01:00")
        .backup(2, "daily", "2026-11-14 01:00")
        .on(1)
        .backup(3, "daily", "2026-11-15 01:00")
        .on(1)
        .backup(4, "daily", "2026-11-16 01:00")
        .on(1)
        .local();
    let vm = explained(policy, vm, "2026-11-16 20:00");
    let until = |n| {
        let kept = of(&vm, n).stored.kept_for.iter().find(|reason| reason.code == "keep").unwrap();
        kept.until.clone().unwrap()
    };
    assert_eq!(until(2), "until 1 more of them can be restored");
    assert_eq!(until(4), "until 3 more of them can be restored");
}

#[test]
fn a_loop_is_listed_to_its_end() {
    let vm = vm(1)
        .backup(1, "monthly", "2026-11-01 01:00")
        .on(3)
        .backup(2, "weekly", "2026-11-08 01:00")
        .on(1)
        .backup(3, "daily", "2026-11-09 01:00")
        .on(2);
    let vm = explained(grandfather(), vm, "2026-11-16 20:00");
    assert_eq!(vm.backups.iter().map(|backup| backup.depth).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(vm.backups.iter().all(|backup| backup.standing == Standing::Unrestorable));
}

#[test]
fn without_a_policy_everything_stays() {
    let vm = explained(grandfather(), chain().set(|vm| vm.metadata = Default::default()), "2026-11-16 20:00");
    assert_eq!(vm.policy, None);
    assert_eq!(local(of(&vm, 3)), ["no_policy"]);
    assert_eq!(stored(of(&vm, 1)), ["no_policy"]);
    assert_eq!(of(&vm, 3).restore.unwrap().steps, 3);
}

fn keeping(dailies: u32) -> Policy {
    let mut policy = grandfather();
    policy.tiers[2].keep = NonZeroU32::new(dailies);
    policy.prune = true;
    policy
}

#[test]
fn a_backup_says_when_it_expires_if_all_that_is_due_succeeds() {
    let vm = vm(1)
        .backup(1, "monthly", "2026-11-01 01:00")
        .backup(2, "daily", "2026-11-16 01:00")
        .on(1)
        .backup(3, "daily", "2026-11-17 01:00")
        .on(2)
        .backup(4, "daily", "2026-11-17 01:30")
        .on(9);
    let (policies, inventory) = (Policies::new(vec![keeping(2)]), inventory([vm]));
    let request = pruning(at("2026-11-17 02:00"));
    let mut explained = explain(&plan(&policies, &inventory, request), &policies, &inventory, request);
    assert_eq!(of(&explained.vms[0], 3).stored.not_before, None);
    enter_expiry_dates(&mut explained, &policies, &inventory);
    let date = |n| of(&explained.vms[0], n).stored.not_before.map(|date| date.to_utc());
    // The one of the 17th goes when two newer ones are there; the one that it is based on not before.
    assert_eq!((date(3), date(2)), (Some(at("2026-11-19 01:00")), Some(at("2026-11-19 01:00"))));
    assert_eq!(date(4), Some(at("2026-12-22 01:30")), "what cannot be restored stays for 35 days");
    assert_eq!(date(1), None, "monthlies are kept for ever");
}

#[test]
fn an_expired_backup_says_whether_prune_deletes_it_and_else_why_not() {
    let dailies = || {
        let monthly = vm(1).backup(1, "monthly", "2026-11-01 01:00");
        (14..=17).fold(monthly, |vm, day| vm.backup(day, "daily", &format!("2026-11-{day} 01:00")).on(1))
    };
    let codes = |policy: Policy, vm: VmBuilder, now: &str| -> Vec<(u128, &'static str)> {
        let explained = explained(policy, vm, now);
        let outlook = |n| of(&explained, n).stored.prune.as_ref().map(|prune| prune.code);
        (14..=17).filter_map(|n| Some((n, outlook(n)?))).collect()
    };
    let now = "2026-11-17 02:00";
    assert_eq!(codes(keeping(2), dailies(), now), [(14, "deleted"), (15, "deleted")]);
    let held = |hold| [(14, hold), (15, hold)];
    assert_eq!(codes(Policy { prune: false, ..keeping(2) }, dailies(), now), held("not_allowed"));
    assert_eq!(codes(keeping(2), dailies(), "2026-11-19 20:00"), held("newest_too_old"));
    let stored = dailies().set(|vm| vm.hypervisor = None);
    assert_eq!(codes(keeping(2), stored, now), held("cannot_back_up"));
    let orphaned = dailies().set(|vm| {
        vm.backups.get_mut(backup_id(15)).unwrap().local_size_bytes = Some(GIB);
    });
    assert_eq!(codes(keeping(2), orphaned, now), [(14, "deleted"), (15, "not_yet")]);
}

#[test]
fn each_due_time_of_35_days_is_made_late_failed_missed_or_no_longer_known() {
    use crate::insight::show::DueOutcome::{Due, Failed, Late, Made, Missed, Unknown};
    let vm = vm(1)
        .backup(1, "monthly", "2026-11-01 01:00")
        .backup(2, "daily", "2026-11-03 01:01")
        .on(1)
        .backup(3, "daily", "2026-11-04 09:00")
        .on(2)
        .backup(4, "daily", "2026-11-05 01:00")
        .on(3)
        .failed();
    let explained = explained(grandfather(), vm, "2026-11-07 03:00");
    let of = |tier: &str| {
        let due =
            explained.timeline.iter().filter(|due| *due.tier == *tier && due.at >= at("2026-11-01 00:00"));
        due.map(|due| due.outcome).collect::<Vec<_>>()
    };
    // That of the 1st is the monthly's; there is no daily before the 3rd that could tell of the 2nd.
    assert_eq!(of("daily"), [Made, Unknown, Made, Late, Failed, Missed, Due]);
    assert_eq!(of("monthly"), [Made]);
}
