//! The timeouts and intervals of a run.

use chrono::TimeDelta;
use std::time::Duration;

/// How far two of the clocks of this machine, the API and sniffle may differ before nothing is planned or sent.
///
/// So a new backup's timestamp may also lie this far before its request. That is the safe side: a foreign backup that is
/// mistaken for the new one is only waited for, but a new one that is overlooked is created twice.
pub const CLOCK_SKEW_MAX: TimeDelta = TimeDelta::hours(1);

/// How long a completed backup's checksums, and then its `local`, are waited for: FiFo writes them one by one.
pub(super) const SETTLE: Duration = Duration::from_secs(20);
/// How long the effect of a delete is looked for: as long as FiFo may take to execute a request that it did not answer.
pub(super) const VERIFY: Duration = Duration::from_secs(60);
/// After how long a write that FiFo answers with "not now" each time is given up, and the longest pause between two of them.
/// So no `Retry-After` holds a run.
pub(super) const WRITE_MAX: Duration = Duration::from_secs(120);
/// The time between two looks into the storage for a backup that is not there yet.
pub(super) const STORE_RECHECK: Duration = Duration::from_secs(20);
/// How old a note on a delete of an earlier run must be when it is compared for the last time.
pub(super) const NOTE_AGE: Duration = Duration::from_secs(120);
/// How long an upload is waited for while nothing can be read.
pub(super) const BLIND_MAX: Duration = Duration::from_secs(3600);
/// How long an upload may make no progress before it gives its slot to others.
pub(super) const QUIET_MAX: Duration = Duration::from_secs(15 * 60);
/// How long an accepted backup may take to start before it gives its slot to others.
pub(super) const START_MAX: Duration = Duration::from_secs(5 * 60);
/// The time between the two readings of an upload that counts as stuck, before another is started beside it.
pub(super) const STUCK_RECHECK: Duration = Duration::from_secs(60);
/// How often it is reported what the run waits for, and how long a wait is not reported at first.
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(30);
pub(super) const REPORT_FIRST_AFTER: Duration = Duration::from_secs(5);

/// The intervals that depend on the FiFo. The defaults are for a real one; the sandbox and tests have others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a new backup is looked for after its create was answered, or was not. FiFo waits up to 5 s for the
    /// coordinator, which waits up to 4.5 s for a busy agent and records the backup all the same.
    pub search: Duration,
    /// The first pause between two readings; it grows from one reading to the next.
    pub pause_min: Duration,
    /// The longest pause between two readings of a running upload.
    pub pause_max: Duration,
    /// The first pause before a look at an upload.
    pub look_first: Duration,
    /// An upload is looked at every so many parts of its age, so that its end is noticed that much late, at most every
    /// quarter of a second.
    pub look_share: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            search: Duration::from_secs(20),
            pause_min: Duration::from_secs(2),
            pause_max: Duration::from_secs(30),
            look_first: Duration::from_millis(500),
            look_share: 20,
        }
    }
}

impl Timing {
    pub(super) fn look_after(&self, age: Duration) -> Duration {
        const MIN: Duration = Duration::from_millis(250);
        if age < self.look_first {
            self.look_first
        } else {
            (age / self.look_share).max(MIN).min(self.pause_max)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
