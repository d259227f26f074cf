//! SIGINT and SIGTERM: the first asks a run to stop and starts nothing new, the second exits at once.

use super::error::{CliError, Kind};
use super::exit::Outcome;
use super::exit::SIGNALLED;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The numbers of the two signals, which are the same on every Unix.
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Listens for SIGINT and SIGTERM.
#[derive(Clone, Debug)]
pub(super) struct Interrupt {
    stop: CancellationToken,
    /// The number of the first signal; 0 before it.
    first: Arc<AtomicU8>,
}

impl Interrupt {
    /// Begins to listen, on the runtime it is called on.
    pub(super) fn listen() -> Result<Self, CliError> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| CliError::new(Kind::Internal, "failed to listen for signals").because(error))
        };
        let (mut interrupts, mut terminations) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let interrupt = Self { stop: CancellationToken::new(), first: Arc::default() };
        let ours = interrupt.clone();
        tokio::spawn(async move {
            let first = next(&mut interrupts, &mut terminations).await;
            ours.first.store(first, Ordering::SeqCst);
            ours.stop.cancel();
            let second = next(&mut interrupts, &mut terminations).await;
            std::process::exit(i32::from(SIGNALLED.saturating_add(second)));
        });
        Ok(interrupt)
    }

    /// Returns the token that the first signal cancels.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Waits for the first signal, and returns the outcome of a run that it ended.
    pub(super) async fn signalled(&self) -> Outcome {
        self.stop.cancelled().await;
        Outcome::Interrupted(self.caught().unwrap_or(SIGTERM))
    }

    /// Returns the number of the signal that came, if one did.
    pub(super) fn caught(&self) -> Option<u8> {
        Some(self.first.load(Ordering::SeqCst)).filter(|&signal| signal != 0)
    }
}

async fn next(interrupts: &mut Signal, terminations: &mut Signal) -> u8 {
    tokio::select! {
        _ = interrupts.recv() => SIGINT,
        _ = terminations.recv() => SIGTERM,
    }
}
