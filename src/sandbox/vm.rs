//! A VM of the simulated cloud and its backups, as plain data: what is recorded, and what really exists.

use super::script::{UploadOutcome, UploadScript};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use uuid::Uuid;

/// A VM, with what is really there of its backups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vm {
    /// Its fields as FiFo shows them, all but `uuid` and `backups`. A field of such a name here is shown in their place.
    pub fields: BTreeMap<String, Value>,
    pub backups: BTreeMap<Uuid, Record>,
    /// The suffixes of its disks' objects in the store; a zone has one disk, without.
    pub disks: Vec<String>,
    /// What a full backup of it takes, in bytes.
    pub full_bytes: u64,
    /// The snapshots that are really on its hypervisor.
    pub snapshots: BTreeMap<Uuid, Snapshot>,
    /// What is really in the store.
    pub stored: BTreeMap<Uuid, Stored>,
    /// The scripts of its next uploads, in turn.
    pub fates: VecDeque<UploadScript>,
    /// The outcome of the uploads after these; the world's where it is `None`.
    pub outcome: Option<UploadOutcome>,
    /// The outcome of full ones among them, where it is another.
    #[serde(default)]
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
        let fields = match fields {
            Value::Object(fields) => fields.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        Self { fields, disks: vec![String::new()], full_bytes: 1 << 30, ..Self::default() }
    }

    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.fields.insert(field.to_owned(), value);
        self
    }

    /// Returns the hypervisor it is on.
    pub fn hypervisor(&self) -> Option<&str> {
        self.fields.get("hypervisor").and_then(Value::as_str).filter(|name| !name.is_empty())
    }

    /// Says whether it has delegated datasets.
    pub fn has_delegated_datasets(&self) -> bool {
        let datasets = self.fields.get("config").and_then(|config| config.get("datasets"));
        datasets.and_then(Value::as_array).is_some_and(|datasets| !datasets.is_empty())
    }

    /// What its snapshots hold, each.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { bytes: self.full_bytes / 64, pinned: false }
    }
}

/// A backup's record as the coordinator keeps it: each key is written by itself, so any may be missing.
///
/// The fields are called as FiFo shows them; the styles of the API differ in files and sizes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The comment it was asked for with.
    pub comment: Option<String>,
    /// When it was accepted, in microseconds since the Unix epoch, by the coordinator's clock.
    pub timestamp: Option<i64>,
    /// Set when it is accepted, and never cleared.
    pub pending: Option<bool>,
    /// FiFo's word for how far it is.
    pub state: Option<String>,
    /// Whether the zone's configuration is stored beside it.
    pub xml: Option<bool>,
    /// What it is an increment on.
    pub parent: Option<Uuid>,
    /// Whether the coordinator records its snapshot as on the hypervisor.
    pub local: Option<bool>,
    /// Bytes that its snapshot held when it was last measured.
    pub local_size: Option<u64>,
    /// Its stored objects by name.
    pub files: Option<BTreeMap<String, FileRecord>>,
    /// The size at the top level of records older than the files' own sizes.
    pub size: Option<u64>,
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

/// The name of a disk's object in the store.
pub(super) fn object_name(vm: Uuid, backup: Uuid, disk: &str) -> String {
    format!("{vm}/{backup}{disk}")
}
