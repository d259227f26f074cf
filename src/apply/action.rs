//! An action as events and reports name it: its VM, its kind, how it ended, and counts of these.

use crate::inventory::{BackupId, VmId};
use crate::plan::Action;
use schemars::JsonSchema;
use serde::Serialize;

/// A VM, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize)]
pub struct VmRef {
    /// Its UUID.
    pub vm: VmId,
    /// Its alias.
    pub alias: String,
}

/// An action, as far as it is known.
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
        /// The backup.
        backup: BackupId,
    },
}

/// The kinds of action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActionKind {
    /// A backup is created.
    Create,
    /// A snapshot is deleted on the hypervisor.
    DeleteLocal,
}

impl From<&Action> for ActionKind {
    fn from(action: &Action) -> Self {
        match action {
            Action::Create(_) => Self::Create,
            Action::DeleteLocal(_) => Self::DeleteLocal,
        }
    }
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionOutcome {
    /// It is done, and was seen to be.
    Done,
    /// It was started and is left to FiFo and the next run.
    Started,
    /// It was not begun, or not waited for to its end: there was no place for it in time, or it comes after something that
    /// was not waited for, and the next run does it; or another run has made the backup.
    #[serde(rename = "left")]
    HandedOver,
    /// It was not done.
    Failed,
    /// It was asked for, and no reading has shown that it happened.
    Unverified,
    /// It is no longer wanted, or the VM has changed since the plan: nothing was done.
    Dropped,
    /// It was not begun, or not waited for, because the run was told to end, or backups had vanished elsewhere.
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
    /// Snapshots that were deleted, and seen to be.
    pub deleted_local: usize,
    /// Actions that failed or that no reading has shown to have happened.
    pub failed: usize,
    /// Actions that were no longer wanted, or whose VM had changed since the plan.
    pub dropped: usize,
    /// Actions that the end of the run cut off.
    pub interrupted: usize,
}
