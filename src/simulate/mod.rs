//! Runs the real planner forward through time: what is made, stored, deleted and restored from, day by day.
//!
//! `engine` steps a VM from run to run, `world` is what a run changes, `tally` what the days add up to, `story` the history of
//! each backup of one VM. `outlook` asks the same engine for peaks and expiry dates.
//!
//! It is a simulation and no plan: every upload succeeds but where the [`Scenario`] says otherwise, a VM that is blocked stays
//! blocked, and no VM is moved, created or deleted. Pure like [`plan`](crate::plan), but for the threads that share the VMs.

mod engine;
mod outlook;
mod story;
mod tally;
mod world;

#[cfg(test)]
mod tests;

pub use outlook::{HeavyTier, expiry_dates, heavy_tiers};
pub use story::{MissedDay, StoredBackup, Story, simulate_with_stories};
pub use tally::{Example, PolicySimulation, Simulation, Totals, simulate};
pub use world::{Day, Made};

use crate::plan::{Prune, Request};
use chrono::{DateTime, TimeDelta, Utc};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The size of a VM where nothing is known of it, in bytes: 40 GiB.
pub const VM_SIZE_BYTES: u64 = 40 << 30;
/// How much of a VM changes in a day where nothing else is said, in millionths: 3 %.
pub const CHANGE_PPM: u64 = 30_000;

/// What a simulation assumes.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The instant of the first run.
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    /// How long after the beginning of a run the next one begins; `None` is at each instant at which a decision may change.
    pub every: Option<TimeDelta>,
    /// When there are no runs; the first one afterwards is at the end.
    pub down: Vec<Range<DateTime<Utc>>>,
    /// When uploads fail, on record.
    pub uploads_fail: Vec<Range<DateTime<Utc>>>,
    /// The bytes of a full backup where a VM has none yet.
    pub vm_size_bytes: u64,
    /// How much of a VM changes in a day, in millionths: the size of an increment where its tier has none yet.
    pub change_ppm: u64,
    /// What the runs say of deletes from storage.
    pub prune: Prune,
    /// Ends the simulation early once it is set, for those who no longer wait for it.
    pub stop: Arc<AtomicBool>,
}

impl Scenario {
    /// Assumes that nothing goes wrong for so many days.
    pub fn new(from: DateTime<Utc>, days: u32) -> Self {
        Self {
            from,
            until: from + TimeDelta::days(i64::from(days)),
            every: None,
            down: Vec::new(),
            uploads_fail: Vec::new(),
            vm_size_bytes: VM_SIZE_BYTES,
            change_ppm: CHANGE_PPM,
            prune: Prune::default(),
            stop: Arc::default(),
        }
    }

    /// Returns the first instant from another one on at which there are runs.
    fn up_at(&self, mut instant: DateTime<Utc>) -> DateTime<Utc> {
        while let Some(down) = self.down.iter().find(|down| down.contains(&instant)) {
            instant = down.end;
        }
        instant
    }

    /// Says whether nobody waits for the result any more.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns what a run at an instant asks the planner for.
    fn request(&self, now: DateTime<Utc>) -> Request {
        Request::by_clocks(now, None, self.prune)
    }

    fn do_uploads_fail(&self, instant: DateTime<Utc>) -> bool {
        self.uploads_fail.iter().any(|range| range.contains(&instant))
    }
}
