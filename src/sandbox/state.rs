//! What a running sandbox holds.

use super::clock::Clock;
use super::faults::Faults;
use super::message::Request;
use super::world::World;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// All that the sandbox holds while it runs.
#[derive(Debug)]
pub struct State {
    /// The cloud.
    pub world: World,
    /// The disturbances.
    pub faults: Faults,
    /// The last requests, oldest first, with all their headers and bytes; those for the controls are not among them.
    pub requests: VecDeque<RequestRecord>,
    pub(super) changes: u64,
}

/// A request, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// The request as it came.
    pub request: Request,
    /// The status it was answered with; `None` where the connection was closed without an answer.
    pub status: Option<u16>,
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) idle_close: Duration,
    pub(super) state: Mutex<State>,
    pub(super) state_file: Option<PathBuf>,
    /// How many changes the state file holds. Whoever has it locked is writing.
    pub(super) saved: tokio::sync::Mutex<u64>,
}
