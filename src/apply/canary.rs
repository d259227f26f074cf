//! The canary: the first local delete of a run goes alone and is checked before any other may start.
//!
//! If a proxy drops its body, FiFo deletes a chain. So of the deletes that are due from the start, the one with the
//! cheapest chain goes first.

use super::step::CloseReason;
use crate::inventory::VmId;
use crate::plan::CascadeCost;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Whether local deletes may start.
#[derive(Debug, Default)]
pub(super) struct DeleteGate {
    state: Mutex<State>,
    /// Notified at each change of the state.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a local delete of this run was seen to have its effect and no other.
    is_open: bool,
    /// The VMs with a local delete that is due from the start, cheapest first. One that has tried is taken out.
    waiting_vms: BTreeSet<(CascadeCost, VmId)>,
    /// Whether one is going alone.
    is_busy: bool,
    /// How many are in progress with an unknown effect.
    holds: usize,
    /// The reason why no more may start; `None` while they may.
    closed: Option<CloseReason>,
}

/// The permit for one local delete. Dropped without `confirm` or `close`, it leaves the gate as it was: the next one goes
/// alone.
#[derive(Debug)]
pub(super) struct DeletePermit<'g> {
    gate: &'g DeleteGate,
    vm: VmId,
    is_canary: bool,
}

/// While this is held, no other local delete is sent.
#[derive(Debug)]
pub(super) struct ExclusiveHold<'g>(&'g DeleteGate);

impl DeleteGate {
    /// Takes the VMs with a local delete that is due from the start, each with its cost in the worst case. Each of them must
    /// come to the gate or withdraw without waiting for anything else.
    pub(super) fn new(waiting_vms: BTreeSet<(CascadeCost, VmId)>) -> Self {
        Self { state: Mutex::new(State { waiting_vms, ..State::default() }), changed: Notify::new() }
    }

    /// Waits until a VM's local delete may start; an error is the reason why no more may.
    ///
    /// The first one is that of the cheapest VM with a delete due from the start; with none of these left, the next to come.
    pub(super) async fn acquire(&self, vm: VmId) -> Result<DeletePermit<'_>, CloseReason> {
        self.wait_until(|state| {
            if state.is_open {
                return Some(DeletePermit { gate: self, vm, is_canary: false });
            }
            let is_its_turn =
                !state.is_busy && state.waiting_vms.first().is_none_or(|(_, first)| *first == vm);
            is_its_turn.then(|| {
                state.is_busy = true;
                DeletePermit { gate: self, vm, is_canary: true }
            })
        })
        .await
    }

    /// Takes a VM out that has tried its local deletes, or will not: the others no longer wait for it.
    pub(super) fn withdraw(&self, vm: VmId) {
        self.state().waiting_vms.retain(|(_, waiting)| *waiting != vm);
        self.changed.notify_waiters();
    }

    /// Closes the gate: no further local delete may start in this run. The first reason stays.
    pub(super) fn close(&self, reason: CloseReason) {
        self.state().closed.get_or_insert(reason);
        self.changed.notify_waiters();
    }

    /// Returns the reason for which no further local delete may start.
    pub(super) fn closed(&self) -> Option<CloseReason> {
        self.state().closed
    }

    /// Waits until `ask` gets an answer from the state, or the gate is closed.
    async fn wait_until<T>(&self, mut ask: impl FnMut(&mut State) -> Option<T>) -> Result<T, CloseReason> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed, even before the first wait.
            changed.as_mut().enable();
            {
                let mut state = self.state();
                if let Some(reason) = state.closed {
                    return Err(reason);
                }
                if let Some(answer) = ask(&mut state) {
                    return Ok(answer);
                }
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is changed in single steps, so it is consistent even after a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'g> DeletePermit<'g> {
    /// Waits until no other local delete has an unknown effect. Returns whether it waited; an error is the reason why no
    /// more may start, since another one may have gone wrong after this permit was given.
    pub(super) async fn wait_for_others(&self) -> Result<bool, CloseReason> {
        let mut had_to_wait = false;
        self.gate
            .wait_until(|state| {
                had_to_wait |= state.holds > 0;
                (state.holds == 0).then_some(())
            })
            .await?;
        Ok(had_to_wait)
    }

    /// Marks the effect of this delete as unknown: no other is sent while the returned hold exists. It must be dropped
    /// before this one is repeated, so that two of them never wait for each other.
    pub(super) fn hold_others(&self) -> ExclusiveHold<'g> {
        self.gate.state().holds += 1;
        ExclusiveHold(self.gate)
    }

    /// Marks this delete as done, with no other effect: others may start.
    pub(super) fn confirm(&self) {
        self.gate.state().is_open = true;
        self.gate.changed.notify_waiters();
    }

    /// As [`DeleteGate::close`].
    pub(super) fn close(&self, reason: CloseReason) {
        self.gate.close(reason);
    }
}

impl Drop for DeletePermit<'_> {
    fn drop(&mut self) {
        if self.is_canary {
            self.gate.state().is_busy = false;
            self.gate.withdraw(self.vm);
        }
    }
}

impl Drop for ExclusiveHold<'_> {
    fn drop(&mut self) {
        self.0.state().holds -= 1;
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::BackupId;
    use futures::FutureExt as _;

    fn vm(n: u128) -> VmId {
        VmId::new(uuid::Uuid::from_u128(n))
    }

    fn cost(restorable: usize) -> CascadeCost {
        let backup = BackupId::new(uuid::Uuid::nil());
        CascadeCost { restorable, descendants: 0, taken: None, backup }
    }

    #[tokio::test]
    async fn the_first_goes_alone_until_it_went_well() {
        let gate = DeleteGate::default();
        let first = gate.acquire(vm(1)).await.unwrap();
        assert!(gate.acquire(vm(2)).now_or_never().is_none());
        drop(first);
        let again_first = gate.acquire(vm(2)).now_or_never().unwrap().unwrap();
        assert!(gate.acquire(vm(1)).now_or_never().is_none());
        again_first.confirm();
        let (one, two) = (gate.acquire(vm(1)).await.unwrap(), gate.acquire(vm(3)).await.unwrap());
        assert_eq!(two.wait_for_others().await, Ok(false));
        let reason = CloseReason::Unknown(BackupId::new(uuid::Uuid::nil()));
        one.close(reason);
        assert_eq!(
            two.wait_for_others().await.unwrap_err(),
            reason,
            "one that has passed is held back as well"
        );
        assert_eq!(gate.acquire(vm(4)).await.unwrap_err(), reason);
    }

    #[tokio::test]
    async fn the_cheapest_goes_first_and_when_it_fails_the_next_cheapest() {
        let gate = DeleteGate::new(BTreeSet::from([(cost(3), vm(1)), (cost(1), vm(2)), (cost(2), vm(3))]));
        assert!(gate.acquire(vm(1)).now_or_never().is_none());
        assert!(gate.acquire(vm(4)).now_or_never().is_none(), "one of which nothing was known");
        drop(gate.acquire(vm(2)).now_or_never().unwrap());
        assert!(gate.acquire(vm(1)).now_or_never().is_none());
        gate.withdraw(vm(3));
        drop(gate.acquire(vm(1)).now_or_never().unwrap());
        assert!(gate.acquire(vm(4)).now_or_never().is_some(), "none is left that is known");
    }

    #[tokio::test]
    async fn nobody_goes_while_it_is_not_known_what_another_does() {
        let gate = DeleteGate::default();
        gate.acquire(vm(1)).await.unwrap().confirm();
        let (one, two) = (gate.acquire(vm(1)).await.unwrap(), gate.acquire(vm(2)).await.unwrap());
        let holds = one.hold_others();
        let mut waiting = pin!(two.wait_for_others());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(holds);
        assert_eq!(waiting.now_or_never(), Some(Ok(true)), "what was read before the wait is old");
        assert_eq!(two.wait_for_others().now_or_never(), Some(Ok(false)));
    }
}
