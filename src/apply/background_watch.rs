//! Watches the uploads that no worker waits for, and frees their slots.

use super::background::{BackgroundUpload, UploadLookup};
use super::context::RunContext;
use super::reader::{ReadError, find};
use super::slots::Slot;
use super::timing::poll_intervals;
use crate::inventory::Vm;
use futures::future::join_all;
use std::convert::Infallible;
use tokio::time::Instant;

/// Every so many rounds the list is read: a single reading can stay old indefinitely.
const ROUNDS_PER_LIST: usize = 4;

/// Frees the slot of each upload that no worker watches once it has ended or makes no progress. Reads only while a VM waits
/// for a slot.
pub(super) async fn watch(context: &RunContext<'_>) -> Infallible {
    let timing = context.executor.settings.timing;
    let mut round = 0;
    for pause in poll_intervals(timing.pause_min, timing.pause_max) {
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
        // A reading that failed or is old keeps the slot taken: one slot too few for a while does no harm.
        Err(_) => true,
    };
    runs && executor.clock.now() < upload.until && Instant::now() < upload.until_at_the_latest
}
