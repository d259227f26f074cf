//! What only looks: reads a plan and an inventory and reports on them. Nothing here decides what is done.
//!
//! - [`status`]: whether the backups of every VM would save it, and an [`Overview`] of the whole cloud;
//! - [`show`]: of each backup, why it is kept and when it may go;
//! - [`compare()`]: what a change of policies does, by two plans and a [`forecast`];
//! - [`Estimate`]: the bytes that a plan moves;
//! - [`forecast`]: which backups policies make over the coming weeks;
//! - [`storage`]: what each tier of a VM holds in storage, and what for;
//! - [`retention`]: how many stored backups the tiers of a policy hold at their peak, from its schedules alone.
//!
//! Like [`plan`](crate::plan) it is pure: no clock, no I/O, no randomness.

mod compare;
mod estimate;
pub mod forecast;
mod policy_changes;
pub mod retention;
pub mod show;
pub mod status;
pub mod storage;

#[cfg(test)]
pub(crate) mod tests;

pub use compare::{
    AbandonedBackups, ActionCounts, Comparison, ComparisonSummary, PolicySide, Protection, ProtectionChange,
    StoredBackups, VmChange, compare,
};
pub use estimate::Estimate;
pub use policy_changes::{PolicyChange, PolicyChangeKind};
pub use status::{Overview, OverviewBuilder, OverviewDetail, TierHealth};
