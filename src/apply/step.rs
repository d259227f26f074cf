//! How an action ends, as data. The sentences are in `render::words::steps`.

use super::action::{ActionKind, ActionOutcome};
use super::state::Alarm;
use crate::inventory::{BackupId, MissingFileInfo, RecordedState};
use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use http::StatusCode;

/// An action that succeeded.
#[derive(Debug)]
pub(crate) struct StepSuccess {
    /// The backup that was created or deleted, or whose snapshot was deleted.
    pub(crate) backup: BackupId,
    pub(crate) kind: SuccessKind,
}

#[derive(Debug)]
pub(crate) enum SuccessKind {
    /// FiFo has accepted the create, and the upload is not waited for.
    Started,
    Complete {
        bytes: Option<u64>,
        lacks: Option<MissingFact>,
    },
    /// The snapshot is deleted.
    Deleted {
        taken: Option<DateTime<FixedOffset>>,
        is_stored: bool,
    },
    AlreadyDeleted {
        taken: Option<DateTime<FixedOffset>>,
    },
    /// The backup is deleted from storage.
    Pruned {
        taken: DateTime<FixedOffset>,
        bytes: Option<u64>,
    },
    /// The first request found that the backup is not there.
    AlreadyPruned {
        taken: DateTime<FixedOffset>,
    },
}

/// What FiFo does not report about a complete backup.
#[derive(Debug)]
pub(crate) enum MissingFact {
    Checksum,
    LocalSnapshot,
}

/// Why an action did not succeed.
#[derive(Debug)]
pub(crate) enum StepError {
    /// It was not done, or went wrong.
    Failed(FailureReason),
    /// It is no longer wanted, or the VM has changed.
    Dropped(DropReason),
    /// A request was sent, and no reading shows whether it took effect.
    Unverified(UnverifiedReason),
    /// The next run does it.
    HandedOver(HandOverReason),
    /// The run is ending.
    Interrupted(InterruptReason),
    /// Backups have vanished that were to stay.
    Alarm(Alarm),
}

#[derive(Debug)]
pub(crate) enum FailureReason {
    /// The VM could not be read, with the error in words.
    UnreadableVm(String),
    /// The run does not have the policy of the VM.
    NoPolicy,
    /// The auditor rejects the fresh decision.
    AuditBroken(Vec<String>),
    /// A write did not take effect, and no repetition helps.
    Write {
        write: WriteState,
        failure: WriteFailure,
    },
    /// A create has no clear answer, and the list has no new backup.
    NoNewBackup(UnclearAnswer),
    /// A delete did not reach FiFo.
    DeleteNotSent(UnclearAnswer),
    /// A local delete has no clear answer, and the snapshot is still there.
    SnapshotStillThere(UnclearAnswer),
    /// A delete from storage has no clear answer, and the backup is still there.
    StillStored(UnclearAnswer),
    UploadFailed {
        backup: BackupId,
        bytes: u64,
    },
    UploadStuck {
        backup: BackupId,
        bytes: u64,
    },
    BackupVanished(BackupId),
    VmVanished(BackupId),
    /// FiFo reports the backup as completed, but it is not good.
    Faulty {
        backup: BackupId,
        fault: BackupFault,
    },
}

/// A write, as far as it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteState {
    pub(crate) kind: ActionKind,
    /// Whether an earlier request got no clear answer and may still take effect.
    pub(crate) is_open: bool,
}

#[derive(Debug)]
pub(crate) enum WriteFailure {
    Refused {
        status: StatusCode,
        permission: Option<String>,
    },
    /// 412 to a request without a condition.
    ChangedWithoutCondition,
    /// 412 to every request, each after another reading. It is not sent without a condition.
    AlwaysChanged,
    /// 401 to every request, with a token that is accepted elsewhere.
    Unauthorized,
    /// 429 to every request.
    TooMany,
    /// The request could not be made, with the error in words.
    NoRequest(String),
    ClocksDiffer {
        ours: DateTime<Utc>,
        server: DateTime<Utc>,
    },
}

/// An answer to a write that does not say whether it takes effect.
#[derive(Debug)]
pub(crate) enum UnclearAnswer {
    /// 500.
    Failed(StatusCode),
    /// 502, 503, 504.
    Unavailable(StatusCode),
    /// There was no answer, for this reason.
    Lost(String),
    /// There was no connection, for this reason.
    NotSent(String),
    /// 404 to a delete from storage: an earlier request, or somebody else, may have done it.
    NotFound,
}

/// What is wrong with a backup that FiFo reports as completed.
#[derive(Debug)]
pub(crate) enum BackupFault {
    NoTimestamp,
    Comment {
        found: Option<String>,
        wanted: String,
    },
    Parent {
        found: Option<BackupId>,
        wanted: Option<BackupId>,
    },
    AncestorMissing(BackupId),
    ParentsLoop(BackupId),
    ChainUnusable,
    /// A stored file is too small for a stream.
    TinyFile {
        bytes: u64,
    },
    /// A full backup is smaller than the policy allows.
    BelowMinimum {
        bytes: u64,
        min: u64,
    },
    /// What FiFo does not report about its files.
    Unverified(Option<MissingFileInfo>),
    NotCompleted,
}

#[derive(Debug)]
pub(crate) enum DropReason {
    /// The VM is on another hypervisor, where the run holds no slot.
    Moved,
    /// The VM is not as the plan was made from.
    Changed,
    BackupNotNeeded,
    SnapshotNeeded,
    NotListed(BackupId),
    GateClosed(CloseReason),
    /// The backup must not be deleted from storage now.
    Kept(KeepReason),
    StorageClosed(StorageClose),
    /// An upload counts as stuck, but moves.
    NotStuck(MovingUpload),
    AwaitsCreate,
}

/// Why a run starts no more local deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    Vanished,
    /// The delete of this backup's snapshot has an unknown result.
    Unknown(BackupId),
    /// FiFo accepted the delete of this backup's snapshot, which is still there.
    NoEffect(BackupId),
}

/// Why a backup that was to be deleted from storage stays, by what was read right before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepReason {
    /// A fresh decision does not list it.
    Wanted,
    /// The policy or the command does not say that it is deleted.
    NotRequested,
    /// FiFo would delete the files and keep the records.
    NoHypervisor,
    /// Its snapshot is on the hypervisor, or was deleted in this run.
    Local,
    /// This backup descends from it.
    Parent(BackupId),
    /// This accepted backup has not named its parent.
    UnknownParent(BackupId),
    /// It is less than an hour old by FiFo's clock, or has no timestamp.
    Young,
    /// No backup that can be restored is newer.
    NothingNewer,
    /// FiFo gives no version to make the delete conditional on, and truncates its list.
    NoProof,
    /// An earlier delete from storage of the same VM has failed.
    EarlierFailed,
}

/// Why a run deletes nothing more from storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StorageClose {
    /// It starts no more local deletes either.
    LocalDeletes(CloseReason),
    /// The delete of this backup has an unknown result.
    Unknown(BackupId),
    /// FiFo accepted the delete of this backup, which is still there.
    StillThere(BackupId),
}

/// An upload that is older than `stuck_after`, and was seen to move.
#[derive(Debug)]
pub(crate) struct MovingUpload {
    pub(crate) backup: BackupId,
    pub(crate) change: UploadChange,
    pub(crate) stuck_after: TimeDelta,
    pub(crate) policy: String,
    /// A `stuck_after` that would be long enough.
    pub(crate) advised: TimeDelta,
}

#[derive(Debug)]
pub(crate) enum UploadChange {
    Grew { from: u64, to: u64 },
    State { from: RecordedState, to: RecordedState },
}

#[derive(Debug)]
pub(crate) enum UnverifiedReason {
    /// FiFo accepted the create, but lists no new backup.
    CreateNotListed,
    /// FiFo accepted the create, and the VM could not be read, with the error in words.
    CreateUnknown(String),
    CreateUnclear {
        answer: UnclearAnswer,
        why: String,
    },
    /// FiFo accepted the local delete, but the snapshot is still there.
    DeleteNoEffect,
    /// FiFo accepted the local delete, and the VM could not be read, with the error in words.
    DeleteUnknown(String),
    DeleteUnclear {
        answer: UnclearAnswer,
        why: String,
    },
    /// FiFo accepted the delete from storage, but the backup is still there.
    PruneNoEffect,
    /// FiFo accepted the delete from storage, and the VM could not be read, with the error in words.
    PruneUnknown(String),
    /// The run ended after a delete from storage was sent and before its effect was known.
    PruneCutShort,
    PruneUnclear {
        answer: UnclearAnswer,
        why: String,
    },
    /// The upload can no longer be read, with the error in words.
    UploadUnreadable {
        backup: BackupId,
        why: String,
    },
}

#[derive(Debug)]
pub(crate) enum HandOverReason {
    SlotsInUse,
    MadeByAnotherRun {
        backup: BackupId,
        is_complete: bool,
    },
    /// A wait before the request was cut short.
    NotSent(HandOverCause),
    UploadRuns {
        backup: BackupId,
        cause: HandOverCause,
    },
    AwaitsCreate,
}

/// Why a run leaves what still waits to the next one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HandOverCause {
    Deadline,
    NextRunDue,
}

#[derive(Debug)]
pub(crate) enum InterruptReason {
    NotSent,
    UploadRuns(BackupId),
    AwaitsCreate,
}

impl StepSuccess {
    pub(super) fn outcome(&self) -> ActionOutcome {
        match self.kind {
            SuccessKind::Started => ActionOutcome::Started,
            SuccessKind::Complete { .. }
            | SuccessKind::Deleted { .. }
            | SuccessKind::AlreadyDeleted { .. }
            | SuccessKind::Pruned { .. }
            | SuccessKind::AlreadyPruned { .. } => ActionOutcome::Done,
        }
    }
}

impl StepError {
    pub(super) fn outcome(&self) -> ActionOutcome {
        match self {
            Self::Failed(_) | Self::Alarm(_) => ActionOutcome::Failed,
            Self::Dropped(_) => ActionOutcome::Dropped,
            Self::Unverified(_) => ActionOutcome::Unverified,
            Self::HandedOver(_) => ActionOutcome::HandedOver,
            Self::Interrupted(_) => ActionOutcome::Interrupted,
        }
    }
}

impl UnclearAnswer {
    /// Returns whether the request may be sent again once it is certain that it had no effect.
    pub(super) fn may_repeat(&self) -> bool {
        !matches!(self, Self::Failed(_) | Self::NotFound)
    }

    /// Returns whether FiFo may have received the request.
    pub(super) fn may_have_arrived(&self) -> bool {
        !matches!(self, Self::NotSent(_))
    }
}
