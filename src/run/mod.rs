//! What is known of runs, as data: a [`RunSummary`] of one run, a [`RunHistory`] of all runs of a process, and how they end
//! ([`Exit`], [`Failure`]).
//!
//! Metrics, page, notification and log are different views of these.

pub mod exit;
mod failure;
mod history;
mod summary;

pub use exit::Exit;
pub use failure::Failure;
pub use history::RunHistory;
pub use summary::{RunEnd, RunSummary};
