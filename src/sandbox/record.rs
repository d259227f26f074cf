//! What is recorded and what really exists of a backup, as plain data.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A backup's record as the coordinator keeps it: each key is written by itself, so any may be missing.
///
/// How it is shown depends on the style of the API, see [`Shape`](super::Shape).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The comment it was asked for with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When it was accepted, in microseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// Set when it is accepted, and never cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<bool>,
    /// FiFo's word for how far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Whether the zone's configuration is stored beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xml: Option<bool>,
    /// What it is an increment on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Uuid>,
    /// Whether the coordinator records its snapshot as on the hypervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<bool>,
    /// Bytes that its snapshot held when it was last measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_size: Option<u64>,
    /// Its stored objects by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<BTreeMap<String, FileRecord>>,
    /// The size at the top level of records older than the files' own sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Keys shown as they are, instead of the fields above: for malformed records.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Value>,
}

/// One stored object in a backup's record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Bytes so far.
    pub size: u64,
    /// Its SHA-1 in hexadecimal digits, once it is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
}

/// A ZFS snapshot that is really on the hypervisor, whatever the record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Bytes it holds.
    pub bytes: u64,
    /// Something holds on to it (a clone, say), so that destroying it does nothing.
    #[serde(default)]
    pub pinned: bool,
}

/// What is really in the store of one backup, whatever the record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Bytes, over all its objects.
    pub bytes: u64,
    /// The snapshot it must be applied on; `None` for a full one.
    pub base: Option<Uuid>,
    /// Whether `zfs receive` would take it.
    pub sound: bool,
    /// What `zfs send` wrote to its standard error: it is part of the object, in front of the gzip stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
}

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

/// The name of a disk's object in the store.
pub(super) fn object_name(vm: Uuid, backup: Uuid, disk: &str) -> String {
    format!("{vm}/{backup}{disk}")
}
