//! SIGINT and SIGTERM: the first asks a run to stop and starts nothing new, the second exits at once.

use crate::report::{Exit, Failure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The numbers of the two signals, which are the same on every Unix.
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Catches SIGINT and SIGTERM, once it listens; until then each of them ends the process.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    stop: CancellationToken,
    is_listening: Arc<AtomicBool>,
    /// The number of the first signal; 0 before it.
    first: Arc<AtomicU8>,
}

impl Interrupt {
    /// Begins to listen, on the runtime it is called on; a second call changes nothing.
    pub fn listen(&self) -> Result<(), Failure> {
        let failed = |error| Failure::new("failed to listen for signals").because(error);
        if self.is_listening.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminations = signal(SignalKind::terminate()).map_err(failed)?;
        let ours = self.clone();
        tokio::spawn(async move {
            let first = next(&mut interrupts, &mut terminations).await;
            ours.first.store(first, Ordering::SeqCst);
            ours.stop.cancel();
            let second = next(&mut interrupts, &mut terminations).await;
            std::process::exit(i32::from(Exit::Interrupted(second).code()));
        });
        Ok(())
    }

    /// Waits for the first signal, and returns how a run ends that it ended.
    pub async fn signalled(&self) -> Exit {
        self.stop.cancelled().await;
        self.caught().unwrap_or(Exit::Interrupted(SIGTERM))
    }

    /// Returns how a run ends that a signal ended, if one came.
    pub(super) fn caught(&self) -> Option<Exit> {
        Some(self.first.load(Ordering::SeqCst)).filter(|&signal| signal != 0).map(Exit::Interrupted)
    }
}

async fn next(interrupts: &mut Signal, terminations: &mut Signal) -> u8 {
    tokio::select! {
        _ = interrupts.recv() => SIGINT,
        _ = terminations.recv() => SIGTERM,
    }
}
