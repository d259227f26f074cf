//! What happens while a plan is carried out, as data: the journal, the progress on a terminal and the JSON stream are
//! three views of the same events.

use super::outcome::Tally;
use crate::inventory::{BackupId, VmId};
use chrono::{DateTime, Utc};
use serde::Serialize;

/// Something that happened, and when by the clock of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When.
    pub time: DateTime<Utc>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The run begins.
    Started {
        /// The FiFo it is about.
        endpoint: String,
        /// How many backups are to be created.
        create: usize,
        /// How many snapshots are to be deleted on hypervisors.
        delete_local: usize,
    },
    /// An action is about to be asked of FiFo.
    ActionStarted {
        /// Where.
        #[serde(flatten)]
        at: Place,
        /// Which.
        #[serde(flatten)]
        step: Step,
    },
    /// FiFo has a new backup on record; its upload is waited for.
    Accepted {
        /// Where.
        #[serde(flatten)]
        at: Place,
        /// The new backup.
        backup: BackupId,
        /// Its tier.
        tier: String,
    },
    /// How far an upload has come. Not worth a journal entry.
    Progress {
        /// Where.
        #[serde(flatten)]
        at: Place,
        /// The backup.
        backup: BackupId,
        /// Its tier.
        tier: String,
        /// Bytes stored so far.
        bytes: u64,
    },
    /// An action has come to its end.
    ActionEnded {
        /// Where.
        #[serde(flatten)]
        at: Place,
        /// Which.
        #[serde(flatten)]
        step: Step,
        /// How it ended.
        outcome: Ending,
        /// The whole of it, for people.
        message: String,
    },
    /// Something worth telling that ends nothing.
    Warning {
        /// Where, unless it is about the whole run.
        #[serde(flatten)]
        at: Option<Place>,
        /// The whole of it, for people.
        message: String,
    },
    /// Backups have vanished after a local delete: nothing new is started.
    CascadeAlarm {
        /// Where.
        #[serde(flatten)]
        at: Place,
        /// The backup whose snapshot was to be deleted.
        backup: BackupId,
        /// The backups that are gone, that one among them if it is.
        gone: Vec<BackupId>,
    },
    /// The run has ended.
    Finished {
        /// What came of it.
        #[serde(flatten)]
        tally: Tally,
    },
}

/// A VM, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Its UUID.
    pub vm: VmId,
    /// Its alias.
    pub alias: String,
}

/// An action, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Step {
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

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It is done, and was seen to be.
    Done,
    /// It was started and is left to FiFo and the next run.
    Started,
    /// It was not begun: there was no place for it, or it comes after something that was not waited for. The next run
    /// does it.
    Left,
    /// It was not done.
    Failed,
    /// It was asked for, and no reading has shown that it happened.
    Unverified,
    /// It is no longer wanted, or the VM has changed since the plan: nothing was done.
    Dropped,
    /// It was not begun, or not waited for, because the run was told to end, or backups had vanished elsewhere.
    Interrupted,
}

/// Somebody who is told what happens, as it happens.
pub trait Observer: Send + Sync {
    /// Takes note of an event. Must not fail: what cannot be told must not stop what is done.
    fn observe(&self, event: &Event);
}
