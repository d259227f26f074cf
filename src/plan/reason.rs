//! What kept an expired backup in storage last, which is why it goes.

use crate::policy::minute_text;
use chrono::{DateTime, FixedOffset};
use std::fmt;

/// What kept an expired backup in storage last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastKept {
    /// It was one of the newest of its tier.
    OwnKeep {
        /// How many of these are kept.
        keep: u32,
        /// When the newer one came that was one too many, in the zone in which times are shown.
        until: DateTime<FixedOffset>,
    },
    /// One that descends from it was one of the newest of its tier for longer.
    Descendant {
        /// The name of that one.
        backup: String,
        /// How many of its tier are kept.
        keep: u32,
        /// When the newer one came that was one too many, in the zone in which times are shown.
        until: DateTime<FixedOffset>,
    },
    /// It cannot be restored, and until this one came nothing newer could.
    Superseded {
        /// The name of the oldest restorable backup that is newer.
        by: String,
    },
}

impl fmt::Display for LastKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest = |keep: &u32| match keep {
            1 => "the newest of its tier".to_owned(),
            keep => format!("one of the {keep} newest of its tier"),
        };
        match self {
            Self::OwnKeep { keep, until } => {
                write!(f, "expired: no longer {} since {}", newest(keep), minute_text(*until))
            }
            Self::Descendant { backup, keep, until } => {
                let until = minute_text(*until);
                write!(f, "expired: needed by the {backup}, which was {} until {until}", newest(keep))
            }
            Self::Superseded { by } => write!(f, "expired: cannot be restored, and the newer {by} can"),
        }
    }
}
