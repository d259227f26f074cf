//! What a plan reports about VMs and backups besides its actions: data, put into words by `render`.

use crate::inventory::{BackupId, MissingFileInfo};
use crate::policy::Name;
use chrono::{DateTime, FixedOffset, NaiveDate};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;

/// Something that is reported about a VM or one of its backups. Its `Display` is the whole sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The backup it is about; `None` when it is about the VM.
    pub backup: Option<BackupId>,
    /// What it says.
    pub kind: NoteKind,
}

/// What a [`Note`] says. In memory there are some for each VM of a cloud, most of them [`Expired`](Self::Expired), so
/// what would make it larger than that one is boxed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// What was planned for the VM breaks a rule.
    InternalError {
        /// All that a bug report needs.
        report: String,
    },
    /// The VM could not be read completely.
    Unreadable {
        /// What is wrong with it, each with its place.
        problems: Vec<String>,
    },
    /// A backup's record has no timestamp.
    NoTimestamp(BackupId),
    /// Several policies claim the VM.
    PolicyConflict {
        /// Their names.
        policies: Vec<String>,
        /// The priority that they share.
        priority: i64,
    },
    /// The VM matches no policy.
    Unprotected,
    /// The policy is suspended for the VM.
    Suspended {
        /// The first day on which it no longer is, in the policy's zone.
        until: NaiveDate,
        /// Why, in the words of the policy.
        reason: String,
    },
    /// A suspension has passed its date.
    SuspensionEnded {
        /// The first day on which it no longer holds, in the policy's zone.
        until: NaiveDate,
        /// Why, in the words of the policy.
        reason: String,
    },
    /// The VM is on no hypervisor.
    NoHypervisor {
        /// Its state; may be empty.
        state: String,
        /// Its newest restorable backup.
        newest: Option<Box<BackupName>>,
    },
    /// The VM has delegated datasets.
    DelegatedDatasets {
        /// Its newest restorable backup.
        newest: Option<Box<BackupName>>,
    },
    /// The VM's state allows no backup.
    VmState {
        /// The state.
        state: BlockingState,
        /// Its newest restorable backup.
        newest: Option<Box<BackupName>>,
    },
    /// A backup is running.
    InProgress {
        /// The backup.
        backup: Box<BackupName>,
        /// How much of it is stored.
        size_bytes: Option<u64>,
    },
    /// A failed backup will be tried again later.
    RetryLater(FailedAttempts),
    /// All attempts for a tier have failed for now.
    GaveUp(FailedAttempts),
    /// An incremental backup has no parent.
    NoParent {
        /// Its tier.
        tier: Name,
        /// The backup that would be the parent, if the last increment on it were not empty; `None` where there is none.
        emptied: Option<Box<BackupName>>,
        /// What is done about it.
        instead: InsteadOfIncrement,
    },
    /// FiFo reports a backup as completed, without the size or checksum of one of its files.
    Unverified {
        /// The backup.
        backup: Box<BackupName>,
        /// What its record lacks.
        missing: Option<MissingFileInfo>,
        /// Until when it counts as in progress; `None` where it counts as failed already.
        in_progress_until: Option<DateTime<FixedOffset>>,
    },
    /// A backup did not end in the time it may take.
    Stuck(Box<BackupName>),
    /// A backup failed.
    FailedBackup(Box<BackupName>),
    /// FiFo reports a backup as completed, and it is next to empty.
    Hollow {
        /// The backup.
        backup: Box<BackupName>,
        /// Its stored bytes, where known.
        size_bytes: Option<u64>,
    },
    /// A completed backup cannot be restored from storage.
    Unrestorable(Box<BackupName>),
    /// A backup's timestamp lies in the future.
    FutureTimestamp {
        /// The backup.
        backup: Box<BackupName>,
        /// Whether its time is waited for before another backup is made.
        is_waited_for: bool,
    },
    /// A deleted snapshot is still there.
    OrphanedSnapshot {
        /// The backup.
        backup: Box<BackupName>,
        /// The bytes that it holds on the hypervisor.
        size_bytes: u64,
    },
    /// A backup matches no tier.
    Unmanaged(Box<BackupName>),
    /// More stored backups would be deleted at once than a healthy policy ever lets expire, so none is.
    OverPruneLimit(OverLimit),
    /// Stored backups of a tier are no longer wanted, and are not deleted.
    Expired(ExpiredBackups),
}

/// The stored backups of a tier that are no longer wanted, and that no action of the plan deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredBackups {
    /// The tier.
    pub tier: Name,
    /// How many there are.
    pub count: u32,
    /// Their stored bytes, as far as known.
    pub size_bytes: u64,
    /// When the oldest was taken, in the policy's zone.
    pub oldest: DateTime<FixedOffset>,
    /// Why they are not deleted from storage.
    pub hold: PruneHold,
}

/// Why an expired backup is not deleted from storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneHold {
    /// The policy does not say `prune: true`.
    NotAllowed,
    /// The command does not say `--prune`.
    NotRequested,
    /// The VM is on no hypervisor, or FiFo cannot back it up now. Of a VM on no hypervisor FiFo deletes the files and keeps
    /// the records, which then look restorable.
    CannotBackUp,
    /// The newest restorable backup is older than `max_age`: old ones must not go while no new ones come.
    NewestTooOld,
    /// An accepted backup has not named its parent yet, and that may be any.
    UnknownParent,
    /// More of the VM's backups would go at once than a healthy policy ever lets expire.
    OverLimit,
    /// It, or one that descends from it, still holds a snapshot, is less than an hour old, is in a state that is not known
    /// here, or is in a loop of parents.
    NotYet,
}

/// More backups of a VM than may go at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// How many of its completed backups would be expired even without those of the last 8 days.
    pub expired: usize,
    /// How many may be.
    pub limit: usize,
}

/// What is made where an increment has no parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InsteadOfIncrement {
    /// A full backup of its tier.
    Full,
    /// The full backup of this coarser tier, which is due.
    FullOf(Name),
    /// Nothing, by `missing_parent: block`.
    Nothing,
}

/// What a backup is called: `weekly of 2026-11-22 01:00`, and one of no tier by its comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupName {
    /// What stands for its kind.
    pub label: BackupLabel,
    /// When it was taken, in the policy's zone.
    pub taken: DateTime<FixedOffset>,
}

/// What stands for the kind of a backup in its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupLabel {
    /// Its tier.
    Tier(Name),
    /// The comment of one of no tier.
    Comment(Option<String>),
}

/// A state in which FiFo takes no backup of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockingState {
    /// The VM is being created.
    Creating,
    /// The VM is being deleted.
    Deleting,
    /// Another one, by FiFo's name; may be empty.
    Other(String),
}

/// The failed attempts at a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAttempts {
    /// The tier.
    pub tier: Name,
    /// How many there were.
    pub failed: u32,
    /// From when on it is tried again, in the policy's zone.
    pub next_at: DateTime<FixedOffset>,
}

impl Note {
    /// Makes a note about a VM.
    pub fn vm(kind: NoteKind) -> Self {
        Self { backup: None, kind }
    }

    /// Makes a note about a backup.
    pub fn backup(backup: BackupId, kind: NoteKind) -> Self {
        Self { backup: Some(backup), kind }
    }

    /// Returns the code that stands for its kind in JSON.
    pub fn code(&self) -> NoteCode {
        match self.kind {
            NoteKind::InternalError { .. } => NoteCode::InternalError,
            NoteKind::Unreadable { .. } | NoteKind::NoTimestamp(_) => NoteCode::Unreadable,
            NoteKind::PolicyConflict { .. } => NoteCode::PolicyConflict,
            NoteKind::Unprotected => NoteCode::Unprotected,
            NoteKind::Suspended { .. } => NoteCode::Suspended,
            NoteKind::SuspensionEnded { .. } => NoteCode::SuspensionEnded,
            NoteKind::NoHypervisor { .. } => NoteCode::NoHypervisor,
            NoteKind::DelegatedDatasets { .. } => NoteCode::DelegatedDatasets,
            NoteKind::VmState { .. } => NoteCode::VmState,
            NoteKind::InProgress { .. } => NoteCode::InProgress,
            NoteKind::RetryLater(_) => NoteCode::RetryLater,
            NoteKind::GaveUp(_) => NoteCode::GaveUp,
            NoteKind::NoParent { .. } => NoteCode::NoParent,
            NoteKind::Unverified { .. } => NoteCode::Unverified,
            NoteKind::Stuck(_) => NoteCode::Stuck,
            NoteKind::FailedBackup(_) => NoteCode::FailedBackup,
            NoteKind::Hollow { .. } => NoteCode::Hollow,
            NoteKind::Unrestorable(_) => NoteCode::Unrestorable,
            NoteKind::FutureTimestamp { .. } => NoteCode::FutureTimestamp,
            NoteKind::OrphanedSnapshot { .. } => NoteCode::OrphanedSnapshot,
            NoteKind::Unmanaged(_) => NoteCode::Unmanaged,
            NoteKind::OverPruneLimit(_) => NoteCode::OverPruneLimit,
            NoteKind::Expired(_) => NoteCode::Expired,
        }
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let note = SavedNote { code: self.code(), backup: self.backup, message: self.to_string() };
        note.serialize(serializer)
    }
}

impl JsonSchema for Note {
    fn schema_name() -> Cow<'static, str> {
        SavedNote::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        SavedNote::json_schema(generator)
    }
}

/// Something that is reported and not done.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Note")]
pub struct SavedNote {
    /// What kind of thing.
    pub code: NoteCode,
    /// The backup it is about; `None` when it is about the VM.
    pub backup: Option<BackupId>,
    /// The whole of it, for people.
    pub message: String,
}

/// The kinds of [`Note`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteCode {
    /// What was planned for the VM breaks a rule: a fault of this program, with all that a report of it needs.
    InternalError,
    /// The VM, or a backup's record, could not be read.
    Unreadable,
    /// Two policies claim the VM.
    PolicyConflict,
    /// The VM matches no policy.
    Unprotected,
    /// The policy is suspended for the VM: nothing is carried out.
    Suspended,
    /// A suspension has passed its date and no longer holds.
    SuspensionEnded,
    /// The VM is on no hypervisor.
    NoHypervisor,
    /// The VM has delegated datasets.
    DelegatedDatasets,
    /// The VM's state allows no backup.
    VmState,
    /// A backup is running.
    InProgress,
    /// A failed backup will be tried again later.
    RetryLater,
    /// All attempts for a tier have failed for now.
    GaveUp,
    /// An incremental one has no parent.
    NoParent,
    /// FiFo reports a backup as completed, without the size or checksum of one of its files.
    Unverified,
    /// A backup did not end in the time it may take.
    Stuck,
    /// A backup failed.
    FailedBackup,
    /// FiFo reports a backup as completed, and it is next to empty.
    Hollow,
    /// A completed backup cannot be restored from storage.
    Unrestorable,
    /// A backup's timestamp lies in the future.
    FutureTimestamp,
    /// A snapshot is still there that was said to be deleted.
    OrphanedSnapshot,
    /// A backup matches no tier.
    Unmanaged,
    /// More stored backups would be deleted at once than a healthy policy ever lets expire, so none is.
    OverPruneLimit,
    /// Stored backups of a tier are no longer wanted, and are not deleted.
    Expired,
}
