//! Conditions that mutation testing found no other test to notice.

use super::fixtures::*;
use crate::inventory::RecordedState;
use crate::plan::due::share_of;
use crate::plan::{Action, NoteCode, Prune, Request, Status};
use chrono::TimeDelta;

#[test]
fn with_a_spread_a_tier_is_due_from_the_vms_own_instant_on() {
    let mut policy = grandfather();
    policy.tiers[2].spread = TimeDelta::hours(4);
    let share = share_of(TimeDelta::hours(4), vm_id(1));
    assert!(share > TimeDelta::zero());
    let due = at("2026-11-18 01:00") + share;
    // The night before it was made at noon.
    let vm = || mid_chain().change(|backup| backup.timestamp = Some(at("2026-11-17 12:00")));
    let second = TimeDelta::seconds(1);
    let plan = |vm: VmBuilder, now| plan_all(std::slice::from_ref(&policy), [vm], now);

    let before = plan(vm(), due - second);
    assert_eq!((actions_of(&before.vms[0]), before.valid_until), (vec![], Some(due)));
    let planned = plan(vm(), due);
    let Some(Action::Create(create)) = planned.vms[0].actions.first() else { panic!("{planned:?}") };
    assert_eq!((&*create.tier, create.due_since.to_utc()), ("daily", due));

    // A backup does for it from that instant on, whatever the schedule says.
    let taken = |taken| {
        let vm = vm().backup(4, "daily", "2026-11-18 01:00").on(3).local();
        vm.change(|backup| backup.timestamp = Some(taken))
    };
    assert_eq!(actions_of(&plan(taken(due), due).vms[0]), ["delete 3"]);
    assert_eq!(
        actions_of(&plan(taken(due - second), due).vms[0]),
        ["delete 3", "create daily on 4", "delete 4 after"]
    );
}

#[test]
fn the_note_of_a_pause_says_how_often_it_failed() {
    let message =
        |vm: &VmBuilder, now| vm.plan(&grandfather(), now).note(NoteCode::RetryLater).unwrap().to_string();
    let once = mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3).failed();
    assert_eq!(
        message(&once, "2026-11-18 01:30"),
        "the daily failed once; it is tried again from 2026-11-18 02:00"
    );
    let twice = once.backup(5, "daily", "2026-11-18 02:00").on(3).failed();
    assert_eq!(
        message(&twice, "2026-11-18 02:30"),
        "the daily failed 2 times; it is tried again from 2026-11-18 04:00"
    );
}

#[test]
fn only_a_full_backup_in_place_of_an_increment_is_told_as_without_a_parent() {
    for now in ["2026-11-18 01:00", "2026-11-22 01:00", "2026-12-01 01:00"] {
        let planned = mid_chain().plan(&grandfather(), now);
        assert!(
            planned.actions.iter().any(Action::is_create) && planned.note(NoteCode::NoParent).is_none(),
            "{planned:?}"
        );
    }
}

#[test]
fn a_local_delete_says_why_the_snapshot_is_not_wanted() {
    let reasons = |vm: &VmBuilder, now| -> Vec<String> {
        let deletes = vm.plan(&grandfather(), now).actions.into_iter().filter_map(|action| match action {
            Action::DeleteLocal(delete) => Some(delete.reason.to_string()),
            Action::Create(_) | Action::DeleteCloud(_) => None,
        });
        deletes.collect()
    };
    assert_eq!(reasons(&mid_chain(), "2026-11-18 01:00"), ["once the new daily is complete"]);
    let missed = mid_chain().backup(4, "daily", "2026-11-16 01:00").on(2).local();
    assert_eq!(reasons(&missed, "2026-11-17 02:00"), ["no longer needed as a parent"]);
    let outlived = mid_chain().backup(4, "daily", "2026-11-16 01:00").on(2).failed().local();
    assert_eq!(
        reasons(&outlived, "2026-11-17 02:00"),
        ["superseded: the newer daily of 2026-11-17 01:00 can be restored"]
    );
    let twice = mid_chain()
        .backup(4, "daily", "2026-11-17 08:00")
        .on(3)
        .failed()
        .local()
        .backup(5, "daily", "2026-11-17 09:00")
        .on(3)
        .failed()
        .local();
    assert_eq!(reasons(&twice, "2026-11-17 10:00"), ["superseded: a newer snapshot is kept"]);
}

#[test]
fn any_state_with_failed_in_it_has_failed_at_once_and_an_unknown_one_runs() {
    let planned = |word: &str| {
        let vm = mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3);
        let vm = vm.change(|backup| backup.state = RecordedState::from_wire(Some(word)));
        vm.plan(&grandfather(), "2026-11-18 02:00")
    };
    for word in ["failed", "upload failed", "failed: no space"] {
        assert_eq!(actions_of(&planned(word)), ["create daily on 3", "delete 3 after"], "{word}");
        assert!(planned(word).note(NoteCode::FailedBackup).is_some(), "{word}");
    }
    assert_eq!((actions_of(&planned("verifying")), planned("verifying").status), (vec![], Status::Waiting));
}

#[test]
fn whatever_state_a_backup_comes_to_the_vm_has_changed() {
    let fingerprint = |word: Option<&str>| {
        let vm = mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3);
        let vm = vm.change(|backup| backup.state = RecordedState::from_wire(word));
        vm.plan(&grandfather(), "2026-11-18 01:30").fingerprint.unwrap()
    };
    let words = [None, Some("uploading"), Some("completed"), Some("failed"), Some("verifying")];
    for (n, word) in words.into_iter().enumerate() {
        for other in &words[..n] {
            assert_ne!(fingerprint(word), fingerprint(*other), "{word:?} {other:?}");
        }
    }
}

#[test]
fn due_times_go_by_the_earlier_of_the_two_clocks_and_ages_by_the_later() {
    let due = at("2026-11-18 01:00");
    let (second, minutes) = (TimeDelta::seconds(1), TimeDelta::minutes(20));
    let status = |vm: VmBuilder, ours, server| {
        let request = Request::by_clocks(ours, Some(server), Prune::default());
        let plan = plan_all(&[grandfather()], [vm], request);
        (plan.vms[0].status, plan.at, plan.valid_until)
    };
    // It holds until the slower clock is there, by the other one.
    let waits = (Status::UpToDate, due + minutes, Some(due + minutes + second));
    assert_eq!(status(mid_chain(), due + minutes, due - second), waits);
    assert_eq!(status(mid_chain(), due - second, due + minutes), waits);
    for (ours, server) in [(due + minutes, due), (due, due + minutes)] {
        assert_eq!(status(mid_chain(), ours, server).0, Status::Changes);
        // By the later one it is not ahead by more than ten minutes, and one is stuck.
        let ahead = mid_chain().backup(4, "daily", "2026-11-18 01:25").on(3);
        assert_eq!(status(ahead, ours, server).0, Status::UpToDate);
        let running = || mid_chain().backup(4, "by hand", "2026-11-17 13:10").on(3).uploading();
        assert_eq!(status(running(), ours, server).0, Status::Changes);
        assert_eq!(status(running(), due, due).0, Status::Waiting);
    }
}
