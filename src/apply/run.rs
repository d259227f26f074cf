//! A whole run: all VMs side by side, until each has finished or is left to the next run.

use super::event::{Event, EventKind, Waiting};
use super::executor::{Approval, Executor};
use super::outcome::{ActionKind, ActionOutcome, ActionReport, Ended, RunReport, VmRef, VmReport};
use super::reader::VmReader;
use super::state::Alarm;
use super::upload::slots::{SlotPriority, Slots, waiting_text};
use super::upload::watch::{self, Registry, Upload, has_upload};
use super::vm::VmRun;
use super::write::gate::Gate;
use super::write::left_behind;
use crate::inventory::{Inventory, VmId};
use crate::plan::{Action, CascadeCost, CascadeCosts, VmPlan, expected_upload_bytes};
use crate::policy::Policy;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How many VMs that the run is not about are looked for in each list: one without any known VM is not believed.
pub const WITNESSES: usize = 8;

/// A wait that is shorter than this is not reported.
const REPORT_FIRST_AFTER: Duration = Duration::from_secs(5);

/// After so many VMs in a row that failed alike, a kind of delete is left to the next run.
const ALIKE_MAX: usize = 3;

/// What all VMs of a run share.
pub(super) struct Run<'a> {
    pub(super) executor: &'a Executor<'a>,
    pub(super) approval: Approval,
    pub(super) reader: VmReader<'a>,
    pub(super) slots: Arc<Slots>,
    uploads: Registry,
    pub(super) gate: Gate,
    /// Cancelled when what still waits is left to the next run.
    pub(super) hand_over_now: CancellationToken,
    /// Whether the deadline is the reason for that.
    is_past_deadline: AtomicBool,
    /// Cancelled by a signal and by the first alarm: nothing new is started then. The results of what was sent are still
    /// looked for.
    pub(super) stop: CancellationToken,
    results: Mutex<Results>,
}

#[derive(Default)]
struct Results {
    report: RunReport,
    /// Of each kind of delete, how the last VMs failed alike.
    alike: BTreeMap<ActionKind, Alike>,
    /// The VMs that get no delete, and why.
    barred: BTreeMap<VmId, String>,
}

struct Alike {
    code: &'static str,
    detail: Option<u16>,
    vms: BTreeSet<VmId>,
    message: String,
}

impl Executor<'_> {
    /// Carries out what is due on these VMs.
    ///
    /// `inventory` has, of what the plan was made from, these VMs, those with an [upload](crate::apply::has_upload), and
    /// some others. It is dropped once each VM has what it needs of it.
    pub async fn execute(&self, vms: &[VmPlan], inventory: Inventory, approval: Approval) -> RunReport {
        let due: Vec<(&VmPlan, VmId)> = vms
            .iter()
            .filter(|vm| !vm.due_actions().is_empty())
            .filter_map(|vm| Some((vm, vm.uuid?)))
            .collect();
        let (uploads, registered) = mpsc::unbounded_channel();
        let left_behind = self.notes.left_behind();
        let noted = left_behind.iter().filter_map(|note| note.vm);
        let run = Run {
            executor: self,
            approval,
            reader: VmReader::new(self.client.read(), known_vms(&due, noted, &inventory)),
            slots: Slots::new(self.settings.max_uploads, self.settings.max_uploads_per_hypervisor),
            uploads,
            gate: Gate::new(self.first_deletes(&due, &inventory)),
            hand_over_now: self.hand_over.child_token(),
            is_past_deadline: AtomicBool::new(false),
            stop: self.stop.child_token(),
            results: Mutex::default(),
        };
        run.results().report.vms = due.iter().map(|(vm, id)| VmReport::new(vm, *id)).collect();
        watch::register_foreign(&run, &inventory);
        run.emit(EventKind::Started {
            endpoint: inventory.endpoint.clone(),
            create: count(&due, Action::is_create),
            delete_local: count(&due, Action::is_local_delete),
            delete_cloud: count(&due, Action::is_cloud_delete),
            expected_bytes: expected_bytes(&due, &inventory),
        });

        let mut order: Vec<usize> = (0..due.len()).collect();
        // They arrive at the slots in the order in which they are to get them.
        order.sort_by_cached_key(|&place| self.priority(due[place].0));
        let mut vms: FuturesUnordered<_> = order
            .into_iter()
            .map(|place| VmRun::new(&run, place, due[place].0, due[place].1, &inventory).run())
            .collect();
        // Each has what it needs of it, and a run may last for hours.
        drop(inventory);
        let hold = (!left_behind.is_empty()).then(|| run.gate.hold());
        let all_through = async {
            tokio::join!(left_behind::compare(&run, left_behind, hold), async {
                while vms.next().await.is_some() {}
            })
        };
        tokio::select! {
            // Always polled in this order, so that a simulated run is the same every time.
            biased;
            never = run.hand_over_at_deadline() => match never {},
            _ = all_through => {}
            never = watch::watch(&run, registered) => match never {},
            never = run.report_waits() => match never {},
        }
        drop(vms);
        let mut report = run.results.into_inner().unwrap_or_else(PoisonError::into_inner).report;
        report.interrupted = self.stop.is_cancelled();
        self.observe(EventKind::Finished { tally: report.tally() });
        report
    }

    /// Returns the VMs with a local delete that is due from the start, each with the cost of its cheapest one.
    fn first_deletes(&self, due: &[(&VmPlan, VmId)], inventory: &Inventory) -> BTreeSet<(CascadeCost, VmId)> {
        let first = due.iter().filter_map(|&(planned, id)| {
            let deletes: Vec<_> = planned
                .due_actions()
                .iter()
                .filter_map(Action::as_local_delete)
                .filter(|delete| !delete.after_create)
                .filter_map(|delete| delete.backup)
                .collect();
            let (vm, policy) = (inventory.vms.get(&id)?, self.policy_of(planned)?);
            let costs = (!deletes.is_empty()).then(|| CascadeCosts::new(vm, policy, self.clock.now()))?;
            Some((deletes.into_iter().map(|backup| costs.of(backup)).min()?, id))
        });
        first.collect()
    }

    /// Returns when a VM gets its slot; `None` for one that needs none.
    fn priority(&self, planned: &VmPlan) -> Option<SlotPriority> {
        let create = planned.due_actions().iter().find_map(Action::as_create)?;
        Some(SlotPriority::of(create, self.policy_of(planned)))
    }

    fn policy_of(&self, planned: &VmPlan) -> Option<&Policy> {
        self.policies.iter().find(|policy| Some(&policy.name) == planned.policy.as_ref())
    }

    pub(super) fn observe(&self, what: EventKind) {
        self.observer.observe(&Event { time: self.clock.now(), what });
    }
}

impl Run<'_> {
    pub(super) fn emit(&self, what: EventKind) {
        self.executor.observe(what);
    }

    pub(super) fn warn(&self, at: &VmRef, message: String) {
        self.emit(EventKind::Warning { at: Some(at.clone()), message });
    }

    /// Has an upload watched.
    pub(super) fn register(&self, upload: Upload) {
        // The watch ends with the run only.
        drop(self.uploads.send(upload));
    }

    /// Adds how one of a VM's actions ended.
    pub(super) fn report(&self, place: usize, step: ActionReport) {
        if let Some(vm) = self.results().report.vms.get_mut(place) {
            vm.steps.push(step);
        }
    }

    /// Counts how a delete ended: after some VMs in a row that failed alike the kind is left to the next run.
    ///
    /// Not so creates: where one hypervisor refuses them, the VMs of the others must get theirs.
    pub(super) fn count(&self, kind: ActionKind, vm: VmId, ended: &Ended) {
        let is_failure = matches!(ended.outcome, ActionOutcome::Failed | ActionOutcome::Unverified);
        let mut results = self.results();
        match results.alike.get_mut(&kind) {
            Some(alike) if alike.vms.len() >= ALIKE_MAX => {}
            Some(alike) if is_failure && (alike.code, alike.detail) == (ended.code, ended.detail) => {
                alike.vms.insert(vm);
            }
            _ if is_failure && kind != ActionKind::Create => {
                let Ended { code, detail, message, .. } = ended.clone();
                results.alike.insert(kind, Alike { code, detail, vms: BTreeSet::from([vm]), message });
            }
            _ => _ = results.alike.remove(&kind),
        }
    }

    /// Returns why a VM gets no more deletes of a kind; `None` where it may.
    pub(super) fn is_over(&self, kind: ActionKind, vm: VmId) -> Option<String> {
        if kind == ActionKind::Create {
            return None;
        }
        if let Some(reason) = self.gate.closed() {
            return Some(format!("this run sends no more deletes, since {reason}"));
        }
        let results = self.results();
        if let Some(reason) = results.barred.get(&vm) {
            return Some(reason.clone());
        }
        let alike = results.alike.get(&kind).filter(|alike| alike.vms.len() >= ALIKE_MAX)?;
        Some(format!("{ALIKE_MAX} VMs in a row have failed alike ({})", alike.message))
    }

    /// Sends a VM no deletes in this run.
    pub(super) fn bar(&self, vm: Option<VmId>, why: String) {
        let mut results = self.results();
        if let Some(vm) = vm {
            results.barred.insert(vm, why.clone());
        }
        results.report.uncompared.push(why);
    }

    /// Raises an alarm, and starts nothing new.
    pub(super) fn raise(&self, alarm: Alarm) {
        self.gate.close("the safety stop is set".to_owned());
        self.emit(EventKind::CascadeAlarm(alarm.clone()));
        self.results().report.alarms.push(alarm);
        self.stop.cancel();
    }

    /// Returns the reason why what still waits is left to the next run.
    pub(super) fn hand_over_cause(&self) -> &'static str {
        if self.is_past_deadline.load(Ordering::SeqCst) {
            "the deadline of this run has passed"
        } else {
            "the next run is due"
        }
    }

    /// Leaves what still waits to the next run once the deadline has passed.
    async fn hand_over_at_deadline(&self) -> Infallible {
        if let Some(deadline) = self.executor.settings.deadline {
            sleep(deadline).await;
            self.is_past_deadline.store(true, Ordering::SeqCst);
            self.hand_over_now.cancel();
        }
        std::future::pending().await
    }

    /// Reports at intervals what is waited for, and once more when that is over, so that a run of hours is never silent.
    async fn report_waits(&self) -> Infallible {
        let every = self.executor.settings.timing.report_every;
        let mut is_reported = false;
        sleep(REPORT_FIRST_AFTER.min(every)).await;
        loop {
            let slots = self.slots.waited_for();
            let for_slot = slots.iter().map(|slots| slots.waiting).sum();
            if for_slot > 0 || is_reported {
                let message = waiting_text(for_slot, &slots);
                self.emit(EventKind::Waiting(Waiting { for_slot, slots, message }));
            }
            is_reported = for_slot > 0;
            sleep(every).await;
        }
    }

    fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lists the VMs that a list must be searched for: those that the run is about or that it left a note on, those with an
/// upload, and a few others that detect an empty list.
fn known_vms(
    due: &[(&VmPlan, VmId)],
    noted: impl Iterator<Item = VmId>,
    inventory: &Inventory,
) -> BTreeSet<VmId> {
    let uploading = inventory.vms.values().filter(|vm| has_upload(vm)).map(|vm| vm.id);
    let witnesses = inventory.vms.keys().copied().take(WITNESSES);
    due.iter().map(|(_, id)| *id).chain(noted).chain(uploading).chain(witnesses).collect()
}

fn count(due: &[(&VmPlan, VmId)], is_counted: impl Fn(&Action) -> bool) -> usize {
    due.iter().flat_map(|(vm, _)| vm.due_actions()).filter(|action| is_counted(action)).count()
}

/// Sums up what the new backups are likely to have; `None` where that of one is not known.
fn expected_bytes(due: &[(&VmPlan, VmId)], inventory: &Inventory) -> Option<u64> {
    let mut creates = due.iter().flat_map(|(planned, id)| {
        let creates = planned.due_actions().iter().filter_map(Action::as_create);
        creates.filter_map(|create| Some(expected_upload_bytes(inventory.vms.get(id)?, create)))
    });
    creates.try_fold(0, |sum: u64, bytes| Some(sum.saturating_add(bytes?)))
}
