use super::*;
use crate::inventory::{BackupId, MissingFileInfo, RecordedState};
use chrono::TimeDelta;
use http::StatusCode;
use uuid::Uuid;

const WRITE: WriteState = WriteState { kind: ActionKind::Create, is_open: false };

fn lines(reasons: impl IntoIterator<Item = StepError>) -> String {
    reasons.into_iter().map(|reason| format!("{reason}\n")).collect()
}

#[test]
fn a_write_that_fails_says_what_is_certain_about_its_effect() {
    let failed = |write, failure| StepError::Failed(FailureReason::Write { write, failure });
    let refused = |permission: Option<&str>| WriteFailure::Refused {
        status: StatusCode::FORBIDDEN,
        permission: permission.map(str::to_owned),
    };
    let texts = lines([
        failed(WRITE, refused(None)),
        failed(WriteState { kind: ActionKind::DeleteLocal, ..WRITE }, refused(Some("vms→1→backup_delete"))),
        failed(WriteState { is_open: true, ..WRITE }, WriteFailure::ChangedWithoutCondition),
        failed(WRITE, WriteFailure::Unauthorized),
        failed(WRITE, WriteFailure::TooMany),
        failed(WRITE, WriteFailure::NoRequest("no token".to_owned())),
    ]);
    insta::assert_snapshot!(texts, @r"
    FiFo refused the create with 403 Forbidden; nothing was created
    FiFo refused the delete with 403 Forbidden: the user needs the permission `vms→1→backup_delete`; nothing was deleted
    the create was answered with 412 although it was sent without If-Match: check the proxies between here and FiFo; an earlier request got no answer and may still take effect; the next run checks the result
    FiFo answers every create with 401, and accepts the same token elsewhere; nothing was created
    FiFo answers every create with 429 (too many requests); nothing was created
    nothing was created: no token
    ");
}

#[test]
fn a_write_without_a_clear_answer_says_what_was_seen() {
    let lost = || UnclearAnswer::Lost("timed out".to_owned());
    let failed = || UnclearAnswer::Failed(StatusCode::INTERNAL_SERVER_ERROR);
    let why = || "no list".to_owned();
    let texts = lines([
        StepError::Failed(FailureReason::NoNewBackup(lost())),
        StepError::Failed(FailureReason::NoNewBackup(failed())),
        StepError::Failed(FailureReason::DeleteNotSent(UnclearAnswer::NotSent("refused".to_owned()))),
        StepError::Failed(FailureReason::SnapshotStillThere(failed())),
        StepError::Unverified(UnverifiedReason::CreateNotListed),
        StepError::Unverified(UnverifiedReason::CreateUnknown(why())),
        StepError::Unverified(UnverifiedReason::CreateUnclear { answer: lost(), why: why() }),
        StepError::Unverified(UnverifiedReason::DeleteNoEffect),
        StepError::Unverified(UnverifiedReason::DeleteUnknown(why())),
        StepError::Unverified(UnverifiedReason::DeleteUnclear { answer: lost(), why: why() }),
    ]);
    insta::assert_snapshot!(texts, @r"
    create: FiFo gave no answer (timed out), and no new backup appeared; gave up after five attempts
    create: FiFo answered 500 Internal Server Error, and no new backup appeared; check the VM's hypervisor, its agent and the backup store
    FiFo could not be reached (refused); nothing was deleted
    FiFo answered 500 Internal Server Error, and the snapshot is still there; check the hypervisor's agent
    FiFo accepted the create, but lists no new backup; check the VM in FiFo
    FiFo accepted the create, but the result is unknown (no list); the next run checks it
    create: FiFo gave no answer (timed out), and the result is unknown (no list); the request is not repeated, the next run checks the result
    FiFo accepted the local delete, but the snapshot is still there; this run starts no more of them, the next run checks again
    FiFo accepted the local delete, but the result is unknown (no list); this run starts no more of them, the next run checks again
    FiFo gave no answer (timed out), and the result is unknown (no list); this run starts no more local deletes, the next run checks again
    ");
}

#[test]
fn an_action_that_is_dropped_says_why_nothing_was_done() {
    let backup = BackupId::new(Uuid::nil());
    let moving = |change| {
        StepError::Dropped(DropReason::NotStuck(MovingUpload {
            backup,
            change,
            stuck_after: TimeDelta::hours(12),
            policy: "prod".to_owned(),
            advised: TimeDelta::hours(28),
        }))
    };
    let closed = |reason| StepError::Dropped(DropReason::GateClosed(reason));
    let texts = lines([
        StepError::Dropped(DropReason::Moved),
        StepError::Dropped(DropReason::Changed),
        StepError::Dropped(DropReason::BackupNotNeeded),
        StepError::Dropped(DropReason::SnapshotNeeded),
        StepError::Dropped(DropReason::NotListed(backup)),
        closed(CloseReason::Vanished),
        closed(CloseReason::Unknown(backup)),
        closed(CloseReason::NoEffect(backup)),
        moving(UploadChange::Grew { from: 1 << 30, to: 2 << 30 }),
        moving(UploadChange::State { from: RecordedState::Accepted, to: RecordedState::Uploading }),
        StepError::HandedOver(HandOverReason::SlotsInUse),
        StepError::Interrupted(InterruptReason::NotSent),
    ]);
    insta::assert_snapshot!(texts, @r"
    nothing was done: the VM has moved to another hypervisor, where this run holds no slot; the next run plans it again
    nothing was done: the VM has changed since the plan; the next run plans it again
    nothing was done: in its present state the VM does not need this backup
    nothing was done: in its present state the VM needs this snapshot
    nothing was done: FiFo no longer lists backup 00000000-0000-0000-0000-000000000000
    nothing was done: this run starts no more local deletes, since backups have vanished
    nothing was done: this run starts no more local deletes, since the result of the one of backup 00000000-0000-0000-0000-000000000000 is unknown
    nothing was done: this run starts no more local deletes, since FiFo accepted the one of backup 00000000-0000-0000-0000-000000000000, but the snapshot is still there
    nothing was done: backup 00000000 is older than the 12h of `stuck_after` but not stuck, it grew from 1.0 GiB to 2.0 GiB between two readings; set `stuck_after` of policy prod to 1d4h, for example
    nothing was done: backup 00000000 is older than the 12h of `stuck_after` but not stuck, its state changed from accepted to uploading; set `stuck_after` of policy prod to 1d4h, for example
    nothing was done: all upload slots are in use; the next run tries again
    nothing was done: the run ended before this step
    ");
}

#[test]
fn a_delete_from_storage_says_what_became_of_the_backup() {
    let backup = BackupId::new(Uuid::nil());
    let taken = "2026-11-01T01:00:00Z".parse().unwrap();
    let done = [
        SuccessKind::Pruned { taken, bytes: Some(3 << 30) },
        SuccessKind::Pruned { taken, bytes: None },
        SuccessKind::AlreadyPruned { taken },
    ];
    let mut texts: String = done.map(|kind| format!("{}\n", StepSuccess { backup, kind })).concat();
    let write = WriteState { kind: ActionKind::DeleteCloud, ..WRITE };
    let not_found = WriteFailure::Refused { status: StatusCode::NOT_FOUND, permission: None };
    texts += &lines([
        StepError::Failed(FailureReason::StillStored(UnclearAnswer::Lost("timed out".to_owned()))),
        StepError::Failed(FailureReason::Write { write, failure: WriteFailure::AlwaysChanged }),
        StepError::Failed(FailureReason::Write { write, failure: not_found }),
        StepError::Unverified(UnverifiedReason::PruneNoEffect),
        StepError::Unverified(UnverifiedReason::PruneCutShort),
        StepError::Unverified(UnverifiedReason::PruneUnknown("no list".to_owned())),
        StepError::Unverified(UnverifiedReason::PruneUnclear {
            answer: UnclearAnswer::NotFound,
            why: "no list".to_owned(),
        }),
    ]);
    let kept = [
        KeepReason::Wanted,
        KeepReason::NotRequested,
        KeepReason::NoHypervisor,
        KeepReason::Local,
        KeepReason::Parent(backup),
        KeepReason::UnknownParent(backup),
        KeepReason::Young,
        KeepReason::NothingNewer,
        KeepReason::NoProof,
        KeepReason::EarlierFailed,
    ];
    texts += &lines(kept.map(|reason| StepError::Dropped(DropReason::Kept(reason))));
    let closed = [
        StorageClose::LocalDeletes(CloseReason::Unknown(backup)),
        StorageClose::Unknown(backup),
        StorageClose::StillThere(backup),
    ];
    texts += &lines(closed.map(|reason| StepError::Dropped(DropReason::StorageClosed(reason))));
    insta::assert_snapshot!(texts, @r"
    backup 00000000 of 2026-11-01 01:00 is deleted from storage (3.0 GiB)
    backup 00000000 of 2026-11-01 01:00 is deleted from storage (of unknown size)
    backup 00000000 of 2026-11-01 01:00 was already deleted from storage
    FiFo gave no answer (timed out), and the backup is still there; the next run tries again
    FiFo answered every delete with 412: the VM changes all the time, or a cache shows an old state of it; nothing was deleted
    FiFo refused the delete with 404 Not Found; nothing was deleted
    FiFo accepted the delete from storage, but the backup is still there; this run deletes nothing more from storage, the next run checks again
    the delete from storage was sent and got no clear answer, and the run ended before its effect was known; the next run checks again
    FiFo accepted the delete from storage, but the result is unknown (no list); this run deletes nothing more from storage, the next run checks again
    FiFo answered 404 Not Found, and the result is unknown (no list); this run deletes nothing more from storage, the next run checks again
    nothing was deleted: in its present state the VM needs this backup, or nothing of it may go now; the next run decides again
    nothing was deleted: policy and command do not both ask for it; the next run decides again
    nothing was deleted: the VM is on no hypervisor; the next run decides again
    nothing was deleted: its snapshot is on the hypervisor, or was until just now; the next run decides again
    nothing was deleted: backup 00000000-0000-0000-0000-000000000000 descends from it; the next run decides again
    nothing was deleted: backup 00000000-0000-0000-0000-000000000000 has not started, and may turn out to descend from it; the next run decides again
    nothing was deleted: it is less than an hour old by FiFo's clock; the next run decides again
    nothing was deleted: no newer backup of the VM can be restored; the next run decides again
    nothing was deleted: FiFo gives no version of the VM and truncates its list, so that what was read may be old; the next run decides again
    nothing was deleted: an earlier delete from storage of this VM has failed; the next run decides again
    nothing was deleted: this run deletes nothing more from storage, since it starts no more local deletes either: the result of the one of backup 00000000-0000-0000-0000-000000000000 is unknown
    nothing was deleted: this run deletes nothing more from storage, since the result of the delete of backup 00000000-0000-0000-0000-000000000000 is unknown
    nothing was deleted: this run deletes nothing more from storage, since FiFo accepted the delete of backup 00000000-0000-0000-0000-000000000000, which is still there
    ");
}

#[test]
fn a_backup_is_reported_with_its_size_or_what_is_wrong_with_it() {
    let backup = BackupId::new(Uuid::nil());
    let complete = |bytes, lacks| StepSuccess { backup, kind: SuccessKind::Complete { bytes, lacks } };
    let faulty = |fault| StepError::Failed(FailureReason::Faulty { backup, fault });
    let comment = |found| BackupFault::Comment { found, wanted: "daily".to_owned() };
    let mut texts: String = [
        complete(Some(3 << 30), None),
        complete(None, Some(MissingFact::Checksum)),
        complete(None, Some(MissingFact::LocalSnapshot)),
    ]
    .map(|success| format!("{success}\n"))
    .concat();
    texts += &lines([
        StepError::Failed(FailureReason::UploadFailed { backup, bytes: 1 << 30 }),
        StepError::Failed(FailureReason::UploadStuck { backup, bytes: 0 }),
        StepError::Failed(FailureReason::BackupVanished(backup)),
        StepError::Failed(FailureReason::VmVanished(backup)),
        faulty(comment(None)),
        faulty(comment(Some("other".to_owned()))),
        faulty(BackupFault::Parent { found: None, wanted: Some(backup) }),
        faulty(BackupFault::ParentsLoop(backup)),
        faulty(BackupFault::TinyFile { bytes: 50 }),
        faulty(BackupFault::BelowMinimum { bytes: 512, min: 1 << 20 }),
        faulty(BackupFault::Unverified(Some(MissingFileInfo::Files))),
        faulty(BackupFault::NotCompleted),
    ]);
    insta::assert_snapshot!(texts, @r"
    backup 00000000 is complete (3.0 GiB)
    backup 00000000 is complete (of unknown size); FiFo reports no checksum to verify it with
    backup 00000000 is complete (of unknown size); FiFo does not report its snapshot as local
    the upload of backup 00000000-0000-0000-0000-000000000000 failed after 1.0 GiB; check the hypervisor's agent and the backup store
    the upload of backup 00000000-0000-0000-0000-000000000000 is stuck at 0 B; check the hypervisor's agent and the backup store
    backup 00000000-0000-0000-0000-000000000000 has vanished during its upload; check in FiFo who deleted it
    the VM has vanished during the upload of backup 00000000-0000-0000-0000-000000000000
    FiFo reports backup 00000000-0000-0000-0000-000000000000 as completed, but its comment is none, not `daily`
    FiFo reports backup 00000000-0000-0000-0000-000000000000 as completed, but its comment is `other`, not `daily`
    FiFo reports backup 00000000-0000-0000-0000-000000000000 as completed, but its parent is none, not 00000000-0000-0000-0000-000000000000
    FiFo reports backup 00000000-0000-0000-0000-000000000000 as completed, but its chain of parents loops at backup 00000000-0000-0000-0000-000000000000
    FiFo reports backup 00000000-0000-0000-0000-000000000000 as completed, but one of its stored files has only 50 B, too little for a stream: the export probably failed
    FiFo reports backup 00000000-0000-0000-0000-000000000000 as completed, but its size of 512 B is below the minimum of 1.0 MiB that the policy sets for a full backup: the export probably failed
    FiFo reports backup 00000000-0000-0000-0000-000000000000 as completed, but FiFo lists no stored file, unlike for earlier backups
    FiFo reports backup 00000000-0000-0000-0000-000000000000 as completed, but it is no longer completed
    ");
}
