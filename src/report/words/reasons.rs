//! The sentences of reasons.

use crate::plan::{Attempt, CreateReason, DeleteReason, LastKept};
use crate::policy::{minute_text, weekday_text};
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
            Self::Expired(last_kept) => write!(f, "expired: {last_kept}"),
        }
    }
}

impl Display for LastKept {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnKeep { keep, until } => {
                write!(f, "no longer {} since {}", newest_of_tier(*keep), minute_text(*until))
            }
            Self::Descendant { backup, keep, until } => {
                let newest = newest_of_tier(*keep);
                write!(f, "needed by the {backup}, which was {newest} until {}", minute_text(*until))
            }
            Self::Superseded { by } => write!(f, "cannot be restored, and the newer {by} can"),
        }
    }
}

fn newest_of_tier(keep: u32) -> String {
    match keep {
        1 => "the newest of its tier".to_owned(),
        keep => format!("one of the {keep} newest of its tier"),
    }
}
