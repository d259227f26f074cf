//! Whether what is there can be restored: for judges of what a client has done, apart from what it believes.

use super::world::{Vm, World};
use uuid::Uuid;

impl World {
    /// Says whether FiFo could restore a backup: backwards from it, a local one ends the walk, otherwise up to a full
    /// one, and every step of it is really in the store, whole, and fits on the one before.
    pub fn restorable(&self, vm: Uuid, backup: Uuid) -> bool {
        self.vms.get(&vm).is_some_and(|vm| walk(vm, backup, true))
    }

    /// The same without the hypervisor's snapshots: what is left when the hypervisor is lost.
    pub fn restorable_from_store(&self, vm: Uuid, backup: Uuid) -> bool {
        self.vms.get(&vm).is_some_and(|vm| walk(vm, backup, false))
    }
}

fn walk(vm: &Vm, backup: Uuid, snapshots_count: bool) -> bool {
    let mut at = backup;
    // More steps than there are backups is a loop.
    for _ in 0..vm.backups.len() {
        let Some(record) = vm.backups.get(&at) else { return false };
        if snapshots_count && record.local == Some(true) {
            return vm.snapshots.contains_key(&at);
        }
        match vm.stored.get(&at) {
            Some(stored) if stored.sound && stored.base == record.parent => {}
            _ => return false,
        }
        match record.parent {
            Some(parent) => at = parent,
            None => return true,
        }
    }
    false
}
