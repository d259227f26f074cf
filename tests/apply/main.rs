//! Plans carried out against the sandbox's world, without sockets and on paused time: what is asked of FiFo, and what
//! is in the world afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails may panic")]

mod broken_answers;
#[path = "../store/built.rs"]
#[expect(dead_code, reason = "the tests of the store need more of it")]
mod built;
mod cloud;
mod creates;
mod deletes;
mod first_run;
mod new_snapshots;
mod notes;
mod proof;
mod prune;
mod prune_faults;
mod runs;
mod safety;
mod transport;
mod uploads;
mod waits;
