//! How the uploads of a VM are to end.

use serde::{Deserialize, Serialize};

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

/// How the upload of one create goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadScript {
    pub outcome: UploadOutcome,
    /// How long it takes from being accepted until all is written, in milliseconds; the world's own where left out.
    #[serde(default)]
    pub upload_ms: Option<u64>,
    /// How many bytes it stores, over all disks; by the VM's size where left out.
    #[serde(default)]
    pub size_bytes: Option<u64>,
}

impl From<UploadOutcome> for UploadScript {
    fn from(outcome: UploadOutcome) -> Self {
        Self { outcome, ..Self::default() }
    }
}
