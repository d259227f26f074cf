//! What FiFo's own cascade would take, should a proxy drop the body of a local delete, so that it becomes a cloud delete.

use super::standing::VmView;
use crate::inventory::{BackupId, Backups, Vm};
use crate::policy::Policy;
use chrono::{DateTime, Utc};
use std::iter::successors;

/// What is lost if a backup and all its descendants go. The smaller one costs less.
///
/// Compared field by field, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CascadeCost {
    /// The number of restorable backups that would be lost.
    pub restorable: usize,
    /// How many backups descend from it, whatever their state.
    pub descendants: usize,
    /// When it was taken: of two that cost the same, the older one goes first.
    pub taken: Option<DateTime<Utc>>,
    /// Its UUID, so that no two backups cost the same.
    pub backup: BackupId,
}

/// What each backup of a VM would cost, counted once.
#[derive(Debug)]
pub struct CascadeCosts<'a> {
    backups: &'a Backups,
    /// The restorable backups and all backups that go with each one, itself included, by [position](Backups::position).
    lost: Vec<Lost>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    restorable: usize,
    all: usize,
}

impl Lost {
    fn plus(self, other: Self) -> Self {
        Self { restorable: self.restorable + other.restorable, all: self.all + other.all }
    }
}

impl<'a> CascadeCosts<'a> {
    /// Counts what depends on each of a VM's backups.
    pub fn new(vm: &'a Vm, policy: &Policy, now: DateTime<Utc>) -> Self {
        let backups = &vm.backups;
        let mut lost = vec![Lost { restorable: 0, all: 1 }; backups.len()];
        let view = VmView::new(vm, policy, now);
        for restorable in view.backups.iter().filter(|backup| backup.restorable) {
            lost[restorable.position].restorable = 1;
        }
        let parent = |at: usize| backups.parent_position(at);
        let mut children = vec![0_usize; backups.len()];
        (0..backups.len()).filter_map(parent).for_each(|parent| children[parent] += 1);

        // From the leaves to the roots: each is added to its parent once all that depend on it have been added to it.
        let mut done: Vec<usize> = (0..backups.len()).filter(|&at| children[at] == 0).collect();
        let mut next = 0;
        while let Some(&at) = done.get(next) {
            next += 1;
            let Some(parent) = parent(at) else { continue };
            lost[parent] = lost[parent].plus(lost[at]);
            children[parent] -= 1;
            if children[parent] == 0 {
                done.push(parent);
            }
        }
        // What is left are loops: each member costs all of its loop.
        for first in 0..backups.len() {
            let members: Vec<usize> = successors(Some(first).filter(|&at| children[at] > 0), |&at| {
                parent(at).filter(|&parent| parent != first)
            })
            .collect();
            let sum = members.iter().fold(Lost::default(), |sum, &at| sum.plus(lost[at]));
            for at in members {
                lost[at] = sum;
                children[at] = 0;
            }
        }
        Self { backups, lost }
    }

    /// Returns what is lost if a backup and all its descendants go.
    ///
    /// A backup that depends on one of these descends from it, so nothing else stops being restorable.
    pub fn of(&self, backup: BackupId) -> CascadeCost {
        let (lost, taken) = match self.backups.position(backup) {
            Some(at) => (self.lost[at], self.backups[at].timestamp),
            // One that is gone has only the descendants that still name it.
            None => (self.of_orphans(backup), None),
        };
        CascadeCost { restorable: lost.restorable, descendants: lost.all - 1, taken, backup }
    }

    fn of_orphans(&self, parent: BackupId) -> Lost {
        let orphans =
            self.backups.values().zip(&self.lost).filter(|(backup, _)| backup.parent == Some(parent));
        orphans.fold(Lost { restorable: 0, all: 1 }, |sum, (_, lost)| sum.plus(*lost))
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
    fn of_two_that_restore_nothing_the_one_with_fewer_descendants_goes_first() {
        // The older one failed and was taken as a parent all the same.
        let vm = vm(1)
            .backup(1, "monthly", "2026-11-01 01:00")
            .failed()
            .backup(2, "daily", "2026-11-02 01:00")
            .on(1)
            .backup(3, "monthly", "2026-11-03 01:00")
            .failed();
        assert_eq!(cheapest_first(&vm), [2, 3, 1].map(backup_id));
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
                        view.backups.iter().filter(|it| it.restorable && lost.contains(&it.id()));
                    let cost = costs.of(id);
                    let walked = (restorable.count(), lost.len() - 1);
                    prop_assert_eq!((cost.restorable, cost.descendants), walked);
                }
            }
            Ok(())
        });
    }
}
