//! Tells other machines: a summary to post, a monitor to ping, with few attempts and short timeouts, so that reporting does
//! not delay a run. The addresses may hold tokens in any part, so a [`SecretUrl`] never shows more than scheme and host.

use crate::fifo::{HttpSetupError, causes, is_loopback, outward_client, pauses};
use http::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::sleep;
use url::Url;

const TRIES: usize = 3;
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause between two tries; the next one is twice as long, and up to as much again is added by chance.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a notification was not sent. No message holds more of the address than scheme and host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// It was answered, and not with a success. Redirects are not followed, so one is no success either.
    #[error("{url} answered {status}")]
    Status { url: SecretUrl, status: StatusCode },
    #[error("{url} could not be reached: {why}")]
    Connection { url: SecretUrl, why: String },
}

impl NotifyError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Status { status, .. } => status.is_server_error() || matches!(status.as_u16(), 408 | 429),
            Self::Connection { .. } => true,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Poster {
    client: Client,
    url: SecretUrl,
    seed: u64,
}

type Body = Option<(&'static str, Vec<u8>)>;

impl Poster {
    /// Makes one; nothing is sent yet. `ca_file` is a PEM file with certificates to trust beside the system's, `seed` decides
    /// about the chance in the pauses. An error: the CA file cannot be read or holds no certificate, or the system has no
    /// certificates at all.
    pub fn new(url: SecretUrl, ca_file: Option<PathBuf>, seed: u64) -> Result<Self, HttpSetupError> {
        let client = outward_client(url.expose(), ca_file.as_deref())?;
        Ok(Self { client, url, seed })
    }

    pub async fn post_json(&self, json: Vec<u8>) -> Result<(), NotifyError> {
        self.send(&self.url, Some(("application/json", json))).await
    }

    /// Asks for the address, or, with a text, posts that to it. With a part, for the one below the address.
    pub async fn ping(&self, part: Option<&str>, text: Option<String>) -> Result<(), NotifyError> {
        let url = part.map_or_else(|| self.url.clone(), |part| self.url.below(part));
        self.send(&url, text.map(|text| ("text/plain; charset=utf-8", text.into_bytes()))).await
    }

    async fn send(&self, url: &SecretUrl, body: Body) -> Result<(), NotifyError> {
        let mut pauses = pauses(PAUSE, Duration::MAX, self.seed).take(TRIES - 1);
        loop {
            let Err(error) = self.send_once(url, body.clone()).await else { return Ok(()) };
            match pauses.next().filter(|_| error.may_pass()) {
                Some(pause) => sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    async fn send_once(&self, url: &SecretUrl, body: Body) -> Result<(), NotifyError> {
        let target = url.expose().clone();
        let request = match body {
            None => self.client.get(target),
            Some((kind, bytes)) => self.client.post(target).header(CONTENT_TYPE, kind).body(bytes),
        };
        match request.timeout(TRY_TIMEOUT).send().await.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(NotifyError::Status { url: url.clone(), status }),
            Err(error) => Err(NotifyError::Connection { url: url.clone(), why: why(error.without_url()) }),
        }
    }
}

/// Returns the innermost cause, which is the one that says something. The outer ones may repeat the address.
fn why(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TRY_TIMEOUT.as_secs());
    }
    causes(&error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// A URL of which any part but scheme and host may be a secret: user, path and query are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Returns the URL with all its secrets, for requests and not for messages.
    fn expose(&self) -> &Url {
        &self.0
    }

    /// Returns the URL with one more part at the end of its path; a query stays where it is.
    #[must_use]
    pub fn below(&self, part: &str) -> Self {
        let mut url = self.0.clone();
        // Only a URL without a host has no path to add to, and there is none here.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().push(part);
        }
        Self(url)
    }

    /// Says whether others can read on the way what is sent there: it is neither TLS nor this very machine.
    pub fn is_exposed(&self) -> bool {
        self.0.scheme() != "https" && !is_loopback(&self.0)
    }
}

impl FromStr for SecretUrl {
    type Err = String;

    /// Reads one; no message repeats the text.
    fn from_str(text: &str) -> Result<Self, String> {
        match Url::parse(text.trim()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Self(url)),
            Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
                Err("it must begin with https:// or http://".to_owned())
            }
            Err(error) => Err(format!("not a URL ({error})")),
        }
    }
}

impl fmt::Display for SecretUrl {
    /// Writes scheme and host only: `https://hooks.example.com/…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        self.0.port().iter().try_for_each(|port| write!(f, ":{port}"))?;
        f.write_str("/…")
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_that_may_be_a_secret_is_shown() {
        let url: SecretUrl =
            "https://user:hunter2@hooks.example.com:8443/hunter2?t=hunter2#hunter2".parse().unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "https://hooks.example.com:8443/… https://hooks.example.com:8443/…"
        );
    }

    #[test]
    fn what_is_no_url_is_not_repeated() {
        for text in ["hunter2", "ftp://hunter2", "https://", "https://hunter2:x y", "data:hunter2"] {
            let error = text.parse::<SecretUrl>().unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_part_goes_behind_the_path_and_before_the_query() {
        let below = |text: &str| text.parse::<SecretUrl>().unwrap().below("start").expose().to_string();
        assert_eq!(below("https://hc/ping/abc"), "https://hc/ping/abc/start");
        assert_eq!(below("https://hc/ping/abc/?rid=1"), "https://hc/ping/abc/start?rid=1");
        assert_eq!(below("https://hc"), "https://hc/start");
    }
}
