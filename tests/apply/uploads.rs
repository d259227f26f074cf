//! How an upload is watched, and what is waited for once FiFo reports it as completed.

use crate::cloud::{Cloud, next_upload, vm_uuid};
use fifo_retain::apply::Clock as _;
use fifo_retain::plan::Status;
use fifo_retain::sandbox::{UploadOutcome, UploadScript};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A cloud in which one full backup is due.
fn with_upload(outcome: UploadOutcome) -> Cloud {
    let cloud = Cloud::at("2026-11-18T01:00:30Z").vm(1, "hv-1");
    next_upload(&cloud, 1, UploadScript::from(outcome));
    cloud
}

/// Executes what is due; returns the message of the create, and how many seconds the run took.
async fn create(cloud: &Cloud) -> (String, u64) {
    let began = Instant::now();
    let report = cloud.reconcile().await;
    assert_eq!(report.tally().created, 1, "{report:?}");
    (report.vms[0].steps[0].message.clone(), began.elapsed().as_secs())
}

const NO_CHECKSUM: &str = "; FiFo reports no checksum to verify it with";

#[tokio::test(start_paused = true)]
async fn an_upload_with_its_checksum_and_snapshot_is_done_at_once() {
    let (message, seconds) = create(&with_upload(UploadOutcome::Complete)).await;
    assert!(!message.contains("checksum"), "{message}");
    assert!(seconds < 10, "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn where_fifo_has_never_reported_checksums_a_create_does_not_fail_for_ever() {
    let cloud = with_upload(UploadOutcome::NoChecksums);
    let (message, seconds) = create(&cloud).await;
    assert!(message.ends_with(NO_CHECKSUM), "{message}");
    assert!((20..30).contains(&seconds), "{seconds} s");
    let plan = cloud.plan().await.0;
    assert_eq!(plan.vms[0].status, Status::UpToDate, "{plan:?}");
}

#[tokio::test(start_paused = true)]
async fn a_checksum_that_fifo_writes_after_the_rest_is_waited_for() {
    let cloud = with_upload(UploadOutcome::NoChecksums);
    let late = async {
        sleep(Duration::from_secs(15)).await;
        let world = &mut cloud.wire.state().world;
        world.advance(cloud.clock.now().timestamp_micros());
        let backup = world.vms.get_mut(&vm_uuid(1)).unwrap().backups.values_mut().next().unwrap();
        assert_eq!((backup.state.as_deref(), backup.local), (Some("completed"), Some(true)));
        backup.files.as_mut().unwrap().values_mut().for_each(|file| file.sha1 = Some("0".repeat(40)));
    };
    let ((message, seconds), ()) = tokio::join!(create(&cloud), late);
    assert!(!message.contains("checksum"), "{message}");
    assert!((15..20).contains(&seconds), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_hangs_asks_for_a_list_less_and_less_often() {
    let mut cloud = with_upload(UploadOutcome::Hang);
    cloud.settings.deadline = Some(Duration::from_secs(4 * 3600));
    cloud.reconcile().await;
    let asked = cloud.wire.state().asked.clone();
    let lists: Vec<_> =
        asked.iter().filter(|asked| asked.target.contains("full-list")).map(|asked| asked.at).collect();
    assert!((15..35).contains(&lists.len()), "{} in four hours", lists.len());
    let gap = lists[lists.len() - 1] - lists[lists.len() - 2];
    assert!((14..17).contains(&gap.num_minutes()), "{lists:?}");
}
