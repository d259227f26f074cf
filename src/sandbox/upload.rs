//! An upload under way: its steps and when each is due.

use super::script::UploadOutcome;
use super::vm::Vm;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The size of a file is written about once so many bytes.
const WRITTEN_EVERY_BYTES: u64 = 1 << 20;

/// An upload under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    pub vm: Uuid,
    /// What it is an increment on.
    pub parent: Option<Uuid>,
    /// Whether the create asked to delete a snapshot afterwards.
    pub delete: bool,
    pub outcome: UploadOutcome,
    /// When it was accepted, in microseconds since the Unix epoch.
    pub started_us: i64,
    /// How long it takes until all is written, in microseconds.
    pub duration_us: i64,
    /// What it stores in the end, over all disks.
    pub bytes: u64,
    /// How many of the steps of its life are behind it.
    pub steps_done: usize,
    /// The size that was written last, while it grows.
    pub written_bytes: u64,
}

/// One write to the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Parent,
    Uploading,
    Files,
    Checksums,
    Xml,
    End,
    Local,
}

/// The steps in their order.
pub(super) const STEPS: [Step; 7] =
    [Step::Parent, Step::Uploading, Step::Files, Step::Checksums, Step::Xml, Step::End, Step::Local];

impl Upload {
    /// When a step is due. What comes before the bytes takes about a second in all, what comes after them another;
    /// with very short uploads a tenth of the whole each.
    pub(super) fn due_us(&self, step: Step) -> i64 {
        let moment_us = (self.duration_us / 10).min(1_000_000);
        let after_start_us = match step {
            Step::Parent => moment_us,
            Step::Uploading => moment_us * 6 / 5,
            Step::Files => moment_us * 7 / 5,
            Step::Checksums => self.duration_us - moment_us,
            Step::Xml => self.duration_us - moment_us * 2 / 3,
            Step::End => self.duration_us - moment_us / 3,
            Step::Local => self.duration_us,
        };
        self.started_us.saturating_add(after_start_us)
    }

    /// Bytes stored by an instant, in whole steps of a MiB. A hanging upload stops at two fifths.
    pub(super) fn bytes_at(&self, now_us: i64) -> u64 {
        let (from_us, to_us) = (self.due_us(Step::Files), self.due_us(Step::Checksums));
        let whole_us = i128::from(to_us - from_us).max(1);
        let stop_us = if self.outcome == UploadOutcome::Hang { whole_us * 2 / 5 } else { whole_us };
        let grown_us = (i128::from(now_us) - i128::from(from_us)).clamp(0, stop_us);
        let bytes = i128::from(self.bytes) * grown_us / whole_us;
        u64::try_from(bytes).unwrap_or(u64::MAX) / WRITTEN_EVERY_BYTES * WRITTEN_EVERY_BYTES
    }

    /// Says whether a step is ever taken, given the outcome of the upload.
    pub(super) fn takes(&self, step: Step) -> bool {
        match self.outcome {
            UploadOutcome::NoFiles => step != Step::Files,
            UploadOutcome::Fail => !matches!(step, Step::Checksums | Step::Xml),
            UploadOutcome::FailForgotten => !matches!(step, Step::Checksums | Step::Xml | Step::Local),
            UploadOutcome::Hang => matches!(step, Step::Parent | Step::Uploading | Step::Files),
            UploadOutcome::NeverStarts | UploadOutcome::SnapshotOnly => false,
            _ => true,
        }
    }

    pub(super) fn has_done(&self, step: Step) -> bool {
        STEPS.iter().take(self.steps_done).any(|done| *done == step)
    }

    /// Says whether nothing more will come of it. A hanging upload never is: its snapshot stays busy.
    pub(super) fn is_over(&self) -> bool {
        self.steps_done == STEPS.len() && self.outcome != UploadOutcome::Hang
    }
}

/// What an upload stores unless its fate says otherwise: an increment is about a thirtieth of the whole.
pub(super) fn usual_bytes(vm: &Vm, parent: Option<Uuid>) -> u64 {
    if parent.is_some() { (vm.full_bytes / 32).max(WRITTEN_EVERY_BYTES) } else { vm.full_bytes }
}
