//! What a change of policies does: two plans of the same inventory at the same instant, one with each set of policies. The result is
//! the difference in actions and in protection: a policy that has only moved to another file is no change.

mod settings;

use crate::inventory::{Backup, BackupId, Inventory, Vm, VmId};
use crate::plan::keep::Keeps;
use crate::plan::standing::{BackupView, VmView};
use crate::plan::{Action, Plan, PolicyRef, Prune, SnapshotUsage, Status, VmPlan};
use crate::policy::{Match, Name, Policies, Policy, Zone};
use crate::simulate::{Scenario, Totals, simulate};
use chrono::{DateTime, FixedOffset, Utc};
use serde::Serialize;
pub use settings::{PolicyChange, PolicyChangeKind, SettingChange};
use std::collections::{BTreeMap, BTreeSet};

const YEAR_DAYS: u32 = 365;

/// What a change of policies does, now and over a year.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
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
    pub before: Option<Totals>,
    pub after: Option<Totals>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ComparisonSummary {
    /// What is only done because of the change.
    pub caused: ActionCounts,
    /// Actions with and without the change. Together with `caused` that is the whole plan.
    pub anyway: ActionCounts,
    /// What would be done without the change, and no longer is.
    pub no_longer: ActionCounts,
    pub loses_protection: usize,
    /// VMs that two policies claim now, so that they get no actions.
    pub comes_into_conflict: usize,
    pub suspended: usize,
    pub gains_protection: usize,
    pub resumed: usize,
    /// VMs that two policies claimed, and no longer do.
    pub leaves_conflict: usize,
    pub changes_policy: usize,
    pub stranded: AbandonedBackups,
    pub expired: StoredBackups,
    /// Stored backups that a run with `--prune` deletes because of the change: those that expire under a policy with
    /// `prune: true`, and all that had expired where the policy did not say so before.
    pub prunable: StoredBackups,
}

/// Backups that lose their tier: they are no parents, nothing deletes them, and their snapshots stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AbandonedBackups {
    pub backups: usize,
    pub held: SnapshotUsage,
}

impl AbandonedBackups {
    /// Finds those of a VM. Where several policies claim it there are none: its backups are left as they are.
    fn of(vm: &Vm, before: Option<&Policy>, after: &Match<'_>) -> Self {
        let is_managed = |comment: Option<&str>| match after {
            Match::One(after) => after.tier_of(comment).is_some(),
            Match::Unprotected => false,
            Match::Conflict(_) => true,
        };
        let is_stranded = |backup: &&Backup| {
            let comment = backup.comment.as_deref();
            before.is_some_and(|before| before.tier_of(comment).is_some()) && !is_managed(comment)
        };
        let stranded: Vec<&Backup> = vm.backups.values().filter(is_stranded).collect();
        Self { backups: stranded.len(), held: SnapshotUsage::of(stranded) }
    }

    pub fn is_empty(&self) -> bool {
        self.backups == 0
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoredBackups {
    pub backups: usize,
    /// Their stored bytes, as far as FiFo tells them.
    pub size_bytes: u64,
    /// When the oldest was taken, in its policy's zone; `None` where there is none.
    pub oldest: Option<DateTime<FixedOffset>>,
    pub newest: Option<DateTime<FixedOffset>>,
}

impl StoredBackups {
    fn one(backup: &BackupView<'_>, zone: &Zone) -> Self {
        let taken = Some(zone.moment(backup.taken));
        let size_bytes = backup.backup.size_bytes().unwrap_or(0);
        Self { backups: 1, size_bytes, oldest: taken, newest: taken }
    }

    fn add(&mut self, other: Self) {
        self.backups += other.backups;
        self.size_bytes = self.size_bytes.saturating_add(other.size_bytes);
        self.oldest = self.oldest.into_iter().chain(other.oldest).min();
        self.newest = self.newest.into_iter().chain(other.newest).max();
    }

    pub fn is_empty(&self) -> bool {
        self.backups == 0
    }
}

impl ComparisonSummary {
    fn add(&mut self, change: &VmChange) {
        self.expired.add(change.expired);
        self.prunable.add(change.prunable);
        self.stranded.backups += change.stranded.backups;
        self.stranded.held = self.stranded.held.plus(change.stranded.held);
        self.caused.add(ActionCounts::of(&change.caused));
        self.anyway.add(change.anyway);
        self.no_longer.add(ActionCounts::of(&change.no_longer));
        let Some(shift) = change.shift else { return };
        *match shift {
            ProtectionChange::LosesProtection => &mut self.loses_protection,
            ProtectionChange::ComesIntoConflict => &mut self.comes_into_conflict,
            ProtectionChange::Suspended => &mut self.suspended,
            ProtectionChange::GainsProtection => &mut self.gains_protection,
            ProtectionChange::Resumed => &mut self.resumed,
            ProtectionChange::LeavesConflict => &mut self.leaves_conflict,
            ProtectionChange::ChangesPolicy => &mut self.changes_policy,
        } += 1;
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ActionCounts {
    pub create: usize,
    pub delete_local: usize,
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

    fn add(&mut self, other: Self) {
        self.create += other.create;
        self.delete_local += other.delete_local;
        self.delete_cloud += other.delete_cloud;
    }

    pub fn all(&self) -> usize {
        self.create + self.delete_local + self.delete_cloud
    }

    pub fn is_empty(&self) -> bool {
        self.all() == 0
    }
}

/// What a change of policies does to one VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VmChange {
    pub uuid: Option<VmId>,
    pub alias: String,
    pub shift: Option<ProtectionChange>,
    pub before: Protection,
    pub after: Protection,
    /// What is only done because of the change; a delete that no longer waits for a create is such a thing.
    pub caused: Vec<Action>,
    pub anyway: ActionCounts,
    /// What would be done without the change, and no longer is.
    pub no_longer: Vec<Action>,
    pub stranded: AbandonedBackups,
    pub expired: StoredBackups,
    pub prunable: StoredBackups,
}

impl VmChange {
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
    LosesProtection,
    /// Two policies claim it now, so that nothing is done to it.
    ComesIntoConflict,
    /// Its policy was active, and is suspended for it; or it had none, and the one it gets is suspended for it.
    Suspended,
    GainsProtection,
    Resumed,
    LeavesConflict,
    ChangesPolicy,
}

impl ProtectionChange {
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
    Active {
        policy: String,
    },
    /// It belongs to a policy that is suspended for it.
    Suspended {
        policy: String,
    },
    Conflict,
    Unprotected,
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

/// Compares two plans of the same inventory and instant, that of the policies before and that of those now.
pub fn compare(before: PolicySide<'_>, after: PolicySide<'_>, inventory: &Inventory) -> Comparison {
    let old: BTreeMap<VmId, &VmPlan> = before.plan.vms.iter().filter_map(|vm| Some((vm.uuid?, vm))).collect();
    let policies = settings::policy_changes(before.policies, after.policies);
    let mut summary = ComparisonSummary::default();
    let mut vms = Vec::new();
    for new in &after.plan.vms {
        // What could not be read has no action on either side.
        let Some(&old) = new.uuid.and_then(|id| old.get(&id)) else { continue };
        let mut change = action_changes(old, new);
        if let Some(vm) = new.uuid.and_then(|id| inventory.vms.get(&id)) {
            let (was, is) = (before.policies.policy_for(vm).one(), after.policies.policy_for(vm));
            change.stranded = AbandonedBackups::of(vm, was, &is);
            let is_set_otherwise = |policy: &Policy| {
                let is_same = was.is_some_and(|was| was.name == policy.name);
                !is_same || policies.iter().any(|it| *it.name == *policy.name)
            };
            if let Some(policy) = is.one().filter(|policy| is_set_otherwise(policy)) {
                expire(&mut change, vm, was, policy, after);
            }
        }
        summary.add(&change);
        if change.is_any() {
            vms.push(change);
        }
    }
    Comparison { against: before.plan.policies.clone(), policies, summary, vms, years: Vec::new() }
}

/// Enters which stored backups of a VM a change of its policy makes expire, and which it lets `--prune` delete: what expires because
/// of it, and what had expired where the policy did not allow that.
fn expire(change: &mut VmChange, vm: &Vm, before: Option<&Policy>, policy: &Policy, after: PolicySide<'_>) {
    let expired = |policy: &Policy| -> Vec<(BackupId, StoredBackups)> {
        let view = VmView::new(vm, policy, after.plan.at);
        let expired = Keeps::of(&view).expired(&view).into_iter();
        expired.map(|it| (it.id(), StoredBackups::one(it, after.policies.display_zone()))).collect()
    };
    let had: BTreeSet<BackupId> = before.map(expired).into_iter().flatten().map(|(id, _)| id).collect();
    for (id, counted) in expired(policy) {
        let is_new = !had.contains(&id);
        if is_new {
            change.expired.add(counted);
        }
        if policy.prune && (is_new || !before.is_some_and(|before| before.prune)) {
            change.prunable.add(counted);
        }
    }
}

/// Runs each policy forward that is new, gone or set otherwise. With `prune: true` what expires is deleted, as with `--prune`.
pub fn year_changes(before: &Policies, after: &Policies, from: DateTime<Utc>) -> Vec<YearChange> {
    let changed = settings::policy_changes(before, after);
    let of = |policies: &Policies| -> Vec<Option<Totals>> {
        let changed = || changed.iter().map(|change| policies.get(&change.name));
        let scenario = Scenario { prune: Prune::REQUESTED, ..Scenario::new(from, YEAR_DAYS) };
        let simulated = simulate(&Policies::new(changed().flatten().cloned().collect()), None, &scenario);
        let mut years = simulated.policies.into_iter().map(|year| Totals::of(&year.days));
        changed().map(|policy| policy.and_then(|_| years.next())).collect()
    };
    let years = of(before).into_iter().zip(of(after)).zip(&changed);
    let years = years.filter(|((before, after), _)| before != after);
    years.map(|((before, after), it)| YearChange { policy: it.name.as_str().into(), before, after }).collect()
}

/// Compares the protection and the actions of a VM.
fn action_changes(old: &VmPlan, new: &VmPlan) -> VmChange {
    let (before, after) = (Protection::of(old), Protection::of(new));
    // A snapshot that no longer waits for the backup which replaces it is deleted because of the change.
    let is_no_sooner = |new: &Action, old: &Action| match (old, new) {
        (Action::DeleteLocal(old), Action::DeleteLocal(new)) => new.after_create || !old.after_create,
        _ => true,
    };
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
