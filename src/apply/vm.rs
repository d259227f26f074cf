//! The life of one VM in a run: read, decide, the next action, may it start, do it, confirm its effect, and again.
//!
//! Nothing is remembered from one step to the next but what a reading cannot show: what was tried, what must be on record by
//! now, and a write whose effect is not known yet.

mod ending;
mod known;
mod reading;

use super::context::Run;
use super::event::EventKind;
use super::executor::Approval;
use super::outcome::{ActionKind, ActionOutcome, ActionRef, Ended, VmRef};
use super::reader::{ReadError, VmReading};
use super::state::DeleteNote;
use super::timing::CLOCK_SKEW_MAX;
use super::upload::slots::Slot;
use super::write::answer::{Answer, Attempt};
use super::write::effect::{Effect, Sent};
use super::write::gate::Permit;
use crate::fifo::{DeletedForGood, FifoError, NewBackup, WriteAnswer};
use crate::inventory::{Backup, BackupId, Inventory, RecordedState, Vm, VmId};
use crate::plan::{Action, CascadeCosts, VmPlan};
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use known::Known;
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A reading that is older than this is not acted on: the VM is read again.
const FRESH: Duration = Duration::from_secs(1);

/// One VM in a run.
pub(super) struct VmRun<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) id: VmId,
    pub(super) at: VmRef,
    /// What the plan lists for it.
    pub(super) planned: &'a VmPlan,
    place: usize,
    /// The hypervisor that its slot is for.
    pub(super) hypervisor: String,
    pub(super) known: Known,
    /// The backups that the plan was made from.
    planned_on: BTreeSet<BackupId>,
    /// The deletes from storage that its first decision in this run lists.
    first_prunes: Option<BTreeSet<BackupId>>,
    tried: BTreeSet<Target>,
    /// The kinds of delete of which one was not done: the VM gets no more of them in this run.
    over: BTreeSet<ActionKind>,
    create: LastCreate,
    /// Whether nothing more is done to it.
    has_ended: bool,
    /// The planned actions that have been reported.
    reported: Vec<bool>,
    /// The action under way, and what was sent of it.
    pub(super) attempt: Option<Attempt>,
    pub(super) permit: Option<Permit<'a>>,
    pub(super) slot: Option<Slot>,
    /// The last reading that confirmed something, and when: the next step needs no other one if it follows at once.
    pub(super) fresh: Option<(VmReading, Instant)>,
    /// Whether the list has shown the VM as its own reading does.
    pub(super) is_listed: bool,
    /// The uploads that count as stuck, as they were when they were read for the first time in this run.
    pub(super) stuck_before: Vec<Backup>,
    has_compared: bool,
    /// The backup that the create under way has made.
    pub(super) made: Option<BackupId>,
    /// Whether a note on its local delete is on disk.
    has_note: bool,
    /// How far FiFo's clock was ahead of this machine's in the last answer with a date.
    pub(super) server_ahead: Option<TimeDelta>,
}

/// What an action is about, whatever its reasons.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Create(String),
    Local(BackupId),
    Prune(BackupId),
}

impl Target {
    /// Returns what an action is about; `None` for the delete of the snapshot of a backup that does not exist yet.
    fn of(action: &Action) -> Option<Self> {
        Some(match action {
            Action::Create(create) => Self::Create(create.tier.clone()),
            Action::DeleteLocal(delete) => Self::Local(delete.backup?),
            Action::DeleteCloud(delete) => Self::Prune(delete.backup),
        })
    }
}

/// The last create of the VM in this run.
#[derive(Debug)]
enum LastCreate {
    None,
    Completed,
    /// It did not complete, and this is how it ended.
    Incomplete(ActionOutcome),
}

/// Whether an action may start.
pub(super) enum Start {
    Now,
    /// It was waited for something, so that what was read before is old.
    Waited,
    Not(Ended),
}

/// Why a wait was cut short.
pub(super) enum WaitError {
    /// The run is ending.
    Stopped,
    /// What still waits is left to the next run.
    HandedOver,
    /// FiFo refuses the user.
    Refused(ReadError),
}

impl<'a> VmRun<'a> {
    pub(super) fn new(
        run: &'a Run<'a>,
        place: usize,
        planned: &'a VmPlan,
        id: VmId,
        inventory: &Inventory,
    ) -> Self {
        let vm = inventory.vms.get(&id);
        let ids: BTreeSet<BackupId> = vm.map(|vm| vm.backups.keys().collect()).unwrap_or_default();
        Self {
            run,
            id,
            at: VmRef { vm: id, alias: planned.alias.clone() },
            planned,
            place,
            hypervisor: vm.and_then(|vm| vm.hypervisor.clone()).unwrap_or_default(),
            planned_on: ids.clone(),
            known: Known::of(ids),
            first_prunes: None,
            tried: BTreeSet::new(),
            over: BTreeSet::new(),
            create: LastCreate::None,
            has_ended: false,
            reported: vec![false; planned.due_actions().len()],
            attempt: None,
            permit: None,
            slot: None,
            fresh: None,
            is_listed: false,
            stuck_before: Vec::new(),
            has_compared: false,
            made: None,
            has_note: false,
            server_ahead: None,
        }
    }

    /// Carries out what the VM needs and the approval allows.
    pub(super) async fn run(mut self) {
        let rest = self.steps().await;
        self.run.gate.withdraw(self.id);
        self.report_rest(&rest);
    }

    /// Takes step after step. Returns how what is planned and was not tried ends.
    async fn steps(&mut self) -> Ended {
        // VMs whose first action is a create arrive at the slots in the order in which they are to get them.
        if let Some(Action::Create(create)) = self.planned.due_actions().first()
            && let Err(ended) = self.take_slot(create).await
        {
            return ended;
        }
        loop {
            let seen = match self.read().await {
                Ok(seen) => seen,
                Err(ended) => return self.end_attempt(ended),
            };
            if let Some((action, ended)) = self.late_effect(&seen).await {
                self.end(&action, ended);
                continue;
            }
            let fresh = match self.decide(&seen) {
                Ok(fresh) => fresh,
                Err(ended) => return self.end_attempt(ended),
            };
            let Some(action) = self.next(&fresh, &seen) else {
                return self.nothing_next(&fresh, &seen);
            };
            self.turn_to(&action);
            let ended = match self.may_start(&action, &seen).await {
                Start::Waited => continue,
                Start::Not(ended) => Some(ended),
                Start::Now => self.write(&action, seen).await,
            };
            if let Some(ended) = ended {
                self.end(&action, ended);
            }
        }
    }

    /// Returns the next action: local deletes first, so that their space is free, then the create, and prunes only where no
    /// create is left to do.
    fn next(&mut self, fresh: &VmPlan, seen: &VmReading) -> Option<Action> {
        if self.run.stop.is_cancelled() || self.has_ended {
            return None;
        }
        let prunes = || fresh.due_actions().iter().filter_map(Action::as_cloud_delete);
        let first_prunes =
            self.first_prunes.get_or_insert_with(|| prunes().map(|delete| delete.backup).collect()).clone();
        let mut locals: Vec<&Action> = fresh
            .due_actions()
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
        self.run.gate.withdraw(self.id);
        if let Some(create) = fresh.due_actions().iter().find(|action| action.is_create()) {
            return self.may_go(create).then(|| create.clone());
        }
        if matches!(self.create, LastCreate::Incomplete(_)) {
            return None;
        }
        let prune = prunes().find(|delete| {
            first_prunes.contains(&delete.backup) && self.may_go(&Action::DeleteCloud((*delete).clone()))
        });
        prune.map(|delete| Action::DeleteCloud(delete.clone()))
    }

    /// Says whether an action was not tried in this run, and is approved.
    fn may_go(&self, action: &Action) -> bool {
        let kind = ActionKind::from(action);
        let is_delete = kind != ActionKind::Create;
        if is_delete && (self.over.contains(&kind) || self.run.is_over(kind, self.id).is_some()) {
            return false;
        }
        Target::of(action).is_some_and(|target| !self.tried.contains(&target)) && self.is_approved(action)
    }

    fn is_approved(&self, action: &Action) -> bool {
        let is_complete = matches!(self.create, LastCreate::Completed);
        self.run.approval == Approval::Everything
            || self.planned.due_actions().iter().any(|listed| match (listed, action) {
                (Action::DeleteLocal(listed), Action::DeleteLocal(delete)) => {
                    let is_same = match listed.backup {
                        Some(listed) => Some(listed) == delete.backup,
                        None => delete.backup.is_some_and(|id| self.known.own.contains(&id)),
                    };
                    is_same && (!listed.after_create || is_complete)
                }
                (listed, action) => listed.is_same_action_as(action),
            })
    }

    /// Waits until an action may start.
    async fn may_start(&mut self, action: &Action, seen: &VmReading) -> Start {
        let ours = self.run.executor.clock.now();
        if let Some(server) = seen.server_date.filter(|server| (*server - ours).abs() > CLOCK_SKEW_MAX) {
            let text = |instant: DateTime<Utc>| instant.format("%Y-%m-%d %H:%M:%S UTC").to_string();
            return Start::Not(Ended::failed(
                "clocks",
                format!(
                    "nothing was done: the clocks differ by more than an hour, {} here and {} on the server; correct the \
                     wrong one",
                    text(ours),
                    text(server)
                ),
            ));
        }
        let start = match action {
            Action::Create(create) => self.may_create(create, seen).await,
            Action::DeleteLocal(_) => self.enter_gate(ActionKind::DeleteLocal).await,
            Action::DeleteCloud(delete) => self.may_prune(delete, seen).await,
        };
        match start {
            Start::Now if self.run.stop.is_cancelled() => Start::Waited,
            start => start,
        }
    }

    /// Sends one request, and looks for its effect. `None` where nothing was done and the VM is to be decided again.
    async fn write(&mut self, action: &Action, seen: VmReading) -> Option<Ended> {
        let sent = Sent {
            action: action.clone(),
            before: seen.vm.backups.keys().chain(self.known.own.iter().copied()).collect(),
            may_go: self.first_prunes.clone().unwrap_or_default(),
            asked_at: seen.server_date,
            named: None,
            was_accepted: false,
        };
        let is_stored = |id| seen.vm.backups.get(id).is_some_and(|it| it.state == RecordedState::Completed);
        if let Action::DeleteLocal(delete) = action
            && let Some(backup) = delete.backup
            && let Err(ended) = self.write_note(backup, &seen.vm)
        {
            return Some(ended);
        }
        self.run.emit(EventKind::ActionStarted { at: self.at.clone(), step: ActionRef::from(action) });
        let answer = self.send(action, &seen).await;
        let timing = self.run.executor.settings.timing;
        let may_have_arrived = !matches!(answer, Err(_) | Ok(WriteAnswer::NotSent { .. }));
        let attempt = self.attempt.get_or_insert_with(|| Attempt::new(action.clone()));
        let mut judged = attempt.judge(answer, seen.etag.is_some(), &timing);
        let mut sent = Sent { was_accepted: matches!(judged, Answer::Accepted(_)), ..sent };
        if let (Action::Create(_), Some(first)) = (action, &attempt.sent) {
            // A request without an answer may have been slower than the search for its backup.
            sent.before.clone_from(&first.before);
            sent.asked_at = first.asked_at;
        }
        // Not so a create that was refused: a new backup is another run's then. A delete may have been delivered twice.
        let may_be_done = !action.is_create() || matches!(judged, Answer::Accepted(_) | Answer::Maybe(_));
        if may_have_arrived && may_be_done {
            attempt.sent = Some(sent.clone());
        }
        if let Answer::Accepted(named) = judged {
            sent.named = named;
        }
        let unclear = match judged {
            Answer::Accepted(_) => None,
            Answer::Maybe(unclear) => Some(unclear),
            answer => return self.not_done(action, answer).await,
        };
        // While it is not known what a delete did, no other one is sent.
        let _hold = unclear.as_ref().filter(|_| !action.is_create()).map(|_| self.run.gate.hold());
        let within = match action {
            Action::Create(_) => timing.search,
            // The answer was a refusal: one look shows whether it was done before.
            _ if unclear.as_ref().is_some_and(super::write::answer::Unclear::is_refusal) => Duration::ZERO,
            _ => timing.verify,
        };
        let confirmed = self.confirm(&sent, within).await;
        match action {
            Action::Create(create) => self.settle_create(create, &sent, unclear, confirmed).await,
            Action::DeleteLocal(delete) => {
                let backup = delete.backup?;
                self.settle_local(delete, backup, is_stored(backup), unclear, confirmed)
            }
            Action::DeleteCloud(delete) => {
                judged = self.settle_prune(delete, unclear, confirmed);
                self.not_done(action, judged).await
            }
        }
    }

    async fn send(&self, action: &Action, seen: &VmReading) -> Result<WriteAnswer, FifoError> {
        let (client, etag) = (self.run.executor.client, seen.etag.as_ref());
        match action {
            Action::Create(create) => {
                let new = NewBackup { comment: create.comment.clone(), parent: create.parent };
                client.create_backup(self.id, &new, etag).await
            }
            Action::DeleteLocal(delete) => match delete.backup {
                Some(backup) => client.delete_local(self.id, backup, etag).await,
                // There is no such action once the backup exists.
                None => Ok(WriteAnswer::Changed),
            },
            Action::DeleteCloud(delete) => {
                client.delete_cloud(self.id, DeletedForGood(delete.backup), etag).await
            }
        }
    }

    /// Ends a write that was not done, or pauses before the VM is decided again.
    async fn not_done(&mut self, action: &Action, answer: Answer) -> Option<Ended> {
        match answer {
            Answer::Refused(ended) => {
                if action.is_local_delete() && ended.outcome == ActionOutcome::Failed {
                    self.forget_note();
                }
                Some(ended)
            }
            Answer::NotDone { pause } => {
                tokio::select! {
                    biased;
                    () = self.run.stop.cancelled() => {}
                    () = sleep(pause) => {}
                }
                None
            }
            Answer::Accepted(_) | Answer::Maybe(_) => None,
        }
    }

    /// Returns the end of the action under way, where a reading shows an effect of it that came later than it was looked for.
    async fn late_effect(&mut self, seen: &VmReading) -> Option<(Action, Ended)> {
        let sent = self.attempt.as_ref()?.sent.clone()?;
        let effect = sent.effect(&seen.vm)?;
        let ended = match (effect, &sent.action) {
            (Effect::Vanished(gone), action) => self.vanished(action, gone),
            (Effect::Seen(backup), Action::Create(create)) => {
                self.fresh = Some((seen.clone(), Instant::now()));
                self.created(create, backup).await
            }
            (Effect::Seen(backup), Action::DeleteLocal(_)) => {
                self.forget_note();
                Ended::done("deleted", format!("snapshot {} is deleted", backup.short()))
            }
            (Effect::Seen(backup), Action::DeleteCloud(_)) => {
                self.known.forget(backup);
                Ended::done("pruned", format!("backup {} is deleted from storage", backup.short()))
            }
        };
        Some((sent.action, ended))
    }

    /// Gives back what belongs to another action than the next one, and ends that where it was under way.
    fn turn_to(&mut self, action: &Action) {
        let kind = ActionKind::from(action);
        if self.permit.as_ref().is_some_and(|permit| permit.kind() != kind) {
            self.permit = None;
        }
        if !action.is_create() {
            self.slot = None;
        }
        let target = Target::of(action);
        if self.attempt.as_ref().is_some_and(|attempt| Target::of(&attempt.action) != target) {
            self.end_attempt(Ended::left(
                "not_wanted",
                "in its present state the VM does not need it".to_owned(),
            ));
        }
    }

    /// Takes note of a local delete that is about to be sent.
    fn write_note(&mut self, backup: BackupId, vm: &Vm) -> Result<(), Ended> {
        if self.has_note {
            return Ok(());
        }
        let note = DeleteNote::new(self.run.executor.clock.now(), backup, vm);
        self.has_note = true;
        self.run.executor.notes.note(&note).map_err(|error| {
            self.has_note = false;
            let text = format!(
                "nothing was done: without a note on disk a kill would hide what the delete did, and that could not be \
                 written: {error}"
            );
            Ended::failed("state_folder", text)
        })
    }

    /// Removes the note on the VM's local delete, since its effect is known.
    pub(super) fn forget_note(&mut self) {
        if std::mem::take(&mut self.has_note)
            && let Err(error) = self.run.executor.notes.remove(self.id)
        {
            self.run.warn(
                &self.at,
                format!("the note on a delete that is confirmed could not be removed: {error}"),
            );
        }
    }

    /// Waits like [`VmRun::wait`], and returns also whether there was anything to wait for. Once what waits is left to the next
    /// run, nothing more is started either.
    pub(super) async fn wait_noting<T>(
        &self,
        awaited: impl Future<Output = T>,
    ) -> Result<(T, bool), WaitError> {
        if self.run.hand_over_now.is_cancelled() {
            return Err(WaitError::HandedOver);
        }
        let mut awaited = pin!(awaited);
        match (&mut awaited).now_or_never() {
            Some(at_once) => Ok((at_once, false)),
            None => Ok((self.wait(awaited).await?, true)),
        }
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
