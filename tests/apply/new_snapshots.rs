//! The snapshot of the new backup, where no tier needs it: it goes last, and never without a good backup.

use crate::cloud::{Cloud, FULL_ONLY, next_upload, policies};
use fifo_retain::apply::{ActionKind, ActionOutcome, ActionRef, EventKind};
use fifo_retain::inventory::BackupId;
use fifo_retain::sandbox::UploadOutcome;

/// A VM of full backups only, whose last one failed and left the only copy of its moment: that waits for the new backup.
fn after_a_failure() -> Cloud {
    let mut cloud = Cloud::at("2026-11-18T01:30:00Z").vm(1, "hv-1");
    cloud.policies = policies(FULL_ONLY);
    next_upload(&cloud, 1, UploadOutcome::Fail);
    cloud.backup(1, "daily", None, "2026-11-17T01:00:00Z").0
}

/// The local deletes, in their order: of which backup, and how each ended.
fn deletes(cloud: &Cloud) -> Vec<(Option<BackupId>, ActionOutcome)> {
    let ended = cloud.events.all().into_iter().filter_map(|event| match event.what {
        EventKind::ActionEnded {
            step: ActionRef { kind: ActionKind::DeleteLocal, backup, .. },
            outcome,
            ..
        } => Some((backup, outcome)),
        _ => None,
    });
    ended.collect()
}

#[tokio::test(start_paused = true)]
async fn it_goes_after_all_others_once_the_new_backup_is_complete() {
    let cloud = after_a_failure();
    assert_eq!(cloud.backups(1), ["daily*"]);
    let report = cloud.reconcile().await;
    let tally = report.tally();
    assert_eq!((tally.created, tally.deleted_local, tally.failed + tally.dropped), (1, 2, 0), "{report:?}");
    assert_eq!(cloud.backups(1), ["daily", "daily"]);
    let created = cloud.events.all().into_iter().find_map(|event| match event.what {
        EventKind::ActionEnded { step: ActionRef { kind: ActionKind::Create, backup, .. }, .. } => backup,
        _ => None,
    });
    let deletes = deletes(&cloud);
    assert!(deletes[0].0.is_some() && deletes[0].0 != created, "{deletes:?}");
    assert_eq!(deletes[1], (created, ActionOutcome::Done));
    assert!(cloud.plan().await.0.vms.iter().all(|vm| vm.actions.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn when_the_new_backup_is_not_good_the_only_copy_stays() {
    for outcome in [UploadOutcome::Fail, UploadOutcome::Hollow] {
        let cloud = after_a_failure();
        next_upload(&cloud, 1, outcome);
        let report = cloud.reconcile().await;
        assert_eq!((report.tally().failed, report.tally().created), (1, 0), "{outcome:?}: {report:?}");
        assert_eq!(cloud.backups(1).last().unwrap(), "daily*", "{outcome:?}");
        assert!(!deletes(&cloud).contains(&(None, ActionOutcome::Done)), "{outcome:?}");
    }
}
