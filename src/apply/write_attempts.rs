//! Interprets the answer to a write, the same for creates and deletes.

use super::action::ActionKind;
use super::reader::VmReading;
use super::step::{DropReason, FailureReason, StepError, UnclearAnswer, WriteFailure, WriteState};
use super::timing::{CLOCK_SKEW_MAX, Timing};
use super::worker::VmWorker;
use crate::fifo::{FifoError, WriteAnswer, with_causes};
use crate::inventory::BackupId;
use chrono::{DateTime, Utc};
use http::StatusCode;
use std::time::Duration;

/// After so many answers 412 a write is sent without a condition: behind several API nodes or a cache the condition may
/// never fit.
const REFUSALS_MAX: u32 = 3;

/// After so many answers 412 a delete from storage is given up: it is never sent without a condition that there is. While an
/// upload runs the version changes all the time.
const PRUNE_REFUSALS_MAX: u32 = 6;

/// After so many answers 401 the token is no longer taken to have just expired.
const UNAUTHORIZED_MAX: u32 = 5;

/// After so many answers 429 a write is given up.
const BUSY_MAX: u32 = 10;

/// The longest pause that a `Retry-After` causes.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// One write, from the first attempt to the last.
pub(super) struct WriteAttempts {
    state: WriteState,
    sent_max: u32,
    refusals: u32,
    unauthorized: u32,
    busy: u32,
    sent: u32,
}

/// The result of one attempt.
pub(super) enum AttemptResult {
    /// FiFo has accepted it; old versions name the new backup.
    Accepted(Option<BackupId>),
    /// It may have taken effect.
    Unknown(UnclearAnswer),
    /// It has no effect, and may be sent again after another reading. The pause is over.
    RetryLater,
}

/// What one answer means.
enum Judged {
    /// It counts as sent: FiFo has received it or may have, or there was no connection.
    Sent(AttemptResult),
    /// FiFo has certainly not done it, and may do it after a pause.
    NotDone { pause: Duration },
}

impl WriteAttempts {
    pub(super) fn for_create() -> Self {
        Self::new(ActionKind::Create, 5)
    }

    /// Repeating a local delete is harmless, once it is certain that no backup has vanished.
    pub(super) fn for_delete() -> Self {
        Self::new(ActionKind::DeleteLocal, 3)
    }

    /// Repeating a delete from storage is harmless, once the list shows that it had no effect: it names the same backup.
    pub(super) fn for_prune() -> Self {
        Self::new(ActionKind::DeleteCloud, 3)
    }

    fn new(kind: ActionKind, sent_max: u32) -> Self {
        let state = WriteState { kind, is_open: false };
        Self { state, sent_max, refusals: 0, unauthorized: 0, busy: 0, sent: 0 }
    }

    /// Returns whether the condition never fits: then the list is read before, and the write is sent without one.
    pub(super) fn is_without_condition(&self) -> bool {
        self.state.kind != ActionKind::DeleteCloud && self.refusals >= REFUSALS_MAX
    }

    /// Returns whether what a single reading without a version shows is not enough, so that the list is read.
    fn needs_proof(&self) -> bool {
        self.state.kind == ActionKind::DeleteCloud
    }

    /// Returns whether it may be sent once more.
    pub(super) fn may_retry(&self, unclear: &UnclearAnswer) -> bool {
        unclear.may_repeat() && self.sent < self.sent_max
    }

    /// Counts an answer and judges it. An error ends the action: it has no effect, and repeating it does not help.
    fn judge(
        &mut self,
        answer: WriteAnswer,
        had_condition: bool,
        timing: &Timing,
    ) -> Result<Judged, WriteFailure> {
        match answer {
            WriteAnswer::Refused { status: StatusCode::NOT_FOUND, .. }
                if self.state.kind == ActionKind::DeleteCloud =>
            {
                Ok(self.sent(AttemptResult::Unknown(UnclearAnswer::NotFound)))
            }
            WriteAnswer::Refused { status, permission } => Err(WriteFailure::Refused { status, permission }),
            // FiFo does not answer so, and a repetition would be refused again.
            WriteAnswer::Changed if !had_condition => Err(WriteFailure::ChangedWithoutCondition),
            // The VM was changed since it was read, if only by a log line: read and decide again.
            WriteAnswer::Changed => {
                self.refusals += 1;
                if self.state.kind == ActionKind::DeleteCloud && self.refusals >= PRUNE_REFUSALS_MAX {
                    return Err(WriteFailure::AlwaysChanged);
                }
                Ok(Judged::NotDone { pause: timing.pause_min })
            }
            WriteAnswer::Unauthorized => {
                self.unauthorized += 1;
                if self.unauthorized >= UNAUTHORIZED_MAX {
                    return Err(WriteFailure::Unauthorized);
                }
                Ok(Judged::NotDone { pause: timing.pause_min })
            }
            WriteAnswer::TooMany { retry_after } => {
                self.busy += 1;
                if self.busy >= BUSY_MAX {
                    return Err(WriteFailure::TooMany);
                }
                Ok(Judged::NotDone { pause: retry_after.unwrap_or(timing.pause_max).min(RETRY_AFTER_MAX) })
            }
            WriteAnswer::Accepted { backup, .. } => Ok(self.sent(AttemptResult::Accepted(backup))),
            WriteAnswer::Failed { status } => Ok(self.unclear(UnclearAnswer::Failed(status))),
            WriteAnswer::Unavailable { status } => Ok(self.unclear(UnclearAnswer::Unavailable(status))),
            WriteAnswer::Lost { message } => Ok(self.unclear(UnclearAnswer::Lost(message))),
            WriteAnswer::NotSent { message } => Ok(self.unclear(UnclearAnswer::NotSent(message))),
        }
    }

    fn unclear(&mut self, answer: UnclearAnswer) -> Judged {
        self.state.is_open |= answer.may_have_arrived();
        self.sent(AttemptResult::Unknown(answer))
    }

    fn sent(&mut self, result: AttemptResult) -> Judged {
        self.sent += 1;
        Judged::Sent(result)
    }

    /// Reports that the write did not take effect.
    pub(super) fn failed(&self, failure: WriteFailure) -> StepError {
        StepError::Failed(FailureReason::Write { write: self.state, failure })
    }

    /// Returns whether FiFo may have received the request, by its answer.
    pub(super) fn may_have_arrived(answer: &Result<WriteAnswer, FifoError>) -> bool {
        !matches!(answer, Err(_) | Ok(WriteAnswer::NotSent { .. }))
    }
}

impl VmWorker<'_> {
    /// Fails where the clocks are too far apart: nothing is planned then either, and one may have been set during the run. A
    /// new backup might be stamped before its due time and not count for it, and a newer date may be wrong.
    pub(super) fn clocks_agree(
        &self,
        attempts: &WriteAttempts,
        server_date: Option<DateTime<Utc>>,
    ) -> Result<(), StepError> {
        let ours = self.context.executor.clock.now();
        match server_date.filter(|server| (*server - ours).abs() > CLOCK_SKEW_MAX) {
            None => Ok(()),
            Some(server) => Err(attempts.failed(WriteFailure::ClocksDiffer { ours, server })),
        }
    }

    /// Reads the VM before a write is sent.
    pub(super) async fn read_vm_before_write(
        &mut self,
        attempts: &WriteAttempts,
    ) -> Result<VmReading, StepError> {
        if attempts.is_without_condition() {
            return self.read_vm_in_list().await;
        }
        let seen = self.read_vm().await?;
        if !attempts.needs_proof() {
            return Ok(seen);
        }
        if seen.etag.is_none() {
            return self.read_vm_in_list().await;
        }
        if self.is_in_list(&seen).await? { Ok(seen) } else { Err(StepError::Dropped(DropReason::Changed)) }
    }

    /// Judges an answer, and pauses where nothing else is to be done.
    pub(super) async fn interpret(
        &self,
        attempts: &mut WriteAttempts,
        answer: Result<WriteAnswer, FifoError>,
        had_condition: bool,
    ) -> Result<AttemptResult, StepError> {
        let timing = &self.context.executor.settings.timing;
        let judged = match answer {
            Ok(answer) => attempts.judge(answer, had_condition, timing),
            Err(error) => Err(WriteFailure::NoRequest(with_causes(&self.context.reader.failed(error)))),
        };
        match judged.map_err(|failure| attempts.failed(failure))? {
            Judged::Sent(result) => Ok(result),
            Judged::NotDone { pause } => {
                self.pause(pause).await;
                Ok(AttemptResult::RetryLater)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts how often an answer may come until the action ends, at most 100 times.
    fn ends_after(answer: impl Fn() -> WriteAnswer) -> usize {
        let (mut attempts, timing) = (WriteAttempts::for_create(), Timing::default());
        let goes_on = |_: &usize| attempts.judge(answer(), true, &timing).is_ok();
        (1..=100).take_while(goes_on).count() + 1
    }

    #[test]
    fn what_is_refused_every_time_ends() {
        assert_eq!(ends_after(|| WriteAnswer::Unauthorized), 5);
        assert_eq!(ends_after(|| WriteAnswer::TooMany { retry_after: None }), 10);
        let forbidden = || WriteAnswer::Refused { status: StatusCode::FORBIDDEN, permission: None };
        assert_eq!(ends_after(forbidden), 1);
    }

    #[test]
    fn a_condition_that_never_fits_is_left_out_after_three_refusals() {
        let (mut attempts, timing) = (WriteAttempts::for_delete(), Timing::default());
        for refusals in 1..=3 {
            assert!(!attempts.is_without_condition());
            assert!(attempts.judge(WriteAnswer::Changed, true, &timing).is_ok());
            assert_eq!(attempts.refusals, refusals);
        }
        assert!(attempts.is_without_condition());
        assert!(matches!(
            attempts.judge(WriteAnswer::Changed, false, &timing),
            Err(WriteFailure::ChangedWithoutCondition)
        ));
    }

    #[test]
    fn a_delete_from_storage_is_given_up_rather_than_sent_without_its_condition() {
        let (mut attempts, timing) = (WriteAttempts::for_prune(), Timing::default());
        for _ in 1..PRUNE_REFUSALS_MAX {
            assert!(attempts.judge(WriteAnswer::Changed, true, &timing).is_ok());
            assert!(!attempts.is_without_condition());
        }
        let last = attempts.judge(WriteAnswer::Changed, true, &timing);
        assert!(matches!(last, Err(WriteFailure::AlwaysChanged)));
    }

    #[test]
    fn only_a_delete_from_storage_that_is_not_found_may_have_been_done_by_another_one() {
        let not_found = || WriteAnswer::Refused { status: StatusCode::NOT_FOUND, permission: None };
        let timing = Timing::default();
        assert!(WriteAttempts::for_delete().judge(not_found(), true, &timing).is_err());
        let mut attempts = WriteAttempts::for_prune();
        let Ok(Judged::Sent(AttemptResult::Unknown(answer))) = attempts.judge(not_found(), true, &timing)
        else {
            panic!("not looked for")
        };
        assert!(!attempts.may_retry(&answer) && !attempts.state.is_open);
    }

    #[test]
    fn a_create_is_sent_five_times_at_most_and_a_local_delete_three_times() {
        for (mut attempts, sent_max) in [(WriteAttempts::for_create(), 5), (WriteAttempts::for_delete(), 3)] {
            for sent in 1..=sent_max {
                let lost = WriteAnswer::Lost { message: "reset".to_owned() };
                let judged = attempts.judge(lost, true, &Timing::default());
                let Ok(Judged::Sent(AttemptResult::Unknown(answer))) = judged else { panic!("not unclear") };
                assert_eq!(attempts.may_retry(&answer), sent < sent_max, "{sent} of {sent_max}");
            }
        }
    }
}
