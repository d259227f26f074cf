//! What `reconcile --every` serves: metrics, health and the status page.

use crate::apply::{SafetyStop, Waiting};
use crate::cli::context::Context;
use crate::insight::Overview;
use crate::render::metrics::{self, Dialect};
use crate::render::{notification, page};
use crate::run::{RunHistory, RunSummary};
use crate::serve::{Answer, Site};
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How many intervals may pass without a run that executes its plan.
const INTERVALS: u32 = 3;

/// The history of the runs of this process, as it is served.
pub(in crate::cli) struct DaemonState {
    every: Duration,
    clock: fn() -> DateTime<Utc>,
    data: Mutex<StateData>,
}

struct StateData {
    history: RunHistory,
    /// When the last run ended that carried out its plan, or else this process started, by the monotonic clock.
    good: Instant,
    has_been_good: bool,
}

impl DaemonState {
    /// Makes one for runs at this interval.
    pub(in crate::cli) fn new(context: &Context, every: Duration) -> Self {
        let history = RunHistory { every: Some(every), ..RunHistory::default() };
        let data = StateData { history, good: Instant::now(), has_been_good: false };
        Self { every, clock: context.clock(), data: Mutex::new(data) }
    }

    fn data(&self) -> MutexGuard<'_, StateData> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the start of a run.
    pub(in crate::cli) fn begin(&self) {
        let mut data = self.data();
        data.history.running_since = Some((self.clock)());
        data.history.next_run = None;
    }

    /// Shows the state of the VMs during a run.
    pub(in crate::cli) fn read(&self, overview: &Overview) {
        self.data().history.overview = Some(overview.clone());
    }

    /// Shows what the present run waits for.
    pub(in crate::cli) fn wait(&self, waiting: &Waiting) {
        self.data().history.waiting = waiting.clone();
    }

    /// Enters a run that has ended, and returns the history with it. While a safety stop is set there is no
    /// next run.
    pub(in crate::cli) fn end(
        &self,
        summary: RunSummary,
        stop: Option<SafetyStop>,
        next: Duration,
    ) -> RunHistory {
        let mut data = self.data();
        // With `--listen`, a run that had a plan has an overview of it.
        if summary.overview.is_some() && summary.failure.is_none() {
            data.good = Instant::now();
            data.has_been_good = true;
        }
        data.history.enter(summary);
        data.history.safety_stop = stop;
        let next = TimeDelta::from_std(next).ok().filter(|_| !data.history.is_stopped());
        data.history.next_run = next.map(|next| (self.clock)() + next);
        data.history.clone()
    }

    /// Enters that the safety stop was lifted: runs start again.
    pub(in crate::cli) fn resume(&self) {
        let mut data = self.data();
        data.history.safety_stop = None;
        data.history.is_halted = false;
    }

    /// Judges whether runs end as often as they should. The line says why.
    fn health(&self) -> Answer {
        let data = self.data();
        let since = data.good.elapsed();
        let is_stopped = data.history.is_stopped();
        let is_well = !is_stopped && since < self.every.saturating_mul(INTERVALS);
        let age = seconds(since);
        let mut line = match (is_well, data.has_been_good) {
            (true, true) => format!("ok: the last run that carried out its plan ended {age} ago"),
            (true, false) => format!("ok: started {age} ago, no run has carried out a plan yet"),
            (false, _) if is_stopped => "safety stop: no further run begins, since it could take more backups; find \
                                         what drops the bodies of DELETE requests on the way to FiFo, then run \
                                         `fifo-retain resume`"
                .to_owned(),
            (false, _) => format!(
                "no run that carried out its plan has ended for {age}, and runs should begin every {}",
                seconds(self.every)
            ),
        };
        if let Some(running) = data.history.running_since.filter(|_| !is_well) {
            let running = ((self.clock)() - running).to_std().unwrap_or_default();
            line.push_str(&format!("; one has been under way for {}", seconds(running)));
        }
        let is_told = |last: &&RunSummary| is_stopped || last.overview.is_none() || last.failure.is_some();
        let failed = data.history.last.as_ref().filter(is_told);
        if let Some(failed) = failed {
            line.push_str(&format!("; the last one: {}", notification::summary(failed)));
        }
        line.push('\n');
        Answer { is_well, content_type: "text/plain; charset=utf-8", body: line }
    }

    fn metrics(&self, dialect: Dialect) -> Option<Answer> {
        // Not while the state is locked: a run that ends must not wait for a scrape.
        let history = self.data().history.clone();
        let body = metrics::text(&history, (self.clock)(), dialect).ok()?;
        Some(Answer { is_well: true, content_type: dialect.content_type(), body })
    }
}

impl Site for DaemonState {
    fn answer(&self, path: &str, accept: Option<&str>) -> Option<Answer> {
        match path {
            "/" => {
                let history = self.data().history.clone();
                let body = page::page(&history, (self.clock)());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::status::Health;
    use crate::run::{RunEnd, RunFailure};

    const EVERY: Duration = Duration::from_secs(900);

    fn now() -> DateTime<Utc> {
        "2026-11-22T20:00:00Z".parse().unwrap()
    }

    fn state() -> DaemonState {
        let data = StateData { history: RunHistory::default(), good: Instant::now(), has_been_good: false };
        DaemonState { every: EVERY, clock: now, data: Mutex::new(data) }
    }

    /// A run that made a plan.
    fn planned(failure: Option<&str>) -> RunSummary {
        let health = Health {
            at: now(),
            endpoint: "https://fifo".to_owned(),
            timezone: "UTC".to_owned(),
            vms: Vec::new(),
        };
        let overview = Overview { health, vms_by_status: Default::default(), tiers: Default::default() };
        let exit_code = u8::from(failure.is_some());
        RunSummary {
            overview: Some(overview),
            failure: failure.map(|cause| RunFailure { causes: vec![cause.to_owned()], hint: None }),
            ended: Some(RunEnd {
                at: now(),
                exit_code,
                outcome: if exit_code == 0 { "done" } else { "failed" },
            }),
            ..RunSummary::new("reconcile", now())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn runs_that_fail_after_planning_are_not_health() {
        let state = state();
        state.end(planned(None), None, EVERY);
        for _ in 0..2 {
            tokio::time::advance(EVERY).await;
            state.end(planned(Some("the disk is full")), None, EVERY);
            let answer = state.health();
            assert!(answer.is_well && answer.body.contains("the disk is full"), "{}", answer.body);
        }
        tokio::time::advance(EVERY).await;
        state.end(planned(Some("the disk is full")), None, EVERY);
        let answer = state.health();
        assert!(!answer.is_well && answer.body.ends_with(". the disk is full\n"), "{}", answer.body);
        assert!(
            answer.body.starts_with("no run that carried out its plan has ended for 45 min"),
            "{}",
            answer.body
        );

        state.end(planned(None), None, EVERY);
        let answer = state.health();
        assert!(answer.is_well, "{}", answer.body);
        assert_eq!(answer.body, "ok: the last run that carried out its plan ended 0 s ago\n");
    }

    #[tokio::test(start_paused = true)]
    async fn the_page_shows_what_a_run_waits_for_until_it_ends() {
        let state = state();
        let message = "12 waiting for a slot: hv-3 has 2 of 2".to_owned();
        let is_shown = || state.answer("/", None).unwrap().body.contains("12 waiting for a slot");
        state.data().history.every = Some(EVERY);
        state.begin();
        assert!(!is_shown());
        state.wait(&Waiting { for_slot: 12, message, ..Waiting::default() });
        assert!(is_shown());
        state.end(planned(None), None, EVERY);
        assert!(!is_shown());
    }
}
