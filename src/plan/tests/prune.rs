//! Which stored backups expire, which of them are deleted from storage, in which order, and when nothing is.

use super::fixtures::*;
use crate::inventory::{LocalState, RecordedState, StoredFile};
use crate::plan::due::Occurrences;
use crate::plan::standing::VmView;
use crate::plan::{Expired, NoteCode, NoteKind, PruneHold, SnapshotUsage};
use crate::policy::{Policy, Prune, TierKind, Zone};
use chrono::{DateTime, TimeDelta, Utc};
use std::num::NonZeroU32;

const NOON: &str = "2026-11-18 12:00";

/// Daily full backups at 01:00, of which the newest so many are kept.
fn dailies(keep: u32) -> Policy {
    let mut policy = policy("full", vec![tier("daily", "0 1 * * *", TierKind::Full, &Zone::UTC)]);
    policy.tiers[0].keep = NonZeroU32::new(keep);
    policy.prune = Prune::Requested;
    policy
}

/// The grandfather scheme with so many kept of each tier.
fn keeping(keep: [u32; 3]) -> Policy {
    let mut policy = grandfather();
    for (tier, keep) in policy.tiers.iter_mut().zip(keep) {
        tier.keep = NonZeroU32::new(keep);
    }
    policy.prune = Prune::Requested;
    policy
}

/// Full dailies 1, 2, 3 of the 16th, 17th and 18th.
fn three() -> VmBuilder {
    vm(1).backup(1, "daily", "2026-11-16 01:00").backup(2, "daily", "2026-11-17 01:00").backup(
        3,
        "daily",
        "2026-11-18 01:00",
    )
}

/// Returns what has expired, what of it is deleted, in order, and why not the rest.
fn judged(vm: &VmBuilder, policy: &Policy, now: DateTime<Utc>) -> (Vec<u128>, Vec<u128>, PruneHold) {
    let view = VmView::new(&vm.vm, policy, now);
    let expired = Expired::of(&view, &Occurrences::new(policy, now));
    let numbers = |backups: &[&crate::plan::standing::BackupView<'_>]| {
        backups.iter().map(|backup| backup.id().uuid().as_u128()).collect()
    };
    // The audit judges it, too.
    plan_all(std::slice::from_ref(policy), [vm.clone()], now);
    (numbers(&expired.backups), numbers(&expired.deletes), expired.hold)
}

#[track_caller]
fn held(vm: &VmBuilder, policy: &Policy, now: DateTime<Utc>, hold: PruneHold) {
    let (expired, deletes, found) = judged(vm, policy, now);
    assert!(!expired.is_empty(), "nothing has expired");
    assert_eq!((deletes, found), (vec![], hold));
}

#[track_caller]
fn pruned(vm: &VmBuilder, policy: &Policy, now: DateTime<Utc>, deletes: &[u128]) {
    let (expired, found, _) = judged(vm, policy, now);
    assert_eq!(found, deletes, "of {expired:?}");
}

#[test]
fn both_switches_are_needed() {
    pruned(&three(), &dailies(1), at(NOON), &[1, 2]);
    held(&three(), &Policy { prune: Prune::Never, ..dailies(1) }, at(NOON), PruneHold::NotAllowed);
    held(&three(), &Policy { prune: Prune::OnRequest, ..dailies(1) }, at(NOON), PruneHold::NotRequested);
}

#[test]
fn deletes_are_actions_after_all_others_and_what_is_left_is_a_note() {
    let vm = three().backup(9, "daily", "2026-11-15 01:00").change(|it| it.local_size_bytes = Some(1));
    let planned = vm.plan(&dailies(2), NOON);
    assert_eq!(actions_of(&planned), ["prune 1"]);
    let NoteKind::Expired(note) = &planned.note(NoteCode::Expired).unwrap().kind else { panic!() };
    assert_eq!((note.count, note.hold), (1, PruneHold::NotYet));
    // One that is due comes first; the newest is not too old for a daily scheme then.
    let due = three().plan(&dailies(1), "2026-11-19 01:30");
    assert_eq!(actions_of(&due), ["create daily full", "delete new after", "prune 1", "prune 2"]);
}

#[test]
fn the_newest_keep_of_each_tier_stay_and_without_keep_all_do() {
    pruned(&three(), &dailies(2), at(NOON), &[1]);
    pruned(&three(), &dailies(3), at(NOON), &[]);
    let mut policy = dailies(1);
    policy.tiers[0].keep = None;
    pruned(&three(), &policy, at(NOON), &[]);
    // What cannot be restored expires all the same.
    pruned(&three().backup(4, "daily", "2026-11-15 01:00").failed(), &policy, at(NOON), &[4]);
}

#[test]
fn what_failed_is_not_counted_among_those_that_are_kept() {
    let vm = vm(1)
        .backup(1, "daily", "2026-11-15 01:00")
        .backup(2, "daily", "2026-11-16 01:00")
        .size(52)
        .backup(3, "daily", "2026-11-17 01:00")
        .failed()
        .backup(4, "daily", "2026-11-18 01:00");
    pruned(&vm, &dailies(2), at(NOON), &[2, 3]);
}

#[test]
fn of_one_instant_the_greater_uuid_is_the_newer() {
    let vm = three().backup(4, "daily", "2026-11-18 01:00");
    pruned(&vm, &dailies(1), at(NOON), &[1, 2, 3]);
}

#[test]
fn backups_under_a_former_name_of_the_tier_count_as_its_own() {
    let mut policy = dailies(2);
    let vm = three().change(|backup| backup.comment = Some("nightly".into()));
    pruned(&vm, &policy, at("2026-11-17 12:00"), &[]);
    policy.tiers[0].also = vec!["nightly".to_owned()];
    pruned(&vm, &policy, at(NOON), &[1]);
}

#[test]
fn ancestors_of_what_is_kept_stay_and_children_go_first() {
    let vm = vm(1)
        .backup(1, "monthly", "2026-10-01 01:00")
        .backup(2, "weekly", "2026-10-04 01:00")
        .on(1)
        .backup(3, "daily", "2026-10-05 01:00")
        .on(2)
        .backup(4, "daily", "2026-10-06 01:00")
        .on(3)
        .backup(5, "monthly", "2026-11-01 01:00")
        .backup(6, "daily", "2026-11-17 01:00")
        .on(5)
        .backup(7, "daily", "2026-11-18 01:00")
        .on(6);
    pruned(&vm, &keeping([1, 1, 1]), at(NOON), &[4, 3]);
    pruned(&vm, &keeping([1, 1, 2]), at(NOON), &[4, 3]);
    pruned(&vm, &keeping([1, 1, 3]), at(NOON), &[]);
    let without_weekly = vm.clone().backup(8, "weekly", "2026-11-15 01:00").on(5);
    pruned(&without_weekly, &keeping([1, 1, 1]), at(NOON), &[4, 3, 2, 1]);
}

#[test]
fn the_newest_that_can_be_restored_never_expires_whatever_its_tier() {
    // A weekly of another scheme, which no tier keeps: unmanaged, and the newest of all.
    let vm = three().backup(4, "by hand", "2026-11-18 02:00");
    pruned(&vm, &dailies(1), at(NOON), &[1, 2]);
    let only_failed = vm_of_failures();
    held_or_nothing(&only_failed);
}

fn vm_of_failures() -> VmBuilder {
    vm(1).backup(1, "daily", "2026-11-16 01:00").failed().backup(2, "daily", "2026-11-17 01:00").failed()
}

fn held_or_nothing(vm: &VmBuilder) {
    let (expired, deletes, hold) = judged(vm, &dailies(1), at("2026-11-18 00:00"));
    assert_eq!((expired, deletes, hold), (vec![], vec![], PruneHold::NewestFailed));
}

#[test]
fn what_an_unmanaged_a_running_or_an_undated_one_descends_from_stays() {
    let child = |change: fn(VmBuilder) -> VmBuilder| {
        change(three().backup(4, "daily", "2026-11-16 02:00").on(1).backup(5, "x", "2026-11-16 03:00").on(4))
    };
    pruned(&child(|vm| vm), &dailies(1), at(NOON), &[2]);
    pruned(&child(VmBuilder::failed), &dailies(1), at(NOON), &[2]);
    let undated = child(|vm| vm.change(|backup| (backup.timestamp, backup.comment) = (None, None)));
    pruned(&undated, &dailies(1), at(NOON), &[2]);
    let future = three().backup(4, "daily", "2026-11-18 12:11").on(1).backup(5, "daily", "2026-11-18 01:00");
    pruned(&future, &dailies(1), at(NOON), &[2, 3]);
    let running = three().backup(4, "daily", "2026-11-18 11:00").on(1).uploading();
    pruned(&running, &dailies(1), at(NOON), &[2]);
}

#[test]
fn one_that_cannot_be_restored_goes_once_a_newer_one_can_and_with_what_descends_from_it() {
    let broken = three()
        .backup(4, "daily", "2026-11-16 02:00")
        .on(99)
        .backup(5, "daily", "2026-11-16 03:00")
        .on(4)
        .backup(6, "daily", "2026-11-16 04:00")
        .uploading();
    pruned(&broken, &dailies(9), at(NOON), &[5, 4]);
    let newest_broken = three().backup(4, "daily", "2026-11-18 02:00").on(99);
    pruned(&newest_broken, &dailies(3), at(NOON), &[]);
}

#[test]
fn a_failure_stays_while_a_pause_depends_on_it_and_goes_once_its_tier_has_a_backup() {
    let failed_monthly =
        mid_chain().backup(5, "monthly", "2026-12-01 01:00").failed().backup(6, "daily", "2026-12-01 02:00");
    pruned(&failed_monthly, &keeping([9, 9, 9]), at("2026-12-01 12:00"), &[]);
    let done = failed_monthly.backup(7, "monthly", "2026-12-01 03:00");
    pruned(&done, &keeping([9, 9, 9]), at("2026-12-01 12:00"), &[5]);
}

#[test]
fn the_increment_that_shows_whether_a_snapshot_can_be_a_parent_stays() {
    // The weekly's snapshot is gone whatever its record says: the last increment on it came out empty.
    let vm = mid_chain()
        .change(|backup| (backup.local, backup.local_size_bytes) = (LocalState::Absent, Some(0)))
        .backup(4, "daily", "2026-11-17 02:00")
        .on(2)
        .size(52)
        .backup(5, "daily", "2026-11-17 03:00")
        .on(2)
        .size(52)
        .backup(6, "by hand", "2026-11-18 01:00");
    pruned(&vm, &keeping([9, 9, 9]), at("2026-11-18 00:00") + TimeDelta::hours(12), &[4]);
}

#[test]
fn nothing_is_pruned_of_a_vm_that_cannot_be_backed_up() {
    let hindered = |change: fn(&mut crate::inventory::Vm)| {
        held(&three().set(change), &dailies(1), at(NOON), PruneHold::CannotBackUp);
    };
    hindered(|vm| vm.hypervisor = None);
    hindered(|vm| vm.delegated_datasets = true);
    hindered(|vm| vm.creating = true);
    hindered(|vm| vm.deleting = true);
    hindered(|vm| vm.state = "storing".to_owned());
    pruned(&three().set(|vm| vm.state = "stopped".to_owned()), &dailies(1), at(NOON), &[1, 2]);
}

#[test]
fn nothing_is_pruned_while_the_newest_is_older_than_max_age() {
    let limit = at("2026-11-18 01:00") + TimeDelta::hours(26);
    pruned(&three(), &dailies(1), limit, &[1, 2]);
    held(&three(), &dailies(1), limit + TimeDelta::microseconds(1), PruneHold::NewestTooOld);
}

#[test]
fn nothing_is_pruned_while_a_failed_one_is_newer_than_the_newest() {
    let later = |change: fn(VmBuilder) -> VmBuilder| change(three().backup(4, "daily", "2026-11-18 01:00"));
    held(&later(VmBuilder::failed), &dailies(1), at(NOON), PruneHold::NewestFailed);
    held(&later(|vm| vm.size(52)), &dailies(1), at(NOON), PruneHold::NewestFailed);
    held(&later(|vm| vm.on(1).uploading()), &dailies(1), at("2026-11-18 13:00"), PruneHold::NewestFailed);
    let by_hand = three().backup(4, "by hand", "2026-11-18 02:00").failed();
    held(&by_hand, &dailies(1), at(NOON), PruneHold::NewestFailed);
    // One that is as old and has the smaller UUID is not newer.
    pruned(&three().backup(0, "daily", "2026-11-18 01:00").failed(), &dailies(1), at(NOON), &[0, 1, 2]);
    // One ahead of the clock counts in no rule.
    let ahead = three().backup(4, "daily", "2026-11-18 12:11").failed();
    pruned(&ahead, &dailies(1), at(NOON), &[1, 2]);
}

#[test]
fn nothing_is_pruned_while_an_accepted_backup_has_not_told_its_parent() {
    let accepted = three().backup(4, "by hand", "2026-11-18 11:59").accepted();
    held(&accepted, &dailies(1), at(NOON), PruneHold::UnknownParent);
    // Once it is stuck and not superseded it still may be running.
    let stuck = three().backup(4, "by hand", "2026-11-18 02:00").accepted();
    held(&stuck, &dailies(1), at("2026-11-18 14:00"), PruneHold::UnknownParent);
    // One that is superseded goes itself.
    let superseded = three().backup(4, "daily", "2026-11-17 23:00").accepted();
    pruned(&superseded, &dailies(3), at(NOON), &[4]);
}

#[test]
fn what_is_less_than_an_hour_old_stays_and_so_does_what_it_descends_from() {
    let young =
        three().backup(4, "daily", "2026-11-18 11:00").on(1).failed().backup(5, "daily", "2026-11-18 11:30");
    pruned(&young, &dailies(1), at(NOON), &[4, 1, 2, 3]);
    pruned(&young, &dailies(1), at(NOON) - TimeDelta::microseconds(1), &[2, 3]);
}

#[test]
fn what_holds_a_snapshot_stays_and_so_does_what_it_descends_from() {
    let child = |local, size| {
        three().backup(4, "daily", "2026-11-16 02:00").on(1).change(move |backup| {
            (backup.local, backup.local_size_bytes) = (local, size);
        })
    };
    pruned(&child(LocalState::Absent, Some(0)), &dailies(1), at(NOON), &[4, 1, 2]);
    pruned(&child(LocalState::Absent, None), &dailies(1), at(NOON), &[4, 1, 2]);
    pruned(&child(LocalState::Unknown, None), &dailies(1), at(NOON), &[4, 1, 2]);
    pruned(&child(LocalState::Absent, Some(1)), &dailies(1), at(NOON), &[2]);
    pruned(&child(LocalState::Unknown, Some(1)), &dailies(1), at(NOON), &[2]);
    // It is deleted locally in this run, and from storage in a later one.
    let present = child(LocalState::Present, Some(0));
    pruned(&present, &dailies(1), at(NOON), &[2]);
    assert_eq!(actions_of(&present.plan(&dailies(1), NOON)), ["delete 4", "prune 2"]);
}

#[test]
fn what_is_in_a_state_that_is_not_known_here_stays() {
    let odd = |word: &str| {
        let state = RecordedState::from_wire(Some(word));
        three().backup(4, "daily", "2026-11-16 02:00").on(1).change(|backup| backup.state = state)
    };
    pruned(&odd("uploading"), &dailies(1), at(NOON), &[4, 1, 2]);
    pruned(&odd("verified"), &dailies(1), at(NOON), &[2]);
}

#[test]
fn a_loop_of_parents_stays_and_what_descends_from_it_goes() {
    let looped = three()
        .backup(4, "daily", "2026-11-15 01:00")
        .on(5)
        .backup(5, "daily", "2026-11-15 02:00")
        .on(4)
        .backup(6, "daily", "2026-11-15 03:00")
        .on(5)
        .backup(7, "daily", "2026-11-15 04:00")
        .on(7);
    let (expired, deletes, hold) = judged(&looped, &dailies(9), at(NOON));
    assert_eq!((expired, deletes, hold), (vec![4, 5, 6, 7], vec![6], PruneHold::NotYet));
}

/// Takes away what FiFo tells of a backup's files.
fn untold(vm: VmBuilder) -> VmBuilder {
    vm.change(|backup| backup.files = vec![StoredFile { size_bytes: None, has_checksum: false }])
}

#[test]
fn what_an_unverified_one_is_judged_by_goes_after_it_or_not_at_all() {
    // 4 counts as failed only because 1 has sizes and checksums; 1 is the older, and could go first.
    let vm = |change: fn(VmBuilder) -> VmBuilder| {
        change(untold(vm(1).backup(1, "daily", "2026-11-14 01:00").on(99).backup(
            4,
            "daily",
            "2026-11-15 01:00",
        )))
        .backup(2, "daily", "2026-11-17 01:00")
        .backup(3, "daily", "2026-11-18 01:00")
    };
    pruned(&vm(|vm| vm.on(98)), &dailies(2), at(NOON), &[4, 1]);
    // One that may be good stays for ever.
    pruned(&vm(|vm| vm), &dailies(2), at(NOON), &[]);
    let holding = vm(|vm| vm.on(98).change(|backup| backup.local_size_bytes = Some(1)));
    pruned(&holding, &dailies(2), at(NOON), &[]);
    let by_hand = vm(|vm| vm.on(98).change(|backup| backup.comment = Some("by hand".into())));
    pruned(&by_hand, &dailies(2), at(NOON), &[]);
    let looped = vm(|vm| vm.on(4));
    pruned(&looped, &dailies(2), at(NOON), &[]);
}

#[test]
fn the_stored_backups_of_a_vm_are_counted_and_a_held_one_is_planned_as_ever() {
    let planned = three().backup(4, "daily", "2026-11-16 02:00").failed().plan(&dailies(1), NOON);
    assert_eq!((planned.stored, planned.unmanaged), (3, SnapshotUsage::default()));
}

#[test]
fn a_long_chain_goes_from_its_end_to_its_beginning() {
    const LENGTH: u128 = 10_000;
    let mut long = vm(1);
    let first = at("2026-01-01 00:00");
    for n in 1..=LENGTH {
        long = long.backup(n, "daily", "2026-01-01 00:00");
        long = long.change(|backup| backup.timestamp = Some(first + TimeDelta::minutes(n as i64)));
        long = if n > 1 { long.on(n - 1) } else { long };
    }
    let long = long.backup(LENGTH + 1, "daily", "2026-11-18 01:00");
    let in_order: Vec<u128> = (1..=LENGTH).rev().collect();
    pruned(&long, &dailies(1), at(NOON), &in_order);
}

#[test]
fn what_is_whole_by_fifos_word_is_not_deleted_for_a_number_in_the_policy() {
    // A larger `min_full_size` makes the old fulls hollow, and what was taken from them cannot be restored.
    let old = vm(1)
        .backup(1, "monthly", "2026-10-01 01:00")
        .size(GIB)
        .backup(2, "daily", "2026-10-02 01:00")
        .on(1)
        .backup(3, "monthly", "2026-11-01 01:00")
        .size(5 * GIB)
        .backup(4, "daily", "2026-11-18 01:00")
        .on(3);
    let mut policy = keeping([1, 1, 1]);
    pruned(&old, &policy, at(NOON), &[2, 1]);
    policy.min_full_size_bytes = 2 * GIB;
    held(&old, &policy, at(NOON), PruneHold::NotYet);
    // An error message in place of a stream is one, whatever the policy says.
    let hollow = old.backup(5, "daily", "2026-10-03 01:00").size(52).on(3);
    pruned(&hollow, &policy, at(NOON), &[5]);
}

#[test]
fn nothing_is_pruned_while_the_newest_backups_are_on_a_broken_chain() {
    let broken = three().backup(4, "daily", "2026-11-18 02:00").on(9);
    held(&broken, &dailies(1), at(NOON), PruneHold::NewestFailed);
}

#[test]
fn nothing_is_pruned_while_an_accepted_backup_of_the_future_has_not_named_its_parent() {
    let ahead = three().backup(4, "daily", "2027-11-18 01:00").accepted();
    held(&ahead, &dailies(1), at(NOON), PruneHold::UnknownParent);
}

#[test]
fn what_may_still_upload_is_not_deleted() {
    let vm = three().backup(4, "daily", "2026-11-15 01:00").uploading().change(|it| {
        it.local = LocalState::Unknown;
        it.local_size_bytes = None;
    });
    pruned(&vm, &dailies(2), at(NOON), &[1]);
}
