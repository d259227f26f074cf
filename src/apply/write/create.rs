//! Creates a backup: the request is sent once, its result is searched for rather than sent again, the upload is watched, the
//! backup is checked.

use crate::apply::event::EventKind;
use crate::apply::outcome::{ActionOutcome, Ended};
use crate::apply::proof::Headers;
use crate::apply::reader::VmReading;
use crate::apply::timing::{CLOCK_SKEW_MAX, SETTLE, STORE_RECHECK, STUCK_RECHECK, WRITE_MAX};
use crate::apply::upload::check::{Fault, check, moving, stuck};
use crate::apply::upload::moving::{STUCK_AFTER_DEFAULT, Upload, Which};
use crate::apply::upload::slots::{Slot, SlotPriority};
use crate::apply::vm::{Start, VmRun, WaitError};
use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use crate::plan::standing::VmView;
use crate::plan::{Create, bytes_text, expected_upload_bytes};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep};

const STAMP_AHEAD_MAX: TimeDelta = TimeDelta::minutes(10);

impl VmRun<'_> {
    pub(crate) async fn may_create(&mut self, create: &Create, seen: &VmReading) -> Result<Start, Ended> {
        let unproven = "FiFo truncates its list every time and does not accept the version of the VM, so that nothing shows \
                        whether the backup is there; it is created without that once the newest restorable one is older than \
                        `max_age`, at the pace of retries";
        let is_unproven = seen.etag.is_none() && !self.run.reader.proves_absence();
        if is_unproven && self.has_recent_backup(seen) {
            return Err(Ended::dropped("unproven", unproven));
        }
        let hypervisor = seen.vm.hypervisor.as_deref().unwrap_or_default();
        if hypervisor != self.hypervisor {
            (self.hypervisor, self.slot) = (hypervisor.to_owned(), None);
        }
        if let Start::Waited = self.take_slot(create).await? {
            return Ok(Start::Waited);
        }
        if let Start::Waited = self.check_stuck_twice(seen).await? {
            return Ok(Start::Waited);
        }
        let backoff = self.policy_of(&seen.vm).and_then(|policy| policy.retry.backoff.to_std().ok());
        let progress = self.run.executor.progress;
        if is_unproven && !progress.may_go_unproven(self.at.vm, backoff.unwrap_or_default()) {
            return Err(Ended::dropped("unproven", unproven));
        }
        Ok(Start::Now)
    }

    fn has_recent_backup(&self, seen: &VmReading) -> bool {
        let Some(policy) = self.policy_of(&seen.vm) else { return true };
        let now = self.now_by(seen);
        let view = VmView::new(&seen.vm, policy, now);
        view.newest_restorable().is_some_and(|newest| now - newest.taken <= policy.max_age)
    }

    pub(crate) async fn take_slot(&mut self, create: &Create) -> Result<Start, Ended> {
        let (slots, executor) = (&self.run.slots, self.run.executor);
        if self.slot.is_some() {
            return Ok(Start::Now);
        }
        if !executor.settings.wait {
            self.slot = slots.try_acquire(&self.hypervisor);
            let none = "nothing was done: all upload slots are in use; the next run tries again";
            return self.slot.as_ref().map(|_| Start::Now).ok_or_else(|| Ended::left("slots", none));
        }
        let priority = SlotPriority::of(create, executor.policy_of(self.planned));
        let (slot, had_to_wait) = self.wait_noting(slots.acquire(&self.hypervisor, priority)).await?;
        self.slot = Some(slot);
        Ok(if had_to_wait { Start::Waited } else { Start::Now })
    }

    /// Reads the uploads of a VM that count as stuck, and a minute later again; each later create compares with the first
    /// reading.
    async fn check_stuck_twice(&mut self, seen: &VmReading) -> Result<Start, Ended> {
        let now = self.now_by(seen);
        let Some(policy) = self.policy_of(&seen.vm) else { return Ok(Start::Now) };
        let is_read = |upload: &Backup| self.known.stuck_before.iter().any(|before| before.id == upload.id);
        let mut unread = stuck(&seen.vm, policy, now);
        unread.retain(|upload| !is_read(upload));
        let mut listed = None;
        if !unread.is_empty() {
            // The list both times: a single reading can stay old indefinitely. One that it does not show is known by this
            // reading.
            let before = self.read_in_list().await?;
            let listed_first = stuck(&before.vm, policy, now).into_iter().chain(unread);
            // Where nodes show different ones by turns, none is forgotten: each is looked at once.
            self.known.stuck_before.extend(listed_first);
            self.wait(sleep(STUCK_RECHECK)).await.map_err(|cut| self.cut_short(cut))?;
            listed = Some(self.read_in_list().await?);
        }
        match moving(&self.known.stuck_before, listed.as_ref().unwrap_or(seen), policy, now) {
            Some(text) => Err(Ended::dropped("not_stuck", text)),
            None => Ok(if listed.is_some() { Start::Waited } else { Start::Now }),
        }
    }

    pub(crate) async fn created(&mut self, create: &Create, backup: BackupId) -> Ended {
        self.known.own(backup);
        Ended { made: Some(backup), ..self.wait_for_upload(create, backup).await }
    }

    async fn wait_for_upload(&mut self, create: &Create, backup: BackupId) -> Ended {
        let seen = self.known.fresh.take();
        self.run.emit(EventKind::Accepted {
            at: self.at.clone(),
            backup,
            tier: create.tier.to_string(),
            expected_bytes: seen.as_ref().and_then(|seen| expected_upload_bytes(&seen.vm, create)),
        });
        let Some(slot) = self.slot.take() else {
            return Ended::unknown("unknown", format!("backup {backup} is on record, without a slot"));
        };
        let record = seen.as_ref().and_then(|seen| seen.vm.backups.get(backup));
        let taken = record.and_then(|record| record.timestamp);
        let is_complete = record.is_some_and(|record| record.state == RecordedState::Completed);
        let mut upload = self.upload(Which::Known(backup), slot, taken);
        if !self.run.executor.settings.wait {
            self.run.register(upload);
            let text = format!(
                "backup {backup} is started; its upload continues in FiFo, and the next run checks the result"
            );
            return Ended::new(ActionOutcome::Started, "started", text);
        }
        upload.tier = Some(create.tier.to_string());
        let completed = match seen.filter(|_| is_complete) {
            Some(seen) => Ok(Ok(seen)),
            None => self.wait(upload.completed(self.run)).await,
        };
        let runs = format!("backup {backup} is still running in FiFo");
        let ended = match completed {
            Ok(Ok(seen)) => {
                drop(upload);
                return self.check_completed(create, backup, seen).await;
            }
            Ok(Err(ended)) => ended,
            Err(WaitError::Refused(error)) => upload.unreadable(&error),
            Err(WaitError::Stopped) => {
                let text = format!("{runs}; the next run checks the result");
                Ended::new(ActionOutcome::Interrupted, "upload_runs", text)
            }
            Err(WaitError::HandedOver) => {
                let cause = self.run.hand_over_cause();
                Ended::left("upload_runs", format!("{runs}, and {cause}; the next run checks the result"))
            }
        };
        if !ended.is_failed() {
            // It may run on, and keeps its slot.
            upload.tier = None;
            self.run.register(upload);
        }
        ended
    }

    /// Returns an upload of this VM. It counts as running from its own date, but neither from before this run has started it
    /// nor from a date that a wrong clock puts far ahead.
    pub(crate) fn upload(&self, which: Which, slot: Slot, taken: Option<DateTime<Utc>>) -> Upload {
        let policy = self.run.executor.policy_of(self.planned);
        let stuck_after = policy.map_or(STUCK_AFTER_DEFAULT, |policy| policy.stuck_after);
        let ahead = taken.map_or(CLOCK_SKEW_MAX, |taken| taken - self.run.executor.clock.now());
        let runs_for = ahead.clamp(TimeDelta::zero(), CLOCK_SKEW_MAX) + stuck_after;
        Upload::new(self.at.clone(), which, slot, runs_for)
    }

    /// Checks a completed backup, and waits for what FiFo may not have written yet: first for its files and snapshot, and up
    /// to two minutes for what shows that its files are whole.
    async fn check_completed(&mut self, create: &Create, backup: BackupId, first: VmReading) -> Ended {
        let pause = self.run.executor.settings.timing.pause_min;
        let began = Instant::now();
        let mut unread = None;
        let mut seen = Some(first);
        loop {
            let has_settled = began.elapsed() >= SETTLE;
            if let Some(reading) = seen {
                let reported = format!("FiFo reports backup {backup} as completed, but");
                let none = || Some(Fault::Bad("no policy holds for the VM any more".to_owned()));
                // It has only just been made: a date ahead of the clock does not make it old enough to go unverified.
                let taken = reading.vm.backups.get(backup).and_then(|backup| backup.timestamp);
                let now = self.now_by(&reading);
                let now = taken.map_or(now, |taken| taken.max(now));
                let checked = |policy| check(&reading.vm, backup, create, policy, now);
                match self.policy_of(&reading.vm).map_or_else(none, checked) {
                    good @ (None | Some(Fault::Lacks(_))) if good.is_none() || has_settled => {
                        let lacks = good.map_or("", Fault::lacks);
                        match self.headers(&reading.vm, backup).await {
                            Headers::Right => return self.complete(backup, reading, lacks),
                            Headers::Wrong(why) => return Ended::failed("broken", why),
                            Headers::Unread(why) => unread = Some(why),
                        }
                    }
                    Some(Fault::Bad(why)) if has_settled => {
                        return Ended::failed("faulty", format!("{reported} {why}"));
                    }
                    Some(Fault::Unverified(why)) if began.elapsed() >= WRITE_MAX => {
                        let text = format!(
                            "{reported} FiFo reports no {why} for a stored file, unlike for earlier backups; the next run \
                             checks it"
                        );
                        return Ended::unknown("unverified", text);
                    }
                    _ => {}
                }
            }
            if let Some(why) = unread.take_if(|_| began.elapsed() >= WRITE_MAX || self.is_ending()) {
                let text = format!(
                    "FiFo reports backup {backup} as completed, and the storage does not show whether it is ({why}); the next \
                     run asks again, and no snapshot is deleted before"
                );
                return Ended::unknown("store_unread", text);
            }
            if began.elapsed() >= WRITE_MAX + SETTLE {
                let text = "and it can no longer be read; the next run checks it";
                return Ended::unknown(
                    "unknown",
                    format!("FiFo reports backup {backup} as completed, {text}"),
                );
            }
            sleep(if unread.is_some() { STORE_RECHECK } else { pause }).await;
            let has_it = |seen: &VmReading| seen.vm.backups.contains(backup);
            seen = self.run.reader.read(self.at.vm).await.ok().filter(has_it);
            if seen.is_none() {
                // It may have been a reading of a node that is behind.
                seen = self.run.reader.in_list(self.at.vm).await.ok().map(VmReading::of_list);
            }
            if seen.as_ref().is_some_and(|seen| !has_it(seen)) && self.run.reader.proves_absence() {
                let text = "has vanished after its upload; check in FiFo who deleted it";
                return Ended::failed("upload_vanished", format!("backup {backup} {text}"));
            }
        }
    }

    fn complete(&mut self, backup: BackupId, seen: VmReading, lacks: &str) -> Ended {
        let bytes = seen.vm.backups.get(backup).and_then(Backup::size_bytes);
        let size = bytes.map_or("of unknown size".to_owned(), bytes_text);
        let stamp = self.stamp_warning(&seen.vm, backup);
        self.known.complete(backup);
        self.known.fresh = Some(seen);
        Ended::done("created", format!("backup {} is complete ({size}){lacks}{stamp}", backup.short()))
    }

    /// Warns where FiFo stamps backups well ahead of the clock that its answers show: they count once their time has come.
    fn stamp_warning(&self, vm: &Vm, backup: BackupId) -> String {
        let server = self.run.executor.clock.now() + self.known.server_ahead.unwrap_or_default();
        let taken = vm.backups.get(backup).and_then(|backup| backup.timestamp);
        let ahead = taken.filter(|taken| *taken - server > STAMP_AHEAD_MAX);
        let text = |taken: DateTime<Utc>| {
            let [taken, server] = [taken, server].map(|at| at.format("%H:%M:%S UTC"));
            format!(
                "; FiFo stamps it {taken} and its answers say {server}: two of its clocks differ, correct the wrong one"
            )
        };
        ahead.map(text).unwrap_or_default()
    }
}
