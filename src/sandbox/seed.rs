//! The first world: a file of VMs with the histories that people really have, played by the world's own rules.
//!
//! The scheme that people run by hand makes a `monthly` on the first, a `weekly` on Sundays and a `daily` on all other
//! nights, at 01:00 in Berlin.

use super::backups::BackupRequest;
use super::vm::{Record, UploadOutcome, UploadScript, Vm, object_name};
use super::world::{Shape, World};
use jiff::{Timestamp, ToSpan as _, civil::Weekday};
use serde::Deserialize;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use uuid::Uuid;

const GIB: u64 = 1 << 30;
const MINUTE_US: i64 = 60 * 1_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;

const UPLOAD_US: i64 = 9 * MINUTE_US;

const HYPERVISORS: [&str; 3] = [
    "5a1c1e66-2f3d-4b0e-9c57-0c8d5f1e7a01",
    "b7e4d9a0-86c1-4f7a-8a3e-3d2f6b9c4e02",
    "e03f7c52-1d9b-4c68-b5f4-92a7d8e6c103",
];

/// How a first world is made. The same values at the same instant give the same world, to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// How many VMs there are; after the last one of the file it begins again.
    pub vms: usize,
    pub seed: u64,
}

impl Default for Seed {
    fn default() -> Self {
        Self { vms: Histories::of_file().vms.len(), seed: 1 }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Histories {
    schemes: BTreeMap<String, BTreeMap<String, Run>>,
    vms: Vec<History>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Run {
    comment: String,
    /// The comments that the parent may have; none makes a full backup.
    from: Vec<String>,
    /// The comments whose newest snapshot goes afterwards.
    gone: Vec<String>,
    /// After how many days dailies are deleted from storage: those that hang on no weekly go as a whole.
    clear_days: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    name: String,
    gib: u64,
    scheme: String,
    fields: BTreeMap<String, Value>,
    #[serde(default)]
    events: Vec<(usize, Event)>,
}

/// What people and faults do to a VM around a night's run.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    /// Hours before it, a full backup with this comment is made.
    ByHand(String),
    Stored,
    Moved,
    Missed,
    Fails,
    DeletesLost,
    /// Some time after it, it is started once more: an upload of hours.
    StartedAgain,
}

impl Histories {
    fn of_file() -> Self {
        // A test reads it.
        serde_json::from_str(include_str!("first_world.json")).unwrap_or_default()
    }
}

impl World {
    /// Makes the first world as of an instant, in microseconds since the Unix epoch.
    pub fn seeded(seed: Seed, now_us: i64) -> Self {
        let mut world = Self::new(Shape::default(), seed.seed);
        let (upload_ms, nights, histories) = (world.upload_ms, nights(now_us), Histories::of_file());
        world.upload_ms = UPLOAD_US.unsigned_abs() / 1_000;
        // Sizes are not measured while the past is made, but once at its end.
        world.measured_at_us = i64::MAX;
        let (mut numbers, mut ids) = (BTreeMap::<&str, usize>::new(), Vec::new());
        for (index, history) in (0..seed.vms).zip(histories.vms.iter().cycle()) {
            let (kinds, number) = (histories.vms.len(), numbers.entry(&history.name).or_default());
            *number += 1;
            // Each history has UUIDs of its own. Its VMs share it, since playing takes its time.
            (world.seed, world.counter) = (random(seed.seed, index), 0);
            let id = match ids.get(index % kinds) {
                Some(first) => world.copy_vm(*first, mask(seed.seed, index / kinds)),
                None => Some(world.play(history, histories.schemes.get(&history.scheme), &nights, now_us)),
            };
            ids.extend(id);
            let Some(vm) = id.and_then(|id| world.vms.get_mut(&id)) else { continue };
            let alias = json!(format!("{}-{number}", history.name));
            if let Some(config) = vm.fields.get_mut("config") {
                config["alias"] = alias.clone();
            }
            vm.fields.insert("alias".to_owned(), alias);
            if vm.hypervisor().is_some() {
                vm.fields.insert("hypervisor".to_owned(), json!(HYPERVISORS[index % HYPERVISORS.len()]));
            }
        }
        world.measured_at_us = 0;
        world.advance(now_us);
        Self { seed: seed.seed, counter: 0, upload_ms, ..world }
    }

    fn play(
        &mut self,
        history: &History,
        scheme: Option<&BTreeMap<String, Run>>,
        nights: &[(&str, i64)],
        now_us: i64,
    ) -> Uuid {
        let mut vm = Vm::new("", HYPERVISORS[0])
            .with("owner", json!("1d3f5a7c-9b2e-4c6d-8f10-a2b4c6d8e0f1"))
            .with("package", json!("7c2a9e4b-6d1f-4f3a-b8e5-0f9d7c5b3a12"))
            .with("dataset", json!("9eac5c0c-a941-11e2-a7dc-57a6b041988f"));
        vm.fields.extend(history.fields.clone());
        if vm.fields.get("vm_type") == Some(&json!("kvm")) {
            vm.disks.push("-disk0".to_owned());
        }
        // Not all of one size, to the byte.
        vm.full_bytes = history.gib * GIB + self.seed % GIB;
        let id = self.new_uuid();
        self.vms.insert(id, vm);
        for (&(tier, at_us), ago) in nights.iter().zip((0..nights.len()).rev()) {
            let event = history.events.iter().find(|(at, _)| *at == ago).map(|(_, event)| event);
            let tier = if event == Some(&Event::Fails) { "daily" } else { tier };
            self.night(id, at_us, scheme.and_then(|scheme| scheme.get(tier)), event, now_us);
        }
        self.advance(now_us);
        id
    }

    /// Plays a night: the create, and when its upload is done, what goes.
    fn night(&mut self, id: Uuid, at_us: i64, run: Option<&Run>, event: Option<&Event>, now_us: i64) {
        let before_us = at_us - 9 * HOUR_US;
        self.advance(before_us);
        match event {
            Some(Event::ByHand(comment)) => _ = self.order(id, comment, None, before_us),
            Some(Event::Stored) => self.leave_hypervisor(id, None),
            Some(Event::Moved) => self.leave_hypervisor(id, Some(HYPERVISORS[1])),
            Some(Event::Missed) => return,
            Some(Event::Fails) => self.script(id, UploadOutcome::Fail, 40_000),
            Some(Event::DeletesLost | Event::StartedAgain) | None => {}
        }
        let Some(run) = run else { return };
        let newest = |comment: &String| self.newest_local(id, std::slice::from_ref(comment));
        let gone: Vec<Uuid> = run.gone.iter().filter_map(newest).collect();
        if !self.order(id, &run.comment, self.parent(id, &run.from), at_us) {
            return;
        }
        let done_us = at_us + UPLOAD_US;
        self.advance(done_us);
        if !matches!(event, Some(Event::Fails | Event::DeletesLost)) {
            for backup in gone {
                // On a hypervisor it cannot be refused.
                let _ = self.delete_local(id, backup, done_us);
            }
            if let Some(days) = run.clear_days {
                self.clear_dailies(id, at_us - days * 24 * HOUR_US + 12 * HOUR_US, done_us);
            }
        }
        if event == Some(&Event::StartedAgain) {
            let again_us = (now_us - 25 * MINUTE_US).max(done_us + MINUTE_US).min(now_us);
            self.script(id, UploadOutcome::Complete, 8 * 3_600_000);
            self.order(id, &run.comment, self.parent(id, &run.from), again_us);
        }
    }

    fn script(&mut self, id: Uuid, outcome: UploadOutcome, upload_ms: u64) {
        if let Some(vm) = self.vms.get_mut(&id) {
            vm.scripts.push_back(UploadScript { outcome, upload_ms: Some(upload_ms), size_bytes: None });
        }
    }

    fn order(&mut self, id: Uuid, comment: &str, parent: Option<String>, at_us: i64) -> bool {
        self.advance(at_us);
        let order = BackupRequest { comment: comment.to_owned(), parent, delete: false };
        self.create_backup(id, &order, at_us).is_ok()
    }

    /// The parent that the scripts name: where there is none of these comments, an empty one.
    fn parent(&self, id: Uuid, from: &[String]) -> Option<String> {
        let newest = || self.newest_local(id, from).map(|id| id.to_string());
        (!from.is_empty()).then(|| newest().unwrap_or_default())
    }

    fn newest_local(&self, id: Uuid, comments: &[String]) -> Option<Uuid> {
        let is_of = |record: &Record| record.comment.as_ref().is_some_and(|of| comments.contains(of));
        let local = self.vms.get(&id)?.backups.iter();
        let local = local.filter(|(_, record)| record.local == Some(true) && is_of(record));
        local.max_by_key(|(_, record)| record.timestamp).map(|(id, _)| *id)
    }

    /// Deletes the dailies from before an instant, files and all, as people do by hand.
    fn clear_dailies(&mut self, id: Uuid, before_us: i64, now_us: i64) {
        let Some(vm) = self.vms.get(&id) else { return };
        let is_old = |record: &Record| {
            record.comment.as_deref() == Some("daily") && record.timestamp.is_some_and(|at| at < before_us)
        };
        let old: Vec<Uuid> = vm.backups.iter().filter(|(_, it)| is_old(it)).map(|(id, _)| *id).collect();
        for backup in old {
            self.delete_cloud(id, backup, now_us);
        }
    }

    /// Adds a copy of a VM, with its backups and uploads, under other UUIDs: each is the old one with the bits of
    /// `mask` turned. Returns the copy's.
    pub fn copy_vm(&mut self, id: Uuid, mask: u128) -> Option<Uuid> {
        let other = |id: Uuid| Uuid::from_u128(id.as_u128() ^ mask);
        let mut vm = self.vms.get(&id)?.clone();
        (vm.backups, vm.stored) = (turned(vm.backups, other), turned(vm.stored, other));
        vm.snapshots = turned(vm.snapshots, other);
        for (backup, record) in &mut vm.backups {
            record.parent = record.parent.map(other);
            let names = vm.disks.iter().map(|disk| object_name(other(id), *backup, disk));
            record.files = record.files.take().map(|files| names.zip(files.into_values()).collect());
        }
        vm.stored.values_mut().for_each(|stored| stored.base = stored.base.map(other));
        let mut uploads = self.uploads.clone();
        uploads.retain(|_, upload| upload.vm == id);
        for upload in uploads.values_mut() {
            (upload.vm, upload.parent) = (other(id), upload.parent.map(other));
        }
        self.uploads.extend(turned(uploads, other));
        self.vms.insert(other(id), vm);
        Some(other(id))
    }
}

fn turned<T>(map: BTreeMap<Uuid, T>, other: impl Fn(Uuid) -> Uuid) -> BTreeMap<Uuid, T> {
    map.into_iter().map(|(id, it)| (other(id), it)).collect()
}

/// The nights from the first of last month on whose run is over by an instant, oldest first: the tier, and when the create
/// is accepted, in microseconds since the Unix epoch.
fn nights(now_us: i64) -> Vec<(&'static str, i64)> {
    let Ok(now) = Timestamp::from_microsecond(now_us).and_then(|now| now.in_tz("Europe/Berlin")) else {
        return Vec::new();
    };
    let first = now.date().first_of_month().saturating_sub(1.month());
    let days = first.series(1.day()).take_while(|day| *day <= now.date());
    let night = |day: jiff::civil::Date| {
        let due = day.at(1, 0, 0, 0).in_tz("Europe/Berlin").ok()?.timestamp().as_microsecond();
        let tier = match (day.day(), day.weekday()) {
            (1, _) => "monthly",
            (_, Weekday::Sunday) => "weekly",
            _ => "daily",
        };
        // Cron takes a little while to come to each VM.
        let at_us = due + 95 * 1_000_000;
        (at_us + UPLOAD_US + MINUTE_US <= now_us).then_some((tier, at_us))
    };
    days.filter_map(night).collect()
}

/// What the UUIDs of a later round differ by: never their version and variant.
fn mask(seed: u64, round: usize) -> u128 {
    let bits = random(seed, round + 1_000_000);
    (u128::from(bits >> 32) << 96) | u128::from(bits & 0xffff_ffff)
}

fn random(seed: u64, index: usize) -> u64 {
    let hash = Sha1::digest(format!("{seed}:{index}"));
    u64::from_be_bytes(std::array::from_fn(|at| hash[at]))
}

#[cfg(test)]
mod tests;
