//! The state of one VM during a run: reads, compares, decides again, waits.

use super::action::{ActionRef, DeleteKind, VmRef};
use super::cascade_guard::CascadeGuard;
use super::context::RunContext;
use super::reader::{ReadError, VmReading};
use super::state::Alarm;
use super::step::{DropReason, FailureReason, HandOverReason, InterruptReason, StepError};
use crate::fifo::with_causes;
use crate::inventory::{BackupId, Inventory, RecordedState, Vm, VmId};
use crate::plan::{Action, Create, DeleteCloud, VmPlan, audit, decide, expected_upload_bytes, fingerprint};
use crate::policy::Name;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Executes the plan of one VM.
pub(super) struct VmWorker<'a> {
    pub(super) context: &'a RunContext<'a>,
    pub(super) id: VmId,
    pub(super) at: VmRef,
    /// The hypervisor it was on when the plan was made; if it is on another one by now, nothing is done.
    pub(super) hypervisor: String,
    pub(super) planned: &'a VmPlan,
    pub(super) place: usize,
    /// The bytes that the planned backup is likely to have.
    pub(super) expected_bytes: Option<u64>,
    /// The backups that are known to be on record: a reading that lacks one is old, or a backup has vanished.
    pub(super) known: BTreeSet<BackupId>,
    /// The backups that must stay, once a delete was sent.
    pub(super) guard: Option<CascadeGuard>,
    /// The backups that are to be deleted from storage.
    pub(super) expired: BTreeSet<BackupId>,
    /// Those of them that a list, or a reading after their delete, has shown to be gone: a reading that has one is old.
    pub(super) gone: BTreeSet<BackupId>,
    /// Whether a delete from storage has failed: then the others of the VM are left to the next run.
    pub(super) has_failed_to_prune: bool,
    /// The backup that this run has seen complete.
    pub(super) completed: Option<BackupId>,
    /// Whether its create is left to another run: then the actions after it are too.
    pub(super) is_create_handed_over: bool,
    /// Whether its uploads that count as stuck have been read twice.
    pub(super) has_checked_stuck: bool,
    /// The reading that showed a new backup complete, and when: the next action needs no other one if it follows at once.
    pub(super) last_poll: Option<(VmReading, Instant)>,
    /// Whether the VM has been found to be as it was when the plan was made.
    compared: bool,
    /// How far FiFo's clock was ahead of this machine's in the last answer with a date.
    server_ahead: Option<TimeDelta>,
}

/// A reading that is older than this is not acted on: the VM is read again.
const LAST_POLL_AGE_MAX: Duration = Duration::from_secs(1);

/// Why a wait was cut short.
pub(super) enum WaitError {
    /// The run is ending.
    Stopped,
    /// What still waits is left to the next run.
    HandedOver,
    /// FiFo refuses the user.
    Refused(ReadError),
}

impl<'a> VmWorker<'a> {
    pub(super) fn new(
        context: &'a RunContext<'a>,
        place: usize,
        planned: &'a VmPlan,
        id: VmId,
        inventory: &Inventory,
    ) -> Self {
        let vm = inventory.vms.get(&id);
        Self {
            context,
            id,
            at: VmRef { vm: id, alias: planned.alias.clone() },
            hypervisor: vm.and_then(|vm| vm.hypervisor.clone()).unwrap_or_default(),
            planned,
            place,
            expected_bytes: vm
                .zip(planned_create(planned))
                .and_then(|(vm, create)| expected_upload_bytes(vm, create)),
            known: vm.map(|vm| vm.backups.keys().collect()).unwrap_or_default(),
            guard: None,
            expired: planned_prunes(planned),
            gone: BTreeSet::new(),
            has_failed_to_prune: false,
            completed: None,
            is_create_handed_over: false,
            has_checked_stuck: false,
            last_poll: None,
            compared: false,
            server_ahead: None,
        }
    }

    /// Reads the VM; the first time also checks that it is still what the plan was made from.
    ///
    /// A single reading that does not fit what is known may be old, so then the list decides.
    pub(super) async fn read_vm(&mut self) -> Result<VmReading, StepError> {
        let last_poll = self.last_poll.take().filter(|(_, at)| at.elapsed() < LAST_POLL_AGE_MAX);
        let mut seen = match last_poll {
            Some((seen, _)) => seen,
            None => self.context.reader.read(self.id).await.map_err(could_not_read)?,
        };
        let ours = self.context.executor.clock.now();
        self.server_ahead = seen.server_date.map(|date| date - ours).or(self.server_ahead);
        if !self.fits(&seen.vm) {
            seen.vm = self.read_in_list().await?;
        }
        self.compare(&seen.vm)?;
        Ok(seen)
    }

    /// Reads the VM in the list, which is never old, before a write without a condition.
    pub(super) async fn read_vm_in_list(&mut self) -> Result<VmReading, StepError> {
        let vm = self.read_in_list().await?;
        self.compare(&vm)?;
        // The list is shared and has no date of its own; FiFo's clock is taken to be as far ahead as before.
        let server_date = self.server_ahead.map(|ahead| self.context.executor.clock.now() + ahead);
        Ok(VmReading { vm, etag: None, server_date })
    }

    /// Says whether the list has the VM as a single reading shows it. Where FiFo caches VMs, both that reading and the check
    /// of its version may come from the cache, so that the version proves nothing. The first delete from storage ends that.
    pub(super) async fn is_in_list(&mut self, seen: &VmReading) -> Result<bool, StepError> {
        if self.guard.as_ref().is_some_and(CascadeGuard::has_pruned) {
            return Ok(true);
        }
        let is_same = |vm: &Vm| fingerprint(vm) == fingerprint(&seen.vm);
        if self.context.reader.in_recent_list(self.id).await.is_some_and(|vm| is_same(&vm)) {
            return Ok(true);
        }
        Ok(is_same(&self.read_in_list().await?))
    }

    /// Records that a delete was sent, or may have been, with the VM as it was then.
    pub(super) fn guard_backups(&mut self, kind: DeleteKind, backup: BackupId, vm: &Vm) {
        let expired = &self.expired;
        let guard = self.guard.get_or_insert_with(|| CascadeGuard::new(expired.clone()));
        guard.record_delete(kind, backup, vm);
    }

    /// Returns whether a reading lacks nothing that was there when a delete was sent, and was to stay.
    pub(super) fn nothing_vanished(&self, vm: &Vm) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard.missing_from(vm).is_empty())
    }

    /// Takes note of what a reading shows to be gone from storage as planned, by this run or another one.
    pub(super) fn forget_pruned(&mut self, vm: &Vm) {
        self.gone.extend(self.expired.iter().filter(|id| !vm.backups.contains(**id)));
        self.known.retain(|id| !self.gone.contains(id));
    }

    /// Reads the VM in the list, and raises the alarm when backups have vanished since a delete was sent.
    pub(super) async fn guarded_list(&mut self) -> Result<Result<Vm, ReadError>, StepError> {
        let vm = match self.context.reader.in_list(self.id).await {
            Ok(vm) => vm,
            Err(error) => return Ok(Err(error)),
        };
        self.forget_pruned(&vm);
        let Some(guard) = &mut self.guard else { return Ok(Ok(vm)) };
        let gone = guard.missing_from(&vm);
        if gone.is_empty() {
            guard.record_list(&vm);
            return Ok(Ok(vm));
        }
        let Some((after, backup)) = guard.culprit(&gone) else { return Ok(Ok(vm)) };
        guard.forget(&gone);
        let (time, gone) = (self.context.executor.clock.now(), gone.into_iter().collect());
        let alarm = Alarm::vanished(time, &self.at, after.into(), backup, gone);
        self.context.raise_alarm(alarm.clone());
        Err(StepError::Alarm(alarm))
    }

    /// Like [`VmWorker::guarded_list`], but a list that cannot be read ends the action.
    pub(super) async fn read_in_list(&mut self) -> Result<Vm, StepError> {
        self.guarded_list().await?.map_err(could_not_read)
    }

    fn fits(&self, vm: &Vm) -> bool {
        self.nothing_vanished(vm)
            && self.known.iter().all(|&id| vm.backups.contains(id))
            && !self.gone.iter().any(|&id| vm.backups.contains(id))
            && self.completed.is_none_or(|id| {
                vm.backups.get(id).is_some_and(|backup| backup.state == RecordedState::Completed)
            })
            && (self.compared || self.is_as_planned(vm))
    }

    fn is_as_planned(&self, vm: &Vm) -> bool {
        self.planned.fingerprint == Some(fingerprint(vm))
    }

    fn compare(&mut self, vm: &Vm) -> Result<(), StepError> {
        if !self.compared && !self.is_as_planned(vm) {
            return Err(self.made_by_another(vm).unwrap_or(StepError::Dropped(DropReason::Changed)));
        }
        self.compared = true;
        Ok(())
    }

    /// Decides the VM again from a reading. The auditor has to agree, as with any plan.
    pub(super) fn decide_again(&self, seen: &VmReading) -> Result<VmPlan, StepError> {
        let executor = self.context.executor;
        let now = self.now_by(seen);
        let fresh = decide(&seen.vm, executor.policies, now);
        let broken = audit::audit_vm(&fresh, &seen.vm, executor.policies, now);
        if broken.is_empty() { Ok(fresh) } else { Err(StepError::Failed(FailureReason::AuditBroken(broken))) }
    }

    /// Returns the instant that a reading is judged at: the later one of the two clocks.
    pub(super) fn now_by(&self, seen: &VmReading) -> DateTime<Utc> {
        let ours = self.context.executor.clock.now();
        seen.server_date.map_or(ours, |date| date.max(ours))
    }

    /// Returns the create that is planned, if one is.
    pub(super) fn planned_create(&self) -> Option<&'a Create> {
        planned_create(self.planned)
    }

    /// Returns the name of the policy that it was planned by.
    pub(super) fn policy_name(&self) -> Option<&Name> {
        self.planned.policy.as_ref()
    }

    /// Returns every backup that is not new: on record when the plan was made, or in this reading.
    pub(super) fn known_with(&self, vm: &Vm) -> BTreeSet<BackupId> {
        self.known.iter().copied().chain(vm.backups.keys()).collect()
    }

    /// Returns whether nothing new may be started.
    pub(super) fn is_stopped(&self) -> bool {
        self.context.stop.is_cancelled()
    }

    /// Waits, at most until the run is ending.
    pub(super) async fn pause(&self, pause: Duration) {
        tokio::select! {
            biased;
            () = self.context.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Waits for something that the next run can wait for as well.
    pub(super) async fn wait<T>(&self, awaited: impl Future<Output = T>) -> Result<T, WaitError> {
        tokio::select! {
            biased;
            () = self.context.stop.cancelled() => Err(WaitError::Stopped),
            () = self.context.hand_over_now.cancelled() => Err(WaitError::HandedOver),
            error = self.context.reader.refused() => Err(WaitError::Refused(error)),
            awaited = awaited => Ok(awaited),
        }
    }

    /// Reports an action that was not sent to FiFo, since the wait before it was cut short.
    pub(super) fn cut_short(&self, cut: WaitError) -> StepError {
        match cut {
            WaitError::Stopped => not_sent(),
            WaitError::HandedOver => {
                StepError::HandedOver(HandOverReason::NotSent(self.context.hand_over_cause()))
            }
            WaitError::Refused(error) => could_not_read(error),
        }
    }
}

/// Reports an action that is not sent since the run ends.
pub(super) fn not_sent() -> StepError {
    StepError::Interrupted(InterruptReason::NotSent)
}

pub(super) fn could_not_read(error: ReadError) -> StepError {
    StepError::Failed(FailureReason::UnreadableVm(with_causes(&error)))
}

pub(super) fn create_step(create: &Create, backup: Option<BackupId>) -> ActionRef {
    ActionRef::Create { tier: create.tier.clone(), parent: create.parent, backup }
}

pub(super) fn delete_step(tier: &str, backup: Option<BackupId>) -> ActionRef {
    ActionRef::DeleteLocal { tier: tier.to_owned(), backup }
}

pub(super) fn prune_step(delete: &DeleteCloud) -> ActionRef {
    ActionRef::DeleteCloud { tier: delete.tier.clone(), backup: delete.backup }
}

fn planned_prunes(planned: &VmPlan) -> BTreeSet<BackupId> {
    planned.due_actions().iter().filter_map(Action::as_cloud_delete).map(|delete| delete.backup).collect()
}

fn planned_create(planned: &VmPlan) -> Option<&Create> {
    planned.due_actions().iter().find_map(Action::as_create)
}
