//! Watches every moving upload: those of this run and those of others, each with the slot that it holds.
//!
//! A single reading of a VM can stay old indefinitely, so that the list is read where nothing changes for a while: lists
//! are large, so that one serves all uploads, and an upload that hangs asks for one less and less often.

use super::super::context::Run;
use super::super::event::EventKind;
use super::super::outcome::VmRef;
use super::super::reader::ReadError;
use super::moving::{LIST_AFTER, Look, Upload, UploadEnd, Which, has_upload, is_under_way};
use crate::fifo::with_causes;
use crate::inventory::{Backup, Inventory, Vm};
use crate::policy::{Match, Policies};
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// How long an upload of a VM in no policy counts as running.
const STUCK_AFTER_DEFAULT: TimeDelta = TimeDelta::hours(12);

/// The list is read this often at the least while nothing changes.
const LIST_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// Watches what is registered, each upload on its own backing-off schedule. Never ends.
pub(in super::super) async fn watch(
    run: &Run<'_>,
    mut registered: mpsc::UnboundedReceiver<Upload>,
) -> Infallible {
    let mut watched = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(upload) = registered.recv() => watched.push(watch_one(run, upload)),
            Some(()) = watched.next(), if !watched.is_empty() => {}
        }
    }
}

/// Watches one upload to its end. One that nobody follows is read only while a VM waits for a slot.
async fn watch_one(run: &Run<'_>, mut upload: Upload) {
    let executor = run.executor;
    loop {
        sleep(executor.settings.timing.look_after(upload.began.elapsed())).await;
        let is_over = executor.clock.now() >= upload.until || Instant::now() >= upload.until_at_the_latest;
        if upload.is_followed() || run.slots.is_waited_for() {
            match look(run, &mut upload).await {
                Ok(Look::Running(backup)) => upload.moves(run, backup),
                Ok(Look::Ended(how)) => return upload.ends(how),
                Ok(Look::Nothing) => {}
                Err(error) => upload.is_blind(run, &error),
            }
        }
        if is_over {
            let bytes = upload.last.as_ref().and_then(Backup::size_bytes).unwrap_or(0);
            return upload.ends(UploadEnd::Stuck { bytes });
        }
    }
}

impl Upload {
    fn moves(&mut self, run: &Run<'_>, backup: Backup) {
        self.blind_since = None;
        let timing = &run.executor.settings.timing;
        self.slot.record(&self.at, &backup, run.executor.progress.record(&backup, timing));
        if let Some(follower) = self.follower.as_ref().filter(|follower| !follower.end.is_closed()) {
            run.emit(EventKind::Progress {
                at: self.at.clone(),
                backup: backup.id,
                tier: follower.tier.clone(),
                bytes: backup.size_bytes().unwrap_or(0),
            });
        }
        if self.last.as_ref() != Some(&backup) {
            self.unchanged_since = Instant::now();
            self.list_after = LIST_AFTER;
            self.last = Some(backup);
        }
    }

    /// A reading that failed keeps the slot taken: one slot too few for a while does no harm.
    fn is_blind(&mut self, run: &Run<'_>, error: &ReadError) {
        let since = *self.blind_since.get_or_insert_with(Instant::now);
        if error.is_final() || since.elapsed() >= run.executor.settings.timing.blind {
            self.ends(UploadEnd::Unreadable(with_causes(error)));
        }
    }
}

/// Looks at an upload once: in a reading of its VM, and in the list where that has shown nothing new for long.
async fn look(run: &Run<'_>, upload: &mut Upload) -> Result<Look, ReadError> {
    if !matches!(upload.which, Which::Unseen(_)) {
        match run.reader.read(upload.at.vm).await {
            Ok(seen) => match upload.find(&seen.vm, false) {
                Look::Ended(UploadEnd::Completed(_)) => {
                    return Ok(Look::Ended(UploadEnd::Completed(Box::new(seen))));
                }
                Look::Running(backup) if upload.last.as_ref() == Some(&backup) => {}
                Look::Nothing => {}
                news => return Ok(news),
            },
            // The list decides whether the VM is gone.
            Err(ReadError::Gone) => {}
            Err(error) => return Err(error),
        }
    }
    if upload.unchanged_since.elapsed() < upload.list_after {
        return Ok(upload.last.clone().map_or(Look::Nothing, Look::Running));
    }
    upload.unchanged_since = Instant::now();
    upload.list_after = (upload.list_after * 2).min(LIST_AFTER_MAX);
    let is_proof = |_: &Vm| run.reader.proves_absence();
    match run.reader.in_list(upload.at.vm).await {
        Ok(vm) => Ok(upload.find(&vm, is_proof(&vm))),
        Err(ReadError::Gone) if run.reader.proves_absence() => Ok(Look::Ended(UploadEnd::VmGone)),
        Err(ReadError::Gone) => Ok(Look::Nothing),
        Err(error) => Err(error),
    }
}

/// Registers the uploads that run already, whichever policy their VM is in, if any. Each that makes progress takes a slot,
/// beyond the limits too.
pub(in super::super) fn register_foreign(run: &Run<'_>, inventory: &Inventory) {
    let executor = run.executor;
    let now = executor.clock.now();
    let vms: Vec<&Vm> = inventory.vms.values().filter(|vm| has_upload(vm)).collect();
    let ids = vms.iter().flat_map(|vm| vm.backups.values()).filter(|backup| is_under_way(backup));
    executor.progress.keep_only(&ids.map(|backup| backup.id).collect());
    for vm in vms {
        let Some(hypervisor) = &vm.hypervisor else { continue };
        for (backup, until) in running(vm, executor.policies, now) {
            let at = VmRef { vm: vm.id, alias: vm.alias.clone() };
            let upload = Upload::new(at, Which::Known(backup.id), run.slots.occupy(hypervisor), until, now);
            let progress = executor.progress.record(backup, &executor.settings.timing);
            upload.slot.record(&upload.at, backup, progress);
            run.register(upload);
        }
    }
}

/// Lists the uploads of a VM that count as running, with the instant until which they do.
fn running<'v>(
    vm: &'v Vm,
    policies: &Policies,
    now: DateTime<Utc>,
) -> impl Iterator<Item = (&'v Backup, DateTime<Utc>)> {
    let stuck_after = match policies.policy_for(vm) {
        Match::One(policy) => policy.stuck_after,
        Match::Unprotected | Match::Conflict(_) => STUCK_AFTER_DEFAULT,
    };
    vm.backups.values().filter(|backup| is_under_way(backup)).filter_map(move |backup| {
        let taken = backup.timestamp?;
        // A date ahead of this clock does not show how long the upload has been running. It is limited to now, as in the
        // planner: otherwise one wrong clock would hold a slot, and with it the run, until that date.
        ((now - taken).abs() < stuck_after).then(|| (backup, taken.min(now) + stuck_after))
    })
}
