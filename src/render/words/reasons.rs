//! The sentences of reasons.

use crate::plan::{Attempt, CreateReason, DeleteReason};
use crate::policy::weekday_text;
use std::fmt::{self, Display, Formatter};

impl Display for CreateReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "due since {}", weekday_text(self.due_since))?;
        match self.attempt {
            None => Ok(()),
            Some(Attempt { number, of: None }) => write!(f, ", try {number}"),
            Some(Attempt { number, of: Some(of) }) => write!(f, ", try {number} of {of}"),
        }
    }
}

impl Display for DeleteReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replaced { tier } => write!(f, "once the new {tier} is complete"),
            Self::NoParent => f.write_str("no longer needed as a parent"),
            Self::Superseded { by } => write!(f, "superseded: the newer {by} can be restored"),
            Self::NewerSnapshotKept => f.write_str("superseded: a newer snapshot is kept"),
            Self::NotNeeded => f.write_str("not needed once it is complete"),
            Self::BeyondKeep { keep: 1 } => f.write_str("expired: only the newest of its tier is kept"),
            Self::BeyondKeep { keep } => write!(f, "expired: only the {keep} newest of its tier are kept"),
            Self::Unrestorable { by } => write!(f, "expired: cannot be restored, and the newer {by} can"),
        }
    }
}
