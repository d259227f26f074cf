//! An upload that moves, as the watch knows it.

use super::super::outcome::VmRef;
use super::super::reader::VmReading;
use super::super::timing::CLOCK_SKEW_MAX;
use super::slots::Slot;
use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// After so long without a change the list is read, and after twice as long again, and so on.
pub(super) const LIST_AFTER: Duration = Duration::from_secs(10);

/// An upload, from its registration to its end.
#[derive(Debug)]
pub(in super::super) struct Upload {
    pub(super) at: VmRef,
    pub(super) which: Which,
    pub(super) slot: Slot,
    /// The VM of this run that waits for its end, if one does.
    pub(super) follower: Option<Follower>,
    pub(super) began: Instant,
    /// When it no longer counts as running.
    pub(super) until: DateTime<Utc>,
    /// The same by the monotonic clock.
    pub(super) until_at_the_latest: Instant,
    pub(super) last: Option<Backup>,
    pub(super) unchanged_since: Instant,
    pub(super) list_after: Duration,
    pub(super) blind_since: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Which {
    Known(BackupId),
    /// One that FiFo may have started, not seen yet: of a backup that is not among these.
    Unseen(BTreeSet<BackupId>),
}

#[derive(Debug)]
pub(super) struct Follower {
    pub(super) tier: String,
    pub(super) end: oneshot::Sender<UploadEnd>,
}

/// How an upload that is waited for ended.
#[derive(Debug)]
pub(in super::super) enum UploadEnd {
    /// FiFo calls it completed, by this reading.
    Completed(Box<VmReading>),
    Failed {
        bytes: u64,
    },
    /// It takes longer than `stuck_after`.
    Stuck {
        bytes: u64,
    },
    /// The list does not have the backup, or not the VM.
    Vanished,
    VmGone,
    /// Nothing could be read for long, with the last error in words. It goes on holding its slot.
    Unreadable(String),
}

/// What a look at an upload shows.
pub(super) enum Look {
    Running(Backup),
    Ended(UploadEnd),
    /// Nothing new.
    Nothing,
}

/// Where uploads are registered.
pub(in super::super) type Registry = mpsc::UnboundedSender<Upload>;

impl Upload {
    /// An upload of this run that is waited for. The result reports its end.
    pub(in super::super) fn followed(
        at: VmRef,
        tier: &str,
        backup: BackupId,
        taken: Option<DateTime<Utc>>,
        slot: Slot,
        stuck_after: TimeDelta,
        now: DateTime<Utc>,
    ) -> (Self, oneshot::Receiver<UploadEnd>) {
        let (end, ended) = oneshot::channel();
        // Counted from its own date as in the planner, but neither from before this run has started it nor from a date that
        // a wrong clock puts far ahead.
        let since = taken.unwrap_or(now).clamp(now, now + CLOCK_SKEW_MAX);
        let mut upload = Self::new(at, Which::Known(backup), slot, since + stuck_after, now);
        upload.follower = Some(Follower { tier: tier.to_owned(), end });
        (upload, ended)
    }

    /// An upload of this run that nobody waits for.
    pub(in super::super) fn left(
        at: VmRef,
        backup: BackupId,
        slot: Slot,
        stuck_after: TimeDelta,
        now: DateTime<Utc>,
    ) -> Self {
        Self::new(at, Which::Known(backup), slot, now + CLOCK_SKEW_MAX + stuck_after, now)
    }

    /// An upload that FiFo may have started, of a backup that is not in `before`.
    pub(in super::super) fn unseen(
        at: VmRef,
        before: BTreeSet<BackupId>,
        slot: Slot,
        stuck_after: TimeDelta,
        now: DateTime<Utc>,
    ) -> Self {
        Self::new(at, Which::Unseen(before), slot, now + CLOCK_SKEW_MAX + stuck_after, now)
    }

    pub(super) fn new(at: VmRef, which: Which, slot: Slot, until: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let began = Instant::now();
        Self {
            at,
            which,
            slot,
            follower: None,
            began,
            until,
            until_at_the_latest: began + (until - now).to_std().unwrap_or_default(),
            last: None,
            unchanged_since: began,
            list_after: LIST_AFTER,
            blind_since: None,
        }
    }

    pub(super) fn is_followed(&self) -> bool {
        self.follower.as_ref().is_some_and(|follower| !follower.end.is_closed())
    }

    pub(super) fn ends(&mut self, how: UploadEnd) {
        if let Some(follower) = self.follower.take() {
            // Whoever waited may have given up meanwhile.
            drop(follower.end.send(how));
        }
    }

    /// Finds it in a reading of its VM. One that does not show it may be older than it is; only a list that proves absence
    /// shows that there is none.
    pub(super) fn find(&self, vm: &Vm, is_proof: bool) -> Look {
        let backup = match &self.which {
            Which::Known(id) => vm.backups.get(*id),
            Which::Unseen(_) if !is_proof => return Look::Nothing,
            Which::Unseen(before) => {
                vm.backups.values().find(|backup| is_under_way(backup) && !before.contains(&backup.id))
            }
        };
        match backup {
            Some(backup) if is_under_way(backup) => Look::Running(backup.clone()),
            Some(backup) if backup.state == RecordedState::Failed => {
                Look::Ended(UploadEnd::Failed { bytes: backup.size_bytes().unwrap_or(0) })
            }
            Some(_) => Look::Ended(UploadEnd::Completed(Box::new(VmReading::of_list(vm.clone())))),
            None if is_proof => Look::Ended(UploadEnd::Vanished),
            None => Look::Nothing,
        }
    }
}

/// Returns whether a backup of a VM is being uploaded, as far as its record says.
pub fn has_upload(vm: &Vm) -> bool {
    vm.backups.values().any(is_under_way)
}

pub(super) fn is_under_way(backup: &Backup) -> bool {
    !matches!(backup.state, RecordedState::Completed | RecordedState::Failed)
}
