//! How long to pause between two attempts.

use fastrand::Rng;
use std::iter::successors;
use std::time::Duration;

/// How long to pause between two attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause; each further one is twice as long. Jitter adds up to as much again.
    pub first: Duration,
    /// The longest pause before jitter is added.
    pub max: Duration,
    /// The longest pause when FiFo says how long to wait (`Retry-After`).
    pub asked_max: Duration,
    /// The pause before a token is tried again that FiFo has refused although it should be good. The second pause is twice
    /// as long; the third refusal in a row is final.
    pub refused_token: Duration,
}

impl Default for Backoff {
    /// From half a second to ten seconds; up to a minute when FiFo asks for it; two seconds for a refused token.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            max: Duration::from_secs(10),
            asked_max: Duration::from_secs(60),
            refused_token: Duration::from_secs(2),
        }
    }
}

/// Returns pauses that double from `first` up to `max`, each with jitter of up to as much again, without an end.
pub fn pauses(first: Duration, max: Duration, seed: u64) -> impl Iterator<Item = Duration> {
    let mut random = Rng::with_seed(seed);
    successors(Some(first), move |pause| Some(pause.saturating_mul(2).min(max)))
        .map(move |pause| pause + pause.mul_f64(random.f64()))
}
