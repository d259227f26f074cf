//! Which stored backups expire, which of them are deleted from storage, in which order, and when nothing is.

use super::fixtures::*;
use crate::inventory::{LocalState, RecordedState};
use crate::plan::keep::Keeps;
use crate::plan::standing::VmView;
use crate::plan::{Expired, NoteCode, PruneHold, SnapshotUsage, Status};
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
    let expired = Expired::of(&view, &Keeps::of(&view));
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
    let note = &planned.note(NoteCode::Expired).unwrap().message;
    assert!(note.starts_with("1 daily") && note.ends_with("; not deleted yet"), "{note}");
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
    pruned(&vm, &dailies(2), at(NOON), &[]);
    pruned(&vm, &dailies(1), at(NOON), &[1]);
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
    let only_failed = super::fixtures::vm(1)
        .backup(1, "daily", "2026-11-16 01:00")
        .failed()
        .backup(2, "daily", "2026-11-17 01:00")
        .failed();
    pruned(&only_failed, &dailies(1), at("2027-02-18 00:00"), &[]);
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
fn evidence_stays_35_days_and_goes_with_the_chain_that_it_hangs_on() {
    let newest = |vm: VmBuilder| vm.backup(90, "monthly", "2026-12-23 00:00");
    let vm = newest(vm(1).backup(1, "monthly", "2026-11-18 01:00").failed());
    let limit = at("2026-12-23 01:00");
    pruned(&vm, &keeping([9, 9, 9]), limit, &[1]);
    pruned(&vm, &keeping([9, 9, 9]), limit - TimeDelta::microseconds(1), &[]);
    // On one that stays it is kept for as long, and on one that goes it goes before.
    let hanging = three().backup(4, "daily", "2026-11-17 02:00").on(1).failed();
    pruned(&hanging, &dailies(3), at(NOON), &[]);
    pruned(&hanging, &dailies(2), at(NOON), &[4, 1]);
    let broken =
        three().backup(4, "daily", "2026-11-16 02:00").on(99).backup(5, "daily", "2026-11-16 03:00").on(4);
    pruned(&broken, &dailies(9), at(NOON), &[]);
    let newest_broken = three().backup(4, "daily", "2026-11-18 02:00").on(99);
    pruned(&newest_broken, &dailies(3), at("2027-01-18 12:00"), &[]);
}

#[test]
fn what_has_begun_counts_as_failed_after_35_days_and_holds_its_chain_until_then() {
    let vm = vm(1)
        .backup(1, "daily", "2026-11-01 01:00")
        .backup(2, "daily", "2026-11-01 02:00")
        .on(1)
        .uploading()
        .backup(3, "daily", "2026-12-06 01:00");
    pruned(&vm, &dailies(1), at("2026-12-06 01:59"), &[]);
    pruned(&vm, &dailies(1), at("2026-12-06 02:00"), &[2, 1]);
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
fn what_failed_after_the_newest_holds_nothing_back() {
    let later = |change: fn(VmBuilder) -> VmBuilder| change(three().backup(4, "daily", "2026-11-18 01:00"));
    pruned(&later(VmBuilder::failed), &dailies(1), at(NOON), &[1, 2]);
    pruned(&later(|vm| vm.size(52)), &dailies(1), at(NOON), &[1, 2]);
    pruned(&later(|vm| vm.on(9)), &dailies(1), at(NOON), &[1, 2]);
    // It may still run, so that what it is taken from stays.
    pruned(&later(|vm| vm.on(1).uploading()), &dailies(1), at("2026-11-18 13:00"), &[2]);
}

#[test]
fn nothing_is_pruned_while_an_accepted_backup_has_not_told_its_parent() {
    let accepted = three().backup(4, "by hand", "2026-11-18 11:59").accepted();
    held(&accepted, &dailies(1), at(NOON), PruneHold::UnknownParent);
    // Once it is stuck and not superseded it still may be running.
    let stuck = three().backup(4, "by hand", "2026-11-18 02:00").accepted();
    held(&stuck, &dailies(1), at("2026-11-18 14:00"), PruneHold::UnknownParent);
    // One that is superseded holds nothing back.
    let superseded = three().backup(4, "daily", "2026-11-17 23:00").accepted();
    pruned(&superseded, &dailies(1), at(NOON), &[1, 2]);
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
    pruned(&odd("upload failed"), &dailies(1), at(NOON), &[4, 1, 2]);
    pruned(&odd("verified"), &dailies(1), at(NOON), &[2]);
}

#[test]
fn a_loop_of_parents_stays_and_what_descends_from_it_goes() {
    let looped = three()
        .backup(4, "daily", "2026-09-15 01:00")
        .on(5)
        .backup(5, "daily", "2026-09-15 02:00")
        .on(4)
        .backup(6, "daily", "2026-09-15 03:00")
        .on(5)
        .backup(7, "daily", "2026-09-15 04:00")
        .on(7);
    let (expired, deletes, hold) = judged(&looped, &dailies(9), at(NOON));
    assert_eq!((expired, deletes, hold), (vec![4, 5, 6, 7], vec![6], PruneHold::NotYet));
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
    policy.mass_prune_allowed = 3;
    pruned(&hollow, &policy, at(NOON), &[5]);
}

#[test]
fn nothing_is_pruned_while_an_accepted_backup_of_the_future_has_not_named_its_parent() {
    let ahead = three().backup(4, "daily", "2027-11-18 01:00").accepted();
    held(&ahead, &dailies(1), at(NOON), PruneHold::UnknownParent);
}

/// So many full dailies at 01:00, the last of them on the 18th, numbered from 1.
fn many(count: i64) -> VmBuilder {
    (1..=count).fold(vm(1), |vm, n| {
        let taken = at("2026-11-18 01:00") - TimeDelta::days(count - n);
        vm.backup(n as u128, "daily", "2026-01-01 00:00").change(|it| it.timestamp = Some(taken))
    })
}

#[test]
fn more_than_a_tenth_does_not_go_at_once_beyond_what_newer_ones_made_expire() {
    // 40 completed: 4 may go that would be expired even without the last 8 days.
    for (keep, old) in [(40, 0), (32, 0), (28, 4), (27, 5), (3, 29)] {
        let (expired, deletes, hold) = judged(&many(40), &dailies(keep), at(NOON));
        let all = 40 - keep as usize;
        let wanted = if old > 4 { (all, 0, PruneHold::OverLimit) } else { (all, all, PruneHold::NotYet) };
        assert_eq!((expired.len(), deletes.len(), hold), wanted, "keep {keep}");
    }
    // Two may always go.
    for (count, keep, hold) in
        [(12, 2, PruneHold::NotYet), (12, 1, PruneHold::OverLimit), (10, 1, PruneHold::NotYet)]
    {
        assert_eq!(judged(&many(count), &dailies(keep), at(NOON)).2, hold, "{count} {keep}");
    }
    // Failed ones count neither here nor there.
    let failures = (0..9).fold(many(40), |vm, n| vm.backup(100 + n, "daily", "2026-09-20 01:00").failed());
    assert_eq!(judged(&failures, &dailies(28), at(NOON)).1.len(), 12 + 9);
}

#[test]
fn over_the_limit_there_is_a_note_with_both_numbers_and_the_command_can_allow_more() {
    let planned = many(40).plan(&dailies(27), NOON);
    assert_eq!((actions_of(&planned), planned.status), (vec![], Status::UpToDate));
    assert_eq!(
        planned.note(NoteCode::OverPruneLimit).unwrap().to_string(),
        "5 stored backups would be expired even without those of the last 8 days (limit 4), so none is deleted from storage; \
         --allow-mass-prune 5 lets them go"
    );
    let expired = planned.note(NoteCode::Expired).unwrap().to_string();
    assert!(expired.ends_with("not deleted, because too many would go at once"), "{expired}");
    for (allowed, deletes) in [(4, 0), (5, 13)] {
        let policy = Policy { mass_prune_allowed: allowed, ..dailies(27) };
        assert_eq!(many(40).plan(&policy, NOON).actions.len(), deletes, "{allowed}");
    }
}
