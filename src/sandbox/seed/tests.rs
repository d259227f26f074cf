use super::*;

/// Sunday, 22 November 2026, 20:00 UTC.
const SUNDAY_EVENING_US: i64 = 1_795_377_600_000_000;

fn vm<'a>(world: &'a World, alias: &str) -> (Uuid, &'a Vm) {
    let (id, vm) = world.vms.iter().find(|(_, vm)| vm.fields["alias"] == alias).unwrap();
    (*id, vm)
}

fn local_comments(vm: &Vm) -> Vec<&str> {
    let mut local: Vec<_> = vm.backups.values().filter(|record| record.local == Some(true)).collect();
    local.sort_by_key(|record| record.timestamp);
    local.iter().filter_map(|record| record.comment.as_deref()).collect()
}

#[test]
fn the_same_seed_at_the_same_instant_is_the_same_world_to_the_byte() {
    let seed = Seed { vms: 40, seed: 3 };
    let bytes = |seed| serde_json::to_vec(&World::seeded(seed, SUNDAY_EVENING_US)).unwrap();
    assert_eq!(bytes(seed), bytes(seed));
    assert_ne!(bytes(seed), bytes(Seed { seed: 4, ..seed }));
}

#[test]
fn every_history_is_there() {
    let world = World::seeded(Seed::default(), SUNDAY_EVENING_US);
    assert_eq!(world.vms.len(), 15);

    assert_eq!(local_comments(vm(&world, "web-1").1), ["weekly"], "tonight is a Sunday");
    assert!(vm(&world, "web-3").1.backups.is_empty());
    assert!(vm(&world, "files-1").1.has_delegated_datasets());
    assert_eq!(vm(&world, "app-2").1.hypervisor(), None);
    assert!(local_comments(vm(&world, "app-2").1).is_empty());
    assert!(vm(&world, "app-3").1.hypervisor().is_some());
    assert!(local_comments(vm(&world, "app-3").1).is_empty());
    assert_eq!(vm(&world, "scratch-1").1.fields["metadata"], json!({}));
    assert_eq!(vm(&world, "web-2").1.fields["metadata"], json!({"fifo": {"backup": "1"}}));
    assert_eq!(local_comments(vm(&world, "mail-1").1), ["weekly", "daily", "daily"], "one was not removed");
    assert_eq!(local_comments(vm(&world, "git-1").1), ["before upgrade", "weekly"]);
    assert_eq!(local_comments(vm(&world, "dwh-1").1), ["monthly", "weekly"]);
    assert_eq!(local_comments(vm(&world, "wiki-1").1), ["daily"]);

    let newest = |alias| vm(&world, alias).1.backups.values().max_by_key(|record| record.timestamp).unwrap();
    assert_eq!(newest("app-1").state.as_deref(), Some("failed"));
    assert_eq!(newest("build-1").state.as_deref(), Some("uploading"));
    assert!(newest("build-1").files.as_ref().unwrap().values().next().unwrap().size > 1 << 20);
    assert_eq!(newest("win-1").files.as_ref().unwrap().len(), 2);
}

#[test]
fn what_is_recorded_as_local_is_there_and_what_is_completed_can_be_restored() {
    let world = World::seeded(Seed { vms: 32, seed: 9 }, SUNDAY_EVENING_US);
    let mut completed = 0;
    for (id, vm) in &world.vms {
        for (backup, record) in &vm.backups {
            let is_local = record.local.unwrap_or(record.local_size > Some(0));
            assert_eq!(vm.snapshots.contains_key(backup), is_local, "{backup}");
            if record.state.as_deref() == Some("completed") {
                assert!(world.restorable_from_store(*id, *backup), "{backup}");
                completed += 1;
            }
        }
    }
    assert!(completed > 300, "{completed}");
}

#[test]
fn a_later_round_has_the_same_histories_under_other_names_and_ids() {
    let world = World::seeded(Seed { vms: 30, seed: 1 }, SUNDAY_EVENING_US);
    assert_eq!(world.vms.len(), 30);
    let ((first_id, first), (second_id, second)) = (vm(&world, "mail-1"), vm(&world, "mail-2"));
    assert_ne!(first_id, second_id);
    assert_eq!(second_id.get_version_num(), 4);
    assert_eq!(first.backups.len(), second.backups.len());
    assert!(first.backups.keys().all(|id| !second.backups.contains_key(id)));
    let name = second.backups.values().find_map(|record| record.files.as_ref()?.keys().next()).unwrap();
    assert!(name.starts_with(&second_id.to_string()), "{name}");
    assert_eq!(world.uploads.len(), 2);
}

#[test]
fn nothing_of_a_history_lies_ahead_whatever_the_instant() {
    for hours in 0..24 * 35 {
        let now_us = SUNDAY_EVENING_US + hours * HOUR_US;
        let world = World::seeded(Seed { vms: 1, seed: 1 }, now_us);
        let newest =
            world.vms.values().flat_map(|vm| vm.backups.values()).filter_map(|record| record.timestamp).max();
        let age_us = now_us - newest.unwrap();
        assert!((0..25 * HOUR_US).contains(&age_us), "after {hours} h");
    }
}

#[test]
fn what_waits_is_safe_meanwhile_at_any_hour() {
    // Every 17 hours: each hour of the day and each day of the week.
    for step in 0..50 {
        let now_us = SUNDAY_EVENING_US + step * 17 * HOUR_US;
        let world = World::seeded(Seed::default(), now_us);
        assert!(!world.uploads.is_empty(), "after {step} steps");
        for upload in world.uploads.values() {
            let backups = &world.vms[&upload.vm].backups;
            let whole = backups.iter().filter(|(id, _)| world.restorable_from_store(upload.vm, **id));
            let newest = whole.filter_map(|(_, record)| record.timestamp).max().unwrap();
            assert!(now_us - newest < 26 * HOUR_US, "after {step} steps");
        }
    }
}
