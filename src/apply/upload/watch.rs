//! Watches every moving upload: those of this run and those of others, each with the slot that it holds.
//!
//! A single reading of a VM can stay old indefinitely, so that the list is read where nothing changes for a while: lists
//! are large, so that one serves all uploads, and an upload that hangs asks for one less and less often.

use super::super::event::EventKind;
use super::super::outcome::VmRef;
use super::super::reader::{ReadError, VmReading};
use super::super::run::Run;
use super::super::timing::CLOCK_SKEW_MAX;
use super::slots::Slot;
use crate::fifo::with_causes;
use crate::inventory::{Backup, BackupId, Inventory, RecordedState, Vm};
use crate::policy::{Match, Policies};
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

/// How long an upload of a VM in no policy counts as running.
const STUCK_AFTER_DEFAULT: TimeDelta = TimeDelta::hours(12);

/// After so long without a change the list is read, and after twice as long again, and so on.
const LIST_AFTER: Duration = Duration::from_secs(10);
const LIST_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// An upload, from its registration to its end.
#[derive(Debug)]
pub(in super::super) struct Upload {
    at: VmRef,
    which: Which,
    slot: Slot,
    /// The VM of this run that waits for its end, if one does.
    follower: Option<Follower>,
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
enum Which {
    Known(BackupId),
    /// One that FiFo may have started, not seen yet: of a backup that is not among these.
    Unseen(BTreeSet<BackupId>),
}

#[derive(Debug)]
struct Follower {
    tier: String,
    end: oneshot::Sender<UploadEnd>,
}

/// How an upload that is waited for ended.
#[derive(Debug)]
pub(in super::super) enum UploadEnd {
    /// FiFo calls it completed, by this reading.
    Completed(Box<VmReading>),
    Failed {
        bytes: u64,
    },
    /// It takes longer than `stuck_after`.
    Stuck {
        bytes: u64,
    },
    /// The list does not have the backup, or not the VM.
    Vanished,
    VmGone,
    /// Nothing could be read for long, with the last error in words. It goes on holding its slot.
    Unreadable(String),
}

/// What a look at an upload shows.
enum Look {
    Running(Backup),
    Ended(UploadEnd),
    /// Nothing new.
    Nothing,
}

/// Where uploads are registered.
pub(in super::super) type Registry = mpsc::UnboundedSender<Upload>;

impl Upload {
    /// An upload of this run that is waited for. The result reports its end.
    pub(in super::super) fn followed(
        at: VmRef,
        tier: &str,
        backup: BackupId,
        taken: Option<DateTime<Utc>>,
        slot: Slot,
        stuck_after: TimeDelta,
        now: DateTime<Utc>,
    ) -> (Self, oneshot::Receiver<UploadEnd>) {
        let (end, ended) = oneshot::channel();
        // Counted from its own date as in the planner, but neither from before this run has started it nor from a date that
        // a wrong clock puts far ahead.
        let since = taken.unwrap_or(now).clamp(now, now + CLOCK_SKEW_MAX);
        let mut upload = Self::new(at, Which::Known(backup), slot, since + stuck_after, now);
        upload.follower = Some(Follower { tier: tier.to_owned(), end });
        (upload, ended)
    }

    /// An upload of this run that nobody waits for.
    pub(in super::super) fn left(
        at: VmRef,
        backup: BackupId,
        slot: Slot,
        stuck_after: TimeDelta,
        now: DateTime<Utc>,
    ) -> Self {
        Self::new(at, Which::Known(backup), slot, now + CLOCK_SKEW_MAX + stuck_after, now)
    }

    /// An upload that FiFo may have started, of a backup that is not in `before`.
    pub(in super::super) fn unseen(
        at: VmRef,
        before: BTreeSet<BackupId>,
        slot: Slot,
        stuck_after: TimeDelta,
        now: DateTime<Utc>,
    ) -> Self {
        Self::new(at, Which::Unseen(before), slot, now + CLOCK_SKEW_MAX + stuck_after, now)
    }

    fn new(at: VmRef, which: Which, slot: Slot, until: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let began = Instant::now();
        Self {
            at,
            which,
            slot,
            follower: None,
            began,
            until,
            until_at_the_latest: began + (until - now).to_std().unwrap_or_default(),
            last: None,
            unchanged_since: began,
            list_after: LIST_AFTER,
            blind_since: None,
        }
    }

    fn is_followed(&self) -> bool {
        self.follower.as_ref().is_some_and(|follower| !follower.end.is_closed())
    }

    fn ends(&mut self, how: UploadEnd) {
        if let Some(follower) = self.follower.take() {
            // Whoever waited may have given up meanwhile.
            drop(follower.end.send(how));
        }
    }

    /// Finds it in a reading of its VM. One that does not show it may be older than it is; only a list that proves absence
    /// shows that there is none.
    fn find(&self, vm: &Vm, is_proof: bool) -> Look {
        let backup = match &self.which {
            Which::Known(id) => vm.backups.get(*id),
            Which::Unseen(_) if !is_proof => return Look::Nothing,
            Which::Unseen(before) => {
                vm.backups.values().find(|backup| is_under_way(backup) && !before.contains(&backup.id))
            }
        };
        match backup {
            Some(backup) if is_under_way(backup) => Look::Running(backup.clone()),
            Some(backup) if backup.state == RecordedState::Failed => {
                Look::Ended(UploadEnd::Failed { bytes: backup.size_bytes().unwrap_or(0) })
            }
            Some(_) => Look::Ended(UploadEnd::Completed(Box::new(VmReading::of_list(vm.clone())))),
            None if is_proof => Look::Ended(UploadEnd::Vanished),
            None => Look::Nothing,
        }
    }
}

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

/// Returns whether a backup of a VM is being uploaded, as far as its record says.
pub fn has_upload(vm: &Vm) -> bool {
    vm.backups.values().any(is_under_way)
}

fn is_under_way(backup: &Backup) -> bool {
    !matches!(backup.state, RecordedState::Completed | RecordedState::Failed)
}
