//! The executor: client, policies, clock, settings and observer of a run.

use super::event::{Event, EventKind, Observer};
use super::state::Notes;
use super::timing::Timing;
use super::upload::progress::ProgressTracker;
use crate::fifo::WriteClient;
use crate::plan::{Prune, VmPlan};
use crate::policy::{Policies, Policy};
use chrono::{DateTime, Utc};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The clock of this machine, or a simulated one.
pub trait Clock: Send + Sync {
    fn now(&self) -> DateTime<Utc>;
}

/// What of the fresh decisions is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Everything, as `reconcile` does: also what becomes due in a VM once its new backup is there.
    Everything,
    /// What the plan lists, as `apply` does, and only on VMs that have not changed since.
    Listed,
}

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
    pub timing: Timing,
    /// What the command says of deletes from storage.
    pub prune: Prune,
}

pub struct Executor<'a> {
    pub client: &'a WriteClient,
    /// The policies that the plan was made from; each VM is decided again by them.
    pub policies: &'a Policies,
    pub clock: &'a dyn Clock,
    pub observer: &'a dyn Observer,
    /// Cancelled when nothing new may be started.
    pub stop: &'a CancellationToken,
    /// Cancelled when the next run is due: what still waits, for an upload, a slot or a clock, is then left to that run,
    /// which plans again for all VMs. One upload that hangs for hours must not delay what becomes due meanwhile.
    pub hand_over: &'a CancellationToken,
    /// The progress of uploads; to be kept from run to run.
    pub progress: &'a ProgressTracker,
    pub notes: &'a dyn Notes,
    pub settings: ExecutorSettings,
}

impl Executor<'_> {
    pub(super) fn policy_of(&self, planned: &VmPlan) -> Option<&Policy> {
        self.policies.iter().find(|policy| Some(&policy.name) == planned.policy.as_ref())
    }

    pub(super) fn observe(&self, what: EventKind) {
        self.observer.observe(&Event { time: self.clock.now(), what });
    }
}
