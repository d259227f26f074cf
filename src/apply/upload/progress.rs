//! Tracks the progress of uploads. One that makes none gives its slot to others.

use crate::apply::timing::{QUIET_MAX, START_MAX};
use crate::inventory::{Backup, BackupId, RecordedState, VmId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The longest pause between two creates that no reading can show.
const UNPROVEN_PAUSE_MAX: Duration = Duration::from_secs(20 * 3600);

/// When each upload last made progress.
///
/// Kept from run to run where a process repeats them: otherwise each run would first wait for uploads that have hung for
/// long. An upload that is not known counts from when it is first seen.
#[derive(Debug, Default)]
pub struct ProgressTracker {
    uploads: Mutex<BTreeMap<BackupId, Progress>>,
    /// The VMs whose creates no reading can show, each with when the next one may go, and the pause after that.
    unproven: Mutex<BTreeMap<VmId, (Instant, Duration)>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    bytes: u64,
    has_started: bool,
    pub(crate) since: Instant,
}

impl Progress {
    pub(crate) fn is_progressing(&self) -> bool {
        self.since.elapsed() < if self.has_started { QUIET_MAX } else { START_MAX }
    }
}

impl ProgressTracker {
    /// Records a reading. One that is older than an earlier reading shows no progress.
    pub(crate) fn record(&self, backup: &Backup) -> Progress {
        let bytes = backup.size_bytes().unwrap_or(0);
        let has_started = backup.state != RecordedState::Accepted || bytes > 0;
        let now = Progress { bytes, has_started, since: Instant::now() };
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let known = uploads.entry(backup.id).or_insert(now);
        if bytes > known.bytes || has_started && !known.has_started {
            *known = now;
        }
        *known
    }

    pub(crate) fn keep_only(&self, under_way: &BTreeSet<BackupId>) {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| under_way.contains(id));
    }

    /// Says whether a create may go that no reading can show, and counts it: each waits twice as long as the one before it.
    pub(crate) fn may_go_unproven(&self, vm: VmId, backoff: Duration) -> bool {
        let mut unproven = self.unproven.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, pause) = unproven.entry(vm).or_insert((Instant::now(), backoff));
        let may_go = Instant::now() >= *next;
        if may_go {
            *next = Instant::now() + *pause;
            *pause = (*pause * 2).min(UNPROVEN_PAUSE_MAX);
        }
        may_go
    }
}
