//! Which uploads move, as far as anybody can see.

use super::truth::is_sending;
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::sandbox::{Upload, World};
use std::collections::BTreeMap;
use uuid::Uuid;

/// An upload that has not grown for so long gives its place back.
const STILL_MAX: TimeDelta = TimeDelta::minutes(15);

/// Within so long an upload that was accepted begins.
const BEGINS_WITHIN: TimeDelta = TimeDelta::minutes(5);

/// A VM that holds a stuck upload is looked at twice, a minute apart: what has grown in between, but for the time of the
/// looking itself, was to be seen.
const LOOKED_AT_FOR: TimeDelta = TimeDelta::seconds(50);

#[derive(Clone, Copy)]
struct Growth {
    bytes: u64,
    /// Since when it has that size.
    since: DateTime<Utc>,
    has_begun: bool,
    /// Whether it has been still for so long that its place is another's.
    was_still: bool,
}

/// Returns the bytes that its record shows: of a disk that comes out hollow they stay at those of the error message.
fn bytes_on_record(world: &World, id: Uuid, upload: &Upload) -> u64 {
    let record = world.vms.get(&upload.vm).and_then(|vm| vm.backups.get(&id));
    let files = record.and_then(|record| record.files.as_ref());
    files.map_or(upload.written_bytes, |files| files.values().map(|file| file.size).sum())
}

#[derive(Default)]
pub(super) struct Growths(BTreeMap<Uuid, Growth>);

impl Growths {
    pub(super) fn look(&mut self, world: &World, now: DateTime<Utc>) {
        self.0.retain(|id, _| world.uploads.contains_key(id));
        for (id, upload) in &world.uploads {
            let has_begun = upload.steps_done > 1;
            let new = Growth { bytes: 0, since: now, has_begun, was_still: false };
            let growth = self.0.entry(*id).or_insert(new);
            let longest = if growth.has_begun { STILL_MAX } else { BEGINS_WITHIN };
            // What was still for nearly that long may have been read so a little earlier.
            growth.was_still |= now - growth.since >= longest - TimeDelta::minutes(1);
            let bytes = bytes_on_record(world, *id, upload);
            if bytes > growth.bytes || has_begun != growth.has_begun {
                *growth = Growth { bytes, since: now, has_begun, ..*growth };
            }
        }
    }

    /// Says whether an upload moves, and has always done so.
    pub(super) fn moves(&self, world: &World, id: &Uuid) -> bool {
        world.uploads.get(id).is_some_and(|upload| is_sending(world, id, upload))
            && self.0.get(id).is_some_and(|growth| !growth.was_still)
    }

    /// Says whether an upload has grown so lately that a check of one minute shows it.
    pub(super) fn has_just_grown(&self, world: &World, id: &Uuid, now: DateTime<Utc>) -> bool {
        world.uploads.get(id).is_some_and(|upload| is_sending(world, id, upload))
            && self.0.get(id).is_some_and(|growth| {
                let ago = now - growth.since;
                growth.bytes > 0 && ago < LOOKED_AT_FOR && ago > TimeDelta::seconds(3)
            })
    }
}
