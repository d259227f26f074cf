//! Runs that report: a single one, and `reconcile --every`, which repeats.

pub(super) mod observer;
pub(super) mod reporting;
pub(super) mod schedule;
pub(super) mod single;
pub(super) mod state;
