//! Looks for the effect of a write until it is seen, its absence is proven, or it stays unknown.

use super::super::reader::ReadError;
use super::super::timing::poll_intervals;
use super::super::vm::VmRun;
use super::effect::{Effect, Sent};
use crate::fifo::with_causes;
use crate::inventory::BackupId;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Every so many readings the list is read.
const READINGS_PER_LIST: u32 = 3;

/// What was found of a write.
#[derive(Debug)]
pub(in super::super) enum Confirmed {
    Seen(BackupId),
    /// By the list nothing was done.
    Absent,
    /// By the list a create has made a backup without the body that was sent.
    BodyLost(BackupId),
    /// More has gone than was to go.
    Vanished(Vec<BackupId>),
    /// FiFo no longer has the VM.
    Gone,
    /// Nothing could be read that proves anything, and why.
    Unknown(String),
}

impl VmRun<'_> {
    /// Looks for the effect of a write, for at most a time. A single reading can show that it is done; only the list can
    /// show that it is not.
    pub(in super::super) async fn confirm(&mut self, sent: &Sent, within: Duration) -> Confirmed {
        let timing = self.run.executor.settings.timing;
        let began = Instant::now();
        let mut intervals = poll_intervals(timing.pause_min / 4, timing.pause_max / 3);
        let mut readings = 0;
        loop {
            let is_last = began.elapsed() >= within;
            let mut wants_list = is_last;
            if let Ok(seen) = self.run.reader.read(self.id).await {
                match sent.effect(&seen.vm) {
                    Some(Effect::Seen(backup)) if sent.is_over_when_seen() => {
                        self.fresh = Some((seen, Instant::now()));
                        return Confirmed::Seen(backup);
                    }
                    Some(Effect::Vanished(gone)) if !self.run.reader.proves_absence() => {
                        return Confirmed::Vanished(gone);
                    }
                    Some(Effect::Vanished(_)) => wants_list = true,
                    Some(Effect::Seen(_)) | None => {}
                }
            }
            readings += 1;
            if wants_list || readings % READINGS_PER_LIST == 0 {
                let found = self.look_in_list(sent, is_last).await;
                if let Some(found) = found {
                    return found;
                }
            }
            let left = within.saturating_sub(began.elapsed());
            sleep(intervals.next().unwrap_or(timing.pause_max).min(left)).await;
        }
    }

    /// Looks in the list; `None` to look again.
    async fn look_in_list(&self, sent: &Sent, is_last: bool) -> Option<Confirmed> {
        let vm = match self.run.reader.in_list(self.id).await {
            Ok(vm) => vm,
            Err(ReadError::Gone) if self.run.reader.proves_absence() => return Some(Confirmed::Gone),
            Err(error) => return is_last.then(|| Confirmed::Unknown(with_causes(&error))),
        };
        match sent.effect(&vm) {
            Some(Effect::Vanished(gone)) => Some(Confirmed::Vanished(gone)),
            Some(Effect::Seen(backup)) => {
                (is_last || sent.is_over_when_seen()).then_some(Confirmed::Seen(backup))
            }
            None if !is_last => None,
            None => Some(match sent.without_body(&vm) {
                Some(backup) => Confirmed::BodyLost(backup),
                None if self.run.reader.proves_absence() => Confirmed::Absent,
                None => Confirmed::Unknown(
                    "FiFo truncates its list every time, and a single reading of a VM may be old".to_owned(),
                ),
            }),
        }
    }
}
