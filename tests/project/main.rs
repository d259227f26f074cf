//! The project itself: the order of its modules, its policies, the messages about broken ones, and everything that is
//! read from outside.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

mod circles;
mod clock_changes;
mod outside;
mod policy_errors;
mod policy_examples;
mod structure;
