//! What a plan reports about VMs and backups besides its actions: a sentence, and a code that programs know.

use crate::inventory::BackupId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that is reported and not done.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// What kind of thing.
    pub code: NoteCode,
    /// The backup it is about; `None` when it is about the VM.
    pub backup: Option<BackupId>,
    /// The whole of it, for people.
    pub message: String,
    /// What to do about it; `None` where nothing has to be done, and in a saved plan.
    #[serde(skip)]
    pub advice: Option<&'static str>,
}

impl Note {
    /// Makes a note about a VM.
    pub fn vm(code: NoteCode, message: impl Into<String>) -> Self {
        Self { code, backup: None, message: message.into(), advice: code.advice() }
    }

    /// Makes a note about a backup.
    pub fn backup(backup: BackupId, code: NoteCode, message: impl Into<String>) -> Self {
        Self { backup: Some(backup), ..Self::vm(code, message) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
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
    /// The stored objects of a backup are known to be broken: another one is made, and nothing of its chain is deleted.
    Broken,
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

impl NoteCode {
    /// Says what to do about it, as far as that does not depend on what else there is.
    fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::InternalError => {
                "report it to the developers of fifo-retain; no backups are made until it is fixed"
            }
            Self::Unreadable => "check its record in FiFo; unreadable records are left alone",
            Self::PolicyConflict => "change the policies",
            Self::Suspended => "remove the suspension from the policy when it is no longer needed",
            Self::SuspensionEnded => "remove it from the policy",
            Self::NoHypervisor => "start it on a hypervisor, or exclude it from the policy",
            Self::DelegatedDatasets => "back it up by other means, and exclude it from the policy",
            Self::VmState => "wait, or check in FiFo why its state does not change",
            Self::GaveUp | Self::RetryLater => {
                "check its hypervisor's agent and the backup storage for the cause"
            }
            Self::Unverified => {
                "wait; if this persists, check its record in FiFo, which should have sizes and checksums by now"
            }
            Self::Stuck => "check its hypervisor's agent: the upload may still hang there",
            Self::Broken => {
                "verify its VM for what is wrong; bring it back from a mirror, or delete it by hand once a newer one is verified"
            }
            Self::FailedBackup | Self::Hollow | Self::Unrestorable => "investigate: no newer backup is good",
            Self::FutureTimestamp => "correct the clock that was wrong",
            Self::OverPruneLimit => "check what the policy keeps; --allow-mass-prune lets more go at once",
            Self::OrphanedSnapshot => "delete the snapshot on the hypervisor by hand",
            Self::Unprotected | Self::InProgress | Self::NoParent | Self::Unmanaged | Self::Expired => {
                return None;
            }
        })
    }
}
