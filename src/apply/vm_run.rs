//! Executes the actions of one VM in order.

use super::action::{ActionKind, ActionOutcome, ActionRef};
use super::event::EventKind;
use super::report::ActionReport;
use super::step::{DropReason, HandOverReason, InterruptReason, StepError, StepSuccess, StorageClose};
use super::worker::{VmWorker, create_step, delete_step, prune_step};
use crate::plan::{Action, Create, DeleteCloud, DeleteLocal};

/// The turn to delete from storage, with the reason for which nothing more is deleted.
type StorageTurn<'a> = tokio::sync::MutexGuard<'a, Option<StorageClose>>;

impl<'a> VmWorker<'a> {
    /// Executes what is planned.
    ///
    /// After an action that fails the next one is still tried: a snapshot that cannot be deleted is no reason to make no
    /// backup. Only what waits for a create is not done unless that has completed.
    pub(super) async fn run(mut self, actions: Vec<&Action>) {
        let mut prunes: Vec<&DeleteCloud> = Vec::new();
        for action in actions {
            if action.is_create() {
                self.context.gate.withdraw(self.id);
            }
            match action {
                Action::Create(create) => self.run_create(create).await,
                Action::DeleteLocal(delete) => self.run_delete(delete).await,
                // These are the last ones of each plan.
                Action::DeleteCloud(delete) => prunes.push(delete),
            }
        }
        self.context.gate.withdraw(self.id);
        self.run_prunes(&prunes).await;
    }

    /// Reports a delete whose create has not completed.
    fn missing_create_error(&self) -> StepError {
        if self.is_stopped() {
            StepError::Interrupted(InterruptReason::AwaitsCreate)
        } else if !self.context.executor.settings.wait
            || self.is_create_handed_over
            || self.context.hand_over_now.is_cancelled()
        {
            StepError::HandedOver(HandOverReason::AwaitsCreate)
        } else {
            StepError::Dropped(DropReason::AwaitsCreate)
        }
    }

    async fn run_create(&mut self, create: &Create) {
        let result = self.create(create).await;
        let backup = result.as_ref().ok().map(|success| success.backup);
        self.is_create_handed_over = matches!(&result, Err(StepError::HandedOver(_)));
        let is_complete = matches!(&result, Ok(success) if success.outcome() == ActionOutcome::Done);
        self.end(ActionKind::Create, create_step(create, backup), result);
        if let (true, Some(new)) = (is_complete, backup) {
            self.known.insert(new);
            self.completed = Some(new);
        }
    }

    async fn run_delete(&mut self, delete: &DeleteLocal) {
        let backup = delete.backup.or(self.completed);
        let is_due = self.completed.is_some() || !delete.after_create;
        let result = match backup.filter(|_| is_due) {
            Some(backup) => self.delete_locally(&delete.tier, backup).await,
            None => Err(self.missing_create_error()),
        };
        self.end(ActionKind::DeleteLocal, delete_step(&delete.tier, backup), result);
    }

    /// Deletes backups from storage, unless a backup that was to be made before has not completed: old ones must not go while
    /// no new ones come.
    ///
    /// The VM has one turn for all of them, so that it is watched for seconds, and not for as long as all other VMs take.
    async fn run_prunes(&mut self, deletes: &[&DeleteCloud]) {
        let is_due = self.planned_create().is_none() || self.completed.is_some();
        let mut turn = None;
        for &delete in deletes {
            let result = if is_due {
                self.run_prune(delete, &mut turn).await
            } else {
                Err(self.missing_create_error())
            };
            self.end(ActionKind::DeleteCloud, prune_step(delete), result);
        }
    }

    async fn run_prune(
        &mut self,
        delete: &DeleteCloud,
        turn: &mut Option<StorageTurn<'a>>,
    ) -> Result<StepSuccess, StepError> {
        let closed = match turn {
            Some(turn) => turn,
            None => {
                let waited = self.wait(self.context.storage.lock()).await;
                turn.insert(waited.map_err(|cut| self.cut_short(cut))?)
            }
        };
        self.delete_from_storage(delete, closed).await
    }

    fn end(&self, kind: ActionKind, step: ActionRef, result: Result<StepSuccess, StepError>) {
        let (ending, message) = match result {
            Ok(success) => (success.outcome(), success.to_string()),
            Err(error) => (error.outcome(), error.to_string()),
        };
        self.context.emit(EventKind::ActionEnded {
            at: self.at.clone(),
            step,
            outcome: ending,
            message: message.clone(),
        });
        self.context.report(self.place, ActionReport { kind, ending, message });
    }
}
