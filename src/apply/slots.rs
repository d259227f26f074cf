//! Slots for uploads: limits in all and for each hypervisor, and which uploads hold them.

use super::action::VmRef;
use super::event::{SlotHolder, SlotUse};
use super::progress::ProgressState;
use crate::inventory::Backup;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The slots for running uploads.
#[derive(Debug)]
pub(super) struct Slots {
    max_all: usize,
    max_per_hypervisor: usize,
    taken: Mutex<SlotTable>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct SlotTable {
    uploads: BTreeMap<u64, HeldSlot>,
    /// The number of the next upload.
    next: u64,
    /// How many wait, by hypervisor.
    waiting: BTreeMap<String, usize>,
}

/// An upload, whether or not it holds a slot at present.
#[derive(Debug)]
struct HeldSlot {
    hypervisor: String,
    /// Whether it makes progress, and so holds its slot.
    is_progressing: bool,
    /// The upload by the last reading, if there was one.
    seen: Option<LastReading>,
}

#[derive(Debug)]
struct LastReading {
    at: VmRef,
    backup: Backup,
    moved: Instant,
}

impl Slots {
    pub(super) fn new(max_all: usize, max_per_hypervisor: usize) -> Arc<Self> {
        Arc::new(Self { max_all, max_per_hypervisor, taken: Mutex::default(), freed: Notify::new() })
    }

    /// Takes a slot for an upload that runs already, beyond the limits too.
    pub(super) fn occupy(self: &Arc<Self>, hypervisor: &str) -> Slot {
        let number = self.taken().add(hypervisor);
        Slot { slots: Arc::clone(self), number }
    }

    /// Waits for a slot, within both limits, and takes it. A wait that is given up takes nothing.
    pub(super) async fn acquire(self: &Arc<Self>, hypervisor: &str) -> Slot {
        let _waiting = WaitGuard::new(self, hypervisor);
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on no freed slot is missed, even before the first wait.
            freed.as_mut().enable();
            if let Some(slot) = self.try_acquire(hypervisor) {
                return slot;
            }
            freed.await;
        }
    }

    /// Takes a slot if one is free.
    pub(super) fn try_acquire(self: &Arc<Self>, hypervisor: &str) -> Option<Slot> {
        let mut taken = self.taken();
        let is_free = taken.held(None).count() < self.max_all
            && taken.held(Some(hypervisor)).count() < self.max_per_hypervisor;
        is_free.then(|| Slot { slots: Arc::clone(self), number: taken.add(hypervisor) })
    }

    /// Returns whether any VM waits for a slot.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.taken().waiting.is_empty()
    }

    /// Returns where VMs wait for slots, and which uploads hold them: by hypervisor where its own limit is reached,
    /// otherwise for all of them.
    pub(super) fn waited_for(&self) -> Vec<SlotUse> {
        let taken = self.taken();
        let use_of = |hypervisor: Option<&str>, waiting, limit| SlotUse {
            hypervisor: hypervisor.map(str::to_owned),
            waiting,
            running: taken.held(hypervisor).count(),
            limit,
            held_by: taken.held(hypervisor).filter_map(HeldSlot::holder).collect(),
        };
        let (here, elsewhere): (Vec<_>, Vec<_>) = taken
            .waiting
            .iter()
            .partition(|(hypervisor, _)| taken.held(Some(hypervisor)).count() >= self.max_per_hypervisor);
        let mut uses: Vec<SlotUse> = here
            .into_iter()
            .map(|(hypervisor, waiting)| use_of(Some(hypervisor), *waiting, self.max_per_hypervisor))
            .collect();
        if !elsewhere.is_empty() {
            uses.push(use_of(None, elsewhere.into_iter().map(|(_, waiting)| waiting).sum(), self.max_all));
        }
        uses
    }

    fn taken(&self) -> MutexGuard<'_, SlotTable> {
        // The counts are changed in single steps, so they are consistent even after a panic elsewhere.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotTable {
    fn add(&mut self, hypervisor: &str) -> u64 {
        self.next += 1;
        self.uploads.insert(
            self.next,
            HeldSlot { hypervisor: hypervisor.to_owned(), is_progressing: true, seen: None },
        );
        self.next
    }

    /// Returns the uploads that hold a slot, in all or on one hypervisor.
    fn held(&self, hypervisor: Option<&str>) -> impl Iterator<Item = &HeldSlot> {
        self.uploads
            .values()
            .filter(move |held| held.is_progressing && hypervisor.is_none_or(|one| one == held.hypervisor))
    }
}

impl HeldSlot {
    fn holder(&self) -> Option<SlotHolder> {
        let LastReading { at, backup, moved } = self.seen.as_ref()?;
        Some(SlotHolder {
            at: at.clone(),
            backup: backup.id,
            since: backup.timestamp,
            bytes: backup.size_bytes().unwrap_or(0),
            quiet_secs: moved.elapsed().as_secs(),
        })
    }
}

/// A slot for one running upload, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
}

impl Slot {
    /// Records a reading of its upload. One that makes no progress gives the slot back; once it does again it holds the slot
    /// again, beyond the limits too.
    pub(super) fn record(&self, at: &VmRef, backup: &Backup, state: ProgressState) {
        let mut taken = self.slots.taken();
        let Some(held) = taken.uploads.get_mut(&self.number) else { return };
        held.seen = Some(LastReading { at: at.clone(), backup: backup.clone(), moved: state.since });
        let is_freed =
            std::mem::replace(&mut held.is_progressing, state.is_progressing) && !state.is_progressing;
        drop(taken);
        if is_freed {
            self.slots.freed.notify_waiters();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.taken().uploads.remove(&self.number);
        self.slots.freed.notify_waiters();
    }
}

struct WaitGuard<'a> {
    slots: &'a Slots,
    hypervisor: &'a str,
}

impl<'a> WaitGuard<'a> {
    fn new(slots: &'a Slots, hypervisor: &'a str) -> Self {
        *slots.taken().waiting.entry(hypervisor.to_owned()).or_default() += 1;
        Self { slots, hypervisor }
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        if let Some(waiting) = taken.waiting.get_mut(self.hypervisor) {
            *waiting -= 1;
            if *waiting == 0 {
                taken.waiting.remove(self.hypervisor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_full_hypervisor_does_not_block_the_others() {
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
