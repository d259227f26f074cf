//! A day of a simulation, and what days come to.

use chrono::NaiveDate;
use serde::Serialize;

/// The end of a day in the policy's zone, and what was done on it: sums over the VMs; chain, restore and age are the worst.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Day {
    pub date: NaiveDate,
    /// Completed backups in storage.
    pub stored: usize,
    /// Snapshots on hypervisors.
    pub local: usize,
    pub stored_bytes: u64,
    pub local_bytes: u64,
    /// Full backups that were made.
    pub full: usize,
    /// Incremental ones.
    pub incremental: usize,
    /// Backups that were deleted from storage.
    pub pruned: usize,
    /// The most backups that restoring one of those in storage reads.
    pub longest_chain: usize,
    /// The bytes that restoring the newest backup reads.
    pub restore_bytes: u64,
    /// The age of the newest backup that can be restored; `None` while no VM has one.
    pub newest_age_secs: Option<i64>,
}

/// A whole simulation of a policy in a few numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub full: usize,
    pub incremental: usize,
    pub pruned: usize,
    /// Backups in storage in the end.
    pub stored: usize,
    /// The most on any day.
    pub stored_max: usize,
    /// The bytes in storage in the end.
    pub stored_bytes: u64,
    /// The most snapshots on hypervisors on any day.
    pub local_max: usize,
    pub longest_chain: usize,
    /// The most bytes of a restore of the newest backup.
    pub restore_bytes: u64,
    /// The greatest age of the newest backup on any day.
    pub newest_age_secs: Option<i64>,
}

impl Totals {
    /// Sums up days in a row.
    pub fn of(days: &[Day]) -> Self {
        let last = days.last();
        Self {
            full: days.iter().map(|day| day.full).sum(),
            incremental: days.iter().map(|day| day.incremental).sum(),
            pruned: days.iter().map(|day| day.pruned).sum(),
            stored: last.map_or(0, |day| day.stored),
            stored_max: days.iter().map(|day| day.stored).max().unwrap_or(0),
            stored_bytes: last.map_or(0, |day| day.stored_bytes),
            local_max: days.iter().map(|day| day.local).max().unwrap_or(0),
            longest_chain: days.iter().map(|day| day.longest_chain).max().unwrap_or(0),
            restore_bytes: days.iter().map(|day| day.restore_bytes).max().unwrap_or(0),
            newest_age_secs: days.iter().filter_map(|day| day.newest_age_secs).max(),
        }
    }
}

impl Day {
    /// Adds the same day of other VMs.
    pub(super) fn plus(&mut self, other: &Self) {
        self.stored += other.stored;
        self.local += other.local;
        self.stored_bytes = self.stored_bytes.saturating_add(other.stored_bytes);
        self.local_bytes = self.local_bytes.saturating_add(other.local_bytes);
        self.full += other.full;
        self.incremental += other.incremental;
        self.pruned += other.pruned;
        self.longest_chain = self.longest_chain.max(other.longest_chain);
        self.restore_bytes = self.restore_bytes.max(other.restore_bytes);
        self.newest_age_secs = self.newest_age_secs.max(other.newest_age_secs);
    }
}
