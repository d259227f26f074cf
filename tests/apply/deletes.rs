//! A local delete is not done until it is seen, and nothing else may go with it.

use crate::cloud::{Cloud, answer, backup_id, fault, mid_chain, next_upload, takes, vm_uuid};
use fifo_retain::apply::{ActionOutcome, Clock as _, EventKind};
use fifo_retain::sandbox::{Effect, Operation, Rule};
use std::time::Duration;

/// After last night's daily, which is there: only what a second daily left behind is to go.
const MORNING: &str = "2026-11-17T09:00:00Z";

/// `count` VMs, each with one snapshot too many.
pub(crate) fn with_leftovers(count: u128) -> Cloud {
    let mut cloud = Cloud::at(MORNING);
    for n in 1..=count {
        cloud = cloud.vm(n, "hv-1");
        let daily;
        (cloud, [_, _, daily]) = mid_chain(cloud, n);
        (cloud, _) = cloud.backup(n, "daily", Some(daily), "2026-11-17T03:00:00Z");
    }
    cloud
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_drops_bodies_costs_one_chain_at_most() {
    let cloud = with_leftovers(5);
    fault(&cloud, Rule::new(Effect::DropBody).on(Operation::Delete));
    let report = cloud.reconcile().await;
    let [alarm] = &report.alarms[..] else { panic!("{report:?}") };
    assert_eq!(cloud.asked("DELETE"), 1);
    assert_eq!(alarm.gone.len(), 2, "the daily and the one taken from it");
    assert!(alarm.gone.contains(&alarm.backup));
    let hit = alarm.vm.uuid();
    for n in (1..=5).filter(|n| vm_uuid(*n) != hit) {
        assert_eq!(cloud.backups(n).len(), 4);
    }
    assert!(cloud.events.all().iter().any(|event| matches!(event.what, EventKind::CascadeAlarm(_))));
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_loses_its_body_and_arrives_twice_raises_the_alarm() {
    // The first copy takes the chain, the answer is that to the second. Where conditions are refused, nothing but this answer
    // is left to see it by.
    for refuses in [false, true] {
        let cloud = with_leftovers(3);
        fault(&cloud, Rule::new(Effect::DropBody).on(Operation::Delete));
        fault(&cloud, Rule::new(Effect::Twice).on(Operation::Delete));
        if refuses {
            fault(&cloud, Rule::new(Effect::RefuseConditions));
        }
        let report = cloud.reconcile().await;
        assert_eq!(report.alarms.len(), 1, "{refuses} {report:?}");
        let hit = report.alarms[0].vm.uuid();
        for n in (1..=3).filter(|n| vm_uuid(*n) != hit) {
            assert_eq!(cloud.backups(n).len(), 4, "{refuses} {report:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_did_to_the_first_ones_vm_proves_nothing_about_bodies() {
    let cloud = with_leftovers(5);
    let refused = answer(504);
    fault(&cloud, Rule::new(refused).on(Operation::Delete).times(1));
    fault(&cloud, Rule::new(Effect::DropBody).on(Operation::Delete));
    let (report, ()) = tokio::join!(cloud.reconcile(), async {
        let first = loop {
            let asked = cloud.wire.state().asked.iter().find(|asked| asked.method == "DELETE").cloned();
            match asked {
                Some(asked) => break asked.target,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        // FiFo did nothing, and by the move the snapshot is gone all the same.
        let vm = (1..=5).map(vm_uuid).find(|vm| first.contains(&vm.to_string())).unwrap();
        cloud.wire.state().world.leave_hypervisor(vm, Some("hv-2"));
    });
    assert_eq!((report.alarms.len(), cloud.asked("DELETE")), (1, 2), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_delete_goes_alone() {
    let cloud = with_leftovers(4);
    // The first one's answer is late; until it is there and checked, no other may go out.
    fault(&cloud, Rule::new(Effect::Delay { ms: 4_000 }).on(Operation::Delete).times(1));
    cloud.reconcile().await;
    let asked = cloud.wire.state().asked.clone();
    let deletes: Vec<_> =
        asked.iter().filter(|asked| asked.method == "DELETE").map(|asked| asked.at).collect();
    assert_eq!(deletes.len(), 4);
    assert!((deletes[1] - deletes[0]).num_milliseconds() >= 4_000, "{deletes:?}");
    assert!((deletes[3] - deletes[1]).num_milliseconds() < 4_000, "{deletes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_searched_for_and_repeated_only_when_nothing_happened() {
    for (effect, deletes) in [(Effect::ActThenDrop, 1), (Effect::Drop, 2)] {
        let cloud = with_leftovers(1);
        fault(&cloud, Rule::new(effect.clone()).on(Operation::Delete).times(1));
        let report = cloud.reconcile().await;
        assert_eq!(report.tally().deleted_local, 1, "{effect:?} {report:?}");
        assert_eq!(cloud.asked("DELETE"), deletes, "{effect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_delete_fails_its_vm_and_no_other() {
    for status in [403, 404, 500] {
        let cloud = with_leftovers(3);
        fault(&cloud, Rule::new(answer(status)).on(Operation::Delete).of_vm(vm_uuid(2)));
        let report = cloud.reconcile().await;
        let tally = report.tally();
        assert_eq!((tally.deleted_local, tally.failed), (2, 1), "{status} {report:?}");
        let message = &report.vms[1].steps[0].message;
        assert_eq!(message.contains("→backup_delete`"), status == 403, "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn stale_reads_do_not_pass_for_failures_nor_for_alarms() {
    for seconds in [Some(2), Some(40), None] {
        let cloud = with_leftovers(2);
        fault(&cloud, Rule::new(Effect::Stale { seconds }));
        let report = cloud.reconcile().await;
        assert_eq!(report.tally().deleted_local, 2, "{seconds:?} {report:?}");
        assert_eq!(report.alarms, []);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_came_to_need_is_not_deleted() {
    let cloud = with_leftovers(1);
    let (plan, inventory) = cloud.plan().await;
    // A person starts an increment by hand, from the very snapshot that is to go.
    let leftover = inventory.vms.values().next().unwrap().backups.values().find(|backup| {
        backup.comment.as_deref() == Some("daily")
            && backup.timestamp < Some("2026-11-17T02:00:00Z".parse().unwrap())
    });
    let parent = leftover.unwrap().id.uuid();
    let (cloud, by_hand) = cloud.backup(1, "by hand", Some(parent), "2026-11-17T08:59:59Z");
    let report = cloud.execute(&plan, &inventory).await;
    assert_eq!(report.vms[0].steps[0].ending, ActionOutcome::Dropped);
    assert_eq!(cloud.asked("DELETE"), 0);
    assert!(cloud.wire.state().world.restorable(vm_uuid(1), by_hand));
    assert!(inventory.vms.values().next().unwrap().backups.contains(backup_id(parent)));
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_after_the_first_holds_back_all_that_have_not_been_sent() {
    let cloud = with_leftovers(20);
    fault(&cloud, Rule::new(answer(204)).on(Operation::Delete).after(1));
    let tally = cloud.reconcile().await.tally();
    // Eight go side by side.
    assert!(cloud.asked("DELETE") <= 9, "{} deletes", cloud.asked("DELETE"));
    assert_eq!((tally.deleted_local, tally.failed + tally.left), (1, 19), "{tally:?}");
}

#[tokio::test(start_paused = true)]
async fn every_backup_that_went_is_named_and_every_action_has_its_end() {
    let cloud = with_leftovers(20);
    let before = cloud.read().await;
    fault(&cloud, Rule::new(Effect::DropBody).on(Operation::Delete).after(1));
    let report = cloud.reconcile().await;
    let after = cloud.read().await;
    let mut gone: Vec<_> = before
        .vms
        .values()
        .flat_map(|vm| vm.backups.keys().filter(|&id| !after.vms[&vm.id].backups.contains(id)))
        .collect();
    let mut named: Vec<_> = report.alarms.iter().flat_map(|alarm| alarm.gone.clone()).collect();
    gone.sort();
    named.sort();
    assert_eq!(named, gone);
    assert!((2..=16).contains(&gone.len()), "{gone:?}");
    let ended =
        cloud.events.all().iter().filter(|event| matches!(event.what, EventKind::ActionEnded { .. })).count();
    assert_eq!((ended, report.vms.iter().map(|vm| vm.steps.len()).sum::<usize>()), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_left_to_itself_by_an_alarm_is_named() {
    let (cloud, _) = mid_chain(Cloud::at("2026-11-18T01:00:30Z").vm(9, "hv-2"), 9);
    let (cloud, [_, _, daily]) = mid_chain(cloud.vm(1, "hv-1"), 1);
    let (cloud, _) = cloud.backup(1, "daily", Some(daily), "2026-11-18T01:00:10Z");
    next_upload(&cloud, 9, takes(600));
    fault(&cloud, Rule::new(Effect::DropBody).on(Operation::Delete));
    fault(&cloud, Rule::new(Effect::Delay { ms: 5_000 }).on(Operation::Delete));
    let report = cloud.reconcile().await;
    assert_eq!(report.alarms.len(), 1, "{report:?}");
    let left = &report.vms.iter().find(|vm| vm.at.vm.uuid() == vm_uuid(9)).unwrap().steps[0];
    assert_eq!(left.ending, ActionOutcome::Interrupted);
    assert!(left.message.contains("is still running in FiFo"), "{}", left.message);
    assert!(!report.interrupted, "it was not asked to stop");
}

#[tokio::test(start_paused = true)]
async fn a_412_for_ever_ends() {
    for operation in [Operation::Delete, Operation::Create] {
        let cloud = match operation {
            Operation::Create => mid_chain(Cloud::at("2026-11-18T01:00:30Z").vm(1, "hv-1"), 1).0,
            _ => with_leftovers(1),
        };
        fault(&cloud, Rule::new(answer(412)).on(operation));
        let report = tokio::time::timeout(Duration::from_secs(3600), cloud.reconcile()).await.unwrap();
        let message = &report.vms[0].steps[0].message;
        assert!(message.contains("although no If-Match was sent"), "{message}");
        assert_eq!(cloud.asked("POST") + cloud.asked("DELETE"), 4, "thrice with a condition, once without");
    }
}

/// Waits for the first DELETE, and returns whose it was.
async fn first_delete(cloud: &Cloud) -> (uuid::Uuid, uuid::Uuid) {
    loop {
        let asked = cloud.wire.state().asked.iter().find(|asked| asked.method == "DELETE").cloned();
        if let Some(asked) = asked {
            let mut parts = asked.target.rsplit('/');
            let backup = parts.next().unwrap().parse().unwrap();
            return (parts.nth(1).unwrap().parse().unwrap(), backup);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// FiFo carries the first DELETE out late, without its body.
async fn cascade_after(cloud: &Cloud, late: Duration) {
    let (vm, backup) = first_delete(cloud).await;
    tokio::time::sleep(late).await;
    let now_us = cloud.clock.now().timestamp_micros();
    cloud.wire.state().world.delete_cloud(vm, backup, now_us);
}

#[tokio::test(start_paused = true)]
async fn a_delete_without_its_body_that_is_carried_out_late_raises_the_alarm_before_another_goes() {
    let lates = [(Effect::Drop, &[0, 8, 25, 55][..]), (answer(500), &[0, 8, 25, 55]), (answer(412), &[0])];
    for (effect, lates) in lates.into_iter().chain([(answer(429), &[0][..])]) {
        for late_s in lates {
            let cloud = with_leftovers(5);
            fault(&cloud, Rule::new(effect.clone()).on(Operation::Delete).times(1));
            let late = Duration::from_secs(*late_s);
            let (report, ()) = tokio::join!(cloud.reconcile(), cascade_after(&cloud, late));
            assert_eq!(report.alarms.len(), 1, "{effect:?} after {late_s} s: {report:?}");
            assert_eq!(report.alarms[0].gone.len(), 2, "{effect:?} after {late_s} s: {report:?}");
            assert_eq!(cloud.asked("DELETE"), 1, "{effect:?} after {late_s} s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_other_delete_goes_out_while_it_is_not_known_what_one_does() {
    let cloud = with_leftovers(20);
    fault(&cloud, Rule::new(Effect::Drop).on(Operation::Delete).after(1).times(1));
    let report = cloud.reconcile().await;
    assert_eq!(report.tally().deleted_local, 20, "{report:?}");
    let asked = cloud.wire.state().asked.clone();
    let mut deletes = asked.iter().filter(|asked| asked.method == "DELETE").map(|asked| asked.at);
    let lost = deletes.nth(1).unwrap();
    let meanwhile = deletes.filter(|at| (1..59).contains(&(*at - lost).num_seconds())).count();
    assert_eq!(meanwhile, 0);
}

#[tokio::test(start_paused = true)]
async fn the_delete_that_could_cost_least_goes_first() {
    let mut cloud = with_leftovers(4).vm(5, "hv-1");
    let weekly;
    (cloud, [_, weekly, _]) = mid_chain(cloud, 5);
    // Here nothing descends from the daily that is to go.
    (cloud, _) = cloud.backup(5, "daily", Some(weekly), "2026-11-17T03:00:00Z");
    fault(&cloud, Rule::new(Effect::DropBody).on(Operation::Delete));
    let report = cloud.reconcile().await;
    let [alarm] = &report.alarms[..] else { panic!("{report:?}") };
    assert_eq!((alarm.vm.uuid(), alarm.gone.len()), (vm_uuid(5), 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_once_the_clocks_have_come_apart_by_more_than_an_hour() {
    for seconds in [-3 * 3_600, 3 * 3_600] {
        let cloud = with_leftovers(1);
        fault(&cloud, Rule::new(Effect::ShiftDate { seconds }).on(Operation::ReadVm));
        let report = cloud.reconcile().await;
        assert_eq!((report.tally().failed, cloud.asked("DELETE")), (1, 0), "{report:?}");
        let message = &report.vms[0].steps[0].message;
        assert!(
            message.starts_with("nothing was done: the clocks differ by more than an hour, "),
            "{message}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn another_backup_that_vanishes_with_an_accepted_delete_raises_the_alarm() {
    let cloud = with_leftovers(1);
    fault(&cloud, Rule::new(Effect::Delay { ms: 500 }).on(Operation::Delete));
    let (report, other) = tokio::join!(cloud.reconcile(), async {
        let (vm, backup) = first_delete(&cloud).await;
        let world = &mut cloud.wire.state().world;
        let newest = world.vms[&vm].backups.iter().max_by_key(|(_, record)| record.timestamp).unwrap();
        let other = *newest.0;
        assert_ne!(other, backup);
        world.delete_cloud(vm, other, cloud.clock.now().timestamp_micros());
        other
    });
    // The snapshot itself is gone as it should be, so that only the other record shows that something is wrong.
    let [alarm] = &report.alarms[..] else { panic!("{report:?}") };
    assert_eq!(alarm.gone, [backup_id(other)]);
    assert_eq!(cloud.backups(1), ["monthly", "weekly*", "daily"]);
}
