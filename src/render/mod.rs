//! The same plan for people, programs and pull requests.
//!
//! A plan knows no colour, no width and no format; the wrappers in here do, and write it to any [`Write`](std::io::Write).
//! What comes from outside (aliases, comments) never reaches a terminal as it is: see [`visible`].

mod cells;
pub mod diff;
pub mod json;
pub mod markdown;
mod outcome;
mod style;
pub mod text;

pub use cells::visible;
pub use outcome::{JsonLines, People, tally_text};
pub use style::Styles;
