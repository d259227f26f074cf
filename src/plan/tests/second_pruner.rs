//! The contract's sections 2.9 and 6.5 read once more, independently of the planner and the audit, and what must hold after
//! each delete from storage, over thousands of generated VMs.

use super::fixtures::at;
use super::properties::for_clouds;
use super::second_planner::{Dice, Sheet, Word, changed, nasty_vm, policies};
use crate::inventory::{Backup, BackupId, LocalState, RecordedState, Vm};
use crate::plan::decide::decide_under;
use crate::plan::due::Occurrences;
use crate::plan::standing::{Standing, VmView};
use crate::plan::{Action, Expired, Note, PruneHold, Status, VmPlan, projection};
use crate::policy::{Match, Policies, Policy, Prune};
use chrono::{DateTime, TimeDelta, Utc};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

const CLOUDS: u32 = 5_000;
const NASTY_VMS: usize = 5_000;

#[derive(Debug, PartialEq)]
struct Reading {
    expired: BTreeSet<BackupId>,
    deletes: Vec<BackupId>,
    hold: Option<PruneHold>,
}

/// Gives all backups for which there is a reason of their own to be stored.
fn wanted(vm: &Vm, policy: &Policy, sheet: &Sheet<'_>, due: &[Option<DateTime<Utc>>]) -> BTreeSet<BackupId> {
    let (mut wanted, _) = sheet.local_stay();
    let mut left: Vec<Option<u32>> = policy.tiers.iter().map(|tier| tier.keep.map(NonZeroU32::get)).collect();
    // Before the first restorable one is met, from new to old, nothing has a newer one.
    let mut is_newest = true;
    for row in sheet.rows.iter().rev() {
        if row.restorable {
            if is_newest {
                wanted.insert(row.id);
            }
            is_newest = false;
            match row.tier.map(|tier| &mut left[tier]) {
                Some(None) => _ = wanted.insert(row.id),
                Some(Some(left @ 1..)) => {
                    *left -= 1;
                    wanted.insert(row.id);
                }
                _ => {}
            }
            if row.local {
                let on_it = sheet.everything().filter(|it| it.parent == Some(row.id) && it.called_completed);
                wanted.extend(on_it.last().map(|it| it.id));
            }
        } else if is_newest || row.word == Word::Going {
            wanted.insert(row.id);
        }
        // A failure that is an attempt for a tier which nothing has satisfied since it is due.
        let is_bad = matches!(row.word, Word::Spoilt | Word::Hollow | Word::Hung);
        if let Some((tier, due)) = row.tier.and_then(|tier| Some((tier, due[tier]?)))
            && is_bad
            && row.at >= due
            && !sheet
                .rows
                .iter()
                .any(|it| it.restorable && it.at >= due && it.tier.is_some_and(|own| own <= tier))
        {
            wanted.insert(row.id);
        }
    }
    let judged: BTreeSet<BackupId> =
        sheet.rows.iter().filter(|row| row.tier.is_some()).map(|row| row.id).collect();
    wanted.extend(vm.backups.keys().filter(|id| !judged.contains(id)));
    wanted
}

/// Gives a backup and all that it descends from.
fn line(vm: &Vm, id: BackupId) -> BTreeSet<BackupId> {
    let mut line = BTreeSet::new();
    let mut next = Some(id);
    while let Some(id) = next.filter(|&id| line.insert(id)) {
        next = vm.backups.get(id).and_then(|backup| backup.parent);
    }
    line
}

/// Says whether a backup and all that it descends from, up to a full one, are called completed and are no error message.
fn is_whole_by_word(vm: &Vm, id: BackupId) -> bool {
    let steps = line(vm, id);
    let is_good = |id: &BackupId| {
        vm.backups.get(*id).is_some_and(|backup| {
            backup.state == RecordedState::Completed
                && backup.smallest_size_bytes().is_none_or(|bytes| bytes >= 100)
        })
    };
    let ends_in_a_full = steps.iter().any(|&id| vm.backups.get(id).is_some_and(|it| it.parent.is_none()));
    ends_in_a_full && steps.iter().all(is_good)
}

fn hold(vm: &Vm, policy: &Policy, sheet: &Sheet<'_>, now: DateTime<Utc>) -> Option<PruneHold> {
    let newest = sheet.rows.iter().rfind(|row| row.restorable);
    let after = sheet.rows.iter().rev().take_while(|row| !row.restorable);
    let is_well = vm.hypervisor.is_some()
        && !(vm.delegated_datasets || vm.creating || vm.deleting)
        && ["running", "stopped", "booting", "shutting_down"].contains(&vm.state.as_str());
    if !is_well {
        return Some(PruneHold::CannotBackUp);
    }
    let is_silent_and_ahead = |backup: &Backup| {
        backup.state == RecordedState::Accepted
            && backup.parent.is_none()
            && backup.timestamp.is_some_and(|taken| taken > now + TimeDelta::minutes(10))
    };
    if sheet.local_stay().1 || vm.backups.values().any(is_silent_and_ahead) {
        return Some(PruneHold::UnknownParent);
    }
    if after.into_iter().any(|row| row.word != Word::Going) {
        return Some(PruneHold::NewestFailed);
    }
    newest.is_none_or(|newest| now - newest.at > policy.max_age).then_some(PruneHold::NewestTooOld)
}

fn second_reading(vm: &Vm, policy: &Policy, due: &[Option<DateTime<Utc>>], now: DateTime<Utc>) -> Reading {
    let sheet = Sheet::new(vm, policy, now);
    let stay: BTreeSet<BackupId> =
        wanted(vm, policy, &sheet, due).into_iter().flat_map(|id| line(vm, id)).collect();
    let expired: BTreeSet<BackupId> = vm.backups.keys().filter(|id| !stay.contains(id)).collect();
    let hold = hold(vm, policy, &sheet, now);
    let mut deletes: Vec<BackupId> = Vec::new();
    // One after the other, of those that can go the one that cannot be restored, then the oldest.
    while hold.is_none() {
        let can_go = |row: &&super::second_planner::Row| {
            let backup = vm.backups.get(row.id).unwrap();
            let is_gone = |id: BackupId| deletes.contains(&id);
            let doubted = |it: &super::second_planner::Row| {
                it.called_completed && matches!(it.word, Word::Going | Word::Spoilt) && !is_gone(it.id)
            };
            expired.contains(&row.id)
                && !is_gone(row.id)
                && backup.local != LocalState::Present
                && backup.local_size_bytes.unwrap_or(0) == 0
                && !matches!(backup.state, RecordedState::Other(_))
                && !(backup.state == RecordedState::Uploading && backup.local == LocalState::Unknown)
                && (row.restorable || !is_whole_by_word(vm, row.id))
                && row.at + TimeDelta::hours(1) <= now
                && vm.backups.values().all(|it| it.parent != Some(row.id) || is_gone(it.id))
                && !(sheet.proof == Some(row.id) && sheet.everything().any(doubted))
        };
        let next = sheet.rows.iter().filter(can_go).min_by_key(|row| (row.restorable, row.at, row.id));
        match next {
            Some(next) => deletes.push(next.id),
            None => break,
        }
    }
    Reading { expired, deletes, hold }
}

fn deletes(planned: &VmPlan) -> Vec<BackupId> {
    planned.actions.iter().filter_map(Action::as_cloud_delete).map(|delete| delete.backup).collect()
}

fn the_planners(vm: &Vm, policy: &Policy, occurrences: &Occurrences<'_>) -> Reading {
    let view = VmView::new(vm, policy, occurrences.now());
    let expired = Expired::of(&view, occurrences);
    Reading {
        expired: expired.backups.iter().map(|backup| backup.id()).collect(),
        deletes: deletes(&decide_under(vm, policy, occurrences)),
        hold: (expired.hold != PruneHold::NotYet).then_some(expired.hold),
    }
}

/// Judges a VM's backups, as far as they are to stay.
fn judgements(
    vm: &Vm,
    policy: &Policy,
    now: DateTime<Utc>,
    gone: &[BackupId],
) -> Vec<(BackupId, Standing, bool)> {
    let view = VmView::new(vm, policy, now);
    let stay = view.backups.iter().filter(|backup| !gone.contains(&backup.id()));
    stay.map(|backup| (backup.id(), backup.standing, backup.restorable)).collect()
}

/// What is planned for a VM besides its deletes from storage.
fn besides<'p>(planned: &'p VmPlan, gone: &[BackupId]) -> (Vec<&'p Action>, Vec<&'p Note>) {
    let is_of_gone = |note: &&Note| note.backup.is_some_and(|id| gone.contains(&id));
    let actions = planned.actions.iter().filter(|action| !action.is_cloud_delete());
    (actions.collect(), planned.notes.iter().filter(|note| !is_of_gone(note)).collect())
}

/// Deletes one after the other from storage and plans again after each.
fn pruned_step_by_step(vm: &Vm, policy: &Policy, occurrences: &Occurrences<'_>) {
    let now = occurrences.now();
    let first = decide_under(vm, policy, occurrences);
    let gone = deletes(&first);
    let judged = judgements(vm, policy, now, &gone);
    let mut vm = vm.clone();
    for done in 1..=gone.len() {
        let delete = gone[done - 1];
        assert!(vm.backups.values().all(|backup| backup.parent != Some(delete)), "FiFo's cascade takes more");
        vm = projection::deleted_from_storage(&vm, delete);
        assert_eq!(judgements(&vm, policy, now, &gone), judged, "after {done} of {gone:?}");
        let then = decide_under(&vm, policy, occurrences);
        assert_eq!(deletes(&then), gone[done..], "after {done} of {gone:?}");
        assert_eq!(besides(&then, &gone), besides(&first, &gone), "after {done} of {gone:?}");
        assert_eq!(then.unmanaged, first.unmanaged);
    }
    let last = decide_under(&vm, policy, occurrences);
    let is_all = first.actions.iter().all(Action::is_cloud_delete);
    assert!(is_all || last.status == first.status);
    assert!(!is_all || gone.is_empty() || last.status != Status::Changes);
}

/// Compares both readings of a VM, and counts what is seen.
fn compared(vm: &Vm, policy: &Policy, now: DateTime<Utc>, seen: &mut BTreeMap<String, usize>) {
    let occurrences = Occurrences::new(policy, now);
    let due: Vec<_> = (0..policy.tiers.len()).map(|tier| occurrences.last(tier, vm.id)).collect();
    let (ours, theirs) = (the_planners(vm, policy, &occurrences), second_reading(vm, policy, &due, now));
    assert_eq!(ours, theirs, "at {now}, {policy:#?} {:#?}", vm.backups);
    pruned_step_by_step(vm, policy, &occurrences);
    let mut count = |what: &str, count: usize| *seen.entry(what.to_owned()).or_default() += count;
    count("expired", ours.expired.len());
    count("deletes", ours.deletes.len());
    count("several in order", usize::from(ours.deletes.len() > 2));
    count(&format!("{:?}", ours.hold), usize::from(!ours.expired.is_empty()));
    count("not yet", if ours.hold.is_none() { ours.expired.len() - ours.deletes.len() } else { 0 });
    let sheet = Sheet::new(vm, policy, now);
    let gone = |id: &BackupId| ours.deletes.contains(id);
    for row in sheet.rows.iter().filter(|row| gone(&row.id)) {
        count(&format!("{:?} {}", row.word, row.restorable), 1);
        count("on one that goes as well", usize::from(row.parent.is_some_and(|parent| gone(&parent))));
    }
    let is_kept_by_unmanaged = sheet.everything().any(|row| row.tier.is_none() && row.parent.is_some());
    count("unmanaged children", usize::from(is_kept_by_unmanaged && !ours.deletes.is_empty()));
}

fn seen_at_least(seen: &BTreeMap<String, usize>, least: usize, whats: &[&str]) {
    for what in whats {
        assert!(seen.get(*what).is_some_and(|&count| count >= least), "{what}: {seen:#?}");
    }
}

#[test]
fn what_expires_and_goes_in_thousands_of_clouds_is_what_a_second_reading_says_and_each_delete_leaves_the_rest_as_it_was()
 {
    let seen = RefCell::new(BTreeMap::new());
    for_clouds(CLOUDS, |cloud| {
        let policies: Vec<Policy> = cloud
            .policies
            .iter()
            .map(|policy| Policy { prune: Prune::Requested, ..policy.clone() })
            .collect();
        let policies = Policies::new(policies);
        for vm in cloud.inventory.vms.values() {
            if let Match::One(policy) = policies.policy_for(vm) {
                compared(vm, policy, cloud.now, &mut seen.borrow_mut());
            }
        }
        Ok(())
    });
    seen_at_least(
        &seen.borrow(),
        40,
        &[
            "expired",
            "deletes",
            "several in order",
            "not yet",
            "on one that goes as well",
            "unmanaged children",
            "Whole true",
            "Whole false",
            "Spoilt false",
            "Hung false",
            "Some(NewestFailed)",
            "Some(NewestTooOld)",
            "Some(CannotBackUp)",
        ],
    );
}

#[test]
fn of_thousands_of_nasty_vms_what_expires_and_goes_is_what_a_second_reading_says() {
    let mut dice = Dice(20_261_129);
    let shapes = policies();
    let mut seen = BTreeMap::new();
    for round in 0..NASTY_VMS / 50 {
        let mut policy = changed(shapes[round % shapes.len()].clone(), &mut dice);
        policy.prune = Prune::Requested;
        for tier in &mut policy.tiers {
            tier.keep = NonZeroU32::new(dice.pick(&[1, 1, 1, 2, 3, 0]));
        }
        policy.max_age = TimeDelta::hours(dice.pick(&[26, 26, 24 * 9]));
        let now = at("2026-11-18 00:00")
            + TimeDelta::days(dice.below(40) as i64)
            + TimeDelta::minutes(dice.pick(&[60, 61, 90, 119, 120, 185, 500, 1_000, 1_439]));
        let due: Vec<DateTime<Utc>> =
            policy.tiers.iter().map(|tier| tier.schedule.last_at_or_before(now).unwrap()).collect();
        for _ in 0..50 {
            let mut vm = nasty_vm(&policy, &due, now, &mut dice);
            // Calmer than for local deletes: most snapshots are gone after a while.
            for backup in vm.backups.values_mut() {
                if !dice.one_in(4) {
                    (backup.local, backup.local_size_bytes) = (LocalState::Absent, Some(0));
                }
            }
            compared(&vm, &policy, now, &mut seen);
        }
    }
    seen_at_least(
        &seen,
        20,
        &[
            "deletes",
            "several in order",
            "not yet",
            "on one that goes as well",
            "Whole true",
            "Whole false",
            "Spoilt false",
            "Hollow false",
            "Hung false",
            "Some(UnknownParent)",
            "Some(NewestFailed)",
        ],
    );
}
