//! Tracks the progress of uploads. One that makes none gives its slot to others.

use super::super::timing::Timing;
use crate::inventory::{Backup, BackupId, RecordedState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// When each upload last made progress.
///
/// Kept from run to run where a process repeats them: otherwise each run would first wait for uploads that have hung for
/// long. An upload that is not known counts from when it is first seen.
#[derive(Debug, Default)]
pub struct ProgressTracker(Mutex<BTreeMap<BackupId, UploadProgress>>);

#[derive(Debug)]
struct UploadProgress {
    bytes: u64,
    has_started: bool,
    since: Instant,
}

/// The progress of an upload by its last reading.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct ProgressState {
    /// Whether it has grown, or started, within the time allowed for that.
    pub(in super::super) is_progressing: bool,
    /// When it last did.
    pub(in super::super) since: Instant,
}

impl ProgressTracker {
    /// Records a reading. One that is older than an earlier reading shows no progress.
    pub(in super::super) fn record(&self, backup: &Backup, timing: &Timing) -> ProgressState {
        let bytes = backup.size_bytes().unwrap_or(0);
        let has_started = backup.state != RecordedState::Accepted || bytes > 0;
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = || UploadProgress { bytes, has_started, since: Instant::now() };
        let movement = progress.entry(backup.id).or_insert_with(first);
        if bytes > movement.bytes || has_started && !movement.has_started {
            *movement = first();
        }
        let patience = if movement.has_started { timing.quiet } else { timing.start };
        ProgressState { is_progressing: movement.since.elapsed() < patience, since: movement.since }
    }

    /// Forgets all uploads but these.
    pub(in super::super) fn keep_only(&self, under_way: &BTreeSet<BackupId>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| under_way.contains(id));
    }
}
