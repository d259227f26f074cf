//! A small cloud under the grandfather scheme, and runs on it.

use crate::transport::{TestClock, Wire};
use chrono::{DateTime, Utc};
use fifo_retain::apply::{
    Approval, Clock as _, DeleteNote, Event, Executor, ExecutorSettings, LeftBehind, Notes, Observer,
    ProgressTracker, Proof, RunReport, Timing,
};
use fifo_retain::fifo::{self, Credentials, ReadClient, WriteClient};
use fifo_retain::inventory::{BackupId, Inventory, VmId};
use fifo_retain::plan::{Plan, Prune, Request, plan};
use fifo_retain::policy::{self, Policies, SourceFile};
use fifo_retain::runner::proofs::Proofs;
use fifo_retain::sandbox::{
    ApiStyle, BackupRequest, Effect, EmptyMaps, Rule, Shape, UploadScript, Vm, World,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const GRANDFATHER: &str = "
version: 1
policy: grandfather
select: { metadata: { fifo.backup: 1 } }
tiers:
  - { name: monthly, schedule: '0 1 1 * *', type: full }
  - { name: weekly, schedule: '0 1 * * SUN', type: incremental }
  - { name: daily, schedule: '0 1 * * *', type: incremental }
";

pub(crate) const FULL_ONLY: &str = "
version: 1
policy: full-only
select: { metadata: { fifo.backup: 1 } }
tiers: [{ name: daily, schedule: '0 1 * * *', type: full }]
";

const HOUR_US: i64 = 3_600_000_000;

pub(crate) struct Cloud {
    pub(crate) wire: Wire,
    pub(crate) clock: TestClock,
    pub(crate) policies: Policies,
    pub(crate) stop: CancellationToken,
    pub(crate) hand_over: CancellationToken,
    pub(crate) progress: ProgressTracker,
    pub(crate) notes: MemoryNotes,
    pub(crate) proofs: Option<Proofs>,
    pub(crate) settings: ExecutorSettings,
    pub(crate) events: Events,
}

#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Event>>>);

impl Observer for Events {
    fn observe(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// Notes on deletes in flight that outlive a run, as files do.
#[derive(Default)]
pub(crate) struct MemoryNotes {
    pub(crate) notes: Mutex<BTreeMap<VmId, DeleteNote>>,
    pub(crate) is_full: AtomicBool,
}

impl Notes for MemoryNotes {
    fn note(&self, note: &DeleteNote) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match self.notes.lock().unwrap().entry(note.vm) {
            Entry::Occupied(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Entry::Vacant(free) => {
                free.insert(note.clone());
                Ok(())
            }
        }
    }

    fn remove(&self, vm: VmId) -> io::Result<()> {
        self.notes.lock().unwrap().remove(&vm);
        Ok(())
    }

    fn left_behind(&self) -> Vec<LeftBehind> {
        let left = |note: &DeleteNote| LeftBehind {
            path: PathBuf::from(format!("in-flight-{}.json", note.vm)),
            vm: Some(note.vm),
            time: Some(note.time),
            note: Ok(note.clone()),
        };
        self.notes.lock().unwrap().values().map(left).collect()
    }
}

impl Events {
    pub(crate) fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}

pub(crate) fn vm_uuid(n: u128) -> Uuid {
    Uuid::from_u128(0x1111_1111_0000_4000_8000_0000_0000_0000 + n)
}

pub(crate) fn policies(text: &str) -> Policies {
    let file = SourceFile { name: "policy.yaml".to_owned(), bytes: text.as_bytes().to_vec() };
    policy::parse(&[file]).unwrap().policies
}

pub(crate) fn fault(cloud: &Cloud, rule: Rule) {
    cloud.wire.state().faults.rules.push(rule);
}

pub(crate) fn answer(status: u16) -> Effect {
    Effect::Answer { status, retry_after_s: None, location: None }
}

pub(crate) fn next_upload(cloud: &Cloud, n: u128, script: impl Into<UploadScript>) {
    cloud.wire.state().world.vms.get_mut(&vm_uuid(n)).unwrap().scripts.push_back(script.into());
}

pub(crate) fn takes(seconds: u64) -> UploadScript {
    UploadScript { upload_ms: Some(seconds * 1_000), ..UploadScript::default() }
}

pub(crate) fn posts(cloud: &Cloud) -> Vec<DateTime<Utc>> {
    let asked = &cloud.wire.state().asked;
    asked.iter().filter(|asked| asked.target.ends_with("/backups")).map(|asked| asked.at).collect()
}

impl Cloud {
    /// An empty cloud; tokio's time must be paused, or waiting takes as long as it says.
    pub(crate) fn at(now: &str) -> Self {
        let clock = TestClock::starting_at(now.parse().unwrap());
        let shape = Shape { style: ApiStyle::V3, empty_maps: EmptyMaps::Object };
        Self {
            wire: Wire::new(World::new(shape, 1), clock),
            clock,
            policies: policies(GRANDFATHER),
            stop: CancellationToken::new(),
            hand_over: CancellationToken::new(),
            progress: ProgressTracker::default(),
            notes: MemoryNotes::default(),
            proofs: None,
            settings: ExecutorSettings {
                max_uploads: 8,
                max_uploads_per_hypervisor: 2,
                wait: true,
                deadline: None,
                timing: Timing::default(),
                prune: Prune::default(),
            },
            events: Events::default(),
        }
    }

    /// A protected VM without backups on a hypervisor.
    pub(crate) fn vm(self, n: u128, hypervisor: &str) -> Self {
        let mut vm = Vm::new(&format!("vm-{n}"), hypervisor).with("metadata", json!({"fifo": {"backup": 1}}));
        vm.full_bytes = 5 << 20;
        self.wire.state().world.vms.insert(vm_uuid(n), vm);
        self
    }

    /// A backup that was taken and completed in the past, by the world's own hand.
    pub(crate) fn backup(self, n: u128, comment: &str, parent: Option<Uuid>, taken: &str) -> (Self, Uuid) {
        let taken_us = taken.parse::<DateTime<Utc>>().unwrap().timestamp_micros();
        let order = BackupRequest {
            comment: comment.to_owned(),
            parent: parent.map(|id| id.to_string()),
            delete: false,
        };
        let id = {
            let world = &mut self.wire.state().world;
            let id = world.create_backup(vm_uuid(n), &order, taken_us).unwrap();
            world.advance(taken_us + HOUR_US);
            id
        };
        (self, id)
    }

    pub(crate) fn client(&self) -> WriteClient {
        let endpoint = "http://127.0.0.1:1".parse().unwrap();
        let credentials = Credentials::Password { user: "admin".to_owned(), password: "admin".into() };
        let settings = fifo::ClientSettings::new(endpoint, credentials);
        WriteClient::new(ReadClient::new(Arc::new(self.wire.clone()), settings))
    }

    pub(crate) async fn read(&self) -> Inventory {
        self.client().read().list().await.unwrap().inventory
    }

    pub(crate) async fn plan(&self) -> (Plan, Inventory) {
        let mut listing = self.client().read().list().await.unwrap();
        if let Some(proofs) = &self.proofs {
            listing.inventory.vms.values_mut().for_each(|vm| proofs.mark(vm));
        }
        let request = Request::by_clocks(self.clock.now(), listing.server_date, self.settings.prune);
        (plan(&self.policies, &listing.inventory, request), listing.inventory)
    }

    pub(crate) async fn execute(&self, plan: &Plan, inventory: &Inventory) -> RunReport {
        self.carry_out(plan, inventory, Approval::Listed).await
    }

    async fn carry_out(&self, plan: &Plan, inventory: &Inventory, approval: Approval) -> RunReport {
        let client = self.client();
        let executor = Executor {
            client: &client,
            policies: &self.policies,
            clock: &self.clock,
            observer: &self.events,
            stop: &self.stop,
            hand_over: &self.hand_over,
            progress: &self.progress,
            notes: &self.notes,
            proof: self.proofs.as_ref().map(|proofs| proofs as &dyn Proof),
            settings: self.settings,
        };
        executor.execute(&plan.vms, inventory.clone(), approval).await
    }

    pub(crate) async fn reconcile(&self) -> RunReport {
        let (plan, inventory) = self.plan().await;
        self.carry_out(&plan, &inventory, Approval::Everything).await
    }

    /// The comments of a VM's backups, oldest first, with `*` behind those that are local.
    pub(crate) fn backups(&self, n: u128) -> Vec<String> {
        let world = &mut self.wire.state().world;
        world.advance(self.clock.now().timestamp_micros());
        let vm = &world.vms[&vm_uuid(n)];
        let mut backups: Vec<_> = vm.backups.iter().collect();
        backups.sort_by_key(|(id, record)| (record.timestamp, **id));
        let star = |local| if local == Some(true) { "*" } else { "" };
        backups
            .iter()
            .map(|(_, record)| format!("{}{}", record.comment.as_deref().unwrap_or("?"), star(record.local)))
            .collect()
    }

    pub(crate) fn asked(&self, method: &str) -> usize {
        // Signing in is a POST too, and no write.
        let is_write = |target: &str| target.contains("/backups");
        self.wire
            .state()
            .asked
            .iter()
            .filter(|a| a.method == method && (method == "GET" || is_write(&a.target)))
            .count()
    }
}

pub(crate) fn backup_id(id: Uuid) -> BackupId {
    BackupId::new(id)
}

/// Mid-chain on a Wednesday: a monthly, a local weekly on it, a local daily on that; tonight's daily is due.
pub(crate) fn mid_chain(cloud: Cloud, n: u128) -> (Cloud, [Uuid; 3]) {
    let (cloud, monthly) = cloud.backup(n, "monthly", None, "2026-11-01T01:00:00Z");
    let (cloud, weekly) = cloud.backup(n, "weekly", Some(monthly), "2026-11-15T01:00:00Z");
    let (cloud, daily) = cloud.backup(n, "daily", Some(weekly), "2026-11-17T01:00:00Z");
    let now_us = cloud.clock.now().timestamp_micros();
    {
        let world = &mut cloud.wire.state().world;
        world.delete_local(vm_uuid(n), monthly, now_us).unwrap();
    }
    (cloud, [monthly, weekly, daily])
}
