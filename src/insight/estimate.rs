//! What a plan moves, in bytes: measured for what it deletes, estimated for what it creates.

use crate::inventory::Vm;
use crate::plan::{Action, VmPlan, expected_upload_bytes};

/// The bytes that carrying out a plan is likely to move. Actions of suspended VMs are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Bytes of quota that its local deletes free, as far as FiFo has measured the snapshots.
    pub freed_bytes: u64,
    /// Bytes of storage that its deletes from storage free, as far as FiFo tells the sizes.
    pub pruned_bytes: u64,
    /// Bytes that its creates upload: each as many as the newest completed backup of the same VM, comment and type.
    pub upload_bytes: u64,
    pub creates: usize,
    /// How many of them have no such earlier backup, and so are not in `upload_bytes`.
    pub creates_unknown: usize,
}

impl Estimate {
    pub fn of(planned: &VmPlan, vm: &Vm) -> Self {
        let mut sum = Self::default();
        for action in planned.due_actions() {
            match action {
                Action::Create(create) => {
                    let bytes = expected_upload_bytes(vm, create);
                    sum.upload_bytes = sum.upload_bytes.saturating_add(bytes.unwrap_or(0));
                    sum.creates += 1;
                    sum.creates_unknown += usize::from(bytes.is_none());
                }
                Action::DeleteLocal(delete) => {
                    let backup = delete.backup.and_then(|id| vm.backups.get(id));
                    let bytes = backup.and_then(|backup| backup.local_size_bytes).unwrap_or(0);
                    sum.freed_bytes = sum.freed_bytes.saturating_add(bytes);
                }
                Action::DeleteCloud(delete) => {
                    sum.pruned_bytes = sum.pruned_bytes.saturating_add(delete.size_bytes.unwrap_or(0));
                }
            }
        }
        sum
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            freed_bytes: self.freed_bytes.saturating_add(other.freed_bytes),
            pruned_bytes: self.pruned_bytes.saturating_add(other.pruned_bytes),
            upload_bytes: self.upload_bytes.saturating_add(other.upload_bytes),
            creates: self.creates + other.creates,
            creates_unknown: self.creates_unknown + other.creates_unknown,
        }
    }
}
