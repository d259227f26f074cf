//! A whole run: all VMs side by side, until each has finished or is left to the next run.

use super::event::{EventKind, RunReport};
use super::executor::{Approval, Executor, Run};
use super::reader::VmReader;
use super::upload::moving::has_upload;
use super::upload::slots::{SlotPriority, Slots};
use super::upload::watch;
use super::vm::VmRun;
use super::write::gate::Gate;
use super::write::left_behind;
use crate::inventory::{Inventory, VmId};
use crate::plan::{Action, CascadeCost, CascadeCosts, VmPlan, expected_upload_bytes};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How many VMs that the run is not about are looked for in each list: one without any known VM is not believed.
pub const WITNESSES: usize = 8;

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
            reader: VmReader::new(self.client.read(), self.proof, known_vms(&due, noted, &inventory)),
            slots: Slots::new(self.settings.max_uploads, self.settings.max_uploads_per_hypervisor),
            gate: Gate::new(self.first_deletes(&due, &inventory)),
            uploads,
            hand_over_now: self.hand_over.child_token(),
            deadline: self.settings.deadline.map(|deadline| Instant::now() + deadline),
            stop: self.stop.child_token(),
            report: Mutex::default(),
        };
        watch::register_foreign(&run, &inventory);
        run.emit(EventKind::Started {
            endpoint: inventory.endpoint.clone(),
            create: count(&due, Action::is_create),
            delete_local: count(&due, Action::is_local_delete),
            delete_cloud: count(&due, Action::is_cloud_delete),
            expected_bytes: expected_bytes(&due, &inventory),
        });

        let mut order: Vec<(usize, &VmPlan, VmId)> =
            due.iter().enumerate().map(|(place, &(vm, id))| (place, vm, id)).collect();
        // They arrive at the slots in the order in which they are to get them.
        order.sort_by_cached_key(|(_, vm, _)| self.priority(vm));
        let started = order.into_iter().map(|(place, planned, id)| {
            let vm = VmRun::new(&run, planned, id, &inventory);
            async move { (place, vm.run().await) }
        });
        let mut vms: FuturesUnordered<_> = started.collect();
        // Each has what it needs of it, and a run may last for hours.
        drop(inventory);
        let hold = (!left_behind.is_empty()).then(|| run.gate.hold());
        let mut ended = BTreeMap::new();
        let all_through = async {
            tokio::join!(left_behind::compare(&run, left_behind, hold), async {
                while let Some((place, report)) = vms.next().await {
                    ended.insert(place, report);
                }
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
        let mut report = run.report.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.vms = ended.into_values().collect();
        report.interrupted = self.stop.is_cancelled();
        self.observe(EventKind::Finished { tally: report.tally() });
        report
    }

    fn first_deletes(&self, due: &[(&VmPlan, VmId)], inventory: &Inventory) -> BTreeSet<(CascadeCost, VmId)> {
        let first = due.iter().filter_map(|&(planned, id)| {
            let deletes = planned.due_actions().iter().filter_map(Action::as_local_delete);
            let now = deletes.filter(|delete| !delete.after_create).filter_map(|delete| delete.backup);
            let backups: Vec<_> = now.collect();
            let (vm, policy) = (inventory.vms.get(&id)?, self.policy_of(planned)?);
            let costs = (!backups.is_empty()).then(|| CascadeCosts::new(vm, policy, self.clock.now()))?;
            Some((backups.into_iter().map(|backup| costs.of(backup)).min()?, id))
        });
        first.collect()
    }

    fn priority(&self, planned: &VmPlan) -> Option<SlotPriority> {
        let create = planned.due_actions().iter().find_map(Action::as_create)?;
        Some(SlotPriority::of(create, self.policy_of(planned)))
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

fn expected_bytes(due: &[(&VmPlan, VmId)], inventory: &Inventory) -> Option<u64> {
    let mut creates = due.iter().flat_map(|(planned, id)| {
        let creates = planned.due_actions().iter().filter_map(Action::as_create);
        creates.filter_map(|create| Some(expected_upload_bytes(inventory.vms.get(id)?, create)))
    });
    creates.try_fold(0, |sum: u64, bytes| Some(sum.saturating_add(bytes?)))
}
