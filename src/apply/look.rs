//! Looking at a VM, knowing that what is seen may be old.
//!
//! Where FiFo's cache is on, a single VM's reading can stay as it was for ever; the list is never cached. So a single
//! reading is good for seeing that something *has* happened, and only the list for seeing that something has *not*.

use crate::fifo::{ETag, FifoError, ReadClient};
use crate::inventory::{Inventory, UnreadableVm, Vm, VmId};
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex, Semaphore};

/// How many requests are under way at a time, writes not counted.
const READS_AT_A_TIME: usize = 8;

/// A VM as it was just seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) vm: Vm,
    /// What a write can be made conditional on; changes with any change of the VM.
    pub(super) etag: Option<ETag>,
    /// The server's clock at that reading.
    pub(super) server_date: Option<DateTime<Utc>>,
}

/// Why a VM could not be seen.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Fifo(#[from] FifoError),
    #[error("its answer could not be read whole: {}", .0.problems.join("; "))]
    Unreadable(UnreadableVm),
    #[error("FiFo does not have it any more, or not for this user")]
    Gone,
}

impl LookError {
    /// Says whether looking again cannot help: FiFo refuses us. Going on asking might even lock the user out.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Fifo(error) => match error {
                FifoError::SignInRefused { .. }
                | FifoError::TokenRefused { .. }
                | FifoError::NewTokenRefused { .. }
                | FifoError::UnusableToken
                | FifoError::Forbidden { .. } => true,
                FifoError::Connection { .. }
                | FifoError::SignInUnavailable { .. }
                | FifoError::TimedOut { .. }
                | FifoError::NoSuchVm { .. }
                | FifoError::Status { .. }
                | FifoError::Unreadable { .. } => false,
            },
            Self::Unreadable(_) | Self::Gone => false,
        }
    }
}

/// The eyes of a run.
pub(super) struct Look<'a> {
    client: &'a ReadClient,
    /// The VMs that the run is about; a list keeps no others in memory.
    vms: BTreeSet<VmId>,
    reads: Semaphore,
    asked: AtomicU64,
    listed: Mutex<Listed>,
}

/// The last list that was read, and how many had asked for one when it began.
#[derive(Default)]
struct Listed {
    began_after: u64,
    inventory: Inventory,
}

impl<'a> Look<'a> {
    pub(super) fn new(client: &'a ReadClient, vms: BTreeSet<VmId>) -> Self {
        let reads = Semaphore::new(READS_AT_A_TIME);
        Self { client, vms, reads, asked: AtomicU64::new(0), listed: Mutex::default() }
    }

    /// Reads one VM by itself. What it does not show may have happened all the same; that the VM is gone, only the list
    /// can show for certain.
    pub(super) async fn at(&self, id: VmId) -> Result<Seen, LookError> {
        // The semaphore is never closed, so a failure to acquire cannot be; then there is simply no limit.
        let _permit = self.reads.acquire().await.ok();
        let read = self.client.vm(id).await.map_err(|error| match error {
            FifoError::NoSuchVm { .. } => LookError::Gone,
            error => LookError::Fifo(error),
        })?;
        let vm = read.vm.map_err(LookError::Unreadable)?;
        Ok(Seen { vm, etag: read.etag, server_date: read.server_date })
    }

    /// Finds one VM in the list, which is never older than this call.
    ///
    /// Lists are large: whoever asks while one is being read waits for the next one, and shares it with all others.
    pub(super) async fn in_list(&self, id: VmId) -> Result<Vm, LookError> {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut listed = self.listed.lock().await;
        if listed.began_after < mine {
            let began_after = self.asked.load(Ordering::SeqCst);
            let inventory = self.client.list_only(&self.vms).await?.inventory;
            *listed = Listed { began_after, inventory };
        }
        if let Some(unreadable) = listed.inventory.unreadable.iter().find(|vm| vm.id == Some(id)) {
            return Err(LookError::Unreadable(unreadable.clone()));
        }
        listed.inventory.vms.get(&id).cloned().ok_or(LookError::Gone)
    }
}
