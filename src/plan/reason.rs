//! Why an action is planned: data, put into words by `render`.

use super::note::BackupName;
use chrono::{DateTime, FixedOffset};

/// Why a backup is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateReason {
    /// Since when it is due, in the policy's zone.
    pub due_since: DateTime<FixedOffset>,
    /// Which attempt it is; `None` for the first.
    pub attempt: Option<Attempt>,
}

/// One of several attempts at a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 2 on.
    pub number: u32,
    /// How many the policy asks for; `None` once there were as many.
    pub of: Option<u32>,
}

/// Why a snapshot, or a stored backup, is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteReason {
    /// The new backup of this tier replaces it.
    Replaced { tier: String },
    /// No further backup is taken from it.
    NoParent,
    /// It cannot be restored, and this newer one can.
    Superseded {
        /// The newest restorable backup.
        by: BackupName,
    },
    /// It cannot be restored, and a newer snapshot of that kind is kept.
    NewerSnapshotKept,
    /// It is the new backup's own, and no rule asks for it.
    NotNeeded,
    /// It is stored and has expired.
    Expired(LastKept),
}

/// What kept an expired backup in storage last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastKept {
    /// It was one of the newest of its tier.
    OwnKeep {
        /// How many of these are kept.
        keep: u32,
        /// When the newer one came that was one too many, in the policy's zone.
        until: DateTime<FixedOffset>,
    },
    /// One that descends from it was one of the newest of its tier for longer.
    Descendant {
        /// That one.
        backup: BackupName,
        /// How many of its tier are kept.
        keep: u32,
        /// When the newer one came that was one too many, in the policy's zone.
        until: DateTime<FixedOffset>,
    },
    /// It cannot be restored, and until this one came nothing newer could.
    Superseded {
        /// The oldest restorable backup that is newer.
        by: BackupName,
    },
}
