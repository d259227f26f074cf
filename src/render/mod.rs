//! Plans, reports and runs as text, JSON, Markdown, HTML and metrics.
//!
//! The data has no colour, width or format; the functions here have, and write to any [`Write`](std::io::Write). Text from
//! outside (aliases, comments) never reaches a terminal as it is: see [`visible`].

mod cells;
pub mod diff;
pub mod json;
pub mod markdown;
pub mod metrics;
mod natural;
pub mod notification;
mod outcomes;
pub mod page;
mod problems;
pub mod safety_stop;
mod style;
pub mod text;
mod wording;

pub use cells::{visible, wrapped};
pub use outcomes::{action_text, counts_text, ending_text};
pub use problems::{Problem, ProblemCode};
pub use style::Styles;
