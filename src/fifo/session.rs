//! What reading and writing have in common: settings, headers, the token, and what a failure to connect means.

use super::auth::{Auth, Token};
use super::backoff::{Backoff, pauses};
use super::endpoint::{ApiVersion, Endpoint};
use super::error::{A_FEW, FifoError, with_causes};
use super::transport::{
    Connection, Payload, Request, Response, Transport, TransportError, TransportErrorKind,
};
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use http::header::{ACCEPT, DATE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use secrecy::SecretString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

const US: HeaderValue = HeaderValue::from_static(concat!("fifo-retain/", env!("CARGO_PKG_VERSION")));

/// After so long without success a warning is logged, once.
const WARN_AFTER: Duration = Duration::from_secs(5);

/// What we sign in with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A token, used as it is. It cannot be renewed.
    Token(SecretString),
    /// A user and password, which FiFo exchanges for a token.
    Password { user: String, password: SecretString },
    /// A token, and a user and password for when FiFo no longer accepts it.
    TokenFirst { token: SecretString, user: String, password: SecretString },
}

/// How to speak to one FiFo.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    pub endpoint: Endpoint,
    pub api: ApiVersion,
    pub credentials: Credentials,
    /// How long a read may take in all, with signing in and everything that is tried again.
    pub read_timeout: Duration,
    /// How long it may take to find out that nothing is to be reached, before anything has ever answered: that is mostly a
    /// wrong address, which waiting cannot fix. `None` is as patient then as later.
    pub first_contact_timeout: Option<Duration>,
    /// How long a write may take until its answer counts as lost. FiFo itself takes up to 5 s.
    pub write_timeout: Duration,
    pub backoff: Backoff,
    /// Decides about the chance in the pauses. Take another one each run, so that runs that failed together do not come
    /// back together.
    pub jitter_seed: u64,
}

impl ClientSettings {
    /// Makes settings with the usual times: two minutes for a read, half a minute for a write.
    pub fn new(endpoint: Endpoint, credentials: Credentials) -> Self {
        Self {
            endpoint,
            api: ApiVersion::default(),
            credentials,
            read_timeout: Duration::from_secs(120),
            first_contact_timeout: None,
            write_timeout: Duration::from_secs(30),
            backoff: Backoff::default(),
            jitter_seed: 0,
        }
    }
}

/// The way to one FiFo.
pub(super) struct Session {
    pub(super) settings: ClientSettings,
    transport: Arc<dyn Transport>,
    auth: Auth,
    /// Whether anything has ever answered.
    has_answered: AtomicBool,
    /// How many reads there were, so that each has pauses of its own.
    reads: AtomicU64,
}

impl Session {
    pub(super) fn new(transport: Arc<dyn Transport>, settings: ClientSettings) -> Self {
        let auth = Auth::new(settings.credentials.clone());
        let (has_answered, reads) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { settings, transport, auth, has_answered, reads }
    }

    /// Makes a request. `path` goes behind the part that all have in common.
    pub(super) fn request(&self, method: Method, path: &str, body: Payload) -> Request {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        // Made of constants and UUIDs, it is always one.
        *request.uri_mut() =
            format!("/api/{}/{path}", self.settings.api.as_str()).parse().unwrap_or_default();
        request
    }

    /// Sends a request, once.
    pub(super) async fn send(
        &self,
        mut request: Request,
        connection: Connection,
    ) -> Result<Response, TransportError> {
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(USER_AGENT, US);
        let answer = self.transport.send(request, connection).await?;
        self.has_answered.store(true, Ordering::Relaxed);
        Ok(answer)
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
        let answer = timeout(limit, self.send(request, connection)).await.unwrap_or_else(|_| {
            let why = format!("no answer within {} s", limit.as_secs_f32());
            Err(TransportError::new(TransportErrorKind::Lost, why))
        });
        match answer.as_ref().map(Response::status) {
            Ok(StatusCode::UNAUTHORIZED) => self.auth.refused(token, self).await?,
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
        let token = self.auth.token(self).await?;
        let mut request = self.request(Method::GET, path, Payload::default());
        *request.headers_mut() = headers;
        // The deadline of the whole read is above.
        let answer = self.call(&token, request, connection(attempt), Duration::MAX).await?;
        let response = answer.map_err(|error| self.no_answer(doing, error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::FORBIDDEN => {
                Err(FifoError::Forbidden { doing: doing.to_owned(), permission: permission.to_owned() })
            }
            _ => Err(other_status(doing, &response)),
        }
    }

    pub(super) fn no_answer(&self, doing: &str, source: TransportError) -> FifoError {
        let endpoint = self.settings.endpoint.to_string();
        FifoError::Connection { doing: doing.to_owned(), endpoint, source }
    }

    /// Reads a body whole, up to a limit.
    pub(super) async fn body(
        &self,
        doing: &str,
        response: Response,
        limit_bytes: usize,
    ) -> Result<Vec<u8>, FifoError> {
        let mut stream = response.into_body();
        let mut body = Vec::new();
        while let Some(chunk) = stream.try_next().await.map_err(|error| self.no_answer(doing, error))? {
            if body.len() + chunk.len() > limit_bytes {
                return Err(FifoError::unreadable(doing, format!("it is longer than {limit_bytes} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Signs in where there is no token, and repeats that for as long as a read may take.
    pub(super) async fn sign_in(&self) -> Result<Token, FifoError> {
        self.retrying("sign in", |_| self.auth.token(self)).await
    }

    /// Tries until it succeeds, fails for good, or the time for a read is over, whatever FiFo asks for. `attempt` gets its
    /// number, from 1.
    pub(super) async fn retrying<T, F: Future<Output = Result<T, FifoError>>>(
        &self,
        doing: &str,
        mut attempt: impl FnMut(u32) -> F,
    ) -> Result<T, FifoError> {
        let ClientSettings { read_timeout: limit, backoff, jitter_seed, .. } = self.settings;
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
        let is_first =
            source.kind() != TransportErrorKind::Lost && !self.has_answered.load(Ordering::Relaxed);
        match self.settings.first_contact_timeout.filter(|_| is_first) {
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

pub(super) fn other_status(doing: &str, response: &Response) -> FifoError {
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    FifoError::Status { doing: doing.to_owned(), status, retry_after }
}

/// Reads the server's clock from an answer, to the second.
pub(super) fn server_date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text(headers, &DATE)?).ok().map(|date| date.to_utc())
}

/// Reads how long FiFo asks us to wait.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    text(headers, &RETRY_AFTER)?.parse().ok().map(Duration::from_secs)
}

/// Returns a header's value, where it is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
