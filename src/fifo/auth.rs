//! Signing in: one token for all tasks, renewed in time, or when FiFo no longer accepts it.

use super::answer::{self, retry_after, whole_body};
use super::credentials::Credentials;
use super::endpoint::{ApiVersion, Endpoint};
use super::error::{FifoError, UnreadableAnswer};
use super::retry::{FailedAttempt, RetryRule};
use super::settings::ClientSettings;
use super::transport::{Connection, Request, Transport};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use tracing::warn;
use url::form_urlencoded;

const DOING: &str = "sign in";

/// What FiFo says when it could not ask its user store: nothing about the password.
const PASSING: [&str; 2] = ["server_error", "temporarily_unavailable"];

/// The longest answer to a sign-in that is taken, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// How long before its end a token is renewed, unless that is more than a tenth of its life.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// The longest row of 401s to a given token that was never accepted before: the last one counts as final.
const REFUSALS_BELIEVED: u32 = 3;

/// A token to sign requests with.
#[derive(Clone)]
pub(super) struct Token {
    secret: SecretString,
    /// When it should be renewed; `None` when FiFo did not say how long it is valid.
    renew_at: Option<Instant>,
    /// Distinguishes it from the tokens before and after it.
    serial: u64,
    /// Whether it came from the user, and not from a sign-in.
    is_given: bool,
}

impl Token {
    /// Returns the token behind a prefix, as a header that no log shows.
    pub(super) fn header(&self, prefix: &str) -> Result<HeaderValue, FifoError> {
        let text = format!("{prefix}{}", self.secret.expose_secret());
        let mut value = HeaderValue::try_from(text).map_err(|_| FifoError::UnusableToken)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// What to do after a 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterRefusal {
    /// Send it again at once: there is, or will be, another token.
    Now,
    /// Send it again after a pause: FiFo answers a good token with 401 while its user store does not answer.
    Later(Duration),
}

/// What FiFo's answers have said of the tokens so far.
#[derive(Default)]
struct Trust {
    /// The newest token that FiFo has accepted.
    accepted_serial: u64,
    /// The newest token that FiFo has refused, and when it last did.
    refused_serial: u64,
    refused_at: Option<Instant>,
    /// How many refusals there were since FiFo last accepted a token.
    refusals_in_row: u32,
    /// No request is sent before.
    paused_until: Option<Instant>,
    /// Set when the given token is no longer used, and the user is signed in instead.
    given_is_over: bool,
    /// What FiFo has refused for good. No further request is sent: it could lock the user out.
    refused: Option<Refused>,
}

/// A refusal that is final.
#[derive(Clone)]
enum Refused {
    SignIn { reason: Option<String> },
    GivenToken,
    NewToken,
}

/// Keeps the token. However many tasks need one at once, FiFo is asked once; once it has refused, not again.
pub(super) struct Auth {
    transport: Arc<dyn Transport>,
    endpoint: Endpoint,
    api: ApiVersion,
    credentials: Credentials,
    /// The pause after the first refusal that does not count as final; each further one is twice as long.
    refusal_pause: Duration,
    /// Locked during a sign-in.
    current: Mutex<Option<Token>>,
    /// Never locked across an await.
    trust: std::sync::Mutex<Trust>,
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
    pub(super) fn new(transport: Arc<dyn Transport>, settings: &ClientSettings) -> Self {
        Self {
            transport,
            endpoint: settings.endpoint.clone(),
            api: settings.api,
            credentials: settings.credentials.clone(),
            refusal_pause: settings.backoff.refused_token,
            current: Mutex::new(None),
            trust: std::sync::Mutex::default(),
        }
    }

    /// Returns a token, signing in where there is none, where it is about to end, and where FiFo has refused it.
    pub(super) async fn token(&self) -> Result<Token, FailedAttempt> {
        while let Some(until) = self.paused_until()? {
            sleep_until(until).await;
        }
        let mut current = self.current.lock().await;
        // A task that waited here while another one was refused would only be refused again.
        self.check_not_refused()?;
        if let Some(token) = current.as_ref()
            && self.is_usable(token)
        {
            return Ok(token.clone());
        }
        let serial = current.as_ref().map_or(0, |token| token.serial) + 1;
        if let Some(secret) = self.credentials.token()
            && !self.trust().given_is_over
        {
            let token = Token { secret: secret.clone(), renew_at: None, serial, is_given: true };
            return Ok(current.insert(token).clone());
        }
        let Some((user, password)) = self.credentials.user() else {
            return Err(FailedAttempt::last(self.error(Refused::GivenToken)));
        };
        let granted = self.sign_in(user, password).await?;
        let token = Token {
            secret: SecretString::from(granted.access_token),
            renew_at: renew_at(granted.expires_in),
            serial,
            is_given: false,
        };
        Ok(current.insert(token).clone())
    }

    /// Records an answer that FiFo gives only to a token that it accepts.
    pub(super) fn answered(&self, token: &Token, status: StatusCode) {
        // These may come from something before FiFo, or from FiFo before it has looked at the token.
        if status.is_server_error() || matches!(status.as_u16(), 401 | 408 | 429) {
            return;
        }
        let mut trust = self.trust();
        if token.serial >= trust.refused_serial {
            trust.accepted_serial = token.serial;
            trust.refusals_in_row = 0;
            trust.paused_until = None;
        }
    }

    /// Judges a 401 to a request that was sent at `sent_at`.
    ///
    /// A token that worked before has probably expired, so there is a new sign-in at once. The 401 to a new token, or to
    /// the given one, may mean that FiFo's user store does not answer just now: it is final when it comes for the
    /// third time in a row, after growing pauses.
    ///
    /// # Errors
    ///
    /// The refusal is final, and there is nothing else to sign in with.
    pub(super) fn refused(&self, token: &Token, sent_at: Instant) -> Result<AfterRefusal, FifoError> {
        let mut trust = self.trust();
        if let Some(refused) = &trust.refused {
            return Err(self.error(refused.clone()));
        }
        // Requests of the same time are answered alike, and count once.
        let is_known = if token.is_given {
            trust.given_is_over || trust.refused_at.is_some_and(|at| sent_at <= at)
        } else {
            token.serial <= trust.refused_serial
        };
        if is_known {
            return Ok(AfterRefusal::Now);
        }
        trust.refused_serial = token.serial;
        trust.refused_at = Some(Instant::now());
        if !token.is_given && trust.accepted_serial == token.serial {
            return Ok(AfterRefusal::Now);
        }
        trust.refusals_in_row += 1;
        if trust.refusals_in_row < REFUSALS_BELIEVED {
            let pause = self.refusal_pause * (1 << (trust.refusals_in_row - 1));
            trust.paused_until = Instant::now().checked_add(pause);
            return Ok(AfterRefusal::Later(pause));
        }
        match self.credentials.user() {
            Some((user, _)) if token.is_given => {
                warn!("{} no longer accepts FIFO_TOKEN: signing in as `{user}`", self.endpoint);
                trust.given_is_over = true;
                trust.refusals_in_row = 0;
                Ok(AfterRefusal::Now)
            }
            _ => {
                let refused = if token.is_given { Refused::GivenToken } else { Refused::NewToken };
                trust.refused = Some(refused.clone());
                Err(self.error(refused))
            }
        }
    }

    fn is_usable(&self, token: &Token) -> bool {
        let trust = self.trust();
        if token.is_given {
            return !trust.given_is_over;
        }
        token.serial > trust.refused_serial && token.renew_at.is_none_or(|renew_at| Instant::now() < renew_at)
    }

    fn paused_until(&self) -> Result<Option<Instant>, FailedAttempt> {
        self.check_not_refused()?;
        Ok(self.trust().paused_until.filter(|until| Instant::now() < *until))
    }

    fn check_not_refused(&self) -> Result<(), FailedAttempt> {
        match &self.trust().refused {
            Some(refused) => Err(FailedAttempt::last(self.error(refused.clone()))),
            None => Ok(()),
        }
    }

    fn trust(&self) -> MutexGuard<'_, Trust> {
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sign_in(&self, user: &str, password: &SecretString) -> Result<Granted, FailedAttempt> {
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
            Err(error) => return Err(FailedAttempt::of_connection(DOING, endpoint(), error)),
        };
        let (status, retry_after) = (response.status, retry_after(&response.headers));
        match status {
            StatusCode::OK => {
                let body = whole_body(DOING, endpoint(), response, MAX_ANSWER_BYTES).await?;
                serde_json::from_slice(&body)
                    .map_err(|_| answer::unreadable(DOING, RetryRule::Limited, UnreadableAnswer::NoToken))
            }
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let body = whole_body(DOING, endpoint(), response, MAX_ANSWER_BYTES).await?;
                let reason = reason(&body);
                if let Some(reason) = reason.as_deref().filter(|reason| PASSING.contains(reason)) {
                    let error =
                        FifoError::SignInUnavailable { endpoint: endpoint(), reason: reason.to_owned() };
                    return Err(FailedAttempt { error, retry: RetryRule::UntilTimeout, retry_after });
                }
                let refused = Refused::SignIn { reason };
                self.trust().refused = Some(refused.clone());
                Err(FailedAttempt::last(self.error(refused)))
            }
            status => {
                let error = FifoError::Status { doing: DOING.to_owned(), status };
                Err(FailedAttempt { error, retry: RetryRule::after(status), retry_after })
            }
        }
    }

    fn error(&self, refused: Refused) -> FifoError {
        let endpoint = self.endpoint.to_string();
        let user = self.credentials.user().map(|(user, _)| user.to_owned()).unwrap_or_default();
        match refused {
            Refused::SignIn { reason } => FifoError::SignInRefused { user, endpoint, reason },
            Refused::GivenToken => FifoError::TokenRefused { endpoint },
            Refused::NewToken => FifoError::NewTokenRefused { user, endpoint },
        }
    }
}

/// Returns FiFo's word for a refusal, where it is one of OAuth's: no other text may repeat itself into our messages.
fn reason(body: &[u8]) -> Option<String> {
    const KNOWN: [&str; 8] = [
        "access_denied",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "server_error",
        "temporarily_unavailable",
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
