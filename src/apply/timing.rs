//! The timeouts and intervals of a run.

use chrono::TimeDelta;
use std::time::Duration;

/// How far two of the clocks of this machine, the API and sniffle may differ before nothing is planned or sent.
///
/// So a new backup's timestamp may also lie this far before its request. That is the safe side: a foreign backup that is
/// mistaken for the new one is only waited for, but a new one that is overlooked is created twice.
pub const CLOCK_SKEW_MAX: TimeDelta = TimeDelta::hours(1);

/// The timeouts and intervals of a run. The defaults are for a real FiFo; tests against the sandbox shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a new backup is looked for after its create was answered, or was not. FiFo waits up to 5 s for the
    /// coordinator, which waits up to 4.5 s for a busy agent and records the backup all the same.
    pub search: Duration,
    /// The first pause between two readings; it grows from one reading to the next.
    pub pause_min: Duration,
    /// The longest pause between two readings of a running upload.
    pub pause_max: Duration,
    /// How long a completed backup's checksums, and then its `local`, are waited for: FiFo writes them one by one.
    pub settle: Duration,
    /// How long the effect of a local delete is looked for before it is reported as unverified. As long as FiFo may take to
    /// execute a request that it did not answer.
    pub verify: Duration,
    /// After how long a write that FiFo answers with "not now" each time is given up, and the longest pause between two of
    /// them. So no `Retry-After` holds a run.
    pub write: Duration,
    /// The first pause before a look at an upload.
    pub look_first: Duration,
    /// An upload is looked at every so many parts of its age, so that its end is noticed that much late, at most every
    /// quarter of a second.
    pub look_share: u32,
    /// How old a note on a delete of an earlier run must be when it is compared for the last time.
    pub note_age: Duration,
    /// How long an upload is waited for while nothing can be read.
    pub blind: Duration,
    /// How long an upload may make no progress before it gives its slot to others.
    pub quiet: Duration,
    /// How long an accepted backup may take to start before it gives its slot to others.
    pub start: Duration,
    /// The time between the two readings of an upload that counts as stuck, before another is started beside it.
    pub stuck_recheck: Duration,
    /// How often it is reported what the run waits for.
    pub report_every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            search: Duration::from_secs(20),
            pause_min: Duration::from_secs(2),
            pause_max: Duration::from_secs(30),
            settle: Duration::from_secs(20),
            verify: Duration::from_secs(60),
            write: Duration::from_secs(120),
            look_first: Duration::from_millis(500),
            look_share: 20,
            note_age: Duration::from_secs(120),
            blind: Duration::from_secs(3600),
            quiet: Duration::from_secs(15 * 60),
            start: Duration::from_secs(5 * 60),
            stuck_recheck: Duration::from_secs(60),
            report_every: Duration::from_secs(30),
        }
    }
}

impl Timing {
    /// Returns the pause before the next look at an upload of some age.
    pub(super) fn look_after(&self, age: Duration) -> Duration {
        const MIN: Duration = Duration::from_millis(250);
        if age < self.look_first {
            self.look_first
        } else {
            (age / self.look_share).max(MIN).min(self.pause_max)
        }
    }
}

/// Returns the pauses between readings, without an end: each is longer than the one before by half, up to `max`.
///
/// Without jitter: requests of one run are spread by the reader, and a simulated run is the same every time.
pub(super) fn poll_intervals(min: Duration, max: Duration) -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(min.min(max)), move |pause| Some((*pause * 3 / 2).min(max)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_half_up_to_the_longest() {
        let seconds: Vec<f64> = poll_intervals(Duration::from_secs(2), Duration::from_secs(5))
            .take(4)
            .map(|pause| pause.as_secs_f64())
            .collect();
        assert_eq!(seconds, [2.0, 3.0, 4.5, 5.0]);
    }

    #[test]
    fn the_end_of_an_upload_is_noticed_a_twentieth_of_its_age_late() {
        let timing = Timing::default();
        for (age_ms, pause_ms) in [(0, 500), (500, 250), (10_000, 500), (100_000, 5_000), (7_200_000, 30_000)]
        {
            let (age, pause) = (Duration::from_millis(age_ms), Duration::from_millis(pause_ms));
            assert_eq!(timing.look_after(age), pause, "{age:?}");
        }
    }
}
