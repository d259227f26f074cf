//! The documentation is true: what it says to type works, and what it lists is all there is.

mod commands;
mod generated;
mod page;
mod reference;
mod script;
