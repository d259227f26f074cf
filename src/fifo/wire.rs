//! The way to one FiFo: its settings, one request and its answer.

use super::backoff::Backoff;
use super::endpoint::{ApiVersion, Endpoint};
use super::error::FifoError;
use super::transport::{Connection, Payload, Request, Response, Transport, TransportError};
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use http::header::{ACCEPT, DATE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use secrecy::SecretString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const US: HeaderValue = HeaderValue::from_static(concat!("fifo-retain/", env!("CARGO_PKG_VERSION")));

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

pub(super) struct Wire {
    pub(super) settings: ClientSettings,
    transport: Arc<dyn Transport>,
    has_answered: AtomicBool,
}

impl Wire {
    pub(super) fn new(transport: Arc<dyn Transport>, settings: ClientSettings) -> Self {
        Self { settings, transport, has_answered: AtomicBool::new(false) }
    }

    /// Says whether anything has ever answered.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
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
