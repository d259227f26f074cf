//! Which stored backups expire, which of them are deleted from storage, in which order, and when nothing is.

use super::fixtures::*;
use crate::plan::keep::Keeps;
use crate::plan::standing::VmView;
use crate::plan::{Expired, NoteCode, Prune, PruneHold, Request, SnapshotUsage, Status};
use crate::policy::{Policy, TierKind, Zone};
use chrono::{DateTime, TimeDelta, Utc};
use std::num::NonZeroU32;

const NOON: &str = "2026-11-18 12:00";

/// Daily full backups at 01:00, of which the newest so many are kept.
fn dailies(keep: u32) -> Policy {
    let mut policy = policy("full", vec![tier("daily", "0 1 * * *", TierKind::Full, &Zone::UTC)]);
    policy.tiers[0].keep = NonZeroU32::new(keep);
    policy.prune = true;
    policy
}

/// The grandfather scheme with so many kept of each tier.
fn keeping(keep: [u32; 3]) -> Policy {
    let mut policy = grandfather();
    for (tier, keep) in policy.tiers.iter_mut().zip(keep) {
        tier.keep = NonZeroU32::new(keep);
    }
    policy.prune = true;
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
    let view = VmView::new(&vm.vm, policy, pruning(now));
    let expired = Expired::of(&view, &Keeps::of(&view));
    let numbers = |backups: &[&crate::plan::standing::BackupView<'_>]| {
        backups.iter().map(|backup| backup.id().uuid().as_u128()).collect()
    };
    // The audit judges it, too.
    plan_all(std::slice::from_ref(policy), [vm.clone()], pruning(now));
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
    held(&three(), &Policy { prune: false, ..dailies(1) }, at(NOON), PruneHold::NotAllowed);
    let unasked = plan_all(&[dailies(1)], [three()], at(NOON));
    assert_eq!(actions_of(&unasked.vms[0]), Vec::<String>::new());
    let note = &unasked.vms[0].note(NoteCode::Expired).unwrap().message;
    assert!(note.ends_with("; --prune deletes them from storage"), "{note}");
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
        long = long.change(|backup| backup.timestamp = Some(first + TimeDelta::seconds(n as i64)));
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
    let allowed = Prune { mass_allowed: 3, ..Prune::REQUESTED };
    let view = VmView::new(&hollow.vm, &policy, Request { prune: allowed, ..at(NOON).into() });
    let deletes = Expired::of(&view, &Keeps::of(&view)).deletes;
    assert_eq!(deletes.iter().map(|it| it.id()).collect::<Vec<_>>(), [backup_id(5)]);
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
        let wanted =
            if old > 4 { (all, 0, PruneHold::OverLimit(old, 4)) } else { (all, all, PruneHold::NotYet) };
        assert_eq!((expired.len(), deletes.len(), hold), wanted, "keep {keep}");
    }
    // Two may always go.
    for (count, keep, hold) in
        [(12, 2, PruneHold::NotYet), (12, 1, PruneHold::OverLimit(3, 2)), (10, 1, PruneHold::NotYet)]
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
        let prune = Prune { mass_allowed: allowed, ..Prune::REQUESTED };
        let plan = plan_all(&[dailies(27)], [many(40)], Request { prune, ..at(NOON).into() });
        assert_eq!(plan.vms[0].actions.len(), deletes, "{allowed}");
    }
}
