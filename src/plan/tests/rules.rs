//! One rule of the contract a test; 2026-11-01 was a Sunday and the first of the month.

use super::fixtures::*;
use crate::inventory::LocalState;
use crate::plan::{Action, NoteCode, SnapshotUsage, Status, VmPlan};
use crate::policy::{MissingParent, Policy, Suspension, TierKind, Zone};
use chrono::TimeDelta;

#[test]
fn a_new_vm_starts_with_its_coarsest_tier_at_once() {
    let planned = vm(1).plan(&grandfather(), "2026-11-18 15:00");
    assert_eq!(
        (actions_of(&planned), planned.status),
        (vec!["create monthly full".to_owned()], Status::Changes)
    );
}

#[test]
fn a_daily_is_taken_from_the_newest_and_replaces_it() {
    let planned = mid_chain().plan(&grandfather(), "2026-11-18 01:00");
    assert_eq!(actions_of(&planned), ["create daily on 3", "delete 3 after"]);
}

#[test]
fn a_weekly_is_taken_from_the_last_weekly_and_ends_the_dailies() {
    let planned = mid_chain().plan(&grandfather(), "2026-11-22 01:00");
    assert_eq!(actions_of(&planned), ["create weekly on 2", "delete 2 after", "delete 3 after"]);
}

#[test]
fn a_monthly_is_full_and_ends_all_that_was() {
    let planned = mid_chain().plan(&grandfather(), "2026-12-01 01:00");
    assert_eq!(actions_of(&planned), ["create monthly full", "delete 2 after", "delete 3 after"]);
}

#[test]
fn backups_of_a_former_comment_count_as_the_tiers() {
    let mut policy = grandfather();
    policy.tiers[1].comment = "sunday".to_owned();
    policy.tiers[2].comment = "nightly".to_owned();
    let stranded = mid_chain().plan(&policy, "2026-11-18 01:00");
    policy.tiers[1].also = vec!["weekly".to_owned()];
    policy.tiers[2].also = vec!["every day".to_owned(), "daily".to_owned()];
    let planned = mid_chain().plan(&policy, "2026-11-18 01:00");
    assert_eq!(actions_of(&planned), actions_of(&mid_chain().plan(&grandfather(), "2026-11-18 01:00")));
    assert_ne!(actions_of(&planned), actions_of(&stranded), "without `also` they are of no tier");
    let Action::Create(create) = &planned.actions[0] else { panic!("{planned:?}") };
    assert_eq!((&*create.tier, create.comment.as_str()), ("daily", "nightly"));
}

#[test]
fn unmanaged_snapshots_are_counted_with_the_quota_that_they_hold() {
    let by_hand = mid_chain()
        .backup(4, "by hand", "2026-11-16 01:00")
        .local()
        .backup(5, "nightly", "2026-11-16 02:00")
        .local()
        .backup(6, "nightly", "2026-11-16 03:00");
    let held = SnapshotUsage { snapshots: 2, size_bytes: 2 * GIB };
    let plan = plan_all(&[grandfather()], [by_hand.clone()], at("2026-11-17 02:00"));
    assert_eq!((plan.vms[0].unmanaged, plan.summary.unmanaged), (held, held));
    let mut policy = grandfather();
    policy.tiers[2].also = vec!["nightly".to_owned()];
    assert_eq!(by_hand.plan(&policy, "2026-11-17 02:00").unmanaged.snapshots, 1);
}

#[test]
fn a_new_vm_whose_first_full_fails_gets_the_same_again_and_no_other_full() {
    let vm = vm(1).backup(1, "monthly", "2026-11-18 15:00").failed();
    let pause = vm.plan(&grandfather(), "2026-11-18 15:30");
    assert_eq!((actions_of(&pause), pause.status), (vec![], Status::Waiting));
    assert_eq!(
        pause.note(NoteCode::NoParent).unwrap().to_string(),
        "no local, restorable parent for the weekly; it waits for the monthly, which is due and full"
    );
    assert_eq!(actions_of(&vm.plan(&grandfather(), "2026-11-18 16:00")), ["create monthly full"]);
    // Where no coarser full one is due, there is nothing to wait for.
    let moved = mid_chain().set(|vm| vm.backups.values_mut().for_each(|it| it.local = LocalState::Absent));
    assert_eq!(actions_of(&moved.plan(&grandfather(), "2026-11-18 16:00"))[0], "create daily full");
}

#[test]
fn a_full_backup_in_place_of_an_increment_is_the_parent_of_the_next_whatever_from_says() {
    let mut policy = grandfather();
    policy.tiers[2].kind = TierKind::Incremental { from: vec![0, 1] };
    let vm = vm(1)
        .backup(1, "monthly", "2026-11-01 01:00")
        .backup(2, "weekly", "2026-11-15 01:00")
        .on(1)
        .backup(3, "daily", "2026-11-17 01:00")
        .local();
    assert_eq!(actions_of(&vm.plan(&policy, "2026-11-18 01:00")), ["create daily on 3", "delete new after"]);
    let increment = vm.clone().backup(4, "daily", "2026-11-18 01:00").on(3).local();
    let next = increment.plan(&policy, "2026-11-19 01:00");
    assert_eq!(actions_of(&next), ["delete 4", "create daily on 3", "delete new after"]);
    let newer = vm.backup(5, "weekly", "2026-11-22 01:00").local();
    assert_eq!(actions_of(&newer.plan(&policy, "2026-11-23 01:00"))[..2], ["delete 3", "create daily on 5"]);
}

#[test]
fn after_an_increment_that_came_out_empty_a_full_backup_is_tried() {
    let hollow = mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3).size(51).local();
    let planned = hollow.plan(&grandfather(), "2026-11-18 02:00");
    assert!(actions_of(&planned).contains(&"create daily full".to_owned()), "{planned:?}");
    let note = planned.note(NoteCode::NoParent).unwrap();
    assert!(note.to_string().starts_with("the last increment on the daily of 2026-11-17 01:00 is empty"));
    // Until there is another one its snapshot stays: whatever went wrong may have been something else.
    assert!(!actions_of(&planned).contains(&"delete 3".to_owned()), "{planned:?}");

    // One that went well since shows that the snapshot is there.
    let well_since = hollow.clone().backup(5, "by hand", "2026-11-18 01:30").on(3);
    assert!(
        actions_of(&well_since.plan(&grandfather(), "2026-11-18 02:00"))
            .contains(&"create daily on 3".to_owned())
    );
    // Where the policy wants no full backup in its place, the tier is passed over.
    let blocking = Policy { missing_parent: MissingParent::Block, ..grandfather() };
    let passed_over = hollow.plan(&blocking, "2026-11-18 02:00");
    assert_eq!((actions_of(&passed_over), passed_over.status), (vec![], Status::Blocked));
    assert!(passed_over.note(NoteCode::NoParent).unwrap().to_string().ends_with("`missing_parent: block`"));
    // An upload that failed says nothing about the parent.
    let failed = mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3).failed();
    assert!(
        actions_of(&failed.plan(&grandfather(), "2026-11-18 02:00"))
            .contains(&"create daily on 3".to_owned())
    );
}

#[test]
fn the_pauses_double_up_to_twenty_hours_and_attempts_go_on() {
    let mut vm = mid_chain();
    let attempts = [
        "2026-11-22 01:00",
        "2026-11-22 02:00",
        "2026-11-22 04:00",
        "2026-11-22 08:00",
        "2026-11-22 16:00",
        "2026-11-23 08:00",
        "2026-11-24 04:00",
        "2026-11-25 00:00",
    ];
    for (n, pair) in (4..).zip(attempts.windows(2)) {
        vm = vm.backup(n, "weekly", pair[0]).on(2).failed();
        let before = (at(pair[1]) - TimeDelta::minutes(1)).format("%Y-%m-%d %H:%M").to_string();
        // The daily, which has not failed, has been made.
        let daily = vm.clone().backup(100, "daily", &before).on(3).local();
        let tried =
            |now| actions_of(&daily.plan(&grandfather(), now)).contains(&"create weekly on 2".to_owned());
        assert_eq!((tried(&before), tried(pair[1])), (false, true), "{pair:?}");
    }
    let daily = vm.backup(100, "daily", "2026-11-25 01:00").on(3);
    let planned = daily.plan(&grandfather(), "2026-11-25 01:30");
    assert!(planned.note(NoteCode::GaveUp).is_some() && !planned.actions.is_empty());
    let Action::Create(create) = planned.actions.iter().find(|action| action.is_create()).unwrap() else {
        panic!("no create")
    };
    assert_eq!(create.reason.to_string(), "due since Sun 2026-11-22 01:00, try 8");
}

#[test]
fn a_future_backup_counts_for_nothing_and_within_an_hour_its_time_is_waited_for() {
    let vm = mid_chain().backup(4, "monthly", "2026-11-18 02:11").local();
    let planned = |now| vm.plan(&grandfather(), now);
    let message = |now| planned(now).note(NoteCode::FutureTimestamp).unwrap().to_string();
    assert_eq!(actions_of(&planned("2026-11-18 01:10")), ["create daily on 3", "delete 3 after"]);
    assert!(message("2026-11-18 01:10").ends_with("it is ignored and left alone"));
    for now in ["2026-11-18 01:11", "2026-11-18 02:00"] {
        assert_eq!((actions_of(&planned(now)), planned(now).status), (vec![], Status::Waiting), "{now}");
        assert!(message(now).ends_with("no backup is created until then, since clocks differ"));
    }
    let believed = planned("2026-11-18 02:01");
    assert_eq!(actions_of(&believed), ["delete 2", "delete 3"], "ten minutes ahead are believed");
    let failed = vm.clone().failed().plan(&grandfather(), "2026-11-18 01:30");
    assert_eq!((actions_of(&failed), failed.status), (vec![], Status::Waiting), "whatever its state");
}

#[test]
fn without_a_parent_a_full_is_made_or_the_policy_blocks() {
    let moved =
        mid_chain().set(|vm| vm.backups.values_mut().for_each(|backup| backup.local = LocalState::Absent));
    let planned = moved.plan(&grandfather(), "2026-11-18 01:00");
    assert_eq!(actions_of(&planned), ["create daily full"]);
    assert!(planned.note(NoteCode::NoParent).is_some());
    let mut block = grandfather();
    block.missing_parent = MissingParent::Block;
    let planned = moved.plan(&block, "2026-11-18 01:00");
    assert_eq!((actions_of(&planned), planned.status), (vec![], Status::Blocked));
}

#[test]
fn what_cannot_be_backed_up_is_blocked_when_due_and_left_alone() {
    let stored = mid_chain().set(|vm| {
        vm.hypervisor = None;
        vm.state = "stored".to_owned();
    });
    let planned = stored.plan(&grandfather(), "2026-11-18 01:00");
    assert_eq!((actions_of(&planned), planned.status), (vec![], Status::Blocked));
    let message = planned.note(NoteCode::NoHypervisor).unwrap().to_string();
    assert_eq!(
        message,
        "on no hypervisor (stored); its newest restorable backup is the daily of 2026-11-17 01:00"
    );
    let delegated = mid_chain().set(|vm| vm.delegated_datasets = true);
    assert!(delegated.plan(&grandfather(), "2026-11-18 01:00").note(NoteCode::DelegatedDatasets).is_some());
    for (state, status) in
        [("stopped", Status::Changes), ("booting", Status::Changes), ("failed-get_server", Status::Blocked)]
    {
        let vm = mid_chain().set(|vm| vm.state = state.to_owned());
        assert_eq!(vm.plan(&grandfather(), "2026-11-18 01:00").status, status, "{state}");
    }
    let deleting = mid_chain().set(|vm| vm.deleting = true);
    assert_eq!(deleting.plan(&grandfather(), "2026-11-17 02:00").status, Status::UpToDate, "nothing is due");
}

#[test]
fn a_policy_of_full_backups_only_keeps_no_snapshot_at_all() {
    let policy = policy("full", vec![tier("daily", "0 1 * * *", TierKind::Full, &Zone::UTC)]);
    let planned = vm(1).plan(&policy, "2026-11-17 02:00");
    assert_eq!(actions_of(&planned), ["create daily full", "delete new after"]);
    let delete = planned.actions[1].as_local_delete().unwrap();
    assert_eq!(
        (&*delete.tier, delete.taken, delete.reason.as_str()),
        ("daily", None, "not needed once it is complete")
    );
    // It comes after all that waits for the create.
    let broken = vm(1).backup(2, "daily", "2026-11-16 01:00").on(99).local();
    let planned = broken.plan(&policy, "2026-11-17 02:00");
    assert_eq!(actions_of(&planned), ["create daily full", "delete 2 after", "delete new after"]);
    let summary = plan_all(&[policy], [vm(1)], at("2026-11-17 02:00")).summary;
    assert_eq!((summary.create, summary.delete_local), (1, 1), "its own snapshot is deleted, too");
}

#[test]
fn two_policies_of_one_priority_are_a_conflict_and_a_higher_one_decides() {
    let (a, mut b) = (grandfather(), grandfather());
    b.name = "other".into();
    let conflict = &plan_all(&[a.clone(), b.clone()], [mid_chain()], at("2026-11-18 01:00")).vms[0];
    assert_eq!((conflict.status, conflict.actions.len()), (Status::Conflict, 0));
    let message = conflict.notes[0].to_string();
    assert!(message.contains("grandfather") && message.contains("other"), "{message}");
    b.priority = 1;
    assert_eq!(
        plan_all(&[a, b], [mid_chain()], at("2026-11-18 01:00")).vms[0].policy.as_deref(),
        Some("other")
    );
}

#[test]
fn an_unprotected_vm_is_reported_and_left_alone() {
    let vm = mid_chain().set(|vm| vm.metadata = Default::default());
    let planned = vm.plan(&grandfather(), "2026-12-18 01:00");
    assert_eq!((planned.status, planned.actions.len()), (Status::Unprotected, 0));
}

#[test]
fn a_suspension_shows_and_holds_back_until_its_day_begins() {
    let mut policy = grandfather();
    policy.suspend = Some(Suspension {
        reason: "storage move".to_owned(),
        until: "2026-12-24".parse().unwrap(),
        until_instant: at("2026-12-24 00:00"),
        vms: None,
    });
    let held = mid_chain().plan(&policy, "2026-12-23 23:59");
    assert!(held.is_suspended() && !held.actions.is_empty() && held.due_actions().is_empty());
    let untold = VmPlan { notes: Vec::new(), ..held.clone() };
    assert!(untold.due_actions().is_empty(), "what is carried out does not depend on notes");
    let plan = plan_all(std::slice::from_ref(&policy), [mid_chain()], at("2026-12-23 23:59"));
    assert_eq!((plan.summary.create, plan.summary.suspended), (0, 1));
    assert_eq!(plan.valid_until, Some(at("2026-12-24 00:00")));
    let ended = mid_chain().plan(&policy, "2026-12-24 00:00");
    assert!(!ended.due_actions().is_empty() && ended.note(NoteCode::SuspensionEnded).is_some());
}

#[test]
fn a_record_without_a_timestamp_is_reported_and_satisfies_nothing() {
    let vm =
        mid_chain().backup(4, "daily", "2026-11-18 01:00").local().change(|backup| backup.timestamp = None);
    let planned = vm.plan(&grandfather(), "2026-11-18 02:00");
    assert_eq!(actions_of(&planned), ["create daily on 3", "delete 3 after"]);
    assert_eq!(planned.note(NoteCode::Unreadable).unwrap().backup, Some(backup_id(4)));
}

#[test]
fn stored_backups_beyond_keep_are_reported_as_expired_and_nothing_more() {
    let mut policy = grandfather();
    policy.tiers[2].keep = std::num::NonZeroU32::new(1);
    let vm =
        mid_chain().backup(4, "daily", "2026-11-16 01:00").on(2).backup(5, "daily", "2026-11-15 12:00").on(2);
    let planned = vm.plan(&policy, "2026-11-17 02:00");
    let expired: Vec<String> = planned.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        expired,
        [
            "2 daily backups since 2026-11-15 12:00 (2.0 GiB) are no longer kept by the policy; nothing deletes them"
        ]
    );
    assert_eq!(planned.status, Status::UpToDate);
}

#[test]
fn a_plan_says_until_when_it_holds() {
    let until = |vm: VmBuilder, now| plan_all(&[grandfather()], [vm], at(now)).valid_until;
    assert_eq!(until(mid_chain(), "2026-11-17 02:00"), Some(at("2026-11-18 01:00")));
    let failed = mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3).failed().local();
    assert_eq!(until(failed, "2026-11-18 01:10"), Some(at("2026-11-18 02:00")));
    let running = mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3).uploading();
    assert_eq!(until(running, "2026-11-18 01:10"), Some(at("2026-11-18 13:00")));
    let stored = mid_chain().set(|vm| vm.hypervisor = None);
    assert_eq!(until(stored, "2026-12-18 01:10"), None, "it stays blocked whatever the date");
}

#[test]
fn a_backup_a_little_ahead_does_for_the_next_occurrence_and_not_for_the_one_after() {
    let vm = mid_chain().backup(4, "daily", "2026-11-18 01:04").on(3).local();
    let plan = |now| plan_all(&[grandfather()], [vm.clone()], at(now));
    let before = plan("2026-11-18 00:56");
    assert_eq!(before.vms, plan("2026-11-18 01:00").vms);
    assert_eq!(before.valid_until, Some(at("2026-11-19 01:00")));
}

#[test]
fn a_local_delete_that_did_not_happen_is_planned_again_or_reported() {
    let missed = mid_chain().backup(4, "daily", "2026-11-16 01:00").on(2).local();
    assert_eq!(actions_of(&missed.plan(&grandfather(), "2026-11-17 02:00")), ["delete 4"]);
    let orphaned = missed.change(|backup| backup.local = LocalState::Absent);
    let planned = orphaned.plan(&grandfather(), "2026-11-17 02:00");
    assert_eq!(planned.status, Status::UpToDate);
    assert_eq!(planned.note(NoteCode::OrphanedSnapshot).unwrap().backup, Some(backup_id(4)));
}

#[test]
fn what_keeps_a_vm_from_its_backup_is_always_reported() {
    let stored = mid_chain().set(|vm| vm.hypervisor = None);
    let delegated = mid_chain().set(|vm| vm.delegated_datasets = true);
    let broken = mid_chain().set(|vm| vm.state = "failed-start".to_owned());
    let running = mid_chain().backup(4, "daily", "2026-11-18 00:50").on(3).uploading();
    let failed = mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3).failed();
    let cases = [
        (stored, Status::Blocked, NoteCode::NoHypervisor),
        (delegated, Status::Blocked, NoteCode::DelegatedDatasets),
        (broken, Status::Blocked, NoteCode::VmState),
        (running, Status::Waiting, NoteCode::InProgress),
        (failed, Status::Waiting, NoteCode::RetryLater),
    ];
    for (vm, status, code) in cases {
        let planned = vm.plan(&grandfather(), "2026-11-18 01:30");
        assert_eq!(planned.status, status, "{code:?}");
        assert!(planned.note(code).is_some(), "{code:?}");
    }
}
