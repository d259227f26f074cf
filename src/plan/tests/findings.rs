//! What is known to be broken in storage: another backup is made, nothing of its chain is deleted, and nothing expires for it.

use super::fixtures::*;
use super::frame::audit;
use super::properties::{for_clouds, planned};
use crate::inventory::{BackupId, Vm};
use crate::plan::keep::{Keep, Keeps};
use crate::plan::standing::VmView;
use crate::plan::{Action, NoteCode, Status, VmPlan, fingerprint};
use crate::policy::{Match, Policies, Policy, TierKind, Zone};
use chrono::TimeDelta;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// The same VM with some of its backups known to be broken.
fn broken(vm: VmBuilder, numbers: &[u128]) -> VmBuilder {
    let mark = |vm: &mut Vm| {
        numbers.iter().for_each(|&n| vm.backups.get_mut(backup_id(n)).unwrap().is_broken = true)
    };
    vm.set(mark)
}

fn fulls(keep: u32, keep_local: u32) -> Policy {
    let mut policy = policy("full", vec![tier("daily", "0 1 * * *", TierKind::Full, &Zone::UTC)]);
    (policy.tiers[0].keep, policy.tiers[0].keep_local) = (NonZeroU32::new(keep), keep_local);
    Policy { prune: true, ..policy }
}

fn three_fulls() -> VmBuilder {
    let vm = vm(1).backup(1, "daily", "2026-11-16 01:00").backup(2, "daily", "2026-11-17 01:00");
    vm.backup(3, "daily", "2026-11-18 01:00")
}

#[test]
fn another_one_is_made_from_what_is_whole_and_nothing_of_the_chain_goes() {
    let grandfather = grandfather();
    let local = |vm: VmBuilder| {
        vm.set(|vm| {
            let of_chain = vm.backups.values_mut();
            of_chain.for_each(|backup| backup.local = crate::inventory::LocalState::Present);
        })
    };
    let noon = "2026-11-17 12:00";
    for (vm, marks, policy, now, actions) in [
        // From the one before it, whose snapshot stays as well.
        (mid_chain(), &[3][..], &grandfather, noon, &["create daily on 2"][..]),
        (mid_chain(), &[2], &grandfather, noon, &["create daily full"]),
        (mid_chain(), &[1], &grandfather, noon, &["create monthly full"]),
        // Without that the monthly's snapshot would go.
        (local(mid_chain()), &[], &grandfather, noon, &["delete 1"]),
        (local(mid_chain()), &[3], &grandfather, noon, &["create daily on 2"]),
        (local(mid_chain()), &[1], &grandfather, noon, &["create monthly full"]),
        // Of other chains goes what would go without it.
        (three_fulls(), &[2], &fulls(1, 0), "2026-11-18 12:00", &["prune 1"]),
        // The newest that can be restored is older than `max_age` by then.
        (three_fulls(), &[3], &fulls(1, 0), "2026-11-18 12:00", &["create daily full"]),
        (
            local(three_fulls()),
            &[3],
            &fulls(1, 1),
            "2026-11-18 12:00",
            &["delete 1", "create daily full", "delete 2 after"],
        ),
    ] {
        let plan = broken(vm, marks).plan(policy, now);
        assert_eq!(actions_of(&plan), actions, "{marks:?}");
    }
}

#[test]
fn each_that_is_broken_is_a_failed_attempt_and_is_told_with_what_hangs_on_it() {
    let plan = broken(mid_chain(), &[2]).plan(&grandfather(), "2026-11-17 12:00");
    let told = [NoteCode::Broken, NoteCode::Unrestorable].map(|code| plan.note(code).unwrap().to_string());
    assert_eq!(
        told,
        [
            "the weekly of 2026-11-15 01:00 is broken in storage",
            "the daily of 2026-11-17 01:00 cannot be restored: a backup that it is based on is broken",
        ]
    );
    // Where each new one is broken too, full backups must not follow each other without a pause.
    let plan = broken(mid_chain(), &[3]).plan(&grandfather(), "2026-11-17 01:30");
    assert_eq!((plan.status, plan.actions.len()), (Status::Waiting, 0));
    assert!(plan.note(NoteCode::RetryLater).is_some());
}

#[test]
fn a_saved_plan_notices_it() {
    assert_ne!(fingerprint(&broken(mid_chain(), &[3]).vm), fingerprint(&mid_chain().vm));
    assert_ne!(fingerprint(&broken(mid_chain(), &[3]).vm), fingerprint(&broken(mid_chain(), &[2]).vm));
}

/// What a plan deletes, and whether for good.
fn deletes(plan: &VmPlan) -> BTreeSet<(bool, Option<BackupId>)> {
    let of = |action: &Action| match action {
        Action::Create(_) => None,
        Action::DeleteLocal(delete) => Some((false, delete.backup)),
        Action::DeleteCloud(delete) => Some((true, Some(delete.backup))),
    };
    plan.actions.iter().filter_map(of).collect()
}

/// Lists a backup with all that it hangs on and all that hangs on it.
fn chain(vm: &Vm, id: BackupId) -> BTreeSet<BackupId> {
    let ancestors = |id: BackupId| {
        let mut found = BTreeSet::from([id]);
        let mut next = vm.backups.get(id).and_then(|backup| backup.parent);
        while let Some(parent) = next.filter(|parent| found.insert(*parent)) {
            next = vm.backups.get(parent).and_then(|backup| backup.parent);
        }
        found
    };
    let below = vm.backups.keys().filter(|&other| ancestors(other).contains(&id));
    ancestors(id).into_iter().chain(below).collect()
}

#[test]
fn a_finding_never_makes_anything_expire_and_nothing_of_its_chain_is_deleted() {
    let (creates, spared) = (Cell::new(0), Cell::new(0));
    for every in [2, 3, 7] {
        for_clouds(250, |mut cloud| {
            let without = planned(&cloud, cloud.now)?;
            let policies = Policies::new(cloud.policies.clone());
            let sound = cloud.inventory.clone();
            for (place, backup) in
                cloud.inventory.vms.values_mut().flat_map(|vm| vm.backups.values_mut()).enumerate()
            {
                backup.is_broken = place % every == 1;
            }
            let with = planned(&cloud, cloud.now)?;
            prop_assert_eq!(
                audit(&with, &policies, &cloud.inventory, cloud.request(cloud.now)),
                Vec::<String>::new()
            );
            for (with, without) in with.vms.iter().zip(&without.vms) {
                let Some(vm) = with.uuid.and_then(|id| cloud.inventory.vms.get(&id)) else { continue };
                let (now, before) = (deletes(with), deletes(without));
                prop_assert!(now.is_subset(&before), "{:?}\nwithout {:?}", with.actions, without.actions);
                spared.set(spared.get() + before.len() - now.len());
                let has_more = with.actions.iter().any(Action::is_create)
                    && !without.actions.iter().any(Action::is_create);
                creates.set(creates.get() + usize::from(has_more));
                for broken in vm.backups.values().filter(|backup| backup.is_broken) {
                    let chain = chain(vm, broken.id);
                    prop_assert!(!now.iter().any(|(_, id)| id.is_some_and(|id| chain.contains(&id))));
                }
                let (Match::One(policy), Some(sound)) = (policies.policy_for(vm), sound.vms.get(&vm.id))
                else {
                    continue;
                };
                let keeps = |vm: &Vm| Keeps::of(&VmView::new(vm, policy, cloud.request(cloud.now)));
                let (with, without) = (keeps(vm), keeps(sound));
                for at in 0..vm.backups.len() {
                    prop_assert!(with.stored[at].is_some() || without.stored[at].is_none());
                    prop_assert!(with.local[at].is_some() || without.local[at].is_none());
                    prop_assert!(without.stored[at] != Some(Keep::Broken));
                }
            }
            Ok(())
        });
    }
    assert!(creates.get() > 30 && spared.get() > 30, "{creates:?} {spared:?}");
}

#[test]
fn a_plan_with_findings_holds_exactly_until_it_says() {
    for_clouds(500, |mut cloud| {
        let backups = cloud.inventory.vms.values_mut().flat_map(|vm| vm.backups.values_mut());
        backups.enumerate().for_each(|(place, backup)| backup.is_broken = place % 3 == 1);
        let first = planned(&cloud, cloud.now)?;
        let Some(until) = first.valid_until else { return Ok(()) };
        let before = until - TimeDelta::microseconds(1);
        prop_assert_eq!(&planned(&cloud, before)?.vms, &first.vms);
        prop_assert_ne!(&planned(&cloud, until)?.vms, &first.vms);
        Ok(())
    });
}
