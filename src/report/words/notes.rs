//! The sentences of notes.

use crate::inventory::MissingFileInfo;
use crate::plan::{
    BackupLabel, BackupName, BlockingState, ExpiredBackups, FailedAttempts, InsteadOfIncrement, Note,
    NoteKind, OverLimit, PruneHold, bytes_text,
};
use crate::policy::minute_text;
use std::fmt::{self, Display, Formatter};

impl Display for Note {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Display for NoteKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::InternalError { report } => f.write_str(report),
            Self::Unreadable { problems } => {
                write!(f, "could not be read completely: {}", problems.join("; "))
            }
            Self::NoTimestamp(id) => write!(
                f,
                "backup {} has no timestamp, probably because it was deleted during its upload; it is left alone",
                id.short()
            ),
            Self::PolicyConflict { policies, priority } => write!(
                f,
                "claimed by {} with the same priority ({priority}); give one a higher `priority` or exclude it \
                 from the others",
                policies.join(" and ")
            ),
            Self::Unprotected => f.write_str("matches no policy"),
            Self::Suspended { until, reason } => write!(f, "nothing is carried out until {until}: {reason}"),
            Self::SuspensionEnded { until, reason } => {
                write!(f, "the suspension until {until} ({reason}) has ended; remove it from the policy")
            }
            Self::NoHypervisor { state, newest } => {
                let state = if state.is_empty() { "no state" } else { state };
                write!(f, "on no hypervisor ({state}); {}", newest_text(newest.as_deref()))
            }
            Self::DelegatedDatasets { newest } => write!(
                f,
                "has delegated datasets, which FiFo cannot back up; {}",
                newest_text(newest.as_deref())
            ),
            Self::VmState { state, newest } => {
                write!(f, "cannot be backed up while {state}; {}", newest_text(newest.as_deref()))
            }
            Self::InProgress { backup, size_bytes } => in_progress(backup, *size_bytes, f),
            Self::RetryLater(attempts) | Self::GaveUp(attempts) => attempts.fmt(f),
            Self::NoParent { tier, emptied, instead } => {
                match emptied {
                    None => write!(f, "no local, restorable parent for the {tier}")?,
                    Some(parent) => write!(
                        f,
                        "the last increment on the {parent} is empty, so its snapshot is probably gone"
                    )?,
                }
                match instead {
                    InsteadOfIncrement::Full => f.write_str(": a full backup instead"),
                    InsteadOfIncrement::FullOf(coarser) => {
                        write!(f, "; it waits for the {coarser}, which is due and full")
                    }
                    InsteadOfIncrement::Nothing => {
                        f.write_str(", and the policy has `missing_parent: block`")
                    }
                }
            }
            Self::Unverified { backup, missing, in_progress_until } => {
                let missing = missing_file_info_text(*missing);
                write!(f, "the {backup} is marked as completed, but {missing}; it counts as ")?;
                match in_progress_until {
                    None => f.write_str("completed"),
                    Some(until) => write!(f, "in progress until {}", minute_text(*until)),
                }
            }
            Self::Stuck(backup) => {
                write!(f, "the {backup} did not end within `stuck_after`; it counts as failed")
            }
            Self::FailedBackup(backup) => write!(f, "the {backup} failed"),
            Self::Hollow { backup, size_bytes } => {
                let size = size_bytes.map_or_else(String::new, |bytes| format!(" ({})", bytes_text(bytes)));
                write!(f, "the {backup} is marked as completed but nearly empty{size}; it counts as failed")
            }
            Self::Unrestorable(backup) => write!(
                f,
                "the {backup} cannot be restored: a backup that it is based on is missing or not completed"
            ),
            Self::FutureTimestamp { backup, is_waited_for } => {
                write!(f, "the timestamp of the {backup} is in the future; ")?;
                f.write_str(if *is_waited_for {
                    "no backup is created until then, since clocks differ"
                } else {
                    "it is ignored and left alone"
                })
            }
            Self::OrphanedSnapshot { backup, size_bytes } => write!(
                f,
                "the snapshot of the {backup} was deleted and still holds {} on the hypervisor",
                bytes_text(*size_bytes)
            ),
            Self::Unmanaged(backup) => write!(f, "the {backup} matches no tier and is left alone"),
            Self::OverPruneLimit(OverLimit { expired, limit }) => write!(
                f,
                "{expired} stored backups would be expired even without those of the last 8 days (limit {limit}), so none is \
                 deleted from storage; --allow-mass-prune {expired} lets them go"
            ),
            Self::Expired(expired) => expired.fmt(f),
        }
    }
}

impl Display for ExpiredBackups {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { tier, count, size_bytes, oldest, hold } = self;
        let (backups, are) = if *count == 1 { ("backup", "is") } else { ("backups", "are") };
        let size = if *size_bytes > 0 { format!(" ({})", bytes_text(*size_bytes)) } else { String::new() };
        let oldest = match count {
            1 => format!("of {}", minute_text(*oldest)),
            _ => format!("since {}", minute_text(*oldest)),
        };
        write!(f, "{count} {tier} {backups} {oldest}{size} {are} no longer kept by the policy; {hold}")
    }
}

impl Display for PruneHold {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAllowed => "nothing deletes them",
            Self::NotRequested => "--prune deletes them from storage",
            Self::CannotBackUp => "not deleted, because the VM cannot be backed up now",
            Self::NewestTooOld => "not deleted, because the newest restorable backup is older than `max_age`",
            Self::UnknownParent => "not deleted while an accepted backup has not named its parent",
            Self::OverLimit => "not deleted, because too many would go at once",
            Self::NotYet => "not deleted yet",
        })
    }
}

impl Display for BackupName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.label, minute_text(self.taken))
    }
}

impl Display for BackupLabel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tier(tier) => f.write_str(tier),
            Self::Comment(None) => f.write_str("backup without a comment"),
            Self::Comment(Some(comment)) if comment.is_empty() => f.write_str("backup with an empty comment"),
            Self::Comment(Some(comment)) => write!(f, "backup {comment:?}"),
        }
    }
}

impl Display for BlockingState {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Creating => f.write_str("it is being created"),
            Self::Deleting => f.write_str("it is being deleted"),
            Self::Other(state) if state.is_empty() => f.write_str("it has no state"),
            Self::Other(state) => write!(f, "its state is {state:?}"),
        }
    }
}

impl Display for FailedAttempts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { tier, failed, next_at } = self;
        let times = if *failed == 1 { "once".to_owned() } else { format!("{failed} times") };
        write!(f, "the {tier} failed {times}; it is tried again from {}", minute_text(*next_at))
    }
}

fn newest_text(newest: Option<&BackupName>) -> String {
    newest.map_or_else(
        || "it has no restorable backup".to_owned(),
        |newest| format!("its newest restorable backup is the {newest}"),
    )
}

fn in_progress(backup: &BackupName, size_bytes: Option<u64>, f: &mut Formatter<'_>) -> fmt::Result {
    let article = match backup.label {
        BackupLabel::Tier(_) => "a",
        BackupLabel::Comment(_) => "the",
    };
    let since = minute_text(backup.taken);
    match size_bytes.filter(|&bytes| bytes > 0) {
        Some(bytes) => write!(
            f,
            "{article} {} has been uploading since {since}, {} so far",
            backup.label,
            bytes_text(bytes)
        ),
        None => write!(f, "{article} {} has been running since {since}", backup.label),
    }
}

/// Says what the record of a completed backup lacks.
pub(super) fn missing_file_info_text(missing: Option<MissingFileInfo>) -> &'static str {
    match missing {
        Some(MissingFileInfo::Files) => "FiFo lists no stored file, unlike for earlier backups",
        Some(MissingFileInfo::Size) => "FiFo reports no size for a stored file, unlike for earlier backups",
        Some(MissingFileInfo::Checksum) => {
            "FiFo reports no checksum for a stored file, unlike for earlier backups"
        }
        None => "it could not be checked",
    }
}
