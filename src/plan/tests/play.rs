//! Hundreds of nights of whole schemes with pruning: what a healthy policy expires is never refused, what is stored stays under
//! the derived bound, and a policy that is lowered is refused on every night. The figures of `docs/retention.md` are of these.

use super::fixtures::*;
use crate::inventory::{LocalState, RecordedState, StoredFile, Vm};
use crate::plan::decide::decide_under;
use crate::plan::due::Occurrences;
use crate::plan::standing::VmView;
use crate::plan::{Action, NoteCode, VmPlan, projection};
use crate::policy::{Policy, TierKind, Zone};
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use std::num::NonZeroU32;

const DOCS: &str = include_str!("../../../docs/retention.md");
const NIGHTS: i64 = 500;
const FIRST: &str = "2027-01-01 01:05";

/// What goes wrong over the nights, by their number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    /// No runs at all in nights 200 to 213.
    TwoWeeksWithoutRuns,
    /// Each upload of nights 200 to 209 fails.
    TenFailingNights,
    /// The coarsest tier fails on the first three attempts of each month.
    FailingCoarsest,
    /// Runs make backups each night, and prune on Sundays only.
    WeeklyPruning,
}

const TROUBLES: [Trouble; 5] = [
    Trouble::None,
    Trouble::TwoWeeksWithoutRuns,
    Trouble::TenFailingNights,
    Trouble::FailingCoarsest,
    Trouble::WeeklyPruning,
];

/// One scheme: its policy, how many runs a day, and what is stored at the most where nothing goes wrong.
struct Scheme {
    policy: Policy,
    runs_a_day: i64,
    bound: usize,
    /// How many more failures and late prunes add.
    slack: usize,
}

fn scheme(name: &str, tiers: &[(&str, &str, TierKind, u32)], bound: usize, slack: usize) -> Scheme {
    let tiers = tiers.iter().map(|(name, schedule, kind, keep)| {
        let keep = NonZeroU32::new(*keep);
        crate::policy::Tier { keep, ..tier(name, schedule, kind.clone(), &Zone::UTC) }
    });
    let policy = Policy { prune: true, ..policy(name, tiers.collect()) };
    Scheme { policy, runs_a_day: 1, bound, slack }
}

fn on(from: &[usize]) -> TierKind {
    TierKind::Incremental { from: from.to_vec() }
}

/// The schemes with the bounds of `docs/retention.md`: `keep` + L - 1 a tier, and the backup of the night on top.
fn schemes() -> Vec<Scheme> {
    const MONTHLY: &str = "0 1 1 * *";
    const WEEKLY: &str = "0 1 * * SUN";
    const DAILY: &str = "0 1 * * *";
    let full = || TierKind::Full;
    let mut six_hourly = scheme(
        "six-hourly",
        &[("daily", DAILY, full(), 14), ("hourly", "0 */6 * * *", on(&[0, 1]), 12)],
        14 + (12 + 2) + 1,
        7 * 4,
    );
    six_hourly.runs_a_day = 4;
    six_hourly.policy.max_age = TimeDelta::hours(26);
    vec![
        scheme(
            "grandfather",
            &[
                ("monthly", MONTHLY, full(), 12),
                ("weekly", WEEKLY, on(&[0, 1]), 5),
                ("daily", DAILY, on(&[0, 1, 2]), 7),
            ],
            12 + (5 + 4) + (7 + 5) + 1,
            14,
        ),
        scheme(
            "weekly-full",
            &[("weekly", WEEKLY, full(), 4), ("daily", DAILY, on(&[0, 1]), 7)],
            4 + (7 + 5) + 1,
            14,
        ),
        scheme(
            "monthly-full",
            &[("monthly", MONTHLY, full(), 3), ("daily", DAILY, on(&[0, 1]), 14)],
            3 + (14 + 29) + 1,
            14,
        ),
        scheme(
            "differential",
            &[
                ("monthly", MONTHLY, full(), 12),
                ("weekly", WEEKLY, on(&[0]), 5),
                ("daily", DAILY, on(&[0, 1]), 7),
            ],
            12 + (5 + 1) + 7 + 1,
            14,
        ),
        six_hourly,
    ]
}

fn size_bytes(comment: Option<&str>) -> u64 {
    match comment {
        Some("monthly") => 100 * GIB,
        Some("weekly") => 20 * GIB,
        _ => 5 * GIB,
    }
}

/// Lets one run happen: decides, makes one backup after the other while one is due, as long as they succeed, and then prunes.
/// What is stored can be restored before, meanwhile and after. Returns the first plan.
fn run(
    vm: &mut Vm,
    policy: &Policy,
    now: DateTime<Utc>,
    number: usize,
    fails: impl Fn(&str) -> bool,
) -> VmPlan {
    let occurrences = Occurrences::new(policy, now);
    let first = decide_under(&VmView::new(vm, policy, pruning(now)), &occurrences);
    let mut planned = first.clone();
    for attempt in 0..policy.tiers.len() {
        let Some(at) = planned.actions.iter().position(Action::is_create) else { break };
        let Some(create) = planned.actions[at].as_create() else { break };
        let new = backup_id(1 << 64 | (number * 10 + attempt) as u128);
        let is_bad = fails(&create.tier);
        let prunes = planned.actions.iter().position(Action::is_cloud_delete);
        let all = 0..prunes.unwrap_or(planned.actions.len());
        let done = if is_bad { at..at + 1 } else { all };
        *vm = projection::executed(vm, &planned.actions[done], new, now);
        if let Some(made) = vm.backups.get_mut(new) {
            let size_bytes = Some(size_bytes(made.comment.as_deref()));
            made.files = vec![StoredFile { size_bytes, has_checksum: true, ..StoredFile::default() }];
            if is_bad {
                (made.state, made.local) = (RecordedState::Failed, LocalState::Absent);
            }
        }
        planned = decide_under(&VmView::new(vm, policy, pruning(now)), &occurrences);
    }
    // What the backup of tonight makes expire goes with the next run.
    let is_listed = |action: &&Action| action.is_cloud_delete() && first.actions.contains(action);
    for action in planned.actions.iter().filter(is_listed) {
        let unrestorable =
            |vm: &Vm| VmView::new(vm, policy, now).backups.iter().filter(|it| !it.is_restorable()).count();
        let before = unrestorable(vm);
        *vm = projection::executed(vm, std::slice::from_ref(action), backup_id(0), now);
        assert!(unrestorable(vm) <= before, "{action:?} at {now}");
    }
    first
}

fn completed(vm: &Vm) -> usize {
    vm.backups.values().filter(|backup| backup.state == RecordedState::Completed).count()
}

/// Plays a scheme for so many nights and returns the most that was stored, with how often pruning was refused.
fn played(
    scheme: &Scheme,
    trouble: Trouble,
    nights: i64,
    mut each: impl FnMut(&Vm, DateTime<Utc>),
) -> (usize, usize) {
    let keeping = Policy { prune: false, ..scheme.policy.clone() };
    let coarsest = scheme.policy.tiers[0].name.to_string();
    let (mut vm, mut peak, mut refused) = (super::fixtures::vm(1).vm, 0, 0);
    for number in 0..nights * scheme.runs_a_day {
        let night = number / scheme.runs_a_day;
        let now = at(FIRST) + TimeDelta::hours(number * 24 / scheme.runs_a_day);
        if trouble == Trouble::TwoWeeksWithoutRuns && (200..214).contains(&night) {
            continue;
        }
        let fails = |tier: &str| match trouble {
            Trouble::TenFailingNights => (200..210).contains(&night),
            Trouble::FailingCoarsest => tier == coarsest && night > 0 && now.day() <= 3,
            _ => false,
        };
        let is_pruning = trouble != Trouble::WeeklyPruning || now.weekday() == chrono::Weekday::Sun;
        let policy = if is_pruning { &scheme.policy } else { &keeping };
        let planned = run(&mut vm, policy, now, number as usize, fails);
        refused += usize::from(planned.note(NoteCode::OverPruneLimit).is_some());
        peak = peak.max(completed(&vm));
        each(&vm, now);
    }
    (peak, refused)
}

#[test]
fn five_hundred_nights_of_healthy_schemes_are_never_refused_and_stay_under_their_bounds() {
    for scheme in schemes() {
        for trouble in TROUBLES {
            let (peak, refused) = played(&scheme, trouble, NIGHTS, |_, _| {});
            let name = &scheme.policy.name;
            assert_eq!(refused, 0, "{name} {trouble:?}");
            let bound = if trouble == Trouble::None { scheme.bound } else { scheme.bound + scheme.slack };
            assert!(peak <= bound, "{name} {trouble:?}: {peak} of {bound}");
            println!(
                "{name}, {trouble:?}: at most {peak} stored; the bound without trouble is {}",
                scheme.bound
            );
        }
    }
}

#[test]
fn a_policy_that_is_lowered_is_refused_on_every_night_and_a_small_one_is_not() {
    let lowered = |scheme: &Scheme, keep: &[u32]| {
        let mut policy = scheme.policy.clone();
        policy.tiers.iter_mut().zip(keep).for_each(|(tier, keep)| tier.keep = NonZeroU32::new(*keep));
        policy
    };
    let mut schemes = schemes();
    schemes.push(scheme("dailies", &[("daily", "0 1 * * *", TierKind::Full, 14)], 15, 0));
    for (name, keep, is_refused) in
        [("grandfather", &[4, 2, 2][..], true), ("dailies", &[3], true), ("weekly-full", &[1, 7], false)]
    {
        let scheme = schemes.iter().find(|scheme| *scheme.policy.name == *name).unwrap();
        let policy = lowered(scheme, keep);
        let (mut nights, mut refusals, mut most) = (0, 0, 0);
        played(scheme, Trouble::None, NIGHTS, |vm, now| {
            // From when on the first policy holds all that it keeps.
            if now - at(FIRST) < TimeDelta::days(370) {
                return;
            }
            let planned =
                decide_under(&VmView::new(vm, &policy, pruning(now)), &Occurrences::new(&policy, now));
            let prunes = planned.actions.iter().filter(|action| action.is_cloud_delete()).count();
            nights += 1;
            refusals += usize::from(planned.note(NoteCode::OverPruneLimit).is_some());
            most = most.max(prunes);
        });
        println!(
            "{name} lowered to {keep:?}: refused on {refusals} of {nights} nights; at most {most} would be pruned"
        );
        assert_eq!(refusals, if is_refused { nights } else { 0 }, "{name} of {nights}");
    }
}

#[test]
fn two_years_of_nights_with_12_5_7_kept_have_the_figures_of_the_documentation() {
    let scheme = &schemes()[0];
    let keeping = Scheme { policy: Policy { prune: false, ..scheme.policy.clone() }, ..schemes().remove(0) };
    let held = |vm: &Vm| -> (usize, u64) {
        (vm.backups.len(), vm.backups.values().filter_map(|backup| backup.size_bytes()).sum::<u64>() / GIB)
    };
    let peak = |scheme: &Scheme| {
        let mut peak = (0, 0);
        played(scheme, Trouble::None, 2 * 365, |vm, _| {
            let (count, gib) = held(vm);
            peak = (peak.0.max(count), peak.1.max(gib));
        });
        format!("{} backups and {} GiB", peak.0, peak.1)
    };
    let page = DOCS.split_whitespace().collect::<Vec<_>>().join(" ");
    for peak in [format!("at most {}", peak(scheme)), peak(&keeping)] {
        assert!(page.contains(&peak), "the page does not say {peak:?}");
    }
}
