//! The life of one VM in a run: read, decide, the next action, may it start, do it, confirm its effect, and again.
//!
//! Nothing is remembered from one step to the next but what a reading cannot show: what was tried, what must be on record by
//! now, and a write whose effect is not known yet. `vm/reading` reads and decides, `vm/ending` draws the consequences of how an
//! action ended, and `write` has the rest of what belongs to a request.

mod ending;
mod reading;

use super::event::{ActionReport, EventKind, VmReport};
use super::executor::{Approval, Run};
use super::outcome::{ActionKind, ActionOutcome, ActionRef, Ended, VmRef};
use super::reader::{ReadError, VmReading};
use super::timing::CLOCK_SKEW_MAX;
use super::upload::slots::Slot;
use super::write::attempt::{Answer, Attempt, Confirmed};
use super::write::gate::{Hold, Permit};
use crate::fifo::{DeletedForGood, FifoError, NewBackup, WriteAnswer};
use crate::inventory::{Backup, BackupId, Inventory, RecordedState, Vm, VmId};
use crate::plan::{Action, CascadeCosts, VmPlan};
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;
use tokio::time::sleep;

pub(super) struct VmRun<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) at: VmRef,
    pub(super) planned: &'a VmPlan,
    /// What of that has not been reported yet.
    rest: Vec<&'a Action>,
    reports: Vec<ActionReport>,

    pub(super) known: Known,
    done: Done,
    pub(super) attempt: Option<Attempt>,
    pub(super) permit: Option<Permit<'a>>,
    /// Held while a delete was refused that an earlier copy may have carried out, and nothing has been read since.
    hold: Option<Hold<'a>>,
    pub(super) slot: Option<Slot>,
    pub(super) hypervisor: String,
}

#[derive(Default)]
struct Done {
    /// The deletes from storage that its first decision in this run lists.
    first_prunes: Option<BTreeSet<BackupId>>,
    tried: BTreeSet<Target>,
    /// The kinds of delete of which one was not done: the VM gets no more of them in this run.
    over: BTreeSet<ActionKind>,
    last_create: Option<ActionOutcome>,
    /// The instant by which the first create was due.
    due_by: Option<DateTime<Utc>>,
    has_ended: bool,
}

/// What an action is about, whatever its reasons: a create the tier, a delete the backup.
type Target = (ActionKind, String, Option<BackupId>);

fn target(action: &Action) -> Target {
    let ActionRef { kind, tier, backup, .. } = ActionRef::from(action);
    (kind, tier, backup)
}

pub(super) enum Start {
    Now,
    /// It was waited for something, so that what was read before is old.
    Waited,
}

pub(super) enum WaitError {
    Stopped,
    /// What still waits is left to the next run.
    HandedOver,
    Refused(ReadError),
}

/// What readings have shown, and what they must show by now: one that does not is old.
#[derive(Default)]
pub(super) struct Known {
    ids: BTreeSet<BackupId>,
    gone: BTreeSet<BackupId>,
    /// Backups that this run has made, and those of them that were seen complete.
    own: BTreeSet<BackupId>,
    completed: BTreeSet<BackupId>,
    /// Of backups that the storage was asked about: why nothing is known; `None` where the beginnings of their objects are
    /// right.
    pub(super) asked: BTreeMap<BackupId, Option<String>>,
    /// The last reading that confirmed something: the next step needs no other one if it follows at once.
    pub(super) fresh: Option<VmReading>,
    /// Whether the VM was compared with what the plan was made from.
    has_compared: bool,
    /// Whether the list has shown the VM as its own reading does.
    pub(super) is_listed: bool,
    /// The uploads that count as stuck, as they were when they were read for the first time in this run.
    pub(super) stuck_before: Vec<Backup>,
    /// How far FiFo's clock was ahead of this machine's in the last answer with a date.
    pub(super) server_ahead: Option<TimeDelta>,
}

impl Known {
    pub(super) fn own(&mut self, backup: BackupId) {
        self.ids.insert(backup);
        self.own.insert(backup);
    }

    pub(super) fn complete(&mut self, backup: BackupId) {
        self.completed.insert(backup);
    }

    pub(super) fn forget(&mut self, backup: BackupId) {
        self.ids.remove(&backup);
        self.gone.insert(backup);
    }

    fn fits(&self, vm: &Vm) -> bool {
        let is_complete =
            |id: BackupId| vm.backups.get(id).is_some_and(|it| it.state == RecordedState::Completed);
        self.ids.iter().all(|&id| vm.backups.contains(id))
            && !self.gone.iter().any(|&id| vm.backups.contains(id))
            && self.completed.iter().all(|&id| is_complete(id))
    }

    /// Takes over what a list shows that is never old.
    fn listed(&mut self, vm: &Vm) {
        self.ids = vm.backups.keys().collect();
        self.completed.retain(|id| vm.backups.contains(*id));
    }
}

impl<'a> VmRun<'a> {
    pub(super) fn new(run: &'a Run<'a>, planned: &'a VmPlan, id: VmId, inventory: &Inventory) -> Self {
        let vm = inventory.vms.get(&id);
        let ids = vm.map(|vm| vm.backups.keys().collect()).unwrap_or_default();
        Self {
            run,
            at: VmRef { vm: id, alias: planned.alias.clone() },
            planned,
            rest: planned.due_actions().iter().collect(),
            reports: Vec::new(),
            known: Known { ids, ..Known::default() },
            done: Done::default(),
            attempt: None,
            permit: None,
            hold: None,
            slot: None,
            hypervisor: vm.and_then(|vm| vm.hypervisor.clone()).unwrap_or_default(),
        }
    }

    pub(super) async fn run(mut self) -> VmReport {
        let Err(why) = self.steps().await;
        let rest = self.end_attempt(why);
        self.run.gate.withdraw(self.at.vm);
        self.report_rest(&rest);
        VmReport { at: self.at, steps: self.reports }
    }

    async fn steps(&mut self) -> Result<Infallible, Ended> {
        // VMs whose first action is a create arrive at the slots in the order in which they are to get them.
        if let Some(Action::Create(create)) = self.planned.due_actions().first() {
            self.take_slot(create).await?;
        }
        loop {
            self.step().await?;
        }
    }

    async fn step(&mut self) -> Result<(), Ended> {
        let seen = self.read().await?;
        if let Some((action, ended)) = self.late_effect(&seen).await {
            self.end(&action, ended);
            return Ok(());
        }
        self.hold = None;
        let fresh = self.decide(&seen)?;
        let Some(action) = self.next(&fresh, &seen) else { return Err(self.nothing_next(&fresh)) };
        self.turn_to(&action);
        let ended = match self.may_start(&action, fresh, &seen).await {
            Ok(Start::Waited) => None,
            Ok(Start::Now) => self.write(&action, seen).await,
            Err(ended) => Some(ended),
        };
        ended.into_iter().for_each(|ended| self.end(&action, ended));
        Ok(())
    }

    /// Returns the next action: local deletes first, so that their space is free, then the create, and prunes only where no
    /// create is left to do.
    fn next(&mut self, fresh: &VmPlan, seen: &VmReading) -> Option<Action> {
        if self.run.stop.is_cancelled() || self.done.has_ended {
            return None;
        }
        let actions = fresh.due_actions();
        let prunes = || actions.iter().filter_map(Action::as_cloud_delete).map(|delete| delete.backup);
        let first_prunes = self.done.first_prunes.get_or_insert_with(|| prunes().collect()).clone();
        let mut locals: Vec<&Action> = actions
            .iter()
            .filter(|action| action.as_local_delete().is_some_and(|delete| !delete.after_create))
            .filter(|action| self.may_go(action))
            .collect();
        if locals.len() > 1
            && let Some(policy) = self.policy_of(&seen.vm)
        {
            // What a cascade would cost, the new backup counted.
            let costs = CascadeCosts::new(&seen.vm, policy, self.now_by(seen));
            locals.sort_by_cached_key(|action| {
                action.as_local_delete().and_then(|it| it.backup).map(|id| costs.of(id))
            });
        }
        if let Some(local) = locals.first() {
            return Some((*local).clone());
        }
        // Others must not wait for a VM whose first delete is over.
        self.run.gate.withdraw(self.at.vm);
        if let Some(create) = actions.iter().find(|action| action.is_create()) {
            return self.may_go(create).then(|| create.clone());
        }
        if self.done.last_create.is_some_and(|outcome| outcome != ActionOutcome::Done) {
            return None;
        }
        let is_listed = |action: &Action| {
            action.as_cloud_delete().is_some_and(|delete| first_prunes.contains(&delete.backup))
        };
        actions.iter().find(|action| is_listed(action) && self.may_go(action)).cloned()
    }

    /// Says whether an action was not tried in this run, and is approved.
    fn may_go(&self, action: &Action) -> bool {
        let kind = ActionKind::from(action);
        let is_over = || self.done.over.contains(&kind) || self.run.gate.refusal(kind, self.at.vm).is_some();
        let is_approved = |listed: &Action| {
            let waits = listed.as_local_delete().is_some_and(|delete| delete.after_create);
            self.is_same(listed, action) && (!waits || self.done.last_create == Some(ActionOutcome::Done))
        };
        (kind == ActionKind::Create || !is_over())
            && !self.done.tried.contains(&target(action))
            && (self.run.approval == Approval::Everything
                || self.planned.due_actions().iter().any(is_approved))
    }

    /// Says whether an action is one that the plan lists; a local delete that names no backup is that of the new one.
    fn is_same(&self, listed: &Action, action: &Action) -> bool {
        match (listed, action) {
            (Action::DeleteLocal(listed), Action::DeleteLocal(delete)) => match listed.backup {
                Some(listed) => Some(listed) == delete.backup,
                None => delete.backup.is_some_and(|id| self.known.own.contains(&id)),
            },
            (listed, action) => listed.is_same_action_as(action),
        }
    }

    /// Gives back what belongs to another action than the next one, and ends that where it was under way.
    fn turn_to(&mut self, action: &Action) {
        let kind = ActionKind::from(action);
        self.permit.take_if(|permit| permit.kind != kind);
        if !action.is_create() {
            self.slot = None;
        }
        if self.attempt.as_ref().is_some_and(|attempt| target(&attempt.action) != target(action)) {
            self.end_attempt(Ended::left("not_wanted", "in its present state the VM does not need it"));
        }
    }

    async fn may_start(&mut self, action: &Action, fresh: VmPlan, seen: &VmReading) -> Result<Start, Ended> {
        let ours = self.run.executor.clock.now();
        if let Some(server) = seen.server_date.filter(|server| (*server - ours).abs() > CLOCK_SKEW_MAX) {
            let [ours, server] = [ours, server].map(|at| at.format("%Y-%m-%d %H:%M:%S UTC"));
            let text = format!(
                "nothing was done: the clocks differ by more than an hour, {ours} here and {server} on the server; correct \
                 the wrong one"
            );
            return Err(Ended::failed("clocks", text));
        }
        let start = match action {
            Action::Create(create) => self.may_create(create, seen).await?,
            _ if self.must_prove(seen).await? => Start::Waited,
            Action::DeleteLocal(_) => self.enter_gate(ActionKind::DeleteLocal).await?,
            Action::DeleteCloud(_) => self.may_prune(action, fresh, seen).await?,
        };
        Ok(if self.run.stop.is_cancelled() { Start::Waited } else { start })
    }

    /// Sends one request, and looks for its effect. `None` where nothing was done and the VM is to be decided again.
    async fn write(&mut self, action: &Action, seen: VmReading) -> Option<Ended> {
        let run = self.run;
        if action.is_create() {
            self.done.due_by = self.done.due_by.or(Some(self.request(&seen).due_at));
        }
        let may_go = self.done.first_prunes.clone().unwrap_or_default();
        self.attempt.get_or_insert_with(|| Attempt::new(action.clone(), may_go));
        if let Err(ended) = self.take_note(action, &seen.vm) {
            return Some(ended);
        }
        run.emit(EventKind::ActionStarted { at: self.at.clone(), step: ActionRef::from(action) });
        let answer = self.send(action, &seen).await;
        let timing = &run.executor.settings.timing;
        let unclear = match self.attempt.as_mut()?.judge(answer, &seen, &self.known.own, timing) {
            Answer::Accepted => None,
            Answer::Maybe(unclear) => Some(unclear),
            Answer::NotDone(pause) => {
                let has_arrived = self.attempt.as_ref().is_some_and(|attempt| attempt.sent.is_some());
                self.hold = (has_arrived && !action.is_create()).then(|| run.gate.hold());
                self.pause(pause).await;
                return None;
            }
            Answer::Refused(ended) => {
                if ended.is_failed() {
                    self.forget_note();
                }
                return Some(ended);
            }
        };
        // While it is not known what a delete did, no other one is sent.
        let _hold = (unclear.is_some() && !action.is_create()).then(|| run.gate.hold());
        let confirmed = self.confirm(action, unclear.as_ref()).await;
        // A snapshot that is gone after an unclear answer does not prove that the body arrived: the VM may have been moved
        // meanwhile, say.
        if unclear.is_none()
            && let (Confirmed::Seen(_), Some(permit)) = (&confirmed, &self.permit)
        {
            permit.confirm();
        }
        self.settle(action, confirmed, unclear).await
    }

    async fn send(&self, action: &Action, seen: &VmReading) -> Result<WriteAnswer, FifoError> {
        let (client, etag) = (self.run.executor.client, seen.etag.as_ref());
        match action {
            Action::Create(create) => {
                let new = NewBackup { comment: create.comment.clone(), parent: create.parent };
                client.create_backup(self.at.vm, &new, etag).await
            }
            Action::DeleteLocal(delete) => match delete.backup {
                Some(backup) => client.delete_local(self.at.vm, backup, etag).await,
                // There is no such action once the backup exists.
                None => Ok(WriteAnswer::NotSent { message: "it names no backup".to_owned() }),
            },
            Action::DeleteCloud(delete) => {
                client.delete_cloud(self.at.vm, DeletedForGood(delete.backup), etag).await
            }
        }
    }

    pub(super) async fn pause(&self, pause: Duration) {
        tokio::select! {
            biased;
            () = self.run.stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }

    /// Waits before something is started, and returns also whether there was anything to wait for. Once what waits is left to
    /// the next run, nothing more is started either.
    pub(super) async fn wait_noting<T>(&self, awaited: impl Future<Output = T>) -> Result<(T, bool), Ended> {
        if self.run.hand_over_now.is_cancelled() {
            return Err(self.cut_short(WaitError::HandedOver));
        }
        let mut awaited = pin!(awaited);
        if let Some(at_once) = (&mut awaited).now_or_never() {
            return Ok((at_once, false));
        }
        self.wait(awaited).await.map(|awaited| (awaited, true)).map_err(|cut| self.cut_short(cut))
    }

    /// Waits for something that the next run can wait for as well.
    pub(super) async fn wait<T>(&self, awaited: impl Future<Output = T>) -> Result<T, WaitError> {
        tokio::select! {
            biased;
            () = self.run.stop.cancelled() => Err(WaitError::Stopped),
            () = self.run.hand_over_now.cancelled() => Err(WaitError::HandedOver),
            error = self.run.reader.refused() => Err(WaitError::Refused(error)),
            awaited = awaited => Ok(awaited),
        }
    }
}
