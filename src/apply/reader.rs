//! Reads VMs, knowing that a reading may be old.
//!
//! With FiFo's cache on, a reading of a single VM can stay the same indefinitely; the list is never cached. So a single
//! reading shows that something *has* happened, and only the list that something has *not*.

use super::proof::Proof;
use crate::fifo::{ETag, FifoError, ReadClient};
use crate::inventory::{Inventory, UnreadableVm, Vm, VmId};
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore, SetOnce};
use tokio::time::Instant;

const READS_AT_A_TIME: usize = 8;

/// How old a list may be that confirms a single reading.
const RECENT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(super) struct VmReading {
    pub(super) vm: Vm,
    /// What a write can be made conditional on; changes with any change of the VM.
    pub(super) etag: Option<ETag>,
    pub(super) server_date: Option<DateTime<Utc>>,
    pub(super) at: Instant,
}

impl VmReading {
    /// Makes one from the list, which has neither a version nor a date of its own.
    pub(super) fn of_list(vm: Vm) -> Self {
        Self { vm, etag: None, server_date: None, at: Instant::now() }
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Fifo(Arc<FifoError>),
    #[error("FiFo's answer has invalid fields: {}", .0.problems.join("; "))]
    Unreadable(UnreadableVm),
    #[error("FiFo no longer has the VM, or this user may no longer see it")]
    Gone,
    #[error(
        "the list has none of the VMs that this run knows: \
         check that the user may still see them and that FiFo has finished starting"
    )]
    NoneKnown,
}

impl ReadError {
    /// Returns whether another read cannot help: FiFo refuses the user. More requests might even lock the user out.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Fifo(error) if error.is_refusal() || matches!(**error, FifoError::Forbidden { .. }))
    }
}

pub(super) struct VmReader<'a> {
    client: &'a ReadClient,
    proof: Option<&'a dyn Proof>,
    /// The VMs that the run is about, and a few others that detect an empty list; a list keeps no others in memory.
    vms: BTreeSet<VmId>,
    reads: Semaphore,
    /// The last list that was read, and when that began.
    listed: Mutex<Option<(Instant, Result<Inventory, ReadError>)>>,
    /// Whether FiFo truncates its list every time, so that the VMs are read one by one.
    is_list_cut: AtomicBool,
    /// Why FiFo refuses the user, once it does: then this run sends no more requests.
    refusal: SetOnce<ReadError>,
}

impl<'a> VmReader<'a> {
    pub(super) fn new(client: &'a ReadClient, proof: Option<&'a dyn Proof>, vms: BTreeSet<VmId>) -> Self {
        let (reads, refusal) = (Semaphore::new(READS_AT_A_TIME), SetOnce::new());
        let (listed, is_list_cut) = (Mutex::default(), AtomicBool::default());
        Self { client, proof, vms, reads, listed, is_list_cut, refusal }
    }

    fn marked(&self, mut vm: Vm) -> Vm {
        self.proof.iter().for_each(|proof| proof.mark(&mut vm));
        vm
    }

    /// Reads one VM by itself. What it does not show may have happened all the same; only the list shows for certain that
    /// the VM is gone.
    pub(super) async fn read(&self, id: VmId) -> Result<VmReading, ReadError> {
        // The semaphore is never closed, so this always succeeds.
        let _permit = self.reads.acquire().await.ok();
        self.not_refused()?;
        let read = self.client.vm(id).await.map_err(|error| match error {
            FifoError::NoSuchVm { .. } => ReadError::Gone,
            error => self.failed(error),
        })?;
        let vm = self.marked(read.vm.map_err(ReadError::Unreadable)?);
        Ok(VmReading { vm, etag: read.etag, server_date: read.server_date, at: Instant::now() })
    }

    /// Finds one VM in the list, which is never older than this call.
    ///
    /// Lists are large, and a FiFo that cannot return one takes minutes to say so: all who ask while one is being read
    /// wait for the next one, and share its result, good or bad.
    pub(super) async fn in_list(&self, id: VmId) -> Result<Vm, ReadError> {
        let asked = Instant::now();
        let mut listed = self.listed.lock().await;
        if listed.as_ref().is_none_or(|(began, _)| *began < asked) {
            *listed = Some((Instant::now(), self.read_list().await));
        }
        match &*listed {
            Some((_, Ok(list))) => find(list, id).map(|vm| self.marked(vm)),
            Some((_, Err(error))) => Err(error.clone()),
            None => Err(ReadError::NoneKnown),
        }
    }

    pub(super) async fn in_recent_list(&self, id: VmId) -> Option<Vm> {
        match &*self.listed.lock().await {
            Some((began, Ok(list))) if began.elapsed() < RECENT => {
                find(list, id).ok().map(|vm| self.marked(vm))
            }
            _ => None,
        }
    }

    /// Reads the list once. One without any of the VMs that the run knows is an error: it shows nothing about them.
    async fn read_list(&self) -> Result<Inventory, ReadError> {
        self.not_refused()?;
        let listing = self.client.list_only(&self.vms).await.map_err(|error| self.failed(error))?;
        self.is_list_cut.fetch_or(listing.one_by_one, Ordering::SeqCst);
        let inventory = listing.inventory;
        let is_known = |id: Option<VmId>| id.is_some_and(|id| self.vms.contains(&id));
        if inventory.vms.is_empty() && !inventory.unreadable.iter().any(|vm| is_known(vm.id)) {
            return Err(ReadError::NoneKnown);
        }
        Ok(inventory)
    }

    /// Returns whether what a list does not show has not happened. Where FiFo truncates its list, it is made of single
    /// readings, each of which may be old.
    pub(super) fn proves_absence(&self) -> bool {
        !self.is_list_cut.load(Ordering::SeqCst)
    }

    fn failed(&self, error: FifoError) -> ReadError {
        let is_refusal = error.is_refusal();
        let error = ReadError::Fifo(Arc::new(error));
        if is_refusal {
            // The first one stays.
            drop(self.refusal.set(error.clone()));
        }
        error
    }

    /// Waits until FiFo refuses the user, and returns the error.
    pub(super) async fn refused(&self) -> ReadError {
        self.refusal.wait().await.clone()
    }

    fn not_refused(&self) -> Result<(), ReadError> {
        self.refusal.get().map_or(Ok(()), |refusal| Err(refusal.clone()))
    }
}

fn find(listed: &Inventory, id: VmId) -> Result<Vm, ReadError> {
    if let Some(unreadable) = listed.unreadable.iter().find(|vm| vm.id == Some(id)) {
        return Err(ReadError::Unreadable(unreadable.clone()));
    }
    listed.vms.get(&id).cloned().ok_or(ReadError::Gone)
}
