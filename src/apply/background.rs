//! Uploads that no worker watches: those that ran before this run began, and those that were let out of sight. They
//! take places while they move, until they end.

use super::event::VmRef;
use super::reader::{ReadError, find};
use super::run::{Executor, RunContext, Settings};
use super::slots::{Slot, Slots};
use super::timing::PollIntervals;
use crate::inventory::{Backup, BackupId, Inventory, RecordedState, Vm};
use crate::policy::{Match, Policies};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::time::Instant;

/// How long an upload of a VM in no policy is taken to be running.
const STUCK_AFTER_DEFAULT: TimeDelta = TimeDelta::hours(12);

/// An upload that no worker watches: somebody else's, or one that is not waited for or cannot be read any more.
pub(super) struct BackgroundUpload {
    pub(super) at: VmRef,
    which: UploadRef,
    /// When it is no longer taken to be running.
    until: DateTime<Utc>,
    /// The same by a clock that nobody sets.
    until_at_the_latest: Instant,
}

/// Which upload is meant.
pub(super) enum UploadRef {
    /// The one of this backup.
    Known(BackupId),
    /// One that FiFo may have begun, and that has not been seen yet: of a backup that was not there before.
    Unseen { before: BTreeSet<BackupId> },
}

/// What a reading tells of an upload.
enum UploadLookup<'v> {
    /// It runs, and this is its record.
    Running(&'v Backup),
    /// It does not run any more.
    Ended,
    /// Neither: the reading may be older than the upload.
    Unknown,
}

impl BackgroundUpload {
    /// Takes an upload that is taken to be running for so long from an instant on.
    pub(super) fn new(at: VmRef, which: UploadRef, lasts: TimeDelta, from: DateTime<Utc>) -> Self {
        let until_at_the_latest = Instant::now() + lasts.to_std().unwrap_or_default();
        Self { at, which, until: from + lasts, until_at_the_latest }
    }
}

impl UploadRef {
    /// Finds it in a reading of its VM.
    ///
    /// A single reading that does not show it may be older than it is; only the list can show that there is none.
    fn find<'v>(&self, vm: &'v Vm, is_list: bool) -> UploadLookup<'v> {
        let under_way = || vm.backups.values().filter(|backup| is_under_way(backup));
        match self {
            Self::Known(id) => match vm.backups.get(id) {
                Some(backup) if is_under_way(backup) => UploadLookup::Running(backup),
                None if !is_list => UploadLookup::Unknown,
                Some(_) | None => UploadLookup::Ended,
            },
            Self::Unseen { .. } if !is_list => UploadLookup::Unknown,
            Self::Unseen { before } => under_way()
                .find(|backup| !before.contains(&backup.id))
                .map_or(UploadLookup::Ended, UploadLookup::Running),
        }
    }
}

/// Finds the uploads that are under way, whichever policy their VM is in, if any, and takes a place for each that moves,
/// whether or not there is one.
pub(super) fn foreign(
    inventory: &Inventory,
    executor: &Executor<'_>,
    slots: &Arc<Slots>,
) -> Vec<(BackgroundUpload, Slot)> {
    let &Executor { policies, progress, settings: Settings { timing, .. }, .. } = executor;
    let now = executor.clock.now();
    let under_way = |vm: &&Vm| vm.backups.values().any(is_under_way);
    let vms: Vec<&Vm> = inventory.vms.values().filter(under_way).collect();
    let ids = vms.iter().flat_map(|vm| vm.backups.values()).filter(|backup| is_under_way(backup));
    progress.keep_only(&ids.map(|backup| backup.id).collect());
    let mut found = Vec::new();
    for vm in vms {
        let Some(hypervisor) = &vm.hypervisor else { continue };
        for (upload, backup) in foreign_of(vm, policies, now) {
            let slot = slots.occupy(hypervisor);
            slot.record(&upload.at, backup, progress.record(backup, &timing));
            found.push((upload, slot));
        }
    }
    found
}

fn foreign_of<'v>(
    vm: &'v Vm,
    policies: &Policies,
    now: DateTime<Utc>,
) -> Vec<(BackgroundUpload, &'v Backup)> {
    let stuck_after = match policies.policy_for(vm) {
        Match::One(policy) => policy.stuck_after,
        Match::Unprotected | Match::Conflict(_) => STUCK_AFTER_DEFAULT,
    };
    vm.backups
        .values()
        .filter(|backup| is_under_way(backup))
        .filter_map(|backup| {
            let taken = backup.timestamp?;
            // A date ahead of us says nothing about how long it has been running: it is bounded all the same, as the
            // planner does. Otherwise one wrong clock would hold a place, and with it the run, until that date.
            let lasts = taken.min(now) + stuck_after - now;
            let at = VmRef { vm: vm.id, alias: vm.alias.clone() };
            ((now - taken).abs() < stuck_after)
                .then(|| (BackgroundUpload::new(at, UploadRef::Known(backup.id), lasts, now), backup))
        })
        .collect()
}

fn is_under_way(backup: &Backup) -> bool {
    !matches!(backup.state, RecordedState::Completed | RecordedState::Failed)
}

/// How many rounds of readings go by until the list is read as well: a single reading can be old for ever.
const ROUNDS_PER_LIST: usize = 4;

/// Frees the place of each upload that no worker watches when it has ended or does not move. Reads only while somebody
/// waits for a place.
pub(super) async fn watch(context: &RunContext<'_>) -> Infallible {
    let timing = context.executor.settings.timing;
    let mut round = 0;
    for pause in PollIntervals::new(timing.pause_min, timing.pause_max) {
        tokio::time::sleep(pause).await;
        if !context.slots.is_waited_for() {
            continue;
        }
        round += 1;
        let is_list = round % ROUNDS_PER_LIST == 0;
        let uploads = context.take_background();
        for ((upload, slot), seen) in read(context, uploads, is_list).await {
            if still_runs(context, &upload, &slot, seen, is_list) {
                context.keep_in_background(upload, slot);
            }
        }
    }
    std::future::pending().await
}

/// Reads the VMs of some uploads, all at once: one list for all of them, or each by itself.
async fn read(
    context: &RunContext<'_>,
    uploads: Vec<(BackgroundUpload, Slot)>,
    is_list: bool,
) -> Vec<((BackgroundUpload, Slot), Result<Vm, ReadError>)> {
    if uploads.is_empty() {
        return Vec::new();
    }
    if is_list {
        let list = context.reader.list().await;
        let seen = |upload: &BackgroundUpload| find(&*list.clone()?, upload.at.vm);
        return uploads
            .into_iter()
            .map(|one| {
                let seen = seen(&one.0);
                (one, seen)
            })
            .collect();
    }
    join_all(uploads.into_iter().map(async |one| {
        let seen = context.reader.read(one.0.at.vm).await.map(|seen| seen.vm);
        (one, seen)
    }))
    .await
}

fn still_runs(
    context: &RunContext<'_>,
    upload: &BackgroundUpload,
    slot: &Slot,
    seen: Result<Vm, ReadError>,
    is_list: bool,
) -> bool {
    let executor = context.executor;
    let runs = match seen {
        Ok(vm) => match upload.which.find(&vm, is_list) {
            UploadLookup::Running(backup) => {
                slot.record(&upload.at, backup, executor.progress.record(backup, &executor.settings.timing));
                true
            }
            UploadLookup::Ended => false,
            UploadLookup::Unknown => true,
        },
        Err(ReadError::Gone) if is_list => false,
        // A reading that failed or is old keeps the place taken: a place too few for a while harms nobody.
        Err(_) => true,
    };
    runs && executor.clock.now() < upload.until && Instant::now() < upload.until_at_the_latest
}
