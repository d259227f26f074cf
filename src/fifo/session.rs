//! What reading and writing have in common: the settings, one request and its answer, what a failure means for the next
//! attempt, and signing in.

use super::endpoint::{ApiVersion, Endpoint};
use super::error::{A_FEW, FifoError, Result, with_causes};
use super::transport::{
    Connection, Payload, Request, Response, Sent, Transport, TransportError, TransportErrorKind,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use fastrand::Rng;
use futures::TryStreamExt as _;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use std::iter::successors;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, warn};
use url::form_urlencoded;

const US: HeaderValue = HeaderValue::from_static(concat!("fifo-retain/", env!("CARGO_PKG_VERSION")));

const X_SNARL_TOKEN: HeaderName = HeaderName::from_static("x-snarl-token");

/// After so long without success a warning is logged, once.
const WARN_AFTER: Duration = Duration::from_secs(5);

const SIGNING_IN: &str = "sign in";
const MAX_SIGN_IN_BYTES: usize = 64 << 10;

/// So many 401s in a row to tokens that should be good are final.
const REFUSALS_BELIEVED: u32 = 3;

#[derive(Clone, Debug)]
pub enum Credentials {
    Token(SecretString),
    Password {
        user: String,
        password: SecretString,
    },
    /// A token, and a user and password for when FiFo no longer accepts it.
    TokenFirst {
        token: SecretString,
        user: String,
        password: SecretString,
    },
}

#[derive(Clone, Debug)]
pub struct ClientSettings {
    pub endpoint: Endpoint,
    pub api: ApiVersion,
    pub credentials: Credentials,
    /// How long a read may take in all, with signing in and everything that is tried again.
    pub read_timeout: Duration,
    /// How long reads are tried before anything has ever answered: that is mostly a wrong address, which waiting cannot
    /// fix. `None` is as patient then as later.
    pub first_contact_timeout: Option<Duration>,
    /// How long a write may take until its answer counts as lost. FiFo itself takes up to 5 s.
    pub write_timeout: Duration,
    pub backoff: Backoff,
    /// Seeds the jitter. Take another one each run, so that runs that failed together do not come back together.
    pub jitter_seed: u64,
}

impl ClientSettings {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause; each further one is twice as long. Jitter adds up to as much again.
    pub first: Duration,
    pub max: Duration,
    /// The longest pause when FiFo says how long to wait (`Retry-After`).
    pub asked_max: Duration,
    /// The pause before a refused token that should be good is tried again. The second pause is twice as long; the third
    /// refusal in a row is final.
    pub refused_token: Duration,
}

impl Default for Backoff {
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
    let doubling = successors(Some(first), move |pause| Some(pause.saturating_mul(2).min(max)));
    doubling.map(move |pause| pause + pause.mul_f64(random.f64()))
}

/// A token to sign requests with. Another one may be the same text.
pub(super) type Token = Arc<SecretString>;

enum State {
    /// No token is taken before this instant.
    SignedOut(Option<Instant>),
    SignedIn(Token),
    /// FiFo has refused us for good. No further request is sent: it could lock the user out.
    Refused(FifoError),
}

struct SignIn {
    state: State,
    /// The token from the user, until FiFo no longer accepts it.
    given: Option<SecretString>,
    /// How many 401s there were since FiFo last accepted a token.
    refusals_in_row: u32,
}

/// The way to one FiFo. However many tasks need a token at once, FiFo is asked once; once it has refused, not again.
pub(super) struct Session {
    pub(super) settings: ClientSettings,
    transport: Arc<dyn Transport>,
    has_answered: AtomicBool,
    user: Option<(String, SecretString)>,
    sign_in: Mutex<SignIn>,
    /// Whether FiFo has accepted a token since it last refused one.
    token_is_accepted: AtomicBool,
    /// So that each read has pauses of its own.
    reads: AtomicU64,
}

impl Session {
    pub(super) fn new(transport: Arc<dyn Transport>, settings: ClientSettings) -> Self {
        let (given, user) = match settings.credentials.clone() {
            Credentials::Token(token) => (Some(token), None),
            Credentials::Password { user, password } => (None, Some((user, password))),
            Credentials::TokenFirst { token, user, password } => (Some(token), Some((user, password))),
        };
        let sign_in = SignIn { state: State::SignedOut(None), given, refusals_in_row: 0 };
        Self {
            settings,
            transport,
            has_answered: AtomicBool::new(false),
            user,
            sign_in: Mutex::new(sign_in),
            token_is_accepted: AtomicBool::new(false),
            reads: AtomicU64::new(0),
        }
    }

    pub(super) fn endpoint(&self) -> String {
        self.settings.endpoint.to_string()
    }

    pub(super) fn request(&self, method: Method, path: &str, headers: HeaderMap, body: Bytes) -> Request {
        let mut request = Request::new(Payload(body));
        *request.method_mut() = method;
        // Made of constants and UUIDs, it is always one.
        *request.uri_mut() =
            format!("/api/{}/{path}", self.settings.api.as_str()).parse().unwrap_or_default();
        *request.headers_mut() = headers;
        request
    }

    pub(super) async fn send(&self, mut request: Request, connection: Connection) -> Sent {
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(USER_AGENT, US);
        let answer = self.transport.send(request, connection).await?;
        self.has_answered.store(true, Ordering::Relaxed);
        Ok(answer)
    }

    /// Sends a signed request, once, and waits no longer than `limit` for the answer. A 401 that is returned is not final:
    /// the next token is another one, or comes after a pause. One that is final, or a token that cannot be sent, is an error.
    pub(super) async fn call(
        &self,
        token: &Token,
        mut request: Request,
        connection: Connection,
        limit: Duration,
    ) -> Result<Sent> {
        request.headers_mut().insert(AUTHORIZATION, self.header_of("Bearer ", token)?);
        if self.settings.api != ApiVersion::V3 {
            request.headers_mut().insert(X_SNARL_TOKEN, self.header_of("", token)?);
        }
        let answer = timeout(limit, self.send(request, connection)).await.unwrap_or_else(|_| {
            let why = format!("no answer within {} s", limit.as_secs_f32());
            Err(TransportError::new(TransportErrorKind::Lost, why))
        });
        match answer.as_ref().map(Response::status) {
            Ok(StatusCode::UNAUTHORIZED) => self.refused(token).await?,
            // These may come from something before FiFo, or from FiFo before it has looked at the token.
            Ok(status) if status.is_server_error() || matches!(status.as_u16(), 408 | 429) => {}
            Ok(_) => self.token_is_accepted.store(true, Ordering::SeqCst),
            Err(_) => {}
        }
        Ok(answer)
    }

    fn header_of(&self, prefix: &str, token: &Token) -> Result<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("{prefix}{}", token.expose_secret())).map_err(|_| {
            let why = "cannot be sent the token, which contains a character that HTTP does not allow, such as a line \
                       break: check FIFO_TOKEN";
            FifoError::TokenRefused { endpoint: self.endpoint(), why: why.to_owned() }
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    pub(super) async fn get(
        &self,
        attempt: u32,
        doing: &str,
        permission: &str,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Response> {
        let token = self.token().await?;
        let request = self.request(Method::GET, path, headers, Bytes::new());
        // The deadline of the whole read is above.
        let answer = self.call(&token, request, connection(attempt), Duration::MAX).await?;
        let response = answer.map_err(|error| self.no_answer(doing, error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::FORBIDDEN => {
                let (doing, permission) = (doing.to_owned(), permission.to_owned());
                Err(FifoError::Forbidden { doing, permission })
            }
            _ => Err(other_status(doing, &response)),
        }
    }

    pub(super) async fn body(&self, doing: &str, response: Response, limit_bytes: usize) -> Result<Vec<u8>> {
        let (mut stream, mut body) = (response.into_body(), Vec::new());
        while let Some(chunk) = stream.try_next().await.map_err(|error| self.no_answer(doing, error))? {
            if body.len() + chunk.len() > limit_bytes {
                return Err(FifoError::unreadable(doing, format!("it is longer than {limit_bytes} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    pub(super) fn no_answer(&self, doing: &str, source: TransportError) -> FifoError {
        FifoError::Connection { doing: doing.to_owned(), endpoint: self.endpoint(), source }
    }

    /// Tries until it succeeds, fails for good, or the time for a read is over. `attempt` gets its number, from 1.
    pub(super) async fn retrying<T, F: Future<Output = Result<T>>>(
        &self,
        doing: &str,
        mut attempt: impl FnMut(u32) -> F,
    ) -> Result<T> {
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

    /// Gives up connecting sooner where nothing has ever answered. A connection that came about and then broke, or stays
    /// silent, is not meant: that may be a FiFo in trouble.
    fn attempts_max(&self, error: &FifoError, elapsed: Duration) -> u32 {
        let max = error.attempts_max();
        let FifoError::Connection { source, .. } = error else { return max };
        let has_answered = self.has_answered.load(Ordering::Relaxed);
        let is_first = source.kind() != TransportErrorKind::Lost && !has_answered;
        match self.settings.first_contact_timeout.filter(|_| is_first) {
            // The next attempt may take as long as this one.
            Some(limit) => max.min(if elapsed < limit / 3 { A_FEW } else { 1 }),
            None => max,
        }
    }
}

/// Signing in: one token for all tasks, and another one when FiFo no longer accepts it.
impl Session {
    /// Signs in where there is no token, and repeats that for as long as a read may take.
    pub(super) async fn sign_in(&self) -> Result<Token> {
        self.retrying(SIGNING_IN, |_| self.token()).await
    }

    /// Returns a token, signing in once where there is none or FiFo has refused it.
    async fn token(&self) -> Result<Token> {
        // All who need a token wait for the one sign-in.
        let mut sign_in = self.sign_in.lock().await;
        match &sign_in.state {
            State::SignedIn(token) => return Ok(Arc::clone(token)),
            State::SignedOut(None) => {}
            State::SignedOut(Some(until)) => sleep_until(*until).await,
            State::Refused(error) => return Err(error.clone()),
        }
        let token = match &sign_in.given {
            Some(given) => Ok(Arc::new(given.clone())),
            None => self.granted().await.map(|granted| Arc::new(SecretString::from(granted.access_token))),
        };
        match &token {
            Ok(token) => sign_in.state = State::SignedIn(Arc::clone(token)),
            Err(error) if error.is_refusal() => sign_in.state = State::Refused(error.clone()),
            Err(_) => {}
        }
        token
    }

    /// Judges a 401. A token that worked before has probably expired, so the next request signs in again. The 401 to a new
    /// token, or to the given one, may mean that FiFo's user store does not answer just now: it is final (an error) when it
    /// comes for the third time in a row, after growing pauses, and there is nothing else to sign in with.
    async fn refused(&self, token: &Token) -> Result<()> {
        let mut sign_in = self.sign_in.lock().await;
        match &sign_in.state {
            State::SignedIn(current) if Arc::ptr_eq(current, token) => {}
            // Requests of the same time are answered alike, and count once.
            State::SignedIn(_) | State::SignedOut(_) => return Ok(()),
            State::Refused(error) => return Err(error.clone()),
        }
        let has_worked = self.token_is_accepted.swap(false, Ordering::SeqCst);
        sign_in.state = State::SignedOut(None);
        sign_in.refusals_in_row = if has_worked { 1 } else { sign_in.refusals_in_row + 1 };
        if has_worked && sign_in.given.is_none() {
            sign_in.refusals_in_row = 0;
            return Ok(());
        }
        if sign_in.refusals_in_row < REFUSALS_BELIEVED {
            let until = Instant::now() + self.settings.backoff.refused_token * sign_in.refusals_in_row;
            sign_in.state = State::SignedOut(Some(until));
            drop(sign_in);
            sleep_until(until).await;
            return Ok(());
        }
        let endpoint = self.endpoint();
        let why = match (sign_in.given.take(), &self.user) {
            (Some(_), Some((user, _))) => {
                warn!("{endpoint} no longer accepts FIFO_TOKEN: signing in as `{user}`");
                sign_in.refusals_in_row = 0;
                return Ok(());
            }
            (_, Some((user, _))) => format!(
                "rejects the token that it has just issued to `{user}`: check whether the clocks of its API nodes differ"
            ),
            (_, None) => "rejects the token, which may have expired: set FIFO_TOKEN to a new one".to_owned(),
        };
        let error = FifoError::TokenRefused { endpoint, why };
        sign_in.state = State::Refused(error.clone());
        Err(error)
    }

    async fn granted(&self) -> Result<Granted> {
        let user = self.user.as_ref().map(|(user, password)| (user.as_str(), password.expose_secret()));
        let (user, password) = user.unwrap_or_default();
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "password")
            .append_pair("username", user)
            .append_pair("password", password)
            .finish();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, form_type)]);
        let request = self.request(Method::POST, "oauth/token", headers, Bytes::from(form));
        let sent = self.send(request, Connection::Fresh).await;
        let response = sent.map_err(|error| self.no_answer(SIGNING_IN, error))?;
        let status = response.status();
        if !matches!(status.as_u16(), 200 | 400 | 401 | 403) {
            return Err(other_status(SIGNING_IN, &response));
        }
        let body = self.body(SIGNING_IN, response, MAX_SIGN_IN_BYTES).await?;
        if status == StatusCode::OK {
            // The answer is not shown, since there may be a token in it.
            return serde_json::from_slice(&body)
                .map_err(|_| FifoError::unreadable(SIGNING_IN, "it contains no access_token"));
        }
        let (user, endpoint) = (user.to_owned(), self.endpoint());
        let reason = serde_json::from_slice(&body).map(|Denied { error }| error).unwrap_or_default();
        if matches!(&*reason, "server_error" | "temporarily_unavailable") {
            return Err(FifoError::SignInUnavailable { endpoint, reason });
        }
        // Only OAuth's own words: no other text may repeat itself into our messages.
        const OAUTH: [&str; 4] = ["access_denied", "invalid_client", "invalid_grant", "invalid_request"];
        let reason = Some(reason).filter(|reason| OAUTH.contains(&reason.as_str()));
        Err(FifoError::SignInRefused { user, endpoint, reason })
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
}

/// Returns which connection an attempt at a read may use: the second one does not trust what another request has used.
pub(super) fn connection(attempt: u32) -> Connection {
    if attempt == 1 { Connection::Reused } else { Connection::Fresh }
}

pub(super) fn other_status(doing: &str, response: &Response) -> FifoError {
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    let location = text(response.headers(), &LOCATION).map(redirect_target);
    FifoError::Status { doing: doing.to_owned(), status, retry_after, location }
}

/// Returns where a redirect leads to, without what may hold a secret: user, password and what comes after a `?`.
fn redirect_target(location: &str) -> String {
    match url::Url::parse(location) {
        Ok(url) => {
            let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
            format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
        }
        Err(_) => location.split(['?', '#']).next().unwrap_or_default().to_owned(),
    }
}

pub(super) fn server_date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text(headers, &DATE)?).ok().map(|date| date.to_utc())
}

pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    text(headers, &RETRY_AFTER)?.parse().ok().map(Duration::from_secs)
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
