//! A VM of the simulated cloud, its backups and uploads, as plain data: what is recorded, and what really exists.

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
    pub pending: Option<bool>,
    pub state: Option<String>,
    pub xml: Option<bool>,
    pub parent: Option<Uuid>,
    /// Whether its snapshot is on the hypervisor, as far as the coordinator knows.
    pub local: Option<bool>,
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

const WRITTEN_EVERY_BYTES: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadOutcome {
    #[default]
    Complete,
    /// It fails; what comes after an upload (`local: true`, or what `delete` asked for) comes all the same.
    Fail,
    /// It fails and takes the agent's worker with it: `local` never appears.
    FailForgotten,
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
