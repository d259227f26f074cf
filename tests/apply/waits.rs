//! What a run waits for, how long, and what it says of it.

use crate::cloud::{Cloud, answer, next_upload, posts, vm_uuid};
use crate::transport::TestClock;
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::apply::{ActionOutcome, Approval, Clock, EventKind, Executor};
use fifo_retain::sandbox::{BackupRequest, Effect, Operation, Rule, UploadOutcome, UploadScript, User};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const NIGHT: &str = "2026-11-18T01:00:30Z";

/// Has a person start a backup by hand, just now.
fn by_hand(cloud: &Cloud, n: u128) {
    let order = BackupRequest { comment: "by hand".to_owned(), parent: None, delete: false };
    let now_us = cloud.clock.now().timestamp_micros();
    cloud.wire.state().world.create_backup(vm_uuid(n), &order, now_us).unwrap();
}

fn slow(minutes: u64) -> UploadScript {
    UploadScript { upload_ms: Some(minutes * 60_000), size_bytes: Some(1 << 30), ..UploadScript::default() }
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_in_the_middle_of_a_run_frees_no_slot() {
    for body in ["]", "[]"] {
        let mut cloud = Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-1");
        cloud.settings.max_uploads = 1;
        next_upload(&cloud, 2, slow(10));
        by_hand(&cloud, 2);
        sleep(Duration::from_secs(60)).await;
        let garble = Effect::Garble { body: body.to_owned(), content_type: None };
        let (plan, inventory) = cloud.plan().await;
        {
            // A cache shows nothing of the upload, so that the list is asked.
            let state = &mut *cloud.wire.state();
            state.faults.rules.push(Rule::new(garble).on(Operation::List).times(5));
            state.faults.rules.push(Rule::new(Effect::Stale { seconds: None }).of_vm(vm_uuid(2)));
            state.faults.fill_caches(&state.world);
        }
        let began = cloud.clock.now();
        cloud.execute(&plan, &inventory).await;
        assert!((posts(&cloud)[0] - began).num_seconds() >= 530, "{body}: {:?}", posts(&cloud));
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_accepted_and_does_not_begin_gives_its_slot_back_after_five_minutes() {
    let mut cloud = Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-1");
    cloud.settings.max_uploads_per_hypervisor = 1;
    next_upload(&cloud, 1, UploadOutcome::NeverStarts);
    let report = cloud.reconcile().await;
    assert_eq!(
        (report.vms[0].steps[0].code, report.vms[1].steps[0].code),
        ("upload_stuck", "created"),
        "{report:?}"
    );
    let posts = posts(&cloud);
    let waited = (posts[1] - posts[0]).num_seconds();
    assert!((300..400).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn what_hung_in_the_run_before_holds_no_slot_in_the_next() {
    let mut cloud = Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-1");
    cloud.settings.max_uploads_per_hypervisor = 1;
    next_upload(&cloud, 1, UploadOutcome::Hang);
    cloud.settings.deadline = Some(Duration::from_secs(600));
    assert_eq!(cloud.reconcile().await.tally().left, 2);
    sleep(Duration::from_secs(600)).await;
    let began = cloud.clock.now();
    assert_eq!(cloud.reconcile().await.tally().created, 1);
    assert!((cloud.clock.now() - began).num_seconds() < 60);
}

#[tokio::test(start_paused = true)]
async fn what_still_waits_at_the_deadline_is_left_to_the_next_run() {
    let mut cloud = Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-1");
    cloud.settings.max_uploads_per_hypervisor = 1;
    next_upload(&cloud, 1, slow(120));
    cloud.settings.deadline = Some(Duration::from_secs(3600));
    let began = Instant::now();
    let report = cloud.reconcile().await;
    assert!((3600..3660).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let steps: Vec<_> = report.vms.iter().flat_map(|vm| &vm.steps).collect();
    assert!(steps.iter().all(|step| step.ending == ActionOutcome::HandedOver), "{report:?}");
    assert!(steps[0].message.contains("is still running in FiFo"), "{}", steps[0].message);
    assert!(steps[1].message.contains("the deadline of this run has passed"), "{}", steps[1].message);
    assert_eq!(cloud.asked("POST"), 1);
}

#[tokio::test(start_paused = true)]
async fn thirty_uploads_that_run_already_cost_one_list_a_round() {
    let mut cloud = Cloud::at(NIGHT).vm(99, "hv-99");
    for n in 1..=30 {
        cloud = cloud.vm(n, &format!("hv-{n}"));
        next_upload(&cloud, n, slow(20));
        by_hand(&cloud, n);
    }
    cloud.reconcile().await;
    let lists = cloud.wire.state().asked.iter().filter(|asked| asked.target.contains("full-list")).count();
    assert!(lists < 40, "{lists} lists in twenty minutes");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_read_is_asked_for_once_by_all_who_wait_for_it() {
    let mut cloud = Cloud::at(NIGHT);
    cloud.settings.max_uploads_per_hypervisor = 8;
    for n in 1..=8 {
        cloud = cloud.vm(n, "hv-1");
    }
    let (plan, inventory) = cloud.plan().await;
    let rules = [
        Rule::new(answer(503)).on(Operation::List),
        Rule::new(answer(500)).on(Operation::Create),
        Rule::new(answer(503)).on(Operation::ReadVm).after(8),
    ];
    cloud.wire.state().faults.rules.extend(rules);
    let began = Instant::now();
    let report = cloud.execute(&plan, &inventory).await;
    assert_eq!(report.tally().failed, 8, "{report:?}");
    // A read is given up on after two minutes: twice the VM and twice the list, and not eight lists one by one.
    assert!(began.elapsed() < Duration::from_secs(700), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_refused_sign_in_is_asked_for_once_and_ends_everything() {
    let mut cloud = Cloud::at(NIGHT);
    for n in 1..=27 {
        cloud = cloud.vm(n, "hv-1");
        next_upload(&cloud, n, slow(10));
    }
    let began = Instant::now();
    let (report, before) = tokio::join!(cloud.reconcile(), async {
        sleep(Duration::from_secs(5)).await;
        let state = &mut cloud.wire.state();
        state.world.users.insert("admin".to_owned(), User::admin("another one"));
        state.world.tokens.clear();
        state.asked.len()
    });
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let asked = cloud.wire.state().asked.clone();
    let sign_ins = asked[before..].iter().filter(|asked| asked.target.contains("oauth")).count();
    assert_eq!(sign_ins, 1);
    assert_eq!(report.tally().failed, 27, "{report:?}");
    let messages = report.vms.iter().flat_map(|vm| &vm.steps).map(|step| &step.message);
    assert!(messages.clone().all(|message| message.contains("refuses to sign in")), "{report:?}");
}

/// A clock that is set back by ten hours an hour after it was made.
struct SetBack(TestClock, Instant);

impl Clock for SetBack {
    fn now(&self) -> DateTime<Utc> {
        let set_back = self.1.elapsed() > Duration::from_secs(3600);
        self.0.now() - if set_back { TimeDelta::hours(10) } else { TimeDelta::zero() }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_prolongs_no_wait() {
    let cloud = Cloud::at(NIGHT).vm(1, "hv-1");
    next_upload(&cloud, 1, UploadOutcome::Hang);
    let (plan, inventory) = cloud.plan().await;
    let client = cloud.client();
    let executor = Executor {
        client: &client,
        policies: &cloud.policies,
        clock: &SetBack(cloud.clock, Instant::now()),
        observer: &cloud.events,
        stop: &cloud.stop,
        hand_over: &cloud.hand_over,
        progress: &cloud.progress,
        notes: &cloud.notes,
        proof: None,
        settings: cloud.settings,
    };
    let began = Instant::now();
    executor.execute(&plan.vms, inventory, Approval::Everything).await;
    assert!((11..=13).contains(&(began.elapsed().as_secs() / 3600)), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_slot_is_reported_every_thirty_seconds_with_who_holds_it() {
    let mut cloud = Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-1").vm(3, "hv-1");
    cloud.settings.max_uploads_per_hypervisor = 1;
    next_upload(&cloud, 1, slow(10));
    cloud.reconcile().await;
    let reports: Vec<_> = cloud
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event.what {
            EventKind::Waiting(waiting) if waiting.for_slot == 2 => Some((event.time, waiting)),
            _ => None,
        })
        .collect();
    assert!((19..=21).contains(&reports.len()), "{}", reports.len());
    assert!(reports.windows(2).all(|two| (two[1].0 - two[0].0).num_seconds() == 30), "{reports:?}");
    let message = &reports[10].1.message;
    assert!(
        message.starts_with("2 waiting for a slot: hv-1 uses 1 of 1, held by vm-1 (since 01:00 UTC, "),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_moves_again_takes_its_slot_again_beyond_the_limit() {
    let mut cloud = Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-2").vm(3, "hv-3");
    cloud.settings.max_uploads = 1;
    next_upload(&cloud, 1, slow(120));
    next_upload(&cloud, 2, slow(60));
    let pause = async {
        sleep(Duration::from_secs(60)).await;
        let (id, mut upload) = cloud.wire.state().world.uploads.pop_first().unwrap();
        sleep(Duration::from_secs(20 * 60)).await;
        upload.started_us += 20 * 60_000_000;
        cloud.wire.state().world.uploads.insert(id, upload);
    };
    let (report, ()) = tokio::join!(cloud.reconcile(), pause);
    assert_eq!(report.tally().created, 3, "{report:?}");
    let minutes: Vec<_> = posts(&cloud).iter().map(|at| (*at - posts(&cloud)[0]).num_minutes()).collect();
    let [0, second, third] = minutes[..] else { panic!("{minutes:?}") };
    assert!((15..=20).contains(&second), "the first one stands still from minute 1 to 21: {minutes:?}");
    // The second one ends an hour after it began, and the first one uploads until minute 140.
    assert!(third >= 135, "{minutes:?}");
}
