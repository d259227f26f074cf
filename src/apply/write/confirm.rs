//! Looks for the effect of a write until it is seen, its absence is proven, or it stays unknown, and ends the action by what
//! was found.

use super::attempt::{Confirmed, Unclear};
use crate::apply::outcome::{ActionKind, ActionRef, Ended};
use crate::apply::reader::{ReadError, VmReading};
use crate::apply::state::Alarm;
use crate::apply::timing::VERIFY;
use crate::apply::vm::VmRun;
use crate::fifo::with_causes;
use crate::inventory::{BackupId, RecordedState, Vm};
use crate::plan::{Action, bytes_text};
use crate::policy::minute_text;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const READINGS_PER_LIST: u32 = 3;

impl VmRun<'_> {
    /// Looks for the effect of the write under way. A single reading can show that it is done; only the list can show that
    /// it is not.
    pub(crate) async fn confirm(&mut self, action: &Action, unclear: Option<&Unclear>) -> Confirmed {
        let timing = self.run.executor.settings.timing;
        let within = match unclear {
            // The answer was a refusal: one look shows whether it was done before.
            Some(unclear) if unclear.is_refusal() => Duration::ZERO,
            _ if action.is_create() => timing.search,
            _ => VERIFY,
        };
        // A local delete that got no clear answer may still arrive, without its body.
        let is_over_when_seen = unclear.is_none() || !action.is_local_delete();
        let (began, mut pause, mut readings) = (Instant::now(), timing.pause_min / 4, 0);
        loop {
            readings += 1;
            let is_last = began.elapsed() >= within;
            let mut wants_list = is_last || readings % READINGS_PER_LIST == 0;
            if let Ok(seen) = self.run.reader.read(self.at.vm).await {
                match self.effect(&seen.vm) {
                    Some(Confirmed::Seen(_)) if self.needs_list(unclear.is_some()) => wants_list = true,
                    Some(found @ Confirmed::Seen(_)) if is_over_when_seen => {
                        self.known.fresh = Some(seen);
                        return found;
                    }
                    Some(found @ Confirmed::Vanished(_)) if !self.run.reader.proves_absence() => {
                        return found;
                    }
                    Some(Confirmed::Vanished(_)) => wants_list = true,
                    _ => {}
                }
            }
            if wants_list {
                let listed = self.run.reader.in_list(self.at.vm).await;
                let is_proof = self.run.reader.proves_absence();
                match listed.map(|vm| (self.effect(&vm), vm)) {
                    Ok((Some(Confirmed::Seen(_)), _)) if !is_last && !is_over_when_seen => {}
                    Ok((Some(found), vm)) => {
                        self.known.fresh = Some(VmReading::of_list(vm));
                        return found;
                    }
                    Err(ReadError::Gone) if is_proof => return Confirmed::Gone,
                    _ if !is_last => {}
                    Err(error) => return Confirmed::Unknown(with_causes(&error)),
                    Ok((None, vm)) => {
                        let without_body = self.attempt.as_ref().and_then(|it| it.without_body(&vm));
                        let why =
                            "FiFo truncates its list every time, and a single reading of a VM may be old";
                        return match without_body.filter(|_| unclear.is_none()) {
                            Some(backup) => Confirmed::BodyLost(backup),
                            None if is_proof => Confirmed::Absent,
                            None => Confirmed::Unknown(why.to_owned()),
                        };
                    }
                }
            }
            sleep(pause.min(within.saturating_sub(began.elapsed()))).await;
            pause = (pause * 3 / 2).min(timing.pause_max / 3);
        }
    }

    fn effect(&self, vm: &Vm) -> Option<Confirmed> {
        self.attempt.as_ref()?.effect(vm)
    }

    fn needs_list(&self, is_unclear: bool) -> bool {
        self.run.reader.proves_absence()
            && self.attempt.as_ref().is_some_and(|attempt| attempt.needs_list(is_unclear))
    }

    /// Ends an action whose effect a reading shows later than it was looked for.
    pub(crate) async fn late_effect(&mut self, seen: &VmReading) -> Option<(Action, Ended)> {
        let (mut found, mut seen) = (self.effect(&seen.vm)?, seen.clone());
        if self.needs_list(true) {
            seen = self.read_in_list().await.ok()?;
            found = self.effect(&seen.vm)?;
        }
        let action = self.attempt.as_ref()?.action.clone();
        self.known.fresh = Some(seen);
        let ended = self.settle(&action, found, None).await?;
        Some((action, ended))
    }

    /// Ends an action by what was found of it; `None` where it may be sent again.
    pub(crate) async fn settle(
        &mut self,
        action: &Action,
        found: Confirmed,
        unclear: Option<Unclear>,
    ) -> Option<Ended> {
        let (write, nothing, next) = match action {
            Action::Create(_) => ("create", "no new backup appeared", "the next run checks the result"),
            Action::DeleteLocal(_) => (
                "local delete",
                "the snapshot is still there",
                "this run sends no more deletes, the next run checks again",
            ),
            Action::DeleteCloud(_) => {
                ("delete from storage", "the backup is still there", "the next run checks again")
            }
        };
        let now = self.run.executor.clock.now();
        Some(match (found, unclear) {
            (Confirmed::Seen(backup), _) => self.done(action, backup).await,
            (Confirmed::Vanished(gone), _) => {
                let kind = ActionKind::from(action);
                let named = ActionRef::from(action).backup?;
                self.raise(Alarm::vanished(now, &self.at, kind, named, gone))
            }
            (Confirmed::BodyLost(found), _) => self.raise(Alarm::body_lost(now, &self.at, found)),
            (Confirmed::Gone, _) => {
                self.forget_note();
                Ended::failed("vm_gone", format!("the {write} was sent, and the VM is gone: it was deleted"))
            }
            (Confirmed::Absent, Some(unclear)) => return self.absent(action, unclear, nothing).await,
            (Confirmed::Absent, None) => {
                Ended::unknown("no_effect", format!("FiFo accepted the {write}, but {nothing}; {next}"))
            }
            (Confirmed::Unknown(why), unclear) => {
                let answer = unclear.map_or("accepted it".to_owned(), |unclear| unclear.text);
                let text =
                    format!("the {write} was sent, FiFo {answer}, and the result is unknown ({why}); {next}");
                Ended::unknown("unknown", text)
            }
        })
    }

    async fn done(&mut self, action: &Action, backup: BackupId) -> Ended {
        let short = backup.short();
        match action {
            Action::Create(create) => self.created(create, backup).await,
            Action::DeleteLocal(delete) => {
                self.forget_note();
                let taken = delete.taken.map(|it| format!(" of {}", minute_text(it))).unwrap_or_default();
                let record = self.known.fresh.as_ref().and_then(|seen| seen.vm.backups.get(backup));
                let is_stored = record.is_some_and(|record| record.state == RecordedState::Completed);
                let stored = if is_stored { ", the stored copy is in place" } else { "" };
                Ended::done("deleted", format!("snapshot {short}{taken} is deleted{stored}"))
            }
            Action::DeleteCloud(delete) => {
                self.known.forget(backup);
                let size = delete.size_bytes.map_or("of unknown size".to_owned(), bytes_text);
                let taken = minute_text(delete.taken);
                Ended::done("pruned", format!("backup {short} of {taken} is deleted from storage ({size})"))
            }
        }
    }

    /// Ends an action that had no effect by the list, after an answer that left that open; `None` where it may be sent again.
    async fn absent(&mut self, action: &Action, unclear: Unclear, nothing: &str) -> Option<Ended> {
        self.forget_note();
        let attempt = self.attempt.as_ref()?;
        if attempt.may_repeat(&unclear) {
            self.pause(self.run.executor.settings.timing.pause_min).await;
            return None;
        }
        let hint = match (action, unclear.status) {
            (Action::DeleteCloud(_) | Action::DeleteLocal(_), Some(404)) => {
                let text = "FiFo refused the delete with 404 Not Found, and lists the backup";
                return Some(Ended { detail: Some(404), ..attempt.failed("refused", text) });
            }
            (Action::DeleteCloud(_), Some(412)) => {
                let text = "FiFo answered every delete with 412: the VM changes all the time, or a cache shows an old \
                            state of it";
                return Some(Ended { detail: Some(412), ..attempt.failed("refused", text) });
            }
            (Action::DeleteCloud(_), _) if unclear.is_failure() => {
                let text = format!(
                    "the delete from storage was sent, FiFo {}, and the backup is still on record, but its files may be \
                     gone: check the VM's hypervisor in FiFo; the next run tries again",
                    unclear.text
                );
                return Some(Ended { detail: unclear.status, ..Ended::unknown("unknown", text) });
            }
            (Action::DeleteCloud(_), _) => "the next run tries again",
            (Action::DeleteLocal(_), _) => "check the hypervisor's agent",
            (Action::Create(_), Some(500)) => "check the VM's hypervisor, its agent and the backup store",
            (Action::Create(_), _) => "gave up after five attempts",
        };
        let text = format!("FiFo {}, and {nothing}; {hint}", unclear.text);
        Some(Ended { detail: unclear.status, ..Ended::failed("no_effect", text) })
    }

    fn raise(&self, alarm: Alarm) -> Ended {
        let text = alarm.to_string();
        self.run.raise(alarm);
        Ended::failed("safety_stop", text)
    }
}
