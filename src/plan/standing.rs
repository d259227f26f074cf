//! How each backup of a VM stands, judged once; every rule looks at this and at nothing else.

use crate::inventory::{Backup, BackupId, RecordedState, Vm, restorable};
use crate::policy::{Policy, Tier, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};

/// How far a timestamp may lie ahead of the plan's instant before it is taken for wrong.
pub const FUTURE_TOLERANCE: TimeDelta = TimeDelta::minutes(10);

/// No stored stream is smaller, in bytes. The header and the end of a `zfs send` alone hold two snapshot names made of
/// UUIDs, their GUIDs and checksums, which do not compress; the error message that FiFo stores in place of a failed
/// export is some fifty bytes.
pub const STREAM_BYTES_MIN: u64 = 100;

/// How a backup stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// FiFo says so, and nothing speaks against it.
    Completed,
    /// FiFo says so.
    Failed,
    /// FiFo says completed, and there is next to nothing in it.
    Hollow,
    /// It has not ended in the time it may take.
    Stuck,
    /// It is on its way, as far as one can tell.
    InProgress,
}

impl Standing {
    /// Says whether it counts as a failed attempt.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Hollow | Self::Stuck)
    }
}

/// One backup with what a policy makes of it at an instant.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    /// The record.
    pub backup: &'a Backup,
    /// Its timestamp.
    pub taken: DateTime<Utc>,
    /// The tier it is of; `None` is unmanaged.
    pub tier: Option<TierIndex>,
    /// How it stands.
    pub standing: Standing,
    /// Whether it and every ancestor up to a full one are there and completed.
    pub restorable: bool,
    /// Whether its timestamp is too far ahead to be believed: then it satisfies nothing, is no parent, and is not deleted.
    pub future: bool,
}

impl Judged<'_> {
    /// Gives its UUID.
    pub fn id(&self) -> BackupId {
        self.backup.id
    }

    /// Gives what "newer" compares: the timestamp, and on a tie the UUID, so that plans do not depend on any order.
    pub fn age_key(&self) -> (DateTime<Utc>, BackupId) {
        (self.taken, self.backup.id)
    }
}

/// A VM under its policy at an instant.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The VM.
    pub vm: &'a Vm,
    /// Its policy.
    pub policy: &'a Policy,
    /// The plan's instant.
    pub now: DateTime<Utc>,
    /// Its backups, oldest first. Records without a timestamp are not among them: nothing may rest on those.
    pub backups: Vec<Judged<'a>>,
}

impl<'a> View<'a> {
    /// Judges all of a VM's backups.
    pub fn new(vm: &'a Vm, policy: &'a Policy, now: DateTime<Utc>) -> Self {
        let restorable = restorable(&vm.backups, |backup| {
            backup.timestamp.is_some_and(|taken| standing(backup, taken, policy, now) == Standing::Completed)
        });
        let mut backups: Vec<Judged<'a>> = vm
            .backups
            .values()
            .filter_map(|backup| {
                let taken = backup.timestamp?;
                Some(Judged {
                    backup,
                    taken,
                    tier: policy.tier_of(backup.comment.as_deref()),
                    standing: standing(backup, taken, policy, now),
                    restorable: restorable.contains(&backup.id),
                    future: taken - now > FUTURE_TOLERANCE,
                })
            })
            .collect();
        backups.sort_by_key(Judged::age_key);
        Self { vm, policy, now, backups }
    }

    /// Gives the backups that the rules may rest on: those whose timestamp can be believed, oldest first.
    pub fn believable(&self) -> impl DoubleEndedIterator<Item = &Judged<'a>> {
        self.backups.iter().filter(|backup| !backup.future)
    }

    /// Gives the believable backups that can be restored, oldest first.
    pub fn restorable(&self) -> impl DoubleEndedIterator<Item = &Judged<'a>> {
        self.believable().filter(|backup| backup.restorable)
    }

    /// Gives the newest believable backup that can be restored, of whatever tier or none.
    pub fn newest_restorable(&self) -> Option<&Judged<'a>> {
        self.restorable().next_back()
    }

    /// Gives the backups on their way, oldest first, whatever their timestamp says: what runs, runs.
    pub fn running(&self) -> impl Iterator<Item = &Judged<'a>> {
        self.backups.iter().filter(|backup| backup.standing == Standing::InProgress)
    }

    /// Gives a tier by its place.
    pub fn tier(&self, tier: TierIndex) -> &'a Tier {
        &self.policy.tiers[tier]
    }

    /// Gives the records without a timestamp, by UUID.
    pub fn remains(&self) -> impl Iterator<Item = &'a Backup> {
        self.vm.backups.values().filter(|backup| backup.timestamp.is_none())
    }
}

fn standing(backup: &Backup, taken: DateTime<Utc>, policy: &Policy, now: DateTime<Utc>) -> Standing {
    match backup.state {
        RecordedState::Completed if is_hollow(backup, policy) => Standing::Hollow,
        RecordedState::Completed => Standing::Completed,
        RecordedState::Failed => Standing::Failed,
        // A timestamp ahead of us says nothing about how long it has been running, so that is bounded likewise:
        // otherwise a single wrong clock would hold a VM's backups up until that date.
        RecordedState::Accepted | RecordedState::Uploading | RecordedState::Other(_) => {
            if (now - taken).abs() < policy.stuck_after { Standing::InProgress } else { Standing::Stuck }
        }
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
