//! What a change of policies does, by what it changes.

use crate::insight::compare::{Comparison, PolicySide, ProtectionChange, compare, year_changes};
use crate::insight::{AbandonedBackups, ActionCounts, PolicyChangeKind, Protection};
use crate::plan::tests::fixtures::*;
use crate::plan::{Action, SnapshotUsage, plan};
use crate::policy::{Policies, Policy, Selector, Suspension, TierKind, Zone};
use crate::simulate::Totals;
use chrono::TimeDelta;
use std::num::NonZeroU32;

/// Compares two sets of policies over some VMs on Wednesday the 18th of November 2026 at two.
fn compared(before: &[Policy], after: &[Policy], vms: impl IntoIterator<Item = VmBuilder>) -> Comparison {
    let (before, after) = (Policies::new(before.to_vec()), Policies::new(after.to_vec()));
    let inventory = inventory(vms);
    let now = pruning(at("2026-11-18 02:00"));
    let old = plan(&before, &inventory, now);
    let new = plan(&after, &inventory, now);
    let comparison = compare(
        PolicySide { policies: &before, plan: &old },
        PolicySide { policies: &after, plan: &new },
        &inventory,
    );
    let count = |kind: fn(&Action) -> bool| {
        new.vms.iter().flat_map(|vm| vm.due_actions()).filter(|action| kind(action)).count()
    };
    let summary = &comparison.summary;
    let creates = count(|action| matches!(action, Action::Create(_)));
    assert_eq!(summary.caused.create + summary.anyway.create, creates, "together they are the plan");
    assert_eq!(summary.caused.delete_local + summary.anyway.delete_local, new.summary.delete_local);
    comparison
}

/// Says what the policies set otherwise, a setting a line.
fn settings(comparison: &Comparison) -> Vec<String> {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let settings = comparison.policies.iter().flat_map(|policy| &policy.settings);
    settings.map(|it| format!("{}: {} -> {}", it.setting, value(&it.before), value(&it.after))).collect()
}

fn protection_changes(comparison: &Comparison) -> Vec<Option<ProtectionChange>> {
    comparison.vms.iter().map(|vm| vm.shift).collect()
}

fn only(alias: &str) -> Selector {
    Selector { alias: vec![crate::policy::Pattern::new(alias).unwrap()], ..Selector::default() }
}

#[test]
fn a_policy_in_another_file_is_no_change() {
    let mut moved = grandfather();
    moved.source.file = "policies/old/schemes.yaml".to_owned();
    moved.source.sha256 = "11".to_owned();
    moved.source.line = 20;
    let comparison = compared(&[grandfather()], &[moved], [mid_chain()]);
    assert_eq!((comparison.policies.len(), comparison.vms.len()), (0, 0));
    assert!(comparison.summary.caused.is_empty() && !comparison.summary.anyway.is_empty());
}

#[test]
fn what_a_new_tier_causes_is_reported_from_what_is_due_anyway() {
    let mut more = grandfather();
    let zone = more.zone.clone();
    more.tiers.push(tier("hourly", "0 * * * *", TierKind::Incremental { from: vec![0, 1, 2, 3] }, &zone));
    // The daily of the 18th is there, so that only the hourly is due.
    let has_daily = || mid_chain().backup(9, "daily", "2026-11-18 01:01").on(3).local();
    let comparison = compared(&[grandfather()], &[more], [has_daily()]);
    let change = &comparison.vms[0];
    assert!(matches!(change.caused.as_slice(), [Action::Create(create)] if &*create.tier == "hourly"));
    // The daily of the 17th goes either way.
    assert_eq!((change.anyway.delete_local, change.anyway.all()), (1, 1), "{change:#?}");
    assert_eq!(
        settings(&comparison),
        [
            "tiers: monthly, weekly, daily -> monthly, weekly, daily, hourly",
            "tiers.hourly.keep: none -> all",
            "tiers.hourly.schedule: none -> 0 * * * *",
            "tiers.hourly.type: none -> incremental from monthly, weekly, daily, hourly",
        ]
    );
}

#[test]
fn a_vm_that_loses_its_policy_is_reported_with_what_is_no_longer_done() {
    let mut narrower = grandfather();
    narrower.select = only("web-*");
    let comparison = compared(&[grandfather()], &[narrower], [mid_chain()]);
    assert_eq!(protection_changes(&comparison), [Some(ProtectionChange::LosesProtection)]);
    assert_eq!(comparison.summary.loses_protection, 1);
    assert_eq!((comparison.summary.no_longer.create, comparison.summary.no_longer.delete_local), (1, 1));
    assert!(comparison.summary.caused.is_empty());
    assert_eq!(comparison.vms[0].after, Protection::Unprotected);
    assert_eq!(settings(&comparison), ["select: {metadata: {fifo.backup: 1}} -> {alias: web-*}"]);
}

#[test]
fn every_shift_of_protection_has_its_name() {
    let named = |name: &str| Policy { name: name.into(), ..grandfather() };
    let suspended = |name: &str| {
        let until_instant = at("2026-12-24 00:00");
        let until = until_instant.date_naive();
        let suspend = Some(Suspension { reason: "move".to_owned(), until, until_instant, vms: None });
        Policy { suspend, ..named(name) }
    };
    let none: [Policy; 0] = [];
    let two = [named("a"), named("b")];
    let shift = |before: &[Policy], after: &[Policy]| {
        let comparison = compared(before, after, [mid_chain()]);
        comparison.vms.first().and_then(|vm| vm.shift)
    };
    assert_eq!(shift(&[named("a")], &none), Some(ProtectionChange::LosesProtection));
    assert_eq!(shift(&[suspended("a")], &none), Some(ProtectionChange::LosesProtection));
    assert_eq!(shift(&[named("a")], &two), Some(ProtectionChange::ComesIntoConflict));
    assert_eq!(shift(&none, &two), Some(ProtectionChange::ComesIntoConflict));
    assert_eq!(shift(&[named("a")], &[suspended("a")]), Some(ProtectionChange::Suspended));
    assert_eq!(shift(&[named("a")], &[suspended("b")]), Some(ProtectionChange::Suspended));
    assert_eq!(shift(&none, &[named("a")]), Some(ProtectionChange::GainsProtection));
    assert_eq!(
        shift(&none, &[suspended("a")]),
        Some(ProtectionChange::Suspended),
        "nothing will be done for it"
    );
    assert_eq!(shift(&[suspended("a")], &[named("a")]), Some(ProtectionChange::Resumed));
    assert_eq!(shift(&two, &[named("a")]), Some(ProtectionChange::LeavesConflict));
    assert_eq!(shift(&two, &none), Some(ProtectionChange::LeavesConflict));
    assert_eq!(shift(&[named("a")], &[named("b")]), Some(ProtectionChange::ChangesPolicy));
    assert_eq!(shift(&[suspended("a")], &[suspended("b")]), Some(ProtectionChange::ChangesPolicy));
    assert_eq!(shift(&two, &two), None);
}

#[test]
fn a_suspension_takes_back_what_was_to_be_done_and_its_end_causes_it() {
    let until_instant = at("2026-12-24 00:00");
    let until = until_instant.date_naive();
    let suspend = Some(Suspension { reason: "move".to_owned(), until, until_instant, vms: None });
    let suspended = Policy { suspend, ..grandfather() };
    let comparison = compared(&[grandfather()], std::slice::from_ref(&suspended), [mid_chain()]);
    assert_eq!((comparison.vms[0].caused.len(), comparison.vms[0].no_longer.len()), (0, 2));
    assert_eq!(settings(&comparison), ["suspend: none -> until 2026-12-24"]);
    let comparison = compared(&[suspended], &[grandfather()], [mid_chain()]);
    assert_eq!((comparison.vms[0].caused.len(), comparison.vms[0].no_longer.len()), (2, 0));
    assert_eq!(settings(&comparison), ["suspend: until 2026-12-24 -> none"]);
}

#[test]
fn a_snapshot_that_no_longer_waits_for_its_successor_is_deleted_by_the_change() {
    // The daily of the 17th stays until that of the 18th is complete; under a policy of which it is no parent it goes now.
    let mut fulls = grandfather();
    fulls.tiers[2].kind = TierKind::Full;
    let comparison = compared(&[grandfather()], &[fulls], [mid_chain()]);
    let change = &comparison.vms[0];
    let is_delete_now =
        |action: &Action| matches!(action, Action::DeleteLocal(delete) if !delete.after_create);
    assert!(change.caused.iter().any(is_delete_now), "{change:#?}");
    assert!(!change.no_longer.iter().any(|action| matches!(action, Action::DeleteLocal(_))), "{change:#?}");
}

#[test]
fn a_backup_that_is_made_in_any_case_is_not_caused_by_the_delete_of_its_snapshot() {
    let fulls = |keep_local| {
        let mut policy = policy("full", vec![tier("daily", "0 1 * * *", TierKind::Full, &Zone::UTC)]);
        policy.tiers[0].keep_local = keep_local;
        policy
    };
    let counts = |create, delete_local| ActionCounts { create, delete_local, ..ActionCounts::default() };
    let goes = compared(&[fulls(1)], &[fulls(0)], [vm(1)]);
    assert_eq!((goes.summary.caused, goes.summary.anyway), (counts(0, 1), counts(1, 0)));
    assert!(goes.summary.no_longer.is_empty());
    assert_eq!((goes.vms[0].caused.len(), goes.vms[0].anyway.all()), (1, 1));
    let stays = compared(&[fulls(0)], &[fulls(1)], [vm(1)]);
    assert_eq!((stays.summary.caused, stays.summary.anyway), (counts(0, 0), counts(1, 0)));
    assert_eq!(stays.summary.no_longer, counts(0, 1));
    assert_eq!((stays.vms[0].no_longer.len(), stays.vms[0].anyway.all()), (1, 1));
    let gone = compared(&[fulls(0)], &[fulls(0)], [vm(1)]);
    assert_eq!((gone.summary.caused, gone.summary.anyway, gone.vms.len()), (counts(0, 0), counts(1, 1), 0));
    // The delete of another new backup is another delete.
    let mut renamed = fulls(0);
    renamed.tiers[0].comment = "nightly".to_owned();
    let other = compared(&[fulls(0)], &[renamed], [vm(1)]);
    assert_eq!((other.summary.caused, other.summary.anyway), (counts(1, 1), counts(0, 0)));
    assert_eq!(other.summary.no_longer, counts(1, 1));
}

#[test]
fn a_policy_is_shown_with_what_it_sets_otherwise() {
    let mut other = grandfather();
    other.priority = 5;
    other.tiers[2].keep = NonZeroU32::new(3);
    other.tiers[2].spread = TimeDelta::minutes(90);
    other.tiers[2].also = vec!["nightly".to_owned()];
    other.tiers[1].kind = TierKind::Incremental { from: vec![0] };
    other.retry.backoff = TimeDelta::minutes(5);
    other.max_age = TimeDelta::hours(50);
    other.tiers[0].keep_local = 2;
    let new = Policy { name: "new".into(), ..grandfather() };
    let old = Policy { name: "old".into(), ..grandfather() };
    let comparison = compared(&[old, grandfather()], &[new, other], []);
    let kinds: Vec<_> = comparison.policies.iter().map(|it| (it.name.as_str(), it.change)).collect();
    let (added, removed) = (PolicyChangeKind::Added, PolicyChangeKind::Removed);
    assert_eq!(kinds, [("grandfather", PolicyChangeKind::Changed), ("new", added), ("old", removed)]);
    assert_eq!(
        settings(&comparison),
        [
            "max_age: 1d2h -> 2d2h",
            "priority: 0 -> 5",
            "retry: 3 attempts, 1h -> 3 attempts, 5m",
            "tiers.daily.also: none -> nightly",
            "tiers.daily.keep: all -> 3",
            "tiers.daily.spread: none -> 1h30m",
            "tiers.monthly.keep_local: none -> 2",
            "tiers.weekly.type: incremental from monthly, weekly -> incremental from monthly",
        ]
    );
}

#[test]
fn a_change_of_max_age_alone_is_a_change_and_one_of_the_description_is_none() {
    let older = Policy { max_age: TimeDelta::hours(50), ..grandfather() };
    assert_eq!(settings(&compared(&[grandfather()], &[older], [])), ["max_age: 1d2h -> 2d2h"]);
    let described = Policy { description: "for all".to_owned(), ..grandfather() };
    assert!(compared(&[grandfather()], &[described], []).policies.is_empty());
}

#[test]
fn a_renamed_tier_strands_its_backups_and_also_takes_them_over() {
    let mut renamed = grandfather();
    renamed.tiers[2].name = "nightly".into();
    "nightly".clone_into(&mut renamed.tiers[2].comment);
    let with_more = || mid_chain().backup(4, "daily", "2026-11-16 01:00").on(2);
    let comparison = compared(&[grandfather()], &[renamed.clone()], [with_more()]);
    let stranded = AbandonedBackups { backups: 2, held: SnapshotUsage { snapshots: 1, size_bytes: GIB } };
    assert_eq!((comparison.vms[0].stranded, comparison.summary.stranded), (stranded, stranded));

    renamed.tiers[2].also = vec!["daily".to_owned()];
    let comparison = compared(&[grandfather()], &[renamed], [with_more()]);
    assert!(comparison.summary.stranded.is_empty());
}

#[test]
fn a_vm_that_loses_its_policy_strands_what_that_managed_and_nothing_else() {
    let vm = mid_chain().backup(4, "by hand", "2026-11-16 01:00").local();
    let comparison = compared(&[grandfather()], &[], [vm]);
    assert_eq!(
        comparison.summary.stranded,
        AbandonedBackups { backups: 3, held: SnapshotUsage { snapshots: 2, size_bytes: 2 * GIB } }
    );
}

/// A monthly of the 1st, and a daily on it of each day from the 10th to the 17th.
fn eight_dailies() -> VmBuilder {
    let monthly = vm(1).backup(1, "monthly", "2026-11-01 01:00");
    (10..=17).fold(monthly, |vm, day| vm.backup(day, "daily", &format!("2026-11-{day} 01:00")).on(1))
}

fn keeping(dailies: u32, prune: bool) -> Policy {
    let mut policy = grandfather();
    policy.tiers[2].keep = NonZeroU32::new(dailies);
    policy.prune = prune;
    policy
}

#[test]
fn what_a_shorter_keep_makes_expire_is_counted_with_bytes_and_dates() {
    let change = |before, after| compared(&[before], &[after], [eight_dailies()]);
    let comparison = change(keeping(6, false), keeping(3, false));
    // The two oldest had expired before.
    let expired = comparison.summary.expired;
    assert_eq!((expired.backups, expired.size_bytes), (3, 3 * GIB));
    let day = |text| Some(at(text).fixed_offset());
    assert_eq!((expired.oldest, expired.newest), (day("2026-11-12 01:00"), day("2026-11-14 01:00")));
    assert_eq!((comparison.vms[0].expired, comparison.summary.prunable.backups), (expired, 0));
    let longer = change(keeping(3, false), keeping(6, false));
    assert!(longer.summary.expired.is_empty() && longer.summary.prunable.is_empty());
    // A VM that had no policy loses nothing by getting one, but for what that does not keep.
    let gained = compared(&[], &[keeping(6, false)], [eight_dailies()]);
    assert_eq!(gained.summary.expired.backups, 2);
}

#[test]
fn a_policy_that_begins_to_prune_puts_all_that_had_expired_at_stake() {
    let change = |before, after| compared(&[before], &[after], [eight_dailies()]).summary;
    let begins = change(keeping(6, false), keeping(6, true));
    assert_eq!(begins.caused.delete_cloud, 2);
    for (before, after, expired, prunable) in [
        (keeping(6, false), keeping(6, true), 0, 2),
        (keeping(6, false), keeping(3, true), 3, 5),
        (keeping(6, true), keeping(3, true), 3, 3),
        (keeping(3, true), keeping(3, false), 0, 0),
    ] {
        let summary = change(before, after);
        assert_eq!((summary.expired.backups, summary.prunable.backups), (expired, prunable));
    }
}

#[test]
fn a_year_is_simulated_for_each_policy_that_is_set_otherwise() {
    let keeping = |name: &str, keep: u32| {
        let mut policy = policy(name, vec![tier("daily", "0 1 * * *", TierKind::Full, &Zone::UTC)]);
        policy.tiers[0].keep = NonZeroU32::new(keep);
        Policy { prune: true, select: only(name), ..policy }
    };
    let before = [keeping("gone", 1), keeping("same", 2), keeping("shorter", 3)];
    let before = Policies::new(before.to_vec());
    let after = Policies::new(vec![keeping("same", 2), keeping("shorter", 1)]);
    let years = year_changes(&before, &after, at("2026-11-18 02:00"));
    let stored = |totals: &Option<Totals>| totals.map(|totals| (totals.full, totals.stored));
    let years = years.iter().map(|year| (&*year.policy, stored(&year.before), stored(&year.after)));
    // What the last one makes expire goes with the next run.
    let expected = [("gone", Some((366, 2)), None), ("shorter", Some((366, 4)), Some((366, 2)))];
    assert_eq!(years.collect::<Vec<_>>(), expected);
}
