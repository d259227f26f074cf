//! The engine: against a plain run of the same decisions, and in what it comes to.

use super::engine::Engine;
use super::world::SimulatedVm;
use super::{Day, Made, Scenario, Story, simulate, simulate_with_stories};
use crate::inventory::{RecordedState, Vm};
use crate::plan::decide::decide_under;
use crate::plan::due::Occurrences;
use crate::plan::standing::VmView;
use crate::plan::tests::fixtures::*;
use crate::plan::tests::generators::Cloud;
use crate::plan::tests::properties::for_clouds;
use crate::plan::{Action, Prune, projection};
use crate::policy::{Policies, Policy, Suspension, TierKind, Zone};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use std::cell::Cell;
use std::num::NonZeroU32;
use std::ops::ControlFlow;

/// What remains of a VM at the end of a simulation, as far as a plain run can tell: what is stored, what is local, what was made.
type End = (usize, usize, Vec<Made>);

fn end_of(vm: &Vm, left: usize, made: Vec<Made>) -> End {
    let completed = vm.backups.values().filter(|backup| backup.state == RecordedState::Completed);
    (completed.count() + left, vm.backups.values().filter(|backup| backup.holds_snapshot()).count(), made)
}

/// Runs the VM as the contract's loop says, each decision from the whole records, and each action as a projection of them.
fn plain_run(mut vm: Vm, policy: &Policy, runs: &[DateTime<Utc>]) -> End {
    let mut made = Vec::new();
    for &now in runs {
        let occurrences = Occurrences::new(policy, now);
        let first = decide_under(&VmView::new(&vm, policy, now), &occurrences);
        let mut tiers = Vec::new();
        loop {
            let planned = decide_under(&VmView::new(&vm, policy, now), &occurrences);
            let may_go = |action: &&Action| match action {
                Action::DeleteLocal(delete) => !delete.after_create,
                Action::Create(create) => !tiers.contains(&create.tier),
                Action::DeleteCloud(_) => {
                    first.actions.contains(action) && !planned.actions.iter().any(Action::is_create)
                }
            };
            let Some(action) = planned.due_actions().iter().find(may_go).cloned() else { break };
            let new = backup_id((u128::MAX - u128::from(u64::MAX)) | made.len() as u128);
            vm = projection::executed(&vm, std::slice::from_ref(&action), new, now);
            if let Action::Create(create) = action {
                let tier = policy.tiers.iter().position(|tier| *tier.name == *create.tier).unwrap();
                made.push(Made { at: now, tier, is_full: create.parent.is_none() });
                tiers.push(create.tier);
            }
        }
    }
    end_of(&vm, 0, made)
}

/// Lets a VM live through a scenario, and returns how it stood before each run and at the end, and the result.
fn lived(
    vm: &Vm,
    policy: &Policy,
    scenario: &Scenario,
    trim_above: usize,
) -> (Vec<(DateTime<Utc>, Day)>, usize, End) {
    let mut engine = Engine::new(policy, scenario);
    engine.trim_above = trim_above;
    let (mut simulated, mut stands) = (SimulatedVm::new(vm, policy, scenario), Vec::new());
    engine.play(&mut simulated, |vm, now| {
        stands.push((now, vm.day(now.date_naive(), now)));
        ControlFlow::Continue(())
    });
    let left = simulated.day(scenario.until.date_naive(), scenario.until).stored
        - end_of(&simulated.vm, 0, Vec::new()).0;
    (stands, left, end_of(&simulated.vm, left, simulated.made.clone()))
}

#[test]
fn what_leaves_the_working_set_makes_no_difference_and_all_is_as_in_a_plain_run() {
    let (with_made, with_left) = (Cell::new(0), Cell::new(0));
    for_clouds(40, |Cloud { policies, inventory, now }| {
        let policies = Policies::new(policies);
        for vm in inventory.vms.values() {
            let Some(policy) = policies.policy_for(vm).one() else { continue };
            // So many runs at the most, however often something is due.
            let gap_secs =
                policy.tiers.iter().map(|tier| tier.schedule.gap_max().num_seconds()).min().unwrap();
            let scenario = Scenario::new(now, 0);
            let until = now + TimeDelta::seconds(gap_secs * 12).min(TimeDelta::days(40));
            let scenario = Scenario { until, ..scenario };
            let (stands, left, end) = lived(vm, policy, &scenario, 0);
            let (all_stands, _, all) = lived(vm, policy, &scenario, usize::MAX);
            prop_assert_eq!(&end, &all);
            prop_assert_eq!(&stands, &all_stands);
            let runs: Vec<DateTime<Utc>> = stands[..stands.len() - 1].iter().map(|(now, _)| *now).collect();
            let settled = SimulatedVm::new(vm, policy, &scenario).vm;
            prop_assert_eq!(&plain_run(settled, policy, &runs), &end);
            with_made.set(with_made.get() + usize::from(!end.2.is_empty()));
            with_left.set(with_left.get() + usize::from(left > 0));
        }
        Ok(())
    });
    assert!(with_made.get() > 15 && with_left.get() > 3, "{with_made:?} {with_left:?}");
}

/// Keeps 12, 5 and 7 of the grandfather scheme, and prunes.
fn pruning() -> Policy {
    let mut policy = Policy { prune: true, ..grandfather() };
    for (tier, keep) in policy.tiers.iter_mut().zip([12, 5, 7]) {
        tier.keep = NonZeroU32::new(keep);
    }
    policy
}

/// Simulates a VM of which nothing is known from the beginning of 2027 on.
fn simulated(policy: Policy, days: u32, change: impl FnOnce(&mut Scenario)) -> Vec<Day> {
    let mut scenario = Scenario { prune: Prune::REQUESTED, ..Scenario::new(at("2027-01-01 01:05"), days) };
    change(&mut scenario);
    simulate(&Policies::new(vec![policy]), None, &scenario).policies.remove(0).days
}

#[test]
fn a_year_of_the_grandfather_scheme_stays_under_the_bound_of_its_documentation() {
    let days = simulated(pruning(), 500, |_| {});
    assert!(days.iter().all(|day| day.stored <= 34 && day.longest_chain <= 11 && day.local <= 2));
    assert!(days.iter().all(|day| day.newest_age_secs < Some(86_400)));
    let settled = &days[400..];
    assert!(settled.iter().all(|day| day.stored > 20), "{settled:?}");
    let made = |days: &[Day]| {
        (days.iter().map(|day| day.full).sum::<usize>(), days.iter().map(|day| day.incremental).sum())
    };
    assert_eq!(made(&days[..365]), (12, 353));
    let kept = simulated(Policy { prune: false, ..pruning() }, 500, |_| {});
    assert_eq!(kept.last().map(|day| (day.stored, day.pruned)), Some((501, 0)));
}

#[test]
fn sizes_are_those_that_are_given_where_nothing_is_known() {
    let days = simulated(grandfather(), 3, |scenario| {
        (scenario.vm_size_bytes, scenario.change_ppm) = (1_000_000, 100_000);
    });
    // The second is due 23 h 55 min after the first, and the third, a weekly, is taken from that as well.
    let bytes: Vec<_> = days.iter().map(|day| (day.stored_bytes, day.restore_bytes)).collect();
    assert_eq!(bytes[..3], [(1_000_000, 1_000_000), (1_099_652, 1_099_652), (1_299_304, 1_199_652)]);
    // The weekly of the 3rd has none of its own, and the daily of the 4th on it has.
    const MIB: u64 = 1 << 20;
    let monthly = vm(1).backup(1, "monthly", "2027-01-01 01:00").size(900 * MIB).local();
    let known = monthly.backup(2, "daily", "2027-01-02 01:00").on(1).size(50 * MIB).local();
    let policies = Policies::new(vec![grandfather()]);
    let scenario = Scenario::new(at("2027-01-02 02:00"), 2);
    let days = simulate(&policies, Some(&inventory([known])), &scenario).policies.remove(0).days;
    let last = days.last().map(|day| (day.stored, day.stored_bytes / MIB, day.restore_bytes / MIB));
    assert_eq!(last, Some((4, 900 + 50 + 54 + 50, 900 + 54 + 50)));
}

#[test]
fn an_outage_a_failure_and_a_suspension_show_in_the_age_and_are_made_up_for() {
    let between = |from, until| at(from)..at(until);
    let oldest = |days: &[Day]| days.iter().filter_map(|day| day.newest_age_secs).max().unwrap() / 86_400;
    let down = simulated(pruning(), 60, |scenario| {
        scenario.down = vec![between("2027-01-20 00:00", "2027-01-25 12:00")]
    });
    assert_eq!(oldest(&down), 5);
    assert_eq!(down[24].incremental, 1, "one run at the end, at noon: {:?}", down[24]);
    assert!(down[19..24].iter().all(|day| day.incremental == 0));
    let failing = simulated(pruning(), 60, |scenario| {
        scenario.uploads_fail = vec![between("2027-01-20 00:00", "2027-01-25 12:00")]
    });
    assert_eq!(oldest(&failing), 5);
    assert!(failing[19..24].iter().all(|day| day.incremental == 0 && day.pruned == 0), "{failing:?}");
    assert_eq!(failing.last().map(|day| day.stored), down.last().map(|day| day.stored));
    let until_instant = at("2027-02-01 00:00");
    let until = until_instant.date_naive();
    let suspend = Some(Suspension { reason: "move".to_owned(), until, until_instant, vms: None });
    let suspended = simulated(Policy { suspend, ..pruning() }, 40, |_| {});
    assert_eq!(suspended[..31].iter().map(|day| day.full + day.incremental + day.stored).sum::<usize>(), 0);
    assert_eq!(suspended[31].full, 2, "that of January at its end, and an hour later that of February");
    assert_eq!(suspended[0].newest_age_secs, None);
}

#[test]
fn runs_come_when_something_is_due_with_the_share_of_a_vm_or_at_an_interval() {
    let spread = |hours| {
        let mut policy = policy("full", vec![tier("daily", "0 1 * * *", TierKind::Full, &Zone::UTC)]);
        policy.tiers[0].spread = TimeDelta::hours(hours);
        policy
    };
    let made_at = |policy: &Policy, scenario: Scenario, vms: Option<VmBuilder>| {
        let inventory = vms.map(|vm| inventory([vm]));
        let simulated = simulate(&Policies::new(vec![policy.clone()]), inventory.as_ref(), &scenario);
        simulated.policies[0].example.made.iter().map(|made| made.at).collect::<Vec<_>>()
    };
    let scenario = || Scenario::new(at("2027-01-01 00:00"), 3);
    let first = at("2027-01-01 00:00");
    let nights = [first, at("2027-01-01 01:00"), at("2027-01-02 01:00"), at("2027-01-03 01:00")];
    assert_eq!(made_at(&spread(20), scenario(), None), nights, "nobody's share is 0");
    let shared = made_at(&spread(20), scenario(), Some(vm(1)));
    let share = crate::plan::due::share_of(TimeDelta::hours(20), vm_id(1));
    assert!(share > TimeDelta::zero());
    assert_eq!(shared[1..], [nights[1] + share, nights[2] + share, nights[3] + share][..shared.len() - 1]);
    let every = Scenario { every: Some(TimeDelta::hours(7)), ..scenario() };
    let sevens =
        [first, first + TimeDelta::hours(7), first + TimeDelta::hours(28), first + TimeDelta::hours(49)];
    assert_eq!(made_at(&spread(0), every, None), sevens);
}

#[test]
fn a_vm_that_is_blocked_stays_blocked_and_one_that_runs_succeeds() {
    let policies = Policies::new(vec![grandfather()]);
    let days = |vms: Vec<VmBuilder>| {
        let scenario = Scenario::new(at("2026-11-18 02:00"), 5);
        simulate(&policies, Some(&inventory(vms)), &scenario).policies.remove(0).days
    };
    let blocked = days(vec![mid_chain().set(|vm| vm.hypervisor = None)]);
    assert!(blocked.iter().all(|day| (day.stored, day.full, day.incremental) == (3, 0, 0)));
    assert!(blocked.last().unwrap().newest_age_secs > Some(4 * 86_400));
    let running = days(vec![mid_chain().backup(4, "daily", "2026-11-18 01:00").on(3).uploading()]);
    assert_eq!((running[0].stored, running[0].incremental), (4, 0));
    let both = days(vec![mid_chain(), vm(2)]);
    assert_eq!((both[0].stored, both[0].full, both[0].incremental), (5, 1, 1), "sums over the VMs");
}

/// Counts what a story has at the end of a day: stored, bytes, local, and the bytes of a restore of the newest.
fn counted(story: &Story, end: DateTime<Utc>) -> (usize, u64, usize, u64) {
    let is_over = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at < end);
    let there: Vec<_> =
        story.backups.iter().filter(|backup| backup.taken < end && !is_over(backup.pruned)).collect();
    let newest = there.iter().rfind(|backup| backup.is_restorable);
    let way = std::iter::successors(newest.copied(), |backup| Some(&story.backups[backup.parent?]));
    (
        there.len(),
        there.iter().map(|backup| backup.size_bytes).sum(),
        there.iter().filter(|backup| !is_over(backup.local_until)).count(),
        way.map(|backup| backup.size_bytes).sum(),
    )
}

#[test]
fn a_story_of_backups_adds_up_to_the_days_of_the_simulation() {
    for (prune, days) in [(Prune::REQUESTED, 400), (Prune::default(), 120)] {
        let from = at("2027-01-01 01:05");
        let down = vec![at("2027-02-10 00:00")..at("2027-02-13 00:00")];
        let scenario = Scenario { prune, down, ..Scenario::new(from, days) };
        let vms = inventory([mid_chain()]);
        let policies = Policies::new(vec![pruning()]);
        for inventory in [None, Some(&vms)] {
            let (simulation, stories) = simulate_with_stories(&policies, inventory, &scenario);
            assert_eq!(simulation, simulate(&policies, inventory, &scenario));
            let (story, days) = (&stories[0], &simulation.policies[0].days);
            assert_eq!(&story.days, days);
            for day in days {
                let end = Zone::UTC.day_start(day.date.succ_opt().unwrap()).unwrap().min(scenario.until);
                let expected = (day.stored, day.stored_bytes, day.local, day.restore_bytes);
                assert_eq!(counted(story, end), expected, "{}", day.date);
            }
            let expired = story.backups.iter().filter(|it| it.expired_since.is_some()).count();
            assert!(expired > 20 || prune == Prune::REQUESTED, "{expired}");
            let missed = story.missed_day.unwrap();
            assert_eq!(missed.backups, 0, "the run at the end makes up for it");
            assert!((86_400..2 * 86_400).contains(&missed.newest_age_secs), "{missed:?}");
        }
    }
}

#[test]
fn a_simulation_that_nobody_waits_for_ends_early() {
    let scenario = Scenario::new(at("2027-01-01 01:05"), 400);
    scenario.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let (_, stories) = simulate_with_stories(&Policies::new(vec![pruning()]), None, &scenario);
    assert!(scenario.is_stopped() && stories[0].backups.is_empty());
}
