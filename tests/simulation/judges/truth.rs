//! The state of the world, whatever the program reports.

use fifo_retain::sandbox::{Record, Upload, Vm, World};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A VM's backups as they were.
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
            let restorable = vm.backups.keys().copied().filter(|backup| restorable(world, *id, *backup));
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

/// Says whether a backup can be had from the store, and every step of it shows that it is whole.
pub(super) fn shows_restorable(world: &World, vm: Uuid, backup: Uuid) -> bool {
    world.vms.get(&vm).is_some_and(|vm| shows_restorable_in(vm, backup))
}

pub(super) fn shows_restorable_in(vm: &Vm, backup: Uuid) -> bool {
    let steps = std::iter::successors(Some(backup), |at| vm.backups.get(at)?.parent);
    // What can be restored has no loop.
    restorable_in(vm, backup) && !steps.into_iter().any(|step| is_unverified_in(vm, step))
}

/// Returns a backup and all that it descends from, itself first.
pub(super) fn chain(world: &World, vm: Uuid, backup: Uuid) -> impl Iterator<Item = Uuid> {
    let backups = world.vms.get(&vm).map(|vm| &vm.backups);
    let steps = std::iter::successors(Some(backup), move |at| backups?.get(at)?.parent);
    steps.take(backups.map_or(0, |backups| backups.len()) + 1)
}

/// Says whether nothing shows that a completed backup is whole: the size or the checksum of one of its files is missing,
/// although an earlier one of the VM has them all.
pub(super) fn is_unverified(world: &World, vm: Uuid, backup: Uuid) -> bool {
    world.vms.get(&vm).is_some_and(|vm| is_unverified_in(vm, backup))
}

pub(super) fn is_unverified_in(vm: &Vm, backup: Uuid) -> bool {
    let shows_all = |record: &Record| {
        let files = record.files.as_ref();
        files.is_some_and(|files| !files.is_empty() && files.values().all(|file| file.sha1.is_some()))
    };
    let Some(record) = vm.backups.get(&backup) else { return false };
    let earlier = |other: &Record| {
        other.state.as_deref() == Some("completed")
            && other.timestamp.is_some()
            && other.timestamp < record.timestamp
            && shows_all(other)
    };
    !shows_all(record) && vm.backups.values().any(earlier)
}

/// Says whether an upload still needs its snapshot and its parent's. Once its state is written nothing more is sent,
/// even if `local` is still to come; and of one whose record was deleted it cannot be known.
pub(super) fn is_sending(world: &World, id: &Uuid, upload: &Upload) -> bool {
    let record = world.vms.get(&upload.vm).and_then(|vm| vm.backups.get(id));
    record.is_some_and(|record| matches!(record.state.as_deref(), None | Some("uploading")))
}

/// Says whether an increment on a backup came out with nothing in it: its snapshot is not there, whatever is on record.
pub(super) fn has_hollow_increment(vm: &Vm, parent: Uuid) -> bool {
    vm.backups.iter().any(|(id, record)| {
        record.parent == Some(parent)
            && record.state.as_deref() == Some("completed")
            && vm.stored.get(id).is_some_and(|stored| !stored.sound)
    })
}
