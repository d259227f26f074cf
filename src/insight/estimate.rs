//! What a plan moves, in bytes: measured for what it deletes, estimated for what it creates.

use crate::inventory::{Inventory, Vm};
use crate::plan::{Action, Plan, expected_upload_bytes};

/// The bytes that carrying out a plan is likely to move. Actions of suspended VMs are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Bytes of quota that its local deletes free, as far as FiFo has measured the snapshots.
    pub freed_bytes: u64,
    /// Bytes that its creates upload: each as many as the newest completed backup of the same VM, comment and type.
    pub upload_bytes: u64,
    /// How many backups are created.
    pub creates: usize,
    /// How many of them have no such earlier backup, and so are not in `upload_bytes`.
    pub creates_unknown: usize,
}

impl Estimate {
    /// Estimates a plan by the inventory that it was made from, or by a later one.
    pub fn of(plan: &Plan, inventory: &Inventory) -> Self {
        let mut estimate = Self::default();
        for planned in &plan.vms {
            let vm = planned.uuid.and_then(|id| inventory.vms.get(&id));
            for action in planned.due_actions() {
                estimate.add(action, vm);
            }
        }
        estimate
    }

    fn add(&mut self, action: &Action, vm: Option<&Vm>) {
        match action {
            Action::Create(create) => {
                self.creates += 1;
                match vm.and_then(|vm| expected_upload_bytes(vm, create)) {
                    Some(bytes) => self.upload_bytes = self.upload_bytes.saturating_add(bytes),
                    None => self.creates_unknown += 1,
                }
            }
            Action::DeleteLocal(delete) => {
                let backup = vm.zip(delete.backup).and_then(|(vm, id)| vm.backups.get(&id));
                let bytes = backup.and_then(|backup| backup.local_size_bytes).unwrap_or(0);
                self.freed_bytes = self.freed_bytes.saturating_add(bytes);
            }
        }
    }
}
