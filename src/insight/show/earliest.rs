//! When each backup may expire at the earliest, as far as schedules say.

use super::{BackupExplanation, Reason};
use crate::inventory::BackupId;
use chrono::{DateTime, FixedOffset};
use std::collections::BTreeMap;

/// Until when something stays, the longest last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stay {
    /// Until an event of which no schedule tells the time.
    #[default]
    Open,
    Until(DateTime<FixedOffset>),
    Forever,
}

/// Enters for each backup when it may expire at the earliest: not before the newer ones that push it out of its tier's `keep`
/// are due, and not before what is based on it. The backups are in the order of their chains.
pub(super) fn enter(backups: &mut [BackupExplanation]) {
    let mut by_children: BTreeMap<BackupId, Stay> = BTreeMap::new();
    for backup in backups.iter_mut().rev().filter(|backup| !backup.stored.is_expired) {
        let children = by_children.get(&backup.backup).copied().unwrap_or_default();
        let stay = own(backup).max(children);
        if let Some(parent) = backup.parent {
            let of_parent = by_children.entry(parent).or_default();
            *of_parent = stay.max(*of_parent);
        }
        backup.stored.not_before = match stay {
            Stay::Until(instant) => Some(instant),
            Stay::Open | Stay::Forever => None,
        };
    }
}

fn own(backup: &BackupExplanation) -> Stay {
    match &backup.stored.kept_for {
        Some(Reason { expires_after: Some(instant), .. }) => Stay::Until(*instant),
        Some(Reason { until: None, .. }) => Stay::Forever,
        _ => Stay::Open,
    }
}
