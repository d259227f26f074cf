//! What only looks: reads a plan and an inventory and reports on them. Nothing here decides what is done. Like
//! [`plan`](crate::plan) it is pure: no clock, no I/O, no randomness.

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
