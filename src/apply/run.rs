//! A whole run: all VMs side by side, until each is through or has let go because the run is to end.

use super::canary::Gate;
use super::event::{Event, Observer, Place, What};
use super::limits::{Slot, Slots};
use super::look::Look;
use super::one_vm::Worker;
use super::outcome::{CascadeAlarm, Report, StepReport, VmReport};
use super::pace::Pace;
use super::running::{self, Unwatched};
use crate::fifo::WriteClient;
use crate::inventory::{Inventory, VmId};
use crate::plan::{Action, VmPlan};
use crate::policy::Policies;
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// How many VMs may be in the middle of a local delete: each is a few requests on connections of their own.
const DELETES_AT_A_TIME: usize = 8;

/// The clock of this machine, or a simulated one.
pub trait Clock: Send + Sync {
    /// Tells the instant.
    fn now(&self) -> DateTime<Utc>;
}

/// How a run is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many uploads may run in all, counting those that were running already.
    pub max_uploads: usize,
    /// How many uploads may run on one hypervisor, counting those that were running already.
    pub max_uploads_per_hypervisor: usize,
    /// Whether uploads are waited for. If not, what comes after them is left to the next run.
    pub wait: bool,
    /// The pauses and patience.
    pub pace: Pace,
}

/// Carries plans out against one FiFo.
pub struct Executor<'a> {
    /// The FiFo.
    pub client: &'a WriteClient,
    /// The policies that the plan was made from; each VM is decided again by them.
    pub policies: &'a Policies,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// Who is told what happens.
    pub observer: &'a dyn Observer,
    /// Cancelled when nothing new may be started any more.
    pub stop: &'a CancellationToken,
    /// Cancelled when the next run is due: what merely waits, for an upload, a place or a clock, is then left to that one,
    /// which plans anew for all VMs. One upload that hangs for hours must not hold up what comes due meanwhile.
    pub hand_over: &'a CancellationToken,
    /// How it is to be done.
    pub settings: Settings,
}

/// What all VMs of a run share.
pub(super) struct Shared<'a> {
    pub(super) executor: &'a Executor<'a>,
    pub(super) look: Look<'a>,
    pub(super) slots: Arc<Slots>,
    pub(super) gate: Gate,
    /// Uploads that no worker watches, with the places that they take.
    unwatched: Mutex<Vec<(Unwatched, Slot)>>,
    /// How many VMs may be in the middle of a local delete.
    turns: Semaphore,
    reports: Mutex<Vec<VmReport>>,
    alarms: Mutex<Vec<CascadeAlarm>>,
    /// Cancelled when the run is told to end, and with the first alarm: nothing new is started then. What has been
    /// asked for is still looked at, so that it is known what became of it.
    pub(super) stop: CancellationToken,
}

impl Executor<'_> {
    /// Carries out what is due on these VMs.
    ///
    /// `inventory` is what the plan was made from; it tells which uploads were running already.
    pub async fn carry_out(&self, vms: &[VmPlan], inventory: &Inventory) -> Report {
        let due: Vec<(&VmPlan, VmId)> = vms
            .iter()
            .filter(|vm| !vm.due_actions().is_empty())
            .filter_map(|vm| Some((vm, vm.uuid?)))
            .collect();
        let running = running::foreign(inventory, self.policies, self.clock.now());
        let known: BTreeSet<VmId> =
            due.iter().map(|(_, id)| *id).chain(running.iter().map(|upload| upload.vm)).collect();
        let slots = Slots::new(self.settings.max_uploads, self.settings.max_uploads_per_hypervisor);
        let shared = Shared {
            executor: self,
            look: Look::new(self.client.read(), known),
            unwatched: Mutex::new(running::occupy(&slots, running)),
            slots,
            gate: Gate::default(),
            turns: Semaphore::new(DELETES_AT_A_TIME),
            reports: Mutex::new(due.iter().map(|(vm, id)| VmReport::new(vm, *id)).collect()),
            alarms: Mutex::default(),
            stop: self.stop.child_token(),
        };
        shared.tell(What::Started {
            endpoint: inventory.endpoint.clone(),
            create: count(&due, |action| usize::from(action.is_create())),
            delete_local: count(&due, Action::local_deletes),
        });

        let mut workers: FuturesUnordered<_> = due
            .iter()
            .enumerate()
            .map(|(place, &(planned, id))| Worker::new(&shared, place, planned, id, inventory).run())
            .collect();
        let all_through = async { while workers.next().await.is_some() {} };
        tokio::select! {
            // Always looked at in this order, so that a simulated run is the same every time.
            biased;
            () = all_through => {}
            never = running::watch(&shared) => match never {},
        }
        drop(workers);
        let report = shared.into_report();
        self.observe(What::Finished { tally: report.tally() });
        report
    }

    fn observe(&self, what: What) {
        self.observer.observe(&Event { time: self.clock.now(), what });
    }
}

fn count(due: &[(&VmPlan, VmId)], of: impl Fn(&Action) -> usize) -> usize {
    due.iter().flat_map(|(vm, _)| vm.due_actions()).map(of).sum()
}

impl Shared<'_> {
    pub(super) fn tell(&self, what: What) {
        self.executor.observe(what);
    }

    /// Keeps a place taken for an upload that no worker watches, until it is seen to have ended.
    pub(super) fn keep_running(&self, upload: Unwatched, slot: Slot) {
        self.unwatched.lock().unwrap_or_else(PoisonError::into_inner).push((upload, slot));
    }

    /// Hands out the uploads that no worker watches, to be looked at.
    pub(super) fn take_unwatched(&self) -> Vec<(Unwatched, Slot)> {
        std::mem::take(&mut *self.unwatched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a turn to do a local delete.
    pub(super) async fn take_turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so there is always a turn in the end.
        self.turns.acquire().await.ok()
    }

    /// Notes how one of a VM's actions ended.
    pub(super) fn report(&self, place: usize, step: StepReport) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = reports.get_mut(place) {
            report.steps.push(step);
        }
    }

    /// Tells that backups have vanished, and has nothing new started.
    pub(super) fn raise(&self, alarm: CascadeAlarm) {
        self.tell(What::CascadeAlarm {
            at: alarm.at.clone(),
            backup: alarm.backup,
            gone: alarm.gone.clone(),
        });
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner).push(alarm);
        self.stop.cancel();
    }

    fn into_report(self) -> Report {
        Report {
            vms: self.reports.into_inner().unwrap_or_else(PoisonError::into_inner),
            alarms: self.alarms.into_inner().unwrap_or_else(PoisonError::into_inner),
            interrupted: self.executor.stop.is_cancelled(),
        }
    }
}

impl VmReport {
    fn new(planned: &VmPlan, vm: VmId) -> Self {
        Self { at: Place { vm, alias: planned.alias.clone() }, steps: Vec::new() }
    }
}
