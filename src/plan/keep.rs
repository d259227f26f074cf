//! Why each backup stays where it is, on the hypervisor and in storage: one reason each, found once.

use super::parent::parent_for;
use super::standing::{BackupView, Standing, VmView};
use crate::inventory::RecordedState;
use crate::policy::TierIndex;
use chrono::TimeDelta;

/// How long a backup that cannot be restored stays as evidence for retries and reports. FiFo's accepted and uploading ones
/// count as failed then, whatever `stuck_after` says.
pub const EVIDENCE_AGE_MAX: TimeDelta = TimeDelta::days(35);

/// Why a backup, or its snapshot, stays; `show` has the words. Where there are several reasons the first of these counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    Unreadable,
    FutureDated,
    Unmanaged,
    Running,
    /// On the hypervisor: it is stuck, and nothing newer can be restored, so it may still be running.
    MayBeRunning,
    ParentOfRunning,
    ParentOfStuck,
    /// It, one that it hangs on or one that hangs on it is known to be broken.
    Broken,
    /// On the hypervisor: the next backup of this tier would be taken from it.
    ParentOf(TierIndex),
    KeepLocal,
    Keep,
    /// In storage: it is the newest that can be restored.
    Newest,
    /// On the hypervisor: it cannot be restored from storage, and nothing newer can.
    OnlyCopy,
    Local,
    /// In storage: it cannot be restored, and nothing newer can.
    NothingNewer,
    Needed,
    /// In storage: it cannot be restored, and is less than 35 days old.
    Evidence,
}

/// Why each backup of a VM stays, by [position](crate::inventory::Backups::position); `None` for what nothing asks for.
#[derive(Clone, Debug)]
pub struct Keeps {
    /// On the hypervisor, whether or not there is a snapshot.
    pub local: Vec<Option<Keep>>,
    /// In storage; `None` is expired.
    pub stored: Vec<Option<Keep>>,
}

impl Keeps {
    /// Finds them. What is known to be broken takes no reason away: what would stay without that stays.
    pub fn of(view: &VmView<'_>) -> Self {
        let mut keeps = Self::by(view);
        if let Some(without) = view.without_findings().map(|without| Self::by(&without)) {
            let places = keeps.local.iter_mut().chain(&mut keeps.stored);
            let others = without.local.into_iter().chain(without.stored);
            places.zip(others).for_each(|(keep, other)| *keep = keep.or(other));
        }
        keeps
    }

    fn by(view: &VmView<'_>) -> Self {
        let local = local(view);
        let stored = stored(view, &local);
        Self { local, stored }
    }

    /// Returns the managed backups that nothing wants in storage any more, oldest first.
    pub fn expired<'v, 'a>(&self, view: &'v VmView<'a>) -> Vec<&'v BackupView<'a>> {
        view.backups.iter().filter(|backup| self.stored[backup.position].is_none()).collect()
    }
}

fn left_alone(view: &VmView<'_>) -> Vec<Option<Keep>> {
    let mut keeps = vec![Some(Keep::Unreadable); view.vm.backups.len() + 1];
    for backup in &view.backups {
        keeps[backup.position] = if backup.is_future_dated {
            Some(Keep::FutureDated)
        } else {
            backup.tier.is_none().then_some(Keep::Unmanaged)
        };
    }
    keeps
}

fn enter(keeps: &mut [Option<Keep>], at: usize, keep: Keep) {
    keeps[at] = Some(keeps[at].map_or(keep, |known| known.min(keep)));
}

/// Finds out which snapshots are wanted on the hypervisor. The new backup of [`VmView::with_new`] is the last.
pub(super) fn local(view: &VmView<'_>) -> Vec<Option<Keep>> {
    let mut keeps = left_alone(view);
    for tier in 0..view.policy.tiers.len() {
        if let Some(parent) = parent_for(view, tier) {
            enter(&mut keeps, parent.position, Keep::ParentOf(tier));
        }
        for backup in newest_of(view, tier, Some(view.tier(tier).keep_local)) {
            enter(&mut keeps, backup.position, Keep::KeepLocal);
        }
    }
    on_broken_chains(view, &mut keeps);
    for backup in &view.backups {
        let (own, of_parent) = if backup.standing.is_running() {
            (Keep::Running, Keep::ParentOfRunning)
        } else if may_be_running(view, backup) {
            (Keep::MayBeRunning, Keep::ParentOfStuck)
        } else {
            continue;
        };
        enter(&mut keeps, backup.position, own);
        if let Some(parent) = backup.backup.parent.and_then(|parent| view.vm.backups.position(parent)) {
            enter(&mut keeps, parent, of_parent);
        }
    }
    // Storage cannot give that moment back and the snapshot can. Only the newest is kept; older ones would eat the quota. One
    // that never got as far as a snapshot does not take the place of an older one that did.
    let lost = |backup: &&BackupView<'_>| {
        let is_lost = !backup.is_restorable() && !backup.standing.is_running();
        backup.tier.is_some() && backup.backup.holds_snapshot() && is_lost
    };
    if let Some(backup) = view.not_future_dated().rev().find(lost).filter(|it| !view.is_superseded(it)) {
        enter(&mut keeps, backup.position, Keep::OnlyCopy);
    }
    keeps
}

/// Finds the managed snapshots that nothing wants, oldest first; none while an accepted backup has not named its parent.
pub(super) fn unwanted_locally<'v, 'a>(
    view: &'v VmView<'a>,
    local: &[Option<Keep>],
) -> Vec<&'v BackupView<'a>> {
    if has_unknown_parent(view) {
        return Vec::new();
    }
    view.backups.iter().filter(|it| local[it.position].is_none() && it.backup.holds_snapshot()).collect()
}

fn on_broken_chains(view: &VmView<'_>, keeps: &mut [Option<Keep>]) {
    let on_chain = view.backups.iter().filter(|backup| backup.is_on_broken_chain);
    on_chain.for_each(|backup| enter(keeps, backup.position, Keep::Broken));
}

fn stored(view: &VmView<'_>, local: &[Option<Keep>]) -> Vec<Option<Keep>> {
    let mut keeps = left_alone(view);
    on_broken_chains(view, &mut keeps);
    for (tier, rules) in view.policy.tiers.iter().enumerate() {
        for backup in newest_of(view, tier, rules.keep.map(std::num::NonZeroU32::get)) {
            enter(&mut keeps, backup.position, Keep::Keep);
        }
    }
    if let Some(newest) = view.newest_restorable() {
        enter(&mut keeps, newest.position, Keep::Newest);
    }
    for backup in &view.backups {
        let at = backup.position;
        match local[at] {
            Some(Keep::Running) if is_abandoned(view, backup) => {}
            Some(Keep::Running) => enter(&mut keeps, at, Keep::Running),
            Some(_) => enter(&mut keeps, at, Keep::Local),
            None => {}
        }
        if !backup.is_restorable() && !view.is_superseded(backup) {
            enter(&mut keeps, at, Keep::NothingNewer);
        }
    }
    let backups = &view.vm.backups;
    for at in 0..backups.len() {
        // Each step of a chain once, however many backups depend on it.
        let mut step =
            keeps[at].filter(|&keep| keep != Keep::Needed).and_then(|_| backups.parent_position(at));
        while let Some(parent) = step.filter(|&parent| keeps[parent].is_none()) {
            keeps[parent] = Some(Keep::Needed);
            step = backups.parent_position(parent);
        }
    }
    evidence(view, &mut keeps);
    keeps
}

/// Keeps what cannot be restored for its 35 days, unless the chain that it hangs on goes before.
fn evidence(view: &VmView<'_>, keeps: &mut [Option<Keep>]) {
    let mut open: Vec<&BackupView<'_>> = view.backups.iter().filter(|it| !it.is_restorable()).collect();
    open.retain(|it| keeps[it.position].is_none() && view.now - it.taken < EVIDENCE_AGE_MAX);
    open.iter().for_each(|backup| keeps[backup.position] = Some(Keep::Evidence));
    let mut is_changed = true;
    while std::mem::replace(&mut is_changed, false) {
        open.retain(|backup| {
            let parent = view.vm.backups.parent_position(backup.position);
            let stays = parent.is_none_or(|parent| keeps[parent].is_some());
            if !stays {
                keeps[backup.position] = None;
                is_changed = true;
            }
            stays
        });
    }
}

/// Returns so many of the newest restorable backups of a tier, newest first; all of them for `None`.
fn newest_of<'v, 'a>(
    view: &'v VmView<'a>,
    tier: TierIndex,
    count: Option<u32>,
) -> impl Iterator<Item = &'v BackupView<'a>> {
    let count = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    view.restorable().rev().filter(move |backup| backup.tier == Some(tier)).take(count)
}

/// Says whether a backup is stuck and may still be running: nothing newer can be restored.
fn may_be_running(view: &VmView<'_>, backup: &BackupView<'_>) -> bool {
    backup.standing == Standing::Stuck && !backup.is_future_dated && !view.is_superseded(backup)
}

/// Says whether FiFo has started a backup so long ago that it will not end it.
pub(super) fn is_abandoned(view: &VmView<'_>, backup: &BackupView<'_>) -> bool {
    has_started(backup) && view.now - backup.taken >= EVIDENCE_AGE_MAX
}

/// Says whether FiFo has accepted a backup, and neither completed nor given it up.
pub(super) fn has_started(backup: &BackupView<'_>) -> bool {
    matches!(backup.backup.state, RecordedState::Accepted | RecordedState::Uploading)
}

/// Says whether a backup has been accepted, and its record does not say yet which parent it needs.
pub(super) fn is_silent(backup: &BackupView<'_>) -> bool {
    backup.backup.state == RecordedState::Accepted && backup.backup.parent.is_none()
}

/// Says whether a backup that runs, or may be running, may need any of the others as its parent.
pub fn has_unknown_parent(view: &VmView<'_>) -> bool {
    let mut silent = view.backups.iter().filter(|backup| is_silent(backup));
    silent.any(|backup| backup.standing.is_running() || may_be_running(view, backup))
}
