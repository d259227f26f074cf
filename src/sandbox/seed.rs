//! The first world: about a dozen VMs with the histories that people really have.

use super::history;
use super::nights::{self, BackupNight};
use super::record::{UploadOutcome, UploadScript, object_name};
use super::vm::Vm;
use super::world::{Shape, World};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use uuid::Uuid;

const GIB: u64 = 1 << 30;
const MINUTE_US: i64 = 60 * 1_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;

const HYPERVISORS: [&str; 3] = [
    "5a1c1e66-2f3d-4b0e-9c57-0c8d5f1e7a01",
    "b7e4d9a0-86c1-4f7a-8a3e-3d2f6b9c4e02",
    "e03f7c52-1d9b-4c68-b5f4-92a7d8e6c103",
];

/// How a first world is made. The same values at the same instant give the same world, to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// How many VMs there are; past the patterns that there are, they begin again.
    pub vms: usize,
    /// What all UUIDs and sizes come from.
    pub seed: u64,
}

impl Default for Seed {
    /// One VM of every pattern.
    fn default() -> Self {
        Self { vms: PATTERNS.len(), seed: 1 }
    }
}

/// A kind of VM, by what it is called and what happened to it.
struct Pattern {
    name: &'static str,
    case: Case,
    metadata: &'static str,
    full_gib: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// The scheme has run every night.
    Regular,
    /// It was made today; nothing has ever run.
    BrandNew,
    /// Last night a daily failed: of whatever else is due, one backup tonight does for it.
    FailedLastNight,
    /// It was taken off its hypervisor some days ago.
    Stored,
    /// Delegated datasets: every create was refused.
    Delegated,
    /// It was moved to another hypervisor yesterday, and last night's create was refused for want of a local parent.
    Moved,
    /// It is not marked for backup; one was made by hand.
    Unmarked,
    /// Last night's run did not take place, and a local delete before that got lost.
    MissedLastNight,
    /// There is a manual backup from before an upgrade.
    HandMade,
    /// A backup is being uploaded.
    Uploading,
    /// A KVM guest with two disks.
    Kvm,
    /// A full backup every night.
    FullEveryNight,
    /// Only the month's full and weeklies on it.
    Differential,
}

const fn pattern(name: &'static str, case: Case, metadata: &'static str, full_gib: u64) -> Pattern {
    Pattern { name, case, metadata, full_gib }
}

const MARKED: &str = r#"{"fifo": {"backup": 1}}"#;

const PATTERNS: [Pattern; 15] = [
    pattern("web", Case::Regular, MARKED, 6),
    pattern("web", Case::Regular, r#"{"fifo": {"backup": "1"}}"#, 6),
    pattern("web", Case::BrandNew, MARKED, 5),
    pattern("app", Case::FailedLastNight, MARKED, 12),
    pattern("app", Case::Stored, MARKED, 9),
    pattern("files", Case::Delegated, MARKED, 40),
    pattern("app", Case::Moved, MARKED, 11),
    pattern("scratch", Case::Unmarked, "{}", 3),
    pattern("mail", Case::MissedLastNight, MARKED, 24),
    pattern("git", Case::HandMade, MARKED, 18),
    pattern("build", Case::Uploading, MARKED, 30),
    pattern("win", Case::Kvm, MARKED, 32),
    pattern("db", Case::MissedLastNight, r#"{"fifo": {"backup": 1, "policy": "databases"}}"#, 48),
    pattern("wiki", Case::FullEveryNight, r#"{"fifo": {"policy": "daily-full"}}"#, 1),
    pattern("dwh", Case::Differential, r#"{"fifo": {"policy": "differential"}}"#, 64),
];

impl World {
    /// Makes the first world as of an instant, in microseconds since the Unix epoch.
    ///
    /// The comments are the tiers' names of the scheme that people run by hand (`monthly`, `weekly`, `daily`), at
    /// 01:00 in Berlin, and every history is what that scheme would have left behind.
    pub fn seeded(seed: Seed, now_us: i64) -> Self {
        let mut world = Self::new(Shape::default(), seed.seed);
        let models: Vec<World> = PATTERNS
            .iter()
            .take(seed.vms)
            .zip(0..)
            .map(|(pattern, index)| model(pattern, number(seed.seed, index), now_us))
            .collect();
        let mut numbers = BTreeMap::<&str, usize>::new();
        for (index, (pattern, model)) in (0..seed.vms).zip(PATTERNS.iter().zip(&models).cycle()) {
            let number = numbers.entry(pattern.name).or_default();
            *number += 1;
            let alias = format!("{}-{number}", pattern.name);
            let round = index / PATTERNS.len();
            world.adopt(model, &alias, HYPERVISORS[index % HYPERVISORS.len()], round, seed.seed);
        }
        world.measured_at_us = now_us;
        world
    }

    /// Takes over what there is in a model world, under another name and, after the first round, other UUIDs.
    fn adopt(&mut self, model: &World, alias: &str, hypervisor: &str, round: usize, seed: u64) {
        let mask = if round == 0 { 0 } else { mask(seed, round) };
        let other = |uuid: Uuid| Uuid::from_u128(uuid.as_u128() ^ mask);
        for (id, vm) in &model.vms {
            let mut vm = vm.clone();
            vm.fields.insert("alias".to_owned(), json!(alias));
            if let Some(Value::Object(config)) = vm.fields.get_mut("config") {
                config.insert("alias".to_owned(), json!(alias));
            }
            if vm.hypervisor().is_some() {
                vm.fields.insert("hypervisor".to_owned(), json!(hypervisor));
            }
            vm.backups = vm.backups.into_iter().map(|(id, record)| (other(id), record)).collect();
            for (backup, record) in &mut vm.backups {
                record.parent = record.parent.map(other);
                if let Some(files) = record.files.take() {
                    let names = vm.disks.iter().map(|disk| object_name(other(*id), *backup, disk));
                    record.files = Some(names.zip(files.into_values()).collect());
                }
            }
            vm.snapshots = vm.snapshots.into_iter().map(|(id, snapshot)| (other(id), snapshot)).collect();
            vm.stored = vm.stored.into_iter().map(|(id, stored)| (other(id), stored)).collect();
            for stored in vm.stored.values_mut() {
                stored.base = stored.base.map(other);
            }
            self.vms.insert(other(*id), vm);
        }
        for (id, upload) in &model.uploads {
            let mut upload = upload.clone();
            upload.vm = other(upload.vm);
            upload.parent = upload.parent.map(other);
            self.uploads.insert(other(*id), upload);
        }
    }
}

/// Makes a small world with one VM, and lets happen what its case says.
fn model(pattern: &Pattern, seed: u64, now_us: i64) -> World {
    let mut world = World::new(Shape::default(), seed);
    // Sizes are not measured while the past is made, but once at its end.
    world.measured_at_us = i64::MAX;
    let vm = world.new_uuid();
    world.vms.insert(vm, blank(pattern, seed));
    let mut nights = nights::nights_before(now_us);
    let last = nights.pop();

    match pattern.case {
        Case::BrandNew | Case::Delegated => {}
        Case::Unmarked => {
            let before_us = nights.last().map_or(now_us, |night| night.at_us);
            history::create(&mut world, vm, "before the move", None, before_us - 9 * HOUR_US);
        }
        Case::FullEveryNight => {
            let newest = nights.len().saturating_sub(9);
            for night in nights.iter().skip(newest).chain(&last) {
                history::full_night(&mut world, vm, *night);
            }
        }
        Case::Differential => {
            for night in nights.iter().chain(&last) {
                history::differential_night(&mut world, vm, *night);
            }
        }
        Case::Stored => regular(&mut world, vm, &nights[..nights.len().saturating_sub(4)]),
        _ => regular(&mut world, vm, &nights),
    }
    if let Some(last) = last {
        last_night(&mut world, vm, pattern.case, last, now_us);
    }
    world.advance(now_us);
    world.measured_at_us = 0;
    world.advance(now_us);
    world
}

/// The scheme's nights, without the dailies that were cleared away by hand.
fn regular(world: &mut World, vm: Uuid, nights: &[BackupNight]) {
    for night in nights {
        history::run(world, vm, *night);
    }
    history::clear_old_dailies(world, vm);
}

/// What happened last night, and since.
fn last_night(world: &mut World, vm: Uuid, case: Case, night: BackupNight, now_us: i64) {
    match case {
        Case::Regular | Case::Kvm => history::run(world, vm, night),
        Case::HandMade => {
            let by_hand_us = night.at_us - 9 * HOUR_US;
            history::create(world, vm, "before upgrade", None, by_hand_us);
            history::run(world, vm, night);
        }
        Case::FailedLastNight => {
            let fate =
                UploadScript { outcome: UploadOutcome::Fail, upload_ms: Some(40_000), size_bytes: None };
            create_as(world, vm, fate, "daily", night.at_us);
        }
        Case::Stored => world.leave_hypervisor(vm, None),
        Case::Moved => world.leave_hypervisor(vm, Some(HYPERVISORS[0])),
        Case::MissedLastNight => history::lose_a_local_delete(world, vm),
        Case::Uploading => {
            // Last night's run came to it late, and has hours to go.
            let started_us = (now_us - 25 * MINUTE_US).max(night.at_us);
            let fate = UploadScript {
                outcome: UploadOutcome::Complete,
                upload_ms: Some(8 * 3_600_000),
                size_bytes: None,
            };
            create_as(world, vm, fate, night.tier, started_us);
        }
        Case::BrandNew | Case::Delegated | Case::Unmarked | Case::FullEveryNight | Case::Differential => {}
    }
}

/// Runs the scheme's create of a tier with a given outcome.
fn create_as(world: &mut World, vm: Uuid, fate: UploadScript, tier: &str, at_us: i64) {
    if let Some(vm) = world.vms.get_mut(&vm) {
        vm.fates.push_back(fate);
    }
    history::create(world, vm, tier, history::parent_of(world, vm, tier), at_us);
}

fn blank(pattern: &Pattern, seed: u64) -> Vm {
    let mut vm = Vm::new(pattern.name, HYPERVISORS[0])
        .with("metadata", serde_json::from_str(pattern.metadata).unwrap_or(Value::Null))
        .with("owner", json!("1d3f5a7c-9b2e-4c6d-8f10-a2b4c6d8e0f1"))
        .with("package", json!("7c2a9e4b-6d1f-4f3a-b8e5-0f9d7c5b3a12"))
        .with("dataset", json!("9eac5c0c-a941-11e2-a7dc-57a6b041988f"));
    match pattern.case {
        Case::Delegated => {
            let config = json!({"alias": pattern.name, "datasets": ["zones/files/data"]});
            vm = vm.with("config", config);
        }
        Case::Kvm => {
            let config = json!({"alias": pattern.name, "type": "kvm"});
            vm = vm.with("config", config).with("vm_type", json!("kvm"));
            vm.disks.push("-disk0".to_owned());
        }
        _ => {}
    }
    // Not all of one size, to the byte.
    vm.full_bytes = pattern.full_gib * GIB + seed % GIB;
    vm
}

/// A number of its own for each model.
fn number(seed: u64, index: u64) -> u64 {
    u64::from_be_bytes(hash(seed, index))
}

/// What the UUIDs of a later round differ by: never their version and variant.
fn mask(seed: u64, round: usize) -> u128 {
    let bits = u64::from_be_bytes(hash(seed, u64::try_from(round).unwrap_or(u64::MAX) + 1_000_000));
    (u128::from(bits >> 32) << 96) | u128::from(bits & 0xffff_ffff)
}

fn hash(seed: u64, index: u64) -> [u8; 8] {
    let hash = Sha1::digest(format!("{seed}:{index}"));
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash[..8]);
    bytes
}

#[cfg(test)]
mod tests;
