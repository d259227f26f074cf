//! Markdown, for comments, issues and job summaries.
//!
//! A comment takes only so many bytes. What has to be left out of one is counted and reported, and deletes are never left
//! out: see [`plan()`].

mod deletes;
mod escape;
mod page;
mod plan;
mod sections;
mod show;
mod status;

#[cfg(test)]
mod tests;

pub(super) use escape::escaped;
pub use plan::{MARKER, MAX_BYTES_DEFAULT, MAX_BYTES_LEAST, PlanPageParts, plan};
pub use show::show;
pub use status::status;
