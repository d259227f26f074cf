//! The pure core: policies, an inventory and an instant in, a plan out. No clock, no network, no randomness; the same
//! input gives the same bytes.
//!
//! [`plan()`] decides VM by VM ([`decide`]): which tier is due ([`due`]), what it is taken from ([`parent`]), which
//! snapshots stay on the hypervisor ([`local`]), which stored backups have expired ([`stored`]). All of these look at
//! a VM through [`standing::VmView`], where every backup has been judged once. [`audit`] judges the finished plan
//! against the rules a second time, sharing none of that code; a VM whose plan breaks one is left out.
//!
//! Notes and reasons are data here; `render` has their sentences.
//!
//! What reports on plans and backups without deciding anything is in [`insight`](crate::insight).

pub mod audit;
mod cascade;
mod changeset;
mod confirm;
pub(crate) mod decide;
pub mod due;
mod fault;
mod fingerprint;
pub mod local;
mod note;
pub(crate) mod notes;
pub mod parent;
pub mod projection;
mod reason;
mod saved;
pub mod standing;
pub mod stored;
mod upload_size;
mod validity;

#[cfg(test)]
pub(crate) mod tests;

pub use cascade::{CascadeCost, cascade_cost};
pub use changeset::{
    Action, BackupKind, Create, DeleteLocal, FORMAT, Plan, PolicyRef, SnapshotUsage, Status, Summary,
    SuspendedUntil, TOOL, VmPlan, schema,
};
pub use confirm::{ConfirmedPlan, SkipReason, SkippedVm, confirm};
pub use decide::decide;
pub use fingerprint::fingerprint;
pub use note::{BackupLabel, BackupName, BlockingState, FailedAttempts, Note, NoteCode, NoteKind, SavedNote};
pub use notes::bytes_text;
pub use reason::{Attempt, CreateReason, DeleteReason};
pub use saved::{SavedAction, SavedPlan, SavedPlanError, SavedVm};
pub use upload_size::expected_upload_bytes;

use crate::inventory::{Inventory, UnreadableVm, VmId};
use crate::policy::{Match, Policies};
use audit::Violation;
use chrono::{DateTime, Utc};
use due::Occurrences;
use standing::VmView;
use std::collections::{BTreeMap, BTreeSet};

/// Works out the difference between what there is and what the policies want.
///
/// `now` is the instant planned for; recorded times are compared with it and with nothing else.
///
/// # Errors
///
/// When [`audit`] finds that the plan lacks a VM, or has one twice or that was not read: that is a fault of this program,
/// and such a plan must not be carried out. All violations are given. A VM whose plan breaks a rule is left out, as
/// [`Status::Fault`].
pub fn plan(policies: &Policies, inventory: &Inventory, now: DateTime<Utc>) -> Result<Plan, Vec<Violation>> {
    let occurrences_by_policy: BTreeMap<&str, Occurrences<'_>> =
        policies.iter().map(|policy| (policy.name.as_str(), Occurrences::new(policy, now))).collect();
    let mut validity = validity::Validity::default();
    let mut vms = Vec::with_capacity(inventory.vms.len() + inventory.unreadable.len());
    // One that the list showed twice, and whole only once, is not known whole.
    let unread: BTreeSet<VmId> = inventory.unreadable.iter().filter_map(|vm| vm.id).collect();
    for vm in inventory.vms.values().filter(|vm| !unread.contains(&vm.id)) {
        vms.push(match policies.policy_for(vm) {
            Match::One(policy) => {
                let occurrences = &occurrences_by_policy[policy.name.as_str()];
                let view = VmView::new(vm, policy, now);
                let planned = decide::planned(&view, occurrences);
                validity.narrow(&view, occurrences, &planned);
                planned
            }
            Match::Unprotected => decide::unprotected(vm),
            Match::Conflict(policies) => decide::conflict(vm, &policies),
        });
    }
    vms.extend(inventory.unreadable.iter().map(unreadable));
    vms.sort_by(|a, b| (&a.alias, a.uuid, a.problems()).cmp(&(&b.alias, b.uuid, b.problems())));

    let mut plan = Plan {
        format: FORMAT.to_owned(),
        tool: TOOL.to_owned(),
        at: now,
        valid_until: validity.until(),
        endpoint: inventory.endpoint.clone(),
        timezone: policies.display_zone().name().to_owned(),
        policies: policies
            .iter()
            .map(|policy| PolicyRef {
                name: policy.name.clone(),
                file: policy.source.file.clone(),
                sha256: policy.source.sha256.clone(),
            })
            .collect(),
        summary: summary(&vms),
        vms,
        checksum: String::new(),
    };
    plan.sign();
    fault::without_faults(plan, policies, inventory)
}

impl Plan {
    /// Gives the same plan of these VMs alone, counted and signed anew.
    #[must_use]
    pub fn limited_to(&self, vms: Vec<VmPlan>) -> Self {
        let mut plan = Self {
            format: self.format.clone(),
            tool: self.tool.clone(),
            at: self.at,
            valid_until: self.valid_until,
            endpoint: self.endpoint.clone(),
            timezone: self.timezone.clone(),
            policies: self.policies.clone(),
            summary: summary(&vms),
            vms,
            checksum: String::new(),
        };
        plan.sign();
        plan
    }
}

fn unreadable(vm: &UnreadableVm) -> VmPlan {
    VmPlan {
        uuid: vm.id,
        alias: vm.alias.clone(),
        policy: None,
        status: Status::Unreadable,
        fingerprint: None,
        suspended: None,
        actions: Vec::new(),
        notes: vec![Note::vm(NoteKind::Unreadable { problems: vm.problems.clone() })],
        unmanaged: SnapshotUsage::default(),
    }
}

impl VmPlan {
    /// Distinguishes two unreadable VMs without alias and UUID, so that even their order is a function of the input.
    fn problems(&self) -> &[String] {
        match self.notes.first() {
            Some(Note { kind: NoteKind::Unreadable { problems }, .. }) => problems,
            _ => &[],
        }
    }
}

/// Counts what is planned for VMs.
fn summary(vms: &[VmPlan]) -> Summary {
    let mut summary = Summary::default();
    for vm in vms {
        summary.unmanaged = summary.unmanaged.plus(vm.unmanaged);
        for action in vm.due_actions() {
            summary.create += usize::from(action.is_create());
            summary.delete_local += usize::from(action.is_local_delete());
        }
        match vm.status {
            Status::Changes if vm.is_suspended() => summary.suspended += 1,
            Status::Changes => {}
            Status::Fault => summary.fault += 1,
            Status::Unreadable => summary.unreadable += 1,
            Status::Conflict => summary.conflict += 1,
            Status::Blocked => summary.blocked += 1,
            Status::Waiting => summary.waiting += 1,
            Status::Unprotected => summary.unprotected += 1,
            Status::UpToDate => summary.up_to_date += 1,
        }
    }
    summary
}
