//! What plans, runs and reports hold as data, in words: the only place with their sentences.
//!
//! The `Display` of a note, a reason or an outcome is what every output shows, and what JSON has as its text.

mod notes;
mod reasons;
mod wording;

pub(super) use wording::{NoteWording, ProblemName, Symbol, advice, wording};
