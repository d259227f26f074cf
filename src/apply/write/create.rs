//! Creates a backup: the request is sent once, its result is searched for rather than sent again, the upload is watched, the
//! backup is checked.

use super::super::event::EventKind;
use super::super::outcome::Ended;
use super::super::reader::VmReading;
use super::super::state::Alarm;
use super::super::upload::check::{Checked, Fault, check, moving, stuck};
use super::super::upload::moving::{Upload, UploadEnd};
use super::super::upload::slots::SlotPriority;
use super::super::vm::{Start, VmRun, WaitError};
use super::answer::Unclear;
use super::confirm::Confirmed;
use super::effect::Sent;
use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use crate::plan::standing::VmView;
use crate::plan::{Create, bytes_text, expected_upload_bytes};
use crate::policy::Policy;
use chrono::TimeDelta;
use tokio::time::{Instant, sleep};

/// A stamp that is further ahead of the clock that FiFo's answers show is warned about.
const STAMP_AHEAD_MAX: TimeDelta = TimeDelta::minutes(10);

const CHECK: &str = "check the hypervisor's agent and the backup store";

impl VmRun<'_> {
    /// Says whether a create may be sent now, by a reading of the VM.
    pub(in super::super) async fn may_create(&mut self, create: &Create, seen: &VmReading) -> Start {
        let is_unproven = seen.etag.is_none() && !self.run.reader.proves_absence();
        let unproven = || {
            Start::Not(Ended::dropped(
                "unproven",
                "FiFo truncates its list every time and does not accept the version of the VM, so that nothing shows \
                 whether the backup is there; it is created without that once the newest restorable one is older than \
                 `max_age`, at the pace of retries"
                    .to_owned(),
            ))
        };
        if is_unproven && self.has_recent_backup(seen) {
            return unproven();
        }
        let hypervisor = seen.vm.hypervisor.clone().unwrap_or_default();
        if hypervisor != self.hypervisor {
            self.hypervisor = hypervisor;
            self.slot = None;
        }
        match self.take_slot(create).await {
            Ok(true) => return Start::Waited,
            Ok(false) => {}
            Err(ended) => return Start::Not(ended),
        }
        let start = self.check_stuck_twice(seen).await;
        let backoff =
            self.policy_of(&seen.vm).map(|policy| policy.retry.backoff.to_std().unwrap_or_default());
        let progress = self.run.executor.progress;
        match start {
            Start::Now if is_unproven && !progress.may_go_unproven(self.id, backoff.unwrap_or_default()) => {
                unproven()
            }
            start => start,
        }
    }

    /// Says whether the newest restorable backup of a reading is as young as the policy wants it.
    fn has_recent_backup(&self, seen: &VmReading) -> bool {
        let Some(policy) = self.policy_of(&seen.vm) else { return true };
        let now = self.now_by(seen);
        let view = VmView::new(&seen.vm, policy, now);
        view.newest_restorable().is_some_and(|newest| now - newest.taken <= policy.max_age)
    }

    /// Takes a slot for an upload, and returns whether it had to be waited for.
    pub(in super::super) async fn take_slot(&mut self, create: &Create) -> Result<bool, Ended> {
        if self.slot.is_some() {
            return Ok(false);
        }
        let (slots, executor) = (&self.run.slots, self.run.executor);
        if !executor.settings.wait {
            self.slot = slots.try_acquire(&self.hypervisor);
            let none = "nothing was done: all upload slots are in use; the next run tries again";
            return if self.slot.is_some() { Ok(false) } else { Err(Ended::left("slots", none.to_owned())) };
        }
        let policy =
            executor.policies.iter().find(|policy| Some(&policy.name) == self.planned.policy.as_ref());
        let priority = SlotPriority::of(create, policy);
        let acquired = self.wait_noting(slots.acquire(&self.hypervisor, priority)).await;
        let (slot, had_to_wait) = acquired.map_err(|cut| self.cut_short(cut))?;
        self.slot = Some(slot);
        Ok(had_to_wait)
    }

    /// Reads the uploads of a VM that count as stuck, and a minute later again; each later create compares with the first
    /// reading.
    async fn check_stuck_twice(&mut self, seen: &VmReading) -> Start {
        let now = self.now_by(seen);
        let Some(policy) = self.policy_of(&seen.vm) else { return Start::Now };
        let is_read = |upload: &Backup| self.stuck_before.iter().any(|before| before.id == upload.id);
        let unread: Vec<Backup> =
            stuck(&seen.vm, policy, now).into_iter().filter(|upload| !is_read(upload)).collect();
        if unread.is_empty() {
            return match moving(&self.stuck_before, seen, policy, now) {
                Some(text) => Start::Not(Ended::dropped("not_stuck", text)),
                None => Start::Now,
            };
        }
        // The list both times: a single reading can stay old indefinitely.
        match self.read_in_list().await {
            // One that the list does not show is known by this reading.
            Ok(before) => {
                self.stuck_before = stuck(&before.vm, policy, now).into_iter().chain(unread).collect()
            }
            Err(ended) => return Start::Not(ended),
        }
        if let Err(cut) = self.wait(sleep(self.run.executor.settings.timing.stuck_recheck)).await {
            return Start::Not(self.cut_short(cut));
        }
        match self.read_in_list().await {
            Ok(after) => match moving(&self.stuck_before, &after, policy, now) {
                Some(text) => Start::Not(Ended::dropped("not_stuck", text)),
                None => Start::Waited,
            },
            Err(ended) => Start::Not(ended),
        }
    }

    /// Ends a create by what was found of it; `None` where it may be sent again.
    pub(in super::super) async fn settle_create(
        &mut self,
        create: &Create,
        sent: &Sent,
        unclear: Option<Unclear>,
        confirmed: Confirmed,
    ) -> Option<Ended> {
        let may_repeat = match (&self.attempt, &unclear) {
            (Some(attempt), Some(unclear)) => attempt.may_repeat(unclear),
            _ => false,
        };
        let ended = match (confirmed, unclear) {
            (Confirmed::Seen(backup), _) => self.created(create, backup).await,
            (Confirmed::BodyLost(backup), _) => {
                let now = self.run.executor.clock.now();
                self.alarm(Alarm::body_lost(now, &self.at, backup))
            }
            (Confirmed::Absent, Some(_)) if may_repeat => return None,
            (Confirmed::Absent, Some(unclear)) => {
                let advice = match unclear.status {
                    Some(status) if status.as_u16() == 500 => {
                        "check the VM's hypervisor, its agent and the backup store"
                    }
                    _ => "gave up after five attempts",
                };
                let text = format!("FiFo {}, and no new backup appeared; {advice}", unclear.text);
                let ended = Ended::failed("no_effect", text);
                unclear.status.map_or(ended.clone(), |status| ended.with_detail(status.as_u16()))
            }
            (Confirmed::Absent | Confirmed::Vanished(_), None) | (Confirmed::Vanished(_), Some(_)) => {
                let text = "FiFo accepted the create, but lists no new backup; check the VM in FiFo";
                Ended::unknown("unknown", text.to_owned())
            }
            (Confirmed::Gone, _) => {
                Ended::failed("vm_gone", "the create was sent, and the VM is gone: it was deleted".to_owned())
            }
            (Confirmed::Unknown(why), None) => Ended::unknown(
                "unknown",
                format!(
                    "FiFo accepted the create, but the result is unknown ({why}); the next run checks it"
                ),
            ),
            (Confirmed::Unknown(why), Some(unclear)) => Ended::unknown(
                "unknown",
                format!(
                    "the create was sent, FiFo {}, and the result is unknown ({why}); the request is not repeated, the next \
                     run checks the result",
                    unclear.text
                ),
            ),
        };
        if ended.code == "unknown"
            && let Some(slot) = self.slot.take()
        {
            // The upload may run: its slot is not free before a reading shows that it has ended.
            let executor = self.run.executor;
            self.run.register(Upload::unseen(
                self.at.clone(),
                sent.before.clone(),
                slot,
                self.stuck_after(),
                executor.clock.now(),
            ));
        }
        Some(ended)
    }

    /// Waits for a backup that FiFo has on record, and checks it.
    pub(in super::super) async fn created(&mut self, create: &Create, backup: BackupId) -> Ended {
        let executor = self.run.executor;
        self.known.own(backup);
        self.made = Some(backup);
        let seen = self.fresh.take().map(|(seen, _)| seen);
        self.run.emit(EventKind::Accepted {
            at: self.at.clone(),
            backup,
            tier: create.tier.clone(),
            expected_bytes: seen.as_ref().and_then(|seen| expected_upload_bytes(&seen.vm, create)),
        });
        let record = seen.as_ref().and_then(|seen| seen.vm.backups.get(backup)).cloned();
        let Some(slot) = self.slot.take() else {
            return Ended::unknown("unknown", format!("backup {backup} is on record, without a slot"));
        };
        let now = executor.clock.now();
        if !executor.settings.wait {
            self.run.register(Upload::left(self.at.clone(), backup, slot, self.stuck_after(), now));
            return Ended::started(format!(
                "backup {backup} is started; its upload continues in FiFo, and the next run checks the result"
            ));
        }
        if record.as_ref().is_some_and(|record| record.state == RecordedState::Completed)
            && let Some(seen) = seen
        {
            return self.check_completed(create, backup, seen).await;
        }
        let stuck_after = self.stuck_after();
        let taken = record.and_then(|record| record.timestamp);
        let (upload, ended) =
            Upload::followed(self.at.clone(), &create.tier, backup, taken, slot, stuck_after, now);
        self.run.register(upload);
        let end = match self.wait(ended).await {
            Ok(Ok(end)) => end,
            // The watch ends with the run only.
            Ok(Err(_)) => UploadEnd::Unreadable("it is no longer watched".to_owned()),
            Err(WaitError::Stopped) => {
                let text =
                    format!("backup {backup} is still running in FiFo; the next run checks the result");
                return Ended::interrupted("upload_runs", text);
            }
            Err(WaitError::HandedOver) => {
                let cause = self.run.hand_over_cause();
                let text = format!(
                    "backup {backup} is still running in FiFo, and {cause}; the next run checks the result"
                );
                return Ended::left("upload_runs", text);
            }
            Err(WaitError::Refused(error)) => UploadEnd::Unreadable(error.to_string()),
        };
        match end {
            UploadEnd::Completed(seen) => self.check_completed(create, backup, *seen).await,
            UploadEnd::Failed { bytes } => Ended::failed(
                "upload_failed",
                format!("the upload of backup {backup} failed after {}; {CHECK}", bytes_text(bytes)),
            ),
            UploadEnd::Stuck { bytes } => Ended::failed(
                "upload_stuck",
                format!("the upload of backup {backup} is stuck at {}; {CHECK}", bytes_text(bytes)),
            ),
            UploadEnd::Vanished => Ended::failed(
                "upload_vanished",
                format!("backup {backup} has vanished during its upload; check in FiFo who deleted it"),
            ),
            UploadEnd::VmGone => {
                Ended::failed("vm_gone", format!("the VM has vanished during the upload of backup {backup}"))
            }
            UploadEnd::Unreadable(why) => Ended::unknown(
                "unknown",
                format!(
                    "backup {backup} is started, but its progress can no longer be read: {why}; the next run checks the \
                     result"
                ),
            ),
        }
    }

    /// Checks a completed backup, and waits for what FiFo may not have written yet: first for its files and snapshot, and up
    /// to two minutes for what shows that its files are whole.
    async fn check_completed(&mut self, create: &Create, backup: BackupId, first: VmReading) -> Ended {
        let timing = self.run.executor.settings.timing;
        let began = Instant::now();
        let mut seen = Some(first);
        loop {
            if let Some(reading) = seen.take() {
                let policy = self.policy_of(&reading.vm);
                let checked = match policy {
                    Some(policy) => check(&reading.vm, backup, create, policy, self.now_by(&reading)),
                    None => Checked::NotYet(Fault::Bad("no policy holds for the VM any more".to_owned())),
                };
                let has_settled = began.elapsed() >= timing.settle;
                match checked {
                    Checked::Good { lacks } => return self.complete(backup, reading, lacks),
                    Checked::NotYet(Fault::Lacks(what)) if has_settled => {
                        return self.complete(backup, reading, Some(what));
                    }
                    Checked::NotYet(Fault::Bad(why)) if has_settled => {
                        return Ended::failed(
                            "faulty",
                            format!("FiFo reports backup {backup} as completed, but {why}"),
                        );
                    }
                    Checked::NotYet(Fault::Unverified(why)) if began.elapsed() >= timing.write => {
                        return Ended::unknown(
                            "unverified",
                            format!(
                                "FiFo reports backup {backup} as completed, but {why}; the next run checks it"
                            ),
                        );
                    }
                    Checked::NotYet(_) => {}
                }
            }
            if began.elapsed() >= timing.write + timing.settle {
                let text = format!(
                    "FiFo reports backup {backup} as completed, and it can no longer be read; the next run checks it"
                );
                return Ended::unknown("unknown", text);
            }
            sleep(timing.pause_min).await;
            seen = match self.run.reader.read(self.id).await {
                Ok(reading) if reading.vm.backups.contains(backup) => Some(reading),
                // It may be a reading of a node that is behind.
                _ => self.run.reader.in_list(self.id).await.ok().map(VmReading::of_list),
            };
            if seen
                .as_ref()
                .is_some_and(|seen| !seen.vm.backups.contains(backup) && self.run.reader.proves_absence())
            {
                let text =
                    format!("backup {backup} has vanished after its upload; check in FiFo who deleted it");
                return Ended::failed("upload_vanished", text);
            }
        }
    }

    fn complete(&mut self, backup: BackupId, seen: VmReading, lacks: Option<&'static str>) -> Ended {
        let bytes = seen.vm.backups.get(backup).and_then(crate::inventory::Backup::size_bytes);
        let size = bytes.map_or("of unknown size".to_owned(), bytes_text);
        let stamp = self.stamp_warning(&seen.vm, backup);
        self.known.complete(backup);
        self.fresh = Some((seen, Instant::now()));
        let (short, lacks) = (backup.short(), lacks.unwrap_or_default());
        Ended::done("created", format!("backup {short} is complete ({size}){lacks}{stamp}"))
    }

    /// Warns where FiFo stamps backups well ahead of the clock that its answers show: they count once their time has come.
    fn stamp_warning(&self, vm: &Vm, backup: BackupId) -> String {
        let Some(taken) = vm.backups.get(backup).and_then(|backup| backup.timestamp) else {
            return String::new();
        };
        let server = self.run.executor.clock.now() + self.server_ahead.unwrap_or_default();
        if taken - server <= STAMP_AHEAD_MAX {
            return String::new();
        }
        format!(
            "; FiFo stamps it {} and its answers say {}: two of its clocks differ, correct the wrong one",
            taken.format("%H:%M:%S UTC"),
            server.format("%H:%M:%S UTC")
        )
    }

    fn stuck_after(&self) -> TimeDelta {
        let name = self.planned.policy.as_ref();
        let policy = self.run.executor.policies.iter().find(|policy| Some(&policy.name) == name);
        policy.map_or(TimeDelta::hours(12), |policy: &Policy| policy.stuck_after)
    }
}
