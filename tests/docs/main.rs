//! The documentation is true: what it says to type works, and what it lists is all there is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod commands;
mod page;
mod reference;
mod script;
#[expect(dead_code, reason = "each target needs some of it")]
#[path = "../shell/mod.rs"]
mod shell;
