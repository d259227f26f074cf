//! Tells other machines: a summary to post, a monitor to ping, with few attempts and short timeouts, so that reporting does
//! not delay a run. The addresses may hold tokens in any part, so a [`SecretUrl`] never shows more than scheme and host.

mod url;

pub use self::url::{BadUrl, SecretUrl};

use crate::fifo::{HttpSetupError, causes, outward_client, pauses};
use reqwest::{Client, StatusCode};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::sleep;

/// How often it is tried.
const TRIES: usize = 3;
/// How long each try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause between two tries; the next one is twice as long, and up to as much again is added by chance.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a notification was not sent. No message holds more of the address than scheme and host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// It was answered, and not with a success. Redirects are not followed, so one is no success either.
    #[error("{url} answered {status}")]
    Status { url: SecretUrl, status: StatusCode },
    /// It could not be reached, or did not answer in time.
    #[error("{url} could not be reached: {why}")]
    Connection { url: SecretUrl, why: String },
}

#[derive(Clone, Debug)]
pub struct Poster {
    client: Client,
    url: SecretUrl,
    seed: u64,
}

impl Poster {
    /// Makes one; nothing is sent yet. `ca_file` is a PEM file with certificates to trust beside the system's, `seed`
    /// decides about the chance in the pauses.
    ///
    /// # Errors
    ///
    /// When the CA file cannot be read or holds no certificate, or the system has no certificates at all.
    pub fn new(url: SecretUrl, ca_file: Option<PathBuf>, seed: u64) -> Result<Self, HttpSetupError> {
        let client = outward_client(url.expose(), ca_file.as_deref())?;
        Ok(Self { client, url, seed })
    }

    /// Posts a JSON document.
    ///
    /// # Errors
    ///
    /// Three tries have failed, or the first one in a way that stays.
    pub async fn post_json(&self, json: Vec<u8>) -> Result<(), NotifyError> {
        self.send(&self.url, Some(("application/json", json))).await
    }

    /// Asks for the address, or, with a text, posts that to it. With a part, for the one below the address.
    pub async fn ping(&self, part: Option<&str>, text: Option<String>) -> Result<(), NotifyError> {
        let url = part.map_or_else(|| self.url.clone(), |part| self.url.below(part));
        self.send(&url, text.map(|text| ("text/plain; charset=utf-8", text.into_bytes()))).await
    }

    async fn send(&self, url: &SecretUrl, body: Option<(&'static str, Vec<u8>)>) -> Result<(), NotifyError> {
        let mut pauses = pauses(PAUSE, Duration::MAX, self.seed).take(TRIES - 1);
        loop {
            let error = match self.send_once(url, body.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match pauses.next().filter(|_| may_pass(&error)) {
                Some(pause) => sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    async fn send_once(
        &self,
        url: &SecretUrl,
        body: Option<(&'static str, Vec<u8>)>,
    ) -> Result<(), NotifyError> {
        let target = url.expose().clone();
        let request = match body {
            None => self.client.get(target),
            Some((content_type, bytes)) => {
                self.client.post(target).header(http::header::CONTENT_TYPE, content_type).body(bytes)
            }
        };
        let answer = request.timeout(TRY_TIMEOUT).send().await;
        match answer.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(NotifyError::Status { url: url.clone(), status }),
            Err(error) => Err(NotifyError::Connection { url: url.clone(), why: why(error.without_url()) }),
        }
    }
}

/// Says whether another try may go better.
fn may_pass(error: &NotifyError) -> bool {
    match error {
        NotifyError::Status { status, .. } => {
            status.is_server_error() || matches!(status.as_u16(), 408 | 429)
        }
        NotifyError::Connection { .. } => true,
    }
}

/// Returns the innermost cause, which is the one that says something. The outer ones may repeat the address.
fn why(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TRY_TIMEOUT.as_secs());
    }
    causes(&error).last().map_or_else(|| error.to_string(), ToString::to_string)
}
