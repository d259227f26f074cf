//! The gate that every delete passes: the first local delete of a run goes alone, while it is not known what one did no other
//! is sent, and after a fault none is sent any more.
//!
//! If a proxy drops the body of a local delete, FiFo deletes a chain. So of the VMs with a local delete that is due from the
//! start, the one whose cascade would cost least goes first, and deletes from storage wait until one has shown that bodies
//! arrive, or none is left to.

use crate::apply::outcome::{ActionKind, Ended};
use crate::inventory::VmId;
use crate::plan::CascadeCost;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How many VMs may be in the middle of a delete: each takes a few requests on connections of their own.
const AT_A_TIME: usize = 8;

/// After so many VMs in a row that failed alike, a kind of delete is left to the next run.
const ALIKE_MAX: usize = 3;

#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    /// Wakes those who wait in the order in which they came; a `watch` channel would wake them in any.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Whether FiFo has accepted a local delete of this run that was seen to have its effect and no other.
    is_proven: bool,
    /// The VMs with a local delete that is due from the start, cheapest first. One that has tried is taken out.
    first: BTreeSet<(CascadeCost, VmId)>,
    /// Of each VM in the middle of a delete, its kind.
    permits: BTreeMap<VmId, ActionKind>,
    holds: usize,
    closed: Option<String>,
    barred: BTreeMap<VmId, String>,
    alike: BTreeMap<ActionKind, Alike>,
}

#[derive(Debug, Default)]
struct Alike {
    failure: Option<(&'static str, Option<u16>)>,
    /// That of the first.
    message: String,
    vms: BTreeSet<VmId>,
}

/// The permit for one local delete, or for one VM's deletes from storage. Dropped without [`Permit::confirm`] it leaves the
/// gate as it was: the next local delete goes alone.
#[derive(Debug)]
pub(crate) struct Permit<'g> {
    gate: &'g Gate,
    vm: VmId,
    pub(crate) kind: ActionKind,
}

/// While this is held, no other delete is sent.
#[derive(Debug)]
pub(crate) struct Hold<'g>(&'g Gate);

impl Gate {
    /// Takes the VMs with a local delete that is due from the start, each with its cost in the worst case. Each of them must
    /// come to the gate, or withdraw, without waiting for anything else.
    pub(crate) fn new(first: BTreeSet<(CascadeCost, VmId)>) -> Self {
        Self { state: Mutex::new(State { first, ..State::default() }), changed: Notify::new() }
    }

    /// Waits until a VM's delete may be sent, with the permit that it holds already or a new one; an error is the reason why
    /// no more may.
    pub(crate) async fn enter<'g>(
        &'g self,
        vm: VmId,
        kind: ActionKind,
        mut held: Option<Permit<'g>>,
    ) -> Result<Permit<'g>, String> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.state();
                if let Some(reason) = state.closed.clone() {
                    return Err(reason);
                }
                if state.holds == 0 {
                    if let Some(permit) = held.take() {
                        return Ok(permit);
                    }
                    if state.permit(vm, kind) {
                        return Ok(Permit { gate: self, vm, kind });
                    }
                }
            }
            changed.await;
        }
    }

    /// Takes a VM out that has tried its local deletes, or will not: the others no longer wait for it.
    pub(crate) fn withdraw(&self, vm: VmId) {
        self.set(|state| state.first.retain(|(_, waiting)| *waiting != vm));
    }

    /// Closes the gate: no further delete is sent in this run. The first reason stays.
    pub(crate) fn close(&self, reason: String) {
        self.set(|state| _ = state.closed.get_or_insert(reason));
    }

    pub(crate) fn bar(&self, vm: VmId, why: String) {
        self.set(|state| _ = state.barred.insert(vm, why));
    }

    /// Marks the effect of a delete as unknown: no other is sent while the result exists.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.set(|state| state.holds += 1);
        Hold(self)
    }

    /// Counts how a delete ended: after some VMs in a row that failed alike the kind is left to the next run.
    ///
    /// Not so creates: where one hypervisor refuses them, the VMs of the others must get theirs.
    pub(crate) fn count(&self, kind: ActionKind, vm: VmId, ended: &Ended) {
        self.set(|state| {
            let alike = state.alike.entry(kind).or_default();
            if kind == ActionKind::Create || alike.vms.len() >= ALIKE_MAX {
                return;
            }
            if alike.failure != ended.failure() {
                *alike =
                    Alike { failure: ended.failure(), message: ended.message.clone(), ..Alike::default() };
            }
            alike.vms.extend(alike.failure.map(|_| vm));
        });
    }

    pub(crate) fn refusal(&self, kind: ActionKind, vm: VmId) -> Option<String> {
        let state = self.state();
        if let Some(reason) = state.closed.as_ref() {
            return Some(format!("this run sends no more deletes, since {reason}"));
        }
        if let Some(reason) = state.barred.get(&vm) {
            return Some(reason.clone());
        }
        let alike = state.alike.get(&kind).filter(|alike| alike.vms.len() >= ALIKE_MAX)?;
        Some(format!("{ALIKE_MAX} VMs in a row have failed alike ({})", alike.message))
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn permit(&mut self, vm: VmId, kind: ActionKind) -> bool {
        let is_prune = kind == ActionKind::DeleteCloud;
        let is_alone = self.permits.is_empty();
        let may_enter = match self.first.first() {
            _ if self.permits.len() >= AT_A_TIME => false,
            _ if is_prune && self.permits.values().any(|other| *other == kind) => false,
            _ if self.is_proven => true,
            Some((_, first)) => is_alone && !is_prune && *first == vm,
            None => is_alone,
        };
        if may_enter {
            self.permits.insert(vm, kind);
        }
        may_enter
    }
}

impl Permit<'_> {
    /// Marks a delete that FiFo has accepted as done, with no other effect. After a local one others may be sent beside it.
    pub(crate) fn confirm(&self) {
        self.gate.set(|state| state.is_proven |= self.kind == ActionKind::DeleteLocal);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.gate.set(|state| _ = state.permits.remove(&self.vm));
        if self.kind == ActionKind::DeleteLocal {
            self.gate.withdraw(self.vm);
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.set(|state| state.holds -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::BackupId;
    use ActionKind::{DeleteCloud, DeleteLocal};
    use futures::FutureExt as _;
    use std::pin::pin;

    fn vm(n: u128) -> VmId {
        VmId::new(uuid::Uuid::from_u128(n))
    }

    fn cost(restorable: usize) -> CascadeCost {
        let backup = BackupId::new(uuid::Uuid::nil());
        CascadeCost { restorable, descendants: 0, taken: None, backup }
    }

    fn enter(gate: &Gate, n: u128, kind: ActionKind) -> Option<Permit<'_>> {
        gate.enter(vm(n), kind, None).now_or_never().map(Result::unwrap)
    }

    #[test]
    fn the_first_local_delete_goes_alone_until_it_is_confirmed() {
        let gate = Gate::new(BTreeSet::new());
        let first = enter(&gate, 1, DeleteLocal).unwrap();
        assert!(enter(&gate, 2, DeleteLocal).is_none());
        drop(first);
        let again_first = enter(&gate, 2, DeleteLocal).unwrap();
        assert!(enter(&gate, 1, DeleteLocal).is_none());
        again_first.confirm();
        let (_one, two) = (enter(&gate, 1, DeleteLocal).unwrap(), enter(&gate, 3, DeleteLocal).unwrap());
        gate.close("why".to_owned());
        assert_eq!(gate.enter(vm(3), DeleteLocal, Some(two)).now_or_never().unwrap().unwrap_err(), "why");
        assert_eq!(gate.enter(vm(4), DeleteLocal, None).now_or_never().unwrap().unwrap_err(), "why");
    }

    #[test]
    fn the_cheapest_goes_first_and_when_it_fails_the_next_cheapest() {
        let gate = Gate::new(BTreeSet::from([(cost(3), vm(1)), (cost(1), vm(2)), (cost(2), vm(3))]));
        assert!(enter(&gate, 1, DeleteLocal).is_none());
        assert!(enter(&gate, 4, DeleteLocal).is_none(), "one of which nothing was known");
        drop(enter(&gate, 2, DeleteLocal).unwrap());
        assert!(enter(&gate, 1, DeleteLocal).is_none());
        gate.withdraw(vm(3));
        drop(enter(&gate, 1, DeleteLocal).unwrap());
        assert!(enter(&gate, 4, DeleteLocal).is_some(), "none is left that is known");
    }

    #[test]
    fn a_delete_from_storage_proves_nothing_for_local_ones_and_goes_beside_them_once_they_are_proven() {
        let gate = Gate::new(BTreeSet::new());
        let prune = enter(&gate, 1, DeleteCloud).unwrap();
        assert!(enter(&gate, 2, DeleteCloud).is_none(), "one VM at a time");
        prune.confirm();
        assert!(enter(&gate, 2, DeleteLocal).is_none());
        drop(prune);
        let first = enter(&gate, 2, DeleteLocal).unwrap();
        assert!(enter(&gate, 3, DeleteLocal).is_none() && enter(&gate, 3, DeleteCloud).is_none());
        first.confirm();
        drop(first);
        let (_prune, _local) = (enter(&gate, 1, DeleteCloud).unwrap(), enter(&gate, 2, DeleteLocal).unwrap());
        assert!(enter(&gate, 3, DeleteLocal).is_some());
    }

    #[test]
    fn deletes_from_storage_wait_for_the_local_ones_that_are_due_from_the_start() {
        let gate = Gate::new(BTreeSet::from([(cost(1), vm(1)), (cost(2), vm(2))]));
        assert!(enter(&gate, 3, DeleteCloud).is_none());
        drop(enter(&gate, 1, DeleteLocal).unwrap());
        assert!(enter(&gate, 3, DeleteCloud).is_none(), "it has not shown that bodies arrive");
        gate.withdraw(vm(2));
        assert!(enter(&gate, 3, DeleteCloud).is_some());
    }

    #[test]
    fn nothing_is_sent_while_it_is_not_known_what_another_did() {
        let gate = Gate::new(BTreeSet::new());
        enter(&gate, 1, DeleteLocal).unwrap().confirm();
        let (_one, two) = (enter(&gate, 1, DeleteLocal).unwrap(), enter(&gate, 2, DeleteLocal).unwrap());
        let hold = gate.hold();
        assert!(enter(&gate, 3, DeleteLocal).is_none() && enter(&gate, 3, DeleteCloud).is_none());
        let mut again = pin!(gate.enter(vm(2), DeleteLocal, Some(two)));
        assert!((&mut again).now_or_never().is_none());
        drop(hold);
        assert!(again.now_or_never().unwrap().is_ok());
    }
}
