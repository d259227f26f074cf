//! A VM of the simulated cloud.

use super::record::{Record, Snapshot, Stored, UploadOutcome, UploadScript};
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
}
