//! The forecast against a plain run of the same decisions: nothing trimmed, nothing remembered, VM by VM.

use crate::insight::forecast::{
    FORECAST_WITHIN, Forecast, ForecastCounts, StoredForecast, TierForecast, forecast, look_ahead,
};
use crate::inventory::{Backup, BackupId, Inventory, LocalState, RecordedState, Vm, chain_of};
use crate::plan::decide::decide_under;
use crate::plan::due::{Occurrences, attempts};
use crate::plan::keep::Keeps;
use crate::plan::parent::{parent_for, yields_empty_increment};
use crate::plan::standing::{BackupView, Standing, VmView};
use crate::plan::tests::fixtures::*;
use crate::plan::tests::generators::Cloud;
use crate::plan::tests::properties::for_clouds;
use crate::plan::{Action, BackupKind, Prune, Request, expected_upload_bytes, projection};
use crate::policy::{Match, Policies, Policy, Suspension, TierKind, Zone};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

fn made_id(n: usize) -> BackupId {
    backup_id(u128::MAX - 1_000_000 + n as u128)
}

/// What runs is taken as done, and what is good stays so whatever FiFo reports of the next ones.
fn at_rest(vm: &Vm, policy: &Policy, now: DateTime<Utc>) -> Vm {
    let mut rested = vm.clone();
    for judged in VmView::new(vm, policy, now).backups {
        let backup = rested.backups.get_mut(judged.id()).unwrap();
        if judged.standing.is_running() {
            backup.state = RecordedState::Completed;
            backup.local = LocalState::Present;
        }
        if judged.standing != Standing::Hollow {
            backup.files.clear();
        } else {
            backup.files.iter_mut().for_each(|file| file.has_checksum = false);
        }
    }
    rested
}

/// Runs one VM forward with nothing but decisions.
fn plainly(vm: &Vm, policy: &Policy, from: DateTime<Utc>, until: DateTime<Utc>) -> ForecastCounts {
    let sizes: BTreeMap<BackupId, u64> =
        vm.backups.values().filter_map(|backup| Some((backup.id, backup.size_bytes()?))).collect();
    let original = vm.clone();
    let mut vm = at_rest(vm, policy, from);
    let mut times = vec![from];
    let occurrences = Occurrences::new(policy, from);
    for tier in 0..policy.tiers.len() {
        let mut time = from;
        while let Some(next) = occurrences.next_after(tier, vm.id, time).filter(|&next| next <= until) {
            times.push(next);
            time = next;
        }
        times.extend(attempts(&VmView::new(&vm, policy, from), &occurrences, tier).next_at);
    }
    let end = policy.suspend.as_ref().filter(|suspend| suspend.is_for(&vm)).map(|it| it.until_instant);
    times.extend(end);
    times.retain(|&time| from <= time && time <= until);
    times.sort();
    times.dedup();

    let held = |vm: &Vm| vm.backups.values().filter(|backup| backup.holds_snapshot()).count();
    let is_held_back = |time: DateTime<Utc>| end.is_some_and(|end| time < end);
    let mut outlook = ForecastCounts {
        creates: policy
            .tiers
            .iter()
            .map(|tier| TierForecast { tier: tier.name.to_string(), full: 0, incremental: 0 })
            .collect(),
        local_max: if is_held_back(from) { held(&vm) } else { 0 },
        stored: StoredForecast { stored_max: completed(&vm), ..StoredForecast::default() },
        ..ForecastCounts::default()
    };
    let mut made = 0;
    let mut made_sizes: BTreeMap<BackupId, Option<u64>> = BTreeMap::new();
    for time in times {
        let planned = decide_under(
            &VmView::new(&vm, policy, Request { prune: Prune::REQUESTED, ..time.into() }),
            &Occurrences::new(policy, time),
        );
        assert_eq!(planned.is_suspended(), is_held_back(time));
        for action in planned.due_actions() {
            match action {
                Action::Create(create) => {
                    let tier = outlook.creates.iter_mut().find(|tier| tier.tier == create.tier).unwrap();
                    match create.kind {
                        BackupKind::Full => tier.full += 1,
                        BackupKind::Incremental => tier.incremental += 1,
                    }
                    made += 1;
                    made_sizes.insert(made_id(made), expected_upload_bytes(&original, create));
                }
                Action::DeleteLocal(_) => outlook.deleted_locally += 1,
                Action::DeleteCloud(_) => outlook.stored.pruned += 1,
            }
        }
        // They go last: the most are there before that.
        let mut others = planned.due_actions().to_vec();
        others.retain(|action| !action.is_cloud_delete());
        let before = projection::executed(&vm, &others, made_id(made), time);
        outlook.stored.stored_max = outlook.stored.stored_max.max(completed(&before));
        vm = projection::executed(&vm, planned.due_actions(), made_id(made), time);
        if let Some(chain) = chain_of(&vm.backups, made_id(made)) {
            outlook.steps_max = outlook.steps_max.max(chain.steps.len());
        }
        if !is_held_back(time) {
            outlook.local_max = outlook.local_max.max(held(&vm));
        }
    }
    outlook.local = held(&vm);
    let view = VmView::new(&vm, policy, until);
    outlook.stored.expired = Keeps::of(&view).expired(&view).len();
    outlook.stored.stored = completed(&vm);
    let size = |id| made_sizes.get(&id).copied().unwrap_or_else(|| sizes.get(&id).copied());
    let stored = vm.backups.values().filter(|backup| backup.state == RecordedState::Completed);
    outlook.stored.stored_size_bytes = stored.filter_map(|backup| size(backup.id)).sum();
    outlook
}

fn completed(vm: &Vm) -> usize {
    vm.backups.values().filter(|backup| backup.state == RecordedState::Completed).count()
}

/// Takes out of a completed backup what is stored of it.
fn emptied(backup: &mut Backup) {
    if backup.state == RecordedState::Completed {
        backup.files.clear();
        backup.record_size_bytes = Some(51);
    }
}

/// Makes some VMs' newest increments come out empty, and says for how many that makes the next backup another.
fn emptied_here_and_there(cloud: &mut Cloud, policies: &Policies) -> usize {
    let mut others = 0;
    for vm in cloud.inventory.vms.values_mut() {
        let Match::One(policy) = policies.policy_for(vm) else { continue };
        let view = VmView::new(vm, policy, cloud.now);
        let on_held =
            |parent: BackupId| vm.backups.get(parent).is_some_and(|it| it.local == LocalState::Present);
        let is_on_held = |it: &&BackupView<'_>| it.backup.parent.is_some_and(on_held);
        let Some(newest) = view.restorable().rfind(is_on_held).map(|it| it.id()) else { continue };
        let parent = vm.backups.get(newest).unwrap().parent.unwrap();
        emptied(vm.backups.get_mut(newest).unwrap());
        let view = VmView::new(vm, policy, cloud.now);
        let is_next = |tier| parent_for(&view, tier).is_some_and(|it| it.id() == parent);
        others += usize::from((0..policy.tiers.len()).any(is_next) && yields_empty_increment(&view, parent));
    }
    others
}

#[test]
fn it_comes_to_what_a_plain_run_of_the_decisions_comes_to() {
    let seen: [Cell<usize>; 5] = Default::default();
    let (drawn, others) = (Cell::new(0), Cell::new(0));
    for_clouds(80, |mut cloud| {
        // Long enough for what comes after the first night, short enough for three backups an hour.
        let until = cloud.now + TimeDelta::days(4);
        let policies = Policies::new(cloud.policies.clone());
        drawn.set(drawn.get() + 1);
        if drawn.get() % 3 == 0 {
            others.set(others.get() + emptied_here_and_there(&mut cloud, &policies));
        }
        let span = (cloud.now, until);
        let forecast = look_ahead(&Policies::default(), &policies, &cloud.inventory, span, usize::MAX);
        let mut sums: BTreeMap<String, Vec<ForecastCounts>> = BTreeMap::new();
        for vm in cloud.inventory.vms.values() {
            if let Match::One(policy) = policies.policy_for(vm) {
                let plain = plainly(vm, policy, cloud.now, until);
                sums.entry(policy.name.to_string()).or_default().push(plain);
            }
        }
        prop_assert_eq!(forecast.groups.len(), sums.len());
        for (group, plain) in forecast.groups.iter().zip(sums.values()) {
            let sum = |of: &dyn Fn(&ForecastCounts) -> usize| plain.iter().map(of).sum::<usize>();
            let most = |of: &dyn Fn(&ForecastCounts) -> usize| plain.iter().map(of).max().unwrap_or(0);
            let with = &group.with;
            for (place, tier) in with.creates.iter().enumerate() {
                prop_assert_eq!(tier.full, sum(&|it| it.creates[place].full), "{}", &tier.tier);
                prop_assert_eq!(tier.incremental, sum(&|it| it.creates[place].incremental), "{}", &tier.tier);
            }
            prop_assert_eq!(with.deleted_locally, sum(&|it| it.deleted_locally), "deleted locally");
            prop_assert_eq!(with.local, sum(&|it| it.local), "local");
            prop_assert_eq!(with.local_max, most(&|it| it.local_max), "local at the most");
            prop_assert_eq!(with.stored.expired, sum(&|it| it.stored.expired), "expired");
            prop_assert_eq!(with.stored.pruned, sum(&|it| it.stored.pruned), "pruned");
            prop_assert_eq!(with.stored.stored, sum(&|it| it.stored.stored), "stored");
            prop_assert_eq!(with.stored.stored_max, sum(&|it| it.stored.stored_max), "stored at the most");
            let bytes = plain.iter().map(|it| it.stored.stored_size_bytes).sum::<u64>();
            prop_assert_eq!(with.stored.stored_size_bytes, bytes, "bytes");
            prop_assert_eq!(with.steps_max, most(&|it| it.steps_max), "steps");
            prop_assert_eq!(group.vms, plain.len());
            let counts =
                [with.deleted_locally, with.stored.expired, with.steps_max, with.local, with.stored.pruned];
            seen.iter().zip(counts).for_each(|(seen, count)| seen.set(seen.get() + count));
        }
        Ok(())
    });
    assert!(seen.iter().all(|seen| seen.get() > 40), "the clouds hold too little: {seen:?}");
    assert!(others.get() > 3, "no increment that came out empty changes what comes next: {others:?}");
}

#[test]
fn after_an_increment_that_came_out_empty_a_full_backup_is_seen() {
    // By the 18th at two a daily is due; the one that was tried on the daily of the 17th has nothing in it.
    let hollow = mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3).size(51).local();
    let view = hollow.vm.clone();
    let policy = grandfather();
    let group = &forecast_of(&[], std::slice::from_ref(&policy), [hollow]).groups[0];
    let from = at("2026-11-18 02:00");
    assert_eq!(group.with, plainly(&view, &policy, from, from + FORECAST_WITHIN));
    assert_eq!(group.with.creates[2].full, 1, "{group:#?}");
}

/// A VM, and others that differ from it in little.
fn nearly_alike(vm: &Vm) -> Vec<Vm> {
    let mut alike = vec![vm.clone(), vm.clone()];
    // A little earlier, and in the same order.
    for backup in alike[1].backups.values_mut() {
        backup.timestamp = backup.timestamp.map(|taken| taken - TimeDelta::milliseconds(1));
    }
    let changes: [fn(&mut Backup); 7] = [
        emptied,
        |backup| backup.timestamp = None,
        |backup| backup.local = Some(backup.local != LocalState::Present).into(),
        |backup| backup.state = RecordedState::Failed,
        |backup| backup.comment = Some("monthly".into()),
        |backup| backup.parent = None,
        |backup| backup.local = LocalState::Unknown,
    ];
    for change in changes {
        for of in [0, 1] {
            let mut other = vm.clone();
            let ids: Vec<BackupId> = other.backups.keys().collect();
            if let Some(backup) = ids.get(of * ids.len() / 2).and_then(|id| other.backups.get_mut(*id)) {
                change(backup);
                alike.push(other);
            }
        }
    }
    alike
}

#[test]
fn what_is_remembered_of_one_vm_holds_for_those_of_its_shape_only() {
    // All VMs of all clouds under one policy at one instant, in one inventory: much to be mistaken for something else.
    let mut crowd: Vec<Cloud> = Vec::new();
    let gathered = std::cell::RefCell::new(&mut crowd);
    for_clouds(60, |cloud| {
        gathered.borrow_mut().push(cloud);
        Ok(())
    });
    let now = at("2027-06-30 00:30");
    let until = now + TimeDelta::days(3);
    let mut policy = grandfather();
    policy.select = crate::policy::Selector { all: true, ..Default::default() };
    for (n, spread_hours) in [0, 3].into_iter().enumerate() {
        policy.tiers[2].spread = TimeDelta::hours(spread_hours);
        policy.tiers[1].keep_local = n as u32;
        let mut inventory = Inventory::default();
        for (n, cloud) in crowd.iter().enumerate() {
            let shift = now - cloud.now;
            for vm in cloud.inventory.vms.values() {
                for (place, mut vm) in nearly_alike(vm).into_iter().enumerate() {
                    vm.id = vm_id(n as u128 * 1_000 + place as u128 * 10 + vm.id.uuid().as_u128());
                    for backup in vm.backups.values_mut() {
                        backup.timestamp = backup.timestamp.map(|taken| taken + shift);
                    }
                    inventory.vms.insert(vm.id, vm);
                }
            }
        }
        let policies = Policies::new(vec![policy.clone()]);
        let together = look_ahead(&Policies::default(), &policies, &inventory, (now, until), usize::MAX);
        let mut alone = ForecastCounts::default();
        for vm in inventory.vms.values() {
            let plain = plainly(vm, &policy, now, until);
            alone.deleted_locally += plain.deleted_locally;
            alone.local += plain.local;
            alone.stored.stored += plain.stored.stored;
            alone.stored.stored_max += plain.stored.stored_max;
            alone.stored.stored_size_bytes += plain.stored.stored_size_bytes;
            alone.stored.pruned += plain.stored.pruned;
            alone.stored.expired += plain.stored.expired;
            alone.steps_max = alone.steps_max.max(plain.steps_max);
            alone.local_max = alone.local_max.max(plain.local_max);
        }
        let together = ForecastCounts { creates: Vec::new(), ..together.groups[0].with.clone() };
        assert_eq!(together, alone, "spread {spread_hours}");
    }
}

fn forecast_of(before: &[Policy], after: &[Policy], vms: impl IntoIterator<Item = VmBuilder>) -> Forecast {
    let (before, after) = (Policies::new(before.to_vec()), Policies::new(after.to_vec()));
    forecast(&before, &after, &inventory(vms), at("2026-11-18 02:00"))
}

fn creates(outlook: &ForecastCounts) -> Vec<(&str, usize, usize)> {
    outlook.creates.iter().map(|tier| (tier.tier.as_str(), tier.full, tier.incremental)).collect()
}

#[test]
fn shorter_chains_are_seen_and_so_is_what_they_hold() {
    let mut differential = grandfather();
    differential.tiers[1].kind = TierKind::Incremental { from: vec![0] };
    differential.tiers[2].kind = TierKind::Incremental { from: vec![0, 1] };
    let forecast = forecast_of(&[grandfather()], &[differential], [mid_chain(), vm(2)]);
    assert_eq!(forecast.until - forecast.from, FORECAST_WITHIN);
    let [group] = forecast.groups.as_slice() else { panic!("{forecast:#?}") };
    assert_eq!((group.vms, forecast.left_out), (2, 0));
    assert_eq!(creates(&group.without), [("monthly", 3, 0), ("weekly", 0, 10), ("daily", 0, 59)]);
    // VM 1 has no local monthly for the weeklies of the 22nd and the 29th under `differential`: full ones are made instead.
    assert_eq!(creates(&group.with), [("monthly", 3, 0), ("weekly", 2, 8), ("daily", 0, 59)]);
    assert!(group.without.steps_max > 8 && group.with.steps_max == 3, "{group:#?}");
    assert!(group.with.local_max <= 3, "{group:#?}");
}

#[test]
fn a_shorter_keep_is_seen_as_what_expires() {
    let mut shorter = grandfather();
    shorter.tiers[2].keep = NonZeroU32::new(3);
    let forecast = forecast_of(&[grandfather()], &[shorter], [mid_chain()]);
    let group = &forecast.groups[0];
    assert_eq!(creates(&group.without), creates(&group.with));
    assert!(group.without.stored.expired == 0 && group.with.stored.expired > 20, "{group:#?}");
}

#[test]
fn what_is_pruned_is_seen_in_what_is_stored() {
    let mut pruning = grandfather();
    pruning.prune = true;
    for (tier, keep) in pruning.tiers.iter_mut().zip([1, 1, 3]) {
        tier.keep = NonZeroU32::new(keep);
    }
    let vm = vm(1)
        .backup(1, "monthly", "2026-10-01 01:00")
        .size(10 * GIB)
        .backup(2, "daily", "2026-10-02 01:00")
        .on(1)
        .backup(3, "monthly", "2026-11-01 01:00")
        .size(12 * GIB)
        .local()
        .backup(4, "daily", "2026-11-18 01:00")
        .on(3)
        .size(3 * GIB)
        .local();
    let forecast = forecast_of(&[grandfather()], &[pruning], [vm]);
    let group = &forecast.groups[0];
    assert_eq!(creates(&group.without), creates(&group.with));
    let without = &group.without.stored;
    assert_eq!((without.stored, without.stored_max, without.pruned), (40, 40, 0), "{group:#?}");
    let with = &group.with.stored;
    assert_eq!(with.stored + with.pruned, without.stored);
    assert!(with.pruned > 5 && with.stored_max >= with.stored, "{group:#?}");
    assert!(with.stored_size_bytes < without.stored_size_bytes, "{group:#?}");
}

#[test]
fn a_suspension_is_seen_with_its_end() {
    let mut suspended = grandfather();
    let until_instant = at("2026-11-28 00:00");
    let reason = "storage move".to_owned();
    let until = until_instant.date_naive();
    suspended.suspend = Some(Suspension { reason, until, until_instant, vms: None });
    let forecast = forecast_of(&[grandfather()], &[suspended.clone()], [mid_chain()]);
    let group = &forecast.groups[0];
    let sum =
        |outlook: &ForecastCounts| outlook.creates.iter().map(|it| it.full + it.incremental).sum::<usize>();
    assert_eq!(
        (sum(&group.without), sum(&group.with)),
        (36, 27),
        "ten days less, of which the last is made up for"
    );

    // One that is over already is nothing.
    suspended.suspend.as_mut().unwrap().until_instant = at("2026-11-18 02:00");
    assert_eq!(forecast_of(&[grandfather()], &[suspended], [mid_chain()]).groups, []);
}

#[test]
fn a_vm_that_leaves_its_policy_keeps_what_it_holds_and_gets_nothing_more() {
    let forecast = forecast_of(&[grandfather()], &[], [mid_chain()]);
    let group = &forecast.groups[0];
    assert_eq!((group.before.as_deref(), group.after.as_deref()), (Some("grandfather"), None));
    assert_eq!((group.with.local, group.with.creates.len(), group.with.deleted_locally), (2, 0, 0));
    assert!(group.without.steps_max > 0);
}

#[test]
fn a_renamed_policy_with_the_same_behaviour_is_no_change() {
    let renamed = Policy { name: "ancestor".into(), description: "new".to_owned(), ..grandfather() };
    let (before, after) = (Policies::new(vec![grandfather()]), Policies::new(vec![renamed]));
    let cloud = inventory((1..50).map(vm));
    // Not one decision is taken.
    let span = (at("2026-11-18 02:00"), at("2026-12-18 02:00"));
    let forecast = look_ahead(&before, &after, &cloud, span, 0);
    assert_eq!((forecast.groups.len(), forecast.left_out), (0, 0));
}

#[test]
fn beyond_the_budget_vms_are_counted_and_not_guessed_at() {
    let policies = Policies::new(vec![grandfather()]);
    let span = (at("2026-11-18 02:00"), at("2026-12-18 02:00"));
    let vms = || inventory([mid_chain(), vm(2), vm(3)]);
    let within = look_ahead(&Policies::default(), &policies, &vms(), span, 31);
    assert_eq!(
        (within.groups[0].vms, within.left_out),
        (1, 2),
        "the two without backups are of another shape"
    );
    let enough = look_ahead(&Policies::default(), &policies, &vms(), span, 62);
    assert_eq!((enough.groups[0].vms, enough.left_out), (3, 0), "and share one");
}

#[test]
fn shares_of_a_spread_do_not_keep_vms_from_being_counted_together() {
    let zone = Zone::find("Europe/Berlin").unwrap();
    let mut spread = policy("spread", vec![tier("daily", "0 1 * * *", TierKind::Full, &zone)]);
    spread.tiers[0].spread = TimeDelta::hours(4);
    let policies = Policies::new(vec![spread]);
    let span = (at("2026-11-18 12:00"), at("2026-12-18 12:00"));
    let forecast = look_ahead(&Policies::default(), &policies, &inventory((1..40).map(vm)), span, 31);
    assert_eq!((forecast.left_out, forecast.groups[0].with.creates[0].full), (0, 39 * 31));
}

#[test]
fn a_stuck_upload_holds_what_it_is_taken_from() {
    let stuck = vm(1)
        .backup(1, "monthly", "2026-11-01 01:00")
        .local()
        .backup(2, "weekly", "2026-11-15 01:00")
        .on(1)
        .uploading();
    let view = stuck.vm.clone();
    let policy = grandfather();
    let standing = VmView::new(&view, &policy, at("2026-11-18 02:00")).backups[1].standing;
    assert_eq!(standing, Standing::Stuck);
    let group = &forecast_of(&[], std::slice::from_ref(&policy), [stuck]).groups[0];
    let plain = plainly(&view, &policy, at("2026-11-18 02:00"), at("2026-11-18 02:00") + FORECAST_WITHIN);
    assert_eq!(group.with, plain);
}
