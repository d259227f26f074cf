//! Watches every moving upload: those of this run and those of others, each with the slot that it holds.
//!
//! A single reading of a VM can stay old indefinitely, so that the list is read where nothing changes for a while: lists
//! are large, so that one serves all uploads, and an upload that hangs asks for one less and less often.

use super::slots::Slot;
use crate::apply::event::EventKind;
use crate::apply::outcome::VmRef;
use crate::apply::reader::{ReadError, VmReading};
use crate::apply::run::Run;
use crate::apply::timing::{BLIND_MAX, CLOCK_SKEW_MAX};
use crate::fifo::with_causes;
use crate::inventory::{Backup, BackupId, Inventory, RecordedState, Vm};
use crate::policy::{Match, Policies};
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// How long an upload of a VM in no policy counts as running.
pub(crate) const STUCK_AFTER_DEFAULT: TimeDelta = TimeDelta::hours(12);

/// After so long without a change the list is read, and after twice as long again, and so on up to the longest.
const LIST_AFTER: Duration = Duration::from_secs(10);
const LIST_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// An upload, from the moment that FiFo may have started it.
#[derive(Debug)]
pub(crate) struct Upload {
    at: VmRef,
    which: Which,
    slot: Slot,
    /// The tier of one that a VM of this run waits for. Its progress is reported, and it is looked at whether or not a slot
    /// is waited for.
    pub(crate) tier: Option<String>,
    began: Instant,
    /// When it no longer counts as running.
    until: DateTime<Utc>,
    /// The same by the monotonic clock.
    until_at_the_latest: Instant,
    last: Option<Backup>,
    unchanged_since: Instant,
    list_after: Duration,
    blind_since: Option<Instant>,
}

#[derive(Debug)]
pub(crate) enum Which {
    Known(BackupId),
    /// One that FiFo may have started, not seen yet: of a backup that is not among these.
    Unseen(BTreeSet<BackupId>),
}

/// How an upload ended.
#[derive(Debug)]
pub(crate) enum UploadEnd {
    /// FiFo calls it completed, by this reading.
    Completed(Box<VmReading>),
    Failed {
        bytes: u64,
    },
    /// It takes longer than `stuck_after`.
    Stuck {
        bytes: u64,
    },
    /// The list does not have the backup.
    Vanished,
    /// The list does not have the VM.
    VmGone,
    /// Nothing could be read for long, with the last error in words. It may run on.
    Unreadable(String),
}

impl Upload {
    /// An upload of this run. It counts as running from its own date, but neither from before this run has started it nor
    /// from a date that a wrong clock puts far ahead.
    pub(crate) fn of_this_run(
        at: VmRef,
        which: Which,
        slot: Slot,
        taken: Option<DateTime<Utc>>,
        stuck_after: TimeDelta,
        now: DateTime<Utc>,
    ) -> Self {
        let latest = now + CLOCK_SKEW_MAX;
        Self::new(at, which, slot, taken.unwrap_or(latest).clamp(now, latest) + stuck_after, now)
    }

    fn new(at: VmRef, which: Which, slot: Slot, until: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let began = Instant::now();
        Self {
            at,
            which,
            slot,
            tier: None,
            began,
            until,
            until_at_the_latest: began + (until - now).to_std().unwrap_or_default(),
            last: None,
            unchanged_since: began,
            list_after: LIST_AFTER,
            blind_since: None,
        }
    }

    /// Watches it until it ends, or nothing could be read of it for long.
    pub(crate) async fn end(&mut self, run: &Run<'_>) -> UploadEnd {
        let timing = &run.executor.settings.timing;
        loop {
            sleep(timing.look_after(self.began.elapsed())).await;
            let is_over =
                run.executor.clock.now() >= self.until || Instant::now() >= self.until_at_the_latest;
            if self.tier.is_some() || run.slots.is_waited_for() {
                match self.look(run).await {
                    Ok(Some(end)) => return end,
                    Ok(None) => self.record(run),
                    // A reading that failed keeps the slot taken: one slot too few for a while does no harm.
                    Err(error) => {
                        let since = *self.blind_since.get_or_insert_with(Instant::now);
                        if error.is_final() || since.elapsed() >= BLIND_MAX {
                            return UploadEnd::Unreadable(with_causes(&error));
                        }
                    }
                }
            }
            if is_over {
                let bytes = self.last.as_ref().and_then(Backup::size_bytes).unwrap_or(0);
                return UploadEnd::Stuck { bytes };
            }
        }
    }

    fn record(&mut self, run: &Run<'_>) {
        self.blind_since = None;
        let Some(backup) = &self.last else { return };
        let progress = run.executor.progress.record(backup);
        self.slot.record(&self.at, backup, progress);
        if let Some(tier) = &self.tier {
            run.emit(EventKind::Progress {
                at: self.at.clone(),
                backup: backup.id,
                tier: tier.clone(),
                bytes: backup.size_bytes().unwrap_or(0),
            });
        }
    }

    /// Looks once: in a reading of the VM, and in the list where that has shown nothing new for long. Returns how it has
    /// ended, if it has.
    async fn look(&mut self, run: &Run<'_>) -> Result<Option<UploadEnd>, ReadError> {
        if let Which::Known(_) = self.which {
            match run.reader.read(self.at.vm).await {
                Ok(seen) => {
                    if let Some(end) = self.find(&seen, false) {
                        return Ok(Some(end));
                    }
                }
                // The list decides whether the VM is gone.
                Err(ReadError::Gone) => {}
                Err(error) => return Err(error),
            }
        }
        if self.unchanged_since.elapsed() < self.list_after {
            return Ok(None);
        }
        self.unchanged_since = Instant::now();
        self.list_after = (self.list_after * 2).min(LIST_AFTER_MAX);
        let listed = run.reader.in_list(self.at.vm).await;
        let is_proof = run.reader.proves_absence();
        match listed {
            Ok(vm) => Ok(self.find(&VmReading::of_list(vm), is_proof)),
            Err(ReadError::Gone) => Ok(is_proof.then_some(UploadEnd::VmGone)),
            Err(error) => Err(error),
        }
    }

    /// Finds it in a reading of its VM. One that does not show it may be older than it is; only a list that proves absence
    /// shows that there is none.
    fn find(&mut self, seen: &VmReading, is_proof: bool) -> Option<UploadEnd> {
        let backups = &seen.vm.backups;
        let backup = match &self.which {
            Which::Known(id) => backups.get(*id),
            Which::Unseen(_) if !is_proof => return None,
            Which::Unseen(before) => {
                backups.values().find(|backup| is_under_way(backup) && !before.contains(&backup.id))
            }
        };
        match backup {
            Some(backup) if is_under_way(backup) => {
                if self.last.as_ref() != Some(backup) {
                    self.unchanged_since = Instant::now();
                    self.list_after = LIST_AFTER;
                    self.last = Some(backup.clone());
                }
                None
            }
            Some(backup) if backup.state == RecordedState::Failed => {
                Some(UploadEnd::Failed { bytes: backup.size_bytes().unwrap_or(0) })
            }
            Some(_) => Some(UploadEnd::Completed(Box::new(seen.clone()))),
            None => is_proof.then_some(UploadEnd::Vanished),
        }
    }
}

/// Watches the uploads that no VM of this run waits for, while one waits for a slot. Never ends.
pub(crate) async fn watch(run: &Run<'_>, mut registered: mpsc::UnboundedReceiver<Upload>) -> Infallible {
    let to_its_end =
        |mut upload: Upload| async move { while let UploadEnd::Unreadable(_) = upload.end(run).await {} };
    let mut watched = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(upload) = registered.recv() => watched.push(to_its_end(upload)),
            Some(()) = watched.next(), if !watched.is_empty() => {}
        }
    }
}

/// Registers the uploads that run already, whichever policy their VM is in, if any. Each that makes progress takes a slot,
/// beyond the limits too.
pub(crate) fn register_foreign(run: &Run<'_>, inventory: &Inventory) {
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
            upload.slot.record(&upload.at, backup, executor.progress.record(backup));
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

/// Returns whether a backup of a VM is being uploaded, as far as its record says.
pub fn has_upload(vm: &Vm) -> bool {
    vm.backups.values().any(is_under_way)
}

fn is_under_way(backup: &Backup) -> bool {
    !matches!(backup.state, RecordedState::Completed | RecordedState::Failed)
}
