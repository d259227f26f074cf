//! How long a plan stays what it is.

use super::changeset::VmPlan;
use super::decide::decide_under;
use super::due::{Occurrences, attempts};
use super::keep::EVIDENCE_AGE_MAX;
use super::prune::{PRUNE_AGE_MIN, recent_until};
use super::request::Request;
use super::standing::{CLOCKS_DIFFER_MAX, FUTURE_TOLERANCE, Standing, VmView};
use chrono::{DateTime, TimeDelta, Utc};

/// The smallest step of time there is here: FiFo's timestamps are in microseconds.
const TICK: TimeDelta = TimeDelta::microseconds(1);

/// Finds the earliest instant at which a VM would be decided otherwise than it was; `earliest` where that is not before it.
///
/// Over VM after VM this costs little: most share their next due instant, and nothing later than the earliest is looked at.
pub(super) fn valid_until(
    view: &VmView<'_>,
    occurrences: &Occurrences<'_>,
    decided: &VmPlan,
    earliest: Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    let mut points = turning_points(view, occurrences);
    points.retain(|point| earliest.is_none_or(|earliest| *point < earliest));
    points.sort_unstable();
    points.dedup();
    let is_other = |instant: &DateTime<Utc>| {
        let due_at = *instant - (view.now - occurrences.now());
        let later = view.asked(Request { now: *instant, due_at, prune: view.prune });
        decide_under(&later, &Occurrences::new(view.policy, due_at)) != *decided
    };
    points.into_iter().find(is_other).or(earliest)
}

/// Returns the next instant at which the input of a decision changes with time alone; `None` where it never does.
pub(crate) fn next_turning_point(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Option<DateTime<Utc>> {
    turning_points(view, occurrences).into_iter().min()
}

/// Finds the instants at which the input of a decision changes with time alone, in any order.
fn turning_points(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Vec<DateTime<Utc>> {
    let (vm, policy, now) = (view.vm, view.policy, view.now);
    let without = view.without_findings();
    let mut found = without.map_or_else(Vec::new, |without| turning_points(&without, occurrences));
    // How far the clock that due times go by is behind the other one.
    let behind = now - occurrences.now();
    // What has passed changes nothing any more, and of most backups all has passed.
    let mut push = |point: DateTime<Utc>| found.extend((point > now).then_some(point));
    let tiers = 0..policy.tiers.len();
    for tier in tiers.clone() {
        occurrences.next(tier, vm.id).into_iter().for_each(|due| push(due + behind));
        let since = occurrences.last(tier, vm.id).unwrap_or(DateTime::<Utc>::MIN_UTC);
        attempts(view, tier, since).next_at.into_iter().for_each(&mut push);
    }
    for backup in &view.backups {
        if matches!(backup.standing, Standing::InProgress | Standing::Stuck | Standing::Unverified) {
            // In progress is |now - taken| < stuck_after.
            push(backup.taken + policy.stuck_after);
            push(backup.taken - policy.stuck_after + TICK);
        }
        if !backup.is_restorable() {
            push(backup.taken + EVIDENCE_AGE_MAX);
        }
        if backup.taken > now {
            push(backup.taken - CLOCKS_DIFFER_MAX);
            push(backup.taken - FUTURE_TOLERANCE);
        }
        if backup.taken > occurrences.now() {
            // A clock a little ahead of ours: this backup does for the next occurrences too, up to its own timestamp.
            let next = |tier| occurrences.next_after(tier, vm.id, backup.taken);
            tiers.clone().filter_map(next).for_each(|due| push(due + behind));
        }
    }
    if policy.prune && view.prune.is_requested {
        if let Some(newest) = view.newest_restorable() {
            push(newest.taken + policy.max_age + TICK);
        }
        let recent_until = recent_until(view);
        for backup in &view.backups {
            push(backup.taken + PRUNE_AGE_MIN);
            // The limit looks at the VM without those of the last days, where another one may be evidence.
            push(backup.taken);
            push(recent_until(backup.taken));
            push(backup.taken + EVIDENCE_AGE_MAX);
        }
    }
    if let Some(suspend) = &policy.suspend {
        push(suspend.until_instant);
    }
    found
}
