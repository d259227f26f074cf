//! What reading and writing have in common: the headers, the token, and signing in again once.

use super::auth::{Auth, Token};
use super::error::FifoError;
use super::retry::{FailedAttempt, RetryRule, retrying};
use super::settings::ClientSettings;
use super::transport::{Request, Response, Transport, TransportError, TransportErrorKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderName, HeaderValue};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use tokio::time::Instant;
use tracing::warn;

/// How the API before 2016 wants the token.
const X_SNARL_TOKEN: HeaderName = HeaderName::from_static("x-snarl-token");

const US: HeaderValue = HeaderValue::from_static(concat!("fifo-retain/", env!("CARGO_PKG_VERSION")));

/// After so many cut lists in a row FiFo is assumed to cut every one.
const CUTS_BELIEVED: u32 = 2;

pub(super) struct Session {
    pub(super) settings: ClientSettings,
    pub(super) auth: Auth,
    transport: Arc<dyn Transport>,
    has_answered: Arc<AtomicBool>,
    /// How many reads there were, so that each has pauses of its own.
    reads: AtomicU64,
    /// How many full lists were cut one after the other. At [`CUTS_BELIEVED`] it stays.
    lists_cut_in_row: AtomicU32,
}

impl Session {
    pub(super) fn new(transport: Arc<dyn Transport>, settings: ClientSettings) -> Self {
        let has_answered = Arc::<AtomicBool>::default();
        let transport: Arc<dyn Transport> =
            Arc::new(ContactTracker { transport, has_answered: Arc::clone(&has_answered) });
        let auth = Auth::new(Arc::clone(&transport), &settings);
        let (reads, lists_cut_in_row) = (AtomicU64::new(0), AtomicU32::new(0));
        Self { settings, auth, transport, has_answered, reads, lists_cut_in_row }
    }

    /// Returns the part of every path that all have in common.
    pub(super) fn base(&self) -> String {
        format!("/api/{}", self.settings.api.as_str())
    }

    /// Completes a request and sends it, once.
    pub(super) async fn send(
        &self,
        mut request: Request,
        token: &Token,
    ) -> Result<Result<Response, TransportError>, FifoError> {
        let headers = &mut request.headers;
        headers.insert(AUTHORIZATION, token.header("Bearer ")?);
        if self.settings.api.wants_snarl_token() {
            headers.insert(X_SNARL_TOKEN, token.header("")?);
        }
        Ok(self.send_unsigned(request).await)
    }

    /// Sends a request that needs no sign-in, once.
    pub(super) async fn send_unsigned(&self, mut request: Request) -> Result<Response, TransportError> {
        let headers = &mut request.headers;
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, US);
        self.transport.send(request).await
    }

    /// Says whether full lists are cut every time, so that VMs have to be read one by one.
    pub(super) fn lists_are_cut(&self) -> bool {
        self.lists_cut_in_row.load(Ordering::SeqCst) >= CUTS_BELIEVED
    }

    /// Records a full list that arrived whole.
    pub(super) fn list_came_whole(&self) {
        let reset = |cuts| (cuts < CUTS_BELIEVED).then_some(0);
        // The error says that there is nothing left to reset.
        let _ = self.lists_cut_in_row.fetch_update(Ordering::SeqCst, Ordering::SeqCst, reset);
    }

    /// Records a full list that was cut.
    pub(super) fn list_was_cut(&self) {
        if self.lists_cut_in_row.fetch_add(1, Ordering::SeqCst) + 1 == CUTS_BELIEVED {
            warn!(
                "{} cut its list of VMs short {CUTS_BELIEVED} times in a row, as FiFo of 2016 does with a list that \
                 takes more than 5 s: from now on VMs are read one by one",
                self.settings.endpoint
            );
        }
    }

    /// Repeats what fails for a while, as the settings say.
    pub(super) async fn retrying<T, F: Future<Output = Result<T, FailedAttempt>>>(
        &self,
        doing: &str,
        mut attempt: impl FnMut(u32) -> F,
    ) -> Result<T, FifoError> {
        let begin = Instant::now();
        let attempt = |number| {
            let attempt = attempt(number);
            async move { attempt.await.map_err(|failure| self.at_first_contact(failure, begin)) }
        };
        let seed = self.settings.jitter_seed.wrapping_add(self.reads.fetch_add(1, Ordering::Relaxed));
        retrying(doing, self.settings.read_timeout, self.settings.backoff, seed, attempt).await
    }

    /// Has an attempt to connect not be repeated for long where nothing has ever answered. A connection that came about
    /// and then broke, or stays silent, is not meant: that may be a FiFo in trouble.
    fn at_first_contact(&self, failure: FailedAttempt, begin: Instant) -> FailedAttempt {
        let FifoError::Connection { source, .. } = &failure.error else { return failure };
        let is_connected = source.kind() == TransportErrorKind::Lost;
        let Some(limit) = self.settings.first_contact_timeout.filter(|_| !is_connected) else {
            return failure;
        };
        if failure.retry == RetryRule::Never || self.has_answered.load(Ordering::Relaxed) {
            return failure;
        }
        // The next attempt may take as long as this one.
        let retry = if begin.elapsed() < limit / 3 { RetryRule::Limited } else { RetryRule::Never };
        FailedAttempt { retry, ..failure }
    }
}

/// A transport that notes whether anything has ever answered.
struct ContactTracker {
    transport: Arc<dyn Transport>,
    has_answered: Arc<AtomicBool>,
}

impl Transport for ContactTracker {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        async move {
            let answer = self.transport.send(request).await;
            if answer.is_ok() {
                self.has_answered.store(true, Ordering::Relaxed);
            }
            answer
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fifo::{Credentials, ReadClient};
    use futures::{StreamExt as _, stream};
    use http::{HeaderMap, StatusCode};
    use secrecy::SecretString;
    use std::time::Duration;

    /// Answers a few times with 503, and then fails in one way for ever.
    struct Failing {
        answers: u64,
        kind: TransportErrorKind,
        takes: Duration,
        sent: AtomicU64,
    }

    impl Transport for Failing {
        fn send(&self, _: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
            async move {
                tokio::time::sleep(self.takes).await;
                if self.sent.fetch_add(1, Ordering::Relaxed) >= self.answers {
                    return Err(TransportError::new(self.kind, "refused"));
                }
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Ok(Response { status, headers: HeaderMap::new(), body: stream::empty().boxed() })
            }
            .boxed()
        }
    }

    /// Reads the list in vain, and returns how many seconds that took and whether it was the time that was over.
    async fn in_vain(
        answers: u64,
        kind: TransportErrorKind,
        takes: Duration,
        limit: Option<u64>,
    ) -> (u64, bool) {
        let transport = Arc::new(Failing { answers, kind, takes, sent: AtomicU64::new(0) });
        let credentials = Credentials::Token(SecretString::from("token"));
        let settings = ClientSettings {
            first_contact_timeout: limit.map(Duration::from_secs),
            ..ClientSettings::new("https://fifo.example.com".parse().unwrap(), credentials)
        };
        let begin = Instant::now();
        let error = ReadClient::new(transport, settings).list().await.unwrap_err();
        (begin.elapsed().as_secs(), matches!(error, FifoError::TimedOut { .. }))
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_never_answered_is_given_up_within_ten_seconds() {
        use TransportErrorKind::{Lost, NotHttp, NotSent, NotTls, Untrusted};
        for kind in [NotSent, NotTls, NotHttp, Untrusted] {
            for takes_ms in [0, 1_000, 4_000, 8_000] {
                let (secs, _) = in_vain(0, kind, Duration::from_millis(takes_ms), Some(10)).await;
                assert!(secs < 10, "{kind:?}, {takes_ms} ms each: {secs} s");
            }
        }
        let at_once = Duration::ZERO;
        for (answers, kind, limit, why) in [
            (1, NotSent, Some(10), "something has answered"),
            (0, NotSent, None, "no task waits"),
            (0, Lost, Some(10), "there was a connection"),
        ] {
            let (secs, is_over) = in_vain(answers, kind, at_once, limit).await;
            assert!(is_over && secs > 90, "{why}: {secs} s");
        }
    }
}
