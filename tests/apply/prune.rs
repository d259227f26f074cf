//! Deletes from storage: what is deleted, in which order, and what changes meanwhile.

use crate::cloud::{Cloud, answer, backup_id, fault, next_upload, policies, vm_uuid};
use crate::transport::RequestRecord;
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::apply::{ActionKind, ActionOutcome, ActionRef, Clock as _, EventKind, RunReport};
use fifo_retain::plan::Prune;
use fifo_retain::policy::{self, SourceFile};
use fifo_retain::sandbox::{Operation, Record, Rule, UploadOutcome, UploadScript};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PRUNING: &str = "
version: 1
policy: pruning
select: { metadata: { fifo.backup: 1 } }
prune: true
tiers:
  - { name: monthly, schedule: '0 1 1 * *', type: full, keep: 1 }
  - { name: weekly, schedule: '0 1 * * SUN', type: incremental, keep: 1 }
  - { name: daily, schedule: '0 1 * * *', type: incremental, keep: 1 }
";

pub(crate) const MORNING: &str = "2026-12-07T09:00:00Z";

/// An expired chain of a VM, and the one that is kept; oldest first each.
#[derive(Clone, Copy)]
pub(crate) struct Chains {
    pub(crate) expired: [Uuid; 4],
    pub(crate) kept: [Uuid; 3],
}

/// A cloud of VMs on which a whole chain has expired, at an instant; `--prune` is given.
pub(crate) fn pruning_at(now: &str, vms: u128) -> (Cloud, Vec<Chains>) {
    let file = SourceFile { name: "pruning.yaml".to_owned(), bytes: PRUNING.as_bytes().to_vec() };
    let mut cloud = Cloud::at(now);
    cloud.policies = policy::parse(&[file]).unwrap().policies;
    cloud.settings.prune = Prune::REQUESTED;
    let mut chains = Vec::new();
    for n in 1..=vms {
        let one;
        (cloud, one) = with_chains(cloud.vm(n, "hv-1"), n);
        chains.push(one);
    }
    (cloud, chains)
}

pub(crate) fn pruning(vms: u128) -> (Cloud, Vec<Chains>) {
    pruning_at(MORNING, vms)
}

fn with_chains(cloud: Cloud, n: u128) -> (Cloud, Chains) {
    let (cloud, monthly) = cloud.backup(n, "monthly", None, "2026-11-01T01:00:00Z");
    let (cloud, weekly) = cloud.backup(n, "weekly", Some(monthly), "2026-11-15T01:00:00Z");
    let (cloud, daily) = cloud.backup(n, "daily", Some(weekly), "2026-11-17T01:00:00Z");
    let (cloud, other) = cloud.backup(n, "daily", Some(weekly), "2026-11-18T01:00:00Z");
    let (cloud, new_monthly) = cloud.backup(n, "monthly", None, "2026-12-01T01:00:00Z");
    let (cloud, new_weekly) = cloud.backup(n, "weekly", Some(new_monthly), "2026-12-06T01:00:00Z");
    let (cloud, new_daily) = cloud.backup(n, "daily", Some(new_weekly), "2026-12-07T01:00:00Z");
    let chains =
        Chains { expired: [monthly, weekly, daily, other], kept: [new_monthly, new_weekly, new_daily] };
    {
        let now_us = cloud.clock.now().timestamp_micros();
        let world = &mut cloud.wire.state().world;
        for id in chains.expired.into_iter().chain([new_monthly]) {
            world.delete_local(vm_uuid(n), id, now_us - 3_600_000_000).unwrap();
        }
        world.advance(now_us);
    }
    (cloud, chains)
}

pub(crate) fn prunes(cloud: &Cloud) -> Vec<RequestRecord> {
    let asked = &cloud.wire.state().asked;
    asked.iter().filter(|asked| asked.method == "DELETE" && asked.body.is_empty()).cloned().collect()
}

pub(crate) fn named(asked: &RequestRecord) -> Uuid {
    asked.target.rsplit('/').next().unwrap().parse().unwrap()
}

/// Which backups of the chains are still on record.
pub(crate) fn left(cloud: &Cloud, n: u128) -> Vec<Uuid> {
    cloud.wire.state().world.vms[&vm_uuid(n)].backups.keys().copied().collect()
}

pub(crate) fn all_kept(cloud: &Cloud, chains: &[Chains]) {
    let world = &cloud.wire.state().world;
    for (n, chains) in (1..).zip(chains) {
        for id in chains.kept {
            assert!(world.restorable_from_store(vm_uuid(n), id), "VM {n}: {id} cannot be restored");
        }
    }
}

pub(crate) fn outcomes(report: &RunReport) -> Vec<ActionOutcome> {
    report.vms.iter().flat_map(|vm| &vm.steps).map(|step| step.ending).collect()
}

pub(crate) async fn after_prunes(cloud: &Cloud, count: usize) {
    while prunes(cloud).len() < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_goes_children_first_one_after_the_other_each_checked() {
    let (cloud, chains) = pruning(3);
    let report = cloud.reconcile().await;
    let tally = report.tally();
    assert_eq!((tally.deleted_cloud, tally.failed, tally.dropped), (12, 0, 0), "{report:?}");
    for (n, chains) in (1..).zip(&chains) {
        assert_eq!(left(&cloud, n).len(), 3);
        let order: Vec<Uuid> =
            prunes(&cloud).iter().map(named).filter(|id| chains.expired.contains(id)).collect();
        let [monthly, weekly, daily, other] = chains.expired;
        assert_eq!(order, [daily, other, weekly, monthly]);
    }
    all_kept(&cloud, &chains);
    assert!(prunes(&cloud).iter().all(|asked| asked.was_fresh && asked.if_match.is_some()));
    let asked = cloud.wire.state().asked.clone();
    let is_prune = |asked: &RequestRecord| asked.method == "DELETE";
    for pair in asked.windows(2).filter(|pair| is_prune(&pair[0])) {
        let vm = pair[0].target.split('/').nth(4).unwrap();
        assert!(pair[1].method == "GET" && pair[1].target.contains(vm), "{pair:?}");
    }
    let (plan, _) = cloud.plan().await;
    assert!(plan.vms.iter().all(|vm| vm.actions.is_empty()), "nothing more has expired");
    let started = cloud.events.all().into_iter().filter(|event| {
        matches!(
            &event.what,
            EventKind::ActionStarted { step: ActionRef { kind: ActionKind::DeleteCloud, .. }, .. }
        )
    });
    assert_eq!(started.count(), 12);
    let text = &report.vms[0].steps[0].message;
    assert!(text.ends_with("of 2026-11-17 01:00 is deleted from storage (1.0 MiB)"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn without_both_switches_nothing_is_sent_that_could_delete_from_storage() {
    let parse = |text: &str| policies(text);
    let without = PRUNING.replace("prune: true\n", "");
    assert_ne!(without, PRUNING);
    let unasked = Prune::default();
    for (policies, prune) in
        [(parse(PRUNING), unasked), (parse(&without), unasked), (parse(&without), Prune::REQUESTED)]
    {
        // Something else is to be deleted as well, in the morning and after the next backup.
        let (cloud, _) = pruning(3);
        let mut cloud = cloud.backup(1, "daily", None, "2026-12-07T03:00:00Z").0;
        (cloud.policies, cloud.settings.prune) = (policies, prune);
        for status in [504, 500, 412, 429] {
            fault(&cloud, Rule::new(answer(status)).on(Operation::Delete).times(1));
            cloud.reconcile().await;
            tokio::time::sleep(Duration::from_secs(25 * 3_600)).await;
        }
        assert!(cloud.asked("DELETE") > 5, "{}", cloud.asked("DELETE"));
        let asked = cloud.wire.state().asked.clone();
        let body = br#"{"location":"hypervisor"}"#;
        assert!(asked.iter().filter(|asked| asked.method == "DELETE").all(|asked| asked.body == body));
    }
}

/// Runs, and changes a VM right after the first delete from storage was received: of one of two dailies on one weekly.
async fn with_change(change: impl FnOnce(&Cloud, Chains)) -> (Cloud, Chains, RunReport) {
    let (cloud, chains) = pruning(1);
    let (plan, inventory) = cloud.plan().await;
    let (report, ()) = tokio::join!(cloud.execute(&plan, &inventory), async {
        after_prunes(&cloud, 2).await;
        change(&cloud, chains[0]);
    });
    all_kept(&cloud, &chains);
    assert_eq!(report.alarms, [], "{report:?}");
    (cloud, chains[0], report)
}

fn edit(cloud: &Cloud, id: Uuid, change: impl FnOnce(&mut Record)) {
    change(cloud.wire.state().world.vms.get_mut(&vm_uuid(1)).unwrap().backups.entry(id).or_default());
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_something_came_to_descend_from_stays() {
    let child = Uuid::from_u128(7);
    for parent_is_known in [true, false] {
        let (cloud, chains, report) = with_change(|cloud, chains| {
            let now_us = cloud.clock.now().timestamp_micros();
            edit(cloud, child, |record| {
                record.timestamp = Some(now_us);
                record.parent = parent_is_known.then_some(chains.expired[1]);
                record.state = parent_is_known.then(|| "uploading".to_owned());
            });
        })
        .await;
        let [monthly, weekly, ..] = chains.expired;
        let left = left(&cloud, 1);
        assert!(left.contains(&weekly) && left.contains(&monthly) && left.contains(&child));
        assert_eq!(prunes(&cloud).len(), 2);
        assert_eq!(report.tally().left, 2, "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_became_local_or_whose_vm_left_its_hypervisor_stays() {
    for is_moved in [false, true] {
        let (cloud, chains, report) = with_change(|cloud, chains| {
            if is_moved {
                cloud.wire.state().world.leave_hypervisor(vm_uuid(1), None);
            } else {
                edit(cloud, chains.expired[1], |record| record.local = Some(true));
            }
        })
        .await;
        let weekly = chains.expired[1];
        assert!(cloud.wire.state().world.restorable_from_store(vm_uuid(1), weekly), "no file is deleted");
        assert!(left(&cloud, 1).contains(&weekly));
        assert_eq!(
            (prunes(&cloud).len(), report.tally().dropped + report.tally().left),
            (2, 2),
            "{report:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_run_has_deleted_meanwhile_is_no_alarm() {
    let (cloud, _, report) = with_change(|cloud, chains| {
        let now_us = cloud.clock.now().timestamp_micros();
        // A moment later, when the second delete has been checked.
        let (wire, weekly) = (cloud.wire.clone(), chains.expired[1]);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(16)).await;
            wire.state().world.delete_cloud(vm_uuid(1), weekly, now_us);
        });
    })
    .await;
    assert_eq!(left(&cloud, 1).len(), 3, "{report:?}");
    assert_eq!(report.tally().failed, 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn two_runs_at_once_delete_what_is_listed_and_raise_no_alarm() {
    let (cloud, chains) = pruning(5);
    let other = async {
        tokio::time::sleep(Duration::from_millis(3)).await;
        cloud.reconcile().await
    };
    let (one, two) = tokio::join!(cloud.reconcile(), other);
    assert_eq!((&one.alarms[..], &two.alarms[..]), (&[][..], &[][..]), "{one:?} {two:?}");
    all_kept(&cloud, &chains);
    cloud.reconcile().await;
    assert!((1..=5).all(|n| left(&cloud, n).len() == 3));
}

#[tokio::test(start_paused = true)]
async fn after_a_signal_or_the_deadline_no_further_one_is_sent() {
    for is_signal in [true, false] {
        let (cloud, chains) = pruning(3);
        let (report, ()) = tokio::join!(cloud.reconcile(), async {
            after_prunes(&cloud, 5).await;
            if is_signal {
                cloud.stop.cancel()
            } else {
                cloud.hand_over.cancel()
            };
        });
        assert_eq!(prunes(&cloud).len(), 5);
        let tally = report.tally();
        assert_eq!((tally.deleted_cloud, tally.left + tally.interrupted), (5, 7), "{report:?}");
        let cut_off = if is_signal { ActionOutcome::Interrupted } else { ActionOutcome::HandedOver };
        assert!(outcomes(&report).iter().all(|it| [ActionOutcome::Done, cut_off].contains(it)), "{report:?}");
        all_kept(&cloud, &chains);
        let (stop, hand_over) = (CancellationToken::new(), CancellationToken::new());
        let cloud = Cloud { stop, hand_over, ..cloud };
        cloud.reconcile().await;
        assert!((1..=3).all(|n| left(&cloud, n).len() == 3), "the next run does the rest");
    }
}

const NIGHT: &str = "2026-12-08T01:00:30Z";

#[tokio::test(start_paused = true)]
async fn old_backups_go_after_the_new_one_is_complete_and_not_at_all_if_it_fails() {
    let (cloud, chains) = pruning_at(NIGHT, 2);
    let fails = UploadScript::from(UploadOutcome::Fail);
    next_upload(&cloud, 2, fails);
    let report = cloud.reconcile().await;
    let tally = report.tally();
    assert_eq!((tally.created, tally.failed, tally.deleted_cloud), (1, 1, 4), "{report:?}");
    let messages = report.vms[1].steps.iter().map(|step| step.message.as_str());
    assert_eq!(messages.filter(|text| text.contains("new backup, which has not completed")).count(), 5);
    assert!(prunes(&cloud).iter().all(|asked| chains[0].expired.contains(&named(asked))));
    all_kept(&cloud, &chains);
    let created = cloud.events.all().iter().position(|event| {
        let EventKind::ActionEnded { step: ActionRef { kind: ActionKind::Create, .. }, outcome, .. } =
            &event.what
        else {
            return false;
        };
        *outcome == ActionOutcome::Done
    });
    let pruned = cloud.events.all().iter().position(|event| {
        matches!(
            event.what,
            EventKind::ActionStarted { step: ActionRef { kind: ActionKind::DeleteCloud, .. }, .. }
        )
    });
    assert!(created < pruned);
}

#[tokio::test(start_paused = true)]
async fn while_a_create_is_due_that_a_saved_plan_does_not_list_nothing_is_deleted_from_storage() {
    let (cloud, chains) = pruning(1);
    let (plan, inventory) = cloud.plan().await;
    assert_eq!(plan.vms[0].due_actions().len(), 4);
    // The next night comes, and with it a daily.
    tokio::time::sleep(Duration::from_secs(17 * 3_600)).await;
    let tally = cloud.execute(&plan, &inventory).await.tally();
    assert_eq!((tally.created, tally.deleted_cloud, prunes(&cloud).len()), (0, 0, 0), "{tally:?}");
    all_kept(&cloud, &chains);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_this_run_deletes_takes_no_backup_from_storage_with_it() {
    let (cloud, chains) = pruning(1);
    let [.., daily, _] = chains[0].expired;
    let before = {
        let world = &mut cloud.wire.state().world;
        world.vms.get_mut(&vm_uuid(1)).unwrap().backups.get_mut(&daily).unwrap().local = Some(true);
        prunes_of(&chains[0])
    };
    let report = cloud.reconcile().await;
    assert_eq!(report.tally().deleted_local, 1, "{report:?}");
    let went: Vec<Uuid> = prunes(&cloud).iter().map(named).collect();
    assert_eq!(went, before[1..2], "only the one that nothing descends from");
    cloud.reconcile().await;
    assert_eq!(left(&cloud, 1).len(), 3, "the next run takes the rest");
    let inventory = cloud.read().await;
    assert!(!inventory.vms.values().next().unwrap().backups.contains(backup_id(daily)));
}

/// The expired backups in the order of their deletes.
fn prunes_of(chains: &Chains) -> [Uuid; 4] {
    let [monthly, weekly, daily, other] = chains.expired;
    [daily, other, weekly, monthly]
}

#[tokio::test(start_paused = true)]
async fn what_is_younger_than_an_hour_by_fifos_clock_stays() {
    let (cloud, chains) = pruning(1);
    // By this machine's clock it is older.
    cloud.wire.state().server_ahead = TimeDelta::minutes(-50);
    let ([.., daily, other], [.., newest]) = (chains[0].expired, chains[0].kept);
    for (id, taken) in [(other, "2026-12-07T07:50:00Z"), (newest, "2026-12-07T08:05:00Z")] {
        let taken: DateTime<Utc> = taken.parse().unwrap();
        edit(&cloud, id, |record| record.timestamp = Some(taken.timestamp_micros()));
    }
    let (plan, inventory) = cloud.plan().await;
    assert_eq!(plan.summary.delete_cloud, 4);
    let report = cloud.execute(&plan, &inventory).await;
    let went: Vec<Uuid> = prunes(&cloud).iter().map(named).collect();
    assert_eq!(went, [daily], "{report:?}");
    assert!(report.vms[0].steps[1].message.contains("less than an hour old"), "{report:?}");
}
