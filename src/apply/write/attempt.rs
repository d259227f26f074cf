//! One action from its first request to its end: what each answer means, when it may be sent again, and what a reading shows
//! of it.

use crate::apply::outcome::Ended;
use crate::apply::reader::VmReading;
use crate::apply::timing::{CLOCK_SKEW_MAX, SETTLE, Timing, WRITE_MAX};
use crate::fifo::{FifoError, WriteAnswer, with_causes};
use crate::inventory::{Backup, BackupId, LocalState, Vm};
use crate::plan::{Action, Create};
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// After so many answers 412 a write is sent without a condition: behind several API nodes or a cache the condition may
/// never fit.
const REFUSALS_MAX: u32 = 3;

/// After so many answers 412 a delete from storage is given up: it is never sent without a condition that there is. While an
/// upload runs the version changes all the time.
const PRUNE_REFUSALS_MAX: u32 = 6;

pub(crate) struct Attempt {
    pub(crate) action: Action,
    /// The backups that are planned to be deleted from storage: another run may carry out the same plan.
    may_go: BTreeSet<BackupId>,
    began: Instant,
    sends: u32,
    refusals: u32,
    pub(crate) has_note: bool,
    /// The last answer that left it open whether the write took effect, in words.
    pub(crate) unclear: Option<String>,
    /// What its effect is looked for by, once FiFo may have received it.
    pub(crate) sent: Option<Sent>,
}

pub(crate) struct Sent {
    /// Every backup that was on record by the reading that the write was decided on.
    pub(crate) before: BTreeSet<BackupId>,
    /// When it was sent, by FiFo's clock; `None` where FiFo sends no date.
    asked_at: Option<DateTime<Utc>>,
    named: Option<BackupId>,
}

pub(crate) enum Answer {
    /// FiFo has certainly not done it, and may do it after a pause.
    NotDone(Duration),
    /// FiFo has certainly not done it, and trying again does not help.
    Refused(Ended),
    Accepted,
    Maybe(Unclear),
}

pub(crate) struct Unclear {
    /// What FiFo did, to go behind its name: `answered 502 Bad Gateway`.
    pub(crate) text: String,
    pub(crate) status: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Confirmed {
    /// It is done; of a create this is the new backup.
    Seen(BackupId),
    Absent,
    /// By the list a create has made a backup without the body that was sent.
    BodyLost(BackupId),
    /// A delete is done, and these have gone that were to stay.
    Vanished(Vec<BackupId>),
    Gone,
    /// Nothing could be read that proves anything, and why.
    Unknown(String),
}

impl Unclear {
    /// Returns whether FiFo failed in the middle of it, so that a backup that is still on record may have lost its files.
    pub(crate) fn is_failure(&self) -> bool {
        self.status.is_some_and(|status| status >= 500)
    }

    /// Returns whether FiFo, which refused the delete, may have done it for an earlier copy of the request or for another run.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.status, Some(404 | 412))
    }
}

impl Attempt {
    pub(crate) fn new(action: Action, may_go: BTreeSet<BackupId>) -> Self {
        let (began, unclear, sent) = (Instant::now(), None, None);
        Self { action, may_go, began, sends: 0, refusals: 0, has_note: false, unclear, sent }
    }

    fn is_prune(&self) -> bool {
        self.action.is_cloud_delete()
    }

    /// Returns whether the condition never fits: then the list is read before, and the write is sent without one.
    pub(crate) fn is_without_condition(&self) -> bool {
        !self.is_prune() && self.refusals >= REFUSALS_MAX
    }

    /// Returns whether it may be sent once more after an answer without an effect.
    pub(crate) fn may_repeat(&self, unclear: &Unclear) -> bool {
        match unclear.status {
            Some(412) => self.refusals < PRUNE_REFUSALS_MAX,
            // FiFo would answer so again.
            Some(404 | 500) => false,
            _ if unclear.is_failure() && self.is_prune() => false,
            _ => self.sends < if self.action.is_create() { 5 } else { 3 },
        }
    }

    /// Judges an answer, and remembers what FiFo may have received: `seen` is what the write was decided on, and `own` are the
    /// backups that this run has made.
    pub(crate) fn judge(
        &mut self,
        answer: Result<WriteAnswer, FifoError>,
        seen: &VmReading,
        own: &BTreeSet<BackupId>,
        timing: &Timing,
    ) -> Answer {
        let has_arrived = !matches!(answer, Err(_) | Ok(WriteAnswer::NotSent { .. }));
        let named = match answer {
            Ok(WriteAnswer::Accepted { backup }) => backup,
            _ => None,
        };
        let judged = self.meaning(answer, seen.etag.is_some(), timing);
        let is_new = if self.action.is_create() {
            // One without an answer may have been slower than the search for its backup. A new backup after one that was
            // refused is another run's.
            self.sent.is_none() && matches!(judged, Answer::Accepted | Answer::Maybe(_))
        } else {
            // Any delete may have been delivered twice.
            has_arrived
        };
        if is_new {
            let before = seen.vm.backups.keys().chain(own.iter().copied()).collect();
            self.sent = Some(Sent { before, asked_at: seen.server_date, named: None });
        }
        if let Some(sent) = &mut self.sent {
            sent.named = named.or(sent.named);
        }
        judged
    }

    fn meaning(
        &mut self,
        answer: Result<WriteAnswer, FifoError>,
        had_condition: bool,
        timing: &Timing,
    ) -> Answer {
        let (status, retry_after, permission) = match answer {
            Ok(WriteAnswer::Accepted { .. }) => return Answer::Accepted,
            Ok(WriteAnswer::Maybe { what, status }) => {
                self.sends += 1;
                self.unclear = Some(what.clone());
                return Answer::Maybe(Unclear { text: what, status: status.map(|it| it.as_u16()) });
            }
            Ok(WriteAnswer::NotSent { message }) => {
                self.sends += 1;
                if self.sends < 3 {
                    return Answer::NotDone(SETTLE / 4);
                }
                let text = format!("FiFo could not be reached ({message})");
                return Answer::Refused(self.failed("no_connection", &text));
            }
            Ok(WriteAnswer::Refused { status, retry_after, permission }) => (status, retry_after, permission),
            Err(error) => return Answer::Refused(self.failed("sign_in", &with_causes(&error))),
        };
        let code = status.as_u16();
        self.refusals += u32::from(code == 412);
        match code {
            // A delete that a proxy delivers twice is answered so as well; a local one, where the proxy drops its body too.
            404 if !self.action.is_create() => {
                Answer::Maybe(Unclear { text: "answered 404 Not Found".to_owned(), status: Some(code) })
            }
            412 if self.is_prune() => {
                Answer::Maybe(Unclear { text: "answered 412".to_owned(), status: Some(code) })
            }
            // FiFo does not answer so, and a repetition would be refused again.
            412 if !had_condition => Answer::Refused(self.failed(
                "refused",
                "FiFo answered 412 although no If-Match was sent: check the proxies between here and FiFo",
            )),
            // The VM was changed since it was read, if only by a log line.
            412 => self
                .later(timing.pause_min, "412 (the VM changes all the time, or a cache shows an old state)"),
            401 => {
                // At first the token may have run out.
                let pause = if self.sends == 0 { timing.pause_min } else { SETTLE };
                self.sends += 1;
                self.later(pause, "401, and accepts the same token elsewhere")
            }
            429 => {
                let pause = retry_after.unwrap_or(timing.pause_max).min(WRITE_MAX);
                self.later(pause, "429 (too many requests)")
            }
            _ => {
                let needs = permission.map(|it| format!(": the user needs the permission `{it}`"));
                let text =
                    format!("FiFo refused the {} with {status}{}", self.verb(), needs.unwrap_or_default());
                Answer::Refused(Ended { detail: Some(code), ..self.failed("refused", &text) })
            }
        }
    }

    /// Tries again after a pause, within the time that a write may take.
    fn later(&self, pause: Duration, why: &str) -> Answer {
        if self.began.elapsed() + pause > WRITE_MAX {
            let text = format!("FiFo answers every {} with {why}", self.verb());
            return Answer::Refused(self.failed("refused", &text));
        }
        Answer::NotDone(pause)
    }

    /// Reports a write that was refused; an earlier request of the action may be open still.
    pub(crate) fn failed(&self, code: &'static str, what: &str) -> Ended {
        let Some(unclear) = &self.unclear else {
            return Ended::failed(code, format!("{what}; nothing was {}d", self.verb()));
        };
        let text = format!(
            "{what}; an earlier request was sent, to which FiFo {unclear}, and may still take effect; the next run checks \
             the result"
        );
        Ended::unknown("unknown", text)
    }

    fn verb(&self) -> &'static str {
        if self.action.is_create() { "create" } else { "delete" }
    }

    /// Returns what a reading shows: that the write is done, or that more has gone than was to go. `None` where it shows
    /// nothing of the write, since it is older or nothing was done. A backup counts as vanished only in a reading that shows
    /// the delete's own effect: any other may be of a node that has not seen the backup yet.
    pub(crate) fn effect(&self, vm: &Vm) -> Option<Confirmed> {
        let sent = self.sent.as_ref()?;
        let (named, is_done) = match &self.action {
            Action::Create(create) => return sent.new_backup(vm, create).map(Confirmed::Seen),
            Action::DeleteLocal(delete) => {
                let record = vm.backups.get(delete.backup?);
                (delete.backup?, record.is_none_or(|record| record.local == LocalState::Absent))
            }
            Action::DeleteCloud(delete) => (delete.backup, !vm.backups.contains(delete.backup)),
        };
        if !is_done {
            return None;
        }
        let may_go = |id: &BackupId| self.is_prune() && *id == named || self.may_go.contains(id);
        let gone: Vec<BackupId> =
            sent.before.iter().copied().filter(|id| !vm.backups.contains(*id) && !may_go(id)).collect();
        Some(if gone.is_empty() { Confirmed::Seen(named) } else { Confirmed::Vanished(gone) })
    }

    /// Says whether only the list shows that it is done. Where FiFo sends no date, a backup that is new in a reading may be one
    /// that is long gone; and after an unclear answer to a delete from storage, one that is gone in a reading may be younger
    /// than the reading.
    pub(crate) fn needs_list(&self, is_unclear: bool) -> bool {
        let is_undated = || self.sent.as_ref().is_some_and(|sent| sent.asked_at.is_none());
        if self.action.is_create() { is_undated() } else { self.is_prune() && is_unclear }
    }

    /// Finds the backup that FiFo makes of a create whose body was lost on the way: a full one with an empty comment.
    pub(crate) fn without_body(&self, vm: &Vm) -> Option<BackupId> {
        let is_without = |backup: &&Backup| backup.comment.as_deref() == Some("") && backup.parent.is_none();
        let found = self.sent.as_ref()?.new_backups(vm).find(is_without)?;
        self.action.is_create().then_some(found.id)
    }
}

impl Sent {
    /// Finds the backup that a create has made: one that was not there before, with its comment and no other parent, and
    /// stamped no earlier than FiFo's clocks allow. Of several, the oldest; where FiFo sends no date, the newest, since an old
    /// reading may not have shown the others before.
    fn new_backup(&self, vm: &Vm, create: &Create) -> Option<BackupId> {
        let is_empty = |backup: &Backup| backup.comment.as_deref() == Some("");
        if let Some(named) = self.named.and_then(|named| vm.backups.get(named)).filter(|it| !is_empty(it)) {
            return Some(named.id);
        }
        let ours = self
            .new_backups(vm)
            .filter(|backup| backup.comment.as_deref() == Some(create.comment.as_str()))
            .filter(|backup| backup.parent.is_none() || backup.parent == create.parent);
        let age = |backup: &&Backup| (backup.timestamp, backup.id);
        let found = if self.asked_at.is_some() { ours.min_by_key(age) } else { ours.max_by_key(age) };
        found.map(|backup| backup.id)
    }

    fn new_backups<'v>(&self, vm: &'v Vm) -> impl Iterator<Item = &'v Backup> {
        let earliest = self.asked_at.map(|asked_at| asked_at - CLOCK_SKEW_MAX);
        vm.backups.values().filter(|backup| !self.before.contains(&backup.id)).filter(move |backup| {
            backup.timestamp.is_none_or(|taken| earliest.is_none_or(|earliest| taken >= earliest))
        })
    }
}
