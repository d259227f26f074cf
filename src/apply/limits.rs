//! How many uploads may run at a time: in all, and on one hypervisor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The places there are for running uploads.
#[derive(Debug)]
pub(super) struct Slots {
    max_all: usize,
    max_per_hypervisor: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    per_hypervisor: BTreeMap<String, usize>,
    waiting: usize,
}

impl Slots {
    pub(super) fn new(max_all: usize, max_per_hypervisor: usize) -> Arc<Self> {
        Arc::new(Self { max_all, max_per_hypervisor, taken: Mutex::default(), freed: Notify::new() })
    }

    /// Takes a place for an upload that runs already, whether or not there is one.
    pub(super) fn occupy(self: &Arc<Self>, hypervisor: &str) -> Slot {
        self.taken().add(hypervisor);
        Slot { slots: Arc::clone(self), hypervisor: hypervisor.to_owned() }
    }

    /// Waits for a place, in all and on the hypervisor, and takes it. Giving up the wait takes nothing.
    pub(super) async fn acquire(self: &Arc<Self>, hypervisor: &str) -> Slot {
        let _waiting = Waiting::new(self);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on a place that is freed is not missed, even before it is first waited for.
            freed.as_mut().enable();
            if self.take_if_free(hypervisor) {
                return Slot { slots: Arc::clone(self), hypervisor: hypervisor.to_owned() };
            }
            freed.await;
        }
    }

    /// Takes a place if there is one right now.
    pub(super) fn try_acquire(self: &Arc<Self>, hypervisor: &str) -> Option<Slot> {
        self.take_if_free(hypervisor)
            .then(|| Slot { slots: Arc::clone(self), hypervisor: hypervisor.to_owned() })
    }

    /// Says whether anybody waits for a place.
    pub(super) fn is_waited_for(&self) -> bool {
        self.taken().waiting > 0
    }

    fn take_if_free(&self, hypervisor: &str) -> bool {
        let mut taken = self.taken();
        let here = taken.per_hypervisor.get(hypervisor).copied().unwrap_or(0);
        let free = taken.all < self.max_all && here < self.max_per_hypervisor;
        if free {
            taken.add(hypervisor);
        }
        free
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // The counts are changed in single steps, so they hold even if somebody panicked beside them.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn add(&mut self, hypervisor: &str) {
        self.all += 1;
        *self.per_hypervisor.entry(hypervisor.to_owned()).or_default() += 1;
    }
}

/// A place for one running upload, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    hypervisor: String,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        taken.all -= 1;
        if let Some(here) = taken.per_hypervisor.get_mut(&self.hypervisor) {
            *here -= 1;
        }
        drop(taken);
        self.slots.freed.notify_waiters();
    }
}

struct Waiting<'a>(&'a Slots);

impl<'a> Waiting<'a> {
    fn new(slots: &'a Slots) -> Self {
        slots.taken().waiting += 1;
        Self(slots)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.taken().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_full_hypervisor_holds_up_nobody_else() {
        let slots = Slots::new(3, 1);
        let one = slots.acquire("hv-1").await;
        assert!(slots.acquire("hv-1").now_or_never().is_none());
        let two = slots.acquire("hv-2").now_or_never().unwrap();
        drop(one);
        let _one = slots.acquire("hv-1").now_or_never().unwrap();
        let _three = slots.acquire("hv-3").now_or_never().unwrap();
        assert!(slots.acquire("hv-4").now_or_never().is_none(), "three in all");
        assert!(!slots.is_waited_for(), "those who gave up wait no more");
        drop(two);
        assert!(slots.acquire("hv-4").now_or_never().is_some());
    }

    #[tokio::test]
    async fn what_runs_already_counts_even_beyond_the_limit() {
        let slots = Slots::new(1, 1);
        let foreign = [slots.occupy("hv-1"), slots.occupy("hv-1")];
        assert!(slots.try_acquire("hv-2").is_none());
        let waiter = {
            let slots = Arc::clone(&slots);
            tokio::spawn(async move { slots.acquire("hv-2").await })
        };
        tokio::task::yield_now().await;
        assert!(slots.is_waited_for());
        drop(foreign);
        let _slot = waiter.await.unwrap();
    }
}
