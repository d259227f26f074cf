//! Signing in: one token for all tasks, renewed in time, or when FiFo does not take it any more.

use super::answer::{self, retry_after, whole_body};
use super::endpoint::{ApiVersion, Endpoint};
use super::error::{FifoError, UnreadableAnswer};
use super::retry::{Again, Failure};
use super::transport::{Connection, Request, Transport};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded;

const DOING: &str = "sign in";

/// The longest answer to a sign-in that is taken, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// How long before its end a token is renewed, unless that is more than a tenth of its life.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// What we sign in with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A token, used as it is. It cannot be renewed.
    Token(SecretString),
    /// A user and password, for which FiFo gives a token.
    Password {
        /// The user's name.
        user: String,
        /// The user's password.
        password: SecretString,
    },
}

/// A token to sign requests with.
#[derive(Clone)]
pub(super) struct Token {
    secret: SecretString,
    /// When it should be renewed; `None` when FiFo did not say how long it lives.
    renew_at: Option<Instant>,
    /// Tells it from the tokens before and after it.
    serial: u64,
}

impl Token {
    /// Gives the token behind a prefix, as a header that no log shows.
    pub(super) fn header(&self, prefix: &str) -> Result<HeaderValue, FifoError> {
        let text = format!("{prefix}{}", self.secret.expose_secret());
        let mut value = HeaderValue::try_from(text).map_err(|_| FifoError::UnusableToken)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Keeps the token. However many tasks need one at once, FiFo is asked once.
pub(super) struct Auth {
    transport: Arc<dyn Transport>,
    endpoint: Endpoint,
    api: ApiVersion,
    credentials: Credentials,
    current: Mutex<Option<Token>>,
    /// How often the sign-in was refused.
    refusals: AtomicU64,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<f64>,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
}

impl Auth {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        endpoint: Endpoint,
        api: ApiVersion,
        credentials: Credentials,
    ) -> Self {
        let refusals = AtomicU64::new(0);
        Self { transport, endpoint, api, credentials, current: Mutex::new(None), refusals }
    }

    /// Gives a token, signing in where there is none or where it is about to end.
    pub(super) async fn token(&self) -> Result<Token, Failure> {
        self.token_other_than(None).await
    }

    /// Gives another token than the one that FiFo has answered with a 401.
    pub(super) async fn renewed(&self, refused: &Token) -> Result<Token, Failure> {
        if matches!(self.credentials, Credentials::Token(_)) {
            return Err(Failure::last(FifoError::TokenRefused { endpoint: self.endpoint.to_string() }));
        }
        self.token_other_than(Some(refused.serial)).await
    }

    /// Says what it means when even a new token is answered with a 401.
    pub(super) fn new_token_refused(&self) -> FifoError {
        FifoError::NewTokenRefused { user: self.user().to_owned(), endpoint: self.endpoint.to_string() }
    }

    async fn token_other_than(&self, refused: Option<u64>) -> Result<Token, Failure> {
        let refusals = self.refusals.load(Ordering::SeqCst);
        let mut current = self.current.lock().await;
        let serial = current.as_ref().map_or(0, |token| token.serial);
        if let Some(token) = current.as_ref()
            && refused != Some(token.serial)
            && token.renew_at.is_none_or(|renew_at| Instant::now() < renew_at)
        {
            return Ok(token.clone());
        }
        let (user, password) = match &self.credentials {
            Credentials::Token(secret) => {
                let token = Token { secret: secret.clone(), renew_at: None, serial: serial + 1 };
                return Ok(current.insert(token).clone());
            }
            Credentials::Password { user, password } => (user, password),
        };
        // Whoever waited here while another task was refused would only be refused again, and the user locked out.
        if self.refusals.load(Ordering::SeqCst) != refusals {
            return Err(Failure::last(self.refused(None)));
        }
        let granted = self.sign_in(user, password).await?;
        let token = Token {
            secret: SecretString::from(granted.access_token),
            renew_at: renew_at(granted.expires_in),
            serial: serial + 1,
        };
        Ok(current.insert(token).clone())
    }

    async fn sign_in(&self, user: &str, password: &SecretString) -> Result<Granted, Failure> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "password")
            .append_pair("username", user)
            .append_pair("password", password.expose_secret())
            .finish();
        let request = Request {
            method: Method::POST,
            path: format!("/api/{}/oauth/token", self.api.as_str()),
            headers: HeaderMap::from_iter([
                (ACCEPT, HeaderValue::from_static("application/json")),
                (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
            ]),
            body: Some(Bytes::from(form)),
            connection: Connection::Fresh,
        };
        let endpoint = || self.endpoint.to_string();
        let response = match self.transport.send(request).await {
            Ok(response) => response,
            Err(error) => return Err(Failure::of_connection(DOING, endpoint(), error)),
        };
        let (status, retry_after) = (response.status, retry_after(&response.headers));
        match status {
            StatusCode::OK => {
                let body = whole_body(DOING, endpoint(), response, MAX_ANSWER_BYTES).await?;
                serde_json::from_slice(&body)
                    .map_err(|_| answer::unreadable(DOING, Again::AFewTimes, UnreadableAnswer::NoToken))
            }
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let body = whole_body(DOING, endpoint(), response, MAX_ANSWER_BYTES).await?;
                self.refusals.fetch_add(1, Ordering::SeqCst);
                Err(Failure::last(self.refused(reason(&body))))
            }
            status => {
                let error = FifoError::Status { doing: DOING.to_owned(), status };
                Err(Failure { error, again: Again::after(status), retry_after })
            }
        }
    }

    fn refused(&self, reason: Option<String>) -> FifoError {
        FifoError::SignInRefused { user: self.user().to_owned(), endpoint: self.endpoint.to_string(), reason }
    }

    fn user(&self) -> &str {
        match &self.credentials {
            Credentials::Token(_) => "",
            Credentials::Password { user, .. } => user,
        }
    }
}

/// Gives FiFo's word for a refusal, where it is one of OAuth's: no other text may repeat itself into our messages.
fn reason(body: &[u8]) -> Option<String> {
    const KNOWN: [&str; 6] = [
        "access_denied",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "unauthorized_client",
        "unsupported_grant_type",
    ];
    let Denied { error } = serde_json::from_slice(body).ok()?;
    KNOWN.contains(&error.as_str()).then_some(error)
}

fn renew_at(expires_in_secs: Option<f64>) -> Option<Instant> {
    let life = Duration::try_from_secs_f64(expires_in_secs?).ok()?;
    Instant::now().checked_add(life - RENEW_BEFORE.min(life / 10))
}
