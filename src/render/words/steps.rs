//! The messages of actions that have ended.

use super::notes::missing_file_info_text;
use crate::apply::{
    ActionKind, BackupFault, CloseReason, DropReason, FailureReason, HandOverCause, HandOverReason,
    InterruptReason, KeepReason, MissingFact, MovingUpload, StepError, StepSuccess, StorageClose,
    SuccessKind, UnclearAnswer, UnverifiedReason, UploadChange, WriteFailure, WriteState,
};
use crate::plan::bytes_text;
use crate::policy::{duration_text, minute_text};
use chrono::{DateTime, FixedOffset, Utc};
use std::fmt::{Display, Formatter, Result};

const AWAITS_CREATE: &str = "waiting for the new backup, which has not completed";

impl Display for StepSuccess {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let backup = self.backup;
        let snapshot = |taken: &Option<DateTime<FixedOffset>>| {
            let taken = taken.map(|taken| format!(" of {}", minute_text(taken))).unwrap_or_default();
            format!("snapshot {}{taken}", backup.short())
        };
        match &self.kind {
            SuccessKind::Started => write!(
                f,
                "backup {backup} is started; its upload continues in FiFo, and the next run checks the result"
            ),
            SuccessKind::Complete { bytes, lacks } => {
                let size = bytes.map_or("of unknown size".to_owned(), bytes_text);
                let remark = match lacks {
                    Some(MissingFact::Checksum) => "; FiFo reports no checksum to verify it with",
                    Some(MissingFact::LocalSnapshot) => "; FiFo does not report its snapshot as local",
                    None => "",
                };
                write!(f, "backup {} is complete ({size}){remark}", backup.short())
            }
            SuccessKind::Deleted { taken, is_stored } => {
                let stored = if *is_stored { ", the stored copy is in place" } else { "" };
                write!(f, "{} is deleted{stored}", snapshot(taken))
            }
            SuccessKind::AlreadyDeleted { taken } => write!(f, "{} was already deleted", snapshot(taken)),
            SuccessKind::Pruned { taken, bytes } => {
                let size = bytes.map_or("of unknown size".to_owned(), bytes_text);
                let (backup, taken) = (backup.short(), minute_text(*taken));
                write!(f, "backup {backup} of {taken} is deleted from storage ({size})")
            }
            SuccessKind::AlreadyPruned { taken } => {
                let (backup, taken) = (backup.short(), minute_text(*taken));
                write!(f, "backup {backup} of {taken} was already deleted from storage")
            }
        }
    }
}

impl Display for StepError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Failed(reason) => reason.fmt(f),
            Self::Dropped(reason) => reason.fmt(f),
            Self::Unverified(reason) => reason.fmt(f),
            Self::HandedOver(reason) => reason.fmt(f),
            Self::Interrupted(reason) => reason.fmt(f),
            Self::Alarm(alarm) => alarm.fmt(f),
        }
    }
}

impl Display for FailureReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        const CHECK: &str = "check the hypervisor's agent and the backup store";
        match self {
            Self::UnreadableVm(why) => write!(f, "nothing was done: the VM could not be read: {why}"),
            Self::NoPolicy => f.write_str("nothing was done: this run does not have the policy of the VM"),
            Self::AuditBroken(rules) => write!(
                f,
                "nothing was done: the fresh decision for this VM breaks a rule ({}), which is a bug; please report it",
                rules.join("; ")
            ),
            Self::Write { write, failure } => write_failure(f, *write, failure),
            Self::NoNewBackup(answer) => {
                let advice = match answer {
                    UnclearAnswer::Failed(_) => "check the VM's hypervisor, its agent and the backup store",
                    UnclearAnswer::Unavailable(_)
                    | UnclearAnswer::Lost(_)
                    | UnclearAnswer::NotSent(_)
                    | UnclearAnswer::NotFound => "gave up after five attempts",
                };
                write!(f, "create: FiFo {answer}, and no new backup appeared; {advice}")
            }
            Self::DeleteNotSent(answer) => write!(f, "FiFo {answer}; nothing was deleted"),
            Self::SnapshotStillThere(answer) => {
                write!(f, "FiFo {answer}, and the snapshot is still there; check the hypervisor's agent")
            }
            Self::StillStored(answer) => {
                write!(f, "FiFo {answer}, and the backup is still there; the next run tries again")
            }
            Self::UploadFailed { backup, bytes } => {
                write!(f, "the upload of backup {backup} failed after {}; {CHECK}", bytes_text(*bytes))
            }
            Self::UploadStuck { backup, bytes } => {
                write!(f, "the upload of backup {backup} is stuck at {}; {CHECK}", bytes_text(*bytes))
            }
            Self::BackupVanished(backup) => {
                write!(f, "backup {backup} has vanished during its upload; check in FiFo who deleted it")
            }
            Self::VmVanished(backup) => {
                write!(f, "the VM has vanished during the upload of backup {backup}")
            }
            Self::Faulty { backup, fault } => {
                write!(f, "FiFo reports backup {backup} as completed, but {fault}")
            }
        }
    }
}

fn write_failure(f: &mut Formatter<'_>, write: WriteState, failure: &WriteFailure) -> Result {
    let (verb, none) = match write.kind {
        ActionKind::Create => ("create", "nothing was created"),
        ActionKind::DeleteLocal | ActionKind::DeleteCloud => ("delete", "nothing was deleted"),
    };
    let none = if write.is_open {
        "an earlier request got no answer and may still take effect; the next run checks the result"
    } else {
        none
    };
    match failure {
        WriteFailure::Refused { status, permission } => {
            let needs = permission.as_ref().map(|it| format!(": the user needs the permission `{it}`"));
            write!(f, "FiFo refused the {verb} with {status}{}; {none}", needs.unwrap_or_default())
        }
        WriteFailure::ChangedWithoutCondition => write!(
            f,
            "the {verb} was answered with 412 although it was sent without If-Match: check the proxies between here and \
             FiFo; {none}"
        ),
        WriteFailure::AlwaysChanged => write!(
            f,
            "FiFo answered every {verb} with 412: the VM changes all the time, or a cache shows an old state of it; {none}"
        ),
        WriteFailure::Unauthorized => {
            write!(f, "FiFo answers every {verb} with 401, and accepts the same token elsewhere; {none}")
        }
        WriteFailure::TooMany => {
            write!(f, "FiFo answers every {verb} with 429 (too many requests); {none}")
        }
        WriteFailure::NoRequest(why) => write!(f, "{none}: {why}"),
        WriteFailure::ClocksDiffer { ours, server } => {
            let text = |instant: &DateTime<Utc>| instant.format("%Y-%m-%d %H:%M:%S UTC").to_string();
            write!(
                f,
                "{none}: the clocks differ by more than an hour, {} here and {} on the server; correct the wrong one",
                text(ours),
                text(server)
            )
        }
    }
}

impl Display for UnclearAnswer {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Failed(status) | Self::Unavailable(status) => write!(f, "answered {status}"),
            Self::Lost(why) => write!(f, "gave no answer ({why})"),
            Self::NotSent(why) => write!(f, "could not be reached ({why})"),
            Self::NotFound => f.write_str("answered 404 Not Found"),
        }
    }
}

impl Display for BackupFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let parent = |id: &Option<_>| id.map_or_else(|| "none".to_owned(), |id| format!("{id}"));
        match self {
            Self::NoTimestamp => f.write_str("it has no timestamp: it was deleted during its upload"),
            Self::Comment { found, wanted } => {
                let found = found.as_ref().map_or_else(|| "none".to_owned(), |found| format!("`{found}`"));
                write!(f, "its comment is {found}, not `{wanted}`")
            }
            Self::Parent { found, wanted } => {
                write!(f, "its parent is {}, not {}", parent(found), parent(wanted))
            }
            Self::AncestorMissing(id) => write!(f, "backup {id}, which a restore of it needs, is missing"),
            Self::ParentsLoop(id) => write!(f, "its chain of parents loops at backup {id}"),
            Self::ChainUnusable => f.write_str("a backup that a restore of it needs is no longer usable"),
            Self::TinyFile { bytes } => write!(
                f,
                "one of its stored files has only {}, too little for a stream: the export probably failed",
                bytes_text(*bytes)
            ),
            Self::BelowMinimum { bytes, min } => write!(
                f,
                "its size of {} is below the minimum of {} that the policy sets for a full backup: the export probably failed",
                bytes_text(*bytes),
                bytes_text(*min)
            ),
            Self::Unverified(missing) => f.write_str(missing_file_info_text(*missing)),
            Self::NotCompleted => f.write_str("it is no longer completed"),
        }
    }
}

impl Display for DropReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let why = match self {
            Self::AwaitsCreate => return f.write_str(AWAITS_CREATE),
            Self::GateClosed(reason) => {
                return write!(f, "nothing was done: this run starts no more local deletes, since {reason}");
            }
            Self::Kept(reason) => {
                return write!(f, "nothing was deleted: {reason}; the next run decides again");
            }
            Self::StorageClosed(reason) => {
                return write!(
                    f,
                    "nothing was deleted: this run deletes nothing more from storage, since {reason}"
                );
            }
            Self::NotListed(backup) => {
                return write!(f, "nothing was done: FiFo no longer lists backup {backup}");
            }
            Self::NotStuck(upload) => return write!(f, "nothing was done: {upload}"),
            Self::Moved => {
                "the VM has moved to another hypervisor, where this run holds no slot; the next run plans it again"
            }
            Self::Changed => "the VM has changed since the plan; the next run plans it again",
            Self::BackupNotNeeded => "in its present state the VM does not need this backup",
            Self::SnapshotNeeded => "in its present state the VM needs this snapshot",
        };
        write!(f, "nothing was done: {why}")
    }
}

impl Display for CloseReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Vanished => f.write_str("backups have vanished"),
            Self::Unknown(backup) => write!(f, "the result of the one of backup {backup} is unknown"),
            Self::NoEffect(backup) => {
                write!(f, "FiFo accepted the one of backup {backup}, but the snapshot is still there")
            }
        }
    }
}

impl Display for KeepReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Wanted => {
                f.write_str("in its present state the VM needs this backup, or nothing of it may go now")
            }
            Self::NotRequested => f.write_str("policy and command do not both ask for it"),
            Self::NoHypervisor => f.write_str("the VM is on no hypervisor"),
            Self::Local => f.write_str("its snapshot is on the hypervisor, or was until just now"),
            Self::Parent(child) => write!(f, "backup {child} descends from it"),
            Self::UnknownParent(backup) => {
                write!(f, "backup {backup} has not started, and may turn out to descend from it")
            }
            Self::Young => f.write_str("it is less than an hour old by FiFo's clock"),
            Self::NothingNewer => f.write_str("no newer backup of the VM can be restored"),
            Self::NoProof => f.write_str(
                "FiFo gives no version of the VM and truncates its list, so that what was read may be old",
            ),
            Self::EarlierFailed => f.write_str("an earlier delete from storage of this VM has failed"),
        }
    }
}

impl Display for StorageClose {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::LocalDeletes(reason) => write!(f, "it starts no more local deletes either: {reason}"),
            Self::Unknown(backup) => write!(f, "the result of the delete of backup {backup} is unknown"),
            Self::StillThere(backup) => {
                write!(f, "FiFo accepted the delete of backup {backup}, which is still there")
            }
        }
    }
}

impl Display for MovingUpload {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { backup, change, stuck_after, policy, advised } = self;
        let change = match change {
            UploadChange::Grew { from, to } => {
                format!("it grew from {} to {} between two readings", bytes_text(*from), bytes_text(*to))
            }
            UploadChange::State { from, to } => {
                format!("its state changed from {} to {}", from.as_str(), to.as_str())
            }
        };
        write!(
            f,
            "backup {} is older than the {} of `stuck_after` but not stuck, {change}; \
             set `stuck_after` of policy {policy} to {}, for example",
            backup.short(),
            duration_text(*stuck_after),
            duration_text(*advised)
        )
    }
}

impl Display for UnverifiedReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::CreateNotListed => {
                f.write_str("FiFo accepted the create, but lists no new backup; check the VM in FiFo")
            }
            Self::CreateUnknown(why) => {
                write!(f, "FiFo accepted the create, but the result is unknown ({why}); the next run checks it")
            }
            Self::CreateUnclear { answer, why } => write!(
                f,
                "create: FiFo {answer}, and the result is unknown ({why}); the request is not repeated, the next run \
                 checks the result"
            ),
            Self::DeleteNoEffect => f.write_str(
                "FiFo accepted the local delete, but the snapshot is still there; this run starts no more of them, the \
                 next run checks again",
            ),
            Self::DeleteUnknown(why) => write!(
                f,
                "FiFo accepted the local delete, but the result is unknown ({why}); this run starts no more of them, the \
                 next run checks again"
            ),
            Self::DeleteUnclear { answer, why } => write!(
                f,
                "FiFo {answer}, and the result is unknown ({why}); this run starts no more local deletes, the next run \
                 checks again"
            ),
            Self::PruneNoEffect => f.write_str(
                "FiFo accepted the delete from storage, but the backup is still there; this run deletes nothing more from \
                 storage, the next run checks again",
            ),
            Self::PruneCutShort => f.write_str(
                "the delete from storage was sent and got no clear answer, and the run ended before its effect was known; \
                 the next run checks again",
            ),
            Self::PruneUnknown(why) => write!(
                f,
                "FiFo accepted the delete from storage, but the result is unknown ({why}); this run deletes nothing more \
                 from storage, the next run checks again"
            ),
            Self::PruneUnclear { answer, why } => write!(
                f,
                "FiFo {answer}, and the result is unknown ({why}); this run deletes nothing more from storage, the next \
                 run checks again"
            ),
            Self::UploadUnreadable { backup, why } => write!(
                f,
                "backup {backup} is started, but its progress can no longer be read: {why}; the next run checks the \
                 result"
            ),
        }
    }
}

impl Display for HandOverReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::SlotsInUse => {
                f.write_str("nothing was done: all upload slots are in use; the next run tries again")
            }
            Self::MadeByAnotherRun { backup, is_complete } => {
                let state = if *is_complete { "complete" } else { "in progress" };
                write!(f, "made by another run: backup {backup} is {state}")
            }
            Self::NotSent(cause) => write!(f, "nothing was done: {cause}; the next run does it"),
            Self::UploadRuns { backup, cause } => write!(
                f,
                "backup {backup} is still running in FiFo, and {cause}; the next run checks the result"
            ),
            Self::AwaitsCreate => f.write_str(AWAITS_CREATE),
        }
    }
}

impl Display for HandOverCause {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Deadline => "the deadline of this run has passed",
            Self::NextRunDue => "the next run is due",
        })
    }
}

impl Display for InterruptReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::NotSent => f.write_str("nothing was done: the run ended before this step"),
            Self::UploadRuns(backup) => {
                write!(f, "backup {backup} is still running in FiFo; the next run checks the result")
            }
            Self::AwaitsCreate => f.write_str(AWAITS_CREATE),
        }
    }
}

#[cfg(test)]
mod tests;
