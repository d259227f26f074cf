//! The holes of the script that people ran by hand, each with what is right instead.

use super::fixtures::*;
use crate::inventory::{LocalState, RecordedState};
use crate::plan::projection::executed;
use crate::plan::{Action, BackupKind, NoteCode, Status, VmPlan};
use crate::policy::Policy;

/// Plans and carries out, and returns what was done.
fn run(vm: &mut VmBuilder, policy: &Policy, now: &str, new: u128) -> Vec<String> {
    let planned = vm.plan(policy, now);
    vm.vm = executed(&vm.vm, planned.due_actions(), backup_id(new), at(now));
    actions_of(&planned)
}

fn note_on(planned: &VmPlan, code: NoteCode) -> Option<u128> {
    planned.note(code)?.backup.map(|id| id.uuid().as_u128())
}

#[test]
fn a_missed_monthly_is_made_up_by_the_next_run_and_the_scheme_goes_on_from_it() {
    let mut vm = mid_chain();
    assert_eq!(
        run(&mut vm, &grandfather(), "2026-12-03 09:40", 10),
        ["create monthly full", "delete 2 after", "delete 3 after"]
    );
    assert_eq!(
        run(&mut vm, &grandfather(), "2026-12-03 09:40", 11),
        [""; 0],
        "that also does for the missed dailies"
    );
    assert_eq!(run(&mut vm, &grandfather(), "2026-12-04 01:00", 11), ["create daily on 10"]);
    assert_eq!(
        run(&mut vm, &grandfather(), "2026-12-06 01:00", 12),
        ["create weekly on 10", "delete 10 after", "delete 11 after"]
    );
}

#[test]
fn any_number_of_missed_nights_is_made_up_by_one_backup() {
    let mut vm = mid_chain();
    assert_eq!(run(&mut vm, &grandfather(), "2026-11-21 18:00", 10), ["create daily on 3", "delete 3 after"]);
    assert_eq!(vm.plan(&grandfather(), "2026-11-21 18:01").status, Status::UpToDate);
}

#[test]
fn a_new_vm_does_not_wait_for_the_first_of_the_month() {
    let mut vm = vm(1);
    assert_eq!(run(&mut vm, &grandfather(), "2026-11-18 15:00", 10), ["create monthly full"]);
    assert_eq!(run(&mut vm, &grandfather(), "2026-11-19 01:00", 11), ["create daily on 10"]);
    assert_eq!(
        run(&mut vm, &grandfather(), "2026-11-22 01:00", 12),
        ["create weekly on 10", "delete 10 after", "delete 11 after"]
    );
}

#[test]
fn without_a_parent_none_is_named_and_the_backup_is_called_full() {
    let vm = vm(1).backup(1, "monthly", "2026-11-01 01:00");
    for (now, tier) in [("2026-11-18 01:00", "weekly"), ("2026-11-05 01:00", "daily")] {
        let planned = vm.plan(&grandfather(), now);
        let [Action::Create(create)] = planned.actions.as_slice() else { panic!("{:?}", planned.actions) };
        assert_eq!(
            (create.tier.as_str(), create.kind, create.parent, &create.parent_tier),
            (tier, BackupKind::Full, None, &None)
        );
        assert!(planned.note(NoteCode::NoParent).is_some(), "{now}");
    }
}

#[test]
fn a_failed_upload_is_no_parent_nor_is_what_was_taken_from_it() {
    let failed = mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3).failed().local();
    let planned = failed.plan(&grandfather(), "2026-11-19 01:00");
    assert_eq!(actions_of(&planned), ["create daily on 3", "delete 3 after", "delete 4 after"]);
    assert_eq!(note_on(&planned, NoteCode::FailedBackup), Some(4));

    let on_it = failed.backup(5, "daily", "2026-11-19 01:00").on(4).local();
    let planned = on_it.plan(&grandfather(), "2026-11-20 01:00");
    assert_eq!(
        actions_of(&planned),
        ["delete 4", "create daily on 3", "delete 3 after", "delete 5 after"],
        "the script's own next daily looks whole and cannot be restored"
    );
    assert_eq!(note_on(&planned, NoteCode::Unrestorable), Some(5));
}

#[test]
fn a_comment_with_a_tiers_name_in_it_is_of_no_tier() {
    for comment in ["pre-daily-fix", "daily2", "my weekly", "Daily", " monthly", ""] {
        let vm = mid_chain().backup(4, comment, "2026-11-18 01:00").on(3).local();
        let planned = vm.plan(&grandfather(), "2026-11-18 02:00");
        assert_eq!(actions_of(&planned), ["create daily on 3", "delete 3 after"], "{comment:?}");
        assert_eq!(note_on(&planned, NoteCode::Unmanaged), Some(4), "{comment:?}");
    }
}

#[test]
fn a_failed_backup_that_is_never_cleared_does_not_count_as_running() {
    let states = [
        RecordedState::Failed,
        RecordedState::from_wire(Some("upload failed")),
        RecordedState::Uploading,
        RecordedState::Accepted,
        RecordedState::from_wire(Some("verifying")),
    ];
    for state in states {
        let vm =
            mid_chain().backup(4, "daily", "2026-11-10 01:00").change(|backup| backup.state = state.clone());
        assert_eq!(
            actions_of(&vm.plan(&grandfather(), "2026-11-18 01:00")),
            ["create daily on 3", "delete 3 after"],
            "{state:?}"
        );
    }
}

#[test]
fn a_vm_that_was_restored_or_moved_gets_a_full_and_goes_on_from_that() {
    let mut moved = mid_chain()
        .set(|vm| {
            vm.backups.values_mut().for_each(|backup| backup.local = LocalState::Absent);
            vm.hypervisor = Some("hv-2".to_owned());
        })
        .set(|vm| vm.backups.values_mut().for_each(|backup| backup.local_size_bytes = Some(0)));
    assert_eq!(run(&mut moved, &grandfather(), "2026-11-18 01:00", 10), ["create daily full"]);
    assert_eq!(
        run(&mut moved, &grandfather(), "2026-11-19 01:00", 11),
        ["create daily on 10", "delete 10 after"]
    );
    let planned = moved.plan(&grandfather(), "2026-11-22 01:00");
    assert_eq!(
        actions_of(&planned),
        ["create weekly full", "delete 11 after"],
        "a weekly is not taken from a daily"
    );
}

#[test]
fn a_local_delete_that_did_not_happen_is_planned_again_or_reported() {
    let missed = mid_chain().backup(4, "daily", "2026-11-16 01:00").on(2).local();
    assert_eq!(actions_of(&missed.plan(&grandfather(), "2026-11-17 02:00")), ["delete 4"]);
    let orphaned = missed.change(|backup| backup.local = LocalState::Absent);
    let planned = orphaned.plan(&grandfather(), "2026-11-17 02:00");
    assert_eq!(planned.status, Status::UpToDate);
    assert_eq!(note_on(&planned, NoteCode::OrphanedSnapshot), Some(4));
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
