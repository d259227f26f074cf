//! What the answer to a write means, the same for creates and deletes: it was not done, it was accepted, or it may have
//! been done. The budget for trying again is here too.

use super::super::outcome::{ActionKind, Ended};
use super::super::timing::Timing;
use super::effect::Sent;
use crate::fifo::{FifoError, WriteAnswer, with_causes};
use crate::inventory::BackupId;
use crate::plan::Action;
use http::StatusCode;
use std::time::Duration;
use tokio::time::Instant;

/// After so many answers 412 a write is sent without a condition: behind several API nodes or a cache the condition may
/// never fit.
const REFUSALS_MAX: u32 = 3;

/// After so many answers 412 a delete from storage is given up: it is never sent without a condition that there is. While an
/// upload runs the version changes all the time.
const PRUNE_REFUSALS_MAX: u32 = 6;

/// One action, from its first request to the last.
pub(in super::super) struct Attempt {
    pub(in super::super) action: Action,
    began: Instant,
    sends: u32,
    refusals: u32,
    /// The last answer that left it open whether the write took effect, in words.
    pub(in super::super) unclear: Option<String>,
    /// What was sent, as far as FiFo may have received it.
    pub(in super::super) sent: Option<Sent>,
}

/// What an answer means.
pub(in super::super) enum Answer {
    /// FiFo has certainly not done it, and may do it after a pause.
    NotDone {
        pause: Duration,
    },
    /// FiFo has certainly not done it, and trying again does not help.
    Refused(Ended),
    /// FiFo has accepted it; old versions name the new backup.
    Accepted(Option<BackupId>),
    Maybe(Unclear),
}

/// An answer that does not say whether the write takes effect.
pub(in super::super) struct Unclear {
    /// What FiFo did, to go behind its name: `answered 502 Bad Gateway`.
    pub(in super::super) text: String,
    pub(in super::super) status: Option<StatusCode>,
}

impl Unclear {
    /// Returns whether the write may be sent again once it is certain that it had no effect. After a 500 FiFo would fail
    /// again.
    fn may_repeat(&self) -> bool {
        self.status != Some(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Returns whether FiFo failed in the middle of it, so that a backup that is still on record may have lost its files.
    pub(in super::super) fn is_failure(&self) -> bool {
        self.status.is_some_and(|status| status.is_server_error())
    }

    /// Returns whether the delete may have been done by the same request, delivered twice, or by another run: the answer
    /// itself was a refusal.
    pub(in super::super) fn is_refusal(&self) -> bool {
        self.status.is_some_and(|status| status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT)
    }
}

impl Attempt {
    pub(in super::super) fn new(action: Action) -> Self {
        Self { action, began: Instant::now(), sends: 0, refusals: 0, unclear: None, sent: None }
    }

    fn kind(&self) -> ActionKind {
        ActionKind::from(&self.action)
    }

    /// Returns whether the condition never fits: then the list is read before, and the write is sent without one.
    pub(in super::super) fn is_without_condition(&self) -> bool {
        self.kind() != ActionKind::DeleteCloud && self.refusals >= REFUSALS_MAX
    }

    /// Returns whether it may be sent once more after an answer without an effect.
    pub(in super::super) fn may_repeat(&self, unclear: &Unclear) -> bool {
        let sends_max = if self.kind() == ActionKind::Create { 5 } else { 3 };
        unclear.may_repeat() && self.sends < sends_max
    }

    /// Counts an answer and judges it.
    pub(in super::super) fn judge(
        &mut self,
        answer: Result<WriteAnswer, FifoError>,
        had_condition: bool,
        timing: &Timing,
    ) -> Answer {
        let is_prune = self.kind() == ActionKind::DeleteCloud;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Answer::Refused(self.failed("sign_in", &with_causes(&error))),
        };
        match answer {
            WriteAnswer::Accepted { backup, .. } => {
                self.sends += 1;
                Answer::Accepted(backup)
            }
            WriteAnswer::Failed { status } | WriteAnswer::Unavailable { status } => {
                self.maybe(format!("answered {status}"), Some(status))
            }
            WriteAnswer::Lost { message } => self.maybe(format!("gave no answer ({message})"), None),
            // The VM was changed since it was read, if only by a log line. A delete from storage that a proxy delivers twice
            // answers so as well.
            WriteAnswer::Changed if is_prune => {
                self.refusals += 1;
                self.maybe_refused(StatusCode::PRECONDITION_FAILED)
            }
            // FiFo does not answer so, and a repetition would be refused again.
            WriteAnswer::Changed if !had_condition => Answer::Refused(self.failed(
                "refused",
                "FiFo answered 412 although no If-Match was sent: check the proxies between here and FiFo",
            )),
            WriteAnswer::Changed => {
                self.refusals += 1;
                self.later(
                    timing.pause_min,
                    "412 (the VM changes all the time, or a cache shows an old state)",
                    timing,
                )
            }
            WriteAnswer::Refused { status: StatusCode::NOT_FOUND, .. } if is_prune => {
                self.maybe_refused(StatusCode::NOT_FOUND)
            }
            WriteAnswer::Refused { status, permission } => {
                let needs = permission.map(|it| format!(": the user needs the permission `{it}`"));
                let text =
                    format!("FiFo refused the {} with {status}{}", self.verb(), needs.unwrap_or_default());
                Answer::Refused(self.failed("refused", &text).with_detail(status.as_u16()))
            }
            // At first the token may have run out.
            WriteAnswer::Unauthorized => {
                let pause = if self.sends == 0 { timing.pause_min } else { timing.settle };
                self.sends += 1;
                self.later(pause, "401, and accepts the same token elsewhere", timing)
            }
            WriteAnswer::TooMany { retry_after } => self.later(
                retry_after.unwrap_or(timing.pause_max).min(timing.write),
                "429 (too many requests)",
                timing,
            ),
            WriteAnswer::NotSent { message } => {
                self.sends += 1;
                if self.sends >= 3 {
                    let text = format!("FiFo could not be reached ({message})");
                    return Answer::Refused(self.failed("no_connection", &text));
                }
                Answer::NotDone { pause: timing.settle / 4 }
            }
        }
    }

    fn maybe(&mut self, text: String, status: Option<StatusCode>) -> Answer {
        self.sends += 1;
        self.unclear = Some(text.clone());
        Answer::Maybe(Unclear { text, status })
    }

    fn maybe_refused(&mut self, status: StatusCode) -> Answer {
        Answer::Maybe(Unclear { text: format!("answered {status}"), status: Some(status) })
    }

    /// Returns what to do about a delete from storage that FiFo has refused, and that has certainly not been done.
    pub(in super::super) fn refused_prune(&self, unclear: &Unclear, timing: &Timing) -> Answer {
        if unclear.status == Some(StatusCode::NOT_FOUND) {
            let text = "FiFo refused the delete with 404 Not Found, and lists the backup";
            return Answer::Refused(self.failed("refused", text).with_detail(404));
        }
        if self.refusals >= PRUNE_REFUSALS_MAX {
            let text = "FiFo answered every delete with 412: the VM changes all the time, or a cache shows an old state of it";
            return Answer::Refused(self.failed("refused", text).with_detail(412));
        }
        Answer::NotDone { pause: timing.pause_min }
    }

    /// Tries again after a pause, within the time that a write may take.
    fn later(&self, pause: Duration, why: &str, timing: &Timing) -> Answer {
        if self.began.elapsed() + pause > timing.write {
            let text = format!("FiFo answers every {} with {why}", self.verb());
            return Answer::Refused(self.failed("refused", &text));
        }
        Answer::NotDone { pause }
    }

    /// Reports a write that was refused; an earlier request of the action may be open still.
    pub(in super::super) fn failed(&self, code: &'static str, what: &str) -> Ended {
        match &self.unclear {
            Some(unclear) => Ended::unknown(
                "unknown",
                format!(
                    "{what}; an earlier request was sent, to which FiFo {unclear}, and may still take effect; the next \
                     run checks the result"
                ),
            ),
            None => Ended::failed(code, format!("{what}; nothing was {}d", self.verb())),
        }
    }

    fn verb(&self) -> &'static str {
        if self.kind() == ActionKind::Create { "create" } else { "delete" }
    }
}
