//! Interprets the answer to a write, the same for creates and local deletes.

use super::reader::VmReading;
use super::timing::CLOCKS_APART_MAX;
use super::worker::{StepError, VmWorker, chain};
use crate::fifo::{FifoError, WriteAnswer};
use crate::inventory::BackupId;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// How often a write is refused with 412 before it is sent without a condition: behind several API nodes or a cache
/// the condition may never fit.
const REFUSALS_MAX: u32 = 3;

/// How often a 401 is taken for a token that has just ended, however it fares in other requests.
const UNAUTHORIZED_MAX: u32 = 5;

/// How often a 429 is taken for an answer to wait for; it does nothing.
const BUSY_MAX: u32 = 10;

/// How long a `Retry-After` is heeded at the most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// One write, from the first attempt to the last.
pub(super) struct WriteAttempts {
    /// `create` or `delete`.
    verb: &'static str,
    /// What has not happened where FiFo refuses.
    nothing: &'static str,
    sent_max: u32,
    refusals: u32,
    unauthorized: u32,
    busy: u32,
    sent: u32,
    /// Whether one of them may have reached FiFo and got no clear answer.
    is_open: bool,
}

/// The result of one attempt.
pub(super) enum AttemptResult {
    /// FiFo has taken it on; old versions name the new backup.
    Accepted(Option<BackupId>),
    /// It may have been done.
    Unknown(UnknownOutcome),
    /// Nothing was done, and it may be asked for again after another look. The pause is over.
    RetryLater,
}

/// An answer that does not say whether it was done.
pub(super) struct UnknownOutcome {
    /// What FiFo did: `answered 503`.
    pub(super) said: String,
    /// Whether it may be sent again once it is certain that it was not done.
    pub(super) may_repeat: bool,
    /// Whether it may have reached FiFo.
    pub(super) may_have_arrived: bool,
}

impl WriteAttempts {
    pub(super) fn for_create() -> Self {
        Self::new("create", "nothing was created", 5)
    }

    /// Repeating a local delete is harmless, once it is certain that nothing has gone.
    pub(super) fn for_delete() -> Self {
        Self::new("delete", "nothing was deleted", 3)
    }

    fn new(verb: &'static str, nothing: &'static str, sent_max: u32) -> Self {
        Self { verb, nothing, sent_max, refusals: 0, unauthorized: 0, busy: 0, sent: 0, is_open: false }
    }

    /// Says what has not happened. A request before it that got no answer may still be carried out.
    fn nothing(&self) -> &'static str {
        if self.is_open {
            "an earlier request got no answer and may still take effect; the next run checks the result"
        } else {
            self.nothing
        }
    }

    /// Says whether the condition never fits: then the list is read before, and nothing is sent with it.
    pub(super) fn is_without_condition(&self) -> bool {
        self.refusals >= REFUSALS_MAX
    }

    /// Says whether it may be sent once more.
    pub(super) fn may_retry(&self, unclear: &UnknownOutcome) -> bool {
        unclear.may_repeat && self.sent < self.sent_max
    }

    /// Says whether an answer leaves it possible that FiFo has got the request.
    pub(super) fn may_have_arrived(answer: &Result<WriteAnswer, FifoError>) -> bool {
        !matches!(answer, Err(_) | Ok(WriteAnswer::NotSent { .. }))
    }
}

impl VmWorker<'_> {
    /// Sends nothing where the clocks are too far apart: nothing is planned then, and one may have been set in mid-run. A
    /// new backup might be stamped before its due time and not count for it; one that seems newer may not be.
    pub(super) fn clocks_agree(
        &self,
        attempts: &WriteAttempts,
        server_date: Option<DateTime<Utc>>,
    ) -> Result<(), StepError> {
        let ours = self.context.executor.clock.now();
        match server_date.filter(|server| (*server - ours).abs() > CLOCKS_APART_MAX) {
            None => Ok(()),
            Some(server) => Err(StepError::Failed(format!(
                "{}: the clocks differ by more than an hour, {} here and {} on the server; correct the wrong one",
                attempts.nothing(),
                ours.format("%Y-%m-%d %H:%M:%S UTC"),
                server.format("%Y-%m-%d %H:%M:%S UTC"),
            ))),
        }
    }

    /// Looks at the VM before a write is sent.
    pub(super) async fn read_vm_before_write(
        &mut self,
        attempts: &WriteAttempts,
    ) -> Result<VmReading, StepError> {
        if attempts.is_without_condition() { self.read_vm_in_list().await } else { self.read_vm().await }
    }

    /// Judges an answer, and pauses where that is all there is to do.
    pub(super) async fn interpret(
        &self,
        attempts: &mut WriteAttempts,
        answer: Result<WriteAnswer, FifoError>,
        had_condition: bool,
    ) -> Result<AttemptResult, StepError> {
        let timing = self.context.executor.settings.timing;
        let unclear = |said, may_repeat, may_have_arrived| {
            AttemptResult::Unknown(UnknownOutcome { said, may_repeat, may_have_arrived })
        };
        let answer = match answer {
            Err(error) => {
                let why = chain(&self.context.reader.failed(error));
                return Err(StepError::Failed(format!("{}: {why}", attempts.nothing())));
            }
            Ok(WriteAnswer::Refused { status, permission }) => {
                let needs = permission.map(|it| format!(": the user needs the permission `{it}`"));
                return Err(StepError::Failed(format!(
                    "FiFo refused the {} with {status}{}; {}",
                    attempts.verb,
                    needs.unwrap_or_default(),
                    attempts.nothing()
                )));
            }
            Ok(WriteAnswer::Changed) if !had_condition => {
                // FiFo does not do that, and asking again would only be refused again.
                return Err(StepError::Failed(format!(
                    "412 came back to a request without If-Match: something between here and FiFo refuses it; {}",
                    attempts.nothing()
                )));
            }
            Ok(WriteAnswer::Changed) => {
                // Somebody changed the VM since it was read, were it only a log line: look and decide again.
                attempts.refusals += 1;
                self.pause(timing.pause_min).await;
                return Ok(AttemptResult::RetryLater);
            }
            Ok(WriteAnswer::Unauthorized) => {
                attempts.unauthorized += 1;
                if attempts.unauthorized >= UNAUTHORIZED_MAX {
                    let (verb, nothing) = (attempts.verb, attempts.nothing());
                    let why = "and accepts the same token in other requests";
                    return Err(StepError::Failed(format!(
                        "FiFo answers 401 to every {verb}, {why}; {nothing}"
                    )));
                }
                self.pause(timing.pause_min).await;
                return Ok(AttemptResult::RetryLater);
            }
            Ok(WriteAnswer::TooMany { retry_after }) => {
                attempts.busy += 1;
                if attempts.busy >= BUSY_MAX {
                    let (verb, nothing) = (attempts.verb, attempts.nothing());
                    return Err(StepError::Failed(format!("FiFo answers 429 to every {verb}; {nothing}")));
                }
                self.pause(retry_after.unwrap_or(timing.pause_max).min(RETRY_AFTER_MAX)).await;
                return Ok(AttemptResult::RetryLater);
            }
            Ok(WriteAnswer::Accepted { backup, .. }) => AttemptResult::Accepted(backup),
            Ok(WriteAnswer::Failed { status }) => unclear(format!("answered {status}"), false, true),
            Ok(WriteAnswer::Unavailable { status }) => unclear(format!("answered {status}"), true, true),
            Ok(WriteAnswer::Lost { message }) => unclear(format!("gave no answer ({message})"), true, true),
            Ok(WriteAnswer::NotSent { message }) => {
                unclear(format!("could not be reached ({message})"), true, false)
            }
        };
        attempts.sent += 1;
        attempts.is_open |= matches!(&answer, AttemptResult::Unknown(unclear) if unclear.may_have_arrived);
        Ok(answer)
    }
}
