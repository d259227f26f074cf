//! A verification, from the list of the store to its report.

use super::compare::Comparison;
use super::expected::{Expected, expected, is_stored};
use super::known::{Known, KnownVm, ReadWhole};
use super::listing::{Listing, There};
use super::report::{BackupReport, Depth, FORMAT, Proof, Report, Shard, Summary, UnknownObject, VmReport};
use super::whole::{Throttle, whole};
use crate::fifo::{FifoError, ReadClient};
use crate::inventory::{
    BackupId, Inventory, RecordedState, UnreadableVm, Vm, VmId, chain_of, restorable, vm_name,
};
use crate::policy::Pattern;
use crate::store::stream::Code;
use crate::store::{Store, StoreError};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// How much was read, and of how much; while objects are listed that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    pub of: u64,
    /// Whether these are bytes, and not objects.
    pub is_bytes: bool,
}

/// What is asked of the storage, and how.
pub struct Question<'a> {
    pub depth: Depth,
    /// By UUID or alias; none means all.
    pub vms: &'a [Pattern],
    pub shard: Option<Shard>,
    /// How many objects are read at once.
    pub parallel: usize,
    /// For reading whole, all together.
    pub bytes_per_sec: Option<u64>,
    /// How much is read whole in this run; the object that comes first is read however large it is.
    pub budget_bytes: Option<u64>,
    pub fifo: &'a ReadClient,
    /// The FiFo's name in every file.
    pub endpoint: &'a str,
    pub store: &'a dyn Store,
    pub store_name: &'a str,
    pub clock: fn() -> DateTime<Utc>,
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Called now and then while objects are read, so that a run that is killed has not read in vain.
    pub save: &'a (dyn Fn(&Known) + Sync),
}

impl Question<'_> {
    fn has(&self, id: Option<VmId>, alias: &str) -> bool {
        let is_named = self.vms.is_empty() || self.vms.iter().any(|pattern| pattern.means(id, alias));
        is_named && self.shard.is_none_or(|shard| shard.has(id))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Fifo(#[from] FifoError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("FiFo shows this user no VM at all")]
    NoVm,
    #[error("{0}: no VM that this user can see is meant")]
    NoSuchVm(Pattern),
    /// Rather a wrong bucket or prefix than that all is lost.
    #[error("{store} lacks {missing} of the {expected} objects that FiFo has recorded")]
    WrongStore { store: String, missing: usize, expected: usize },
}

/// Compares what FiFo has recorded with what there is. An error: FiFo or the store cannot be read, or the store lacks most objects.
pub async fn verify(question: &Question<'_>, known: &mut Known) -> Result<Report, VerifyError> {
    (question.progress)(Progress::default());
    // The list comes first: what FiFo records after it cannot be missing from it unnoticed.
    let is_of_all = question.vms.is_empty();
    let mut listing = if is_of_all { Listing::of_all(question.store).await? } else { Listing::default() };
    let inventory = question.fifo.list().await?.inventory;
    if inventory.is_empty() {
        return Err(VerifyError::NoVm);
    }
    let Inventory { vms, unreadable: hidden, .. } = inventory;
    if is_of_all && question.shard.is_none() && hidden.is_empty() {
        known.vms.retain(|id, _| vms.contains_key(id));
    }
    let mut vms = chosen(vms, &hidden, question)?;
    if !is_of_all {
        for id in vms.keys() {
            listing.refresh(question.store, *id).await?;
        }
    }
    look_again(question, &mut listing, &mut vms).await?;

    let mut run = Run::new(question, &vms, &listing);
    if let Some(missing) = run.it.missing_most() {
        let (store, expected) = (question.store_name.to_owned(), run.it.objects.len());
        return Err(VerifyError::WrongStore { store, missing, expected });
    }
    run.it.objects();
    if question.depth >= Depth::Headers {
        run.headers().await?;
    }
    if question.depth == Depth::Full {
        run.full(known).await?;
    }
    run.gone().await?;
    run.carry_over(known);
    let mut report = run.report(known);
    report.unreadable_vms = unreadable(&hidden, question);
    if is_of_all {
        // A prune between the two readings leaves no trace behind it.
        let vms_with_unknown: BTreeSet<VmId> =
            unknown(&listing, &hidden, &vms, question.shard).into_iter().filter_map(vm_of).collect();
        for id in vms_with_unknown {
            listing.refresh(question.store, id).await?;
        }
        report.unknown_objects = unknown(&listing, &hidden, &vms, question.shard);
    }
    report.sort();
    report.count();
    Ok(report)
}

fn chosen(
    vms: BTreeMap<VmId, Vm>,
    hidden: &[UnreadableVm],
    question: &Question<'_>,
) -> Result<BTreeMap<VmId, Vm>, VerifyError> {
    let is_meant = |pattern: &Pattern| {
        vms.values().any(|vm| pattern.means(Some(vm.id), &vm.alias))
            || hidden.iter().any(|vm| pattern.means(vm.id, &vm.alias))
    };
    if let Some(missing) = question.vms.iter().find(|pattern| !is_meant(pattern)) {
        return Err(VerifyError::NoSuchVm(missing.clone()));
    }
    Ok(vms.into_iter().filter(|(id, vm)| question.has(Some(*id), &vm.alias)).collect())
}

fn unreadable(hidden: &[UnreadableVm], question: &Question<'_>) -> Vec<String> {
    let name = |vm: &UnreadableVm| match vm.id {
        Some(id) if vm.alias.is_empty() => id.to_string(),
        id => vm_name(&vm.alias, id),
    };
    hidden.iter().filter(|vm| question.has(vm.id, &vm.alias)).map(name).collect()
}

/// Looks once more at VMs where objects are missing or too many: a prune or an upload may lie between the two readings.
async fn look_again(
    question: &Question<'_>,
    listing: &mut Listing,
    vms: &mut BTreeMap<VmId, Vm>,
) -> Result<(), VerifyError> {
    let lacks = |vm: &&Vm| expected(vm).iter().any(|it| listing.get(it.vm, &it.file()).is_none());
    let lacking: Vec<VmId> = vms.values().filter(lacks).map(|vm| vm.id).collect();
    // Where most VMs lack something it is the store that is wrong, and each of them need not be asked about.
    if lacking.len() > 100 && lacking.len() * 2 > vms.len() {
        return Ok(());
    }
    for id in lacking {
        listing.refresh(question.store, id).await?;
        match question.fifo.vm(id).await {
            Ok(read) => drop(read.vm.ok().map(|vm| vms.insert(id, vm))),
            Err(FifoError::NoSuchVm { .. }) => drop(vms.remove(&id)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Lists the objects that belong to no record. Of VMs that cannot be read nothing is known.
fn unknown(
    listing: &Listing,
    hidden: &[UnreadableVm],
    vms: &BTreeMap<VmId, Vm>,
    shard: Option<Shard>,
) -> Vec<UnknownObject> {
    let unreadable: BTreeSet<Option<VmId>> = hidden.iter().map(|vm| vm.id).collect();
    if unreadable.contains(&None) {
        return Vec::new();
    }
    let is_asked = |id| shard.is_none_or(|shard| shard.has(id));
    let mut unknown = if is_asked(None) { listing.others.clone() } else { Vec::new() };
    for (&id, files) in &listing.vms {
        if unreadable.contains(&Some(id)) || !is_asked(Some(id)) {
            continue;
        }
        for (file, there) in files {
            let backup = file.get(..36).and_then(|backup| backup.parse::<BackupId>().ok());
            let is_known =
                backup.is_some_and(|backup| vms.get(&id).is_some_and(|vm| vm.backups.contains(backup)));
            if !is_known {
                unknown.push(UnknownObject { object: format!("{id}/{file}"), size_bytes: there.size_bytes });
            }
        }
    }
    unknown
}

fn vm_of(unknown: UnknownObject) -> Option<VmId> {
    unknown.object.split('/').next()?.parse().ok()
}

struct Run<'a> {
    question: &'a Question<'a>,
    vms: &'a BTreeMap<VmId, Vm>,
    it: Comparison,
    summary: Summary,
    now: DateTime<Utc>,
}

impl<'a> Run<'a> {
    fn new(question: &'a Question<'a>, vms: &'a BTreeMap<VmId, Vm>, listing: &Listing) -> Self {
        let it = Comparison::new(vms.values(), listing);
        let summary = Summary { objects: it.objects.len(), ..Summary::default() };
        Self { question, vms, it, summary, now: (question.clock)() }
    }

    /// Reads the beginning of each object, and compares each with what it has to start from.
    async fn headers(&mut self) -> Result<(), VerifyError> {
        let Question { store, progress, .. } = *self.question;
        let each = |done, of| progress(Progress { done: done as u64, of: of as u64, is_bytes: false });
        self.it.headers(store, self.question.parallel, &each).await?;
        self.summary.headers_read = self.it.streams().len();
        self.it.links();
        Ok(())
    }

    /// Reads objects to their end: those first that were read longest ago, as far as the budget goes.
    async fn full(&mut self, known: &mut Known) -> Result<(), VerifyError> {
        let mut left = Vec::new();
        for (object, there) in self.it.streams() {
            let mut found = self.it.findings.get(&(object.vm, object.backup)).into_iter().flatten();
            if found.any(|finding| finding.object == object.name() && finding.code != Code::Link) {
                continue;
            }
            if self.it.checked.get(&object.name()) == Some(&Depth::Full) {
                // Its beginning was all of it.
                self.enter_read(known, &object, there, self.now);
                continue;
            }
            let read_at = known.vms.get(&object.vm).and_then(|vm| vm.read_at(&object.file(), there));
            left.push((read_at, object, there));
        }
        left.sort_by_key(|(read_at, object, _)| (*read_at, object.name()));
        let mut sum = 0_u64;
        let mut fits = |(place, (_, _, there)): (usize, &(_, _, There))| {
            sum = sum.saturating_add(there.size_bytes);
            place == 0 || self.question.budget_bytes.is_none_or(|budget| sum <= budget)
        };
        let count = left.iter().enumerate().take_while(|it| fits(*it)).count();
        let later = left.split_off(count);
        self.summary.left = later.len();
        self.summary.left_bytes = later.iter().map(|(_, _, there)| there.size_bytes).sum();

        let of = left.iter().map(|(_, _, there)| there.size_bytes).sum();
        let (store, progress) = (self.question.store, self.question.progress);
        let (throttle, bytes) = (Throttle::new(self.question.bytes_per_sec), AtomicU64::new(0));
        let each = |more: u64| {
            let done = bytes.fetch_add(more, Ordering::Relaxed) + more;
            progress(Progress { done, of, is_bytes: true });
        };
        let (throttle, each) = (&throttle, &each);
        let mut reads = stream::iter(left)
            .map(|(_, object, there)| async move {
                (whole(store, &object, there.size_bytes, throttle, each, |_| {}).await, object, there)
            })
            .buffer_unordered(self.question.parallel);
        let (mut failures, mut saved_at) = (0, (self.question.clock)());
        while let Some((read, object, there)) = reads.next().await {
            let is_read = read.is_ok();
            self.it.enter(read, &object, there, Depth::Full, &mut failures)?;
            if is_read {
                let now = (self.question.clock)();
                self.enter_read(known, &object, there, now);
                if (now - saved_at).num_seconds().abs() >= SAVE_EVERY_SECS {
                    (self.question.save)(known);
                    saved_at = now;
                }
            }
        }
        Ok(())
    }

    fn enter_read(&mut self, known: &mut Known, object: &Expected, there: There, at: DateTime<Utc>) {
        let There { size_bytes, modified } = there;
        self.summary.read += 1;
        self.summary.read_bytes += size_bytes;
        let vm = known.vms.entry(object.vm).or_default();
        vm.read.insert(object.file(), ReadWhole { at, size_bytes, modified });
    }

    /// Judges the objects that went while others were read: a prune takes the record as well.
    async fn gone(&mut self) -> Result<(), VerifyError> {
        for object in std::mem::take(&mut self.it.gone) {
            let has_record = match self.question.fifo.vm(object.vm).await {
                Ok(read) => read.vm.is_ok_and(|vm| vm.backups.contains(object.backup)),
                Err(FifoError::NoSuchVm { .. }) => false,
                Err(error) => return Err(error.into()),
            };
            if has_record {
                self.it.find(&object, None, Code::Missing, "it is not there any more".to_owned());
            }
        }
        Ok(())
    }

    /// Adds what was found earlier, at a greater depth than this run's, about objects that are still the same.
    fn carry_over(&mut self, known: &Known) {
        for (object, there) in self.it.objects.clone() {
            let (Some(there), Some(vm)) = (there, known.vms.get(&object.vm)) else { continue };
            let name = object.name();
            let depth = self.it.checked.get(&name).copied().unwrap_or(Depth::Objects);
            for finding in vm.still_broken(object.backup, &name, there, depth) {
                self.it.find(&object, Some(there), finding.code, finding.message.clone());
            }
        }
    }

    fn report(mut self, known: &mut Known) -> Report {
        let mut vms = Vec::new();
        for vm in self.vms.values() {
            vms.push(self.vm_report(vm, known.vms.entry(vm.id).or_default()));
        }
        Report {
            format: FORMAT.to_owned(),
            endpoint: self.question.endpoint.to_owned(),
            store: self.question.store_name.to_owned(),
            depth: self.question.depth,
            shard: self.question.shard,
            at: self.now,
            vms,
            unreadable_vms: Vec::new(),
            unread: self.it.unread.drain(..).map(|(_, _, unread)| unread).collect(),
            unknown_objects: Vec::new(),
            summary: self.summary,
        }
    }

    fn vm_report(&mut self, vm: &Vm, known: &mut KnownVm) -> VmReport {
        let is_bad = |id: BackupId| {
            self.it.findings.contains_key(&(vm.id, id))
                || self.it.unread.iter().any(|(of, backup, _)| (*of, *backup) == (vm.id, id))
        };
        let good: Vec<bool> =
            vm.backups.values().map(|backup| is_stored(backup) && !is_bad(backup.id)).collect();
        let restorable = restorable(&vm.backups, &good);
        let newest = vm.backups.values().zip(&restorable).filter(|(_, restorable)| **restorable);
        let newest = newest.map(|(backup, _)| (backup.timestamp, backup.id)).max().map(|(_, id)| id);
        known.read.retain(|file, _| {
            file.get(..36).and_then(|id| id.parse().ok()).is_some_and(|id| vm.backups.contains(id))
        });
        let proof = self.proof(vm, newest, known);
        let backups = vm.backups.values().zip(restorable);
        let mut backups: Vec<BackupReport> = backups
            .filter(|(backup, _)| backup.state == RecordedState::Completed)
            .map(|(backup, restorable)| BackupReport {
                backup: backup.id,
                parent: backup.parent,
                timestamp: backup.timestamp,
                comment: backup.comment.as_deref().map(str::to_owned),
                restorable,
                findings: self.it.findings.remove(&(vm.id, backup.id)).unwrap_or_default(),
            })
            .collect();
        backups.sort_by_key(|backup| (backup.timestamp, backup.backup));
        VmReport { uuid: vm.id, alias: vm.alias.clone(), backups, proof }
    }

    /// Says what is proven of the newest backup that nothing is known against.
    fn proof(&self, vm: &Vm, newest: Option<BackupId>, known: &KnownVm) -> Proof {
        // They are in the order of the VMs.
        let first = self.it.objects.partition_point(|(object, _)| object.vm < vm.id);
        let own = || self.it.objects.iter().skip(first).take_while(|(object, _)| object.vm == vm.id);
        let steps: BTreeSet<BackupId> = newest
            .and_then(|id| chain_of(&vm.backups, id))
            .map(|chain| chain.steps.iter().map(|step| step.id).collect())
            .unwrap_or_default();
        let streams = || own().filter(|(object, _)| !object.is_xml && steps.contains(&object.backup));
        let connects = !steps.is_empty()
            && streams().all(|(object, _)| self.it.guids.contains_key(&(vm.id, object.backup, object.disk)));
        let read = streams().map(|(object, there)| known.read_at(&object.file(), (*there)?));
        let read: Option<Vec<DateTime<Utc>>> = read.collect();
        let before = known.proof.connects_at.filter(|_| known.proof.backup == newest);
        Proof {
            backup: newest,
            objects: own().count(),
            objects_there: own().filter(|(_, there)| there.is_some()).count(),
            listed_at: Some(self.now),
            connects_at: if connects { Some(self.now) } else { before },
            read_at: read.and_then(|read| read.into_iter().min()),
        }
    }
}

const SAVE_EVERY_SECS: i64 = 30;
