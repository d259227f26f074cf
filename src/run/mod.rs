//! What is known of runs, as data: a [`RunSummary`] of one run, and a [`RunHistory`] of all runs of a process.
//!
//! Metrics, page, notification and log are different views of these.

mod history;
mod summary;

pub use history::RunHistory;
pub use summary::{RunEnd, RunFailure, RunSummary};
