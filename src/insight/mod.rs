//! What only looks: reads a plan and an inventory and reports on them. Nothing here decides what is done.
//!
//! - [`status`]: whether the backups of every VM would save it, and an [`Overview`] of the whole cloud;
//! - [`show`]: of each backup, why it is kept and when it may go;
//! - [`compare()`]: what a change of policies does, by two plans and a [simulated](crate::simulate) year;
//! - [`Estimate`]: the bytes that a plan moves;
//! - [`storage`]: what each tier of a VM holds in storage, and what for.
//!
//! Like [`plan`](crate::plan) it is pure: no clock, no I/O, no randomness.

mod compare;
mod estimate;
pub mod show;
pub mod status;
pub mod storage;

#[cfg(test)]
pub(crate) mod tests;

pub use compare::{
    AbandonedBackups, ActionCounts, Comparison, ComparisonSummary, PolicyChange, PolicyChangeKind,
    PolicySide, Protection, ProtectionChange, SettingChange, StoredBackups, VmChange, YearChange, compare,
    year_changes,
};
pub use estimate::Estimate;
pub use status::{Overview, OverviewBuilder, TierHealth};
