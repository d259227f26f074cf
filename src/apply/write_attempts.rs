//! Interprets the answer to a write, the same for creates and local deletes.

use super::reader::VmReading;
use super::timing::{CLOCK_SKEW_MAX, Timing};
use super::worker::{StepError, VmWorker};
use crate::fifo::{FifoError, WriteAnswer, with_causes};
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

/// What one answer means.
enum Judged {
    /// It counts as sent: FiFo has it or may have it, or there was no connection.
    Sent(AttemptResult),
    /// FiFo has surely not done it, and may do it after a pause.
    NotDone { pause: Duration },
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

    /// Counts an answer and judges it. An error ends the action: nothing was done, and repeating it does not help.
    fn judge(&mut self, answer: WriteAnswer, had_condition: bool, timing: &Timing) -> Result<Judged, String> {
        match answer {
            WriteAnswer::Refused { status, permission } => {
                let needs = permission.map(|it| format!(": the user needs the permission `{it}`"));
                let (verb, needs, nothing) = (self.verb, needs.unwrap_or_default(), self.nothing());
                Err(format!("FiFo refused the {verb} with {status}{needs}; {nothing}"))
            }
            // FiFo does not do that, and a repetition would only be refused again.
            WriteAnswer::Changed if !had_condition => Err(format!(
                "the {} was answered with 412 although it was sent without If-Match: check the proxies between here and \
                 FiFo; {}",
                self.verb,
                self.nothing()
            )),
            // Somebody changed the VM since it was read, were it only a log line: read and decide again.
            WriteAnswer::Changed => {
                self.refusals += 1;
                Ok(Judged::NotDone { pause: timing.pause_min })
            }
            WriteAnswer::Unauthorized => {
                self.unauthorized += 1;
                self.check_limit(
                    self.unauthorized,
                    UNAUTHORIZED_MAX,
                    "401, and accepts the same token elsewhere",
                )?;
                Ok(Judged::NotDone { pause: timing.pause_min })
            }
            WriteAnswer::TooMany { retry_after } => {
                self.busy += 1;
                self.check_limit(self.busy, BUSY_MAX, "429 (too many requests)")?;
                Ok(Judged::NotDone { pause: retry_after.unwrap_or(timing.pause_max).min(RETRY_AFTER_MAX) })
            }
            WriteAnswer::Accepted { backup, .. } => Ok(self.sent(AttemptResult::Accepted(backup))),
            WriteAnswer::Failed { status } => Ok(self.unknown(format!("answered {status}"), false, true)),
            WriteAnswer::Unavailable { status } => Ok(self.unknown(format!("answered {status}"), true, true)),
            WriteAnswer::Lost { message } => {
                Ok(self.unknown(format!("gave no answer ({message})"), true, true))
            }
            WriteAnswer::NotSent { message } => {
                Ok(self.unknown(format!("could not be reached ({message})"), true, false))
            }
        }
    }

    fn check_limit(&self, count: u32, max: u32, answer: &str) -> Result<(), String> {
        if count < max {
            return Ok(());
        }
        let (verb, nothing) = (self.verb, self.nothing());
        Err(format!("FiFo answers every {verb} with {answer}; {nothing}"))
    }

    fn unknown(&mut self, said: String, may_repeat: bool, may_have_arrived: bool) -> Judged {
        self.is_open |= may_have_arrived;
        self.sent(AttemptResult::Unknown(UnknownOutcome { said, may_repeat, may_have_arrived }))
    }

    fn sent(&mut self, result: AttemptResult) -> Judged {
        self.sent += 1;
        Judged::Sent(result)
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
        match server_date.filter(|server| (*server - ours).abs() > CLOCK_SKEW_MAX) {
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
        let timing = &self.context.executor.settings.timing;
        let judged = match answer {
            Ok(answer) => attempts.judge(answer, had_condition, timing),
            Err(error) => {
                let why = with_causes(&self.context.reader.failed(error));
                Err(format!("{}: {why}", attempts.nothing()))
            }
        };
        match judged.map_err(StepError::Failed)? {
            Judged::Sent(result) => Ok(result),
            Judged::NotDone { pause } => {
                self.pause(pause).await;
                Ok(AttemptResult::RetryLater)
            }
        }
    }
}
