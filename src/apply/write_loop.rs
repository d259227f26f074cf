//! Sends a write until its result is known: the same loop for every kind of write.

use super::action::ActionRef;
use super::event::EventKind;
use super::reader::VmReading;
use super::step::{StepError, UnclearAnswer};
use super::worker::{VmWorker, not_sent};
use super::write_attempts::{AttemptResult, WriteAttempts};
use crate::fifo::{FifoError, WriteAnswer};
use crate::inventory::BackupId;
use std::ops::ControlFlow;

/// One kind of write: what differs between a create and deletes of either kind.
pub(super) trait Write {
    /// What a reading showed that the write is still wanted for.
    type Wanted;
    /// The result of a write that is done.
    type Done;

    /// Returns the limits of this kind of write, nothing sent yet.
    fn attempts(&self) -> WriteAttempts;

    /// Returns the action that is reported when a request is sent.
    fn step(&self) -> ActionRef;

    /// Decides by a reading whether the write is still wanted, or breaks where it is done already.
    fn check(
        &mut self,
        worker: &VmWorker<'_>,
        seen: &VmReading,
    ) -> Result<ControlFlow<Self::Done, Self::Wanted>, StepError>;

    /// Waits for everything else that must be so before the request is sent. Returns whether it waited: then the reading
    /// is old, and the VM is read again.
    async fn has_waited(
        &mut self,
        worker: &mut VmWorker<'_>,
        wanted: &Self::Wanted,
        seen: &VmReading,
    ) -> Result<bool, StepError>;

    /// Sends one request, on condition that the VM is as it was read.
    async fn send(&mut self, worker: &mut VmWorker<'_>, seen: &VmReading) -> Result<WriteAnswer, FifoError>;

    /// Looks for the result of a request that FiFo has accepted. Old versions of FiFo name the new backup.
    async fn see_accepted(
        &mut self,
        worker: &mut VmWorker<'_>,
        wanted: Self::Wanted,
        named: Option<BackupId>,
    ) -> Result<Self::Done, StepError>;

    /// Looks for the result of a request that has no clear answer; `None` when it had no effect and may be sent again.
    async fn see_unclear(
        &mut self,
        worker: &mut VmWorker<'_>,
        wanted: Self::Wanted,
        attempts: &WriteAttempts,
        unclear: UnclearAnswer,
    ) -> Result<Option<Self::Done>, StepError>;
}

impl VmWorker<'_> {
    /// Sends a write until it is seen to be done, or it is certain that it is not. Before each request the VM is read and
    /// decided again.
    pub(super) async fn write<W: Write>(&mut self, mut write: W) -> Result<W::Done, StepError> {
        let mut attempts = write.attempts();
        loop {
            let seen = self.read_vm_before_write(&attempts).await?;
            let wanted = match write.check(self, &seen)? {
                ControlFlow::Continue(wanted) => wanted,
                ControlFlow::Break(done) => return Ok(done),
            };
            self.clocks_agree(&attempts, seen.server_date)?;
            if write.has_waited(self, &wanted, &seen).await? {
                continue;
            }
            if self.is_stopped() {
                return Err(not_sent());
            }
            self.context.emit(EventKind::ActionStarted { at: self.at.clone(), step: write.step() });
            let answer = write.send(self, &seen).await;
            match self.interpret(&mut attempts, answer, seen.etag.is_some()).await? {
                AttemptResult::RetryLater => {}
                AttemptResult::Accepted(named) => return write.see_accepted(self, wanted, named).await,
                AttemptResult::Unknown(unclear) => {
                    if let Some(done) = write.see_unclear(self, wanted, &attempts, unclear).await? {
                        return Ok(done);
                    }
                }
            }
        }
    }
}
