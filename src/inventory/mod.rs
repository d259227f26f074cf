//! What FiFo has, as it was read: plain data, always a little stale. A backup that is missing from it may exist.

mod backup;
mod backups;
mod chain;
mod ids;
mod vm;

pub use backup::{Backup, Disk, LocalState, RecordedState, StoredFile};
pub use backups::Backups;
pub use chain::{Chain, Restore, along_chains, chain_of, restorable};
pub use ids::{BackupId, NotAUuid, VmId, vm_name};
pub use vm::{Metadata, Vm};

use std::collections::BTreeMap;

/// The result of one reading of FiFo's VM list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The FiFo it was read from, as base URL without user, password, path or a final slash.
    pub endpoint: String,
    pub vms: BTreeMap<VmId, Vm>,
    /// The VMs (or list elements that may have been one) that could not be read whole. Nothing is ever done to them.
    pub unreadable: Vec<UnreadableVm>,
}

impl Inventory {
    /// Says whether the list showed nothing at all, as FiFo answers a user who may see no VM: it never means that there are none.
    pub fn is_empty(&self) -> bool {
        self.vms.is_empty() && self.unreadable.is_empty()
    }
}

/// An element of the VM list of which some part could not be understood. What it has is unknown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnreadableVm {
    /// Its alias, or an empty text where not even that could be read.
    pub alias: String,
    pub id: Option<VmId>,
    /// What could not be read, one entry a place: `backups.<uuid>.parent: expected a UUID, found a number`.
    pub problems: Vec<String>,
}
