//! A whole run: all VMs side by side, until each is through or has let go because the run is to end.

use super::background::{self, BackgroundUpload};
use super::canary::DeleteGate;
use super::event::{Event, EventKind, Observer, VmRef};
use super::progress::ProgressTracker;
use super::reader::VmReader;
use super::report::{ActionReport, CascadeAlarm, RunReport, VmReport};
use super::slots::{Slot, Slots};
use super::timing::Timing;
use super::waiting::{self, WaitCount};
use super::worker::VmWorker;
use crate::fifo::WriteClient;
use crate::inventory::{Inventory, VmId};
use crate::plan::{Action, CascadeCost, VmPlan, cascade_cost};
use crate::policy::Policies;
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// How many VMs may be in the middle of a local delete: each is a few requests on connections of their own.
const DELETES_AT_A_TIME: usize = 8;

/// How many VMs that the run is not about are looked for in each list: one that shows nobody at all is not believed.
const WITNESSES: usize = 8;

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
    /// After how long what still waits, for an upload, a place or a clock, is left to the next run.
    pub deadline: Option<Duration>,
    /// The pauses and patience.
    pub timing: Timing,
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
    /// What is known of how uploads move; to be kept from run to run.
    pub progress: &'a ProgressTracker,
    /// How it is to be done.
    pub settings: Settings,
}

/// What all VMs of a run share.
pub(super) struct RunContext<'a> {
    pub(super) executor: &'a Executor<'a>,
    pub(super) reader: VmReader<'a>,
    pub(super) slots: Arc<Slots>,
    pub(super) gate: DeleteGate,
    /// Uploads that no worker watches, with the places that they take.
    background: Mutex<Vec<(BackgroundUpload, Slot)>>,
    /// How many VMs may be in the middle of a local delete.
    turns: Semaphore,
    /// How many VMs wait for a clock.
    clock_waits: AtomicUsize,
    /// Cancelled when what merely waits is left to the next run.
    pub(super) hand_over_now: CancellationToken,
    /// Whether that is since the deadline has passed.
    is_past_deadline: AtomicBool,
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
    pub async fn execute(&self, vms: &[VmPlan], inventory: &Inventory) -> RunReport {
        let due: Vec<(&VmPlan, VmId)> = vms
            .iter()
            .filter(|vm| !vm.due_actions().is_empty())
            .filter_map(|vm| Some((vm, vm.uuid?)))
            .collect();
        let slots = Slots::new(self.settings.max_uploads, self.settings.max_uploads_per_hypervisor);
        let running = background::foreign(inventory, self, &slots);
        let mut known: BTreeSet<VmId> =
            due.iter().map(|(_, id)| *id).chain(running.iter().map(|(upload, _)| upload.at.vm)).collect();
        known.extend(inventory.vms.keys().take(WITNESSES));
        let ordered: Vec<Ordered<'_>> =
            due.iter().map(|&(planned, id)| self.in_order(planned, id, inventory)).collect();
        let first_deletes =
            ordered.iter().zip(&due).filter_map(|(one, (_, id))| Some((one.first_cost?, *id)));
        let context = RunContext {
            executor: self,
            reader: VmReader::new(self.client.read(), known),
            background: Mutex::new(running),
            slots,
            gate: DeleteGate::new(first_deletes.collect()),
            turns: Semaphore::new(DELETES_AT_A_TIME),
            clock_waits: AtomicUsize::new(0),
            hand_over_now: self.hand_over.child_token(),
            is_past_deadline: AtomicBool::new(false),
            reports: Mutex::new(due.iter().map(|(vm, id)| VmReport::new(vm, *id)).collect()),
            alarms: Mutex::default(),
            stop: self.stop.child_token(),
        };
        context.tell(EventKind::Started {
            endpoint: inventory.endpoint.clone(),
            create: count(&due, |action| usize::from(action.is_create())),
            delete_local: count(&due, Action::local_deletes),
        });

        let mut workers: FuturesUnordered<_> = due
            .iter()
            .zip(ordered)
            .enumerate()
            .map(|(place, (&(planned, id), ordered))| {
                VmWorker::new(&context, place, planned, id, inventory).run(ordered.actions)
            })
            .collect();
        let all_through = async { while workers.next().await.is_some() {} };
        tokio::select! {
            // Always looked at in this order, so that a simulated run is the same every time.
            biased;
            never = context.hand_over_at_deadline() => match never {},
            () = all_through => {}
            never = background::watch(&context) => match never {},
            never = waiting::tell(&context) => match never {},
        }
        drop(workers);
        let report = context.into_report();
        self.observe(EventKind::Finished { tally: report.tally() });
        report
    }

    fn observe(&self, what: EventKind) {
        self.observer.observe(&Event { time: self.clock.now(), what });
    }

    /// Puts a VM's actions in the order in which they are done: as planned, except that of the local deletes at the
    /// beginning the cheapest one to lose goes first.
    fn in_order<'v>(&self, planned: &'v VmPlan, id: VmId, inventory: &Inventory) -> Ordered<'v> {
        let mut actions: Vec<&Action> = planned.due_actions().iter().collect();
        let policy = self.policies.iter().find(|policy| Some(&policy.name) == planned.policy.as_ref());
        let (Some(vm), Some(policy)) = (inventory.vms.get(&id), policy) else {
            return Ordered { actions, first_cost: None };
        };
        let now = self.clock.now();
        let cost_of = |action: &&Action| match action {
            Action::DeleteLocal(delete) if !delete.after_create => {
                Some(cascade_cost(vm, delete.backup, policy, now))
            }
            _ => None,
        };
        let leading = actions.iter().take_while(|action| cost_of(action).is_some()).count();
        if let Some(deletes) = actions.get_mut(..leading) {
            deletes.sort_by_cached_key(cost_of);
        }
        let first_cost = actions.first().and_then(cost_of);
        Ordered { actions, first_cost }
    }
}

/// What is to be done to one VM.
struct Ordered<'v> {
    actions: Vec<&'v Action>,
    /// What the first action would cost in the worst case, where it is a local delete.
    first_cost: Option<CascadeCost>,
}

fn count(due: &[(&VmPlan, VmId)], of: impl Fn(&Action) -> usize) -> usize {
    due.iter().flat_map(|(vm, _)| vm.due_actions()).map(of).sum()
}

impl RunContext<'_> {
    pub(super) fn tell(&self, what: EventKind) {
        self.executor.observe(what);
    }

    /// Has what merely waits left to the next run once the deadline has passed.
    async fn hand_over_at_deadline(&self) -> Infallible {
        if let Some(deadline) = self.executor.settings.deadline {
            tokio::time::sleep(deadline).await;
            self.is_past_deadline.store(true, Ordering::SeqCst);
            self.hand_over_now.cancel();
        }
        std::future::pending().await
    }

    /// Says why what merely waits is left to the next run.
    pub(super) fn why_handed_over(&self) -> &'static str {
        if self.is_past_deadline.load(Ordering::SeqCst) {
            "the deadline of this run has passed"
        } else {
            "the next run is due"
        }
    }

    /// Counts a VM that waits for a clock.
    pub(super) fn waits_for_clock(&self) -> WaitCount<'_> {
        WaitCount::new(&self.clock_waits)
    }

    /// Gives how many VMs wait for a clock.
    pub(super) fn clock_waits(&self) -> usize {
        self.clock_waits.load(Ordering::SeqCst)
    }

    /// Keeps a place taken for an upload that no worker watches, until it is seen to have ended.
    pub(super) fn keep_in_background(&self, upload: BackgroundUpload, slot: Slot) {
        self.background.lock().unwrap_or_else(PoisonError::into_inner).push((upload, slot));
    }

    /// Hands out the uploads that no worker watches, to be looked at.
    pub(super) fn take_background(&self) -> Vec<(BackgroundUpload, Slot)> {
        std::mem::take(&mut *self.background.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a turn to do a local delete.
    pub(super) async fn take_turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so there is always a turn in the end.
        self.turns.acquire().await.ok()
    }

    /// Notes how one of a VM's actions ended.
    pub(super) fn report(&self, place: usize, step: ActionReport) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = reports.get_mut(place) {
            report.steps.push(step);
        }
    }

    /// Tells that backups have vanished, and has nothing new started.
    pub(super) fn raise_alarm(&self, alarm: CascadeAlarm) {
        self.gate.close("backups have vanished".to_owned());
        self.tell(EventKind::CascadeAlarm {
            at: alarm.at.clone(),
            backup: alarm.backup,
            gone: alarm.gone.clone(),
        });
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner).push(alarm);
        self.stop.cancel();
    }

    fn into_report(self) -> RunReport {
        RunReport {
            vms: self.reports.into_inner().unwrap_or_else(PoisonError::into_inner),
            alarms: self.alarms.into_inner().unwrap_or_else(PoisonError::into_inner),
            interrupted: self.executor.stop.is_cancelled(),
        }
    }
}

impl VmReport {
    fn new(planned: &VmPlan, vm: VmId) -> Self {
        Self { at: VmRef { vm, alias: planned.alias.clone() }, steps: Vec::new() }
    }
}
