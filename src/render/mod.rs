//! The same plan for people, programs and pull requests, and what came of it for those who watch: an [`RunSummary`] of a run
//! becomes metrics, a notification and, with the [`RunHistory`] of all runs, a status page.
//!
//! A plan knows no colour, no width and no format; the wrappers in here do, and write it to any [`Write`](std::io::Write).
//! What comes from outside (aliases, comments) never reaches a terminal as it is: see [`visible`].

mod cells;
pub mod diff;
pub mod json;
pub mod markdown;
pub mod metrics;
mod natural;
pub mod notification;
mod observers;
pub mod page;
mod problems;
pub mod safety_stop;
mod style;
pub mod text;

pub use cells::{visible, wrapped};
pub use observers::{JsonObserver, TextObserver, counts_text};
pub use problems::{Problem, ProblemCode};
pub use style::Styles;
