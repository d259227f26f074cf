//! Signing in: one token for all tasks, and another one when FiFo no longer accepts it.

use super::endpoint::ApiVersion;
use super::error::FifoError;
use super::transport::{Connection, Payload};
use super::wire::{Credentials, Wire, other_status};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use tracing::warn;
use url::form_urlencoded;

const DOING: &str = "sign in";

/// How the API before 2016 wants the token.
const X_SNARL_TOKEN: HeaderName = HeaderName::from_static("x-snarl-token");

/// The longest answer to a sign-in that is taken, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// So many 401s in a row to tokens that should be good are final.
const REFUSALS_BELIEVED: u32 = 3;

/// A token to sign requests with, as headers that no log shows.
#[derive(Clone)]
pub(super) struct Token {
    bearer: HeaderValue,
    snarl: Option<HeaderValue>,
    /// Distinguishes it from those before and after it, which may be the same text.
    serial: u32,
}

impl Token {
    pub(super) fn sign(&self, headers: &mut HeaderMap) {
        headers.insert(AUTHORIZATION, self.bearer.clone());
        if let Some(snarl) = &self.snarl {
            headers.insert(X_SNARL_TOKEN, snarl.clone());
        }
    }
}

enum State {
    /// There is no token, and none is taken before this instant.
    SignedOut(Option<Instant>),
    SignedIn(Token),
    /// FiFo has refused us for good. No further request is sent: it could lock the user out.
    Refused(FifoError),
}

/// Keeps the token. However many tasks need one at once, FiFo is asked once; once it has refused, not again.
pub(super) struct Auth {
    user: Option<(String, SecretString)>,
    /// Locked during a sign-in.
    sign_in: Mutex<SignIn>,
    /// Whether FiFo has accepted a token since it last refused one.
    is_accepted: AtomicBool,
}

struct SignIn {
    state: State,
    /// The token from the user, until FiFo no longer accepts it.
    given: Option<SecretString>,
    /// How many 401s there were since FiFo last accepted a token.
    refusals_in_row: u32,
    /// How many tokens there were.
    tokens: u32,
}

impl Auth {
    pub(super) fn new(credentials: Credentials) -> Self {
        let (given, user) = match credentials {
            Credentials::Token(token) => (Some(token), None),
            Credentials::Password { user, password } => (None, Some((user, password))),
            Credentials::TokenFirst { token, user, password } => (Some(token), Some((user, password))),
        };
        let sign_in = SignIn { state: State::SignedOut(None), given, refusals_in_row: 0, tokens: 0 };
        Self { user, sign_in: Mutex::new(sign_in), is_accepted: AtomicBool::new(false) }
    }

    /// Returns a token, signing in where there is none or FiFo has refused it.
    pub(super) async fn token(&self, wire: &Wire) -> Result<Token, FifoError> {
        let mut sign_in = self.sign_in.lock().await;
        match &sign_in.state {
            State::SignedIn(token) => return Ok(token.clone()),
            State::SignedOut(None) => {}
            // Whoever else needs a token waits as well.
            State::SignedOut(Some(until)) => sleep_until(*until).await,
            State::Refused(error) => return Err(error.clone()),
        }
        let serial = sign_in.tokens + 1;
        let token = match &sign_in.given {
            Some(given) => wire.token_of(given.expose_secret(), serial),
            None => self.granted(wire).await.and_then(|granted| wire.token_of(&granted.access_token, serial)),
        };
        sign_in.tokens = serial;
        match &token {
            Ok(token) => sign_in.state = State::SignedIn(token.clone()),
            Err(error) if error.is_refusal() => sign_in.state = State::Refused(error.clone()),
            Err(_) => {}
        }
        token
    }

    /// Records an answer other than 401.
    pub(super) fn answered(&self, status: StatusCode) {
        // Others may come from something before FiFo, or from FiFo before it has looked at the token.
        if !status.is_server_error() && !matches!(status.as_u16(), 408 | 429) {
            self.is_accepted.store(true, Ordering::SeqCst);
        }
    }

    /// Judges a 401. A token that worked before has probably expired, so the next request signs in again. The 401 to a new
    /// token, or to the given one, may mean that FiFo's user store does not answer just now: it is final when it comes for
    /// the third time in a row, after growing pauses.
    ///
    /// # Errors
    ///
    /// The refusal is final, and there is nothing else to sign in with.
    pub(super) async fn refused(&self, token: &Token, wire: &Wire) -> Result<(), FifoError> {
        let mut sign_in = self.sign_in.lock().await;
        match &sign_in.state {
            State::SignedIn(current) if current.serial == token.serial => {}
            // Requests of the same time are answered alike, and count once.
            State::SignedIn(_) | State::SignedOut(_) => return Ok(()),
            State::Refused(error) => return Err(error.clone()),
        }
        let has_worked = self.is_accepted.swap(false, Ordering::SeqCst);
        sign_in.state = State::SignedOut(None);
        sign_in.refusals_in_row = if has_worked { 1 } else { sign_in.refusals_in_row + 1 };
        if has_worked && sign_in.given.is_none() {
            sign_in.refusals_in_row = 0;
            return Ok(());
        }
        if sign_in.refusals_in_row < REFUSALS_BELIEVED {
            let pause = wire.settings.backoff.refused_token * sign_in.refusals_in_row;
            let until = Instant::now() + pause;
            sign_in.state = State::SignedOut(Some(until));
            drop(sign_in);
            sleep_until(until).await;
            return Ok(());
        }
        let endpoint = wire.settings.endpoint.to_string();
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

    /// Asks FiFo for a token, once.
    async fn granted(&self, wire: &Wire) -> Result<Granted, FifoError> {
        let (user, password) = match &self.user {
            Some((user, password)) => (user.as_str(), password.expose_secret()),
            None => ("", ""),
        };
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "password")
            .append_pair("username", user)
            .append_pair("password", password)
            .finish();
        let mut request = wire.request(Method::POST, "oauth/token", Payload(Bytes::from(form)));
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, form_type);
        let sent = wire.send(request, Connection::Fresh).await;
        let response = sent.map_err(|error| wire.no_answer(DOING, error))?;
        let status = response.status();
        if !matches!(status.as_u16(), 200 | 400 | 401 | 403) {
            return Err(other_status(DOING, &response));
        }
        let body = wire.body(DOING, response, MAX_ANSWER_BYTES).await?;
        if status == StatusCode::OK {
            // The answer is not shown, since there may be a token in it.
            return serde_json::from_slice(&body)
                .map_err(|_| FifoError::unreadable(DOING, "it contains no access_token"));
        }
        let (user, endpoint) = (user.to_owned(), wire.settings.endpoint.to_string());
        let reason = serde_json::from_slice::<Denied>(&body).map(|denied| denied.error).ok();
        Err(match reason.filter(|reason| is_known(reason)) {
            Some(reason) if matches!(&*reason, "server_error" | "temporarily_unavailable") => {
                FifoError::SignInUnavailable { endpoint, reason }
            }
            reason => FifoError::SignInRefused { user, endpoint, reason },
        })
    }
}

/// Says whether a word for a refused sign-in is one of OAuth's: no other text may repeat itself into our messages.
fn is_known(word: &str) -> bool {
    let refusals = ["access_denied", "invalid_client", "invalid_grant", "invalid_request"];
    refusals.contains(&word) || ["server_error", "temporarily_unavailable"].contains(&word)
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
}

impl Wire {
    fn token_of(&self, secret: &str, serial: u32) -> Result<Token, FifoError> {
        let header = |prefix: &str| {
            let mut value = HeaderValue::try_from(format!("{prefix}{secret}")).map_err(|_| {
                let why = "cannot be sent the token, which contains a character that HTTP does not allow, such as a \
                           line break: check FIFO_TOKEN";
                let endpoint = self.settings.endpoint.to_string();
                FifoError::TokenRefused { endpoint, why: why.to_owned() }
            })?;
            value.set_sensitive(true);
            Ok(value)
        };
        let wants_snarl = self.settings.api != ApiVersion::V3;
        Ok(Token { bearer: header("Bearer ")?, snarl: wants_snarl.then(|| header("")).transpose()?, serial })
    }
}
