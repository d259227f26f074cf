//! A whole run: all VMs side by side, until each has finished or is left to the next run.

use super::action::VmRef;
use super::background;
use super::background_watch;
use super::canary::DeleteGate;
use super::context::RunContext;
use super::event::EventKind;
use super::executor::Executor;
use super::reader::VmReader;
use super::report::{RunReport, VmReport};
use super::slots::{SlotPriority, Slots};
use super::waiting;
use super::worker::VmWorker;
use crate::inventory::{Inventory, VmId};
use crate::plan::{Action, CascadeCost, CascadeCosts, VmPlan, expected_upload_bytes};
use crate::policy::Policy;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use tokio::sync::Semaphore;

/// How many VMs may be in the middle of a local delete: each takes a few requests on connections of their own.
const DELETES_AT_A_TIME: usize = 8;

/// How many VMs that the run is not about are looked for in each list: one without any known VM is not believed.
pub const WITNESSES: usize = 8;

impl Executor<'_> {
    /// Executes what is due on these VMs.
    ///
    /// `inventory` has, of what the plan was made from, these VMs, those with an [upload](crate::apply::has_upload), and
    /// some others. It is dropped once the workers have what they need of it.
    pub async fn execute(&self, vms: &[VmPlan], inventory: Inventory) -> RunReport {
        let due: Vec<(&VmPlan, VmId)> = vms
            .iter()
            .filter(|vm| !vm.due_actions().is_empty())
            .filter_map(|vm| Some((vm, vm.uuid?)))
            .collect();
        let ordered: Vec<Ordered<'_>> =
            due.iter().map(|&(planned, id)| self.in_order(planned, id, &inventory)).collect();
        let first_deletes =
            ordered.iter().zip(&due).filter_map(|(one, (_, id))| Some((one.first_cost?, *id)));
        let context = self.context(&due, first_deletes.collect(), &inventory);
        context.emit(EventKind::Started {
            endpoint: inventory.endpoint.clone(),
            create: count(&due, Action::is_create),
            delete_local: count(&due, Action::is_local_delete),
            delete_cloud: count(&due, Action::is_cloud_delete),
            expected_bytes: expected_bytes(&due, &inventory),
        });

        let mut places: Vec<(usize, Ordered<'_>)> = ordered.into_iter().enumerate().collect();
        // They arrive at the slots in the order in which they are to get them.
        places.sort_by_cached_key(|&(place, _)| self.priority(due[place].0));
        let mut workers: FuturesUnordered<_> = places
            .into_iter()
            .map(|(place, ordered)| {
                let (planned, id) = due[place];
                VmWorker::new(&context, place, planned, id, &inventory).run(ordered.actions)
            })
            .collect();
        // Each worker has what it needs of it, and a run may last for hours.
        drop(inventory);
        let all_through = async { while workers.next().await.is_some() {} };
        tokio::select! {
            // Always polled in this order, so that a simulated run is the same every time.
            biased;
            never = context.hand_over_at_deadline() => match never {},
            () = all_through => {}
            never = background_watch::watch(&context) => match never {},
            never = waiting::report(&context) => match never {},
        }
        drop(workers);
        let report = context.into_report();
        self.observe(EventKind::Finished { tally: report.tally() });
        report
    }

    fn context(
        &self,
        due: &[(&VmPlan, VmId)],
        first_deletes: BTreeSet<(CascadeCost, VmId)>,
        inventory: &Inventory,
    ) -> RunContext<'_> {
        let slots = Slots::new(self.settings.max_uploads, self.settings.max_uploads_per_hypervisor);
        let running = background::foreign(inventory, self, &slots);
        let mut known: BTreeSet<VmId> =
            due.iter().map(|(_, id)| *id).chain(running.iter().map(|(upload, _)| upload.at.vm)).collect();
        known.extend(inventory.vms.keys().take(WITNESSES));
        RunContext {
            executor: self,
            reader: VmReader::new(self.client.read(), known),
            background: Mutex::new(running),
            slots,
            gate: DeleteGate::new(first_deletes),
            storage: tokio::sync::Mutex::new(None),
            turns: Semaphore::new(DELETES_AT_A_TIME),
            clock_waits: AtomicUsize::new(0),
            hand_over_now: self.hand_over.child_token(),
            is_past_deadline: AtomicBool::new(false),
            reports: Mutex::new(due.iter().map(|(vm, id)| VmReport::new(vm, *id)).collect()),
            alarms: Mutex::default(),
            stop: self.stop.child_token(),
        }
    }

    /// Returns when a VM gets its slot; `None` for one that needs none.
    fn priority(&self, planned: &VmPlan) -> Option<SlotPriority> {
        let create = planned.due_actions().iter().find_map(Action::as_create)?;
        Some(SlotPriority::of(create, self.policy_of(planned)?))
    }

    fn policy_of(&self, planned: &VmPlan) -> Option<&Policy> {
        self.policies.iter().find(|policy| Some(&policy.name) == planned.policy.as_ref())
    }

    /// Puts a VM's actions in the order of their execution: as planned, except that of the local deletes at the start the
    /// one with the cheapest chain goes first.
    fn in_order<'v>(&self, planned: &'v VmPlan, id: VmId, inventory: &Inventory) -> Ordered<'v> {
        let mut actions: Vec<&Action> = planned.due_actions().iter().collect();
        let (Some(vm), Some(policy)) = (inventory.vms.get(&id), self.policy_of(planned)) else {
            return Ordered { actions, first_cost: None };
        };
        let costs = LazyCell::new(|| CascadeCosts::new(vm, policy, self.clock.now()));
        let cost_of = |action: &&Action| {
            let delete = action.as_local_delete().filter(|delete| !delete.after_create)?;
            Some(costs.of(delete.backup?))
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

impl VmReport {
    fn new(planned: &VmPlan, vm: VmId) -> Self {
        Self { at: VmRef { vm, alias: planned.alias.clone() }, steps: Vec::new() }
    }
}
