//! What became of each due time of the last 35 days.

use crate::inventory::BackupId;
use crate::plan::due::{Occurrences, RECENT};
use crate::plan::standing::VmView;
use crate::policy::Name;
use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use serde::Serialize;

/// A backup that is taken later than this after its due time is late.
const ON_TIME: TimeDelta = TimeDelta::hours(1);

/// A due time of a tier that has passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PastDue {
    pub tier: Name,
    pub at: DateTime<FixedOffset>,
    pub outcome: DueOutcome,
    /// The backup that shows it: of the tier or a coarser one.
    pub backup: Option<BackupId>,
}

/// What became of a due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DueOutcome {
    /// A backup was taken within the hour, and can be restored.
    Made,
    /// One was taken later, before the next due time.
    Late,
    Running,
    Due,
    /// It lies before the tier's oldest stored backup: whatever there was is gone.
    Unknown,
    /// There were attempts, and none can be restored.
    Failed,
    Missed,
}

/// Finds out what became of a VM's due times of the last 35 days, tier by tier, oldest first.
pub(super) fn timeline(view: &VmView<'_>, occurrences: &Occurrences<'_>) -> Vec<PastDue> {
    let mut all = Vec::new();
    for (tier, rules) in view.policy.tiers.iter().enumerate() {
        let due = occurrences.recent(tier, view.vm.id, occurrences.now() - RECENT);
        let oldest = view.restorable().find(|backup| backup.tier == Some(tier)).map(|backup| backup.taken);
        for (place, &began) in due.iter().enumerate() {
            let ended = due.get(place + 1).copied();
            let is_of = |taken: DateTime<Utc>| began <= taken && ended.is_none_or(|ended| taken < ended);
            let of_it = || {
                view.not_future_dated()
                    .filter(|backup| backup.tier.is_some_and(|own| own <= tier) && is_of(backup.taken))
            };
            let (outcome, backup) = if let Some(made) = of_it().find(|backup| backup.is_restorable()) {
                let is_late = made.taken - began > ON_TIME;
                (if is_late { DueOutcome::Late } else { DueOutcome::Made }, Some(made.id()))
            } else if let Some(running) = of_it().find(|backup| backup.standing.is_running()) {
                (DueOutcome::Running, Some(running.id()))
            } else if let Some(failed) = of_it().next_back() {
                (DueOutcome::Failed, Some(failed.id()))
            } else if ended.is_none() {
                (DueOutcome::Due, None)
            } else if oldest.is_none_or(|oldest| began < oldest) {
                (DueOutcome::Unknown, None)
            } else {
                (DueOutcome::Missed, None)
            };
            all.push(PastDue { tier: rules.name.clone(), at: view.zone.moment(began), outcome, backup });
        }
    }
    all
}
