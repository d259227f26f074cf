//! Sixty simulated nights of a tier that never goes through: the others get theirs, and it is tried on now and then.

use super::fixtures::*;
use crate::inventory::{BackupId, LocalState, RecordedState};
use crate::plan::standing::{Standing, VmView};
use crate::plan::{Action, NoteCode, projection};
use crate::policy::{Policy, Tier, TierKind, Zone};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;

const NIGHTS: i64 = 60;

/// The result of every upload of one tier; all others succeed.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Fails,
    Hangs,
}

/// What sixty nights came to.
struct Outcome {
    /// When each backup of the bad tier was started.
    attempts: Vec<DateTime<Utc>>,
    /// When each good backup was started.
    made: Vec<DateTime<Utc>>,
    /// Whether the bad tier was ever reported as given up.
    gave_up: bool,
}

/// Runs a plan every so often, from the first of a month on. What is created ends by the next run, unless it hangs.
fn sixty_nights(policy: &Policy, bad: &str, end: End, every: TimeDelta) -> Outcome {
    let mut vm = vm(1).backup(1, "monthly", "2026-09-30 12:00").local();
    let mut outcome = Outcome { attempts: Vec::new(), made: Vec::new(), gave_up: false };
    let mut new = 2;
    let mut running: Option<BackupId> = None;
    let from = at("2026-10-01 00:00");
    let mut now = from;
    while now < from + TimeDelta::days(NIGHTS) {
        if let Some(backup) = running.take().and_then(|id| vm.vm.backups.get_mut(id)) {
            let is_bad = backup.comment.as_deref() == Some(bad);
            if !is_bad || end == End::Fails {
                backup.state = if is_bad { RecordedState::Failed } else { RecordedState::Completed };
                backup.local = LocalState::Present;
                backup.files[0].has_checksum = true;
            }
        }
        let plan = plan_all(std::slice::from_ref(policy), [vm.clone()], now);
        let (planned, valid_until) = (&plan.vms[0], plan.valid_until);
        outcome.gave_up |= planned.note(NoteCode::GaveUp).is_some();
        for action in &planned.actions {
            match action {
                Action::Create(create) => {
                    let taken = now.format("%Y-%m-%d %H:%M").to_string();
                    vm = vm.backup(new, &create.comment, &taken).uploading().change(|backup| {
                        backup.parent = create.parent;
                        backup.local_size_bytes = Some(GIB);
                        backup.files[0].has_checksum = false;
                    });
                    let all = if &*create.tier == bad { &mut outcome.attempts } else { &mut outcome.made };
                    all.push(now);
                    running = Some(backup_id(new));
                    new += 1;
                }
                // The next plan deletes what only waits for the create.
                Action::DeleteLocal(delete) if delete.after_create => {}
                Action::DeleteCloud(_) => {}
                Action::DeleteLocal(delete) => {
                    projection::delete_locally(&mut vm.vm, delete.backup.unwrap());
                }
            }
        }
        let view = VmView::new(&vm.vm, policy, now);
        let held = |standing: Standing| {
            view.backups.iter().filter(move |it| it.backup.holds_snapshot() && it.standing == standing)
        };
        // Stuck ones stay while nothing newer can be restored: two where one has hung from one daily on to the next.
        let outlived = held(Standing::Stuck).filter(|stuck| view.is_superseded(stuck)).count();
        assert!(outlived == 0 && held(Standing::Stuck).count() <= 2, "{now}: stuck");
        assert!(held(Standing::Failed).count() <= 1, "{now}: failed");
        let bad_since =
            policy.tiers.iter().find(|tier| *tier.name == *bad).unwrap().schedule.last_at_or_before(now);
        forget_what_no_rule_looks_at(&mut vm, bad_since.unwrap());
        // As often as that, but for the runs that would find the same once more.
        now += every;
        if planned.actions.is_empty() && running.is_none() {
            while valid_until.is_some_and(|until| now < until) {
                now += every;
            }
        }
    }
    outcome
}

/// Takes out backups that no decision can depend on; what was taken from one of them stands on its own. A plan and
/// its audit over all of two months' hourly backups would take minutes.
fn forget_what_no_rule_looks_at(vm: &mut VmBuilder, bad_since: DateTime<Utc>) {
    let backups = &mut vm.vm.backups;
    let newest = backups.values().rev().nth(8).map_or(backup_id(0), |backup| backup.id);
    backups.retain(|backup| {
        let id = backup.id;
        let is_attempt = backup.state != RecordedState::Completed && backup.timestamp >= Some(bad_since);
        id >= newest || is_attempt || backup.holds_snapshot()
    });
    let left: BTreeSet<BackupId> = backups.keys().collect();
    for backup in backups.values_mut() {
        backup.parent = backup.parent.filter(|parent| left.contains(parent));
    }
}

/// Says that every occurrence of a tier has its good backup before the next one.
fn each_occurrence_has_its_backup(tier: &Tier, made: &[DateTime<Utc>]) {
    let mut due = tier.schedule.next_after(at("2026-10-01 00:00")).unwrap();
    while let Some(next) = tier.schedule.next_after(due).filter(|next| *next < at("2026-11-29 23:00")) {
        assert!(made.iter().any(|made| (due..next).contains(made)), "none between {due} and {next}");
        due = next;
    }
}

/// Says that from some days after an occurrence on there is at most one attempt in any 20 hours.
fn soon_one_attempt_in_twenty_hours(attempts: &[DateTime<Utc>], occurrences: &[&str]) {
    let is_new = |attempt: &DateTime<Utc>| {
        occurrences.iter().any(|due| (at(due)..at(due) + TimeDelta::days(5)).contains(attempt))
    };
    for pair in attempts.windows(2).filter(|pair| !is_new(&pair[0]) && !is_new(&pair[1])) {
        assert!(pair[1] - pair[0] >= TimeDelta::hours(20), "{pair:?}");
    }
}

const MONTHS: [&str; 2] = ["2026-10-01 01:00", "2026-11-01 01:00"];

#[test]
fn a_monthly_that_always_hangs_leaves_each_night_its_daily() {
    let policy = grandfather();
    let outcome = sixty_nights(&policy, "monthly", End::Hangs, TimeDelta::minutes(30));
    each_occurrence_has_its_backup(&policy.tiers[2], &outcome.made);
    soon_one_attempt_in_twenty_hours(&outcome.attempts, &MONTHS);
    assert!(outcome.gave_up && (50..85).contains(&outcome.attempts.len()), "{:?}", outcome.attempts);
}

#[test]
fn a_monthly_that_always_fails_leaves_each_night_its_daily() {
    let policy = grandfather();
    let outcome = sixty_nights(&policy, "monthly", End::Fails, TimeDelta::minutes(30));
    each_occurrence_has_its_backup(&policy.tiers[2], &outcome.made);
    soon_one_attempt_in_twenty_hours(&outcome.attempts, &MONTHS);
    assert!(outcome.gave_up && (50..95).contains(&outcome.attempts.len()), "{:?}", outcome.attempts);
}

#[test]
fn a_daily_that_always_fails_leaves_each_hour_its_own() {
    let zone = Zone::UTC;
    let policy = policy(
        "hourly",
        vec![
            tier("monthly", "0 1 1 * *", TierKind::Full, &zone),
            tier("daily", "0 1 * * *", TierKind::Full, &zone),
            tier("hourly", "0 * * * *", TierKind::Incremental { from: vec![0, 1, 2] }, &zone),
        ],
    );
    let outcome = sixty_nights(&policy, "daily", End::Fails, TimeDelta::minutes(20));
    each_occurrence_has_its_backup(&policy.tiers[2], &outcome.made);
    // Each day starts afresh: at once, and after pauses of 1, 2, 4 and 8 hours.
    // On the 1st of November the monthly does for the daily.
    for day in (1..NIGHTS - 1).filter(|&day| day != 31) {
        let begin = at("2026-10-01 01:00") + TimeDelta::days(day);
        let count = outcome
            .attempts
            .iter()
            .filter(|attempt| (begin..begin + TimeDelta::days(1)).contains(attempt))
            .count();
        assert!((1..=5).contains(&count), "{begin}: {count}");
    }
    assert!(outcome.gave_up);
}
