//! Which expired backups are deleted from storage, and in which order.
//!
//! This is the one part that destroys stored data. FiFo deletes everything that descends from a backup along with it, so a
//! backup goes only when all its descendants have gone before.

use super::due::cannot_back_up;
use super::keep::{Keeps, has_started, has_unknown_parent, is_abandoned, is_silent};
use super::standing::{BackupView, STREAM_BYTES_MIN, VmView};
use crate::inventory::{Backup, BackupId, RecordedState, Vm, restorable};
use crate::policy::Policies;
use chrono::{DateTime, TimeDelta, Utc};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt;

/// Nothing younger is deleted from storage, by FiFo's clock.
pub(super) const PRUNE_AGE_MIN: TimeDelta = TimeDelta::hours(1);
/// What newer backups made expire does not count against the limit, as far as they are of this time.
pub(super) const LIMIT_SPAN: TimeDelta = TimeDelta::days(8);
/// So many backups of a VM may always go at once.
const LIMIT_MIN: usize = 2;
/// The share of a VM's completed backups that may go at once, in percent.
const LIMIT_SHARE: usize = 10;

#[derive(Debug)]
pub struct Expired<'v, 'a> {
    pub backups: Vec<&'v BackupView<'a>>,
    /// Those that are deleted from storage now, children before parents, those that cannot be restored first.
    pub deletes: Vec<&'v BackupView<'a>>,
    /// Why the others stay.
    pub hold: PruneHold,
}

/// Why an expired backup is not deleted from storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneHold {
    NotAllowed,
    NotRequested,
    /// The VM is on no hypervisor, or FiFo cannot back it up now. Of a VM on no hypervisor FiFo deletes the files and keeps
    /// the records, which then look restorable.
    CannotBackUp,
    /// The newest restorable backup is older than `max_age`: old ones must not go while no new ones come.
    NewestTooOld,
    UnknownParent,
    /// So many of the completed ones would be expired even without those of the last days, and so many may be.
    OverLimit(usize, usize),
    /// It, or one that descends from it, still holds a snapshot, is less than an hour old, is in a state that is not known
    /// here, or is in a loop of parents.
    NotYet,
}

impl fmt::Display for PruneHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAllowed => "nothing deletes them",
            Self::NotRequested => "--prune deletes them from storage",
            Self::CannotBackUp => "not deleted, because the VM cannot be backed up now",
            Self::NewestTooOld => "not deleted, because the newest restorable backup is older than `max_age`",
            Self::UnknownParent => "not deleted while an accepted backup has not named its parent",
            Self::OverLimit(..) => "not deleted, because too many would go at once",
            Self::NotYet => "not deleted yet",
        })
    }
}

impl<'v, 'a> Expired<'v, 'a> {
    pub fn of(view: &'v VmView<'a>, keeps: &Keeps) -> Self {
        let backups = keeps.expired(view);
        let hold = hold(view);
        let deletes =
            if hold.is_some() || backups.is_empty() { Vec::new() } else { children_first(view, &backups) };
        match if deletes.is_empty() { hold } else { over_limit(view) } {
            Some(hold) => Self { backups, deletes: Vec::new(), hold },
            None => Self { backups, deletes, hold: PruneHold::NotYet },
        }
    }
}

/// Returns the backups of a VM that its policy no longer keeps in storage; none where no single policy holds for it.
pub fn expired_backups(vm: &Vm, policies: &Policies, now: DateTime<Utc>) -> BTreeSet<BackupId> {
    let Some(policy) = policies.policy_for(vm).one() else { return BTreeSet::new() };
    let view = VmView::new(vm, policy, now);
    Keeps::of(&view).expired(&view).into_iter().map(|backup| backup.id()).collect()
}

/// Returns why nothing of a VM is deleted from storage; `None` where expired backups are.
fn hold(view: &VmView<'_>) -> Option<PruneHold> {
    let is_silent_ahead = |backup: &BackupView<'_>| backup.is_future_dated && is_silent(backup);
    let is_recent = |newest: &BackupView<'_>| view.now - newest.taken <= view.policy.max_age;
    Some(if !view.policy.prune {
        PruneHold::NotAllowed
    } else if !view.prune.is_requested {
        PruneHold::NotRequested
    } else if cannot_back_up(view.vm).is_some() {
        PruneHold::CannotBackUp
    } else if has_unknown_parent(view) || view.backups.iter().any(is_silent_ahead) {
        PruneHold::UnknownParent
    } else if !view.newest_restorable().is_some_and(is_recent) {
        PruneHold::NewestTooOld
    } else {
        return None;
    })
}

/// Says whether more of a VM's backups would go than a healthy policy ever lets expire: what one expires, it expires because
/// newer backups came; a changed policy expires what was there before. So those of the last days are left out of account.
fn over_limit(view: &VmView<'_>) -> Option<PruneHold> {
    // What is known to be broken only takes from what expires.
    let without = view.without_findings();
    let view = without.as_ref().unwrap_or(view);
    let limit = LIMIT_MIN.max(view.completed().count() * LIMIT_SHARE / 100).max(view.prune.mass_allowed);
    let recent_until = recent_until(view);
    let is_recent = |taken| taken <= view.now && view.now < recent_until(taken);
    let mut before = view.vm.clone();
    before.backups.retain(|backup| !backup.timestamp.is_some_and(is_recent));
    before.backups.values_mut().for_each(|backup| backup.is_broken = false);
    let before = VmView::new(&before, view.policy, view.now);
    let expired = Keeps::of(&before).expired(&before);
    let is_completed = |it: &&&BackupView<'_>| it.backup.state == RecordedState::Completed;
    let expired = expired.iter().filter(is_completed).count();
    (expired > limit).then_some(PruneHold::OverLimit(expired, limit))
}

/// Returns until when a backup counts among those of the last days, by its time. A gap between two backups that is longer than
/// `max_age` counts as that long: otherwise a chain that the last night before an outage has released would count as old after
/// it, and would be refused for ever.
pub(super) fn recent_until(view: &VmView<'_>) -> impl Fn(DateTime<Utc>) -> DateTime<Utc> {
    let gap_max = view.policy.max_age;
    let newest = view.newest_restorable().map_or(view.now, |newest| newest.taken.max(view.now));
    let mut steps = vec![(newest, newest + LIMIT_SPAN)];
    for backup in view.restorable().rev() {
        let (newer, until) = steps[steps.len() - 1];
        steps.push((backup.taken, until - (newer - backup.taken).min(gap_max)));
    }
    move |taken| {
        let newer = steps.partition_point(|(step, _)| *step > taken).saturating_sub(1);
        let (newer, until) = steps[newer];
        until - (newer - taken).clamp(TimeDelta::zero(), gap_max)
    }
}

/// Says whether an expired backup may be deleted by itself, whatever descends from it.
///
/// A state that is not known here may be a later FiFo's word for one that is good, and what FiFo has started may still end.
fn may_go(view: &VmView<'_>, backup: &BackupView<'_>) -> bool {
    !backup.backup.holds_snapshot()
        && backup.backup.local_size_bytes.unwrap_or(0) == 0
        && !matches!(backup.backup.state, RecordedState::Other(_))
        && (!has_started(backup) || is_abandoned(view, backup))
        && view.now - backup.taken >= PRUNE_AGE_MIN
}

/// Orders what may go so that each backup comes after all that descend from it, those that cannot be restored first, then the
/// oldest. What one that stays descends from stays; a loop of parents has no such order.
fn children_first<'v, 'a>(view: &'v VmView<'a>, expired: &[&'v BackupView<'a>]) -> Vec<&'v BackupView<'a>> {
    type Rank = Reverse<(bool, DateTime<Utc>, BackupId)>;
    let backups = &view.vm.backups;
    // What is whole by FiFo's word, with all that it descends from, and cannot be restored counts as bad because of a number in the
    // policy. That is reason enough to make another one, and not to delete it.
    let is_good = |backup: &Backup| {
        backup.state == RecordedState::Completed
            && backup.smallest_size_bytes().is_none_or(|bytes| bytes >= STREAM_BYTES_MIN)
    };
    let is_good: Vec<bool> = backups.values().map(is_good).collect();
    let is_whole = restorable(backups, &is_good);
    let mut waits_for = vec![0_usize; backups.len()];
    (0..backups.len()).filter_map(|at| backups.parent_position(at)).for_each(|parent| waits_for[parent] += 1);
    let mut by_position: Vec<Option<&'v BackupView<'a>>> = vec![None; backups.len()];
    for &backup in expired {
        let can_go = may_go(view, backup) && (backup.is_restorable() || !is_whole[backup.position]);
        by_position[backup.position] = can_go.then_some(backup);
    }
    let rank =
        |backup: &BackupView<'_>| -> Rank { Reverse((backup.is_restorable(), backup.taken, backup.id())) };
    let free = by_position.iter().flatten().filter(|backup| waits_for[backup.position] == 0);
    let mut ready: BinaryHeap<Rank> = free.map(|backup| rank(backup)).collect();
    let mut ordered = Vec::new();
    while let Some(Reverse((_, _, id))) = ready.pop() {
        let Some(backup) = view.get(id) else { continue };
        ordered.push(backup);
        if let Some(parent) = backups.parent_position(backup.position) {
            waits_for[parent] -= 1;
            if let Some(next) = by_position[parent].filter(|_| waits_for[parent] == 0) {
                ready.push(rank(next));
            }
        }
    }
    ordered
}
