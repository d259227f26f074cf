//! The limits of deletes from storage: a policy that makes too much expire at once must not take it all.

use super::changeset::{Action, VmPlan};
use crate::inventory::VmId;
use serde::Serialize;

/// The share of a VM's stored backups that one run may delete from storage, in percent.
const SHARE_OF_VM_MAX: usize = 30;
/// The share of all stored backups that one run may delete from storage, in percent.
const SHARE_OF_ALL_MAX: usize = 10;

/// More deletes from storage than one run may send. None of them is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MassPrune {
    /// How many backups would be deleted: the number for `--allow-mass-prune`.
    pub delete_cloud: usize,
    /// How many completed backups are on record, over all VMs that could be read.
    pub stored: usize,
    /// How many backups may be deleted: a tenth of these, or what `--allow-mass-prune` says.
    pub limit: usize,
    /// Whether `--allow-mass-prune` names the limit.
    pub is_limit_named: bool,
    /// The VMs that would lose more than their share, in the order of the plan; empty where the limit is named.
    pub vms: Vec<MassPrunedVm>,
}

/// A VM that would lose more than its share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MassPrunedVm {
    pub uuid: Option<VmId>,
    /// Its alias; may be empty.
    pub alias: String,
    /// How many of its backups would be deleted.
    pub delete_cloud: usize,
    /// How many completed backups it has on record.
    pub stored: usize,
    /// How many may be deleted.
    pub limit: usize,
}

impl MassPrune {
    /// Judges what is going to be carried out; `None` where it is within the limits.
    ///
    /// `stored` are the completed backups of all VMs, those that nothing is done to among them. A count that is named is the
    /// limit instead of the shares.
    pub fn of(vms: &[VmPlan], stored: usize, named: Option<usize>) -> Option<Self> {
        let delete_cloud: usize = vms.iter().map(VmPlan::cloud_deletes).sum();
        if let Some(limit) = named {
            let vms = Vec::new();
            return (delete_cloud > limit).then_some(Self {
                delete_cloud,
                stored,
                limit,
                is_limit_named: true,
                vms,
            });
        }
        let limit = share(stored, SHARE_OF_ALL_MAX);
        let over: Vec<MassPrunedVm> = vms.iter().filter_map(MassPrunedVm::of).collect();
        (delete_cloud > limit || !over.is_empty()).then_some(Self {
            delete_cloud,
            stored,
            limit,
            is_limit_named: false,
            vms: over,
        })
    }
}

impl MassPrunedVm {
    fn of(vm: &VmPlan) -> Option<Self> {
        let (delete_cloud, stored) = (vm.cloud_deletes(), vm.stored);
        let limit = share(stored, SHARE_OF_VM_MAX);
        (delete_cloud > limit).then(|| Self {
            uuid: vm.uuid,
            alias: vm.alias.clone(),
            delete_cloud,
            stored,
            limit,
        })
    }
}

/// Returns how many of so many a share allows: at least one, or a VM with few backups could never be pruned.
fn share(count: usize, percent: usize) -> usize {
    (count.saturating_mul(percent) / 100).max(1)
}

impl<C, D, N> VmPlan<Action<C, D>, N> {
    /// Counts the due deletes from storage.
    pub fn cloud_deletes(&self) -> usize {
        self.due_actions().iter().filter(|action| action.is_cloud_delete()).count()
    }
}

/// Leaves out the deletes from storage, and the VMs that nothing else is done to.
pub fn without_cloud_deletes(mut vms: Vec<VmPlan>) -> Vec<VmPlan> {
    vms.iter_mut().for_each(|vm| vm.actions.retain(|action| !action.is_cloud_delete()));
    vms.retain(|vm| !vm.actions.is_empty());
    vms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::fixtures::*;
    use crate::plan::{DeleteCloud, DeleteLocal, DeleteReason, LastKept, SuspendedUntil};

    fn delete(number: usize) -> Action {
        Action::DeleteCloud(DeleteCloud {
            backup: backup_id(u128::try_from(number).unwrap()),
            tier: "daily".to_owned(),
            taken: at("2026-11-01 01:00").fixed_offset(),
            size_bytes: None,
            reason: DeleteReason::Expired(LastKept::OwnKeep {
                keep: 7,
                until: at("2026-11-08 01:00").fixed_offset(),
            }),
        })
    }

    /// A VM with so many stored backups, of which so many are deleted.
    fn pruned(number: u128, stored: usize, deletes: usize) -> VmPlan {
        let planned = vm(number).plan(&grandfather(), "2026-11-18 02:00");
        VmPlan { stored, actions: (0..deletes).map(delete).collect(), ..planned }
    }

    fn is_over(vms: &[VmPlan], stored: usize) -> bool {
        MassPrune::of(vms, stored, None).is_some()
    }

    #[test]
    fn exactly_three_tenths_of_a_vm_may_go_and_not_one_more() {
        for (stored, most) in [(0, 1), (1, 1), (6, 1), (7, 2), (9, 2), (10, 3), (13, 3), (14, 4), (100, 30)] {
            assert!(!is_over(&[pruned(1, stored, most)], 10_000), "{most} of {stored}");
            let over = MassPrune::of(&[pruned(1, stored, most + 1)], 10_000, None).unwrap();
            assert_eq!((over.vms[0].limit, over.vms[0].stored), (most, stored));
            assert_eq!((over.vms[0].delete_cloud, over.vms[0].uuid), (most + 1, Some(vm_id(1))));
        }
    }

    #[test]
    fn exactly_a_tenth_of_all_may_go_and_not_one_more() {
        for (stored, most) in [(0, 1), (19, 1), (20, 2), (29, 2), (1_000, 100)] {
            let vms = |deletes| [pruned(1, 10_000, deletes)];
            assert!(!is_over(&vms(most), stored), "{most} of {stored}");
            let over = MassPrune::of(&vms(most + 1), stored, None).unwrap();
            assert_eq!((over.delete_cloud, over.limit, over.stored), (most + 1, most, stored));
            assert_eq!(over.vms, [], "no VM loses too much");
        }
    }

    #[test]
    fn the_deletes_of_all_vms_count_together_and_each_vm_for_itself() {
        // Each is within its own share, and together they are over the tenth of 40.
        let over = MassPrune::of(&[pruned(1, 20, 3), pruned(2, 20, 2)], 40, None).unwrap();
        assert_eq!((over.delete_cloud, over.limit, over.vms.len()), (5, 4, 0));
        assert!(!is_over(&[pruned(1, 20, 2), pruned(2, 20, 2)], 40));
        // The second one alone is over its share.
        let over = MassPrune::of(&[pruned(1, 20, 6), pruned(2, 20, 7)], 1_000, None).unwrap();
        assert_eq!(over.vms.iter().map(|vm| vm.uuid).collect::<Vec<_>>(), [Some(vm_id(2))]);
        assert_eq!((over.delete_cloud, over.vms[0].limit), (13, 6));
    }

    #[test]
    fn a_count_that_is_named_is_the_limit_instead() {
        let vms = [pruned(1, 10, 9), pruned(2, 10, 1)];
        assert_eq!(MassPrune::of(&vms, 20, Some(10)), None);
        let over = MassPrune::of(&vms, 20, Some(9)).unwrap();
        assert_eq!((over.delete_cloud, over.limit, over.is_limit_named), (10, 9, true));
        // Whoever names fewer than the shares allow means it.
        assert!(!is_over(&[pruned(1, 100, 2)], 1_000));
        assert!(MassPrune::of(&[pruned(1, 100, 2)], 1_000, Some(1)).is_some());
    }

    #[test]
    fn what_a_suspension_holds_back_does_not_count() {
        let suspended = SuspendedUntil { until: "2027-01-01".parse().unwrap(), reason: "move".to_owned() };
        let held = VmPlan { suspended: Some(Box::new(suspended)), ..pruned(1, 10, 9) };
        assert_eq!((held.cloud_deletes(), is_over(&[held], 10)), (0, false));
    }

    #[test]
    fn vms_that_are_not_planned_count_once_and_one_that_the_list_has_twice_does_not() {
        let policies = crate::policy::Policies::new(vec![grandfather()]);
        let mut planner = crate::plan::Planner::new(&policies, at("2026-11-18 02:00"));
        let planned = planner.decide(&mid_chain().vm).plan;
        for number in [2, 3, 3, 4] {
            planner.count_stored(&vm(number).backup(9, "monthly", "2026-11-01 01:00").vm);
        }
        planner.forget_stored(vm_id(4));
        assert_eq!(planner.finish(String::new(), vec![planned], &[]).summary.stored, 3 + 2);
    }

    #[test]
    fn without_the_deletes_from_storage_everything_else_is_left() {
        let local = Action::DeleteLocal(DeleteLocal {
            backup: None,
            tier: "daily".to_owned(),
            taken: None,
            after_create: true,
            reason: DeleteReason::NotNeeded,
        });
        let both = VmPlan { actions: vec![local.clone(), delete(1)], ..pruned(1, 10, 0) };
        let left = without_cloud_deletes(vec![both, pruned(2, 10, 3)]);
        assert_eq!((left.len(), &left[0].actions), (1, &vec![local]));
    }
}
