//! What FiFo's own cascade would take, should a proxy drop the body of a local delete, so that it becomes a cloud delete.

use super::standing::VmView;
use crate::inventory::{BackupId, Children, Vm};
use crate::policy::Policy;
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;

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

/// Works out what is lost if a backup and all its descendants go.
///
/// A backup that depends on one of these descends from it, so nothing else stops being restorable.
pub fn cascade_cost(vm: &Vm, backup: BackupId, policy: &Policy, now: DateTime<Utc>) -> CascadeCost {
    let children = Children::of(&vm.backups);
    let mut lost = BTreeSet::from([backup]);
    let mut next = vec![backup];
    while let Some(id) = next.pop() {
        next.extend(children.direct(id).iter().copied().filter(|&child| lost.insert(child)));
    }
    let view = VmView::new(vm, policy, now);
    CascadeCost {
        restorable: view.backups.iter().filter(|one| one.restorable && lost.contains(&one.id())).count(),
        descendants: lost.len() - 1,
        taken: vm.backups.get(backup).and_then(|backup| backup.timestamp),
        backup,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::fixtures::*;

    fn cheapest_first(vm: &VmBuilder) -> Vec<BackupId> {
        let now = at("2026-11-18 02:00");
        let mut costs: Vec<CascadeCost> =
            vm.vm.backups.keys().map(|id| cascade_cost(&vm.vm, id, &grandfather(), now)).collect();
        costs.sort();
        costs.into_iter().map(|cost| cost.backup).collect()
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
        let cost = cascade_cost(&vm.vm, backup_id(1), &grandfather(), at("2026-11-18 02:00"));
        assert_eq!((cost.restorable, cost.descendants), (0, 2));
    }

    #[test]
    fn a_backup_that_is_gone_costs_nothing_but_what_descends_from_it() {
        let vm = vm(1).backup(2, "daily", "2026-11-02 01:00").on(1);
        let cost = cascade_cost(&vm.vm, backup_id(1), &grandfather(), at("2026-11-18 02:00"));
        assert_eq!((cost.restorable, cost.descendants, cost.taken), (0, 1, None));
    }
}
