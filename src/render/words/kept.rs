//! The sentences of the reasons for which a backup is kept.

use crate::insight::show::{Dependent, KeptNewest, PruneOutlook, Reason};
use crate::plan::PruneHold;
use crate::plan::local::WantedLocally;
use crate::plan::stored::WantedInStorage;
use crate::policy::minute_text;
use std::fmt::{self, Display, Formatter};

/// Why something stays, and until when; `None` for indefinitely.
type Words = (String, Option<String>);

impl Reason {
    /// Puts it into words: why something stays, and what has to happen before this reason no longer applies; `None` when
    /// it always does.
    pub fn words(&self) -> Words {
        match self {
            Self::Local { wanted, tier, kept } => local(*wanted, tier, *kept),
            Self::Stored { wanted, kept } => stored(*wanted, *kept),
            Self::NeededBy(child) => until(format!("required by the {child}"), "until that is deleted"),
            Self::NeededByMany(count) => {
                until(format!("required by {count} backups that are kept"), "until these are deleted")
            }
            Self::Unmanaged => always("it matches no tier of its policy"),
            Self::FutureTimestamp => until("its timestamp is in the future", "until that time"),
            Self::Unreadable => {
                always("its record has no timestamp, probably because it was deleted during its upload")
            }
            Self::NotBegun => until(
                "an accepted backup has not started, so its parent is not known yet",
                "until it has started",
            ),
            Self::CannotBackUp => until(
                "FiFo cannot back up this VM now, so its snapshots are left alone",
                "until it can be backed up again",
            ),
            Self::NoPolicy => always("the VM belongs to no policy, or to more than one"),
        }
    }
}

impl Display for Dependent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => name.fmt(f),
            Self::Unreadable(id) => write!(f, "backup {}", id.short()),
        }
    }
}

fn local(wanted: WantedLocally, tier: &str, kept: KeptNewest) -> Words {
    match wanted {
        WantedLocally::ParentOf(_) => until(
            format!("parent of the next {tier}"),
            format!("until a newer backup can be the parent of the next {tier}"),
        ),
        WantedLocally::KeepLocal => until(
            format!("one of the {} newest of its tier, for a quick rollback", kept.keep.unwrap_or(0)),
            until_outnumbered(kept),
        ),
        WantedLocally::Running => until("in progress", "until it has ended"),
        WantedLocally::MayBeRunning => {
            until("it has not ended and may still be running", "until a newer backup can be restored")
        }
        WantedLocally::ParentOfRunning => until("parent of a running backup", "until that has ended"),
        WantedLocally::ParentOfStuck => until(
            "parent of a stuck backup that may still be running",
            "until a newer backup can be restored",
        ),
        WantedLocally::OnlyCopy => until(
            "its snapshot is the only copy of that moment",
            "until a newer backup can be restored, or has failed with a snapshot of its own",
        ),
    }
}

fn stored(wanted: WantedInStorage, kept: KeptNewest) -> Words {
    match wanted {
        WantedInStorage::Newest => until("the newest restorable backup", "until a newer one can be restored"),
        WantedInStorage::Keep => match kept.keep {
            None => always("its tier keeps all backups"),
            Some(1) => until("the newest of its tier", until_outnumbered(kept)),
            Some(keep) => until(format!("one of the {keep} newest of its tier"), until_outnumbered(kept)),
        },
        WantedInStorage::Local => {
            until("its snapshot is needed on the hypervisor", "until the snapshot is deleted")
        }
        WantedInStorage::Running => until("in progress", "until it has ended"),
        WantedInStorage::NothingNewer => {
            until("it cannot be restored, and nothing newer can", "until a newer one can be restored")
        }
        WantedInStorage::Attempt => {
            until("the pause until the next attempt depends on it", "until its tier is due again")
        }
        WantedInStorage::LastIncrement => until(
            "the last increment on the parent of the next one, and shows whether that still works",
            "until there is a newer one, or another parent",
        ),
        WantedInStorage::NotJudged => always("it is left alone"),
    }
}

fn until_outnumbered(kept: KeptNewest) -> String {
    let earliest =
        kept.due.map_or_else(String::new, |due| format!(", on {} at the earliest", minute_text(due)));
    format!("until {} more of them can be restored{earliest}", kept.more)
}

impl Display for PruneOutlook {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted { reason } => write!(f, "{reason}; the next run with --prune deletes it"),
            Self::Held(PruneHold::NotAllowed) => {
                f.write_str("expired: no longer wanted; nothing deletes it without `prune: true` in its policy")
            }
            Self::Held(PruneHold::NotRequested) => {
                f.write_str("expired: no longer wanted; a run with --prune deletes it")
            }
            Self::Held(PruneHold::NotYet) => f.write_str(
                "expired: no longer wanted; not deleted yet: it, or what descends from it, holds a snapshot or is less than \
                 an hour old",
            ),
            Self::Held(hold) => write!(f, "expired: no longer wanted; {hold}"),
        }
    }
}

fn until(why: impl Into<String>, until: impl Into<String>) -> Words {
    (why.into(), Some(until.into()))
}

fn always(why: &str) -> Words {
    (why.to_owned(), None)
}
