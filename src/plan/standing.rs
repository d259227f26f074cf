//! How each backup of a VM stands, judged once; every rule looks at this and at nothing else.

use super::request::{Prune, Request};
use crate::inventory::{Backup, BackupId, Backups, RecordedState, Vm, restorable};
use crate::policy::{Policies, Policy, Tier, TierIndex, Zone};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

/// How far a timestamp may lie ahead of the plan's instant before it is taken for wrong.
pub const FUTURE_TOLERANCE: TimeDelta = TimeDelta::minutes(10);

/// How far a timestamp may lie ahead of the plan's instant for the two clocks to be what differs: until its time has come, such
/// a backup holds back creates, or each run would make it again.
pub const CLOCKS_DIFFER_MAX: TimeDelta = TimeDelta::hours(1);

/// No stored stream is smaller, in bytes. The header and the end of a `zfs send` alone hold two snapshot names made of
/// UUIDs, their GUIDs and checksums, which do not compress; the error message that FiFo stores in place of a failed
/// export is some fifty bytes.
pub const STREAM_BYTES_MIN: u64 = 100;

/// What "newer" compares: the timestamp, and on a tie the UUID, so that plans do not depend on any order.
type AgeKey = (DateTime<Utc>, BackupId);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It and every ancestor up to a full one are there and completed, and none is known to be broken.
    Restorable,
    /// Complete itself, but something that it depends on is missing or not complete.
    Unrestorable,
    Failed,
    /// FiFo says completed, and there is next to nothing in it.
    Hollow,
    /// It has not ended in the time it may take.
    Stuck,
    InProgress,
    /// FiFo says completed and does not tell the size or checksum of one of its files, although it does so for another backup
    /// of this VM, and may still write what is missing. It counts as in progress until `stuck_after`, and by its state then.
    Unverified,
    /// FiFo says completed, and its stored objects are known to be broken.
    Broken,
    /// Its record has no timestamp: the remains of one that was deleted while it uploaded. No view has it.
    Unreadable,
}

impl Standing {
    /// Says whether it counts as a failed attempt. A broken one does, so that pauses lie between it and the next.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Hollow | Self::Stuck | Self::Broken)
    }

    pub fn is_running(self) -> bool {
        matches!(self, Self::InProgress | Self::Unverified)
    }
}

/// One backup with what a policy makes of it at an instant.
#[derive(Clone, Debug)]
pub struct BackupView<'a> {
    pub backup: &'a Backup,
    pub taken: DateTime<Utc>,
    /// `None` is unmanaged.
    pub tier: Option<TierIndex>,
    pub standing: Standing,
    /// Whether it is broken, or hangs on a broken one, or a broken one hangs on it: then nothing of it is deleted.
    pub is_on_broken_chain: bool,
    /// Its position among [the VM's backups](crate::inventory::Backups::position).
    pub position: usize,
    /// Whether its timestamp is too far ahead to be believed: then it satisfies nothing, is no parent, and is not deleted.
    pub is_future_dated: bool,
}

impl<'a> BackupView<'a> {
    /// Judges a backup as far as that is not done yet; `None` without a timestamp.
    fn new(
        backup: &'a Backup,
        position: usize,
        standing: Standing,
        policy: &Policy,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let taken = backup.timestamp?;
        Some(Self {
            backup,
            taken,
            tier: policy.tier_of(backup.comment.as_deref()),
            standing,
            is_on_broken_chain: false,
            position,
            is_future_dated: taken > now && taken - now > FUTURE_TOLERANCE,
        })
    }

    pub fn is_restorable(&self) -> bool {
        self.standing == Standing::Restorable
    }

    /// Says whether its timestamp is too far ahead to count yet and near enough for its time to be waited for.
    pub fn is_dated_ahead(&self, now: DateTime<Utc>) -> bool {
        self.is_future_dated && self.taken - now <= CLOCKS_DIFFER_MAX
    }

    pub fn id(&self) -> BackupId {
        self.backup.id
    }

    pub fn age_key(&self) -> AgeKey {
        (self.taken, self.backup.id)
    }
}

/// A VM under its policy at an instant.
#[derive(Clone, Debug)]
pub struct VmView<'a> {
    pub vm: &'a Vm,
    pub policy: &'a Policy,
    pub now: DateTime<Utc>,
    pub prune: Prune,
    /// The zone in which times are shown: the policy's, where it is not one of several.
    pub zone: &'a Zone,
    /// Its backups, oldest first. Records without a timestamp are not among them: nothing may rest on those.
    pub backups: Vec<BackupView<'a>>,
    /// Its newest believable backup that can be restored, by its index in `backups`.
    newest_restorable: Option<usize>,
    /// Whether it takes into account that something is known to be broken.
    has_findings: bool,
}

impl<'a> VmView<'a> {
    pub fn new(vm: &'a Vm, policy: &'a Policy, request: impl Into<Request>) -> Self {
        let has_findings = vm.backups.values().any(|backup| backup.is_broken);
        Self::judged(vm, policy, request.into(), has_findings)
    }

    /// Returns the same VM as if nothing were known to be broken; `None` where nothing is. What would be kept then is kept all
    /// the same: a finding never takes a backup away.
    pub(super) fn without_findings(&self) -> Option<Self> {
        let Self { vm, policy, now, prune, zone, .. } = *self;
        let request = Request { now, due_at: now, prune };
        self.has_findings.then(|| Self { zone, ..Self::judged(vm, policy, request, false) })
    }

    fn judged(vm: &'a Vm, policy: &'a Policy, request: Request, has_findings: bool) -> Self {
        let Request { now, prune, .. } = request;
        let tells_files = tells_files(vm);
        let judge = |backup: &Backup| {
            let standing = standing(backup, tells_files, policy, now);
            let is_broken = has_findings && backup.is_broken;
            let is_called_good = matches!(standing, Standing::Restorable | Standing::Unverified);
            if is_broken && is_called_good { Standing::Broken } else { standing }
        };
        let standings: Vec<Standing> = vm.backups.values().map(judge).collect();
        let is_good: Vec<bool> = standings.iter().map(|it| *it == Standing::Restorable).collect();
        let restorable = restorable(&vm.backups, &is_good);
        let on_chain = has_findings.then(|| on_broken_chains(&vm.backups));
        let view_of = |(position, standing): (usize, Standing)| {
            let is_lost = is_good[position] && !restorable[position];
            let standing = if is_lost { Standing::Unrestorable } else { standing };
            let view = BackupView::new(&vm.backups[position], position, standing, policy, now)?;
            Some(BackupView { is_on_broken_chain: on_chain.as_ref().is_some_and(|it| it[position]), ..view })
        };
        let mut backups: Vec<BackupView<'a>> =
            standings.into_iter().enumerate().filter_map(view_of).collect();
        backups.sort_unstable_by_key(BackupView::age_key);
        let newest_restorable = newest_restorable(&backups);
        Self { vm, policy, now, prune, zone: &policy.zone, backups, newest_restorable, has_findings }
    }

    /// Takes one of several policies, which may be of several zones.
    pub fn one_of(vm: &'a Vm, policies: &'a Policies, policy: &'a Policy, request: Request) -> Self {
        Self { zone: policies.display_zone(), ..Self::new(vm, policy, request) }
    }

    /// Returns the same VM as another request sees it.
    pub(super) fn asked(&self, request: Request) -> Self {
        Self { zone: self.zone, ..Self::new(self.vm, self.policy, request) }
    }

    /// Returns the same VM with one more backup, which FiFo does not have yet, and which [`VmView::get`] does not find.
    pub(super) fn with_new<'b>(&'b self, new: &'b Backup) -> Option<VmView<'b>> {
        let mut standing = standing(new, tells_files(self.vm), self.policy, self.now);
        let is_chain_good = new.parent.is_none_or(|id| self.get(id).is_some_and(BackupView::is_restorable));
        if standing == Standing::Restorable && !is_chain_good {
            standing = Standing::Unrestorable;
        }
        let new = BackupView::new(new, self.vm.backups.len(), standing, self.policy, self.now)?;
        let older = self.backups.partition_point(|backup| backup.age_key() < new.age_key());
        let (older, newer) = self.backups.split_at(older);
        let backups = [older, &[new], newer].concat();
        Some(VmView { newest_restorable: newest_restorable(&backups), backups, ..*self })
    }

    /// Gives the backups that the rules may rest on: those whose timestamp can be believed, oldest first.
    pub fn not_future_dated(&self) -> impl DoubleEndedIterator<Item = &BackupView<'a>> {
        self.backups.iter().filter(|backup| !backup.is_future_dated)
    }

    /// Gives the believable backups that can be restored, oldest first.
    pub fn restorable(&self) -> impl DoubleEndedIterator<Item = &BackupView<'a>> {
        self.not_future_dated().filter(|backup| backup.is_restorable())
    }

    /// Gives the newest believable backup that can be restored, of whatever tier or none.
    pub fn newest_restorable(&self) -> Option<&BackupView<'a>> {
        self.newest_restorable.map(|index| &self.backups[index])
    }

    pub fn is_superseded(&self, backup: &BackupView<'_>) -> bool {
        self.newest_restorable().is_some_and(|newest| newest.age_key() > backup.age_key())
    }

    /// Gives a backup by its UUID; `None` for one that is not there or has no timestamp.
    pub fn get(&self, id: BackupId) -> Option<&BackupView<'a>> {
        let key = (self.vm.backups.get(id)?.timestamp?, id);
        self.backups.binary_search_by_key(&key, BackupView::age_key).ok().map(|at| &self.backups[at])
    }

    pub(super) fn completed(&self) -> impl Iterator<Item = &'a Backup> {
        self.vm.backups.values().filter(|backup| backup.state == RecordedState::Completed)
    }

    pub fn tier(&self, tier: TierIndex) -> &'a Tier {
        &self.policy.tiers[tier]
    }

    pub fn without_timestamp(&self) -> impl Iterator<Item = &'a Backup> {
        self.vm.backups.values().filter(|backup| backup.timestamp.is_none())
    }
}

fn newest_restorable(backups: &[BackupView<'_>]) -> Option<usize> {
    backups.iter().rposition(|backup| backup.is_restorable() && !backup.is_future_dated)
}

/// Says by [position](Backups::position) which backups are broken, hang on a broken one, or have one that hangs on them.
fn on_broken_chains(backups: &Backups) -> Vec<bool> {
    let mut found = vec![false; backups.len()];
    for first in 0..backups.len() {
        let chain: Vec<usize> = backups.chain_from(first).collect();
        found[first] |= chain.iter().any(|&at| backups[at].is_broken);
        if backups[first].is_broken {
            chain.iter().for_each(|&at| found[at] = true);
        }
    }
    found
}

/// Says whether FiFo tells the size and checksum of every file of some completed backup of a VM, each by itself.
pub(super) fn tells_files(vm: &Vm) -> bool {
    vm.backups.values().any(|backup| {
        backup.state == RecordedState::Completed && has_files(backup) && backup.missing_file_info().is_none()
    })
}

/// Returns what FiFo does not tell of a completed backup's files, in the form that newer versions have for each of them.
pub(super) fn lacks(backup: &Backup) -> Option<&'static str> {
    let is_completed = backup.state == RecordedState::Completed;
    backup.missing_file_info().filter(|_| is_completed && has_files(backup))
}

/// Says whether a record's files are in the form of newer FiFo versions: those have no size and no checksum of the whole.
fn has_files(backup: &Backup) -> bool {
    !backup.files.is_empty() && backup.record_size_bytes.is_none() && !backup.has_record_checksum
}

/// Judges one backup by itself: what it depends on is taken to be good; `tells_files` as of [`tells_files`].
fn standing(backup: &Backup, tells_files: bool, policy: &Policy, now: DateTime<Utc>) -> Standing {
    let Some(taken) = backup.timestamp else { return Standing::Unreadable };
    // A timestamp ahead of us says nothing about how long it has been running, so that is bounded likewise: otherwise a
    // single wrong clock would hold a VM's backups up until that date.
    let is_overdue = || (now - taken).abs() >= policy.stuck_after;
    match backup.state {
        RecordedState::Completed if is_hollow(backup, policy) => Standing::Hollow,
        RecordedState::Completed if tells_files && !is_overdue() && lacks(backup).is_some() => {
            Standing::Unverified
        }
        RecordedState::Completed => Standing::Restorable,
        RecordedState::Failed => Standing::Failed,
        RecordedState::Accepted | RecordedState::Uploading | RecordedState::Other(_) if is_overdue() => {
            Standing::Stuck
        }
        RecordedState::Accepted | RecordedState::Uploading | RecordedState::Other(_) => Standing::InProgress,
    }
}

/// Says whether a backup that FiFo calls completed has next to nothing in it.
///
/// Each stored object counts: one disk whose export failed is enough. Of an increment only what cannot be a stream at
/// all is known to be hollow; a full backup is, when all of it is less than the policy says.
fn is_hollow(backup: &Backup, policy: &Policy) -> bool {
    let is_no_stream = backup.smallest_size_bytes().is_some_and(|bytes| bytes < STREAM_BYTES_MIN);
    let is_small_full = backup.parent.is_none()
        && backup.size_bytes().is_some_and(|bytes| bytes < policy.min_full_size_bytes);
    is_no_stream || is_small_full
}
