//! Signing in: one token for all tasks, and another one when FiFo no longer accepts it.

use super::error::{FifoError, Result};
use super::session::{Session, State, Token, other_status};
use super::transport::Connection;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::{Instant, sleep_until};
use tracing::warn;
use url::form_urlencoded;

const DOING: &str = "sign in";
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// So many 401s in a row to tokens that should be good are final.
const REFUSALS_BELIEVED: u32 = 3;

impl Session {
    /// Signs in where there is no token, and repeats that for as long as a read may take.
    pub(super) async fn sign_in(&self) -> Result<Token> {
        self.retrying(DOING, |_| self.token()).await
    }

    /// Returns a token, signing in once where there is none or FiFo has refused it.
    pub(super) async fn token(&self) -> Result<Token> {
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
    pub(super) async fn refused(&self, token: &Token) -> Result<()> {
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
        let (user, password) = match &self.user {
            Some((user, password)) => (user.as_str(), password.expose_secret()),
            None => ("", ""),
        };
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "password")
            .append_pair("username", user)
            .append_pair("password", password)
            .finish();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, form_type)]);
        let request = self.request(Method::POST, "oauth/token", headers, Bytes::from(form));
        let sent = self.send(request, Connection::Fresh).await;
        let response = sent.map_err(|error| self.no_answer(DOING, error))?;
        let status = response.status();
        if !matches!(status.as_u16(), 200 | 400 | 401 | 403) {
            return Err(other_status(DOING, &response));
        }
        let body = self.body(DOING, response, MAX_ANSWER_BYTES).await?;
        if status == StatusCode::OK {
            // The answer is not shown, since there may be a token in it.
            return serde_json::from_slice(&body)
                .map_err(|_| FifoError::unreadable(DOING, "it contains no access_token"));
        }
        let (user, endpoint) = (user.to_owned(), self.endpoint());
        // Only OAuth's own words: no other text may repeat itself into our messages.
        let reason = serde_json::from_slice(&body).map(|Denied { error }| error).unwrap_or_default();
        Err(match &*reason {
            "server_error" | "temporarily_unavailable" => FifoError::SignInUnavailable { endpoint, reason },
            "access_denied" | "invalid_client" | "invalid_grant" | "invalid_request" => {
                FifoError::SignInRefused { user, endpoint, reason: Some(reason) }
            }
            _ => FifoError::SignInRefused { user, endpoint, reason: None },
        })
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
