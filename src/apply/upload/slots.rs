//! Slots for uploads: limits in all and for each hypervisor, and which uploads hold them.

use super::super::event::{SlotHolder, SlotUse};
use super::super::outcome::VmRef;
use super::progress::ProgressState;
use crate::inventory::Backup;
use crate::plan::{Create, bytes_text};
use crate::policy::{Policy, TierIndex};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The slots for running uploads.
#[derive(Debug)]
pub(in super::super) struct Slots {
    max_all: usize,
    max_per_hypervisor: usize,
    taken: Mutex<SlotTable>,
}

/// Which of the VMs that wait for a slot goes first: first attempts before retries, of each the coarsest tier, and of these the
/// longest overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct SlotPriority {
    is_retry: bool,
    tier: TierIndex,
    due_since: DateTime<Utc>,
}

impl SlotPriority {
    /// Returns the priority of a create; one whose tier the policy does not have comes last.
    pub(in super::super) fn of(create: &Create, policy: Option<&Policy>) -> Self {
        let tier = policy.and_then(|it| it.tiers.iter().position(|tier| *tier.name == *create.tier));
        Self {
            is_retry: create.is_retry,
            tier: tier.unwrap_or(TierIndex::MAX),
            due_since: create.due_since.to_utc(),
        }
    }
}

/// The VMs that wait, each with where its slot is sent; the number is that of its arrival.
type Queue = BTreeMap<(SlotPriority, u64), oneshot::Sender<Slot>>;

#[derive(Debug, Default)]
struct SlotTable {
    uploads: BTreeMap<u64, HeldSlot>,
    /// The number of the next upload.
    next: u64,
    /// Those who wait, by hypervisor; none of the queues is empty.
    waiting: BTreeMap<String, Queue>,
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
    pub(in super::super) fn new(max_all: usize, max_per_hypervisor: usize) -> Arc<Self> {
        Arc::new(Self { max_all, max_per_hypervisor, taken: Mutex::default() })
    }

    /// Takes a slot for an upload that runs already, beyond the limits too.
    pub(in super::super) fn occupy(self: &Arc<Self>, hypervisor: &str) -> Slot {
        let number = self.taken().add(hypervisor);
        Slot { slots: Arc::clone(self), number }
    }

    /// Waits for a slot, within both limits, and takes it. A wait that is given up takes nothing.
    pub(in super::super) async fn acquire(
        self: &Arc<Self>,
        hypervisor: &str,
        priority: SlotPriority,
    ) -> Slot {
        let (sender, granted) = oneshot::channel();
        let _waiter = Waiter::join(self, hypervisor, priority, sender);
        self.grant();
        match granted.await {
            Ok(slot) => slot,
            // The sender stays in the queue until it sends, or until this wait is given up.
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives the free slots to those who wait. A full hypervisor holds up nobody who waits for another one.
    fn grant(self: &Arc<Self>) {
        while let Some((waiter, number)) = self.next_granted() {
            // Of a wait that was given up meanwhile the slot comes back, and is free again when it is dropped.
            drop(waiter.send(Slot { slots: Arc::clone(self), number }));
        }
    }

    /// Takes a slot for the first of those who wait and can have one.
    fn next_granted(&self) -> Option<(oneshot::Sender<Slot>, u64)> {
        let mut taken = self.taken();
        let heads =
            taken.waiting.iter().filter_map(|(hypervisor, queue)| Some((queue.keys().next()?, hypervisor)));
        let (&key, hypervisor) = heads.filter(|(_, hypervisor)| self.has_room(&taken, hypervisor)).min()?;
        let hypervisor = hypervisor.clone();
        let waiter = taken.leave(&hypervisor, key)?;
        let number = taken.add(&hypervisor);
        Some((waiter, number))
    }

    /// Takes a slot if one is free.
    pub(in super::super) fn try_acquire(self: &Arc<Self>, hypervisor: &str) -> Option<Slot> {
        let mut taken = self.taken();
        self.has_room(&taken, hypervisor)
            .then(|| Slot { slots: Arc::clone(self), number: taken.add(hypervisor) })
    }

    fn has_room(&self, taken: &SlotTable, hypervisor: &str) -> bool {
        taken.held(None).count() < self.max_all
            && taken.held(Some(hypervisor)).count() < self.max_per_hypervisor
    }

    /// Returns whether any VM waits for a slot.
    pub(in super::super) fn is_waited_for(&self) -> bool {
        !self.taken().waiting.is_empty()
    }

    /// Returns where VMs wait for slots, and which uploads hold them: by hypervisor where its own limit is reached,
    /// otherwise for all of them.
    pub(in super::super) fn waited_for(&self) -> Vec<SlotUse> {
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
            .map(|(hypervisor, waiting)| use_of(Some(hypervisor), waiting.len(), self.max_per_hypervisor))
            .collect();
        if !elsewhere.is_empty() {
            uses.push(use_of(
                None,
                elsewhere.into_iter().map(|(_, waiting)| waiting.len()).sum(),
                self.max_all,
            ));
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

    /// Takes a VM out of its queue, where it still waits.
    fn leave(&mut self, hypervisor: &str, key: (SlotPriority, u64)) -> Option<oneshot::Sender<Slot>> {
        let queue = self.waiting.get_mut(hypervisor)?;
        let waiter = queue.remove(&key);
        if queue.is_empty() {
            self.waiting.remove(hypervisor);
        }
        waiter
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
pub(in super::super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
}

impl Slot {
    /// Records a reading of its upload. One that makes no progress gives the slot back; once it does again it holds the slot
    /// again, beyond the limits too.
    pub(in super::super) fn record(&self, at: &VmRef, backup: &Backup, state: ProgressState) {
        let mut taken = self.slots.taken();
        let Some(held) = taken.uploads.get_mut(&self.number) else { return };
        held.seen = Some(LastReading { at: at.clone(), backup: backup.clone(), moved: state.since });
        let is_freed =
            std::mem::replace(&mut held.is_progressing, state.is_progressing) && !state.is_progressing;
        drop(taken);
        if is_freed {
            self.slots.grant();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.taken().uploads.remove(&self.number);
        self.slots.grant();
    }
}

/// A VM in a queue; leaves it when it is dropped.
struct Waiter<'a> {
    slots: &'a Slots,
    hypervisor: &'a str,
    key: (SlotPriority, u64),
}

impl<'a> Waiter<'a> {
    fn join(
        slots: &'a Slots,
        hypervisor: &'a str,
        priority: SlotPriority,
        sender: oneshot::Sender<Slot>,
    ) -> Self {
        let mut taken = slots.taken();
        taken.next += 1;
        let key = (priority, taken.next);
        taken.waiting.entry(hypervisor.to_owned()).or_default().insert(key, sender);
        Self { slots, hypervisor, key }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let sender = self.slots.taken().leave(self.hypervisor, self.key);
        drop(sender);
    }
}

/// How many holders of slots the text names.
const NAMED_MAX: usize = 3;

/// Says what VMs wait for slots, and which uploads hold them.
pub(in super::super) fn waiting_text(for_slot: usize, slots: &[SlotUse]) -> String {
    if for_slot == 0 {
        return String::new();
    }
    let each: Vec<String> = slots.iter().map(use_text).collect();
    format!("{for_slot} waiting for a slot: {}", each.join("; "))
}

fn use_text(slots: &SlotUse) -> String {
    let mut text = match &slots.hypervisor {
        Some(hypervisor) => format!("{hypervisor} uses {} of {}", slots.running, slots.limit),
        None => format!("{} of {} in use overall", slots.running, slots.limit),
    };
    let named: Vec<String> = slots.held_by.iter().take(NAMED_MAX).map(holder_text).collect();
    if !named.is_empty() {
        text.push_str(&format!(", held by {}", named.join(", ")));
    }
    let others = slots.running.saturating_sub(named.len());
    if others > 0 && !named.is_empty() {
        text.push_str(&format!(" and {others} more"));
    }
    text
}

fn holder_text(holder: &SlotHolder) -> String {
    let mut facts = Vec::new();
    if let Some(since) = holder.since {
        facts.push(format!("since {}", since.format("%H:%M UTC")));
    }
    facts.push(bytes_text(holder.bytes));
    if holder.quiet_secs >= 60 {
        facts.push(format!("no growth for {} min", holder.quiet_secs / 60));
    }
    format!("{} ({})", holder.at.alias, facts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{BackupId, VmId};
    use futures::FutureExt as _;
    use uuid::Uuid;

    /// A daily of that night.
    fn daily(day: u32) -> SlotPriority {
        let due_since = format!("2026-11-{day:02}T01:00:00Z").parse().unwrap();
        SlotPriority { is_retry: false, tier: 2, due_since }
    }

    #[tokio::test]
    async fn a_full_hypervisor_does_not_block_the_others() {
        let slots = Slots::new(3, 1);
        let one = slots.acquire("hv-1", daily(1)).await;
        assert!(slots.acquire("hv-1", daily(1)).now_or_never().is_none());
        let two = slots.acquire("hv-2", daily(1)).now_or_never().unwrap();
        drop(one);
        let _one = slots.acquire("hv-1", daily(1)).now_or_never().unwrap();
        let _three = slots.acquire("hv-3", daily(1)).now_or_never().unwrap();
        assert!(slots.acquire("hv-4", daily(1)).now_or_never().is_none(), "three in all");
        assert!(!slots.is_waited_for(), "those who gave up wait no more");
        drop(two);
        assert!(slots.acquire("hv-4", daily(1)).now_or_never().is_some());
    }

    #[tokio::test]
    async fn what_runs_already_counts_even_beyond_the_limit() {
        let slots = Slots::new(1, 1);
        let foreign = [slots.occupy("hv-1"), slots.occupy("hv-1")];
        assert!(slots.try_acquire("hv-2").is_none());
        let waiter = {
            let slots = Arc::clone(&slots);
            tokio::spawn(async move { slots.acquire("hv-2", daily(1)).await })
        };
        tokio::task::yield_now().await;
        assert!(slots.is_waited_for());
        drop(foreign);
        let _slot = waiter.await.unwrap();
    }

    #[tokio::test]
    async fn first_attempts_go_first_then_the_coarsest_tier_then_the_longest_overdue_then_the_first_to_wait()
    {
        let slots = Slots::new(1, 1);
        let held = slots.acquire("hv-1", daily(1)).await;
        let monthly = SlotPriority { tier: 0, ..daily(20) };
        let order = Arc::new(Mutex::new(Vec::new()));
        let retry = SlotPriority { is_retry: true, ..monthly };
        let waits =
            [("hv-1", retry), ("hv-1", daily(9)), ("hv-2", daily(8)), ("hv-1", monthly), ("hv-1", daily(8))];
        let waits = (0..).zip(waits).map(|(number, (hypervisor, priority))| {
            let (slots, order) = (Arc::clone(&slots), Arc::clone(&order));
            tokio::spawn(async move {
                let _slot = slots.acquire(hypervisor, priority).await;
                order.lock().unwrap().push(number);
            })
        });
        let waits: Vec<_> = waits.collect();
        tokio::task::yield_now().await;
        drop(held);
        futures::future::join_all(waits).await;
        assert_eq!(*order.lock().unwrap(), [3, 2, 4, 1, 0]);
    }

    #[test]
    fn what_is_waited_for_is_said_in_a_line() {
        let at = VmRef { vm: VmId::new(Uuid::nil()), alias: "db-1".to_owned() };
        let holder = SlotHolder {
            at,
            backup: BackupId::new(Uuid::nil()),
            since: Some("2026-11-22T01:02:03Z".parse().unwrap()),
            bytes: 3 << 30,
            quiet_secs: 570,
        };
        let slots = |hypervisor: Option<&str>, held_by| SlotUse {
            hypervisor: hypervisor.map(str::to_owned),
            waiting: 1,
            running: 2,
            limit: 2,
            held_by,
        };
        assert_eq!(
            waiting_text(2, &[slots(Some("hv-3"), vec![holder]), slots(None, Vec::new())]),
            "2 waiting for a slot: hv-3 uses 2 of 2, held by db-1 (since 01:02 UTC, 3.0 GiB, no growth for 9 min) and 1 \
             more; 2 of 2 in use overall"
        );
    }
}
