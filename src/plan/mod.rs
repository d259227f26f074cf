//! The pure core: policies, an inventory and an instant in, a plan out. The same input gives the same bytes.
//!
//! [`Planner`] decides VM by VM ([`decide`]): which tier is due ([`due`]), what it is taken from ([`parent`]), which backups
//! stay on the hypervisor and in storage, and why ([`keep`]), and which of the others are deleted. All of these look at a VM
//! through [`standing::VmView`], where every backup has been judged once. [`audit`] checks on its own, from the records, that
//! nothing in a plan could hurt. Notes and reasons are sentences, written where they arise.

pub mod audit;
mod cascade;
mod changeset;
mod confirm;
pub(crate) mod decide;
pub mod due;
mod fingerprint;
pub mod keep;
mod last_kept;
mod note;
pub(crate) mod notes;
pub mod parent;
mod planner;
pub mod projection;
mod prune;
mod request;
mod saved;
pub mod standing;
mod validity;

#[cfg(test)]
pub(crate) mod tests;

pub use cascade::{CascadeCost, CascadeCosts};
pub use changeset::{
    Action, BackupKind, Create, DeleteCloud, DeleteLocal, FORMAT, Plan, PolicyRef, SnapshotUsage, Status,
    Summary, SuspendedUntil, TOOL, VmPlan, schema,
};
pub use confirm::{ConfirmedPlan, SkipReason, SkippedVm, confirm};
pub use decide::decide;
pub use fingerprint::fingerprint;
pub use note::{Note, NoteCode};
pub use notes::bytes_text;
pub use planner::{DecidedVm, JudgedVm, Planner};
pub(crate) use planner::{sort_key, unreadable};
pub use projection::expected_upload_bytes;
pub use prune::{Expired, PruneHold, expired_backups};
pub use request::{Prune, Request};
pub use saved::SavedPlanError;
pub(crate) use validity::next_turning_point;

use crate::inventory::{Inventory, VmId};
use crate::policy::Policies;
use std::collections::BTreeSet;

/// Works out the difference between what there is and what the policies want.
///
/// Recorded times are compared with the instants of the request and with nothing else. A VM whose plan breaks a rule is left
/// out, as [`Status::Fault`]: that is a fault of this program, which must not keep the other VMs from theirs.
pub fn plan(policies: &Policies, inventory: &Inventory, request: impl Into<Request>) -> Plan {
    // One that the list has twice, and whole only once, is not known whole.
    let unread: BTreeSet<VmId> = inventory.unreadable.iter().filter_map(|vm| vm.id).collect();
    let mut planner = Planner::new(policies, request);
    let readable = inventory.vms.values().filter(|vm| !unread.contains(&vm.id));
    let vms = readable.map(|vm| planner.decide(vm).plan).collect();
    planner.finish(inventory.endpoint.clone(), vms, &inventory.unreadable)
}
