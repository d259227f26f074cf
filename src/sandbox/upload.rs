//! An upload: how it is to end, its steps, and when each is due.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The size of a file is written about once so many bytes.
pub(super) const WRITTEN_EVERY_BYTES: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadOutcome {
    #[default]
    Complete,
    /// It fails; what comes after an upload (`local: true`, or what `delete` asked for) comes all the same.
    Fail,
    /// It fails and takes the agent's worker with it: `local` never appears.
    FailForgotten,
    /// It stays `uploading` for ever.
    Hang,
    /// `zfs send` fails unnoticed: `completed`, with some fifty bytes of error message.
    Hollow,
    /// The same for the last disk alone: the files of the others are whole.
    HollowDisk,
    /// It is stored whole and `completed`, but its files are never on record.
    NoFiles,
    /// It is stored whole and `completed`, but the checksums of its files are never on record.
    NoChecksums,
    /// Nothing is stored, unnoticed: `completed`, with files of no bytes.
    NoBytes,
    /// The agent could not be reached: accepted, and stays so.
    NeverStarts,
    /// The store could not be reached: the snapshot is there (`local_size` > 0), and nothing else ever is.
    SnapshotOnly,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UploadScript {
    pub outcome: UploadOutcome,
    /// How long it takes from being accepted until all is written; the world's own where left out.
    pub upload_ms: Option<u64>,
    /// How many bytes it stores, over all disks; by the VM's size where left out.
    pub size_bytes: Option<u64>,
}

impl From<UploadOutcome> for UploadScript {
    fn from(outcome: UploadOutcome) -> Self {
        Self { outcome, ..Self::default() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    pub vm: Uuid,
    pub parent: Option<Uuid>,
    /// Whether the create asked to delete a snapshot afterwards.
    pub delete: bool,
    pub outcome: UploadOutcome,
    pub started_us: i64,
    pub duration_us: i64,
    pub bytes: u64,
    pub steps_done: usize,
    pub written_bytes: u64,
}

/// One write to the record, in the order of the writes.
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

    pub(super) fn grows(&self) -> bool {
        (Step::Files as usize + 1..=Step::Checksums as usize).contains(&self.steps_done)
    }

    /// Says whether nothing more will come of it. A hanging upload never is: its snapshot stays busy.
    pub(super) fn is_over(&self) -> bool {
        self.steps_done == STEPS.len() && self.outcome != UploadOutcome::Hang
    }
}
