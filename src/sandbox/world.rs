//! The simulated cloud, and who may do what there.

use super::vm::{Record, Upload, UploadOutcome, Vm};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha1::{Digest, Sha1};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub(super) const MEASURE_EVERY_US: i64 = 15 * 60 * 1_000_000;

pub(super) const TOKEN_LIFE_S: i64 = 3600;

pub(super) const DESTROY_AFTER_US: i64 = 2_000_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiStyle {
    /// 2015: `x-snarl-token`, sizes at a record's top level, the new backup's UUID in `location`.
    V2,
    /// 2016 on: Bearer tokens, streamed lists, sizes by file.
    #[default]
    V3,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyMaps {
    #[default]
    Array,
    Object,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub style: ApiStyle,
    pub empty_maps: EmptyMaps,
}

/// A whole cloud: what FiFo has recorded, and beside it what is really on the hypervisors and in the store.
///
/// Plain data, without clock and chance: time comes in as microseconds since the Unix epoch, new UUIDs come from a seed
/// and a counter, and nothing happens but in the calls that are made, [`World::advance`] above all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct World {
    pub shape: Shape,
    /// New UUIDs and tokens come from this and `counter`.
    pub seed: u64,
    pub counter: u64,
    /// Whether the subsystems behind the API are up; if not, every answer is 503.
    pub backend_up: bool,
    /// Whether a backup store is configured; if not, every create is refused.
    pub store_configured: bool,
    pub user_store: UserStore,
    /// How long a full list may take before it is cut, in milliseconds: 5 s in FiFo of 2016. That of 2015 has no limit.
    ///
    /// Nothing really takes that long: a VM is reckoned at 10 ms, and each of its backups at 1 ms. With 0 every list is
    /// cut, so that VMs have to be read one by one.
    pub list_limit_ms: Option<u64>,
    /// By how many seconds the coordinator's clock, which stamps backups, is ahead of the API's, which makes `date`.
    pub stamps_ahead_s: i64,
    pub agents_down: BTreeSet<String>,
    /// How long an upload takes from being accepted until all is written, unless its script says otherwise.
    pub upload_ms: u64,
    pub outcome: UploadOutcome,
    pub users: BTreeMap<String, User>,
    pub tokens: BTreeMap<String, Token>,
    pub vms: BTreeMap<Uuid, Vm>,
    pub uploads: BTreeMap<Uuid, Upload>,
    /// Snapshots yet to be destroyed: when, of which VM, which.
    pub destroys: BTreeSet<(i64, Uuid, Uuid)>,
    pub measured_at_us: i64,
}

impl World {
    /// Makes a cloud without VMs, in which `admin` signs in with `admin` and may do everything.
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self {
            shape,
            seed,
            backend_up: true,
            store_configured: true,
            upload_ms: 3_000,
            users: BTreeMap::from([("admin".to_owned(), User::admin("admin"))]),
            ..Self::default()
        }
    }

    /// Makes a UUID that has not been there before: the same ones in the same order for the same seed.
    pub fn new_uuid(&mut self) -> Uuid {
        self.counter += 1;
        let hash = Sha1::digest(format!("{}/{}", self.seed, self.counter));
        uuid::Builder::from_random_bytes(std::array::from_fn(|at| hash[at])).into_uuid()
    }

    pub fn sign_in(&mut self, user: &str, now_us: i64) -> String {
        let token = self.new_uuid().simple().to_string();
        let expires_us = now_us + TOKEN_LIFE_S * 1_000_000;
        self.tokens.insert(token.clone(), Token { user: user.to_owned(), expires_us });
        token
    }

    pub fn user_of(&self, token: &str, now_us: i64) -> Option<&User> {
        let token = self.tokens.get(token).filter(|token| now_us < token.expires_us)?;
        self.users.get(&token.user)
    }

    /// Brings it to an instant: uploads go on, snapshots go, sizes are measured.
    pub fn advance(&mut self, now_us: i64) {
        // Whether a snapshot can be destroyed depends on the uploads of that moment.
        while let Some(&(due_us, ..)) = self.destroys.first()
            && due_us <= now_us
        {
            self.advance_uploads(due_us);
            if let Some((_, vm, backup)) = self.destroys.pop_first() {
                self.destroy_snapshot(vm, backup);
            }
        }
        self.advance_uploads(now_us);
        if now_us >= self.measured_at_us.saturating_add(MEASURE_EVERY_US) {
            self.measured_at_us = now_us;
            self.vms.values_mut().for_each(measure);
        }
    }

    /// Takes a VM off its hypervisor, onto another or onto none, as moving or storing it does: no snapshot comes along,
    /// and an upload that was under way stays as it is for ever.
    pub fn leave_hypervisor(&mut self, vm: Uuid, to: Option<&str>) {
        let Some(record) = self.vms.get_mut(&vm) else { return };
        record.fields.insert("hypervisor".to_owned(), json!(to.unwrap_or_default()));
        record.fields.insert("state".to_owned(), json!(if to.is_some() { "running" } else { "stored" }));
        record.snapshots.clear();
        record.backups.values_mut().for_each(Record::forget_snapshot);
        self.uploads.retain(|_, upload| upload.vm != vm);
        self.destroys.retain(|(_, of, _)| *of != vm);
    }

    /// Says whether FiFo could restore a backup: from it a chain leads back to a local one or to a full one, and every
    /// step is really in the store, whole, and fits on the one before.
    pub fn restorable(&self, vm: Uuid, backup: Uuid) -> bool {
        self.vms.get(&vm).is_some_and(|vm| walk(vm, backup, true))
    }

    /// The same without the hypervisor's snapshots: what is left when the hypervisor is lost.
    pub fn restorable_from_store(&self, vm: Uuid, backup: Uuid) -> bool {
        self.vms.get(&vm).is_some_and(|vm| walk(vm, backup, false))
    }

    /// Destroys a snapshot, unless something holds on to it or it is just being sent.
    fn destroy_snapshot(&mut self, vm: Uuid, backup: Uuid) {
        let busy = self.uploads.iter().any(|(id, upload)| *id == backup || upload.parent == Some(backup));
        let Some(vm) = self.vms.get_mut(&vm) else { return };
        if !busy && vm.snapshots.get(&backup).is_some_and(|snapshot| !snapshot.pinned) {
            vm.snapshots.remove(&backup);
        }
    }
}

fn measure(vm: &mut Vm) {
    for (uuid, record) in &mut vm.backups {
        let bytes = vm.snapshots.get(uuid).map(|snapshot| snapshot.bytes);
        record.local_size = bytes.or(record.local_size.map(|_| 0));
    }
}

fn walk(vm: &Vm, backup: Uuid, snapshots_count: bool) -> bool {
    let mut at = backup;
    // More steps than there are backups is a loop.
    for _ in 0..vm.backups.len() {
        let Some(record) = vm.backups.get(&at) else { return false };
        if snapshots_count && record.local == Some(true) {
            return vm.snapshots.contains_key(&at);
        }
        if !vm.stored.get(&at).is_some_and(|stored| stored.sound && stored.base == record.parent) {
            return false;
        }
        let Some(parent) = record.parent else { return true };
        at = parent;
    }
    false
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub password: String,
    /// What the user may do, each as FiFo writes it: `["vms", "<uuid>", "get"]`, where `_` stands for any one word and
    /// a final `...` for any number of them.
    pub permissions: Vec<Vec<String>>,
}

impl User {
    pub fn admin(password: &str) -> Self {
        Self { password: password.to_owned(), permissions: vec![vec!["...".to_owned()]] }
    }

    /// Makes a user with the given permissions, words separated by `->`: `vms->_->get`.
    pub fn allowed_to(password: &str, permissions: &[&str]) -> Self {
        let words = |permission: &&str| permission.split("->").map(str::to_owned).collect();
        Self { password: password.to_owned(), permissions: permissions.iter().map(words).collect() }
    }

    pub fn may(&self, wanted: &[&str]) -> bool {
        self.permissions.iter().any(|granted| grants(granted, wanted))
    }
}

/// How the user store behaves, which is asked at every sign-in and for every token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserStore {
    #[default]
    Up,
    /// It does not answer in time: 400 `server_error` at the sign-in, and every token is answered with 401.
    ServerError,
    /// It says that it cannot answer now: 400 `temporarily_unavailable` at the sign-in, and otherwise the same.
    TemporarilyUnavailable,
}

fn grants(granted: &[String], wanted: &[&str]) -> bool {
    match (granted.split_first(), wanted.split_first()) {
        (None, None) => true,
        (Some((word, [])), _) if word == "..." => true,
        (Some((word, granted)), Some((wanted_word, wanted))) => {
            (word == "_" || word == wanted_word) && grants(granted, wanted)
        }
        _ => false,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub user: String,
    /// In microseconds since the Unix epoch.
    pub expires_us: i64,
}

#[cfg(test)]
mod tests;
