//! Slots for uploads: limits in all and for each hypervisor, and which uploads hold them. One that makes no progress gives its
//! slot to others.

use crate::apply::event::{SlotHolder, SlotUse};
use crate::apply::outcome::VmRef;
use crate::apply::timing::{QUIET_MAX, START_MAX};
use crate::inventory::{Backup, BackupId, RecordedState, VmId};
use crate::plan::{Create, bytes_text};
use crate::policy::{Policy, TierIndex};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Slots {
    max_all: usize,
    max_per_hypervisor: usize,
    table: Mutex<SlotTable>,
}

/// Which of the VMs that wait for a slot goes first: first attempts before retries, of each the coarsest tier, and of these the
/// longest overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlotPriority {
    is_retry: bool,
    tier: TierIndex,
    due_since: DateTime<Utc>,
}

impl SlotPriority {
    /// Returns the priority of a create; one whose tier the policy does not have comes last.
    pub(crate) fn of(create: &Create, policy: Option<&Policy>) -> Self {
        let tier = policy.and_then(|it| it.tiers.iter().position(|tier| *tier.name == *create.tier));
        Self {
            is_retry: create.is_retry,
            tier: tier.unwrap_or(TierIndex::MAX),
            due_since: create.due_since.to_utc(),
        }
    }
}

#[derive(Debug, Default)]
struct SlotTable {
    uploads: BTreeMap<u64, HeldSlot>,
    count: u64,
    /// The VMs that wait, each with its hypervisor and where its slot is sent; the number is that of its arrival. The
    /// receiver of one that has given up is closed.
    waiting: BTreeMap<(SlotPriority, u64), (String, oneshot::Sender<Slot>)>,
}

#[derive(Debug)]
struct HeldSlot {
    hypervisor: String,
    is_progressing: bool,
    /// The upload by the last reading, and when it last made progress.
    seen: Option<(SlotHolder, Instant)>,
}

impl Slots {
    pub(crate) fn new(max_all: usize, max_per_hypervisor: usize) -> Arc<Self> {
        Arc::new(Self { max_all, max_per_hypervisor, table: Mutex::default() })
    }

    pub(crate) fn occupy(self: &Arc<Self>, hypervisor: &str) -> Slot {
        self.slot(&mut self.table(), hypervisor)
    }

    pub(crate) fn try_acquire(self: &Arc<Self>, hypervisor: &str) -> Option<Slot> {
        let mut table = self.table();
        self.has_room(&table, hypervisor).then(|| self.slot(&mut table, hypervisor))
    }

    /// Waits for a slot, within both limits, and takes it. A wait that is given up takes nothing.
    pub(crate) async fn acquire(self: &Arc<Self>, hypervisor: &str, priority: SlotPriority) -> Slot {
        // None of those who wait can have one that is free.
        if let Some(slot) = self.try_acquire(hypervisor) {
            return slot;
        }
        let (sender, granted) = oneshot::channel();
        {
            let mut table = self.table();
            table.count += 1;
            let key = (priority, table.count);
            table.waiting.insert(key, (hypervisor.to_owned(), sender));
        }
        match granted.await {
            Ok(slot) => slot,
            // The sender stays in the table until it sends, or until this wait is given up.
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives the free slots to those who wait. A full hypervisor holds up no VM that waits for another one.
    fn grant(self: &Arc<Self>) {
        while let Some((sender, slot)) = self.next_granted() {
            // Of a wait that was given up meanwhile the slot comes back, and is free again when it is dropped.
            drop(sender.send(slot));
        }
    }

    fn next_granted(self: &Arc<Self>) -> Option<(oneshot::Sender<Slot>, Slot)> {
        let table = &mut *self.table();
        if table.held(None).count() >= self.max_all {
            return None;
        }
        table.waiting.retain(|_, (_, sender)| !sender.is_closed());
        let mut waiting = table.waiting.iter();
        let key = *waiting.find(|(_, (hypervisor, _))| self.has_room(table, hypervisor))?.0;
        let (hypervisor, sender) = table.waiting.remove(&key)?;
        Some((sender, self.slot(table, &hypervisor)))
    }

    fn slot(self: &Arc<Self>, table: &mut SlotTable, hypervisor: &str) -> Slot {
        table.count += 1;
        let held = HeldSlot { hypervisor: hypervisor.to_owned(), is_progressing: true, seen: None };
        table.uploads.insert(table.count, held);
        Slot { slots: Arc::clone(self), number: table.count }
    }

    fn has_room(&self, table: &SlotTable, hypervisor: &str) -> bool {
        table.held(None).count() < self.max_all
            && table.held(Some(hypervisor)).count() < self.max_per_hypervisor
    }

    pub(crate) fn is_waited_for(&self) -> bool {
        self.table().waiting().next().is_some()
    }

    /// Returns where VMs wait for slots, and which uploads hold them: by hypervisor where its own limit is reached,
    /// otherwise for all of them.
    pub(crate) fn waited_for(&self) -> Vec<SlotUse> {
        let table = self.table();
        let mut waiting: BTreeMap<Option<&str>, usize> = BTreeMap::new();
        for hypervisor in table.waiting() {
            let is_full = table.held(Some(hypervisor)).count() >= self.max_per_hypervisor;
            *waiting.entry(is_full.then_some(hypervisor)).or_default() += 1;
        }
        let use_of = |(hypervisor, waiting): (Option<&str>, usize)| SlotUse {
            hypervisor: hypervisor.map(str::to_owned),
            waiting,
            running: table.held(hypervisor).count(),
            limit: if hypervisor.is_some() { self.max_per_hypervisor } else { self.max_all },
            held_by: table.held(hypervisor).filter_map(HeldSlot::holder).collect(),
        };
        let mut uses: Vec<SlotUse> = waiting.into_iter().map(use_of).collect();
        uses.sort_by_key(|slots| slots.hypervisor.is_none());
        uses
    }

    fn table(&self) -> MutexGuard<'_, SlotTable> {
        // The counts are changed in single steps, so they are consistent even after a panic elsewhere.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotTable {
    fn waiting(&self) -> impl Iterator<Item = &str> {
        self.waiting.values().filter(|(_, sender)| !sender.is_closed()).map(|(hypervisor, _)| &**hypervisor)
    }

    fn held(&self, hypervisor: Option<&str>) -> impl Iterator<Item = &HeldSlot> {
        self.uploads
            .values()
            .filter(move |held| held.is_progressing && hypervisor.is_none_or(|one| one == held.hypervisor))
    }
}

impl HeldSlot {
    fn holder(&self) -> Option<SlotHolder> {
        let (holder, moved) = self.seen.as_ref()?;
        Some(SlotHolder { quiet_secs: moved.elapsed().as_secs(), ..holder.clone() })
    }
}

/// A slot for one running upload, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    number: u64,
}

impl Slot {
    /// Records a reading of its upload. One that makes no progress gives the slot back; once it does again it holds the slot
    /// again, beyond the limits too.
    pub(crate) fn record(&self, at: &VmRef, backup: &Backup, progress: Progress) {
        let mut table = self.slots.table();
        let Some(held) = table.uploads.get_mut(&self.number) else { return };
        let holder = SlotHolder {
            at: at.clone(),
            backup: backup.id,
            since: backup.timestamp,
            bytes: backup.size_bytes().unwrap_or(0),
            quiet_secs: 0,
        };
        held.seen = Some((holder, progress.since));
        held.is_progressing = progress.is_progressing();
        drop(table);
        self.slots.grant();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.table().uploads.remove(&self.number);
        self.slots.grant();
    }
}

const NAMED_MAX: usize = 3;

pub(crate) fn waiting_text(for_slot: usize, slots: &[SlotUse]) -> String {
    if for_slot == 0 {
        return String::new();
    }
    let each: Vec<String> = slots.iter().map(use_text).collect();
    format!("{for_slot} waiting for a slot: {}", each.join("; "))
}

fn use_text(slots: &SlotUse) -> String {
    let SlotUse { running, limit, held_by, .. } = slots;
    let text = match &slots.hypervisor {
        Some(hypervisor) => format!("{hypervisor} uses {running} of {limit}"),
        None => format!("{running} of {limit} in use overall"),
    };
    let named: Vec<String> = held_by.iter().take(NAMED_MAX).map(holder_text).collect();
    match (named.join(", "), running.saturating_sub(named.len())) {
        (names, _) if names.is_empty() => text,
        (names, 0) => format!("{text}, held by {names}"),
        (names, others) => format!("{text}, held by {names} and {others} more"),
    }
}

fn holder_text(holder: &SlotHolder) -> String {
    let since = holder.since.map(|since| format!("since {}", since.format("%H:%M UTC")));
    let quiet = (holder.quiet_secs >= 60).then(|| format!("no growth for {} min", holder.quiet_secs / 60));
    let facts: Vec<String> = since.into_iter().chain([bytes_text(holder.bytes)]).chain(quiet).collect();
    format!("{} ({})", holder.at.alias, facts.join(", "))
}

/// The longest pause between two creates that no reading can show.
const UNPROVEN_PAUSE_MAX: Duration = Duration::from_secs(20 * 3600);

/// When each upload last made progress.
///
/// Kept from run to run where a process repeats them: otherwise each run would first wait for uploads that have hung for
/// long. An upload that is not known counts from when it is first seen.
#[derive(Debug, Default)]
pub struct ProgressTracker {
    uploads: Mutex<BTreeMap<BackupId, Progress>>,
    /// The VMs whose creates no reading can show, each with when the next one may go, and the pause after that.
    unproven: Mutex<BTreeMap<VmId, (Instant, Duration)>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    bytes: u64,
    has_started: bool,
    pub(crate) since: Instant,
}

impl Progress {
    pub(crate) fn is_progressing(&self) -> bool {
        self.since.elapsed() < if self.has_started { QUIET_MAX } else { START_MAX }
    }
}

impl ProgressTracker {
    /// Records a reading. One that is older than an earlier reading shows no progress.
    pub(crate) fn record(&self, backup: &Backup) -> Progress {
        let bytes = backup.size_bytes().unwrap_or(0);
        let has_started = backup.state != RecordedState::Accepted || bytes > 0;
        let now = Progress { bytes, has_started, since: Instant::now() };
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let known = uploads.entry(backup.id).or_insert(now);
        if bytes > known.bytes || has_started && !known.has_started {
            *known = now;
        }
        *known
    }

    pub(crate) fn keep_only(&self, under_way: &BTreeSet<BackupId>) {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| under_way.contains(id));
    }

    /// Says whether a create may go that no reading can show, and counts it: each waits twice as long as the one before it.
    pub(crate) fn may_go_unproven(&self, vm: VmId, backoff: Duration) -> bool {
        let mut unproven = self.unproven.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, pause) = unproven.entry(vm).or_insert((Instant::now(), backoff));
        let may_go = Instant::now() >= *next;
        if may_go {
            *next = Instant::now() + *pause;
            *pause = (*pause * 2).min(UNPROVEN_PAUSE_MAX);
        }
        may_go
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
