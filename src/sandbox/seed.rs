//! The first world: a table of VMs with the histories that people really have, played by the world's own rules.
//!
//! The scheme that people run by hand makes a `monthly` on the first, a `weekly` on Sundays and a `daily` on all other
//! nights, at 01:00 in Berlin.

use super::backups::BackupRequest;
use super::script::{UploadOutcome, UploadScript};
use super::vm::{Record, Vm, object_name};
use super::world::{Shape, World};
use jiff::{Timestamp, ToSpan as _, civil::Weekday};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use uuid::Uuid;

const GIB: u64 = 1 << 30;
const MINUTE_US: i64 = 60 * 1_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;

/// How long an upload takes in the past.
const UPLOAD_US: i64 = 9 * MINUTE_US;

const HYPERVISORS: [&str; 3] = [
    "5a1c1e66-2f3d-4b0e-9c57-0c8d5f1e7a01",
    "b7e4d9a0-86c1-4f7a-8a3e-3d2f6b9c4e02",
    "e03f7c52-1d9b-4c68-b5f4-92a7d8e6c103",
];

/// How a first world is made. The same values at the same instant give the same world, to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// How many VMs there are; past the end of the table, it begins again.
    pub vms: usize,
    /// What all UUIDs and sizes come from.
    pub seed: u64,
}

impl Default for Seed {
    /// One VM of every kind.
    fn default() -> Self {
        Self { vms: SCRIPTS.len(), seed: 1 }
    }
}

/// What a VM is, which scheme runs on it every night, and what else happened, each so many nights ago.
type Script = (&'static str, u64, &'static str, Scheme, &'static [(usize, Event)]);

const MARKED: &str = r#"{"metadata": {"fifo": {"backup": 1}}}"#;

/// Name, size in GiB, fields, scheme, events.
const SCRIPTS: [Script; 15] = [
    ("web", 6, MARKED, Scheme::Grandfather, &[]),
    ("web", 6, r#"{"metadata": {"fifo": {"backup": "1"}}}"#, Scheme::Grandfather, &[]),
    ("web", 5, MARKED, Scheme::Nothing, &[]),
    ("app", 12, MARKED, Scheme::Grandfather, &[(0, Event::Fails)]),
    ("app", 9, MARKED, Scheme::Grandfather, &[(4, Event::Stored)]),
    // With delegated datasets, every create is refused.
    (
        "files",
        40,
        r#"{"metadata": {"fifo": {"backup": 1}}, "config": {"datasets": ["zones/files/data"]}}"#,
        Scheme::Grandfather,
        &[],
    ),
    ("app", 11, MARKED, Scheme::Grandfather, &[(0, Event::Moved)]),
    ("scratch", 3, r#"{"metadata": {}}"#, Scheme::Nothing, &[(1, Event::ByHand("before the move"))]),
    ("mail", 24, MARKED, Scheme::Grandfather, &[(1, Event::DeletesLost), (0, Event::Missed)]),
    ("git", 18, MARKED, Scheme::Grandfather, &[(0, Event::ByHand("before upgrade"))]),
    ("build", 30, MARKED, Scheme::Grandfather, &[(0, Event::StartedAgain)]),
    (
        "win",
        32,
        r#"{"metadata": {"fifo": {"backup": 1}}, "config": {"type": "kvm"}, "vm_type": "kvm"}"#,
        Scheme::Grandfather,
        &[],
    ),
    (
        "db",
        48,
        r#"{"metadata": {"fifo": {"backup": 1, "policy": "databases"}}}"#,
        Scheme::Grandfather,
        &[(1, Event::DeletesLost), (0, Event::Missed)],
    ),
    ("wiki", 1, r#"{"metadata": {"fifo": {"policy": "daily-full"}}}"#, Scheme::DailyFull, &[]),
    ("dwh", 64, r#"{"metadata": {"fifo": {"policy": "differential"}}}"#, Scheme::Differential, &[]),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Nothing,
    Grandfather,
    /// Weeklies that are all taken on the month's full one, which stays local for them.
    Differential,
    /// A full backup every night, which stays local in place of the one before.
    DailyFull,
}

/// What people and faults do to a VM around a night's run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    /// Hours before it, somebody makes a full backup with this comment.
    ByHand(&'static str),
    /// Before it, the VM is taken off its hypervisor.
    Stored,
    /// Before it, the VM is moved to another hypervisor.
    Moved,
    /// It does not take place.
    Missed,
    /// It makes a daily, and the upload fails.
    Fails,
    /// Its local deletes never reach FiFo.
    DeletesLost,
    /// Some time after it, somebody starts it once more: an upload of hours.
    StartedAgain,
}

/// The run of a scheme.
#[derive(Clone, Copy)]
struct Night {
    tier: &'static str,
    /// When the create is accepted, in microseconds since the Unix epoch.
    at_us: i64,
}

impl Scheme {
    /// What the scheme does on a tier's night: the comment, the tiers to take the parent from (none: a full backup),
    /// the tiers whose newest snapshot goes afterwards, and after how many days dailies are cleared from storage.
    fn on(
        self,
        tier: &'static str,
    ) -> Option<(&'static str, &'static [&'static str], &'static [&'static str], i64)> {
        Some(match (self, tier) {
            (Self::Grandfather, "monthly") => (tier, &[], &["weekly", "daily"], 99),
            // The dailies before the last week but one hang on no weekly, and go as a whole.
            (Self::Grandfather, "weekly") => {
                (tier, &["monthly", "weekly"], &["monthly", "weekly", "daily"], 7)
            }
            (Self::Grandfather, _) => (tier, &["monthly", "weekly", "daily"], &["daily"], 99),
            (Self::Differential, "monthly") => (tier, &[], &["monthly", "weekly"], 99),
            (Self::Differential, "weekly") => (tier, &["monthly"], &["weekly"], 99),
            (Self::DailyFull, _) => ("daily", &[], &["daily"], 10),
            (Self::Differential | Self::Nothing, _) => return None,
        })
    }
}

impl World {
    /// Makes the first world as of an instant, in microseconds since the Unix epoch.
    ///
    /// The comments are the tiers' names of the scheme that people run by hand, and every history is what that scheme
    /// would have left behind.
    pub fn seeded(seed: Seed, now_us: i64) -> Self {
        let mut world = Self::new(Shape::default(), seed.seed);
        let (upload_ms, nights) = (world.upload_ms, nights(now_us));
        world.upload_ms = UPLOAD_US.unsigned_abs() / 1_000;
        // Sizes are not measured while the past is made, but once at its end.
        world.measured_at_us = i64::MAX;
        let (mut numbers, mut ids) = (BTreeMap::<&str, usize>::new(), Vec::new());
        for (index, script) in (0..seed.vms).zip(SCRIPTS.iter().cycle()) {
            let number = numbers.entry(script.0).or_default();
            *number += 1;
            let (alias, round) = (format!("{}-{number}", script.0), index / SCRIPTS.len());
            let id = match ids.get(index % SCRIPTS.len()) {
                Some(first) => world.copy_vm(*first, mask(seed.seed, round)),
                None => {
                    // Each history has UUIDs of its own.
                    world.seed = random(seed.seed, index);
                    world.counter = 0;
                    Some(world.play(script, &nights, now_us))
                }
            };
            let Some(id) = id else { continue };
            ids.push(id);
            if let Some(vm) = world.vms.get_mut(&id) {
                rename(vm, &alias, HYPERVISORS[index % HYPERVISORS.len()]);
            }
        }
        world.measured_at_us = 0;
        world.advance(now_us);
        Self { seed: seed.seed, counter: 0, upload_ms, ..world }
    }

    /// Makes a VM, and lets happen what its script says.
    fn play(&mut self, script: &Script, nights: &[Night], now_us: i64) -> Uuid {
        let (name, full_gib, fields, scheme, events) = *script;
        let mut vm = Vm::new(name, HYPERVISORS[0])
            .with("owner", json!("1d3f5a7c-9b2e-4c6d-8f10-a2b4c6d8e0f1"))
            .with("package", json!("7c2a9e4b-6d1f-4f3a-b8e5-0f9d7c5b3a12"))
            .with("dataset", json!("9eac5c0c-a941-11e2-a7dc-57a6b041988f"));
        vm.fields.extend(serde_json::from_str::<BTreeMap<String, Value>>(fields).unwrap_or_default());
        if vm.fields.get("vm_type") == Some(&json!("kvm")) {
            vm.disks.push("-disk0".to_owned());
        }
        // Not all of one size, to the byte.
        vm.full_bytes = full_gib * GIB + self.seed % GIB;
        let id = self.new_uuid();
        self.vms.insert(id, vm);
        for (night, ago) in nights.iter().zip((0..nights.len()).rev()) {
            let event = events.iter().find(|(at, _)| *at == ago).map(|(_, event)| *event);
            self.night(id, *night, scheme, event, now_us);
        }
        self.advance(now_us);
        id
    }

    /// Runs a scheme on a night: the create, and when its upload is done, what goes.
    fn night(&mut self, id: Uuid, night: Night, scheme: Scheme, event: Option<Event>, now_us: i64) {
        let before_us = night.at_us - 9 * HOUR_US;
        self.advance(before_us);
        match event {
            Some(Event::ByHand(comment)) => _ = self.order(id, comment, None, before_us),
            Some(Event::Stored) => self.leave_hypervisor(id, None),
            Some(Event::Moved) => self.leave_hypervisor(id, Some(HYPERVISORS[1])),
            Some(Event::Missed) => return,
            Some(Event::Fails) => {
                let outcome = UploadOutcome::Fail;
                self.fate(id, UploadScript { outcome, upload_ms: Some(40_000), size_bytes: None });
            }
            Some(Event::DeletesLost | Event::StartedAgain) | None => {}
        }
        let tier = if event == Some(Event::Fails) { "daily" } else { night.tier };
        let Some((comment, from, gone, clear_days)) = scheme.on(tier) else { return };
        let gone: Vec<Uuid> = gone.iter().filter_map(|tier| self.newest_local(id, &[*tier])).collect();
        if !self.order(id, comment, self.parent(id, from), night.at_us) {
            return;
        }
        let done_us = night.at_us + UPLOAD_US;
        self.advance(done_us);
        if !matches!(event, Some(Event::Fails | Event::DeletesLost)) {
            for backup in gone {
                // On a hypervisor it cannot be refused.
                let _ = self.delete_local(id, backup, done_us);
            }
            self.clear_dailies(id, night.at_us - clear_days * 24 * HOUR_US + 12 * HOUR_US, done_us);
        }
        if event == Some(Event::StartedAgain) {
            let again_us = (now_us - 25 * MINUTE_US).max(done_us + MINUTE_US).min(now_us);
            self.fate(id, UploadScript { upload_ms: Some(8 * 3_600_000), ..UploadScript::default() });
            self.order(id, comment, self.parent(id, from), again_us);
        }
    }

    fn fate(&mut self, id: Uuid, fate: UploadScript) {
        if let Some(vm) = self.vms.get_mut(&id) {
            vm.fates.push_back(fate);
        }
    }

    /// Asks for a backup, and says whether FiFo has accepted it.
    fn order(&mut self, id: Uuid, comment: &str, parent: Option<String>, at_us: i64) -> bool {
        self.advance(at_us);
        let order = BackupRequest { comment: comment.to_owned(), parent, delete: false };
        self.create_backup(id, &order, at_us).is_ok()
    }

    /// The parent that the scripts name: where there is none of these tiers, an empty one.
    fn parent(&self, id: Uuid, from: &[&str]) -> Option<String> {
        let newest = || self.newest_local(id, from).map(|id| id.to_string());
        (!from.is_empty()).then(|| newest().unwrap_or_default())
    }

    fn newest_local(&self, id: Uuid, comments: &[&str]) -> Option<Uuid> {
        let is_of = |record: &Record| record.comment.as_deref().is_some_and(|of| comments.contains(&of));
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
        let disks = &vm.disks;
        let record_of = |(backup, mut record): (Uuid, Record)| {
            record.parent = record.parent.map(other);
            let names = disks.iter().map(|disk| object_name(other(id), other(backup), disk));
            record.files = record.files.map(|files| names.zip(files.into_values()).collect());
            (other(backup), record)
        };
        vm.backups = vm.backups.into_iter().map(record_of).collect();
        vm.snapshots = vm.snapshots.into_iter().map(|(id, snapshot)| (other(id), snapshot)).collect();
        for (backup, mut stored) in std::mem::take(&mut vm.stored) {
            stored.base = stored.base.map(other);
            vm.stored.insert(other(backup), stored);
        }
        let uploads: Vec<_> = self.uploads.iter().filter(|(_, upload)| upload.vm == id).collect();
        let uploads: Vec<_> =
            uploads.into_iter().map(|(backup, upload)| (other(*backup), upload.clone())).collect();
        for (backup, mut upload) in uploads {
            (upload.vm, upload.parent) = (other(id), upload.parent.map(other));
            self.uploads.insert(backup, upload);
        }
        self.vms.insert(other(id), vm);
        Some(other(id))
    }
}

/// The nights from the first of last month on whose run is over by an instant, oldest first.
fn nights(now_us: i64) -> Vec<Night> {
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
        (at_us + UPLOAD_US + MINUTE_US <= now_us).then_some(Night { tier, at_us })
    };
    days.filter_map(night).collect()
}

fn rename(vm: &mut Vm, alias: &str, hypervisor: &str) {
    vm.fields.insert("alias".to_owned(), json!(alias));
    if let Some(Value::Object(config)) = vm.fields.get_mut("config") {
        config.insert("alias".to_owned(), json!(alias));
    }
    if vm.hypervisor().is_some() {
        vm.fields.insert("hypervisor".to_owned(), json!(hypervisor));
    }
}

/// What the UUIDs of a later round differ by: never their version and variant.
fn mask(seed: u64, round: usize) -> u128 {
    let bits = random(seed, round + 1_000_000);
    (u128::from(bits >> 32) << 96) | u128::from(bits & 0xffff_ffff)
}

/// A number of its own for each index.
fn random(seed: u64, index: usize) -> u64 {
    let hash = Sha1::digest(format!("{seed}:{index}"));
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests;
