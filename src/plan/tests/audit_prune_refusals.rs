//! Good plans that delete from storage, each broken in one way: the audit must refuse every one of them and say why.

use super::audit_refusals::refused_under;
use super::fixtures::*;
use crate::inventory::{LocalState, RecordedState, StoredFile};
use crate::plan::{Action, DeleteCloud, DeleteReason, Note, NoteCode, NoteKind, Status, VmPlan};
use crate::policy::{Policy, Prune};
use std::num::NonZeroU32;

const NOON: &str = "2026-11-18 12:00";
const THURSDAY: &str = "2026-11-19 01:00";

/// Monthly 1 with daily 2, daily 3 on it; monthly 4 with dailies 5 and 6, of which the last is local; weekly 20.
fn web() -> VmBuilder {
    web_without_weekly().backup(20, "weekly", "2026-11-15 01:00").on(4)
}

fn web_without_weekly() -> VmBuilder {
    vm(1)
        .backup(1, "monthly", "2026-10-01 01:00")
        .backup(2, "daily", "2026-10-02 01:00")
        .on(1)
        .backup(3, "daily", "2026-10-03 01:00")
        .on(2)
        .backup(4, "monthly", "2026-11-01 01:00")
        .backup(5, "daily", "2026-11-17 01:00")
        .on(4)
        .backup(6, "daily", "2026-11-18 01:00")
        .on(5)
        .local()
}

/// One monthly, no weekly, one daily.
fn keeping_one() -> Policy {
    let mut policy = grandfather();
    for tier in &mut policy.tiers {
        tier.keep = NonZeroU32::new(1);
    }
    policy.prune = Prune::Requested;
    policy
}

fn prune(n: u128, tier: &str, taken: &str) -> Action {
    Action::DeleteCloud(DeleteCloud {
        backup: backup_id(n),
        tier: tier.to_owned(),
        taken: at(taken).fixed_offset(),
        size_bytes: Some(GIB),
        reason: DeleteReason::NoParent,
    })
}

/// Adds a delete from storage at the end.
fn also_prune(n: u128, tier: &str, taken: &str) -> impl FnOnce(&mut VmPlan) {
    let action = prune(n, tier, taken);
    move |planned| {
        planned.actions.push(action);
        planned.status = Status::Changes;
    }
}

fn first_prune(planned: &mut VmPlan) -> &mut DeleteCloud {
    let place = planned.actions.iter().position(Action::is_cloud_delete).unwrap();
    let Action::DeleteCloud(delete) = &mut planned.actions[place] else { panic!("no delete from storage") };
    delete
}

#[track_caller]
fn refused(vm: &VmBuilder, words: &str, break_it: impl FnOnce(&mut VmPlan)) {
    refused_under(&keeping_one(), vm, NOON, words, break_it);
}

#[test]
fn the_plans_to_be_broken_are_what_they_are_thought_to_be() {
    assert_eq!(actions_of(&web().plan(&keeping_one(), NOON)), ["prune 3", "prune 2", "prune 1"]);
    let thursday = web().plan(&keeping_one(), THURSDAY);
    let actions = ["create daily on 6", "delete 6 after", "prune 3", "prune 2", "prune 1"];
    assert_eq!(actions_of(&thursday), actions);
}

#[test]
fn a_delete_that_was_not_asked_for_twice() {
    for prune in [Prune::Never, Prune::OnRequest] {
        let policy = Policy { prune, ..keeping_one() };
        let words = if prune == Prune::Never { "in spite of NotAllowed" } else { "in spite of NotRequested" };
        refused_under(&policy, &web(), NOON, words, also_prune(3, "daily", "2026-10-03 01:00"));
    }
}

#[test]
fn a_parent_before_its_child_or_without_it() {
    refused(&web(), "while a backup that descends from it is there", |planned| planned.actions.swap(0, 1));
    refused(&web(), "while a backup that descends from it is there", |planned| {
        planned.actions.remove(0);
    });
    let by_hand = web().backup(7, "by hand", "2026-10-04 01:00").on(3);
    let words = "while a backup that descends from it is there";
    refused(&by_hand, words, also_prune(3, "daily", "2026-10-03 01:00"));
    let undated = web().backup(7, "daily", "2026-10-04 01:00").on(3).change(|it| it.timestamp = None);
    refused(&undated, words, also_prune(3, "daily", "2026-10-03 01:00"));
}

#[test]
fn a_delete_that_does_not_come_last() {
    let early = |planned: &mut VmPlan| planned.actions.rotate_right(1);
    refused_under(&keeping_one(), &web(), THURSDAY, "before a create or a local delete", early);
    let between = |planned: &mut VmPlan| planned.actions.swap(1, 2);
    refused_under(&keeping_one(), &web(), THURSDAY, "before a create or a local delete", between);
}

#[test]
fn a_delete_twice_or_of_what_is_not_there() {
    refused(&web(), "for a second time", also_prune(3, "daily", "2026-10-03 01:00"));
    refused(&web(), "of a backup that is not there", also_prune(77, "daily", "2026-10-03 01:00"));
}

#[test]
fn a_delete_that_is_shown_as_something_else() {
    refused(&web(), "under another tier", |planned| first_prune(planned).tier = "weekly".to_owned());
    refused(&web(), "with another time", |planned| {
        first_prune(planned).taken = at("2026-10-03 01:01").fixed_offset();
    });
    refused(&web(), "with another size", |planned| first_prune(planned).size_bytes = None);
}

#[test]
fn a_delete_of_what_is_kept() {
    let newest = || also_prune(6, "daily", "2026-11-18 01:00");
    refused(&web(), "of the newest that can be restored", newest());
    refused(&web(), "of one of those that `keep` asks for", newest());
    refused(&web(), "of the next increment's parent", newest());
    refused(&web(), "that `keep` asks for", also_prune(4, "monthly", "2026-11-01 01:00"));
    let mut all = keeping_one();
    all.tiers[2].keep = None;
    let oldest = || also_prune(3, "daily", "2026-10-03 01:00");
    refused_under(&all, &web(), NOON, "that `keep` asks for", oldest());
    let mut local = keeping_one();
    local.tiers[2].keep_local = 3;
    refused_under(&local, &web(), NOON, "that `keep_local` asks for", oldest());
}

#[test]
fn a_delete_of_what_is_not_ours() {
    let by_hand = web().backup(7, "by hand", "2026-10-04 01:00");
    refused(&by_hand, "of an unmanaged backup", also_prune(7, "by hand", "2026-10-04 01:00"));
    let future = web().backup(7, "daily", "2026-11-18 12:11");
    refused(&future, "whose time cannot be believed", also_prune(7, "daily", "2026-11-18 12:11"));
    let undated = web().backup(7, "daily", "2026-10-04 01:00").change(|it| it.timestamp = None);
    refused(&undated, "whose time cannot be believed", also_prune(7, "daily", "2026-10-04 01:00"));
}

#[test]
fn a_delete_of_what_runs_or_failed_and_still_counts() {
    let running = web().backup(7, "daily", "2026-11-18 10:00").on(3).uploading();
    refused(&running, "of a backup that runs", also_prune(7, "daily", "2026-11-18 10:00"));
    refused(&running, "or of the parent of one that may", also_prune(3, "daily", "2026-10-03 01:00"));
    let failed = web().backup(7, "daily", "2026-11-18 09:00").failed();
    refused(&failed, "while nothing newer can", also_prune(7, "daily", "2026-11-18 09:00"));
    // The weekly of the 15th is due, its attempt failed, and the dailies since do not do for it.
    let attempt = web_without_weekly().backup(7, "weekly", "2026-11-17 12:00").failed();
    refused(&attempt, "of an attempt that still counts", also_prune(7, "weekly", "2026-11-17 12:00"));
}

#[test]
fn a_delete_of_what_shows_that_a_snapshot_is_spent() {
    let spent =
        web().backup(7, "daily", "2026-11-18 02:00").on(6).size(52).backup(8, "by hand", "2026-11-18 03:00");
    refused(
        &spent,
        "of the last increment on a backup that is local",
        also_prune(7, "daily", "2026-11-18 02:00"),
    );
}

#[test]
fn a_delete_that_comes_too_early() {
    let held =
        |change: fn(VmBuilder) -> VmBuilder| change(web().backup(7, "daily", "2026-10-04 01:00").on(3));
    let it = || also_prune(7, "daily", "2026-10-04 01:00");
    refused(&held(VmBuilder::local), "that holds a snapshot", it());
    let orphaned = held(|vm| vm.change(|it| it.local_size_bytes = Some(1)));
    refused(&orphaned, "that holds a snapshot", it());
    let unknown = held(|vm| vm.change(|it| (it.local, it.local_size_bytes) = (LocalState::Unknown, Some(1))));
    refused(&unknown, "that holds a snapshot", it());
    let odd = held(|vm| vm.change(|it| it.state = RecordedState::Other("verified".to_owned())));
    refused(&odd, "in an unknown state", it());
    let young = web().backup(7, "daily", "2026-11-18 11:01").failed().backup(8, "daily", "2026-11-18 11:30");
    refused(&young, "less than an hour old", also_prune(7, "daily", "2026-11-18 11:01"));
}

#[test]
fn a_delete_of_what_an_unverified_one_is_judged_by() {
    let untold =
        |vm: VmBuilder| vm.change(|it| it.files = vec![StoredFile { size_bytes: None, has_checksum: false }]);
    let vm = untold(web().backup(7, "by hand", "2026-10-04 01:00"));
    refused(&vm, "by which an unverified backup is judged", also_prune(1, "monthly", "2026-10-01 01:00"));
}

#[test]
fn a_delete_of_a_vm_that_is_held() {
    let it = || also_prune(3, "daily", "2026-10-03 01:00");
    let stored = web().set(|vm| vm.hypervisor = None);
    refused(&stored, "in spite of CannotBackUp", it());
    let accepted = web().backup(7, "by hand", "2026-11-18 11:00").accepted();
    refused(&accepted, "in spite of UnknownParent", it());
    let failed = web().backup(7, "daily", "2026-11-18 09:00").failed();
    refused(&failed, "in spite of NewestFailed", it());
    refused_under(&keeping_one(), &web(), "2026-11-19 03:01", "in spite of NewestTooOld", it());
}

#[test]
fn a_delete_that_is_forgotten_and_what_is_not_reported() {
    refused(&web(), "has expired and would stay in storage", |planned| {
        planned.actions.pop();
    });
    let held = web().set(|vm| vm.hypervisor = None);
    let words = "its expired backups are not those that are reported";
    refused(&held, words, |planned| planned.notes.retain(|note| note.code() != NoteCode::Expired));
    refused(&held, words, |planned| {
        for note in &mut planned.notes {
            if let NoteKind::Expired(expired) = &mut note.kind {
                expired.count += 1;
            }
        }
    });
    refused(&web(), words, |planned| {
        let held = web().set(|vm| vm.hypervisor = None).plan(&keeping_one(), NOON);
        let noted: Vec<Note> =
            held.notes.iter().filter(|it| it.code() == NoteCode::Expired).cloned().collect();
        planned.notes.extend(noted);
    });
}
