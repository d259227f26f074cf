//! Whole runs: interrupted, killed, and among disturbances.

use crate::cloud::{Cloud, answer, mid_chain, next_upload, takes, vm_uuid};
use fifo_retain::apply::{ActionOutcome, Clock as _, EventKind};
use fifo_retain::sandbox::{BackupRequest, Effect, Operation, Rule, UploadOutcome, UploadScript};
use std::time::Duration;

const NIGHT: &str = "2026-11-18T01:00:30Z";

fn ten_due() -> Cloud {
    let mut cloud = Cloud::at(NIGHT);
    for n in 1..=10 {
        (cloud, _) = mid_chain(cloud.vm(n, if n % 2 == 0 { "hv-1" } else { "hv-2" }), n);
    }
    cloud
}

async fn finishes(cloud: &Cloud) {
    tokio::time::sleep(Duration::from_secs(60)).await;
    cloud.reconcile().await;
    for n in 1..=10 {
        assert_eq!(cloud.backups(n), ["monthly", "weekly*", "daily", "daily*"], "VM {n}");
    }
    assert!(cloud.plan().await.0.vms.iter().all(|vm| vm.actions.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_killed_anywhere_is_finished_by_the_next() {
    let cloud = ten_due();
    let (plan, inventory) = cloud.plan().await;
    let began = tokio::time::Instant::now();
    cloud.execute(&plan, &inventory).await;
    let whole = began.elapsed();
    for part in 0..40 {
        let cloud = ten_due();
        let (plan, inventory) = cloud.plan().await;
        // Dropping the run's future is as sudden as a kill: nothing of it goes on.
        _ = tokio::time::timeout(whole * part / 40, cloud.execute(&plan, &inventory)).await;
        finishes(&cloud).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_run_starts_nothing_new_and_says_what_goes_on() {
    let cloud = ten_due();
    let (plan, inventory) = cloud.plan().await;
    let stop = cloud.stop.clone();
    let (report, ()) = tokio::join!(cloud.execute(&plan, &inventory), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
    });
    assert!(report.interrupted);
    assert_eq!(cloud.asked("POST"), 4, "two hypervisors with two uploads each");
    let goes_on = report
        .vms
        .iter()
        .flat_map(|vm| &vm.steps)
        .filter(|step| step.message.contains("is still running in FiFo"));
    assert_eq!(goes_on.count(), 4);
    let steps = report.vms.iter().flat_map(|vm| &vm.steps);
    assert!(steps.clone().all(|step| step.ending == ActionOutcome::Interrupted), "{report:?}");
    let again = Cloud { stop: Default::default(), ..cloud };
    finishes(&again).await;
}

#[tokio::test(start_paused = true)]
async fn disturbances_now_and_then_change_nothing_but_the_time() {
    let cloud = ten_due();
    let mut rules: Vec<Rule> = [503, 502, 429]
        .map(answer)
        .into_iter()
        .chain([Effect::Drop, Effect::Cut { after_bytes: 40 }])
        .zip([(1, 17), (4, 37), (7, 23), (10, 29), (13, 31)])
        .map(|(effect, (skip, every))| {
            // Each in its own time, so that they do not go along with the requests of one VM.
            let mut rule = Rule::new(effect).after(skip);
            rule.every = every;
            rule
        })
        .collect();
    let mut expire = Rule::new(Effect::ExpireTokens).on(Operation::ReadVm).after(5);
    expire.every = 11;
    rules.push(expire);
    cloud.wire.state().faults.rules = rules;
    let report = cloud.reconcile().await;
    let tally = report.tally();
    assert_eq!(
        (tally.created, tally.deleted_local, tally.failed, tally.dropped),
        (10, 10, 0, 0),
        "{report:?}"
    );
    for n in 1..=10 {
        assert_eq!(cloud.backups(n), ["monthly", "weekly*", "daily", "daily*"], "VM {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_report_matches_the_world() {
    let cloud = ten_due();
    let report = cloud.reconcile().await;
    let events = cloud.events.all();
    let ended = |outcome| {
        events
            .iter()
            .filter(|event| matches!(&event.what, EventKind::ActionEnded { outcome: o, .. } if *o == outcome))
            .count()
    };
    assert_eq!((ended(ActionOutcome::Done), ended(ActionOutcome::Failed)), (20, 0));
    let started = events.iter().filter(|event| matches!(event.what, EventKind::ActionStarted { .. })).count();
    assert_eq!(
        started,
        cloud.asked("POST") + cloud.asked("DELETE"),
        "the journal has every write before it goes out"
    );
    assert!(
        matches!(&events.last().unwrap().what, EventKind::Finished { tally } if *tally == report.tally())
    );
    assert!(matches!(&events[0].what, EventKind::Started { create: 10, delete_local: 10, .. }), "{events:?}");
    // A checked backup is reported without any reservation.
    let is_plain = |message: &str| message.ends_with(')') || message.contains(" is deleted");
    assert!(report.vms.iter().flat_map(|vm| &vm.steps).all(|step| is_plain(&step.message)), "{report:?}");
    // One flat JSON object an event.
    let line = serde_json::to_value(&events[1]).unwrap();
    assert_eq!(line["event"], "action_started");
    assert!(line["vm"].is_string() && line["action"].is_string(), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_cannot_be_read_takes_no_other_with_it() {
    let cloud = ten_due();
    let id = crate::cloud::vm_uuid(3);
    let garble = Effect::Garble { body: "<html>".to_owned(), content_type: None };
    cloud.wire.state().faults.rules.push(Rule::new(garble).on(Operation::ReadVm).of_vm(id));
    let report = cloud.reconcile().await;
    let tally = report.tally();
    assert_eq!(
        (tally.created, tally.failed, tally.left),
        (9, 1, 1),
        "a failure is said once a VM: {report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_vanishes_during_its_upload_is_not_waited_for() {
    let (cloud, _) = mid_chain(Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-2"), 1);
    cloud.wire.state().world.vms.get_mut(&vm_uuid(2)).unwrap().fields.remove("metadata");
    let began = tokio::time::Instant::now();
    let (report, ()) = tokio::join!(cloud.reconcile(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cloud.wire.state().world.vms.remove(&vm_uuid(1));
    });
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let step = &report.vms[0].steps[0];
    assert_eq!(step.ending, ActionOutcome::Failed);
    assert!(step.message.contains("the VM has vanished"), "{}", step.message);
}

#[tokio::test(start_paused = true)]
async fn an_upload_of_a_vm_that_has_vanished_keeps_no_vm_waiting() {
    let mut cloud = Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-1");
    let slow = takes(3_600);
    next_upload(&cloud, 2, slow);
    let order = BackupRequest { comment: "by hand".to_owned(), parent: None, delete: false };
    let now_us = cloud.clock.now().timestamp_micros();
    cloud.wire.state().world.create_backup(vm_uuid(2), &order, now_us).unwrap();
    cloud.settings.max_uploads_per_hypervisor = 1;
    let began = tokio::time::Instant::now();
    let (report, ()) = tokio::join!(cloud.reconcile(), async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        cloud.wire.state().world.vms.remove(&vm_uuid(2));
    });
    assert_eq!(report.tally().created, 1);
    assert!(began.elapsed() < Duration::from_secs(600), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_create_and_one_delete_take_six_requests() {
    let cloud = mid_chain(Cloud::at(NIGHT).vm(1, "hv-1"), 1).0;
    let at_once = UploadScript { upload_ms: Some(0), ..UploadScript::from(UploadOutcome::Complete) };
    next_upload(&cloud, 1, at_once);
    let (plan, inventory) = cloud.plan().await;
    let before = cloud.asked("GET");
    let tally = cloud.execute(&plan, &inventory).await.tally();
    assert_eq!((tally.created, tally.deleted_local), (1, 1));
    // Before the create, to find the backup, which is complete, and after the delete.
    assert_eq!((cloud.asked("GET") - before, cloud.asked("POST"), cloud.asked("DELETE")), (3, 1, 1));
}
