//! Looks for the effect of a delete of either kind, and for what else went with it.

use super::action::DeleteKind;
use super::step::StepError;
use super::timing::poll_intervals;
use super::worker::VmWorker;
use crate::fifo::with_causes;
use crate::inventory::{BackupId, LocalState, Vm};
use tokio::time::Instant;

/// Every so many readings the list is read.
const READINGS_PER_LIST: u32 = 3;

/// The effect of a delete, as readings show it. Other backups that have vanished are an alarm instead.
pub(super) enum DeleteEffect {
    /// The snapshot or the backup is gone, and everything else is there.
    Done,
    /// By the list, it and everything else is still there.
    None,
    /// The list could not be read.
    Unknown(String),
}

/// A delete that FiFo has received, or may have.
#[derive(Clone, Copy)]
pub(super) struct SentDelete {
    pub(super) kind: DeleteKind,
    pub(super) backup: BackupId,
    /// Whether FiFo has accepted it.
    pub(super) was_accepted: bool,
}

impl SentDelete {
    fn is_done(self, vm: &Vm) -> bool {
        let record = vm.backups.get(self.backup);
        match self.kind {
            DeleteKind::DeleteLocal => record.is_some_and(|record| record.local == LocalState::Absent),
            DeleteKind::DeleteCloud => record.is_none(),
        }
    }

    /// Says whether it is over once it is seen to be done. A local delete that got no clear answer may still cost a chain: it
    /// may arrive without its body.
    fn is_over_when_done(self) -> bool {
        self.was_accepted || self.kind == DeleteKind::DeleteCloud
    }
}

impl VmWorker<'_> {
    /// Looks for the effect of a delete. A single reading can show that it is done; only the list can show that another
    /// backup has vanished, or that nothing has happened.
    ///
    /// Any that was not accepted may take effect up to a minute later, so that its effect is looked for until then.
    pub(super) async fn effect_of(&mut self, sent: SentDelete) -> Result<DeleteEffect, StepError> {
        let timing = self.context.executor.settings.timing;
        let began = Instant::now();
        let mut intervals = poll_intervals(timing.pause_min / 4, timing.pause_max / 3);
        let mut readings = 0;
        loop {
            let is_last = began.elapsed() >= timing.verify;
            let mut list_tells = false;
            if let Ok(seen) = self.context.reader.read(self.id).await {
                let is_whole = self.nothing_vanished(&seen.vm);
                if is_whole && sent.was_accepted && sent.is_done(&seen.vm) {
                    self.last_poll = Some((seen, Instant::now()));
                    return Ok(DeleteEffect::Done);
                }
                list_tells = !is_whole || sent.is_over_when_done() && sent.is_done(&seen.vm);
            }
            readings += 1;
            if list_tells || is_last || readings % READINGS_PER_LIST == 0 {
                match self.guarded_list().await? {
                    Ok(vm) if (sent.is_over_when_done() || is_last) && sent.is_done(&vm) => {
                        return Ok(DeleteEffect::Done);
                    }
                    Ok(_) if is_last => return Ok(DeleteEffect::None),
                    Err(error) if is_last => return Ok(DeleteEffect::Unknown(with_causes(&error))),
                    Ok(_) | Err(_) => {}
                }
            }
            let left = timing.verify.saturating_sub(began.elapsed());
            tokio::time::sleep(intervals.next().unwrap_or(timing.pause_max).min(left)).await;
        }
    }
}
