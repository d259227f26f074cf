use serde::{Deserialize, Serialize};

/// What becomes of an upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadOutcome {
    /// It is stored whole.
    #[default]
    Complete,
    /// It fails; what comes after an upload (`local: true`, or what `delete` asked for) comes all the same.
    Fail,
    /// It fails and takes the agent's worker with it: `local` never appears.
    FailForgotten,
    /// It stays `uploading` for ever.
    Hang,
    /// `zfs send` fails and nobody notices: `completed`, with some fifty bytes of error message.
    Hollow,
    /// It is stored whole and `completed`, but its files are never on record.
    NoFiles,
    /// It is stored whole and `completed`, but the checksums of its files are never on record.
    NoChecksums,
    /// Nothing is stored, and nobody notices: `completed`, with files of no bytes.
    NoBytes,
    /// The agent could not be reached: accepted, and so for ever.
    NeverStarts,
    /// The store could not be reached: the snapshot is there (`local_size` > 0), and nothing else ever is.
    SnapshotOnly,
}

/// What one create is to become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadScript {
    /// How it ends.
    pub outcome: UploadOutcome,
    /// How long it takes from being accepted until all is written, in milliseconds; the world's own where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_ms: Option<u64>,
    /// How many bytes it stores, over all disks; by the VM's size where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

impl From<UploadOutcome> for UploadScript {
    fn from(outcome: UploadOutcome) -> Self {
        Self { outcome, ..Self::default() }
    }
}
