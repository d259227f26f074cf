//! Finds the backup that a create has made: new versions of FiFo do not name it.

use super::step::{FailureReason, StepError, UnclearAnswer, UnverifiedReason};
use super::timing::{CLOCK_SKEW_MAX, poll_intervals};
use super::worker::VmWorker;
use super::write_attempts::WriteAttempts;
use crate::fifo::with_causes;
use crate::inventory::{BackupId, Vm};
use crate::plan::Create;
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// The VM when a create was sent.
pub(super) struct Sent {
    /// Every backup that is not new.
    pub(super) known: BTreeSet<BackupId>,
    /// When, by FiFo's clock; `None` where the answer had no date: then the date of a backup shows nothing.
    pub(super) asked_at: Option<DateTime<Utc>>,
}

/// The result of a search for a new backup.
enum Search {
    Found(BackupId),
    /// At the end of the search the list was read, and does not have it.
    Absent,
    /// At the end of the search nothing could be read.
    Unknown(String),
}

impl VmWorker<'_> {
    /// Finds the backup of a create that FiFo has accepted.
    pub(super) async fn find_accepted(
        &self,
        create: &Create,
        sent: &Sent,
        named: Option<BackupId>,
    ) -> Result<BackupId, StepError> {
        match self.search(create, sent, named).await {
            Search::Found(backup) => Ok(backup),
            Search::Absent => Err(StepError::Unverified(UnverifiedReason::CreateNotListed)),
            Search::Unknown(why) => Err(StepError::Unverified(UnverifiedReason::CreateUnknown(why))),
        }
    }

    /// Finds the backup of a create without a clear answer; `None` when there is certainly none and the request may be sent
    /// again.
    pub(super) async fn find_unclear(
        &self,
        create: &Create,
        sent: &Sent,
        attempts: &WriteAttempts,
        answer: UnclearAnswer,
    ) -> Result<Option<BackupId>, StepError> {
        match self.search(create, sent, None).await {
            Search::Found(backup) => Ok(Some(backup)),
            Search::Absent if attempts.may_retry(&answer) => Ok(None),
            Search::Absent => Err(StepError::Failed(FailureReason::NoNewBackup(answer))),
            Search::Unknown(why) => {
                Err(StepError::Unverified(UnverifiedReason::CreateUnclear { answer, why }))
            }
        }
    }

    /// Looks for the new backup, in single readings and in the list, until it is there or the search time is over.
    async fn search(&self, create: &Create, sent: &Sent, named: Option<BackupId>) -> Search {
        let timing = self.context.executor.settings.timing;
        let is_ours = |vm: &Vm| new_backup(vm, create, sent, named);
        let began = Instant::now();
        let mut intervals = poll_intervals(timing.pause_min / 4, timing.pause_max);
        loop {
            let is_last = began.elapsed() >= timing.search;
            if let Ok(seen) = self.context.reader.read(self.id).await
                && let Some(backup) = is_ours(&seen.vm)
            {
                return Search::Found(backup);
            }
            match self.context.reader.in_list(self.id).await {
                Ok(vm) => match is_ours(&vm) {
                    Some(backup) => return Search::Found(backup),
                    None if is_last && self.context.reader.proves_absence() => return Search::Absent,
                    None if is_last => {
                        return Search::Unknown(
                            "FiFo truncates its list every time, and a single reading of a VM may be old"
                                .to_owned(),
                        );
                    }
                    None => {}
                },
                Err(error) if is_last => return Search::Unknown(with_causes(&error)),
                Err(_) => {}
            }
            let left = timing.search.saturating_sub(began.elapsed());
            tokio::time::sleep(intervals.next().unwrap_or(timing.pause_max).min(left)).await;
        }
    }
}

/// Finds the backup that a create has made: one that was not there before, with its comment and no other parent, and
/// stamped no earlier than FiFo's clocks allow. Of several, the oldest.
pub(super) fn new_backup(vm: &Vm, create: &Create, sent: &Sent, named: Option<BackupId>) -> Option<BackupId> {
    if let Some(named) = named.filter(|&named| vm.backups.contains(named)) {
        return Some(named);
    }
    vm.backups
        .values()
        .filter(|backup| !sent.known.contains(&backup.id))
        .filter(|backup| backup.comment.as_deref() == Some(create.comment.as_str()))
        .filter(|backup| backup.parent.is_none() || backup.parent == create.parent)
        .filter(|backup| {
            let earliest = sent.asked_at.map(|asked_at| asked_at - CLOCK_SKEW_MAX);
            backup.timestamp.is_none_or(|taken| earliest.is_none_or(|earliest| taken >= earliest))
        })
        .min_by_key(|backup| (backup.timestamp, backup.id))
        .map(|backup| backup.id)
}
