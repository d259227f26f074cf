//! The scheme that people run by hand, as the first world's past has it: `monthly` on the first, `weekly` on Sundays,
//! `daily` on all other nights, at 01:00 in Berlin.

use super::backups::BackupRequest;
use super::nights::BackupNight;
use super::record::{Record, Snapshot};
use super::world::World;
use std::collections::BTreeMap;
use uuid::Uuid;

/// How long an upload takes in the past.
const UPLOAD_US: i64 = 9 * 60 * 1_000_000;

/// Runs the scheme on one night: the create, and when that is done, what it removes from the hypervisor.
pub(super) fn run(world: &mut World, vm: Uuid, night: BackupNight) {
    let parent = parent_of(world, vm, night.tier);
    let gone: Vec<Uuid> = match night.tier {
        "monthly" => [newest_local(world, vm, &["weekly"]), newest_local(world, vm, &["daily"])]
            .into_iter()
            .flatten()
            .collect(),
        "weekly" => parent.into_iter().chain(newest_local(world, vm, &["daily"])).collect(),
        _ => parent.into_iter().filter(|parent| comment(world, vm, *parent) == Some("daily")).collect(),
    };
    create(world, vm, night.tier, parent, night.at_us);
    remove_locally(world, vm, &gone, night.at_us);
}

/// Weeklies that are all taken on the month's full, which stays local for them.
pub(super) fn differential_night(world: &mut World, vm: Uuid, night: BackupNight) {
    let (parent, gone) = match night.tier {
        "monthly" => (None, [newest_local(world, vm, &["monthly"]), newest_local(world, vm, &["weekly"])]),
        "weekly" => (newest_local(world, vm, &["monthly"]), [newest_local(world, vm, &["weekly"]), None]),
        _ => return,
    };
    create(world, vm, night.tier, parent, night.at_us);
    remove_locally(world, vm, &gone.into_iter().flatten().collect::<Vec<_>>(), night.at_us);
}

/// A full backup that stays local in place of the one before it.
pub(super) fn full_night(world: &mut World, vm: Uuid, night: BackupNight) {
    let gone: Vec<Uuid> = newest_local(world, vm, &["daily"]).into_iter().collect();
    create(world, vm, "daily", None, night.at_us);
    remove_locally(world, vm, &gone, night.at_us);
}

/// Has a backup created at an instant of the past, and uploaded since, by the VM's next fate.
pub(super) fn create(world: &mut World, vm: Uuid, comment: &str, parent: Option<Uuid>, at_us: i64) {
    world.advance(at_us);
    world.upload_ms = UPLOAD_US.unsigned_abs() / 1_000;
    let order =
        BackupRequest { comment: comment.to_owned(), parent: parent.map(|id| id.to_string()), delete: false };
    // A create that FiFo refuses has left nothing behind.
    let _ = world.create_backup(vm, &order, at_us);
}

/// Removes snapshots when the upload that began at an instant is done: until then they may be in use.
fn remove_locally(world: &mut World, vm: Uuid, gone: &[Uuid], started_us: i64) {
    let done_us = started_us + UPLOAD_US;
    world.advance(done_us);
    for backup in gone {
        let _ = world.delete_local(vm, *backup, done_us);
    }
}

/// The parent that the scheme takes: for a weekly the newest local monthly or weekly, for a daily the newest local one.
pub(super) fn parent_of(world: &World, vm: Uuid, tier: &str) -> Option<Uuid> {
    match tier {
        "monthly" => None,
        "weekly" => newest_local(world, vm, &["monthly", "weekly"]),
        _ => newest_local(world, vm, &["monthly", "weekly", "daily"]),
    }
}

fn newest_local(world: &World, vm: Uuid, comments: &[&str]) -> Option<Uuid> {
    let backups = world.vms.get(&vm)?.backups.iter();
    let of_these =
        |record: &Record| record.comment.as_deref().is_some_and(|comment| comments.contains(&comment));
    let local = backups.filter(|(_, record)| record.local == Some(true) && of_these(record));
    local.max_by_key(|(_, record)| record.timestamp).map(|(id, _)| *id)
}

fn comment(world: &World, vm: Uuid, backup: Uuid) -> Option<&str> {
    world.vms.get(&vm)?.backups.get(&backup)?.comment.as_deref()
}

/// Clears away the dailies from before the last week but one, files and all, as people do by hand.
pub(super) fn clear_old_dailies(world: &mut World, vm: Uuid) {
    let Some(record) = world.vms.get(&vm) else { return };
    let mut weeklies: Vec<_> = timestamps(&record.backups, "weekly").collect();
    weeklies.sort_unstable();
    let Some((cut, _)) = weeklies.iter().rev().nth(1) else { return };
    let old: Vec<_> = timestamps(&record.backups, "daily").filter(|(at, _)| at < cut).collect();
    for (at_us, backup) in old {
        world.delete_cloud(vm, backup, at_us);
    }
}

/// Makes the newest daily but one local again, as if its local delete had never reached FiFo.
pub(super) fn lose_a_local_delete(world: &mut World, vm: Uuid) {
    let Some(record) = world.vms.get_mut(&vm) else { return };
    let mut dailies: Vec<_> = timestamps(&record.backups, "daily").collect();
    dailies.sort_unstable();
    let Some((_, backup)) = dailies.iter().rev().nth(1) else { return };
    let snapshot = Snapshot { bytes: record.full_bytes / 64, pinned: false };
    let backup = *backup;
    record.snapshots.insert(backup, snapshot);
    if let Some(record) = record.backups.get_mut(&backup) {
        record.local = Some(true);
    }
    world.destroys.retain(|(_, _, id)| *id != backup);
}

fn timestamps<'a>(
    backups: &'a BTreeMap<Uuid, Record>,
    comment: &'a str,
) -> impl Iterator<Item = (i64, Uuid)> + 'a {
    let of_it = backups.iter().filter(move |(_, record)| record.comment.as_deref() == Some(comment));
    of_it.filter_map(|(id, record)| Some((record.timestamp?, *id)))
}
