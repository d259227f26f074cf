//! SIGINT and SIGTERM: the first asks a run to stop and starts nothing new, the second exits at once.

use crate::report::{Exit, Failure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The numbers of the two signals, which are the same on every Unix.
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Catches SIGINT and SIGTERM, once it listens; until then each of them ends the process.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    is_listening: Arc<AtomicBool>,
    /// How a run ends that the first signal ended.
    first: watch::Sender<Option<Exit>>,
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
        let first = self.first.clone();
        tokio::spawn(async move {
            first.send_replace(Some(next(&mut interrupts, &mut terminations).await));
            let second = next(&mut interrupts, &mut terminations).await;
            std::process::exit(second.code().into());
        });
        Ok(())
    }

    /// Waits for the first signal, and returns how a run ends that it ended.
    pub async fn signalled(&self) -> Exit {
        let mut first = self.first.subscribe();
        let caught = first.wait_for(Option::is_some).await;
        caught.ok().and_then(|exit| *exit).unwrap_or(Exit::Interrupted(SIGTERM))
    }

    /// Returns how a run ends that a signal ended, if one came.
    pub(super) fn caught(&self) -> Option<Exit> {
        *self.first.borrow()
    }
}

async fn next(interrupts: &mut Signal, terminations: &mut Signal) -> Exit {
    tokio::select! {
        _ = interrupts.recv() => Exit::Interrupted(SIGINT),
        _ = terminations.recv() => Exit::Interrupted(SIGTERM),
    }
}
