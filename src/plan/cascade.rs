//! What FiFo's own cascade would take, should a proxy drop the body of a local delete, so that it becomes a cloud delete.

use super::standing::VmView;
use crate::inventory::{BackupId, Backups, Vm};
use crate::policy::Policy;
use chrono::{DateTime, Utc};

/// What is lost if a backup and all its descendants go, compared field by field, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CascadeCost {
    /// The number of restorable backups that would be lost.
    pub restorable: usize,
    /// How many backups descend from it, whatever their state.
    pub descendants: usize,
    /// When it was taken: of two that cost the same, the older one goes first.
    pub taken: Option<DateTime<Utc>>,
    pub backup: BackupId,
}

/// What each backup of a VM would cost, counted once.
#[derive(Debug)]
pub struct CascadeCosts<'a> {
    backups: &'a Backups,
    /// How many restorable backups, and how many in all, go with each one, by [position](Backups::position).
    lost: Vec<(usize, usize)>,
}

impl<'a> CascadeCosts<'a> {
    pub fn new(vm: &'a Vm, policy: &Policy, now: DateTime<Utc>) -> Self {
        let backups = &vm.backups;
        let mut is_restorable = vec![false; backups.len()];
        let view = VmView::new(vm, policy, now);
        view.backups.iter().for_each(|backup| is_restorable[backup.position] = backup.is_restorable());
        let mut lost = vec![(0, 0); backups.len()];
        for (first, is_restorable) in is_restorable.into_iter().enumerate() {
            for at in backups.chain_from(first) {
                lost[at].0 += usize::from(is_restorable);
                lost[at].1 += 1;
            }
        }
        Self { backups, lost }
    }

    /// Returns what is lost if a backup and all its descendants go; one that is gone has those that still name it.
    pub fn of(&self, backup: BackupId) -> CascadeCost {
        let children = || self.backups.values().zip(&self.lost).filter(|(it, _)| it.parent == Some(backup));
        let ((restorable, descendants), taken) = match self.backups.position(backup) {
            Some(at) => ((self.lost[at].0, self.lost[at].1 - 1), self.backups[at].timestamp),
            None => (children().fold((0, 0), |sum, (_, lost)| (sum.0 + lost.0, sum.1 + lost.1)), None),
        };
        CascadeCost { restorable, descendants, taken, backup }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::fixtures::*;
    use crate::plan::tests::properties::for_clouds;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn cheapest_first(vm: &VmBuilder) -> Vec<BackupId> {
        let now = at("2026-11-18 02:00");
        let policy = grandfather();
        let of_all = CascadeCosts::new(&vm.vm, &policy, now);
        let mut costs: Vec<CascadeCost> = vm.vm.backups.keys().map(|id| of_all.of(id)).collect();
        costs.sort();
        costs.into_iter().map(|cost| cost.backup).collect()
    }

    fn cost_of(vm: &VmBuilder, n: u128) -> CascadeCost {
        CascadeCosts::new(&vm.vm, &grandfather(), at("2026-11-18 02:00")).of(backup_id(n))
    }

    #[test]
    fn what_restores_nothing_goes_first_then_leaves_by_age_and_a_root_last() {
        let vm = vm(1)
            .backup(9, "monthly", "2026-11-01 01:00")
            .backup(8, "weekly", "2026-11-08 01:00")
            .on(9)
            .backup(7, "daily", "2026-11-09 01:00")
            .on(8)
            .backup(6, "daily", "2026-11-10 01:00")
            .on(9)
            .backup(5, "daily", "2026-11-11 01:00")
            .on(9)
            .failed();
        assert_eq!(cheapest_first(&vm), [5, 7, 6, 8, 9].map(backup_id));
    }

    #[test]
    fn each_backup_of_a_loop_costs_all_of_the_loop_and_the_walk_ends() {
        let vm = vm(1)
            .backup(1, "daily", "2026-11-01 01:00")
            .on(2)
            .backup(2, "daily", "2026-11-02 01:00")
            .on(1)
            .backup(3, "daily", "2026-11-03 01:00")
            .on(1);
        let cost = cost_of(&vm, 1);
        assert_eq!((cost.restorable, cost.descendants), (0, 2));
        assert_eq!([2, 3].map(|n| cost_of(&vm, n).descendants), [2, 0]);
    }

    #[test]
    fn a_backup_that_is_gone_costs_nothing_but_what_descends_from_it() {
        let vm = vm(1).backup(2, "daily", "2026-11-02 01:00").on(1);
        let cost = cost_of(&vm, 1);
        assert_eq!((cost.restorable, cost.descendants, cost.taken), (0, 1, None));
    }

    #[test]
    fn the_counts_are_those_of_a_walk_from_each_backup() {
        for_clouds(300, |cloud| {
            let policy = &cloud.policies[0];
            for vm in cloud.inventory.vms.values() {
                let costs = CascadeCosts::new(vm, policy, cloud.now);
                let view = VmView::new(vm, policy, cloud.now);
                let missing = vm.backups.values().filter_map(|backup| backup.parent);
                for id in vm.backups.keys().chain(missing) {
                    let mut lost = BTreeSet::from([id]);
                    let mut next = vec![id];
                    while let Some(id) = next.pop() {
                        let children = vm.backups.values().filter(|child| child.parent == Some(id));
                        next.extend(children.map(|child| child.id).filter(|&child| lost.insert(child)));
                    }
                    let restorable =
                        view.backups.iter().filter(|it| it.is_restorable() && lost.contains(&it.id()));
                    let cost = costs.of(id);
                    let walked = (restorable.count(), lost.len() - 1);
                    prop_assert_eq!((cost.restorable, cost.descendants), walked);
                }
            }
            Ok(())
        });
    }
}
