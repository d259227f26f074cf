//! An action as events and reports name it: its VM, its kind, how it ended, and counts of these.

use crate::inventory::{BackupId, VmId};
use crate::plan::Action;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A VM, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize)]
pub struct VmRef {
    /// Its UUID.
    pub vm: VmId,
    /// Its alias.
    pub alias: String,
}

/// An action; of a create, the backup as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum ActionRef {
    /// A backup is created.
    Create {
        /// Its tier.
        tier: String,
        /// The backup it is taken from.
        parent: Option<BackupId>,
        /// The new backup, once it is known.
        backup: Option<BackupId>,
    },
    /// A snapshot is deleted on the hypervisor.
    DeleteLocal {
        /// The backup's tier.
        tier: String,
        /// The backup; `null` for the one that the VM's create makes, while there is none.
        backup: Option<BackupId>,
    },
    /// A backup is deleted from storage.
    DeleteCloud {
        /// The backup's tier.
        tier: String,
        /// The backup.
        backup: BackupId,
    },
}

/// The kinds of action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// A backup is created.
    Create,
    /// A snapshot is deleted on the hypervisor.
    DeleteLocal,
    /// A backup is deleted from storage.
    DeleteCloud,
}

/// The kinds of delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeleteKind {
    /// A snapshot is deleted on the hypervisor, and the stored copy stays.
    DeleteLocal,
    /// A backup is deleted from storage.
    DeleteCloud,
}

impl From<DeleteKind> for ActionKind {
    fn from(kind: DeleteKind) -> Self {
        match kind {
            DeleteKind::DeleteLocal => Self::DeleteLocal,
            DeleteKind::DeleteCloud => Self::DeleteCloud,
        }
    }
}

impl From<&Action> for ActionKind {
    fn from(action: &Action) -> Self {
        match action {
            Action::Create(_) => Self::Create,
            Action::DeleteLocal(_) => Self::DeleteLocal,
            Action::DeleteCloud(_) => Self::DeleteCloud,
        }
    }
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionOutcome {
    /// It is done, and a reading has shown it.
    Done,
    /// It was started; FiFo continues it, and the next run checks it.
    Started,
    /// It was not started, or not waited for to its end, and the next run does it: no slot was free in time, or it comes
    /// after an upload that was not waited for. Or another run has made the backup.
    #[serde(rename = "left")]
    HandedOver,
    /// It was not done.
    Failed,
    /// The request was sent, and no reading has shown its effect.
    Unverified,
    /// It is no longer wanted, or the VM has changed since the plan: nothing was done.
    Dropped,
    /// It was not started, or not waited for, because a signal ended the run, or backups had vanished elsewhere.
    Interrupted,
}

/// The counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
pub struct RunCounts {
    /// Backups that completed and were checked.
    pub created: usize,
    /// Backups that were started and not waited for.
    pub started: usize,
    /// Actions that were left to the next run.
    pub left: usize,
    /// Snapshots that were deleted, as a reading has shown.
    pub deleted_local: usize,
    /// Backups that were deleted from storage, as a reading has shown.
    pub deleted_cloud: usize,
    /// Actions that failed, or whose effect no reading has shown.
    pub failed: usize,
    /// Actions that were no longer wanted, or whose VM had changed since the plan.
    pub dropped: usize,
    /// Actions that the end of the run cut off.
    pub interrupted: usize,
}
