//! Plans of things that could hurt: the audit must refuse every one of them and say why. They are made by hand, so that no rule
//! of the planner takes part; a good plan of the same VM passes.

use super::fixtures::*;
use crate::inventory::{LocalState, RecordedState, Vm};
use crate::plan::audit::audit_vm;
use crate::plan::{Action, BackupKind, Create, DeleteCloud, DeleteLocal, Status, SuspendedUntil, VmPlan};
use crate::policy::{Policies, Policy, Suspension};
use chrono::TimeDelta;
use std::num::NonZeroU32;

const NOW: &str = "2026-11-18 01:30";

type Change = fn(VmBuilder) -> VmBuilder;

/// Monthly 1 with dailies 2 and 3 on it; monthly 4 with weekly 5 and dailies 6 and 7, of which 5 to 7 are local; 9 by hand.
fn web() -> VmBuilder {
    vm(1)
        .backup(1, "monthly", "2026-10-01 01:00")
        .backup(2, "daily", "2026-10-02 01:00")
        .on(1)
        .backup(3, "daily", "2026-10-03 01:00")
        .on(2)
        .backup(4, "monthly", "2026-11-01 01:00")
        .backup(5, "weekly", "2026-11-15 01:00")
        .on(4)
        .local()
        .backup(6, "daily", "2026-11-16 01:00")
        .on(5)
        .local()
        .backup(7, "daily", "2026-11-17 01:00")
        .on(5)
        .local()
        .backup(9, "by hand", "2026-10-05 12:00")
}

fn keeping_one() -> Policy {
    let mut policy = Policy { prune: true, ..grandfather() };
    policy.tiers.iter_mut().for_each(|tier| tier.keep = NonZeroU32::new(1));
    policy
}

fn create(parent: Option<u128>) -> Action {
    let due_since = at("2026-11-18 01:00").fixed_offset();
    Action::Create(Create {
        tier: "daily".into(),
        kind: if parent.is_some() { BackupKind::Incremental } else { BackupKind::Full },
        parent: parent.map(backup_id),
        parent_tier: None,
        parent_taken: None,
        comment: "daily".to_owned(),
        due_since,
        reason: String::new(),
        is_retry: false,
    })
}

fn delete_any(backup: Option<u128>, after_create: bool) -> Action {
    Action::DeleteLocal(DeleteLocal {
        backup: backup.map(backup_id),
        tier: "daily".into(),
        taken: None,
        after_create,
        reason: String::new(),
    })
}

fn delete(n: u128) -> Action {
    delete_any(Some(n), false)
}

fn after(n: u128) -> Action {
    delete_any(Some(n), true)
}

fn prune(n: u128) -> Action {
    Action::DeleteCloud(DeleteCloud {
        backup: backup_id(n),
        tier: "daily".into(),
        taken: at(NOW).fixed_offset(),
        size_bytes: None,
        reason: String::new(),
    })
}

fn found_under(policy: &Policy, vm: &VmBuilder, planned: &VmPlan) -> Vec<String> {
    audit_vm(planned, &vm.vm, &Policies::new(vec![policy.clone()]), pruning(at(NOW)))
}

fn planned(vm: &VmBuilder, actions: &[Action]) -> VmPlan {
    VmPlan { status: Status::Changes, actions: actions.to_vec(), ..vm.plan(&grandfather(), NOW) }
}

#[track_caller]
fn passes(vm: &VmBuilder, actions: &[Action]) {
    assert_eq!(found_under(&keeping_one(), vm, &planned(vm, actions)), Vec::<String>::new());
}

#[track_caller]
fn refused(vm: &VmBuilder, actions: &[Action], words: &str) {
    refused_under(&keeping_one(), vm, actions, words);
}

#[track_caller]
fn refused_under(policy: &Policy, vm: &VmBuilder, actions: &[Action], words: &str) {
    let found = found_under(policy, vm, &planned(vm, actions));
    assert!(found.iter().any(|what| what.contains(words)), "{words:?} is not in {found:#?}");
}

#[test]
fn good_plans_pass() {
    passes(&web(), &[delete(6), create(Some(7)), after(7), prune(3), prune(2), prune(1)]);
    passes(&web(), &[create(None), after(5), after(6), delete_any(None, true)]);
    // Neither wording nor counts, notes or a due time are looked at.
    let sloppy =
        VmPlan { stored: 77, notes: Vec::new(), status: Status::Waiting, ..planned(&web(), &[delete(6)]) };
    assert_eq!(found_under(&keeping_one(), &web(), &sloppy), Vec::<String>::new());
}

#[test]
fn creates_that_could_hurt() {
    let running = web().backup(8, "by hand", "2026-11-18 01:00").uploading();
    let doubtful =
        web().backup(8, "daily", "2026-11-18 01:00").on(7).change(|it| it.files[0].has_checksum = false);
    refused(&running, &[create(Some(7))], "a create while another backup runs");
    refused(&doubtful, &[create(Some(7))], "a create while another backup runs");
    refused(&web(), &[create(Some(7)), create(None)], "more than one create");
    refused(&web(), &[create(Some(4))], "whose parent is not local");
    refused(&web(), &[create(Some(77))], "without a parent that is there");
    let bad: [(&str, Change); 5] = [
        ("failed", VmBuilder::failed),
        ("next to empty", |vm| vm.size(52)),
        ("on a chain that is broken", |vm| vm.on(99)),
        ("on itself", |vm| vm.on(8)),
        ("dated ahead", |vm| vm.change(|it| it.timestamp = Some(at("2026-11-18 03:00")))),
    ];
    for (what, change) in bad {
        let vm = change(web().backup(8, "daily", "2026-11-17 02:00").on(7).local());
        let found = found_under(&keeping_one(), &vm, &planned(&vm, &[create(Some(8))]));
        assert!(
            found.iter().any(|found| found.contains("whose parent cannot be restored")),
            "{what}: {found:?}"
        );
    }
    let mut full = create(None);
    let Action::Create(create) = &mut full else { panic!() };
    create.parent = Some(backup_id(7));
    refused(&web(), &[full], "a full create with a parent");
}

#[test]
fn local_deletes_that_could_hurt() {
    refused(&web(), &[delete(9)], "of an unmanaged backup");
    refused(&web(), &[delete(77)], "that is not there");
    refused(&web(), &[delete(7), create(Some(7))], "of the planned backup's parent before");
    refused(&web(), &[create(Some(7)), delete(7)], "of the planned backup's parent before");
    refused(&web(), &[after(7), create(Some(7))], "that waits for a create that does not come before it");
    refused(&web(), &[after(7)], "that waits for a create that does not come before it");
    for broken in [4, 5, 6] {
        let vm = web().set(|vm| vm.backups.get_mut(backup_id(broken)).unwrap().is_broken = true);
        refused(&vm, &[create(None), after(6)], "of a backup on the chain of a broken one");
        refused(&vm, &[create(Some(6))], "whose parent cannot be restored");
    }
    refused(&web(), &[create(None), delete_any(None, false)], "of the new backup before it is complete");
    let ahead = web().backup(8, "daily", "2026-11-18 03:00").local();
    refused(&ahead, &[delete(8)], "whose time cannot be believed");
    let running = web().backup(8, "daily", "2026-11-18 01:00").on(6).uploading();
    refused(&running, &[delete(8)], "of a backup that runs");
    refused(&running, &[delete(6)], "of the parent of a backup that runs");
    let silent = web().backup(8, "daily", "2026-11-18 01:00").accepted();
    refused(&silent, &[delete(6)], "while a backup runs whose parent is not known");
    let stuck = web().backup(8, "daily", "2026-11-17 02:00").on(6).uploading();
    refused(&stuck, &[delete(8)], "of a stuck backup that may still run");
    refused(&stuck, &[delete(6)], "of the parent of a backup that runs");
    passes(&stuck, &[create(Some(7)), after(6)]);
    let lost = web().backup(8, "daily", "2026-11-17 02:00").on(7).failed().local();
    refused(&lost, &[delete(8)], "of the only copy of its moment");
    passes(&lost, &[create(Some(7)), after(8)]);
    passes(&lost.backup(10, "by hand", "2026-11-17 03:00"), &[delete(8)]);
}

#[test]
fn deletes_from_storage_that_could_hurt() {
    refused(&web(), &[prune(2)], "while a backup that descends from it is there");
    refused(&web(), &[prune(2), prune(3)], "while a backup that descends from it is there");
    refused(&web(), &[prune(3), delete(6)], "before a create or a local delete");
    refused(&web(), &[prune(9)], "of an unmanaged backup");
    refused(&web(), &[prune(77)], "that is not there");
    refused(&web(), &[prune(7)], "of a backup that holds a snapshot");
    for broken in [1, 2, 3] {
        let vm = web().set(|vm| vm.backups.get_mut(backup_id(broken)).unwrap().is_broken = true);
        refused(&vm, &[prune(3), prune(2), prune(1)], "of a backup on the chain of a broken one");
    }
    refused(&web(), &[prune(7)], "nothing newer that can be restored");
    refused(&web(), &[prune(5)], "a weekly that `keep` asks for would be gone");
    let mut all = keeping_one();
    all.tiers[2].keep = None;
    refused_under(&all, &web(), &[prune(3)], "a daily that `keep` asks for would be gone");
    let unpruned = Policy { prune: false, ..keeping_one() };
    refused_under(&unpruned, &web(), &[prune(3)], "without both switches");
    let policies = Policies::new(vec![keeping_one()]);
    let found = audit_vm(&planned(&web(), &[prune(3)]), &web().vm, &policies, at(NOW));
    assert_eq!(found, ["deletes from storage without both switches"]);
    let strict = Policy { max_age: TimeDelta::hours(24), ..keeping_one() };
    refused_under(&strict, &web(), &[prune(3)], "while the newest restorable backup is too old");
    let silent = web().backup(8, "by hand", "2026-11-18 01:00").accepted();
    refused(&silent, &[prune(3)], "while an accepted backup has not named its parent");
    let ahead = web().backup(8, "by hand", "2027-11-18 01:00").accepted();
    refused(&ahead, &[prune(3)], "while an accepted backup has not named its parent");
    let each: [(&str, Change); 7] = [
        ("with bytes on the hypervisor", |vm| vm.change(|it| it.local_size_bytes = Some(7))),
        ("in an unknown state", |vm| vm.change(|it| it.state = RecordedState::Other("verified".into()))),
        ("that may still upload", |vm| {
            let vm = vm.uploading().change(|it| it.local = LocalState::Absent);
            vm.change(|it| it.timestamp = Some(at("2026-10-14 01:31")))
        }),
        ("whole by FiFo's word", |vm| vm.on(20)),
        ("less than an hour old", |vm| vm.change(|it| it.timestamp = Some(at("2026-11-18 00:31")))),
        ("whose time cannot be believed", |vm| vm.change(|it| it.timestamp = Some(at("2026-11-19 01:00")))),
        ("whose time cannot be believed", |vm| vm.change(|it| it.timestamp = None)),
    ];
    for (words, change) in each {
        // A full backup of too few bytes by the policy, which is no reason to delete it.
        let vm = web().backup(20, "daily", "2026-10-04 00:00").size(60_000);
        let vm = change(vm.backup(8, "daily", "2026-10-04 01:00"));
        refused(&vm, &[prune(8)], words);
    }
}

#[test]
fn anything_at_all_on_a_vm_that_is_to_be_left_alone() {
    let suspend = Suspension {
        reason: "storage move".to_owned(),
        until: "2026-12-24".parse().unwrap(),
        until_instant: at("2026-12-24 00:00"),
        vms: None,
    };
    let suspended = Policy { suspend: Some(suspend), ..keeping_one() };
    refused_under(&suspended, &web(), &[delete(6)], "that is suspended");
    let until = SuspendedUntil { until: "2026-12-24".parse().unwrap(), reason: "move".to_owned() };
    let shown = VmPlan { suspended: Some(Box::new(until)), ..planned(&web(), &[delete(6)]) };
    assert_eq!(found_under(&suspended, &web(), &shown), Vec::<String>::new(), "shown and held back");
    let hindered: [fn(&mut Vm); 5] = [
        |vm| vm.hypervisor = None,
        |vm| vm.delegated_datasets = true,
        |vm| vm.creating = true,
        |vm| vm.deleting = true,
        |vm| vm.state = "storing".to_owned(),
    ];
    for change in hindered {
        refused(&web().set(change), &[delete(6)], "that cannot be backed up");
    }
    let policy = keeping_one();
    let two = Policies::new(vec![policy.clone(), Policy { name: "other".into(), ..policy.clone() }]);
    let planned = planned(&web(), &[delete(6)]);
    let of = |policies: &Policies| audit_vm(&planned, &web().vm, policies, at(NOW));
    assert_eq!(of(&two), ["something is planned for a VM that several policies claim"]);
    assert_eq!(of(&Policies::default()), ["something is planned for a VM that is in no policy"]);
    let renamed = Policies::new(vec![Policy { name: "other".into(), ..policy }]);
    assert_eq!(of(&renamed), ["it is planned under another policy than its own"]);
}
