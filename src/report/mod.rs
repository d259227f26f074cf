//! Plans, reports and runs for people and programs.
//!
//! A builder ([`plan`], [`change`], [`status`], [`show`], [`simulate`], [`page`]) makes a [`Doc`] of data; [`text`], [`markdown`] and `html`
//! print any of them, so that terminal, pull request and page say the same in the same words. [`json`] writes the data itself,
//! [`metrics`] what Prometheus reads, [`run`] the line, the problems and the notification of a run. Foreign text is made
//! harmless where it is printed: see [`visible`].

pub mod change;
pub mod check;
pub mod diff;
mod doc;
mod drawing;
mod escape;
mod exit;
mod graph;
mod groups;
mod history;
pub mod html;
pub mod json;
mod layout;
pub mod markdown;
pub mod metrics;
mod notes;
pub mod page;
pub mod plan;
pub mod run;
pub mod show;
pub mod simulate;
pub mod status;
pub mod stop;
pub mod text;
pub mod verify;
mod words;

#[cfg(test)]
mod tests;

pub use doc::{Detail, Doc, Tone};
pub use escape::visible;
pub use exit::{Exit, Failure, failed};
pub use history::{KnownVms, RunHistory, RunSummary};
pub use layout::wrapped;
pub use run::{Problem, ProblemCode};
pub use text::Styles;
pub use words::{action_text, counts_text, span_text, vm_name, word};
