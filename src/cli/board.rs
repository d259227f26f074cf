//! What a process that repeats shows while it goes on: metrics, health and the status page, from what its runs have left.

use super::context::Context;
use crate::render::metrics::{self, Dialect};
use crate::render::{Account, Ledger, notification, page};
use crate::serve::{Answer, Site};
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How many intervals may pass without a run that gets as far as planning.
const INTERVALS: u32 = 3;

/// The runs so far, for whoever asks.
pub(super) struct Board {
    every: Duration,
    clock: fn() -> DateTime<Utc>,
    notes: Mutex<Notes>,
}

struct Notes {
    ledger: Ledger,
    /// When the last run ended that got as far as planning, or else this process started, by a clock that nobody sets.
    good: Instant,
    has_planned: bool,
}

impl Board {
    /// Makes one for runs that begin so often.
    pub(super) fn new(context: &Context, every: Duration) -> Self {
        let ledger = Ledger { every: Some(every), ..Ledger::default() };
        let notes = Notes { ledger, good: Instant::now(), has_planned: false };
        Self { every, clock: context.clock(), notes: Mutex::new(notes) }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a run begins.
    pub(super) fn begin(&self) {
        let mut notes = self.notes();
        notes.ledger.running_since = Some((self.clock)());
        notes.ledger.next_run = None;
    }

    /// Enters a run that has ended, and gives everything that is known after it.
    pub(super) fn end(&self, account: Account, next: Duration) -> Ledger {
        let mut notes = self.notes();
        // A run that had a plan has an overview of it.
        if account.overview.is_some() {
            notes.good = Instant::now();
            notes.has_planned = true;
        }
        notes.ledger.enter(account);
        notes.ledger.next_run = TimeDelta::from_std(next).ok().map(|next| (self.clock)() + next);
        notes.ledger.clone()
    }

    /// Judges whether runs come as often as they should. The line says why.
    fn health(&self) -> Answer {
        let notes = self.notes();
        let since = notes.good.elapsed();
        let is_well = since < self.every * INTERVALS;
        let age = seconds(since);
        let mut line = match (is_well, notes.has_planned) {
            (true, true) => format!("ok: the last run that made a plan ended {age} ago"),
            (true, false) => format!("ok: started {age} ago, no run has made a plan yet"),
            (false, _) => format!(
                "no run that made a plan has ended for {age}, and runs should begin every {}",
                seconds(self.every)
            ),
        };
        if let Some(running) = notes.ledger.running_since.filter(|_| !is_well) {
            let running = ((self.clock)() - running).to_std().unwrap_or_default();
            line.push_str(&format!("; one has been under way for {}", seconds(running)));
        }
        let failed = notes.ledger.last.as_ref().filter(|last| last.overview.is_none());
        if let Some(failed) = failed {
            line.push_str(&format!("; the last one: {}", notification::summary(failed)));
        }
        line.push('\n');
        Answer { is_well, content_type: "text/plain; charset=utf-8", body: line }
    }

    fn metrics(&self, dialect: Dialect) -> Option<Answer> {
        // Not while the board is held: a run that ends must not wait for somebody's scrape.
        let ledger = self.notes().ledger.clone();
        let body = metrics::text(&ledger, (self.clock)(), dialect).ok()?;
        Some(Answer { is_well: true, content_type: dialect.content_type(), body })
    }
}

impl Site for Board {
    fn answer(&self, path: &str, accept: Option<&str>) -> Option<Answer> {
        match path {
            "/" => {
                let ledger = self.notes().ledger.clone();
                let body = page::page(&ledger, (self.clock)());
                Some(Answer { is_well: true, content_type: "text/html; charset=utf-8", body })
            }
            "/healthz" => Some(self.health()),
            "/metrics" => self.metrics(match accept {
                Some(accept) if accept.contains("application/openmetrics-text") => Dialect::OpenMetrics,
                _ => Dialect::Prometheus,
            }),
            _ => None,
        }
    }
}

/// Writes a duration in seconds, or, from three minutes on, in minutes.
fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        secs if secs < 180 => format!("{secs} s"),
        secs => format!("{} min", secs / 60),
    }
}
