//! An action as events and reports name it, and how it ended: an outcome, a stable code and a sentence, made where the
//! ending arises.

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

/// The kinds of action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// A backup is created.
    Create,
    /// A snapshot is deleted on the hypervisor, and the stored copy stays.
    #[default]
    DeleteLocal,
    /// A backup is deleted from storage.
    DeleteCloud,
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

/// An action, as events name it.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct ActionRef {
    /// Its kind.
    #[serde(rename = "action")]
    pub kind: ActionKind,
    /// The backup's tier.
    pub tier: String,
    /// Of a create, the backup it is taken from; null for a full one and for deletes.
    pub parent: Option<BackupId>,
    /// The backup. Null for a create whose backup is not known yet, and for the delete of the snapshot of one that does not
    /// exist yet.
    pub backup: Option<BackupId>,
}

impl From<&Action> for ActionRef {
    fn from(action: &Action) -> Self {
        let (tier, parent, backup) = match action {
            Action::Create(create) => (&create.tier, create.parent, None),
            Action::DeleteLocal(delete) => (&delete.tier, None, delete.backup),
            Action::DeleteCloud(delete) => (&delete.tier, None, Some(delete.backup)),
        };
        Self { kind: ActionKind::from(action), tier: tier.to_string(), parent, backup }
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
    /// It was not started, or not waited for to its end, and the next run decides on it: no slot was free in time, it comes
    /// after an upload that was not waited for, another run has made the backup, or the VM does not need it any more.
    #[serde(rename = "left")]
    HandedOver,
    /// It was not done.
    Failed,
    /// The request was sent, and no reading has shown its effect.
    Unverified,
    /// The VM has changed since the plan, or a check found that the action must not be done now: nothing was done.
    Dropped,
    /// It was not started, or not waited for, because a signal ended the run, or backups had vanished elsewhere.
    Interrupted,
}

#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) outcome: ActionOutcome,
    /// A stable word for the kind of ending, which docs/json.md lists.
    pub(super) code: &'static str,
    /// What happened and what to do, for people.
    pub(super) message: String,
    /// What tells failures of one code apart, such as the status of an answer.
    pub(super) detail: Option<u16>,
    /// The backup that a create has made.
    pub(super) made: Option<BackupId>,
}

impl Ended {
    pub(super) fn new(outcome: ActionOutcome, code: &'static str, message: impl Into<String>) -> Self {
        Self { outcome, code, message: message.into(), detail: None, made: None }
    }

    pub(super) fn done(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ActionOutcome::Done, code, message)
    }

    pub(super) fn failed(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ActionOutcome::Failed, code, message)
    }

    pub(super) fn unknown(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ActionOutcome::Unverified, code, message)
    }

    pub(super) fn dropped(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ActionOutcome::Dropped, code, format!("nothing was done: {}", message.into()))
    }

    pub(super) fn left(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ActionOutcome::HandedOver, code, message)
    }

    pub(super) fn is_done(&self) -> bool {
        self.outcome == ActionOutcome::Done
    }

    pub(super) fn is_failed(&self) -> bool {
        self.outcome == ActionOutcome::Failed
    }

    /// Returns what it has in common with other failures of its kind; `None` where it has not failed.
    pub(super) fn failure(&self) -> Option<(&'static str, Option<u16>)> {
        let is_failure = matches!(self.outcome, ActionOutcome::Failed | ActionOutcome::Unverified);
        is_failure.then_some((self.code, self.detail))
    }
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
    /// Actions whose VM had changed since the plan, or that must not be done now.
    pub dropped: usize,
    /// Actions that the end of the run cut off.
    pub interrupted: usize,
}
