//! Repeats reads that fail, with growing, jittered pauses.

use super::error::{FifoError, with_causes};
use super::transport::{TransportError, TransportErrorKind};
use backon::{BackoffBuilder, ExponentialBuilder};
use http::StatusCode;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

/// How often a read is tried whose failure will probably stay.
const A_FEW: u32 = 3;

/// After so long without success a warning is logged, once.
const WARN_AFTER: Duration = Duration::from_secs(5);

/// The longest timeout: longer than any run, and short enough to be added to any instant.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

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

pub(super) struct FailedAttempt {
    pub(super) error: FifoError,
    pub(super) retry: RetryRule,
    /// How long FiFo asked to wait.
    pub(super) retry_after: Option<Duration>,
}

/// Whether a failed attempt is worth another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryRule {
    /// The next one would fail in the same way.
    Never,
    /// It may pass, but probably does not.
    Limited,
    /// It will pass.
    UntilTimeout,
}

impl RetryRule {
    /// Judges a status other than the wanted one.
    pub(super) fn after(status: StatusCode) -> Self {
        match status.as_u16() {
            408 | 429 | 502..=504 => Self::UntilTimeout,
            500..=599 => Self::Limited,
            _ => Self::Never,
        }
    }
}

impl FailedAttempt {
    pub(super) fn last(error: FifoError) -> Self {
        Self { error, retry: RetryRule::Never, retry_after: None }
    }

    pub(super) fn of_connection(doing: &str, endpoint: String, source: TransportError) -> Self {
        let retry = match source.kind() {
            TransportErrorKind::Untrusted => RetryRule::Never,
            TransportErrorKind::NotSent
            | TransportErrorKind::NotTls
            | TransportErrorKind::NotHttp
            | TransportErrorKind::Lost => RetryRule::UntilTimeout,
        };
        Self {
            error: FifoError::Connection { doing: doing.to_owned(), endpoint, source },
            retry,
            retry_after: None,
        }
    }
}

/// Tries until it succeeds, fails for good, or `timeout` is over. `attempt` gets its number, from 1.
///
/// `seed` sets the jitter of the pauses. They come from `backon`; its `Retryable` does not fit, since an attempt is cut off
/// at the deadline, and how often one is repeated depends on its error.
pub(super) async fn retrying<T, F: Future<Output = Result<T, FailedAttempt>>>(
    doing: &str,
    timeout: Duration,
    backoff: Backoff,
    seed: u64,
    mut attempt: impl FnMut(u32) -> F,
) -> Result<T, FifoError> {
    let started = Instant::now();
    let deadline = started + timeout.min(TIMEOUT_MAX);
    let mut is_warned = false;
    let mut growing = ExponentialBuilder::new()
        .with_min_delay(backoff.first)
        .with_max_delay(backoff.max)
        .without_max_times()
        .with_jitter()
        .with_jitter_seed(seed)
        .build();
    let timed_out = |attempts, last: Option<FifoError>| FifoError::TimedOut {
        doing: doing.to_owned(),
        timeout,
        attempts,
        last: last.map(Box::new),
    };
    let mut attempts = 0;
    let mut last = None;
    loop {
        attempts += 1;
        let failure = match timeout_at(deadline, attempt(attempts)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(failure)) => failure,
            Err(_) => return Err(timed_out(attempts, last)),
        };
        match failure.retry {
            RetryRule::Limited if attempts < A_FEW => {}
            RetryRule::UntilTimeout => {}
            RetryRule::Limited | RetryRule::Never => return Err(failure.error),
        }
        let asked = failure.retry_after.unwrap_or_default().min(backoff.asked_max);
        let pause = growing.next().unwrap_or(backoff.max).max(asked);
        if Instant::now() + pause >= deadline {
            return Err(timed_out(attempts, Some(failure.error)));
        }
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        debug!(attempts, pause_ms, error = with_causes(&failure.error), "retrying to {doing}");
        if !is_warned && started.elapsed() + pause >= WARN_AFTER {
            is_warned = true;
            let seconds = timeout.saturating_sub(started.elapsed()).as_secs();
            warn!("{}; retrying for up to {seconds} s", with_causes(&failure.error));
        }
        last = Some(failure.error);
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::Arc;
    use tracing::Level;

    const PAUSES: Backoff = Backoff {
        first: Duration::from_secs(1),
        max: Duration::from_secs(8),
        asked_max: Duration::from_secs(20),
        refused_token: Duration::from_secs(2),
    };

    fn failing(retry: RetryRule, retry_after: Option<u64>) -> FailedAttempt {
        let error = FifoError::Status { doing: "test".to_owned(), status: StatusCode::SERVICE_UNAVAILABLE };
        FailedAttempt { error, retry, retry_after: retry_after.map(Duration::from_secs) }
    }

    /// Runs attempts that always fail, and returns the seconds from the start at which they started.
    async fn starts(retry: RetryRule, retry_after: Option<u64>, seed: u64) -> (Vec<f32>, FifoError) {
        let started = Instant::now();
        let starts = RefCell::new(Vec::new());
        let result: Result<(), _> = retrying("test", Duration::from_secs(60), PAUSES, seed, |_| {
            starts.borrow_mut().push(started.elapsed().as_secs_f32());
            async { Err(failing(retry, retry_after)) }
        })
        .await;
        (starts.into_inner(), result.unwrap_err())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_differ_by_seed_and_stay_within_the_time() {
        let (first, error) = starts(RetryRule::UntilTimeout, None, 1).await;
        for (gap, least) in first.windows(2).map(|pair| pair[1] - pair[0]).zip([1.0, 2.0, 4.0, 8.0, 8.0]) {
            assert!((least..=2.0 * least + 0.01).contains(&gap), "{gap} after {least}");
        }
        assert!(first.len() >= 5 && first.last().is_some_and(|last| *last < 60.0));
        assert!(matches!(error, FifoError::TimedOut { last: Some(_), .. }), "{error}");
        assert_eq!(starts(RetryRule::UntilTimeout, None, 1).await.0, first);
        assert_ne!(starts(RetryRule::UntilTimeout, None, 2).await.0, first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_trouble_is_reported_once_and_a_short_one_is_not() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let log_text = || std::fs::read_to_string(log.path()).unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::WARN)
            .with_writer(Arc::new(log.reopen().unwrap()))
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        starts(RetryRule::Limited, None, 1).await;
        assert_eq!(log_text(), "");
        starts(RetryRule::UntilTimeout, None, 1).await;
        assert_eq!(log_text().matches("failed to test: FiFo answered 503").count(), 1, "{}", log_text());
        assert!(log_text().contains("; retrying for up to 5"), "{}", log_text());
    }

    #[tokio::test(start_paused = true)]
    async fn what_fifo_asks_for_is_waited_up_to_a_limit() {
        let (starts, _) = starts(RetryRule::UntilTimeout, Some(3600), 1).await;
        assert_eq!(starts.len(), 3);
        assert!((20.0..20.1).contains(&starts[1]) && (40.0..40.1).contains(&starts[2]), "{starts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_wrong_is_tried_thrice_and_what_is_final_once() {
        let (a_few, error) = starts(RetryRule::Limited, None, 1).await;
        assert_eq!(a_few.len(), 3);
        assert!(matches!(error, FifoError::Status { .. }));
        assert_eq!(starts(RetryRule::Never, None, 1).await.0.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_never_ends_is_cut_off_in_time() {
        let started = Instant::now();
        let result: Result<(), _> =
            retrying("test", Duration::from_secs(60), PAUSES, 1, |_| std::future::pending()).await;
        assert!(matches!(result, Err(FifoError::TimedOut { attempts: 1, last: None, .. })));
        assert_eq!(started.elapsed().as_secs(), 60);
    }
}
