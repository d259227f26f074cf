//! What all connections share.

use super::faults::Outgoing;
use super::message::Request;
use super::state::Clock;
use super::state::{RequestRecord, State};
use super::{control, store};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many requests are kept for [`State::requests`].
const REQUESTS_KEPT: usize = 4096;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) idle_close: Duration,
    pub(super) state: Mutex<State>,
    pub(super) state_file: Option<PathBuf>,
}

impl Shared {
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a request, and writes the world down first if that may have changed it.
    pub(super) fn answer(&self, request: &Request) -> Outgoing {
        let now_us = self.clock.now_us();
        self.with(|state| {
            let out = answer(state, request, now_us);
            if !matches!(request.method.as_str(), "GET" | "HEAD")
                && let Err(error) = self.save(state)
            {
                tracing::error!("the sandbox failed to save its world: {error}");
            }
            out
        })
    }

    pub(super) fn save(&self, state: &State) -> io::Result<()> {
        let Some(path) = &self.state_file else { return Ok(()) };
        store::save(path, &serde_json::to_vec(&state.world)?)
    }
}

fn answer(state: &mut State, request: &Request, now_us: i64) -> Outgoing {
    let out = match control::handle(state, request, now_us) {
        Some(reply) => return Outgoing { reply: Some(reply), ..Outgoing::default() },
        None => state.faults.handle(&mut state.world, request, now_us),
    };
    if state.requests.len() == REQUESTS_KEPT {
        state.requests.pop_front();
    }
    let status = out.reply.as_ref().map(|reply| reply.status);
    state.requests.push_back(RequestRecord { request: request.clone(), status });
    out
}
