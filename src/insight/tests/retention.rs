//! The peaks of tiers, against the real decisions over the same nights.

use crate::insight::retention::{FewerBackups, PeakChange, TierPeak, peak_changes, tier_peaks};
use crate::plan::decide::decide_under;
use crate::plan::due::Occurrences;
use crate::plan::projection;
use crate::plan::standing::VmView;
use crate::plan::tests::fixtures::*;
use crate::policy::{MissingParent, Name, Policies, Policy, TierKind, Zone};
use chrono::TimeDelta;
use std::num::NonZeroU32;

fn keeping<const N: usize>(mut policy: Policy, keep: [u32; N]) -> Policy {
    for (tier, keep) in policy.tiers.iter_mut().zip(keep) {
        tier.keep = NonZeroU32::new(keep);
    }
    policy
}

fn from(mut policy: Policy, tier: usize, from: &[usize]) -> Policy {
    policy.tiers[tier].kind = TierKind::Incremental { from: from.to_vec() };
    policy
}

fn held(policy: &Policy) -> Vec<Option<usize>> {
    tier_peaks(policy).into_iter().map(|peak| peak.peak).collect()
}

#[test]
fn chains_hold_more_than_keep_asks_for_and_a_from_without_them_does_not() {
    let chains = keeping(grandfather(), [12, 5, 7]);
    let some = |from: &[&str], peak| {
        Some(FewerBackups { from: from.iter().map(|&it| Name::from(it)).collect(), peak })
    };
    let peak = |tier: &str, keep, peak, fewer| TierPeak {
        tier: tier.into(),
        keep: Some(keep),
        peak: Some(peak),
        fewer,
    };
    assert_eq!(
        tier_peaks(&chains),
        [
            peak("monthly", 12, 12, None),
            peak("weekly", 5, 9, some(&["monthly"], 5)),
            peak("daily", 7, 12, some(&["monthly", "weekly"], 7)),
        ]
    );
    let differential = from(from(chains, 1, &[0]), 2, &[0, 1]);
    assert_eq!(held(&differential), [Some(12), Some(5), Some(7)]);
}

#[test]
fn ancestors_stay_for_the_sake_of_finer_tiers_that_are_kept_for_longer() {
    // Sixty dailies reach back over two months and more.
    let long = from(from(keeping(grandfather(), [1, 1, 60]), 1, &[0]), 2, &[0, 1]);
    assert_eq!(held(&long), [Some(4), Some(12), Some(60)]);
    assert_eq!(held(&long).into_iter().flatten().collect::<Vec<_>>(), really_held(&long, 24));
}

#[test]
fn what_is_kept_for_ever_has_no_peak_nor_has_what_it_is_taken_from() {
    assert_eq!(held(&grandfather()), [None, None, None]);
    assert_eq!(held(&keeping(grandfather(), [12, 5, 0])), [None, None, None]);
    assert_eq!(held(&keeping(grandfather(), [0, 5, 7])), [None, Some(9), Some(12)]);
}

#[test]
fn a_frequent_tier_is_followed_only_so_far() {
    let zone = Zone::UTC;
    let often = keeping(
        policy(
            "often",
            vec![
                tier("yearly", "0 1 1 1 *", TierKind::Full, &zone),
                tier("minutes", "*/5 * * * *", TierKind::Incremental { from: vec![0, 1] }, &zone),
            ],
        ),
        [3, 10],
    );
    assert!(held(&often)[1].is_some_and(|peak| peak > 1_500));
}

#[test]
fn a_change_of_policies_is_told_with_the_peaks_that_it_alters() {
    let before = keeping(grandfather(), [12, 5, 7]);
    let after = from(before.clone(), 2, &[0, 1]);
    let policies = |policy: &Policy| Policies::new(vec![policy.clone()]);
    let changes = peak_changes(&policies(&before), &policies(&after));
    let [PeakChange { policy, tier, before: Some(old), after: Some(new) }] = changes.as_slice() else {
        panic!("{changes:#?}")
    };
    assert_eq!((policy.as_str(), tier.as_str()), ("grandfather", "daily"));
    assert_eq!((old.peak, new.peak), (Some(12), Some(7)));
    assert_eq!(peak_changes(&policies(&before), &policies(&before)), []);
    let added = peak_changes(&Policies::default(), &policies(&after));
    assert!(added.len() == 3 && added.iter().all(|it| it.before.is_none()), "{added:#?}");
}

/// Lets the real decisions happen for 400 days, every so many hours and with pruning, and counts what each tier holds at its peak.
fn really_held(policy: &Policy, step_hours: i64) -> Vec<usize> {
    let policy = Policy { prune: true, ..policy.clone() };
    let mut vm = vm(1).vm;
    let mut peaks = vec![0; policy.tiers.len()];
    let mut now = at("2026-01-01 01:30");
    let end = now + TimeDelta::days(400);
    let mut number = 0;
    while now < end {
        number += 1;
        let planned = decide_under(&VmView::new(&vm, &policy, pruning(now)), &Occurrences::new(&policy, now));
        vm = projection::executed(&vm, planned.due_actions(), backup_id(1 << 64 | number), now);
        // What expires by this create goes as soon as it may.
        let later = now + TimeDelta::minutes(15);
        let then =
            decide_under(&VmView::new(&vm, &policy, pruning(later)), &Occurrences::new(&policy, later));
        let prunes: Vec<_> = then.actions.into_iter().filter(|action| action.is_cloud_delete()).collect();
        vm = projection::executed(&vm, &prunes, backup_id(0), later);
        for (tier, peak) in peaks.iter_mut().enumerate() {
            let of_tier = |comment: Option<&str>| policy.tier_of(comment) == Some(tier);
            *peak = vm.backups.values().filter(|it| of_tier(it.comment.as_deref())).count().max(*peak);
        }
        now += TimeDelta::hours(step_hours);
    }
    peaks
}

#[test]
fn the_peaks_are_those_of_the_real_decisions() {
    let zone = Zone::UTC;
    let weekly_and_hours = policy(
        "hours",
        vec![
            tier("weekly", "0 1 * * SUN", TierKind::Full, &zone),
            tier("daily", "0 1 * * *", TierKind::Incremental { from: vec![0] }, &zone),
            tier("hourly", "0 */6 * * *", TierKind::Incremental { from: vec![1, 2] }, &zone),
        ],
    );
    let policies = [
        keeping(grandfather(), [2, 3, 4]),
        from(from(keeping(grandfather(), [1, 2, 9]), 1, &[0]), 2, &[1, 2]),
        from(keeping(grandfather(), [2, 1, 3]), 2, &[0, 2]),
        Policy { missing_parent: MissingParent::Block, ..from(keeping(grandfather(), [1, 1, 3]), 2, &[1]) },
        keeping(weekly_and_hours.clone(), [2, 3, 5]),
        keeping(weekly_and_hours, [1, 9, 2]),
    ];
    for policy in policies {
        let real: Vec<Option<usize>> =
            really_held(&policy, if policy.name.as_str() == "hours" { 1 } else { 24 })
                .into_iter()
                .map(Some)
                .collect();
        let peaks = held(&policy);
        assert!(
            real <= peaks && real.iter().zip(&peaks).all(|(real, peak)| real <= peak),
            "{real:?} {peaks:?}"
        );
        assert_eq!(
            real,
            peaks,
            "{:?}",
            policy.tiers.iter().map(|tier| (&tier.kind, tier.keep)).collect::<Vec<_>>()
        );
    }
}
