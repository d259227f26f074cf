//! The life of a backup, without API and sockets.

use super::super::routes::record_json;
use super::super::{ApiStyle, BackupRequest, EmptyMaps, Record, Refused, UploadScript};
use super::*;
use serde_json::Value;

const SECOND_US: i64 = 1_000_000;
const START_US: i64 = 1_795_383_402_000_000;

/// A cloud with one VM, whose uploads take a hundred seconds.
fn cloud() -> (World, Uuid) {
    let mut world = World::new(Shape::default(), 1);
    world.upload_ms = 100_000;
    world.measured_at_us = START_US;
    let id = world.new_uuid();
    world.vms.insert(id, Vm { full_bytes: 10 << 20, ..Vm::new("web-1", "hv-1") });
    (world, id)
}

fn at(seconds: i64) -> i64 {
    START_US + seconds * SECOND_US
}

fn full(comment: &str) -> BackupRequest {
    BackupRequest { comment: comment.to_owned(), ..BackupRequest::default() }
}

fn on(parent: Uuid) -> BackupRequest {
    BackupRequest { comment: "daily".to_owned(), parent: Some(parent.to_string()), delete: false }
}

/// Has a backup accepted at a second, and runs its upload to the end.
fn made(world: &mut World, vm: Uuid, order: &BackupRequest, second: i64) -> Uuid {
    world.advance(at(second));
    let backup = world.create_backup(vm, order, at(second)).unwrap();
    world.advance(at(second + 101));
    backup
}

fn record(world: &World, vm: Uuid, backup: Uuid) -> &Record {
    &world.vms[&vm].backups[&backup]
}

/// The keys that a record shows, in the style of 2016.
fn keys(world: &World, vm: Uuid, backup: Uuid) -> Vec<String> {
    let Value::Object(map) = record_json(record(world, vm, backup), world.shape) else { panic!() };
    map.keys().cloned().collect()
}

fn size(record: &Record) -> u64 {
    record.files.as_ref().unwrap().values().map(|file| file.size).sum()
}

#[test]
fn a_backup_shows_key_by_key_how_far_it_is() {
    let (mut world, vm) = cloud();
    let first = made(&mut world, vm, &full("monthly"), 0);
    let second = world.create_backup(vm, &on(first), at(200)).unwrap();

    assert_eq!(keys(&world, vm, second), ["comment", "pending", "timestamp"]);
    world.advance(at(200) + SECOND_US * 11 / 10);
    assert_eq!(keys(&world, vm, second), ["comment", "parent", "pending", "timestamp"]);
    world.advance(at(200) + SECOND_US * 13 / 10);
    assert_eq!(keys(&world, vm, second), ["comment", "parent", "pending", "state", "timestamp"]);
    world.advance(at(202));
    assert_eq!(keys(&world, vm, second), ["comment", "files", "parent", "pending", "state", "timestamp"]);
    assert_eq!(record(&world, vm, second).state.as_deref(), Some("uploading"));

    world.advance(at(300) - SECOND_US * 4 / 5);
    let file = record(&world, vm, second).files.as_ref().unwrap().values().next().unwrap();
    assert!(file.sha1.is_some());
    assert_eq!(record(&world, vm, second).state.as_deref(), Some("uploading"), "the checksum comes first");
    world.advance(at(300) - SECOND_US / 5);
    assert_eq!(record(&world, vm, second).state.as_deref(), Some("completed"));
    assert_eq!(record(&world, vm, second).xml, Some(true));
    assert_eq!(record(&world, vm, second).local, None, "that is written last");
    world.advance(at(300));
    assert_eq!(record(&world, vm, second).local, Some(true));
    assert_eq!(world.uploads.len(), 0);
}

#[test]
fn an_upload_grows_by_the_mebibyte_and_never_shrinks() {
    let (mut world, vm) = cloud();
    let backup = world.create_backup(vm, &full("monthly"), at(0)).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for second in 2..=100 {
        world.advance(at(second));
        seen.insert(size(record(&world, vm, backup)));
    }
    let every_mebibyte: Vec<u64> = (0..=10).map(|mebibytes| mebibytes << 20).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), every_mebibyte);
}

#[test]
fn looking_more_often_changes_nothing() {
    for outcome in [
        UploadOutcome::Complete,
        UploadOutcome::Fail,
        UploadOutcome::FailForgotten,
        UploadOutcome::Hang,
        UploadOutcome::Hollow,
    ] {
        let (mut world, vm) = cloud();
        world.outcome = outcome;
        world.create_backup(vm, &full("monthly"), at(0)).unwrap();
        let mut seldom = world.clone();
        for tenths in 0..1200 {
            world.advance(at(0) + tenths * SECOND_US / 10);
        }
        seldom.advance(at(0) + 1199 * SECOND_US / 10);
        assert_eq!(world, seldom, "{outcome:?}");
    }
}

#[test]
fn every_outcome_leaves_the_record_it_leaves_in_fifo() {
    let end = |outcome, style| {
        let (mut world, vm) = cloud();
        world.shape = Shape { style, empty_maps: EmptyMaps::Array };
        world.vms.get_mut(&vm).unwrap().scripts.push_back(outcome);
        let backup = made(&mut world, vm, &full("monthly"), 0);
        (record(&world, vm, backup).clone(), world.restorable_from_store(vm, backup))
    };
    let of = |outcome: UploadOutcome| end(UploadScript::from(outcome), ApiStyle::V3);

    let (completed, restorable) = of(UploadOutcome::Complete);
    assert_eq!(
        (completed.state.as_deref(), size(&completed), restorable),
        (Some("completed"), 10 << 20, true)
    );

    let (hollow, restorable) = of(UploadOutcome::Hollow);
    assert_eq!((hollow.state.as_deref(), size(&hollow), restorable), (Some("completed"), 51, false));
    assert!(hollow.files.as_ref().unwrap().values().all(|file| file.sha1.is_some()));

    let two_disks = |outcome| {
        let (mut world, vm) = cloud();
        world.vms.get_mut(&vm).unwrap().disks.push("-1".to_owned());
        world.outcome = outcome;
        let backup = made(&mut world, vm, &full("monthly"), 0);
        let sizes = record(&world, vm, backup).files.as_ref().unwrap().values().map(|file| file.size);
        (sizes.collect::<Vec<_>>(), world.restorable_from_store(vm, backup))
    };
    assert_eq!(two_disks(UploadOutcome::Complete), (vec![5 << 20, 5 << 20], true));
    assert_eq!(two_disks(UploadOutcome::HollowDisk), (vec![5 << 20, 51], false));

    let (failed, restorable) = of(UploadOutcome::Fail);
    assert_eq!((failed.state.as_deref(), failed.local, restorable), (Some("failed"), Some(true), false));
    assert!(failed.files.as_ref().unwrap().values().all(|file| file.sha1.is_none()));
    assert_eq!(failed.xml, None);
    assert_eq!(
        end(UploadScript::from(UploadOutcome::Fail), ApiStyle::V2).0.state.as_deref(),
        Some("upload failed")
    );

    let (forgotten, _) = of(UploadOutcome::FailForgotten);
    assert_eq!((forgotten.state.as_deref(), forgotten.local), (Some("failed"), None));

    let (hanging, _) = of(UploadOutcome::Hang);
    assert_eq!((hanging.state.as_deref(), hanging.local), (Some("uploading"), None));
    assert_eq!(size(&hanging), 4 << 20);

    let (never, _) = of(UploadOutcome::NeverStarts);
    assert_eq!((never.state, never.local, never.local_size), (None, None, None));

    let (snapshot_only, _) = of(UploadOutcome::SnapshotOnly);
    assert_eq!((snapshot_only.state, snapshot_only.local), (None, None));
    assert!(snapshot_only.local_size > Some(0));
}

#[test]
fn delete_true_removes_the_parent_even_when_the_upload_failed() {
    let (mut world, vm) = cloud();
    let parent = made(&mut world, vm, &full("monthly"), 0);
    world.outcome = UploadOutcome::Fail;
    let failed = made(&mut world, vm, &BackupRequest { delete: true, ..on(parent) }, 200);
    assert_eq!(record(&world, vm, parent).local, Some(false));
    assert_eq!(record(&world, vm, failed).local, Some(true));

    // FiFo takes an increment from the failed one, and says that it is completed. It can never be restored from store.
    world.outcome = UploadOutcome::Complete;
    let lost = made(&mut world, vm, &on(failed), 400);
    assert_eq!(record(&world, vm, lost).state.as_deref(), Some("completed"));
    assert!(world.restorable(vm, lost), "as long as a snapshot is there");
    assert!(!world.restorable_from_store(vm, lost));
    for backup in [failed, lost] {
        world.delete_local(vm, backup, at(600)).unwrap();
    }
    assert!(!world.restorable(vm, lost));
}

#[test]
fn a_local_delete_shows_at_once_and_the_snapshot_goes_a_little_later() {
    let (mut world, vm) = cloud();
    let backup = made(&mut world, vm, &full("monthly"), 0);
    world.delete_local(vm, backup, at(200)).unwrap();
    assert_eq!(
        (record(&world, vm, backup).local, record(&world, vm, backup).local_size),
        (Some(false), Some(0))
    );
    assert!(world.vms[&vm].snapshots.contains_key(&backup));
    world.advance(at(203));
    assert!(!world.vms[&vm].snapshots.contains_key(&backup));
    assert_eq!(world.delete_local(vm, backup, at(204)), Ok(()), "repeating it is harmless");
}

#[test]
fn a_snapshot_that_could_not_be_destroyed_shows_when_it_is_measured_again() {
    let (mut world, vm) = cloud();
    let backup = made(&mut world, vm, &full("monthly"), 0);
    world.vms.get_mut(&vm).unwrap().snapshots.get_mut(&backup).unwrap().pinned = true;
    world.delete_local(vm, backup, at(200)).unwrap();
    world.advance(at(899));
    assert_eq!(record(&world, vm, backup).local_size, Some(0));
    world.advance(at(900));
    assert_eq!(record(&world, vm, backup).local, Some(false));
    assert!(record(&world, vm, backup).local_size > Some(0));
}

#[test]
fn a_cloud_delete_takes_every_descendant_and_nothing_else() {
    let (mut world, vm) = cloud();
    let first = made(&mut world, vm, &full("monthly"), 0);
    let second = made(&mut world, vm, &on(first), 200);
    let third = made(&mut world, vm, &on(second), 400);
    let other = made(&mut world, vm, &full("monthly"), 600);
    assert_eq!(world.delete_cloud(vm, second, at(800)), BTreeSet::from([second, third]));
    world.advance(at(810));
    let left = &world.vms[&vm];
    assert_eq!(left.backups.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([first, other]));
    assert_eq!(left.stored.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([first, other]));
    assert_eq!(left.snapshots.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([first, other]));
}

#[test]
fn a_cloud_delete_without_a_hypervisor_leaves_records_that_look_whole_and_are_not() {
    let (mut world, vm) = cloud();
    let first = made(&mut world, vm, &full("monthly"), 0);
    let second = made(&mut world, vm, &on(first), 200);
    world.leave_hypervisor(vm, None);
    assert_eq!(world.vms[&vm].fields["state"], "stored");
    assert!(world.restorable(vm, second));
    world.delete_cloud(vm, first, at(400));
    assert_eq!(record(&world, vm, second).state.as_deref(), Some("completed"));
    assert!(!world.restorable(vm, first) && !world.restorable(vm, second));
}

#[test]
fn a_backup_deleted_while_it_uploads_comes_back_as_a_remnant() {
    let (mut world, vm) = cloud();
    let backup = world.create_backup(vm, &full("monthly"), at(0)).unwrap();
    world.advance(at(50));
    world.delete_cloud(vm, backup, at(50));
    assert!(!world.vms[&vm].backups.contains_key(&backup));
    world.advance(at(101));
    assert_eq!(keys(&world, vm, backup), ["files", "local", "state", "xml"]);
    assert_eq!(record(&world, vm, backup).state.as_deref(), Some("completed"));
}

#[test]
fn a_parent_that_is_being_sent_from_is_not_destroyed() {
    let (mut world, vm) = cloud();
    let parent = made(&mut world, vm, &full("monthly"), 0);
    world.create_backup(vm, &on(parent), at(200)).unwrap();
    world.delete_local(vm, parent, at(210)).unwrap();
    world.advance(at(400));
    assert!(world.vms[&vm].snapshots.contains_key(&parent), "and so is an orphan now");
}

#[test]
fn creates_are_refused_for_every_reason_fifo_has() {
    let (mut world, vm) = cloud();
    let parent = made(&mut world, vm, &full("monthly"), 0);
    world.delete_local(vm, parent, at(200)).unwrap();
    let nonsense = BackupRequest { parent: Some(String::new()), ..full("daily") };
    let no_vm = Uuid::nil();
    let refused = |world: &World, vm, order: &BackupRequest| {
        world.clone().create_backup(vm, order, at(201)).unwrap_err().0
    };
    assert_eq!(refused(&world, vm, &on(parent)), "the parent is not local");
    assert_eq!(refused(&world, vm, &nonsense), "the parent is not local");
    assert_eq!(refused(&world, no_vm, &full("")), "no such VM");
    for (change, why) in [
        ((|world, _| world.store_configured = false) as fn(&mut World, Uuid), "no backup store"),
        (|world, vm| world.leave_hypervisor(vm, None), "on no hypervisor"),
        (
            |world, vm| {
                let config = json!({"datasets": ["zones/x/data"]});
                world.vms.get_mut(&vm).unwrap().fields.insert("config".to_owned(), config);
            },
            "delegated datasets",
        ),
    ] {
        let mut changed = world.clone();
        change(&mut changed, vm);
        assert_eq!(refused(&changed, vm, &full("")), why);
    }
}

#[test]
fn an_agent_that_is_down_is_noticed_only_by_a_local_delete() {
    let (mut world, vm) = cloud();
    let backup = made(&mut world, vm, &full("monthly"), 0);
    world.agents_down.insert("hv-1".to_owned());
    let never = world.create_backup(vm, &full("monthly"), at(200)).unwrap();
    world.advance(at(5000));
    assert_eq!(record(&world, vm, never).state, None);
    assert_eq!(world.delete_local(vm, backup, at(5000)), Err(Refused("the agent is down")));
    world.delete_cloud(vm, backup, at(5000));
    world.advance(at(5010));
    assert!(!world.vms[&vm].backups.contains_key(&backup));
    assert!(world.vms[&vm].snapshots.contains_key(&backup), "left behind, unknown to FiFo");
}

#[test]
fn a_missing_parent_or_a_loop_is_no_path() {
    let (mut world, vm) = cloud();
    let first = made(&mut world, vm, &full("monthly"), 0);
    let second = made(&mut world, vm, &on(first), 200);
    for backup in [first, second] {
        world.delete_local(vm, backup, at(400)).unwrap();
    }
    world.advance(at(410));
    assert!(world.restorable(vm, second));

    let mut looped = world.clone();
    looped.vms.get_mut(&vm).unwrap().backups.get_mut(&first).unwrap().parent = Some(second);
    looped.vms.get_mut(&vm).unwrap().stored.get_mut(&first).unwrap().base = Some(second);
    assert!(!looped.restorable(vm, second));

    world.vms.get_mut(&vm).unwrap().backups.remove(&first);
    assert!(!world.restorable(vm, second));
}
