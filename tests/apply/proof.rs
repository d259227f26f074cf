//! With a store, a create is done when the storage has it, and nothing is deleted that would rely on what is not known to be
//! there.

use crate::built::Sent;
use crate::cloud::{Cloud, backup_id, mid_chain, vm_uuid};
use crate::transport::Wire;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use fifo_retain::apply::{ActionOutcome, Clock as _, Proof as _, RunReport};
use fifo_retain::inventory::VmId;
use fifo_retain::runner::proofs::{OpenedStore, Proofs, known, save};
use fifo_retain::store::stream::Code;
use fifo_retain::store::{Body, Object, Result, Store, StoreError};
use fifo_retain::verify::{Finding, Known};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

const NIGHT: &str = "2026-11-18T01:00:30Z";

/// The bucket that the world's uploads go to, with what is wrong with it.
#[derive(Clone)]
struct Bucket {
    wire: Wire,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Copy, Default)]
struct State {
    is_down: bool,
    is_empty: bool,
    /// Objects of backups from that instant on are not there yet, or are of another snapshot.
    lacks_from: Option<DateTime<Utc>>,
    broken_from: Option<DateTime<Utc>>,
    modified: Option<DateTime<Utc>>,
    asked: usize,
}

impl Bucket {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn listed(&self, prefix: &str) -> Vec<Object> {
        let state = *self.state();
        let world = &self.wire.state().world;
        let mut objects = Vec::new();
        for (vm, backup, record) in
            world.vms.iter().flat_map(|(vm, it)| it.backups.iter().map(move |(id, it)| (vm, id, it)))
        {
            let lacks = state.is_empty || is_from(record.timestamp, state.lacks_from);
            let files = record.files.iter().flatten().map(|(name, file)| (name.clone(), file.size));
            let xml = (format!("{vm}/{backup}.xml"), 700);
            let files = files.chain([xml]).filter(|(name, _)| !lacks && name.starts_with(prefix));
            let object = |(name, size_bytes)| Object { name, size_bytes, modified: state.modified };
            objects.extend(files.map(object));
        }
        objects
    }

    fn beginning(&self, name: &str) -> Vec<u8> {
        let (vm, backup) = name.split_once('/').unwrap();
        let (vm, backup): (Uuid, Uuid) = (vm.parse().unwrap(), backup.parse().unwrap());
        let record = self.wire.state().world.vms[&vm].backups[&backup].clone();
        let guid = |id: Uuid| id.as_u128() as u64 | 1;
        let is_broken = is_from(record.timestamp, self.state().broken_from);
        let pool = if is_broken { "tank" } else { "zones" };
        let mut sent =
            Sent::new(&format!("{pool}/{vm}@{backup}"), guid(backup), record.parent.map_or(0, guid));
        sent.block = 8 << 10;
        sent.packed()
    }
}

fn is_from(taken_us: Option<i64>, from: Option<DateTime<Utc>>) -> bool {
    from.zip(taken_us).is_some_and(|(from, taken)| taken >= from.timestamp_micros())
}

impl Store for Bucket {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        each: &'a mut (dyn FnMut(Object) + Send),
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            self.state().asked += 1;
            if self.state().is_down {
                return Err(StoreError::Lost { doing: "list".to_owned(), why: "refused".to_owned() });
            }
            self.listed(prefix).into_iter().for_each(each);
            Ok(())
        }
        .boxed()
    }

    fn get<'a>(&'a self, name: &'a str, range: Range<u64>) -> BoxFuture<'a, Result<Body>> {
        let bytes = self.beginning(name);
        let piece = bytes[range.start as usize..range.end as usize].to_vec();
        async move { Ok(stream::once(async { Ok(Bytes::from(piece)) }).boxed()) }.boxed()
    }
}

/// One VM mid-chain with its daily due, its bucket, and a state folder.
struct Proven {
    cloud: Cloud,
    bucket: Bucket,
    folder: TempDir,
}

impl Proven {
    fn new() -> Self {
        let (mut cloud, _) = mid_chain(Cloud::at(NIGHT).vm(1, "hv-1"), 1);
        let state = State { modified: Some(cloud.clock.now()), ..State::default() };
        let bucket = Bucket { wire: cloud.wire.clone(), state: Arc::new(Mutex::new(state)) };
        let folder = TempDir::new().unwrap();
        cloud.proofs = Some(proofs(&bucket, &folder));
        Self { cloud, bucket, folder }
    }

    /// A run of a process of its own.
    async fn reconcile(&mut self) -> RunReport {
        let proofs = proofs(&self.bucket, &self.folder);
        proofs.refresh(true).await;
        self.cloud.proofs = Some(proofs);
        self.cloud.reconcile().await
    }

    fn known(&self) -> Known {
        known(Some(self.folder.path()), "fifo", None)
    }

    async fn later(&self, minutes: u64) {
        tokio::time::advance(Duration::from_secs(minutes * 60)).await;
    }
}

fn proofs(bucket: &Bucket, folder: &TempDir) -> Proofs {
    let store = OpenedStore { store: Arc::new(bucket.clone()), name: "s3://fifo".to_owned() };
    Proofs::new(Some(folder.path().to_owned()), "fifo", Some(store))
}

/// Returns how each step of a run ended, and its code.
fn steps(report: &RunReport) -> Vec<(ActionOutcome, &'static str)> {
    report.vms.iter().flat_map(|vm| &vm.steps).map(|step| (step.ending, step.code)).collect()
}

const DONE: (ActionOutcome, &str) = (ActionOutcome::Done, "created");
const DELETED: (ActionOutcome, &str) = (ActionOutcome::Done, "deleted");
const UNREAD: (ActionOutcome, &str) = (ActionOutcome::Unverified, "store_unread");
const HELD: (ActionOutcome, &str) = (ActionOutcome::HandedOver, "store_unread");
const AWAITS: (ActionOutcome, &str) = (ActionOutcome::Dropped, "awaits_create");

#[tokio::test(start_paused = true)]
async fn a_create_that_the_storage_has_is_done_and_its_parents_snapshot_goes() {
    let mut it = Proven::new();
    assert_eq!(steps(&it.reconcile().await), [DONE, DELETED]);
    assert_eq!(it.cloud.backups(1), ["monthly", "weekly*", "daily", "daily*"]);
    assert_eq!(it.bucket.state().asked, 1, "what was right is not asked about again");
}

#[tokio::test(start_paused = true)]
async fn a_create_with_wrong_headers_has_failed_and_another_one_is_made_from_a_good_one() {
    let mut it = Proven::new();
    it.bucket.state().broken_from = Some(it.cloud.clock.now());
    let report = it.reconcile().await;
    assert_eq!(steps(&report)[0], (ActionOutcome::Failed, "broken"), "{report:?}");
    assert_eq!(it.cloud.backups(1), ["monthly", "weekly*", "daily*", "daily*"]);
    // In the pause between two attempts nothing is made.
    assert_eq!(steps(&it.reconcile().await), []);
    it.later(120).await;
    it.bucket.state().broken_from = None;
    // The good one below it is its parent, and nothing of the chain goes, though all of it has a younger one.
    assert_eq!(steps(&it.reconcile().await), [DONE]);
    assert_eq!(it.cloud.backups(1), ["monthly", "weekly*", "daily*", "daily*", "daily*"]);
    // Once its object is another one, it is not known to be broken any more.
    it.bucket.state().modified = Some(it.cloud.clock.now());
    assert_eq!(steps(&it.reconcile().await), [DELETED, DELETED]);
    let known = it.known();
    assert!(!known.vms.is_empty() && known.vms.values().all(|vm| vm.broken.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn while_the_store_does_not_show_a_backup_it_is_neither_good_nor_bad_and_no_snapshot_goes() {
    type Change = fn(&mut State, DateTime<Utc>);
    let ways: [(&str, Change); 3] = [
        ("down", |it, _| it.is_down = true),
        ("another bucket", |it, _| it.is_empty = true),
        ("a mirror that is behind", |it, now| it.lacks_from = Some(now)),
    ];
    for (name, change) in ways {
        let mut it = Proven::new();
        change(&mut it.bucket.state(), it.cloud.clock.now());
        assert_eq!(steps(&it.reconcile().await), [UNREAD, AWAITS], "{name}");
        assert!(name != "down" || it.bucket.state().asked == 3, "then the store is left in peace");
        // The next run, whatever has made the backup: it is not relied on before it is seen.
        assert_eq!(steps(&it.reconcile().await), [HELD], "{name}");
        assert_eq!(it.cloud.backups(1), ["monthly", "weekly*", "daily*", "daily*"], "{name}");
        assert!(it.known().vms.is_empty(), "{name}: nothing is found");
        let State { modified, .. } = *it.bucket.state();
        *it.bucket.state() = State { modified, ..State::default() };
        assert_eq!(steps(&it.reconcile().await), [DELETED], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_nobody_has_checked_is_checked_before_a_snapshot_goes() {
    let mut it = Proven::new();
    // A run that was killed, or has no store.
    it.cloud.proofs = None;
    it.cloud.settings.wait = false;
    it.cloud.reconcile().await;
    it.cloud.settings.wait = true;
    it.later(30).await;
    it.bucket.state().broken_from = Some(NIGHT.parse().unwrap());
    let report = it.reconcile().await;
    assert_eq!(report.tally().deleted_local, 0, "{report:?}");
    let known = it.known();
    assert_eq!(known.vms[&VmId::new(vm_uuid(1))].broken.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_found_broken_after_a_plan_was_saved_is_a_change() {
    let (cloud, [.., daily]) = mid_chain(Cloud::at(NIGHT).vm(1, "hv-1"), 1);
    let (mut cloud, (plan, inventory)) = {
        let planned = cloud.plan().await;
        (cloud, planned)
    };
    let folder = TempDir::new().unwrap();
    let mut known = Known::new("fifo", "s3://fifo");
    let finding = Finding {
        code: Code::Sha1,
        object: format!("{}/{daily}", vm_uuid(1)),
        message: String::new(),
        size_bytes: None,
        modified: None,
    };
    known.enter_broken(VmId::new(vm_uuid(1)), backup_id(daily), vec![finding]);
    save(&known, folder.path());
    let proofs = Proofs::new(Some(folder.path().to_owned()), "fifo", None);
    let mut vm = inventory.vms[&VmId::new(vm_uuid(1))].clone();
    proofs.mark(&mut vm);
    assert!(vm.backups.get(backup_id(daily)).unwrap().is_broken);
    cloud.proofs = Some(proofs);
    let report = cloud.execute(&plan, &inventory).await;
    assert!(steps(&report).iter().all(|step| *step == (ActionOutcome::Dropped, "changed")), "{report:?}");
    assert_eq!(cloud.backups(1).len(), 3);
}
