//! What could cost a backup, or silently not make one: each was found once, and is played here as it was found.

use crate::cloud::{
    Cloud, FULL_ONLY, answer, backup_id, fault, mid_chain, next_upload, policies, takes, vm_uuid,
};
use crate::deletes::with_leftovers;
use crate::prune::{after_prunes, all_kept, prunes, pruning};
use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use fifo_retain::apply::{ActionKind, ActionOutcome, Clock as _};
use fifo_retain::sandbox::{ApiStyle, BackupRequest, Effect, Operation, Rule, UploadOutcome};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const NIGHT: &str = "2026-11-18T01:00:30Z";

fn one_due() -> Cloud {
    mid_chain(Cloud::at(NIGHT).vm(1, "hv-1"), 1).0
}

/// When each request of a method was received.
fn times(cloud: &Cloud, method: &str) -> Vec<DateTime<Utc>> {
    let asked = &cloud.wire.state().asked;
    let writes = asked.iter().filter(|it| it.method == method && it.target.contains("/backups"));
    writes.map(|asked| asked.at).collect()
}

fn lists(cloud: &Cloud) -> usize {
    cloud.wire.state().asked.iter().filter(|asked| asked.target.contains("full-list")).count()
}

#[tokio::test(start_paused = true)]
async fn with_one_run_a_night_a_monthly_that_failed_is_made_up_the_next_night() {
    let cloud = Cloud::at("2026-10-20T01:00:30Z").vm(1, "hv-1");
    for _ in 0..60 {
        if cloud.clock.now().day() == 1 {
            next_upload(&cloud, 1, UploadOutcome::Fail);
        }
        let began = cloud.clock.now();
        cloud.reconcile().await;
        sleep((began + TimeDelta::days(1) - cloud.clock.now()).to_std().unwrap()).await;
    }
    let world = &cloud.wire.state().world;
    let mut monthlies: Vec<_> = (world.vms[&vm_uuid(1)].backups.values())
        .filter(|it| it.comment.as_deref() == Some("monthly") && it.state.as_deref() == Some("completed"))
        .map(|it| DateTime::from_timestamp_micros(it.timestamp.unwrap()).unwrap().format("%m-%d").to_string())
        .collect();
    monthlies.sort();
    assert_eq!(monthlies, ["10-20", "11-02", "12-02"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_create_whose_body_is_lost_raises_the_stop() {
    // FiFo of 2015 names the backup in its answer.
    for style in [ApiStyle::V3, ApiStyle::V2] {
        let mut cloud = one_due().vm(2, "hv-1").vm(3, "hv-1");
        cloud.settings.max_uploads = 1;
        cloud.wire.state().world.shape.style = style;
        fault(&cloud, Rule::new(Effect::DropBody).on(Operation::Create));
        let began = Instant::now();
        let report = cloud.reconcile().await;
        let [alarm] = &report.alarms[..] else { panic!("{style:?} {report:?}") };
        assert_eq!((alarm.after, &alarm.gone[..]), (ActionKind::Create, &[][..]));
        assert_eq!((cloud.asked("POST"), cloud.asked("DELETE")), (1, 0), "{style:?}");
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_cache_and_without_a_whole_list_no_full_backup_is_made_twice_while_one_is_young() {
    let mut cloud = Cloud::at(NIGHT).vm(1, "hv-1");
    cloud.policies = policies(FULL_ONLY);
    let (cloud, _) = cloud.backup(1, "daily", None, "2026-11-17T01:00:00Z");
    cloud.wire.state().world.list_limit_ms = Some(1);
    fault(&cloud, Rule::new(Effect::Stale { seconds: None }));
    cloud.reconcile().await;
    sleep(Duration::from_secs(600)).await;
    let report = cloud.reconcile().await;
    assert_eq!(report.vms[0].steps[0].code, "unproven", "{report:?}");
    let accepted = |cloud: &Cloud| cloud.backups(1).len() - 1;
    assert_eq!(accepted(&cloud), 1);
    // What is seen is older than `max_age`: after 26 h a backup is worth another one, at the pace of retries.
    sleep(Duration::from_secs(3 * 3600)).await;
    for (pause_min, made) in [(0, 2), (15, 2), (50, 3), (60, 3), (65, 4)] {
        sleep(Duration::from_secs(pause_min * 60)).await;
        cloud.reconcile().await;
        assert_eq!(accepted(&cloud), made, "after {pause_min} minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_behind_neither_loses_a_backup_nor_frees_its_slot() {
    let mut cloud = one_due();
    (cloud, _) = mid_chain(cloud.vm(2, "hv-1"), 2);
    cloud.settings.max_uploads = 1;
    next_upload(&cloud, 1, takes(600));
    {
        let state = &mut cloud.wire.state();
        state.world.list_limit_ms = Some(1);
        state.faults.nodes = 2;
    }
    fault(&cloud, Rule::new(Effect::Stale { seconds: Some(3_600) }).at_node(1));
    let report = cloud.reconcile().await;
    let tally = report.tally();
    assert_eq!((tally.created, report.alarms.len()), (2, 0), "{report:?}");
    let posts = times(&cloud, "POST");
    assert!((posts[posts.len() - 1] - posts[0]).num_seconds() >= 590, "{posts:?}");
    assert_eq!((cloud.backups(1).len(), cloud.backups(2).len()), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn what_a_node_still_shows_of_a_lost_backup_is_not_taken_for_the_new_one() {
    let (cloud, [_, _, parent]) = mid_chain(Cloud::at(NIGHT).vm(1, "hv-1"), 1);
    let (cloud, lost) = cloud.backup(1, "daily", Some(parent), "2026-11-18T01:00:10Z");
    {
        let state = &mut *cloud.wire.state();
        state.faults.fill_caches(&state.world);
        state.world.vms.get_mut(&vm_uuid(1)).unwrap().backups.remove(&lost);
    }
    fault(&cloud, Rule::new(Effect::HideDate));
    fault(&cloud, Rule::new(Effect::Drop).on(Operation::Create));
    // The reading that the create is decided on is right, the later ones are old.
    fault(&cloud, Rule::new(Effect::Stale { seconds: None }).on(Operation::ReadVm).after(1));
    let report = cloud.reconcile().await;
    assert!(cloud.asked("POST") >= 1, "{report:?}");
    assert_eq!(report.tally().created, 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_has_a_date_a_backup_that_an_old_reading_lacked_is_not_taken_for_the_new_one() {
    let mut cloud = Cloud::at(NIGHT).vm(1, "hv-1");
    cloud.policies = policies(FULL_ONLY);
    {
        let state = &mut *cloud.wire.state();
        state.faults.fill_caches(&state.world);
        state.world.list_limit_ms = Some(1);
    }
    let (cloud, _) = cloud.backup(1, "daily", None, "2026-11-15T01:00:00Z");
    next_upload(&cloud, 1, takes(600));
    fault(&cloud, Rule::new(Effect::HideDate));
    fault(&cloud, Rule::new(Effect::Stale { seconds: None }));
    let began = cloud.clock.now();
    let (report, ()) = tokio::join!(cloud.reconcile(), async {
        while cloud.backups(1).len() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
        cloud.wire.state().faults.rules.retain(|rule| !matches!(rule.effect, Effect::Stale { .. }));
    });
    assert_eq!((report.tally().created, cloud.backups(1).len()), (1, 2), "{report:?}");
    assert!((cloud.clock.now() - began).num_seconds() >= 600, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_person_deletes_hours_after_a_delete_is_no_alarm() {
    let (cloud, by_hand) = one_due().backup(1, "by hand", None, "2026-10-01T00:00:00Z");
    let (cloud, _) = cloud.backup(1, "daily", None, "2026-11-17T03:00:00Z");
    next_upload(&cloud, 1, takes(4 * 3600));
    let (report, ()) = tokio::join!(cloud.reconcile(), async {
        sleep(Duration::from_secs(2 * 3600)).await;
        let now_us = cloud.clock.now().timestamp_micros();
        cloud.wire.state().world.delete_cloud(vm_uuid(1), by_hand, now_us);
    });
    let tally = report.tally();
    assert_eq!((tally.created, tally.deleted_local, report.alarms.len()), (1, 2, 0), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_fifo_stamps_half_an_hour_ahead_is_done_with_a_warning_and_made_once() {
    let cloud = one_due();
    cloud.wire.state().server_ahead = TimeDelta::minutes(30);
    fault(&cloud, Rule::new(Effect::ShiftDate { seconds: -1_800 }));
    let report = cloud.reconcile().await;
    assert_eq!(report.tally().created, 1, "{report:?}");
    let message = &report.vms[0].steps[0].message;
    assert!(message.contains("stamps it 01:30:30") && message.contains("say 01:00:3"), "{message}");
    for _ in 0..4 {
        cloud.reconcile().await;
        sleep(Duration::from_secs(900)).await;
    }
    assert_eq!(cloud.asked("POST"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_stopped_after_an_unclear_answer_says_what_was_sent_and_is_not_known() {
    for (cloud, operation) in [(one_due(), Operation::Create), (with_leftovers(1), Operation::Delete)] {
        fault(&cloud, Rule::new(Effect::Drop).on(operation));
        let (report, ()) = tokio::join!(cloud.reconcile(), async {
            sleep(Duration::from_secs(5)).await;
            cloud.stop.cancel();
        });
        let step = &report.vms[0].steps[0];
        assert_eq!(step.ending, ActionOutcome::Unverified, "{report:?}");
        assert!(step.message.starts_with("a request was sent, to which FiFo gave no answer"), "{report:?}");
        assert!(step.message.contains("is not known"), "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_weekly_night_the_daily_goes_before_the_old_weekly() {
    let (cloud, [_, _, daily]) = mid_chain(Cloud::at("2026-11-22T01:00:30Z").vm(1, "hv-1"), 1);
    fault(&cloud, Rule::new(Effect::DropBody).on(Operation::Delete));
    let report = cloud.reconcile().await;
    assert_eq!(report.tally().created, 1, "{report:?}");
    let [alarm] = &report.alarms[..] else { panic!("{report:?}") };
    assert_eq!(alarm.gone, [backup_id(daily)], "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_pruned_by_a_request_that_was_delivered_twice_is_reported_as_pruned() {
    let (cloud, chains) = pruning(3);
    fault(&cloud, Rule::new(Effect::Twice).on(Operation::Delete));
    let report = cloud.reconcile().await;
    let tally = report.tally();
    assert_eq!((tally.deleted_cloud, tally.failed + tally.dropped + tally.left), (12, 0), "{report:?}");
    assert!(prunes(&cloud).iter().all(|asked| asked.status == Some(412)));
    all_kept(&cloud, &chains);
}

#[tokio::test(start_paused = true)]
async fn a_prune_that_fails_in_fifo_says_that_the_files_may_be_gone_and_the_third_vm_is_the_last() {
    for (status, text, within_s) in
        [(500, "its files may be gone", 300), (502, "its files may be gone", 300), (403, "backup_delete", 10)]
    {
        let (cloud, _) = pruning(6);
        let before = lists(&cloud);
        fault(&cloud, Rule::new(answer(status)).on(Operation::Delete));
        let began = Instant::now();
        let report = cloud.reconcile().await;
        assert_eq!(prunes(&cloud).len(), 3, "{status} {report:?}");
        assert!(began.elapsed() < Duration::from_secs(within_s), "{status} {:?}", began.elapsed());
        let messages: Vec<_> = report.vms.iter().flat_map(|vm| &vm.steps).map(|it| &it.message).collect();
        assert_eq!(messages.iter().filter(|it| it.contains(text) && !it.contains("alike")).count(), 3);
        if status == 403 {
            assert_eq!(lists(&cloud) - before, 2, "the plan's, and the one before the first prune");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_is_deleted_while_its_backups_are_is_said_once_and_holds_up_no_other() {
    let (cloud, _) = pruning(3);
    let (report, ()) = tokio::join!(cloud.reconcile(), async {
        after_prunes(&cloud, 2).await;
        let asked = prunes(&cloud);
        let vm = (1..=3).map(vm_uuid).find(|vm| asked[0].target.contains(&vm.to_string())).unwrap();
        cloud.wire.state().world.vms.remove(&vm);
    });
    let steps: Vec<_> = report.vms.iter().flat_map(|vm| &vm.steps).collect();
    assert_eq!(steps.iter().filter(|step| step.code == "vm_gone").count(), 1, "{report:?}");
    assert_eq!((report.tally().failed, report.alarms.len()), (1, 0), "{report:?}");
    assert!(report.tally().deleted_cloud >= 9, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn after_three_vms_whose_local_delete_failed_alike_no_other_is_sent_and_the_creates_go_on() {
    let mut cloud = Cloud::at(NIGHT);
    for n in 1..=6 {
        let daily;
        (cloud, [_, _, daily]) = mid_chain(cloud.vm(n, &format!("hv-{n}")), n);
        (cloud, _) = cloud.backup(n, "daily", Some(daily), "2026-11-17T03:00:00Z");
    }
    fault(&cloud, Rule::new(answer(500)).on(Operation::Delete));
    let tally = cloud.reconcile().await.tally();
    assert_eq!((tally.created, tally.failed, cloud.asked("DELETE")), (6, 3, 3), "{tally:?}");
}

#[tokio::test(start_paused = true)]
async fn no_retry_after_holds_a_run() {
    let cloud = one_due();
    let later = Effect::Answer { status: 429, retry_after_s: Some(86_400), location: None };
    fault(&cloud, Rule::new(later).on(Operation::Create));
    let began = Instant::now();
    let report = cloud.reconcile().await;
    assert_eq!(report.vms[0].steps[0].ending, ActionOutcome::Failed, "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_vm_is_read_again_after_a_wait_before_anything_is_sent() {
    // The delete that follows the first VM's upload waits for the second VM's, whose answer is late; meanwhile a person takes
    // a backup from the snapshot that is to go. Without versions no condition of FiFo's prevents anything.
    let (cloud, [_, _, daily]) = mid_chain(Cloud::at(NIGHT).vm(1, "hv-1"), 1);
    let (cloud, _) = mid_chain(cloud.vm(2, "hv-2"), 2);
    next_upload(&cloud, 1, takes(2));
    next_upload(&cloud, 2, takes(1));
    fault(&cloud, Rule::new(Effect::HideEtag));
    fault(&cloud, Rule::new(Effect::Delay { ms: 10_000 }).on(Operation::Delete).of_vm(vm_uuid(2)));
    let (report, ()) = tokio::join!(cloud.reconcile(), async {
        while times(&cloud, "DELETE").is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_secs(6)).await;
        let parent = Some(daily.to_string());
        let order = BackupRequest { comment: "by hand".to_owned(), parent, delete: false };
        let now_us = cloud.clock.now().timestamp_micros();
        next_upload(&cloud, 1, takes(3_600));
        cloud.wire.state().world.create_backup(vm_uuid(1), &order, now_us).unwrap();
    });
    assert_eq!(report.tally().created, 2, "{report:?}");
    let of_one = vm_uuid(1).to_string();
    let asked = cloud.wire.state().asked.clone();
    assert!(!asked.iter().any(|it| it.method == "DELETE" && it.target.contains(&of_one)), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_gets_its_slot_before_a_retry() {
    let mut cloud = one_due();
    (cloud, _) = mid_chain(cloud.vm(2, "hv-1"), 2);
    next_upload(&cloud, 1, UploadOutcome::Fail);
    (cloud, _) = cloud.backup(1, "daily", None, "2026-11-18T01:00:05Z");
    sleep(Duration::from_secs(2 * 3600)).await;
    cloud.settings.max_uploads = 1;
    assert_eq!(cloud.reconcile().await.tally().created, 2);
    let asked = cloud.wire.state().asked.clone();
    let first = asked.iter().find(|it| it.target.ends_with("/backups")).unwrap();
    assert!(first.target.contains(&vm_uuid(2).to_string()), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn slots_are_hardly_ever_idle() {
    // A thousand uploads that take no time, and two hundred of five seconds, of which eight run at once: 125 s at best.
    for (count, upload_ms, within) in [(1_000, 0, 130.0), (200, 5_000, 131.0)] {
        let mut cloud = Cloud::at(NIGHT);
        for n in 1..=count {
            cloud = cloud.vm(n, &format!("hv-{}", n % 16));
        }
        cloud.wire.state().world.upload_ms = upload_ms;
        let (plan, inventory) = cloud.plan().await;
        let began = Instant::now();
        let report = cloud.execute(&plan, &inventory).await;
        assert_eq!(report.tally().created, count as usize);
        assert!(began.elapsed().as_secs_f64() < within, "{count}: {:?}", began.elapsed());
    }
}
