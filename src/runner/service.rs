//! The service manager that watches `reconcile --every`. A failure to notify it stops no backup.

use sd_notify::NotifyState;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("failed to notify the service manager of {states:?}: {error}");
    }
}

/// Says that something is read again. With the time, as systemd wants it since version 253.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("failed to read the clock for the service manager: {error}"),
    }
}

/// Sends the watchdog signal twice as often as it is asked for. That shows that the runtime works, not that a run makes
/// progress: an upload may take hours.
pub(super) async fn stay_alive() -> Infallible {
    if let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) {
        let mut ticks = interval((period / 2).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            notify(&[NotifyState::Watchdog]);
        }
    }
    std::future::pending().await
}
