//! Confirms a saved plan against a fresh one: only what both list may be executed.

use super::changeset::{Action, Plan, Status, VmPlan};
use crate::inventory::VmId;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmedPlan {
    /// The VMs of the fresh plan with something to do that the saved plan lists too, each with no more than is listed and no sooner.
    pub vms: Vec<VmPlan>,
    /// What the saved plan lists and is not going to be done, and why; in its order.
    pub skipped: Vec<SkippedVm>,
}

/// A VM of which a saved plan lists something that is not going to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedVm {
    pub vm: Option<VmId>,
    pub alias: String,
    pub why: SkipReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The VM has changed since the plan, and some of what is listed would still be wanted, in this way or another, or the
    /// VM is in no state to have it done: it wants a new plan.
    Changed,
    /// None of what is listed is wanted any more: it is done, or has become needless.
    NothingLeft,
    /// So many of the listed actions are no longer wanted; the others are carried out.
    SomeDropped(usize),
}

/// Finds what a saved plan lists and a fresh plan of the same VMs still wants. Nothing is ever added.
///
/// The texts of the saved plan are not looked at, so it may as well be one that was made in this run.
pub fn confirm(saved: &Plan, fresh: &Plan) -> ConfirmedPlan {
    let now: BTreeMap<VmId, &VmPlan> = fresh.vms.iter().filter_map(|vm| Some((vm.uuid?, vm))).collect();
    let mut vms = Vec::new();
    let mut skipped = Vec::new();
    for listed in saved.vms.iter().filter(|vm| !vm.due_actions().is_empty()) {
        let mut leave_out =
            |why| skipped.push(SkippedVm { vm: listed.uuid, alias: listed.alias.clone(), why });
        let Some(&fresh) = listed.uuid.and_then(|id| now.get(&id)) else {
            leave_out(SkipReason::Changed);
            continue;
        };
        let wanted = still_wanted(listed, fresh);
        // Without a fingerprint nothing shows that it has not.
        let has_changed = listed.fingerprint.is_none() || listed.fingerprint != fresh.fingerprint;
        let is_at_rest = matches!(fresh.status, Status::Changes | Status::Unprotected | Status::UpToDate);
        // The listed backup may still be to be made in another way: full instead of incremental, say.
        let created = |vm: &VmPlan| {
            let create = vm.due_actions().iter().find_map(Action::as_create)?;
            Some((create.tier.clone(), create.due_since))
        };
        let is_still_due = created(listed).is_some() && created(listed) == created(fresh);
        if has_changed && (!wanted.is_empty() || !is_at_rest || is_still_due) {
            leave_out(SkipReason::Changed);
        } else if wanted.is_empty() {
            leave_out(SkipReason::NothingLeft);
        } else {
            if wanted.len() < listed.due_actions().len() {
                leave_out(SkipReason::SomeDropped(listed.due_actions().len() - wanted.len()));
            }
            vms.push(VmPlan { actions: wanted, ..fresh.clone() });
        }
    }
    ConfirmedPlan { vms, skipped }
}

/// Gives the fresh plan's actions that the listed plan has too, none sooner than listed or without the create it waits for.
fn still_wanted(listed: &VmPlan, fresh: &VmPlan) -> Vec<Action> {
    let mut confirmed = Vec::new();
    for action in fresh.due_actions() {
        let Some(listed) = listed.same_action(fresh, action) else { continue };
        let mut action = action.clone();
        if let (Action::DeleteLocal(delete), Action::DeleteLocal(listed)) = (&mut action, listed) {
            delete.after_create |= listed.after_create;
        }
        confirmed.push(action);
    }
    let creates = confirmed.iter().any(Action::is_create);
    let waits = |action: &Action| action.as_local_delete().is_some_and(|delete| delete.after_create);
    // Deletes from storage come after the new backup, so not at all where a backup is due that the listed plan lacks.
    let is_due = fresh.due_actions().iter().any(Action::is_create);
    confirmed.retain(|action| creates || !(waits(action) || is_due && action.is_cloud_delete()));
    // What waits for the create now stands behind it, as in every plan, and deletes from storage come last.
    confirmed.sort_by_key(|action| (action.is_cloud_delete(), waits(action)));
    confirmed
}

impl VmPlan {
    /// Finds the due action that does the same to FiFo as one of another plan of this VM. Deletes of the new backup's
    /// snapshot do the same only where the creates do.
    pub fn same_action(&self, other: &Self, action: &Action) -> Option<&Action> {
        let find = |action: &Action| self.due_actions().iter().find(|own| own.is_same_action_as(action));
        let is_of_new = action.as_local_delete().is_some_and(|delete| delete.backup.is_none());
        let has_same_create =
            || other.due_actions().iter().any(|action| action.is_create() && find(action).is_some());
        find(action).filter(|_| !is_of_new || has_same_create())
    }
}

impl Action {
    /// Says whether both would do the same to FiFo, whatever their reasons, if the VM's new backup is the same.
    pub fn is_same_action_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Create(one), Self::Create(other)) => {
                (&one.tier, one.kind, one.parent, &one.comment)
                    == (&other.tier, other.kind, other.parent, &other.comment)
            }
            (Self::DeleteLocal(one), Self::DeleteLocal(other)) => one.backup == other.backup,
            (Self::DeleteCloud(one), Self::DeleteCloud(other)) => one.backup == other.backup,
            (Self::Create(_) | Self::DeleteLocal(_) | Self::DeleteCloud(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::LocalState;
    use crate::plan::DeleteLocal;
    use crate::plan::tests::fixtures::*;

    fn due() -> VmBuilder {
        vm(1)
            .backup(1, "monthly", "2026-11-01 01:00")
            .backup(4, "weekly", "2026-11-15 01:00")
            .on(1)
            .local()
            .backup(2, "daily", "2026-11-17 01:00")
            .on(4)
            .local()
    }

    fn planned(vm: VmBuilder, now: &str) -> Plan {
        plan_all(&[grandfather()], [vm], at(now))
    }

    fn delete_new() -> Action {
        Action::DeleteLocal(DeleteLocal {
            backup: None,
            tier: "daily".into(),
            taken: None,
            after_create: true,
            reason: String::new(),
        })
    }

    #[test]
    fn what_both_want_is_left_and_nothing_is_added() {
        let saved = planned(due(), "2026-11-18 02:00");
        let confirmed = confirm(&saved, &planned(due(), "2026-11-18 03:00"));
        assert_eq!((confirmed.vms, confirmed.skipped.len()), (saved.vms, 0));
        let up_to_date = planned(due(), "2026-11-17 02:00");
        assert_eq!(confirm(&up_to_date, &planned(due(), "2026-11-18 02:00")).vms, []);
    }

    #[test]
    fn a_second_time_all_is_settled() {
        let saved = planned(due(), "2026-11-18 02:00");
        let done = due()
            .change(|b| b.local = LocalState::Absent)
            .backup(3, "daily", "2026-11-18 02:01")
            .on(2)
            .local();
        let confirmed = confirm(&saved, &planned(done, "2026-11-18 03:00"));
        assert_eq!((confirmed.vms.len(), confirmed.skipped[0].why), (0, SkipReason::NothingLeft));
    }

    #[test]
    fn a_changed_vm_is_left_out_while_something_is_wanted() {
        let saved = planned(due(), "2026-11-18 02:00");
        let changed = due().backup(3, "by hand", "2026-11-18 02:30");
        let confirmed = confirm(&saved, &planned(changed, "2026-11-18 03:00"));
        assert_eq!((confirmed.vms.len(), confirmed.skipped[0].why), (0, SkipReason::Changed));
        let gone = plan_all(&[grandfather()], [], at("2026-11-18 03:00"));
        assert_eq!(confirm(&saved, &gone).skipped[0].why, SkipReason::Changed);
    }

    #[test]
    fn a_vm_that_has_come_to_be_hindered_has_changed_and_is_not_settled() {
        let saved = planned(due(), "2026-11-18 02:00");
        let failed = || due().backup(3, "daily", "2026-11-18 02:30").on(2).failed();
        let fresh = planned(failed(), "2026-11-18 03:00");
        assert_eq!(fresh.vms[0].status, Status::Waiting);
        let confirmed = confirm(&saved, &fresh);
        assert_eq!((confirmed.vms.len(), confirmed.skipped[0].why), (0, SkipReason::Changed));
    }

    #[test]
    fn a_vm_of_which_nobody_knows_whether_it_has_changed_is_left_out() {
        let mut saved = planned(due(), "2026-11-18 02:00");
        saved.vms[0].fingerprint = None;
        let mut fresh = planned(due(), "2026-11-18 03:00");
        let skipped = |fresh: &Plan| confirm(&saved, fresh).skipped[0].why;
        assert_eq!((confirm(&saved, &fresh).vms.len(), skipped(&fresh)), (0, SkipReason::Changed));
        // It cannot be read, now as then.
        fresh.vms[0] = VmPlan {
            status: Status::Unreadable,
            fingerprint: None,
            actions: Vec::new(),
            ..fresh.vms[0].clone()
        };
        assert_eq!(skipped(&fresh), SkipReason::Changed);
    }

    #[test]
    fn a_backup_that_is_due_in_another_way_by_now_is_not_settled() {
        let saved = planned(due(), "2026-11-18 02:00");
        // The snapshot that it was to be taken from has been deleted.
        let changed = due().change(|b| b.local = LocalState::Absent);
        let fresh = planned(changed, "2026-11-18 03:00");
        assert!(matches!(&fresh.vms[0].actions[0], Action::Create(create) if &*create.tier == "daily"));
        let confirmed = confirm(&saved, &fresh);
        assert_eq!((confirmed.vms.len(), confirmed.skipped[0].why), (0, SkipReason::Changed));
    }

    #[test]
    fn no_more_is_done_than_is_listed_and_no_sooner() {
        let saved = planned(due(), "2026-11-18 02:00");
        let mut fresh = planned(due(), "2026-11-18 03:00");
        // By other policies the snapshot would go at once, and the new backup's own as well.
        for action in &mut fresh.vms[0].actions {
            if let Action::DeleteLocal(delete) = action {
                delete.after_create = false;
            }
        }
        fresh.vms[0].actions.reverse();
        fresh.vms[0].actions.push(delete_new());
        let confirmed = confirm(&saved, &fresh);
        assert_eq!((&confirmed.vms[0].actions, confirmed.skipped.len()), (&saved.vms[0].actions, 0));

        // The other way round what is done is less, and that is as well.
        let (mut more, mut less) = (saved.clone(), saved.clone());
        more.vms[0].actions.push(delete_new());
        less.vms[0].actions.truncate(2);
        let confirmed = confirm(&more, &less);
        assert_eq!(confirmed.vms[0].actions, less.vms[0].actions);
        assert_eq!(confirmed.skipped[0].why, SkipReason::SomeDropped(1));
    }

    #[test]
    fn a_delete_of_the_new_backup_goes_only_together_with_the_same_create() {
        let mut saved = planned(due(), "2026-11-18 02:00");
        saved.vms[0].actions.push(delete_new());
        let both = confirm(&saved, &saved);
        assert_eq!((&both.vms[0].actions, both.skipped.len()), (&saved.vms[0].actions, 0));
        let mut fresh = saved.clone();
        let Action::Create(create) = &mut fresh.vms[0].actions[0] else { panic!("no create") };
        create.tier = "weekly".into();
        let (old, new) = (&saved.vms[0], &fresh.vms[0]);
        assert_eq!(new.same_action(old, &delete_new()), None);
        assert_eq!(
            new.same_action(old, &old.actions[1]),
            new.actions.get(1),
            "of another backup it is the same"
        );
        assert_eq!(confirm(&saved, &fresh).vms, []);
    }

    #[test]
    fn a_delete_that_waits_for_a_create_goes_only_together_with_it() {
        let saved = planned(due(), "2026-11-18 02:00");
        // By then a weekly is due instead of the daily, from the same parents.
        let fresh = planned(due(), "2026-11-22 02:00");
        let confirmed = confirm(&saved, &fresh);
        assert_eq!((confirmed.vms.len(), confirmed.skipped[0].why), (0, SkipReason::NothingLeft));
    }

    #[test]
    fn deletes_from_storage_go_as_far_as_both_list_them_children_first() {
        let mut policy = grandfather();
        policy.tiers.iter_mut().for_each(|tier| tier.keep = std::num::NonZeroU32::new(1));
        policy.prune = true;
        let old = || {
            vm(1)
                .backup(1, "monthly", "2026-10-01 01:00")
                .backup(2, "daily", "2026-10-02 01:00")
                .on(1)
                .backup(3, "monthly", "2026-11-01 01:00")
                .backup(5, "weekly", "2026-11-15 01:00")
                .backup(4, "daily", "2026-11-18 01:00")
        };
        let planned = |vm, now| plan_all(std::slice::from_ref(&policy), [vm], pruning(at(now)));
        let saved = planned(old(), "2026-11-18 02:00");
        assert_eq!(actions_of(&saved.vms[0]), ["prune 2", "prune 1"]);
        let confirmed = confirm(&saved, &planned(old(), "2026-11-18 03:00"));
        assert_eq!((&confirmed.vms, confirmed.skipped.len()), (&saved.vms, 0));
        // A child that was made meanwhile: nothing is done, and what is listed is not called settled.
        let with_child = old().backup(9, "by hand", "2026-11-18 02:30").on(2);
        let confirmed = confirm(&saved, &planned(with_child, "2026-11-18 03:00"));
        assert_eq!((confirmed.vms.len(), confirmed.skipped[0].why), (0, SkipReason::NothingLeft));
        // A run that was cut off after the first: the plan is for another state, and a new one finishes.
        let mut half = old();
        half.vm.backups.remove(backup_id(2));
        let confirmed = confirm(&saved, &planned(half, "2026-11-18 03:00"));
        assert_eq!((confirmed.vms.len(), confirmed.skipped[0].why), (0, SkipReason::Changed));
    }
}
