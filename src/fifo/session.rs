//! What reading and writing have in common: the token, and what a failure means for the next attempt.

use super::auth::{Auth, Token};
use super::backoff::pauses;
use super::error::{A_FEW, FifoError, with_causes};
use super::transport::{
    Connection, Payload, Request, Response, Transport, TransportError, TransportErrorKind,
};
use super::wire::{ClientSettings, Wire, other_status};
use http::{HeaderMap, Method, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

/// After so long without success a warning is logged, once.
const WARN_AFTER: Duration = Duration::from_secs(5);

pub(super) struct Session {
    pub(super) wire: Wire,
    auth: Auth,
    /// How many reads there were, so that each has pauses of its own.
    reads: AtomicU64,
}

impl Session {
    pub(super) fn new(transport: Arc<dyn Transport>, settings: ClientSettings) -> Self {
        let auth = Auth::new(settings.credentials.clone());
        Self { wire: Wire::new(transport, settings), auth, reads: AtomicU64::new(0) }
    }

    /// Sends a signed request, once, and waits no longer than `limit` for the answer. A 401 to it has been judged: it is not
    /// final, and the next token is another one, or comes after a pause.
    ///
    /// # Errors
    ///
    /// FiFo refuses the token for good, or it cannot be sent.
    pub(super) async fn call(
        &self,
        token: &Token,
        mut request: Request,
        connection: Connection,
        limit: Duration,
    ) -> Result<Result<Response, TransportError>, FifoError> {
        token.sign(request.headers_mut());
        let answer = timeout(limit, self.wire.send(request, connection)).await.unwrap_or_else(|_| {
            let why = format!("no answer within {} s", limit.as_secs_f32());
            Err(TransportError::new(TransportErrorKind::Lost, why))
        });
        match answer.as_ref().map(Response::status) {
            Ok(StatusCode::UNAUTHORIZED) => self.auth.refused(token, &self.wire).await?,
            Ok(status) => self.auth.answered(status),
            Err(_) => {}
        }
        Ok(answer)
    }

    /// Gets a path, and returns the answer if it is the wanted one.
    pub(super) async fn get(
        &self,
        attempt: u32,
        doing: &str,
        permission: &str,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Response, FifoError> {
        let token = self.auth.token(&self.wire).await?;
        let mut request = self.wire.request(Method::GET, path, Payload::default());
        *request.headers_mut() = headers;
        // The deadline of the whole read is above.
        let answer = self.call(&token, request, connection(attempt), Duration::MAX).await?;
        let response = answer.map_err(|error| self.wire.no_answer(doing, error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::FORBIDDEN => {
                Err(FifoError::Forbidden { doing: doing.to_owned(), permission: permission.to_owned() })
            }
            _ => Err(other_status(doing, &response)),
        }
    }

    /// Signs in where there is no token, and repeats that for as long as a read may take.
    pub(super) async fn sign_in(&self) -> Result<Token, FifoError> {
        self.retrying("sign in", |_| self.auth.token(&self.wire)).await
    }

    /// Tries until it succeeds, fails for good, or the time for a read is over, whatever FiFo asks for. `attempt` gets its
    /// number, from 1.
    pub(super) async fn retrying<T, F: Future<Output = Result<T, FifoError>>>(
        &self,
        doing: &str,
        mut attempt: impl FnMut(u32) -> F,
    ) -> Result<T, FifoError> {
        let ClientSettings { read_timeout: limit, backoff, jitter_seed, .. } = self.wire.settings;
        let started = Instant::now();
        let seed = jitter_seed.wrapping_add(self.reads.fetch_add(1, Ordering::Relaxed));
        let mut pauses = pauses(backoff.first, backoff.max, seed);
        let (mut is_warned, mut attempts, mut last) = (false, 0, None);
        loop {
            attempts += 1;
            let left = limit.saturating_sub(started.elapsed());
            let error = match timeout(left, attempt(attempts)).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(_) => break,
            };
            if attempts >= self.attempts_max(&error, started.elapsed()) {
                return Err(error);
            }
            let asked = match &error {
                FifoError::Status { retry_after, .. } => retry_after.unwrap_or_default(),
                _ => Duration::ZERO,
            };
            let pause = pauses.next().unwrap_or(backoff.max).max(asked.min(backoff.asked_max));
            let error = last.insert(error);
            if started.elapsed() + pause >= limit {
                break;
            }
            debug!(attempts, ?pause, error = with_causes(error), "retrying to {doing}");
            if !is_warned && started.elapsed() + pause >= WARN_AFTER {
                is_warned = true;
                let seconds = limit.saturating_sub(started.elapsed()).as_secs();
                warn!("{}; retrying for up to {seconds} s", with_causes(error));
            }
            sleep(pause).await;
        }
        let (doing, last) = (doing.to_owned(), last.map(Box::new));
        Err(FifoError::TimedOut { doing, timeout: limit, attempts, last })
    }

    /// Has an attempt to connect not be repeated for long where nothing has ever answered. A connection that came about
    /// and then broke, or stays silent, is not meant: that may be a FiFo in trouble.
    fn attempts_max(&self, error: &FifoError, elapsed: Duration) -> u32 {
        let max = error.attempts_max();
        let FifoError::Connection { source, .. } = error else { return max };
        let is_first = source.kind() != TransportErrorKind::Lost && !self.wire.has_answered();
        match self.wire.settings.first_contact_timeout.filter(|_| is_first) {
            // The next attempt may take as long as this one.
            Some(limit) => max.min(if elapsed < limit / 3 { A_FEW } else { 1 }),
            None => max,
        }
    }
}

/// Returns which connection an attempt at a read may use: a second one does not trust what another request has used.
pub(super) fn connection(attempt: u32) -> Connection {
    if attempt == 1 { Connection::Reused } else { Connection::Fresh }
}
