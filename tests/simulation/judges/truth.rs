//! The state of the world, whatever the program reports.

use super::STUCK_AFTER_US;
use fifo_retain::sandbox::{ApiStyle, Record, Upload, Vm, World};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

#[derive(Clone, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) ids: BTreeSet<Uuid>,
    pub(super) restorable: BTreeSet<Uuid>,
    pub(super) local: BTreeSet<Uuid>,
}

pub(super) fn seen(world: &World) -> BTreeMap<Uuid, Seen> {
    world
        .vms
        .iter()
        .map(|(id, vm)| {
            let is_local =
                |backup: &Record| backup.local.unwrap_or(backup.local_size.is_some_and(|bytes| bytes > 0));
            let local = vm.backups.iter().filter(|(_, backup)| is_local(backup)).map(|(id, _)| *id);
            let restorable = vm.backups.keys().copied().filter(|backup| restorable_in(vm, *backup));
            let seen = Seen {
                ids: vm.backups.keys().copied().collect(),
                restorable: restorable.collect(),
                local: local.collect(),
            };
            (*id, seen)
        })
        .collect()
}

/// Says whether a backup can be had from the store: every step is there, completed and sound, and fits on the one before.
pub(super) fn restorable(world: &World, vm: Uuid, backup: Uuid) -> bool {
    world.vms.get(&vm).is_some_and(|vm| restorable_in(vm, backup))
}

fn restorable_in(vm: &Vm, backup: Uuid) -> bool {
    let mut at = backup;
    for _ in 0..=vm.backups.len() {
        let (Some(record), Some(stored)) = (vm.backups.get(&at), vm.stored.get(&at)) else { return false };
        if record.state.as_deref() != Some("completed") || !stored.sound || stored.base != record.parent {
            return false;
        }
        match record.parent {
            Some(parent) => at = parent,
            None => return true,
        }
    }
    false
}

/// A VM's records as the contract reads them at an instant.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    pub(super) vm: &'a Vm,
    pub(super) at_us: i64,
    /// Whether FiFo tells size and checksum of every file of some completed backup.
    tells_files: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(vm: &'a Vm, style: ApiStyle, at_us: i64) -> Self {
        let tells_all = |record: &Record| {
            let mut files = record.files.iter().flatten().peekable();
            record.state.as_deref() == Some("completed")
                && files.peek().is_some()
                && files.all(|(_, file)| file.sha1.is_some())
        };
        let tells_files = style == ApiStyle::V3 && vm.backups.values().any(tells_all);
        Self { vm, at_us, tells_files }
    }

    /// Says whether a completed backup counts as in progress: it is young, and the checksum of one of its files is missing,
    /// although another one of the VM has them all.
    pub(super) fn is_unverified(self, record: &Record) -> bool {
        let mut files = record.files.iter().flatten();
        self.tells_files
            && record.state.as_deref() == Some("completed")
            && self.is_young(record)
            && files.any(|(_, file)| file.sha1.is_none())
    }

    pub(super) fn is_running(self, record: &Record) -> bool {
        !is_over(record) && self.is_young(record) || self.is_unverified(record)
    }

    fn is_young(self, record: &Record) -> bool {
        record.timestamp.is_some_and(|taken_us| (self.at_us - taken_us).abs() < STUCK_AFTER_US)
    }

    /// Says whether a backup can be had from the store, and no step of it counts as in progress.
    pub(super) fn is_restorable(self, backup: Uuid) -> bool {
        // What can be restored has no loop.
        restorable_in(self.vm, backup)
            && !self.chain(backup).any(|step| self.is_unverified(&self.vm.backups[&step]))
    }

    /// Returns a backup and all that it descends from, itself first; the last may not be on record.
    pub(super) fn chain(self, backup: Uuid) -> impl Iterator<Item = Uuid> + 'a {
        let backups = &self.vm.backups;
        let steps = std::iter::successors(Some(backup), move |at| backups.get(at)?.parent);
        steps.take(backups.len() + 1)
    }

    /// Says whether the last increment on a backup came out with nothing in it: its snapshot is not there, whatever is on
    /// record.
    pub(super) fn has_hollow_increment(self, parent: Uuid) -> bool {
        let is_on_it =
            |record: &Record| record.parent == Some(parent) && record.state.as_deref() == Some("completed");
        let on_it = self.vm.backups.iter().filter(|(_, record)| is_on_it(record));
        let last = on_it.max_by_key(|(id, record)| (record.timestamp, **id));
        last.is_some_and(|(id, _)| self.vm.stored.get(id).is_some_and(|stored| !stored.sound))
    }
}

pub(super) fn is_over(record: &Record) -> bool {
    record.state.as_deref().is_some_and(|state| state == "completed" || state.contains("failed"))
}

pub(super) fn is_silent(record: &Record) -> bool {
    record.state.is_none() && record.timestamp.is_some()
}

/// Says whether an upload still needs its snapshot and its parent's. Once its state is written nothing more is sent,
/// even if `local` is still to come; and of one whose record was deleted it cannot be known.
pub(super) fn is_sending(world: &World, id: &Uuid, upload: &Upload) -> bool {
    let record = world.vms.get(&upload.vm).and_then(|vm| vm.backups.get(id));
    record.is_some_and(|record| matches!(record.state.as_deref(), None | Some("uploading")))
}
