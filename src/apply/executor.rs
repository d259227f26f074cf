//! The executor: client, policies, clock, settings and observer of a run.

use super::event::Observer;
use super::state::{DeleteNote, InFlight, LeftBehind};
use super::timing::Timing;
use super::upload::progress::ProgressTracker;
use crate::fifo::WriteClient;
use crate::inventory::VmId;
use crate::plan::Prune;
use crate::policy::Policies;
use chrono::{DateTime, Utc};
use std::io;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The clock of this machine, or a simulated one.
pub trait Clock: Send + Sync {
    /// Returns the present instant.
    fn now(&self) -> DateTime<Utc>;
}

/// The notes on local deletes in flight, which outlive a run that is killed.
pub trait Notes: Send + Sync {
    /// Takes note of a delete that is about to be sent. When this returns, the note survives a kill.
    ///
    /// # Errors
    ///
    /// The VM has a note already, or it could not be written: the delete must not be sent.
    fn note(&self, note: &DeleteNote) -> io::Result<()>;

    /// Removes a VM's note, since the effect of its delete is known.
    ///
    /// # Errors
    ///
    /// It could not be removed.
    fn remove(&self, vm: VmId) -> io::Result<()>;

    /// Returns the notes that are there.
    fn left_behind(&self) -> Vec<LeftBehind>;
}

impl Notes for InFlight {
    fn note(&self, note: &DeleteNote) -> io::Result<()> {
        InFlight::note(self, note)
    }

    fn remove(&self, vm: VmId) -> io::Result<()> {
        InFlight::remove(self, vm)
    }

    fn left_behind(&self) -> Vec<LeftBehind> {
        InFlight::left_behind(self)
    }
}

/// What of the fresh decisions is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Everything, as `reconcile` does: also what becomes due in a VM once its new backup is there.
    Everything,
    /// What the plan lists, as `apply` does, and only on VMs that have not changed since.
    Listed,
}

/// The settings of a run.
#[derive(Clone, Copy, Debug)]
pub struct ExecutorSettings {
    /// How many uploads may run in all, counting those that were running already.
    pub max_uploads: usize,
    /// How many uploads may run on one hypervisor, counting those that were running already.
    pub max_uploads_per_hypervisor: usize,
    /// Whether uploads are waited for. If not, what comes after them is left to the next run.
    pub wait: bool,
    /// After how long what still waits, for an upload, a slot or a clock, is left to the next run.
    pub deadline: Option<Duration>,
    /// Timeouts and intervals.
    pub timing: Timing,
    /// What the command says of deletes from storage.
    pub prune: Prune,
}

/// Executes plans against one FiFo.
pub struct Executor<'a> {
    pub client: &'a WriteClient,
    /// The policies that the plan was made from; each VM is decided again by them.
    pub policies: &'a Policies,
    pub clock: &'a dyn Clock,
    /// Receives the events.
    pub observer: &'a dyn Observer,
    /// Cancelled when nothing new may be started.
    pub stop: &'a CancellationToken,
    /// Cancelled when the next run is due: what still waits, for an upload, a slot or a clock, is then left to that run,
    /// which plans again for all VMs. One upload that hangs for hours must not delay what becomes due meanwhile.
    pub hand_over: &'a CancellationToken,
    /// The progress of uploads; to be kept from run to run.
    pub progress: &'a ProgressTracker,
    /// The notes on deletes in flight.
    pub notes: &'a dyn Notes,
    pub settings: ExecutorSettings,
}
