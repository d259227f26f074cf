//! The state of a VM as far as its next decisions depend on it, so that VMs in the same state are run forward once.

use super::occurrences::VmOccurrenceRange;
use crate::inventory::{Backup, BackupId, Backups, LocalState, RecordedState, Vm, chain_of};
use crate::plan::due::{Occurrences, attempts, cannot_back_up, unsatisfied};
use crate::plan::parent::last_increment;
use crate::plan::standing::{Standing, VmView};
use crate::policy::{Policy, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// A VM at the beginning of a forecast.
#[derive(Debug)]
pub(super) struct Start {
    /// The VM with those backups that decisions depend on, and nothing in progress.
    pub(super) vm: Vm,
    /// Its backups in the order in which [`StateKey`] has them.
    pub(super) ids: Vec<BackupId>,
    /// What it has in common with all that are decided alike.
    pub(super) key: StateKey,
    /// When failed backups may be tried again.
    pub(super) retries: Vec<DateTime<Utc>>,
}

/// What the decisions of a forecast depend on. Two VMs of the same shape under the same policy get the same backups.
///
/// Every due time lies after every backup that there is, so of their timestamps only the order counts; those that lie
/// ahead of the beginning are kept to the letter, and so are the times of a VM that has such a one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StateKey {
    order: Vec<TierIndex>,
    held_until: Option<DateTime<Utc>>,
    cannot_back_up: bool,
    /// For each tier that waits for a retry: after how many due times that comes, before how many others, and the
    /// how-manieth retry it is.
    retries: Vec<Option<(usize, usize, usize)>>,
    /// All times at which it is decided about, where a backup lies ahead of the beginning: those before it and those
    /// after it are distinguished. Shares of a spread differ from VM to VM.
    times: Vec<DateTime<Utc>>,
    due: Vec<TierIndex>,
    has_failed: Vec<bool>,
    snapshots: usize,
    backups: Vec<BackupKey>,
}

/// One backup, without its name and time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BackupKey {
    tier: Option<TierIndex>,
    is_restorable: bool,
    is_stuck: bool,
    /// Whether it is stuck before its parent is known.
    is_parent_unknown: bool,
    /// Whether it is an increment that came out empty: after such a one another is not tried.
    is_empty_increment: bool,
    local: LocalState,
    holds_snapshot: bool,
    parent: Option<Parent>,
    /// How many backups restoring it fetches.
    steps: usize,
    ahead: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Parent {
    Kept(usize),
    Elsewhere,
}

/// Returns a VM with everything that runs taken as done; nothing of its sizes is left, which would be much to carry along,
/// but that what is hollow has nothing in it.
pub(super) fn settled(vm: &Vm, policy: &Policy, now: DateTime<Utc>) -> Vm {
    let view = VmView::new(vm, policy, now);
    let standings: BTreeMap<BackupId, Standing> =
        view.backups.iter().map(|backup| (backup.id(), backup.standing)).collect();
    let backups = vm.backups.values().map(|backup| {
        let standing = standings.get(&backup.id);
        let runs = standing.is_some_and(|standing| standing.is_running());
        let state = match standing {
            _ if runs => RecordedState::Completed,
            Some(Standing::Failed) => RecordedState::Failed,
            Some(Standing::Completed | Standing::InProgress | Standing::Unverified | Standing::Hollow) => {
                RecordedState::Completed
            }
            // Without a timestamp it counts for nothing, whatever it says.
            Some(Standing::Stuck) | None => backup.state.clone(),
        };
        Backup {
            id: backup.id,
            comment: backup.comment.clone(),
            timestamp: backup.timestamp,
            state,
            parent: backup.parent,
            local: if runs { LocalState::Present } else { backup.local },
            local_size_bytes: backup.local_size_bytes,
            files: Vec::new(),
            record_size_bytes: (standing == Some(&Standing::Hollow)).then_some(0),
            has_record_checksum: false,
        }
    });
    with_backups(vm, backups.collect())
}

/// Gives a VM as far as decisions look at it, with other backups.
pub(super) fn with_backups(vm: &Vm, backups: Backups) -> Vm {
    Vm {
        id: vm.id,
        alias: vm.alias.clone(),
        owner: None,
        package: None,
        dataset: None,
        hypervisor: vm.hypervisor.clone(),
        state: vm.state.clone(),
        creating: vm.creating,
        deleting: vm.deleting,
        delegated_datasets: vm.delegated_datasets,
        metadata: Default::default(),
        backups,
    }
}

/// Returns a VM with those backups only that a decision at this instant, or a later one, can depend on. A restorable one
/// whose parent is left out stands on its own.
pub(super) fn trimmed(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Vm {
    let tiers = 0..view.policy.tiers.len();
    let since: Vec<Option<DateTime<Utc>>> =
        tiers.clone().map(|tier| occurrences.last(tier, view.vm.id)).collect();
    let mut kept: BTreeSet<BackupId> = view
        .backups
        .iter()
        .filter(|backup| {
            backup.taken > view.now
                || backup.backup.holds_snapshot()
                || backup.standing == Standing::Stuck
                || backup.standing.is_running()
                || backup.standing.is_failure()
                    && backup.tier.is_some_and(|tier| since[tier].is_none_or(|since| backup.taken >= since))
        })
        .map(|backup| backup.id())
        .collect();
    kept.extend(view.newest_restorable().map(|backup| backup.id()));
    for tier in tiers {
        let keep_local = usize::try_from(view.tier(tier).keep_local).unwrap_or(usize::MAX);
        let newest = view.restorable().rev().filter(|backup| backup.tier == Some(tier));
        kept.extend(newest.take(keep_local.max(1)).map(|backup| backup.id()));
    }
    // These show whether another increment would be empty like one before it: that one, or a good one since.
    let parents: BTreeSet<BackupId> = view
        .backups
        .iter()
        .filter(|backup| backup.standing == Standing::Hollow)
        .filter_map(|backup| backup.backup.parent)
        .filter(|parent| kept.contains(parent))
        .collect();
    kept.extend(parents.into_iter().filter_map(|parent| last_increment(view, parent)).map(|last| last.id()));
    let backups = view.backups.iter().filter(|backup| kept.contains(&backup.id())).map(|judged| {
        let mut backup = judged.backup.clone();
        if judged.restorable {
            backup.parent = backup.parent.filter(|parent| kept.contains(parent));
        }
        backup
    });
    with_backups(view.vm, backups.collect())
}

impl Start {
    /// Looks at a settled VM at the beginning of a forecast.
    pub(super) fn new(
        settled: &Vm,
        policy: &Policy,
        now: DateTime<Utc>,
        range: &VmOccurrenceRange<'_, '_>,
    ) -> Self {
        let occurrences = &range.occurrences(now);
        let vm = trimmed(&VmView::new(settled, policy, now), occurrences);
        let view = VmView::new(&vm, policy, now);
        let place: BTreeMap<BackupId, usize> =
            view.backups.iter().enumerate().map(|(place, backup)| (backup.id(), place)).collect();
        let traces = view.backups.iter().map(|backup| BackupKey {
            tier: backup.tier,
            is_restorable: backup.restorable,
            is_stuck: backup.standing == Standing::Stuck,
            is_parent_unknown: backup.standing == Standing::Stuck
                && backup.backup.state == RecordedState::Accepted
                && backup.backup.parent.is_none(),
            is_empty_increment: backup.standing == Standing::Hollow
                && backup.backup.parent.is_some_and(|parent| place.contains_key(&parent)),
            local: backup.backup.local,
            holds_snapshot: backup.backup.holds_snapshot(),
            parent: backup
                .backup
                .parent
                .map(|parent| place.get(&parent).map_or(Parent::Elsewhere, |&place| Parent::Kept(place))),
            steps: chain_of(&settled.backups, backup.id()).map_or(0, |chain| chain.steps.len()),
            ahead: Some(backup.taken).filter(|taken| *taken > now),
        });
        let next_attempts: Vec<Option<DateTime<Utc>>> =
            (0..policy.tiers.len()).map(|tier| attempts(&view, occurrences, tier).next_at).collect();
        let waits_until: Vec<Option<DateTime<Utc>>> =
            next_attempts.iter().map(|next| next.filter(|&at| now < at)).collect();
        let retries: Vec<DateTime<Utc>> = waits_until.iter().flatten().copied().collect();
        let place_of = |at: DateTime<Utc>| {
            let earlier = retries.iter().filter(|&&other| other < at).count();
            (range.count_before(at), range.count_before(at + TimeDelta::microseconds(1)), earlier)
        };
        let is_any_ahead = view.backups.iter().any(|backup| backup.taken > now);
        let times = if is_any_ahead { [range.times(), retries.clone()].concat() } else { Vec::new() };
        let key = StateKey {
            order: range.order(),
            held_until: policy.suspended_until(&vm).filter(|&until| now < until),
            cannot_back_up: cannot_back_up(&vm).is_some(),
            times,
            retries: waits_until.iter().map(|at| at.map(place_of)).collect(),
            due: unsatisfied(&view, occurrences).into_iter().map(|(tier, _)| tier).collect(),
            has_failed: next_attempts.iter().map(Option::is_some).collect(),
            snapshots: snapshots(settled),
            backups: traces.collect(),
        };
        let ids = view.backups.iter().map(|backup| backup.id()).collect();
        Self { ids, key, retries, vm }
    }

    /// Returns how many backups restoring each of those that there are fetches.
    pub(super) fn steps(&self) -> impl Iterator<Item = (BackupId, usize)> {
        self.ids.iter().copied().zip(self.key.backups.iter().map(|trace| trace.steps))
    }
}

/// Counts the snapshots on the hypervisor, those of records without a timestamp among them.
pub(super) fn snapshots(vm: &Vm) -> usize {
    vm.backups.values().filter(|backup| backup.holds_snapshot()).count()
}
