//! An upload that moves, as the watch knows it.

use super::slots::Slot;
use crate::apply::outcome::{Ended, VmRef};
use crate::apply::reader::{ReadError, VmReading};
use crate::fifo::with_causes;
use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use crate::plan::bytes_text;
use chrono::TimeDelta;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const STUCK_AFTER_DEFAULT: TimeDelta = TimeDelta::hours(12);

pub(super) const CHECK: &str = "check the hypervisor's agent and the backup store";

/// After so long without a change the list is read, and after twice as long again, and so on up to the longest.
pub(super) const LIST_AFTER: Duration = Duration::from_secs(10);

/// An upload, from the moment that FiFo may have started it.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(super) at: VmRef,
    pub(super) which: Which,
    pub(super) slot: Slot,
    /// The tier of one that a VM of this run waits for. Its progress is reported, and it is looked at whether or not a slot
    /// is waited for.
    pub(crate) tier: Option<String>,
    pub(super) began: Instant,
    /// When it no longer counts as running; by the monotonic clock, so that a clock that is set back prolongs nothing.
    pub(super) until: Instant,
    pub(super) last: Option<Backup>,
    pub(super) unchanged_since: Instant,
    pub(super) list_after: Duration,
    pub(super) blind_since: Option<Instant>,
}

#[derive(Debug)]
pub(crate) enum Which {
    Known(BackupId),
    /// One that FiFo may have started, not seen yet: of a backup that is not among these.
    Unseen(BTreeSet<BackupId>),
}

impl Upload {
    pub(crate) fn new(at: VmRef, which: Which, slot: Slot, runs_for: TimeDelta) -> Self {
        let began = Instant::now();
        Self {
            at,
            which,
            slot,
            tier: None,
            began,
            until: began + runs_for.to_std().unwrap_or_default(),
            last: None,
            unchanged_since: began,
            list_after: LIST_AFTER,
            blind_since: None,
        }
    }

    pub(crate) fn unreadable(&self, error: &ReadError) -> Ended {
        let why = format!("{}; the next run checks the result", with_causes(error));
        Ended::unknown(
            "unknown",
            format!("{} is started, but its progress can no longer be read: {why}", self.name()),
        )
    }

    pub(super) fn name(&self) -> String {
        match &self.which {
            Which::Known(id) => format!("backup {id}"),
            Which::Unseen(_) => "a new backup".to_owned(),
        }
    }

    /// Finds it in a reading of its VM. One that does not show it may be older than it is; only a list that proves absence
    /// shows that there is none.
    pub(super) fn find(&mut self, seen: VmReading, is_proof: bool) -> Option<Result<VmReading, Ended>> {
        let backups = &seen.vm.backups;
        let backup = match &self.which {
            Which::Known(id) => backups.get(*id),
            Which::Unseen(_) if !is_proof => return None,
            Which::Unseen(before) => {
                backups.values().find(|backup| is_under_way(backup) && !before.contains(&backup.id))
            }
        };
        match backup {
            Some(backup) if is_under_way(backup) => {
                if self.last.as_ref() != Some(backup) {
                    self.unchanged_since = Instant::now();
                    self.list_after = LIST_AFTER;
                    self.last = Some(backup.clone());
                }
                None
            }
            Some(backup) if backup.state == RecordedState::Failed => {
                let after = bytes_text(backup.size_bytes().unwrap_or(0));
                let text = format!("the upload of {} failed after {after}; {CHECK}", self.name());
                Some(Err(Ended::failed("upload_failed", text)))
            }
            Some(_) => Some(Ok(seen)),
            None => is_proof.then(|| {
                let text =
                    format!("{} has vanished during its upload; check in FiFo who deleted it", self.name());
                Err(Ended::failed("upload_vanished", text))
            }),
        }
    }
}

pub fn has_upload(vm: &Vm) -> bool {
    vm.backups.values().any(is_under_way)
}

pub(super) fn is_under_way(backup: &Backup) -> bool {
    !matches!(backup.state, RecordedState::Completed | RecordedState::Failed)
}
