//! A VM of the simulated cloud and its backups, as plain data: what is recorded, and what really exists.

use super::upload::{UploadOutcome, UploadScript, WRITTEN_EVERY_BYTES};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use uuid::Uuid;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vm {
    /// Its fields as FiFo shows them, all but `uuid` and `backups`. A field of such a name here is shown in their place.
    pub fields: BTreeMap<String, Value>,
    pub backups: BTreeMap<Uuid, Record>,
    /// The suffixes of its disks' objects in the store; a zone has one disk, without.
    pub disks: Vec<String>,
    pub full_bytes: u64,
    pub snapshots: BTreeMap<Uuid, Snapshot>,
    pub stored: BTreeMap<Uuid, Stored>,
    pub scripts: VecDeque<UploadScript>,
    /// The outcome of the uploads after these; the world's where it is `None`.
    pub outcome: Option<UploadOutcome>,
    /// The outcome of full ones among them, where it is another.
    pub full_outcome: Option<UploadOutcome>,
}

impl Vm {
    /// Makes a running zone without backups on a hypervisor; an empty hypervisor is none.
    pub fn new(alias: &str, hypervisor: &str) -> Self {
        let fields = json!({
            "alias": alias, "config": {"alias": alias}, "created_at": 0, "created_by": "", "creating": false,
            "dataset": "", "deleting": false, "docker": {}, "fw_rules": [], "groupings": [],
            "hypervisor": hypervisor, "info": {}, "log": [], "metadata": {}, "network_mappings": {},
            "owner": "", "package": "", "services": {}, "snapshots": {}, "state": "running", "vm_type": "zone",
        });
        let Value::Object(fields) = fields else { return Self::default() };
        Self {
            fields: fields.into_iter().collect(),
            disks: vec![String::new()],
            full_bytes: 1 << 30,
            ..Self::default()
        }
    }

    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.fields.insert(field.to_owned(), value);
        self
    }

    pub fn hypervisor(&self) -> Option<&str> {
        self.fields.get("hypervisor").and_then(Value::as_str).filter(|name| !name.is_empty())
    }

    pub fn has_delegated_datasets(&self) -> bool {
        let datasets = self.fields.get("config").and_then(|config| config.get("datasets"));
        datasets.and_then(Value::as_array).is_some_and(|datasets| !datasets.is_empty())
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { bytes: self.full_bytes / 64, pinned: false }
    }

    /// What an upload stores unless its script says otherwise: an increment is about a thirtieth of the whole.
    pub(super) fn usual_bytes(&self, parent: Option<Uuid>) -> u64 {
        if parent.is_some() { (self.full_bytes / 32).max(WRITTEN_EVERY_BYTES) } else { self.full_bytes }
    }
}

/// A backup's record as the coordinator keeps it: each key is written by itself, so any may be missing.
///
/// The fields are called as FiFo shows them; the styles of the API differ in files and sizes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    pub comment: Option<String>,
    /// When it was accepted, in microseconds since the Unix epoch, by the coordinator's clock.
    pub timestamp: Option<i64>,
    /// Set when it is accepted, and never cleared.
    pub pending: Option<bool>,
    pub state: Option<String>,
    /// Whether the zone's configuration is stored beside it.
    pub xml: Option<bool>,
    pub parent: Option<Uuid>,
    /// Whether its snapshot is on the hypervisor, as far as the coordinator knows.
    pub local: Option<bool>,
    /// Bytes that its snapshot held when it was last measured.
    pub local_size: Option<u64>,
    pub files: Option<BTreeMap<String, FileRecord>>,
    /// The size at the top level of records older than the files' own sizes.
    pub size: Option<u64>,
}

impl Record {
    /// Writes what a local delete writes at once, before the snapshot is gone.
    pub(super) fn forget_snapshot(&mut self) {
        (self.local, self.local_size) = (Some(false), Some(0));
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    pub size: u64,
    /// Its SHA-1 in hexadecimal digits, once it is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
}

/// A ZFS snapshot that is really on the hypervisor, whatever the record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub bytes: u64,
    /// Something holds on to it (a clone, say), so that destroying it does nothing.
    pub pinned: bool,
}

/// What is really in the store of one backup, whatever the record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub bytes: u64,
    /// The snapshot it must be applied on; `None` for a full one.
    pub base: Option<Uuid>,
    /// Whether `zfs receive` would take it.
    pub sound: bool,
    /// What `zfs send` wrote to its standard error: it is part of the object, in front of the gzip stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
}

pub(super) fn object_name(vm: Uuid, backup: Uuid, disk: &str) -> String {
    format!("{vm}/{backup}{disk}")
}
