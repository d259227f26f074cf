//! The change set: what is to be done, to which VM, and why; and its JSON form.
//!
//! A saved plan is the same, read back strictly: an unknown field is an error.

use super::note::{Note, NoteCode};
use crate::inventory::{Backup, BackupId, VmId};
use crate::policy::Name;
use chrono::{DateTime, FixedOffset, NaiveDate, Utc};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

/// The format of this version's plans. A plan of another format is refused.
pub const FORMAT: &str = "fifo-retain.plan/1";

/// The program and version that makes plans.
pub const TOOL: &str = concat!("fifo-retain ", env!("CARGO_PKG_VERSION"));

/// Gives the JSON Schema (2020-12) of a plan as it is written: every field is there, and no other one is.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Plan>()
}

/// A whole plan.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[schemars(title = "fifo-retain plan")]
pub struct Plan {
    /// The format and its version.
    #[schemars(extend("const" = FORMAT))]
    pub format: String,
    /// The program and version that made it.
    pub tool: String,
    /// The instant it was made for.
    pub at: DateTime<Utc>,
    /// The earliest instant at which the same policies on the same inventory would decide otherwise; `None` for never.
    pub valid_until: Option<DateTime<Utc>>,
    /// The FiFo it is for.
    pub endpoint: String,
    /// The IANA name of the zone in which texts and offsets show times.
    pub timezone: String,
    /// The policies it was made from, by name.
    pub policies: Vec<PolicyRef>,
    /// The counts.
    pub summary: Summary,
    /// The VMs, by alias, then UUID.
    pub vms: Vec<VmPlan>,
    /// Of everything above, so that a plan that was edited or damaged is not carried out.
    pub checksum: String,
}

/// A policy that a plan was made from.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRef {
    /// Its name.
    pub name: String,
    /// The file it was read from.
    pub file: String,
    /// The SHA-256 of that file, in hexadecimal digits.
    pub sha256: String,
}

/// The counts of a plan. Actions of suspended VMs are not counted: they are not going to be carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Backups to create.
    pub create: usize,
    /// Snapshots to delete on hypervisors, those of new backups among them.
    pub delete_local: usize,
    /// Backups to delete from storage, for good.
    pub delete_cloud: usize,
    /// VMs with nothing to do.
    pub up_to_date: usize,
    /// VMs that wait for something that will pass by itself.
    pub waiting: usize,
    /// VMs that need a backup and cannot have it.
    pub blocked: usize,
    /// VMs in no policy.
    pub unprotected: usize,
    /// VMs that two policies claim.
    pub conflict: usize,
    /// VMs that are left out because of a fault of this program.
    pub fault: usize,
    /// VMs that could not be read whole.
    pub unreadable: usize,
    /// VMs whose actions are held back by a suspension.
    pub suspended: usize,
    /// Completed backups on record, over all VMs of the plan that could be read.
    pub stored: usize,
    /// What backups of no tier hold on hypervisors, over all VMs that belong to a policy.
    pub unmanaged: SnapshotUsage,
}

/// What backups hold on hypervisors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotUsage {
    /// How many snapshots.
    pub snapshots: usize,
    /// How many bytes of VMs' quotas, as far as FiFo has measured them.
    pub size_bytes: u64,
}

impl SnapshotUsage {
    /// Counts what some backups hold; those without a snapshot hold nothing.
    pub fn of<'a>(backups: impl IntoIterator<Item = &'a Backup>) -> Self {
        backups.into_iter().filter(|backup| backup.holds_snapshot()).fold(Self::default(), |held, backup| {
            held.plus(Self { snapshots: 1, size_bytes: backup.local_size_bytes.unwrap_or(0) })
        })
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            snapshots: self.snapshots + other.snapshots,
            size_bytes: self.size_bytes.saturating_add(other.size_bytes),
        }
    }
}

/// What is planned for one VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmPlan {
    /// Its UUID; `None` only for an element of the list in which not even that could be read.
    pub uuid: Option<VmId>,
    /// Its alias; may be empty.
    pub alias: String,
    /// The policy it belongs to.
    pub policy: Option<Name>,
    /// How it stands.
    pub status: Status,
    /// What the decision rests on, digested; `None` for a VM that could not be read.
    pub fingerprint: Option<String>,
    /// The suspension that holds back its actions: they are shown and not carried out. `None` when none holds.
    // Serde takes a missing `Option` for `None`, and a plan that does not say so must not pass for one that is carried out.
    #[serde(deserialize_with = "Option::deserialize")]
    pub suspended: Option<Box<SuspendedUntil>>,
    /// What is to be done, in this order.
    pub actions: Vec<Action>,
    /// What is reported about it.
    pub notes: Vec<Note>,
    /// What its backups of no tier hold on the hypervisor. Nothing ever deletes that; zero for a VM without a policy.
    pub unmanaged: SnapshotUsage,
    /// How many completed backups are on record.
    pub stored: usize,
    /// How many deletes from storage would be too many at once, so that none is planned; 0 within the limit, and while the VM
    /// is suspended. The note on it has the number for people.
    #[serde(skip)]
    pub refused_deletes: usize,
}

impl VmPlan {
    pub fn is_suspended(&self) -> bool {
        self.suspended.is_some()
    }

    /// Gives the actions that are to be carried out: none while the VM is suspended.
    pub fn due_actions(&self) -> &[Action] {
        if self.is_suspended() { &[] } else { &self.actions }
    }

    pub fn cloud_deletes(&self) -> usize {
        self.due_actions().iter().filter(|action| action.is_cloud_delete()).count()
    }

    /// Says whether something is wrong with it that no action of the plan puts right: then a run ends with exit code 3.
    pub fn is_in_trouble(&self) -> bool {
        matches!(self.status, Status::Fault | Status::Conflict | Status::Unreadable)
            || self.note(NoteCode::GaveUp).is_some()
            || self.refused_deletes > 0
    }

    pub fn note(&self, code: NoteCode) -> Option<&Note> {
        self.notes.iter().find(|note| note.code == code)
    }
}

/// A suspension that holds at the plan's instant.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuspendedUntil {
    /// The first day on which it no longer holds, in the policy's zone.
    pub until: NaiveDate,
    /// Why, in the words of the policy.
    pub reason: String,
}

/// How a VM stands. `Changes` when there is an action, else the strongest of the others, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// There is something to do.
    Changes,
    /// What was planned for it breaks a rule, which is a fault of this program; nothing is done to it.
    Fault,
    /// It could not be read whole; nothing is done to it.
    Unreadable,
    /// Several policies claim it; nothing is done to it.
    Conflict,
    /// A backup is due and cannot be taken.
    Blocked,
    /// A backup is running, or a failed one is to be tried again later.
    Waiting,
    /// It matches no policy; nothing is done to it.
    Unprotected,
    /// All is as the policy wants it.
    #[default]
    UpToDate,
}

/// One step of a plan, so specific that carrying it out leaves nothing to decide.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Create a backup.
    Create(Create),
    /// Destroy a backup's snapshot on the hypervisor; the stored backup stays.
    DeleteLocal(DeleteLocal),
    /// Delete an expired backup from storage, for good.
    DeleteCloud(DeleteCloud),
}

impl Action {
    pub fn is_create(&self) -> bool {
        matches!(self, Self::Create(_))
    }

    pub fn is_local_delete(&self) -> bool {
        matches!(self, Self::DeleteLocal(_))
    }

    pub fn is_cloud_delete(&self) -> bool {
        matches!(self, Self::DeleteCloud(_))
    }

    pub fn as_create(&self) -> Option<&Create> {
        if let Self::Create(create) = self { Some(create) } else { None }
    }

    pub fn as_local_delete(&self) -> Option<&DeleteLocal> {
        if let Self::DeleteLocal(delete) = self { Some(delete) } else { None }
    }

    pub fn as_cloud_delete(&self) -> Option<&DeleteCloud> {
        if let Self::DeleteCloud(delete) = self { Some(delete) } else { None }
    }
}

/// A backup to create.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// The tier it is for.
    pub tier: Name,
    /// Full or incremental. A full one under an incremental tier is what `missing_parent: full` asks for.
    #[serde(rename = "type")]
    pub kind: BackupKind,
    /// The backup to take it from; `None` for a full one.
    pub parent: Option<BackupId>,
    /// The parent's tier.
    pub parent_tier: Option<Name>,
    /// When the parent was taken, in the policy's zone.
    pub parent_taken: Option<DateTime<FixedOffset>>,
    /// The comment it is to carry.
    pub comment: String,
    /// The occurrence that it is for, in the policy's zone.
    pub due_since: DateTime<FixedOffset>,
    /// Why, for people.
    pub reason: String,
    /// Whether an attempt at it has failed before.
    #[serde(skip)]
    pub is_retry: bool,
}

/// A snapshot to delete on the hypervisor.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteLocal {
    /// The backup; `None` for the one that the VM's create makes.
    // Serde takes a missing `Option` for `None`, and a damaged plan must not name the new backup by leaving out another.
    #[serde(deserialize_with = "Option::deserialize")]
    pub backup: Option<BackupId>,
    /// Its tier.
    pub tier: Name,
    /// When it was taken, in the policy's zone; `None` for the new backup.
    #[serde(deserialize_with = "Option::deserialize")]
    pub taken: Option<DateTime<FixedOffset>>,
    /// Whether it waits until the VM's create has completed; it is not done at all if that fails.
    pub after_create: bool,
    /// Why, for people.
    pub reason: String,
}

/// An expired backup to delete from storage. Nothing descends from it but what is deleted before.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteCloud {
    /// The backup.
    pub backup: BackupId,
    /// Its tier.
    pub tier: Name,
    /// When it was taken, in the policy's zone.
    pub taken: DateTime<FixedOffset>,
    /// Its stored bytes; `None` where FiFo does not tell them.
    // Serde takes a missing `Option` for `None`.
    #[serde(deserialize_with = "Option::deserialize")]
    pub size_bytes: Option<u64>,
    /// Why, for people.
    pub reason: String,
}

/// What a backup is in itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupKind {
    /// Complete in itself.
    Full,
    /// The difference to a parent.
    Incremental,
}
