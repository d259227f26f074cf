//! A run with its reports (`single`), and the loop of `reconcile --every` (`schedule`).
//!
//! `state` is what the loop serves over HTTP, `observer` watches a run while it goes on, `reporting` sends its result to a
//! metrics file, a notification address and a cron monitor.

pub(super) mod observer;
pub(super) mod reporting;
pub(super) mod schedule;
pub(super) mod single;
pub(super) mod state;
