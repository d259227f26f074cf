//! A create is looked for rather than repeated, and is not done until it is good.

use crate::cloud::{
    Cloud, GRANDFATHER, answer, backup_id, fault, mid_chain, next_upload, policies, posts, takes, vm_uuid,
};
use fifo_retain::apply::{ActionKind, ActionOutcome, ActionRef, Clock as _, EventKind};
use fifo_retain::plan::Status;
use fifo_retain::sandbox::{BackupRequest, Effect, Operation, Record, Rule, UploadOutcome, UploadScript};
use std::time::Duration;
use tokio::time::timeout;

const NIGHT: &str = "2026-11-18T01:00:30Z";

fn one_due() -> Cloud {
    mid_chain(Cloud::at(NIGHT).vm(1, "hv-1"), 1).0
}

#[tokio::test(start_paused = true)]
async fn a_daily_is_made_and_its_parent_goes_after_it() {
    let cloud = one_due();
    let report = cloud.reconcile().await;
    assert_eq!(cloud.backups(1), ["monthly", "weekly*", "daily", "daily*"]);
    let tally = report.tally();
    assert_eq!((tally.created, tally.deleted_local, tally.failed), (1, 1, 0));
    assert!(cloud.plan().await.0.vms[0].actions.is_empty(), "planning again finds nothing");
    let asked = &cloud.wire.state().asked;
    let writes: Vec<_> = asked.iter().filter(|asked| asked.target.contains("/backups")).collect();
    assert!(writes.iter().all(|write| write.was_fresh));
    assert_eq!(writes[1].body, br#"{"location":"hypervisor"}"#);
}

#[tokio::test(start_paused = true)]
async fn an_unclear_answer_makes_no_second_backup_and_is_repeated_only_where_nothing_was_done() {
    let after_500 = Effect::ActThenAnswer { status: 500 };
    for (effect, times, created, posts) in [
        (Effect::ActThenDrop, 1, 1, 1),
        (Effect::Drop, 1, 1, 2),
        (after_500, 1, 1, 1),
        (answer(503), 2, 1, 3),
        // It would fail again.
        (answer(500), 1, 0, 1),
    ] {
        let cloud = one_due();
        fault(&cloud, Rule::new(effect.clone()).on(Operation::Create).times(times));
        let report = cloud.reconcile().await;
        assert_eq!((report.tally().created, cloud.asked("POST")), (created, posts), "{effect:?}: {report:?}");
        let done = ["monthly", "weekly*", "daily", "daily*"];
        let failed = ["monthly", "weekly*", "daily*"];
        assert_eq!(cloud.backups(1), if created > 0 { &done[..] } else { &failed[..] }, "{effect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn stale_reads_make_no_second_backup() {
    for seconds in [Some(2), None] {
        for effect in [Effect::ActThenDrop, Effect::ActThenAnswer { status: 500 }, Effect::Delay { ms: 1 }] {
            // A full backup leaves a stale reading behind for ever, an incremental one clears it.
            for due in [one_due(), Cloud::at(NIGHT).vm(1, "hv-1")] {
                let before = due.backups(1).len();
                fault(&due, Rule::new(Effect::Stale { seconds }));
                fault(&due, Rule::new(effect.clone()).on(Operation::Create).times(1));
                let report = due.reconcile().await;
                assert_eq!(report.tally().created, 1, "{seconds:?} {effect:?}: {report:?}");
                assert_eq!(due.backups(1).len(), before + 1, "{seconds:?} {effect:?}");
                assert_eq!(due.asked("POST"), 1, "{seconds:?} {effect:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_cache_that_is_stale_for_ever_the_next_night_goes_on() {
    let cloud = Cloud::at(NIGHT).vm(1, "hv-1");
    fault(&cloud, Rule::new(Effect::Stale { seconds: None }));
    assert_eq!(cloud.reconcile().await.tally().created, 1);
    tokio::time::advance(std::time::Duration::from_secs(86_400)).await;
    let report = cloud.reconcile().await;
    assert_eq!(report.tally().created, 1, "{report:?}");
    assert_eq!(cloud.backups(1), ["monthly*", "daily*"]);
}

#[tokio::test(start_paused = true)]
async fn two_runners_at_once_make_one_backup() {
    let cloud = one_due();
    let (plan, inventory) = cloud.plan().await;
    let (one, other) = tokio::join!(cloud.execute(&plan, &inventory), cloud.execute(&plan, &inventory));
    assert_eq!(one.tally().created + other.tally().created, 1, "{one:?} {other:?}");
    let second = if one.tally().created == 0 { one } else { other };
    assert_eq!((second.tally().failed, second.tally().dropped), (0, 0), "{second:?}");
    assert_eq!(second.vms[0].steps[0].code, "not_wanted", "{second:?}");
    assert_eq!(cloud.backups(1), ["monthly", "weekly*", "daily", "daily*"]);
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_changed_since_the_plan_is_left_out() {
    let cloud = one_due();
    let (plan, inventory) = cloud.plan().await;
    let (cloud, _) = cloud.backup(1, "by hand", None, "2026-11-18T00:59:00Z");
    let report = cloud.execute(&plan, &inventory).await;
    assert!(report.vms[0].steps.iter().all(|step| step.ending == ActionOutcome::Dropped), "{report:?}");
    assert_eq!((cloud.asked("POST"), cloud.asked("DELETE")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn only_a_good_backup_lets_its_parent_go() {
    for outcome in [
        UploadOutcome::Fail,
        UploadOutcome::FailForgotten,
        UploadOutcome::Hang,
        UploadOutcome::NeverStarts,
        UploadOutcome::SnapshotOnly,
    ] {
        let cloud = one_due();
        next_upload(&cloud, 1, outcome);
        let report = cloud.reconcile().await;
        assert_eq!((report.tally().created, report.tally().failed), (0, 1), "{outcome:?} {report:?}");
        assert_eq!(cloud.asked("DELETE"), 0, "{outcome:?}");
        let backups = cloud.backups(1);
        assert_eq!(backups[..3], ["monthly", "weekly*", "daily*"], "{outcome:?}");
    }
    let cloud = Cloud::at(NIGHT).vm(1, "hv-1");
    next_upload(&cloud, 1, UploadOutcome::Hollow);
    let report = cloud.reconcile().await;
    assert_eq!(report.vms[0].steps[0].code, "faulty", "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_create_that_is_not_due_by_fifos_clock_yet_is_left_to_the_next_run() {
    // FiFo's clock says 00:57:30: stamped now, the backup would not count for tonight, and the next run would make another.
    let (cloud, _) = one_due().backup(1, "daily", None, "2026-11-17T12:00:00Z");
    fault(&cloud, Rule::new(Effect::ShiftDate { seconds: -180 }));
    assert_eq!(cloud.reconcile().await.tally().failed, 0);
    assert_eq!(cloud.asked("POST"), 0);
    tokio::time::advance(std::time::Duration::from_secs(180)).await;
    assert_eq!(cloud.reconcile().await.tally().created, 1);
}

#[tokio::test(start_paused = true)]
async fn without_waiting_the_creates_are_started_and_the_rest_is_left() {
    let mut cloud = mid_chain(Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-1").vm(3, "hv-1"), 1).0;
    cloud.settings.wait = false;
    let report = cloud.reconcile().await;
    let tally = report.tally();
    assert_eq!((tally.started, tally.left, tally.created, tally.deleted_local), (2, 2, 0, 0), "{report:?}");
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    cloud.settings.wait = true;
    let tally = cloud.reconcile().await.tally();
    assert_eq!((tally.created, tally.deleted_local), (1, 1));
    assert!(cloud.plan().await.0.vms.iter().all(|vm| vm.actions.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_slower_than_the_search_for_it_is_taken_for_what_it_is() {
    let mut cloud = one_due();
    cloud.settings.timing.search = std::time::Duration::ZERO;
    fault(&cloud, Rule::new(Effect::Drop).on(Operation::Create).times(1));
    let vm = cloud.read().await.vms.into_values().next().unwrap();
    let parent = vm.backups.values().max_by_key(|backup| backup.timestamp).unwrap().id;
    let (report, ()) = tokio::join!(cloud.reconcile(), async {
        // FiFo comes to it right after the list has been read that does not have it.
        let was_searched = |asked: &[crate::transport::RequestRecord]| {
            let posted = asked.iter().position(|asked| asked.target.ends_with("/backups"));
            posted
                .is_some_and(|posted| asked[posted..].iter().any(|asked| asked.target.contains("full-list")))
        };
        while !was_searched(&cloud.wire.state().asked) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let order =
            BackupRequest { comment: "daily".to_owned(), parent: Some(parent.to_string()), delete: false };
        let now_us = cloud.clock.now().timestamp_micros();
        cloud.wire.state().world.create_backup(vm_uuid(1), &order, now_us).unwrap();
    });
    assert_eq!(report.tally().created, 1, "{report:?}");
    assert_eq!(report.tally().deleted_local, 1, "{report:?}");
    assert_eq!(cloud.asked("POST"), 1);
    assert_eq!(cloud.backups(1), ["monthly", "weekly*", "daily", "daily*"]);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_can_no_longer_be_watched_keeps_its_slot_until_it_has_ended() {
    let mut cloud = Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-1");
    cloud.settings.max_uploads = 1;
    next_upload(&cloud, 1, takes(600));
    let forbidden = answer(403);
    // The first reading goes before the create, the second finds the new backup; the watch is refused.
    fault(&cloud, Rule::new(forbidden).on(Operation::ReadVm).of_vm(vm_uuid(1)).after(2).times(1));
    let report = cloud.reconcile().await;
    assert_eq!(report.vms[0].steps[0].ending, ActionOutcome::Unverified, "{report:?}");
    assert_eq!(report.vms[1].steps[0].ending, ActionOutcome::Done, "{report:?}");
    let posts = posts(&cloud);
    assert!((posts[1] - posts[0]).num_seconds() >= 590, "{posts:?}");
}

#[tokio::test(start_paused = true)]
async fn an_accepted_create_that_cannot_be_found_keeps_its_slot_until_it_is_seen_to_have_ended() {
    let mut cloud = Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-1");
    cloud.settings.max_uploads = 1;
    next_upload(&cloud, 1, takes(600));
    let forbidden = || answer(403);
    // Nothing can be read of it after the create was sent, for as long as it is looked for.
    fault(&cloud, Rule::new(forbidden()).on(Operation::ReadVm).of_vm(vm_uuid(1)).after(1));
    fault(&cloud, Rule::new(forbidden()).on(Operation::List).after(1).times(5));
    let report = cloud.reconcile().await;
    assert_eq!(report.vms[0].steps[0].ending, ActionOutcome::Unverified, "{report:?}");
    assert_eq!(report.vms[1].steps[0].ending, ActionOutcome::Done, "{report:?}");
    let posts = posts(&cloud);
    let waited = (posts[1] - posts[0]).num_seconds();
    assert!((590..900).contains(&waited), "{posts:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_can_never_be_read_again_keeps_its_slot_no_longer_than_it_counts_as_running() {
    let cloud = Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-1");
    next_upload(&cloud, 1, UploadOutcome::Hang);
    let (mut cloud, _) = cloud.backup(1, "by hand", None, "2026-11-18T00:30:00Z");
    cloud.settings.max_uploads_per_hypervisor = 1;
    fault(&cloud, Rule::new(answer(403)).on(Operation::ReadVm).of_vm(vm_uuid(1)));
    let began = cloud.clock.now();
    let day = std::time::Duration::from_secs(24 * 3_600);
    let report = tokio::time::timeout(day, cloud.reconcile()).await.unwrap();
    assert_eq!(report.tally().created, 1, "{report:?}");
    let waited = posts(&cloud)[0] - began;
    assert!((11..13).contains(&waited.num_hours()), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn an_upload_with_a_date_in_the_future_holds_its_slot_no_longer_than_another() {
    let cloud = Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-1");
    next_upload(&cloud, 1, UploadOutcome::Hang);
    let (mut cloud, hanging) = cloud.backup(1, "by hand", None, "2026-11-18T00:30:00Z");
    let ahead_us = 40 * 24 * 3_600_000_000;
    let set_ahead = |record: &mut Record| record.timestamp = record.timestamp.map(|at_us| at_us + ahead_us);
    set_ahead(cloud.wire.state().world.vms.get_mut(&vm_uuid(1)).unwrap().backups.get_mut(&hanging).unwrap());
    cloud.settings.max_uploads_per_hypervisor = 1;
    let began = cloud.clock.now();
    let report = cloud.reconcile().await;
    assert_eq!(report.tally().created, 2, "{report:?}");
    assert!((cloud.clock.now() - began).num_hours() <= 12, "{}", cloud.clock.now() - began);
}

#[tokio::test(start_paused = true)]
async fn a_reading_too_old_to_show_an_upload_keeps_its_slot() {
    let cloud = Cloud::at(NIGHT).vm(1, "hv-1").vm(2, "hv-1");
    // A cache shows the first VM as it was before its full backup, for as long as nothing touches it.
    cloud.plan().await;
    fault(&cloud, Rule::new(Effect::Stale { seconds: None }));
    let mut cloud = cloud;
    cloud.settings.wait = false;
    cloud.settings.max_uploads = 1;
    next_upload(&cloud, 1, takes(600));
    assert_eq!(cloud.reconcile().await.tally().started, 1);
    cloud.settings.wait = true;
    assert_eq!(cloud.reconcile().await.tally().created, 1);
    let posts = posts(&cloud);
    assert!((posts[1] - posts[0]).num_seconds() >= 590, "{posts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_lost_its_parent_or_its_record_during_its_upload_is_not_reported_as_done() {
    // Right after the create, while FiFo has not yet noted down what it is an increment on; or later, so that a remnant stays.
    for (cloud, after_s, text) in [
        (one_due(), 0, "a restore of it needs, is missing"),
        (Cloud::at(NIGHT).vm(1, "hv-1"), 20, "has no timestamp"),
    ] {
        next_upload(&cloud, 1, UploadScript { size_bytes: Some(1 << 30), ..takes(60) });
        let (report, ()) = tokio::join!(cloud.reconcile(), async {
            while cloud.asked("POST") == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            tokio::time::sleep(std::time::Duration::from_secs(after_s)).await;
            let now_us = cloud.clock.now().timestamp_micros();
            let world = &mut cloud.wire.state().world;
            let backups = &world.vms[&vm_uuid(1)].backups;
            let monthly = backups.iter().find(|(_, record)| record.comment.as_deref() == Some("monthly"));
            let monthly = *monthly.unwrap().0;
            world.delete_cloud(vm_uuid(1), monthly, now_us);
        });
        let step = &report.vms[0].steps[0];
        assert_eq!(step.ending, ActionOutcome::Failed, "{report:?}");
        assert!(step.message.contains(text), "{}", step.message);
    }
}

/// A VM with a full backup that was started thirteen hours ago.
fn thirteen_hours_on(script: UploadScript) -> Cloud {
    let cloud = Cloud::at(NIGHT).vm(1, "hv-1");
    {
        let world = &mut cloud.wire.state().world;
        world.vms.get_mut(&vm_uuid(1)).unwrap().scripts.push_back(script);
        let order = BackupRequest { comment: "monthly".to_owned(), parent: None, delete: false };
        let taken_us = cloud.clock.now().timestamp_micros() - 13 * 3_600_000_000;
        world.create_backup(vm_uuid(1), &order, taken_us).unwrap();
    }
    cloud
}

#[tokio::test(start_paused = true)]
async fn a_healthy_upload_that_counts_as_stuck_gets_no_second_one_beside_it() {
    let hours_ms = 3_600_000;
    let slow = UploadScript {
        upload_ms: Some(20 * hours_ms),
        size_bytes: Some(100 << 30),
        ..UploadScript::default()
    };
    let cloud = thirteen_hours_on(slow);
    let report = cloud.reconcile().await;
    assert_eq!(cloud.asked("POST"), 0, "{report:?}");
    let step = &report.vms[0].steps[0];
    assert_eq!(step.ending, ActionOutcome::Dropped);
    assert!(step.message.contains("set `stuck_after` of policy grandfather to 1d4h"), "{}", step.message);
}

#[tokio::test(start_paused = true)]
async fn a_hung_upload_is_looked_at_for_a_minute_before_another_is_started() {
    let cloud = thirteen_hours_on(UploadScript::from(UploadOutcome::Hang));
    let began = cloud.clock.now();
    let report = cloud.reconcile().await;
    assert!(report.tally().created >= 1, "{report:?}");
    let posted = posts(&cloud)[0];
    assert!((60..75).contains(&(posted - began).num_seconds()), "{posted}");
}

/// Each node shows a hung upload that the other one does not know: each is looked at once.
#[tokio::test(start_paused = true)]
async fn hung_uploads_that_nodes_show_by_turns_do_not_hold_up_a_run() {
    let cloud = thirteen_hours_on(UploadScript::from(UploadOutcome::Hang));
    cloud.plan().await;
    {
        let state = &mut *cloud.wire.state();
        state.faults.nodes = 2;
        state.faults.fill_caches(&state.world);
        state.world.list_limit_ms = Some(1);
        let backups = &mut state.world.vms.get_mut(&vm_uuid(1)).unwrap().backups;
        let (_, hung) = backups.pop_first().unwrap();
        backups.insert(uuid::Uuid::from_u128(77), hung);
    }
    fault(&cloud, Rule::new(Effect::Stale { seconds: None }).at_node(1));
    let began = cloud.clock.now();
    let report = timeout(Duration::from_secs(3600), cloud.reconcile()).await.unwrap();
    let Some(first) = posts(&cloud).first().copied() else { panic!("{report:?}") };
    assert!((60..300).contains(&(first - began).num_seconds()), "{first} {report:?}");
}

/// The finding behind it: the run that made such a backup kept its parent's snapshot, and the next one deleted it.
#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_because_of_a_backup_without_checksums_by_this_run_or_the_next() {
    let cloud = one_due();
    next_upload(&cloud, 1, UploadOutcome::NoChecksums);
    let report = cloud.reconcile().await;
    assert_eq!((report.tally().failed, report.tally().deleted_local), (1, 0), "{report:?}");
    assert!(report.vms[0].steps[0].message.contains("no checksum"), "{:?}", report.vms[0].steps[0]);
    let next = cloud.reconcile().await;
    assert_eq!((next.tally().created, next.tally().deleted_local), (0, 0), "{next:?}");
    assert_eq!(cloud.plan().await.0.vms[0].status, Status::Waiting);
}

/// A run that begins a minute before the nightly due time makes up the night before, and is at it when the next is due.
#[tokio::test(start_paused = true)]
async fn what_becomes_due_during_a_run_does_not_keep_a_failed_monthly_from_being_made_up() {
    let mut cloud = Cloud::at("2026-11-03T00:59:30Z").vm(1, "hv-1");
    let lines = GRANDFATHER.lines().filter(|line| !line.contains("weekly"));
    cloud.policies = policies(&lines.collect::<Vec<_>>().join("\n"));
    let (cloud, october) = cloud.backup(1, "monthly", None, "2026-10-01T01:00:00Z");
    let (cloud, _) = cloud.backup(1, "daily", Some(october), "2026-10-31T01:00:00Z");
    let (cloud, failed) = cloud.backup(1, "monthly", None, "2026-11-02T00:59:30Z");
    let set_failed = |record: &mut Record| record.state = Some("failed".to_owned());
    set_failed(cloud.wire.state().world.vms.get_mut(&vm_uuid(1)).unwrap().backups.get_mut(&failed).unwrap());
    next_upload(&cloud, 1, takes(120));
    let report = cloud.reconcile().await;
    let made: Vec<_> = cloud.backups(1).into_iter().skip(3).collect();
    assert_eq!(
        (report.tally().created, &made[1..]),
        (2, &["monthly*".to_owned()][..]),
        "{made:?} {report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_backup_without_checksums_is_not_done_however_far_ahead_it_is_stamped() {
    let cloud = one_due();
    cloud.wire.state().world.stamps_ahead_s = 13 * 3600;
    next_upload(&cloud, 1, UploadOutcome::NoChecksums);
    let report = cloud.reconcile().await;
    assert_eq!((report.vms[0].steps[0].code, report.tally().deleted_local), ("unverified", 0), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_answer_a_refusal_does_not_claim_that_nothing_was_created() {
    let cloud = one_due();
    fault(&cloud, Rule::new(Effect::Drop).on(Operation::Create).times(1));
    let refused = answer(403);
    fault(&cloud, Rule::new(refused).on(Operation::Create).after(1));
    let report = cloud.reconcile().await;
    let message = &report.vms[0].steps[0].message;
    assert!(message.contains("403") && message.contains("may still take effect"), "{message}");
    assert!(message.contains(&format!("the permission `vms→{}→backup`", vm_uuid(1))), "{message}");
}

#[tokio::test(start_paused = true)]
async fn without_a_date_a_lost_create_is_found_however_far_fifos_clock_is_behind() {
    let cloud = one_due();
    cloud.wire.state().server_ahead = chrono::TimeDelta::hours(-5);
    fault(&cloud, Rule::new(Effect::HideDate));
    fault(&cloud, Rule::new(Effect::ActThenDrop).on(Operation::Create).times(1));
    cloud.reconcile().await;
    assert_eq!(cloud.asked("POST"), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_401_a_create_is_decided_again_before_it_is_sent_again() {
    let cloud = one_due();
    fault(&cloud, Rule::new(Effect::ExpireTokens).on(Operation::Create).times(1));
    assert_eq!(cloud.reconcile().await.tally().created, 1);
    let asked = cloud.wire.state().asked.clone();
    let sent: Vec<_> = (0..asked.len()).filter(|at| asked[*at].target.ends_with("/backups")).collect();
    let [first, second] = sent[..] else { panic!("{sent:?}") };
    let is_look = |at: usize| asked[at].method == "GET" && asked[at].target.contains("/vms/");
    assert!((first..second).any(is_look), "{asked:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_of_minutes_ago_is_not_taken_for_the_new_backup() {
    let mut cloud = Cloud::at("2026-11-18T01:30:00Z").vm(1, "hv-1");
    let text = format!("{GRANDFATHER}retry: {{ backoff: 5m }}\n");
    cloud.policies = policies(&text);
    let (cloud, [_, _, daily]) = mid_chain(cloud, 1);
    next_upload(&cloud, 1, UploadOutcome::Fail);
    // Of the same tier and on the same parent, and no older than the clocks may differ.
    let (cloud, failed) = cloud.backup(1, "daily", Some(daily), "2026-11-18T01:10:00Z");

    let report = cloud.reconcile().await;
    let create = &report.vms[0].steps;
    assert!(create.iter().any(|step| step.ending == ActionOutcome::Done), "{report:?}");
    let made: Vec<_> = (cloud.events.all().into_iter())
        .filter_map(|event| match event.what {
            EventKind::ActionEnded { step: ActionRef { kind: ActionKind::Create, backup, .. }, .. } => backup,
            _ => None,
        })
        .collect();
    assert_eq!(made.len(), 1);
    assert_ne!(made[0], backup_id(failed));
    assert_eq!(report.tally().created, 1, "{report:?}");
}
