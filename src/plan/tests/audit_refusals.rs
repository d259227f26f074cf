//! Good plans, each broken in one way: the audit must refuse every one of them and say why.

use super::fixtures::*;
use super::frame::{audit, frame_broken};
use crate::inventory::{BackupId, Inventory, LocalState, UnreadableVm};
use crate::plan::{
    Action, BackupKind, Create, CreateReason, DeleteLocal, DeleteReason, Note, NoteCode, NoteKind, Plan,
    Status, SuspendedUntil, VmPlan, plan,
};
use crate::policy::{MissingParent, Policies, Policy, Suspension, TierKind, Zone};
use chrono::TimeDelta;
use uuid::Uuid;

/// A Sunday, after a week in which everything was local for once: a weekly is due, and much is to go.
const SUNDAY: &str = "2026-11-22 01:00";
const TUESDAY: &str = "2026-11-17 02:00";
const WEDNESDAY: &str = "2026-11-18 01:00";

/// Monthly 1, weekly 2 on it, daily 3 on that, and a daily 4 that should have gone; 9 is made by hand.
fn web() -> VmBuilder {
    mid_chain()
        .backup(4, "daily", "2026-11-16 01:00")
        .on(2)
        .local()
        .backup(9, "by hand", "2026-11-14 12:00")
        .local()
}

/// A daily that failed at 01:00 on the Wednesday, its snapshot still there.
fn web_with_a_failure() -> VmBuilder {
    web().backup(5, "daily", "2026-11-18 01:00").on(3).failed().local()
}

/// Breaks the plan of one VM and expects the audit to refuse it with these words, and nothing else to have let it pass.
#[track_caller]
pub(super) fn refused_under(
    policy: &Policy,
    vm: &VmBuilder,
    now: &str,
    words: &str,
    break_it: impl FnOnce(&mut VmPlan),
) {
    let policies = Policies::new(vec![policy.clone()]);
    let inventory = inventory([vm.clone()]);
    let good = plan(&policies, &inventory, at(now));
    let mut bad = good.clone();
    break_it(&mut bad.vms[0]);
    assert_ne!(bad, good, "nothing was broken");
    let found = audit(&bad, &policies, &inventory);
    assert!(found.iter().any(|what| what.contains(words)), "{words:?} is not in {found:#?}");
}

#[track_caller]
fn refused(vm: &VmBuilder, now: &str, words: &str, break_it: impl FnOnce(&mut VmPlan)) {
    refused_under(&grandfather(), vm, now, words, break_it);
}

fn create(planned: &mut VmPlan) -> &mut Create {
    planned
        .actions
        .iter_mut()
        .find_map(|action| if let Action::Create(create) = action { Some(create) } else { None })
        .unwrap()
}

fn delete(planned: &mut VmPlan, n: u128) -> &mut DeleteLocal {
    planned
        .actions
        .iter_mut()
        .find_map(|action| match action {
            Action::DeleteLocal(delete) if delete.backup == Some(backup_id(n)) => Some(delete),
            _ => None,
        })
        .unwrap()
}

/// Puts a local delete before all else.
fn also_delete(n: u128, tier: &str, taken: &str) -> impl FnOnce(&mut VmPlan) {
    let action = Action::DeleteLocal(DeleteLocal {
        backup: Some(backup_id(n)),
        tier: tier.to_owned(),
        taken: Some(at(taken).fixed_offset()),
        after_create: false,
        reason: DeleteReason::NoParent,
    });
    move |planned| {
        planned.actions.insert(0, action);
        planned.status = Status::Changes;
    }
}

/// Puts a create at the end.
fn also_create(tier: &str, parent: Option<u128>, due_since: &str) -> impl FnOnce(&mut VmPlan) {
    let action = Action::Create(Create {
        tier: tier.to_owned(),
        kind: if parent.is_some() { BackupKind::Incremental } else { BackupKind::Full },
        parent: parent.map(backup_id),
        parent_tier: None,
        parent_taken: None,
        comment: tier.to_owned(),
        due_since: at(due_since).fixed_offset(),
        reason: CreateReason { due_since: at(due_since).fixed_offset(), attempt: None },
    });
    move |planned| {
        planned.actions.push(action);
        planned.status = Status::Changes;
    }
}

fn without(n: u128) -> impl FnOnce(&mut VmPlan) {
    move |planned| {
        planned.actions.retain(
            |action| !matches!(action, Action::DeleteLocal(delete) if delete.backup == Some(backup_id(n))),
        );
    }
}

#[test]
fn the_plans_to_be_broken_are_what_they_are_thought_to_be() {
    let plans = [
        (web(), SUNDAY, vec!["delete 4", "create weekly on 2", "delete 2 after", "delete 3 after"]),
        (web(), TUESDAY, vec!["delete 4"]),
        (web(), WEDNESDAY, vec!["delete 4", "create daily on 3", "delete 3 after"]),
        (web_with_a_failure(), "2026-11-18 01:10", vec!["delete 4"]),
    ];
    for (vm, now, actions) in plans {
        assert_eq!(actions_of(&vm.plan(&grandfather(), now)), actions, "{now}");
    }
}

#[test]
fn a_parent_that_goes_before_its_child_is_made() {
    refused(&web(), SUNDAY, "of the create's parent before it", |planned| {
        delete(planned, 2).after_create = false;
        planned.actions.swap(1, 2);
    });
    refused(&web(), SUNDAY, "out of order", |planned| planned.actions.swap(1, 2));
    refused(&web(), SUNDAY, "out of order", |planned| planned.actions.swap(0, 1));
}

#[test]
fn a_delete_of_what_is_not_ours_or_not_there() {
    refused(&web(), TUESDAY, "an unmanaged backup", also_delete(9, "by hand", "2026-11-14 12:00"));
    refused(&web(), TUESDAY, "that is not local", also_delete(1, "monthly", "2026-11-01 01:00"));
    refused(&web(), TUESDAY, "that is not there", also_delete(77, "daily", "2026-11-16 01:00"));
    refused(&web(), TUESDAY, "is deleted twice", also_delete(4, "daily", "2026-11-16 01:00"));
    let future = web().backup(5, "daily", "2026-11-19 01:00").on(3).local();
    refused(&future, TUESDAY, "cannot be believed", also_delete(5, "daily", "2026-11-19 01:00"));
    let without_timestamp =
        web().backup(5, "daily", TUESDAY).local().change(|backup| backup.timestamp = None);
    refused(&without_timestamp, TUESDAY, "cannot be believed", also_delete(5, "daily", TUESDAY));
}

#[test]
fn a_delete_that_is_shown_as_something_else() {
    refused(&web(), TUESDAY, "another tier than its own", |planned| {
        delete(planned, 4).tier = "weekly".to_owned();
    });
    refused(&web(), TUESDAY, "another time than its own", |planned| {
        delete(planned, 4).taken = Some(at("2026-11-16 01:01").fixed_offset());
    });
    refused(&web(), TUESDAY, "another time than its own", |planned| delete(planned, 4).taken = None);
}

#[test]
fn a_delete_of_what_is_still_wanted() {
    let daily = || also_delete(3, "daily", "2026-11-17 01:00");
    refused(&web(), TUESDAY, "the next increment's parent", daily());
    refused(&web(), TUESDAY, "the next increment's parent", also_delete(2, "weekly", "2026-11-15 01:00"));
    let mut policy = grandfather();
    policy.tiers[2].keep_local = 2;
    let kept = also_delete(4, "daily", "2026-11-16 01:00");
    refused_under(&policy, &web(), TUESDAY, "that `keep_local` asks for", kept);
    let failed = || also_delete(5, "daily", "2026-11-18 01:00");
    refused(&web_with_a_failure(), "2026-11-18 01:10", "the only copy", failed());
    let broken = vm(1).backup(2, "daily", "2026-11-17 01:00").on(99).local();
    refused(&broken, TUESDAY, "the only copy", also_delete(2, "daily", "2026-11-17 01:00"));
}

#[test]
fn a_delete_under_a_running_backup() {
    let running = || web().backup(5, "daily", "2026-11-17 01:50").on(4).uploading();
    refused(&running(), TUESDAY, "the parent of a backup that runs", |planned| {
        also_delete(4, "daily", "2026-11-16 01:00")(planned);
    });
    let held = running().change(|backup| backup.local_size_bytes = Some(GIB));
    refused(&held, TUESDAY, "a backup that runs", also_delete(5, "daily", "2026-11-17 01:50"));
    let accepted = web().backup(5, "by hand", "2026-11-17 01:50").accepted();
    let daily = also_delete(4, "daily", "2026-11-16 01:00");
    refused(&accepted, TUESDAY, "whose parent is not known yet", daily);
    let stuck = web().backup(5, "daily", "2026-11-17 01:50").on(4).uploading().change(|backup| {
        backup.local_size_bytes = Some(GIB);
    });
    let its_parent = also_delete(4, "daily", "2026-11-16 01:00");
    refused(&stuck, "2026-11-17 14:00", "may still run", also_delete(5, "daily", "2026-11-17 01:50"));
    refused(&stuck, "2026-11-17 14:00", "may still run", its_parent);
}

#[test]
fn a_delete_that_is_forgotten_or_put_off() {
    refused(&web(), TUESDAY, "without a reason", without(4));
    refused(&web(), SUNDAY, "without a reason", without(4));
    refused(&web(), SUNDAY, "without a reason", without(2));
    refused(&web(), SUNDAY, "put off", |planned| {
        delete(planned, 4).after_create = true;
        planned.actions.rotate_left(1);
    });
    refused(&web(), TUESDAY, "after a create that is not planned", |planned| {
        delete(planned, 4).after_create = true;
    });
}

#[test]
fn a_wrong_parent() {
    refused(&web(), SUNDAY, "whose parent is not the newest local", |planned| {
        create(planned).parent = Some(backup_id(1));
    });
    refused(&web(), SUNDAY, "whose parent is not the newest local", |planned| {
        create(planned).parent = Some(backup_id(3));
    });
    refused(&web(), WEDNESDAY, "whose parent is not the newest local", |planned| {
        create(planned).parent = Some(backup_id(4));
    });
    refused(&web_with_a_failure(), "2026-11-18 02:00", "whose parent is not the newest local", |planned| {
        create(planned).parent = Some(backup_id(5));
    });
    refused(&web(), SUNDAY, "whose parent is not the newest local", |planned| {
        create(planned).parent = Some(backup_id(9));
    });
    refused(&web(), SUNDAY, "without a parent that is there", |planned| create(planned).parent = None);
    refused(&web(), SUNDAY, "without a parent that is there", |planned| {
        create(planned).parent = Some(backup_id(77));
    });
    refused(&web(), SUNDAY, "parent is shown as another", |planned| {
        create(planned).parent_tier = Some("monthly".to_owned());
    });
    refused(&web(), SUNDAY, "parent is shown as another", |planned| {
        create(planned).parent_taken = Some(at(SUNDAY).fixed_offset());
    });
}

#[test]
fn a_create_of_the_wrong_type() {
    refused(&web(), SUNDAY, "although there is a parent", |planned| {
        create(planned).kind = BackupKind::Full;
        create(planned).parent = None;
    });
    refused(&web(), SUNDAY, "a full create with a parent", |planned| {
        create(planned).kind = BackupKind::Full;
    });
    refused(&web(), "2026-12-01 01:00", "an incremental create for a full tier", |planned| {
        create(planned).kind = BackupKind::Incremental;
        create(planned).parent = Some(backup_id(2));
    });
    let mut policy = grandfather();
    policy.missing_parent = MissingParent::Block;
    let moved = web().set(|vm| vm.backups.values_mut().for_each(|backup| backup.local = LocalState::Absent));
    let full = also_create("daily", None, WEDNESDAY);
    refused_under(&policy, &moved, WEDNESDAY, "where the policy says to block", full);
}

#[test]
fn a_create_that_is_not_due_or_not_yet() {
    let daily = |due_since| also_create("daily", Some(3), due_since);
    refused(&web(), TUESDAY, "that has its backup", daily("2026-11-17 01:00"));
    let running = web().backup(5, "by hand", "2026-11-18 00:50").uploading();
    refused(&running, WEDNESDAY, "while another backup runs", daily(WEDNESDAY));
    let ahead = web().backup(5, "monthly", "2026-11-18 02:00").local();
    refused(&ahead, WEDNESDAY, "while another backup runs, or is dated ahead", daily(WEDNESDAY));
    let failed = web_with_a_failure();
    refused(&failed, "2026-11-18 01:59", "before the pause", daily(WEDNESDAY));
    let mut policy = grandfather();
    policy.retry.attempts = 1;
    refused_under(&policy, &failed, "2026-11-18 01:59", "before the pause", daily(WEDNESDAY));
    refused_under(&policy, &failed, "2026-11-18 02:30", "attempts are reported as given up", |planned| {
        planned.notes.retain(|note| note.code() != NoteCode::GaveUp);
    });
    refused(&web(), SUNDAY, "something else than the tier's last occurrence", |planned| {
        create(planned).due_since -= TimeDelta::days(7);
    });
}

#[test]
fn a_create_of_the_wrong_tier() {
    refused(&web(), SUNDAY, "another one comes first", |planned| {
        without(2)(planned);
        planned.actions.retain(|action| !matches!(action, Action::Create(_)));
        planned.actions.truncate(1);
        also_create("daily", Some(3), SUNDAY)(planned);
    });
    let failed = web().backup(5, "weekly", SUNDAY).on(2).failed();
    refused(&failed, "2026-11-22 02:30", "another one comes first", |planned| {
        planned.actions.clear();
        also_create("weekly", Some(2), SUNDAY)(planned);
    });
    refused(&web(), SUNDAY, "a tier that the policy does not have", |planned| {
        create(planned).tier = "yearly".to_owned();
    });
    refused(&web(), SUNDAY, "whose comment is not its tier's", |planned| {
        create(planned).comment = "Weekly".to_owned();
    });
    refused(&web(), SUNDAY, "more than one create", also_create("daily", Some(3), SUNDAY));
}

#[test]
fn a_create_that_is_forgotten() {
    refused(&web(), SUNDAY, "no create although a weekly is due", |planned| planned.actions.truncate(1));
    let after_the_pause = web_with_a_failure();
    refused(&after_the_pause, "2026-11-18 02:00", "no create although a daily is due", |planned| {
        planned.actions.truncate(1);
    });
    refused(&vm(1), SUNDAY, "no create although a monthly is due", |planned| {
        planned.actions.clear();
        planned.status = Status::UpToDate;
    });
}

/// The local delete of the new backup.
fn delete_new(tier: &str) -> Action {
    Action::DeleteLocal(DeleteLocal {
        backup: None,
        tier: tier.to_owned(),
        taken: None,
        after_create: true,
        reason: DeleteReason::NotNeeded,
    })
}

#[test]
fn a_snapshot_of_the_new_backup_that_stays_or_goes_wrongly() {
    refused(&web(), SUNDAY, "the new backup: a local delete of the next increment's parent", |planned| {
        planned.actions.push(delete_new("weekly"));
    });
    refused(&web(), TUESDAY, "the new backup: a local delete of a backup that is not there", |planned| {
        planned.actions.push(delete_new("weekly"));
    });
    let full_only = policy("full", vec![tier("daily", "0 1 * * *", TierKind::Full, &Zone::UTC)]);
    let vm = vm(1).backup(2, "daily", "2026-11-16 01:00").on(99).local();
    let refused = |words: &str, break_it: &dyn Fn(&mut Vec<Action>)| {
        refused_under(&full_only, &vm, SUNDAY, words, |planned| break_it(&mut planned.actions));
    };
    let last = |actions: &mut Vec<Action>, change: &dyn Fn(&mut DeleteLocal)| {
        let Some(Action::DeleteLocal(delete)) = actions.last_mut() else { panic!("no delete") };
        change(delete);
    };
    refused("the new backup: its snapshot would stay without a reason", &|actions| actions.truncate(2));
    refused("the new backup is deleted twice", &|actions| actions.push(delete_new("daily")));
    refused("the new backup: its local delete is not the last one", &|actions| actions.swap(1, 2));
    refused("the new backup: its local delete and the create are out of order", &|actions| {
        last(actions, &|delete| delete.after_create = false);
    });
    refused("the new backup: a local delete of a backup that is not there", &|actions| {
        last(actions, &|delete| delete.after_create = false);
    });
    refused("the new backup: it is shown under another tier", &|actions| {
        last(actions, &|delete| delete.tier = "weekly".to_owned());
    });
    refused("the new backup: it is shown with another time", &|actions| {
        last(actions, &|delete| delete.taken = Some(at(SUNDAY).fixed_offset()));
    });
    refused("a local delete of a backup that is not there", &|actions| {
        last(actions, &|delete| delete.backup = Some(BackupId::new(Uuid::max())));
    });
    refused("no create although a daily is due", &|actions| drop(actions.remove(0)));
}

#[test]
fn a_status_that_is_not_so() {
    let wrong = |status| move |planned: &mut VmPlan| planned.status = status;
    let running = web().backup(5, "daily", "2026-11-18 00:50").on(4).uploading();
    let failed = web_with_a_failure().change(|backup| backup.local = LocalState::Absent).set(|vm| {
        vm.backups.remove(backup_id(4));
    });
    let stored = web().set(|vm| vm.hypervisor = None);
    let cases = [
        (&web(), SUNDAY, Status::UpToDate),
        (&running, WEDNESDAY, Status::UpToDate),
        (&running, WEDNESDAY, Status::Blocked),
        (&failed, "2026-11-18 01:10", Status::Blocked),
        (&failed, "2026-11-18 01:10", Status::Changes),
        (&stored, SUNDAY, Status::Waiting),
        (&stored, SUNDAY, Status::UpToDate),
        (&stored, TUESDAY, Status::Blocked),
        (&stored, TUESDAY, Status::Unprotected),
        (&stored, TUESDAY, Status::Conflict),
    ];
    for (vm, now, status) in cases {
        refused(vm, now, "its status", wrong(status));
    }
    let mut once = grandfather();
    once.retry.attempts = 1;
    refused_under(&once, &failed, "2026-11-18 01:10", "its status", wrong(Status::Waiting));
    refused_under(&once, &failed, "2026-11-18 01:10", "its status", wrong(Status::UpToDate));
    let unprotected = web().set(|vm| vm.metadata = Default::default());
    refused(&unprotected, SUNDAY, "its status", wrong(Status::UpToDate));
}

#[test]
fn a_suspension_that_is_not_minded_or_made_up() {
    let mut policy = grandfather();
    policy.suspend = Some(Suspension {
        reason: "storage move".to_owned(),
        until: "2026-12-24".parse().unwrap(),
        until_instant: at("2026-12-24 00:00"),
        vms: None,
    });
    let words = "suspended and is not";
    refused_under(&policy, &web(), SUNDAY, words, |planned| planned.notes.clear());
    refused_under(&policy, &web(), SUNDAY, words, |planned| planned.suspended = None);
    refused_under(&policy, &web(), SUNDAY, words, |planned| {
        planned.suspended.as_mut().unwrap().until = "2026-12-25".parse().unwrap();
    });
    refused_under(&policy, &web(), SUNDAY, words, |planned| {
        planned.suspended.as_mut().unwrap().reason = "vacation".to_owned();
    });
    let suspended =
        SuspendedUntil { until: "2026-12-24".parse().unwrap(), reason: "storage move".to_owned() };
    refused(&web(), SUNDAY, words, |planned| planned.suspended = Some(Box::new(suspended.clone())));
    refused(&web(), SUNDAY, words, |planned| {
        planned
            .notes
            .push(Note::vm(NoteKind::Suspended { until: suspended.until, reason: suspended.reason.clone() }));
    });
    let unprotected = web().set(|vm| vm.metadata = Default::default());
    refused(&unprotected, SUNDAY, "a suspension is shown", |planned| {
        planned.suspended = Some(Box::new(suspended))
    });
}

#[test]
fn an_action_on_a_vm_that_is_to_be_left_alone() {
    let act = || also_delete(4, "daily", "2026-11-16 01:00");
    let stored = web().set(|vm| vm.hypervisor = None);
    let deleting = web().set(|vm| vm.deleting = true);
    for vm in [&stored, &deleting] {
        refused(vm, SUNDAY, "while it cannot be backed up", act());
        refused(vm, SUNDAY, "while it cannot be backed up", also_create("weekly", Some(2), SUNDAY));
    }
    let unprotected = web().set(|vm| vm.metadata = Default::default());
    refused(&unprotected, SUNDAY, "in no policy", act());
    refused(&unprotected, SUNDAY, "another policy than its own", |planned| {
        planned.policy = Some("grandfather".into());
    });
    refused(&web(), SUNDAY, "another policy than its own", |planned| planned.policy = None);
}

/// Breaks the plan of a whole cloud: a protected VM, one in conflict, and two that could not be read.
#[track_caller]
fn cloud_refused(words: &str, break_it: impl FnOnce(&mut Plan)) {
    let mut other = grandfather();
    other.name = "other".into();
    other.select.metadata = vec![("other".to_owned(), vec!["1".to_owned()])];
    let policies = Policies::new(vec![grandfather(), other]);
    let claimed_twice = vm(2).set(|vm| {
        let keys = ["fifo.backup", "other"].map(|key| (key.to_owned(), "1".to_owned()));
        vm.metadata = keys.into_iter().collect();
    });
    let unreadable =
        |id| UnreadableVm { alias: "zz".to_owned(), id, problems: vec!["no backups".to_owned()] };
    let inventory = Inventory {
        unreadable: vec![unreadable(None), unreadable(Some(vm_id(3)))],
        ..inventory([web(), claimed_twice])
    };
    let good = plan(&policies, &inventory, at(SUNDAY));
    let statuses: Vec<Status> = good.vms.iter().map(|vm| vm.status).collect();
    assert_eq!(statuses, [Status::Changes, Status::Conflict, Status::Unreadable, Status::Unreadable]);
    let mut bad = good.clone();
    break_it(&mut bad);
    assert_ne!(bad, good, "nothing was broken");
    let mut found = audit(&bad, &policies, &inventory);
    found.extend(frame_broken(&bad, &policies, &inventory));
    assert!(found.iter().any(|what| what.contains(words)), "{words:?} is not in {found:#?}");
}

#[test]
fn a_vm_that_is_missing_or_there_twice_or_made_up() {
    cloud_refused("missing from the plan", |plan| _ = plan.vms.remove(0));
    cloud_refused("missing from the plan", |plan| _ = plan.vms.remove(1));
    cloud_refused("twice", |plan| plan.vms.insert(0, plan.vms[0].clone()));
    cloud_refused("none that was read", |plan| plan.vms[0].uuid = Some(vm_id(8)));
    cloud_refused("none that was read", |plan| {
        plan.vms[1].uuid = Some(vm_id(8));
        plan.vms[1].status = Status::Unreadable;
    });
    cloud_refused("its status", |plan| {
        plan.vms[0].status = Status::Unreadable;
        plan.vms[0].actions.clear();
    });
    cloud_refused("is missing from the plan", |plan| _ = plan.vms.remove(2));
    cloud_refused("is missing from the plan", |plan| _ = plan.vms.remove(3));
}

#[test]
fn an_action_on_a_vm_in_conflict_or_unreadable() {
    let act = || also_create("monthly", None, "2026-11-01 01:00");
    cloud_refused("several policies claim", |plan| act()(&mut plan.vms[1]));
    for n in [2, 3] {
        cloud_refused("could not be read whole", |plan| act()(&mut plan.vms[n]));
        cloud_refused("could not be read whole", |plan| {
            act()(&mut plan.vms[n]);
            plan.vms[n].status = Status::Unreadable;
        });
    }
    cloud_refused("its status", |plan| plan.vms[1].status = Status::UpToDate);
    cloud_refused("its status", |plan| plan.vms[3].status = Status::UpToDate);
}

#[test]
fn a_plan_whose_frame_is_wrong() {
    cloud_refused("the counts", |plan| plan.summary.create += 1);
    cloud_refused("the counts", |plan| plan.summary.delete_local -= 1);
    cloud_refused("the counts", |plan| plan.summary.delete_cloud += 1);
    cloud_refused("the counts", |plan| plan.summary.conflict = 0);
    cloud_refused("another FiFo", |plan| plan.endpoint = "https://other.example.com".to_owned());
    cloud_refused("no longer holds", |plan| plan.valid_until = Some(plan.at));
    cloud_refused("out of order", |plan| plan.vms.swap(0, 1));
    cloud_refused("fingerprint", |plan| plan.vms[0].fingerprint = None);
    cloud_refused("fingerprint", |plan| plan.vms[1].fingerprint = plan.vms[0].fingerprint);
    cloud_refused("other policies", |plan| _ = plan.policies.pop());
    cloud_refused("other policies", |plan| plan.policies[0].sha256 = "01".to_owned());
}

#[test]
fn a_vm_that_is_in_the_list_twice_and_is_readable_once_is_left_alone() {
    let listed_twice = Inventory {
        unreadable: vec![UnreadableVm {
            alias: "vm-1".to_owned(),
            id: Some(vm_id(1)),
            problems: vec!["no backups".to_owned()],
        }],
        ..inventory([web()])
    };
    let policies = Policies::new(vec![grandfather()]);
    let good = plan(&policies, &listed_twice, at(SUNDAY));
    let statuses: Vec<Status> = good.vms.iter().map(|vm| vm.status).collect();
    assert_eq!(statuses, [Status::Unreadable]);
    let mut bad = good.clone();
    bad.vms.push(plan(&policies, &inventory([web()]), at(SUNDAY)).vms.remove(0));
    let found = audit(&bad, &policies, &listed_twice);
    assert!(found.iter().any(|what| what.contains("could not be read whole")), "{found:?}");
}
