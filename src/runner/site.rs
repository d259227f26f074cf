//! What `reconcile --every --listen` serves: metrics, health and the status page, all of the last run that has ended.

use super::serve::Answer;
use crate::apply::SafetyStop;
use crate::report::metrics::{self, Dialect};
use crate::report::{RunHistory, RunSummary, page, run};
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;
use tokio::time::Instant;

const INTERVALS: u32 = 3;

/// The history of the runs of this process, as it is served.
pub(super) struct Shown {
    pub(super) history: RunHistory,
    every: Duration,
    deadline: Duration,
    /// When the last run ended that carried out its plan, or else this process started, by the monotonic clock.
    good: Instant,
    has_been_good: bool,
    /// When the present run began, if there is one and all was well then.
    began_well: Option<Instant>,
}

impl Shown {
    pub(super) fn new(every: Duration, deadline: Duration) -> Self {
        let history = RunHistory { every: Some(every), ..RunHistory::default() };
        Self { history, every, deadline, good: Instant::now(), has_been_good: false, began_well: None }
    }

    pub(super) fn begin(&mut self, now: DateTime<Utc>) {
        self.began_well = self.is_well().then(Instant::now);
        self.history.running_since = Some(now);
        self.history.next_run = None;
    }

    /// Enters a run that has ended. While a safety stop is set there is no next run.
    pub(super) fn end(
        &mut self,
        summary: RunSummary,
        stop: Option<SafetyStop>,
        now: DateTime<Utc>,
        next: Duration,
    ) {
        // With a page, a run that had a plan has an overview of it.
        if summary.overview.is_some() && summary.failure.is_none() {
            (self.good, self.has_been_good) = (Instant::now(), true);
        }
        self.began_well = None;
        self.history.enter(summary);
        self.history.safety_stop = stop;
        let next = TimeDelta::from_std(next).ok().filter(|_| !self.history.is_stopped());
        self.history.next_run = next.map(|next| now + next);
    }

    /// Enters that the safety stop was lifted: runs start again.
    pub(super) fn resume(&mut self) {
        (self.history.safety_stop, self.history.is_halted) = (None, false);
    }

    /// Says whether runs end as often as they should. One that began in time may take as long as its deadline, however short
    /// the interval: a probe must not end a process in the middle of an upload.
    fn is_well(&self) -> bool {
        let is_within_deadline = self.began_well.is_some_and(|began| began.elapsed() < self.deadline);
        let is_recent = self.good.elapsed() < self.every.saturating_mul(INTERVALS);
        !self.history.is_stopped() && (is_within_deadline || is_recent)
    }

    fn health(&self, now: DateTime<Utc>) -> Answer {
        let (is_stopped, is_well) = (self.history.is_stopped(), self.is_well());
        let age = seconds(self.good.elapsed());
        let mut line = match (is_well, self.has_been_good) {
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
        if let Some(running) = self.history.running_since.filter(|_| !is_well) {
            let running = (now - running).to_std().unwrap_or_default();
            line.push_str(&format!("; one has been under way for {}", seconds(running)));
        }
        let is_told = |last: &&RunSummary| is_stopped || last.overview.is_none() || last.failure.is_some();
        if let Some(failed) = self.history.last.as_ref().filter(is_told) {
            line.push_str(&format!("; the last one: {}", run::summary(failed)));
        }
        line.push('\n');
        Answer { is_well, content_type: "text/plain; charset=utf-8", body: line }
    }
}

/// Answers for a path; `None` where there is nothing. `accept` is what the client says it takes.
pub(super) fn answer(shown: &Shown, now: DateTime<Utc>, path: &str, accept: Option<&str>) -> Option<Answer> {
    match path {
        "/" => {
            let body = page::page(&shown.history, now);
            Some(Answer { is_well: true, content_type: "text/html; charset=utf-8", body })
        }
        "/healthz" => Some(shown.health(now)),
        "/metrics" => {
            let wants_openmetrics = accept.is_some_and(|it| accepts(it, "application/openmetrics-text"));
            let dialect = if wants_openmetrics { Dialect::OpenMetrics } else { Dialect::Prometheus };
            let body = metrics::text(&shown.history, now, dialect);
            Some(Answer { is_well: true, content_type: dialect.content_type(), body })
        }
        _ => None,
    }
}

/// Says whether an `Accept` header names a type and does not refuse it by a weight of 0.
fn accepts(accept: &str, wanted: &str) -> bool {
    let is_refused = |parameter: &str| {
        let weight = parameter.trim().strip_prefix(['q', 'Q']).and_then(|it| it.trim().strip_prefix('='));
        weight.and_then(|weight| weight.trim().parse().ok()) == Some(0.0)
    };
    accept.split(',').any(|range| {
        let mut parts = range.split(';');
        let is_wanted = parts.next().is_some_and(|name| name.trim().eq_ignore_ascii_case(wanted));
        is_wanted && !parts.any(is_refused)
    })
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
    use crate::report::{Exit, Failure};

    const EVERY: Duration = Duration::from_secs(900);
    const DEADLINE: Duration = Duration::from_secs(3_600);

    fn now() -> DateTime<Utc> {
        "2026-11-22T20:00:00Z".parse().unwrap()
    }

    /// A run that made a plan.
    fn planned(failure: Option<&str>) -> RunSummary {
        let health = Health {
            at: now(),
            endpoint: "https://fifo".to_owned(),
            timezone: "UTC".to_owned(),
            vms: Vec::new(),
        };
        let exit = if failure.is_some() { Exit::Failed } else { Exit::Done };
        RunSummary {
            overview: Some(health),
            failure: failure.map(Failure::new),
            ended: now(),
            exit,
            ..RunSummary::new("reconcile", now())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn runs_that_fail_after_planning_are_not_health() {
        let mut shown = Shown::new(EVERY, DEADLINE);
        shown.end(planned(None), None, now(), EVERY);
        for is_well in [true, true, false] {
            tokio::time::advance(EVERY).await;
            shown.end(planned(Some("the disk is full")), None, now(), EVERY);
            let answer = shown.health(now());
            assert_eq!(answer.is_well, is_well, "{}", answer.body);
            assert!(answer.body.ends_with(". the disk is full\n"), "{}", answer.body);
        }
        let body = shown.health(now()).body;
        assert!(body.starts_with("no run that carried out its plan has ended for 45 min"), "{body}");
        // It does not get well by the next run as such.
        shown.begin(now());
        assert!(!shown.health(now()).is_well);

        shown.end(planned(None), None, now(), EVERY);
        let answer = shown.health(now());
        assert!(answer.is_well, "{}", answer.body);
        assert_eq!(answer.body, "ok: the last run that carried out its plan ended 0 s ago\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_within_its_deadline_is_health_however_short_the_interval() {
        let mut shown = Shown::new(Duration::from_secs(5), DEADLINE);
        shown.begin(now());
        tokio::time::advance(DEADLINE - Duration::from_secs(1)).await;
        assert!(shown.health(now()).is_well);
        tokio::time::advance(Duration::from_secs(1)).await;
        let answer = shown.health(now());
        assert!(!answer.is_well && answer.body.contains("; one has been under way for "), "{}", answer.body);
    }

    #[test]
    fn a_type_with_a_weight_of_0_is_not_accepted() {
        let wanted = "application/openmetrics-text";
        for (accept, is_accepted) in [
            ("application/openmetrics-text", true),
            ("text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.75", true),
            ("APPLICATION/OPENMETRICS-TEXT ; q=1", true),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text; version=1.0.0; Q = 0.000, */*", false),
            ("text/plain", false),
            ("application/openmetrics-text2", false),
        ] {
            assert_eq!(accepts(accept, wanted), is_accepted, "{accept}");
        }
    }
}
