//! What a change of policies does: two plans of the same inventory at the same instant, one with each set of policies.
//!
//! The result is the difference in actions and in protection, not the difference in the files: a policy that has only
//! moved to another file is no change. [`simulate`](crate::simulate) looks further ahead than one plan does.

mod expiry;
mod settings;

use crate::inventory::{Backup, Inventory, Vm, VmId};
use crate::plan::{Action, Plan, PolicyRef, Prune, SnapshotUsage, Status, VmPlan};
use crate::policy::{Match, Name, Policies, Policy};
use crate::simulate::{Scenario, Totals, simulate};
use chrono::{DateTime, Utc};
pub use expiry::StoredBackups;
use expiry::{ExpiryChange, ExpiryChanges};
use serde::Serialize;
pub use settings::{PolicyChange, PolicyChangeKind, SettingChange};
use std::collections::{BTreeMap, BTreeSet};

/// How far a comparison looks ahead.
const YEAR_DAYS: u32 = 365;

/// What a change of policies does, now and over a year.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The policies that there were before.
    pub against: Vec<PolicyRef>,
    /// The policies that were added, removed or changed, by name.
    pub policies: Vec<PolicyChange>,
    pub summary: ComparisonSummary,
    /// The VMs whose policy or actions change; by alias, then UUID.
    pub vms: Vec<VmChange>,
    /// The policies under which a year goes otherwise than before, by name, as [`year_changes`] finds them.
    pub years: Vec<YearChange>,
}

/// A simulated year of one VM that begins without a backup, before and after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct YearChange {
    pub policy: Name,
    /// `None` where there was no such policy.
    pub before: Option<Totals>,
    /// `None` where there is no such policy any more.
    pub after: Option<Totals>,
}

/// The counts of a [`Comparison`]. What a suspension holds back is not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ComparisonSummary {
    /// What is only done because of the change.
    pub caused: ActionCounts,
    /// Actions with and without the change. Together with `caused` that is the whole plan.
    pub anyway: ActionCounts,
    /// What would be done without the change, and no longer is.
    pub no_longer: ActionCounts,
    /// VMs that lose their policy.
    pub loses_protection: usize,
    /// VMs that two policies claim now, so that they get no actions.
    pub comes_into_conflict: usize,
    /// VMs that are suspended now.
    pub suspended: usize,
    /// VMs that get a policy.
    pub gains_protection: usize,
    /// VMs that are no longer suspended.
    pub resumed: usize,
    /// VMs that two policies claimed, and no longer do.
    pub leaves_conflict: usize,
    /// VMs that belong to another policy.
    pub changes_policy: usize,
    /// Backups that no longer belong to a tier.
    pub stranded: AbandonedBackups,
    /// Stored backups that expire at once.
    pub expired: StoredBackups,
    /// Stored backups that a run with `--prune` deletes because of the change: those that expire under a policy with
    /// `prune: true`, and all that had expired where the policy did not say so before.
    pub prunable: StoredBackups,
}

/// Backups that lose their tier: they are no parents, nothing deletes them, and their space on hypervisors
/// is never freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AbandonedBackups {
    pub backups: usize,
    /// What they hold on hypervisors.
    pub held: SnapshotUsage,
}

impl AbandonedBackups {
    /// Finds those of a VM.
    fn of(vm: &Vm, before: &Policies, after: &Policies) -> Self {
        // Where several policies claim it, none of its backups counts as abandoned: they are left as they are.
        let (Match::One(before), after) = (before.policy_for(vm), after.policy_for(vm)) else {
            return Self::default();
        };
        let is_stranded = |backup: &&Backup| {
            let comment = backup.comment.as_deref();
            let is_managed = match &after {
                Match::One(after) => after.tier_of(comment).is_some(),
                Match::Unprotected => false,
                Match::Conflict(_) => true,
            };
            before.tier_of(comment).is_some() && !is_managed
        };
        let stranded: Vec<&Backup> = vm.backups.values().filter(is_stranded).collect();
        Self { backups: stranded.len(), held: SnapshotUsage::of(stranded) }
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.backups == 0
    }
}

impl ComparisonSummary {
    /// Counts the VMs that are protected worse than before.
    pub fn worse(&self) -> usize {
        self.loses_protection + self.comes_into_conflict + self.suspended
    }

    /// Returns the counter for a shift.
    fn counter(&mut self, shift: ProtectionChange) -> &mut usize {
        match shift {
            ProtectionChange::LosesProtection => &mut self.loses_protection,
            ProtectionChange::ComesIntoConflict => &mut self.comes_into_conflict,
            ProtectionChange::Suspended => &mut self.suspended,
            ProtectionChange::GainsProtection => &mut self.gains_protection,
            ProtectionChange::Resumed => &mut self.resumed,
            ProtectionChange::LeavesConflict => &mut self.leaves_conflict,
            ProtectionChange::ChangesPolicy => &mut self.changes_policy,
        }
    }
}

/// Counts of actions by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ActionCounts {
    /// Backups to create.
    pub create: usize,
    /// Snapshots to delete on hypervisors, those of new backups among them.
    pub delete_local: usize,
    /// Backups to delete from storage, for good.
    pub delete_cloud: usize,
}

impl ActionCounts {
    fn of<'a>(actions: impl IntoIterator<Item = &'a Action>) -> Self {
        let mut counts = Self::default();
        for action in actions {
            counts.create += usize::from(action.is_create());
            counts.delete_local += usize::from(action.is_local_delete());
            counts.delete_cloud += usize::from(action.is_cloud_delete());
        }
        counts
    }

    #[must_use]
    fn plus(self, other: Self) -> Self {
        Self {
            create: self.create + other.create,
            delete_local: self.delete_local + other.delete_local,
            delete_cloud: self.delete_cloud + other.delete_cloud,
        }
    }

    /// Returns how many actions there are, of any kind.
    pub fn all(&self) -> usize {
        self.create + self.delete_local + self.delete_cloud
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a change of policies does to one VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VmChange {
    pub uuid: Option<VmId>,
    /// Its alias; may be empty.
    pub alias: String,
    /// How its protection changes; `None` when it does not.
    pub shift: Option<ProtectionChange>,
    /// Its protection before the change.
    pub before: Protection,
    /// Its protection with the change.
    pub after: Protection,
    /// What is only done because of the change; a delete that no longer waits for a create is such a thing.
    pub caused: Vec<Action>,
    /// How much is done with and without it.
    pub anyway: ActionCounts,
    /// What would be done without the change, and no longer is.
    pub no_longer: Vec<Action>,
    /// Its backups that no longer belong to a tier.
    pub stranded: AbandonedBackups,
    /// Its stored backups that expire at once.
    pub expired: StoredBackups,
    /// Its stored backups that a run with `--prune` deletes because of the change.
    pub prunable: StoredBackups,
}

impl VmChange {
    /// Says whether the change does anything to the VM.
    fn is_any(&self) -> bool {
        self.shift.is_some()
            || !self.caused.is_empty()
            || !self.no_longer.is_empty()
            || !self.stranded.is_empty()
            || !self.expired.is_empty()
            || !self.prunable.is_empty()
    }
}

/// How a VM's protection shifts. A VM has one shift at the most: of several the first in this order, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtectionChange {
    /// It had a policy, and has none.
    LosesProtection,
    /// Two policies claim it now, so that nothing is done to it.
    ComesIntoConflict,
    /// Its policy was active, and is suspended for it; or it had none, and the one it gets is suspended for it.
    Suspended,
    /// It had no policy, and has one.
    GainsProtection,
    /// Its policy was suspended for it, and is active.
    Resumed,
    /// Two policies claimed it, and no longer do.
    LeavesConflict,
    /// It belongs to another policy.
    ChangesPolicy,
}

impl ProtectionChange {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::LosesProtection,
        Self::ComesIntoConflict,
        Self::Suspended,
        Self::GainsProtection,
        Self::Resumed,
        Self::LeavesConflict,
        Self::ChangesPolicy,
    ];

    /// Says whether less is done for the VM than before.
    pub fn is_worse(self) -> bool {
        matches!(self, Self::LosesProtection | Self::ComesIntoConflict | Self::Suspended)
    }

    fn between(before: &Protection, after: &Protection) -> Option<Self> {
        use Protection::{Active, Conflict, Suspended, Unprotected, Unreadable};
        match (before, after) {
            (before, after) if before == after => None,
            // Both plans are of one reading, so this is so before and after.
            (Unreadable, _) | (_, Unreadable) => None,
            (_, Conflict) => Some(Self::ComesIntoConflict),
            (Active { .. } | Suspended { .. }, Unprotected) => Some(Self::LosesProtection),
            // A policy that is suspended protects nothing.
            (Active { .. } | Unprotected, Suspended { .. }) => Some(Self::Suspended),
            (Unprotected, _) => Some(Self::GainsProtection),
            (Suspended { .. }, Active { .. }) => Some(Self::Resumed),
            (Conflict, _) => Some(Self::LeavesConflict),
            (Active { .. }, Active { .. }) | (Suspended { .. }, Suspended { .. }) => {
                Some(Self::ChangesPolicy)
            }
        }
    }
}

/// Whether anything is done for a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Protection {
    /// It belongs to a policy.
    Active { policy: String },
    /// It belongs to a policy that is suspended for it.
    Suspended { policy: String },
    /// Several policies claim it.
    Conflict,
    /// It matches no policy.
    Unprotected,
    /// It could not be read whole.
    Unreadable,
}

impl Protection {
    fn of(vm: &VmPlan) -> Self {
        match (vm.status, &vm.policy) {
            (_, Some(policy)) if vm.is_suspended() => Self::Suspended { policy: policy.to_string() },
            (_, Some(policy)) => Self::Active { policy: policy.to_string() },
            (Status::Conflict, None) => Self::Conflict,
            (Status::Unreadable, None) => Self::Unreadable,
            (_, None) => Self::Unprotected,
        }
    }
}

/// One set of policies with the plan that was made from it.
#[derive(Clone, Copy, Debug)]
pub struct PolicySide<'a> {
    pub policies: &'a Policies,
    pub plan: &'a Plan,
}

/// Compares two plans of the same inventory and instant, that of the policies before and that of those now; what a year would
/// be is left to [`year_changes`].
pub fn compare(before: PolicySide<'_>, after: PolicySide<'_>, inventory: &Inventory) -> Comparison {
    let old: BTreeMap<VmId, &VmPlan> = before.plan.vms.iter().filter_map(|vm| Some((vm.uuid?, vm))).collect();
    let mut summary = ComparisonSummary::default();
    let mut vms = Vec::new();
    let mut expiry = ExpiryChanges::new(before.policies, after.policies, after.plan.at);
    for new in &after.plan.vms {
        // What could not be read has no action on either side.
        let Some(&old) = new.uuid.and_then(|id| old.get(&id)) else { continue };
        let vm = new.uuid.and_then(|id| inventory.vms.get(&id));
        let stranded = vm.map(|vm| AbandonedBackups::of(vm, before.policies, after.policies));
        let ExpiryChange { expired, prunable } = vm.map(|vm| expiry.of(vm)).unwrap_or_default();
        let change = VmChange {
            stranded: stranded.unwrap_or_default(),
            expired,
            prunable,
            ..action_changes(old, new)
        };
        summary.expired = summary.expired.plus(change.expired);
        summary.prunable = summary.prunable.plus(change.prunable);
        summary.stranded.backups += change.stranded.backups;
        summary.stranded.held = summary.stranded.held.plus(change.stranded.held);
        summary.caused = summary.caused.plus(ActionCounts::of(&change.caused));
        summary.anyway = summary.anyway.plus(change.anyway);
        summary.no_longer = summary.no_longer.plus(ActionCounts::of(&change.no_longer));
        if let Some(shift) = change.shift {
            *summary.counter(shift) += 1;
        }
        if change.is_any() {
            vms.push(change);
        }
    }
    Comparison {
        against: before.plan.policies.clone(),
        policies: settings::policy_changes(before.policies, after.policies),
        summary,
        vms,
        years: Vec::new(),
    }
}

/// Runs each policy forward that is new, gone or set otherwise. With `prune: true` what expires is deleted, as with `--prune`.
pub fn year_changes(before: &Policies, after: &Policies, from: DateTime<Utc>) -> Vec<YearChange> {
    let of = |policies: &Policies, others: &Policies| -> BTreeMap<Name, Totals> {
        let is_same = |policy: &Policy| {
            let mut others = others.iter().filter(|other| other.name == policy.name);
            others.any(|other| settings::setting_changes(other, policy).is_empty())
        };
        let changed = policies.iter().filter(|policy| !is_same(policy)).cloned().collect();
        let scenario = Scenario { prune: Prune::REQUESTED, ..Scenario::new(from, YEAR_DAYS) };
        let simulated = simulate(&Policies::new(changed), None, &scenario).policies;
        simulated.into_iter().map(|simulated| (simulated.policy.clone(), simulated.totals())).collect()
    };
    let (before, after) = (of(before, after), of(after, before));
    let names: BTreeSet<&Name> = before.keys().chain(after.keys()).collect();
    let change = |policy: &Name| {
        let (before, after) = (before.get(policy).copied(), after.get(policy).copied());
        (before != after).then(|| YearChange { policy: policy.clone(), before, after })
    };
    names.into_iter().filter_map(change).collect()
}

/// Compares the protection and the actions of a VM.
fn action_changes(old: &VmPlan, new: &VmPlan) -> VmChange {
    let (before, after) = (Protection::of(old), Protection::of(new));
    let is_anyway =
        |action: &&Action| old.same_action(new, action).is_some_and(|old| is_no_sooner(action, old));
    let (anyway, caused): (Vec<&Action>, Vec<&Action>) = new.due_actions().iter().partition(is_anyway);
    let is_done = |action: &Action| new.same_action(old, action).is_some();
    let no_longer = old.due_actions().iter().filter(|action| !is_done(action)).cloned().collect();
    VmChange {
        uuid: new.uuid,
        alias: new.alias.clone(),
        shift: ProtectionChange::between(&before, &after),
        before,
        after,
        caused: caused.into_iter().cloned().collect(),
        anyway: ActionCounts::of(anyway),
        no_longer,
        stranded: AbandonedBackups::default(),
        expired: StoredBackups::default(),
        prunable: StoredBackups::default(),
    }
}

/// Says whether an action is done no sooner than the same action before: a snapshot that no longer waits for the backup
/// which replaces it is deleted because of the change.
fn is_no_sooner(new: &Action, old: &Action) -> bool {
    match (old, new) {
        (Action::DeleteLocal(old), Action::DeleteLocal(new)) => new.after_create || !old.after_create,
        _ => true,
    }
}
