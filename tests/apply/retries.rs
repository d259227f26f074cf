//! A further attempt at a backup that has failed.

use crate::cloud::{Cloud, GRANDFATHER, backup_id, mid_chain, vm_uuid};
use fifo_retain::apply::{ActionKind, ActionOutcome, ActionRef, EventKind};
use fifo_retain::policy::{self, SourceFile};
use fifo_retain::sandbox::{UploadOutcome, UploadScript};

#[tokio::test(start_paused = true)]
async fn an_attempt_of_minutes_ago_is_not_taken_for_the_new_backup() {
    let mut cloud = Cloud::at("2026-11-18T01:30:00Z").vm(1, "hv-1");
    let text = format!("{GRANDFATHER}retry: {{ backoff: 5m }}\n");
    let file = SourceFile { name: "grandfather.yaml".to_owned(), bytes: text.into_bytes() };
    cloud.policies = policy::parse(&[file]).unwrap().policies;
    let (cloud, [_, _, daily]) = mid_chain(cloud, 1);
    let fails = UploadScript { outcome: UploadOutcome::Fail, ..UploadScript::default() };
    cloud.wire.state().world.vms.get_mut(&vm_uuid(1)).unwrap().scripts.push_back(fails);
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
