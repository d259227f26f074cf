//! Addresses that are secrets themselves.

use crate::fifo::is_loopback;
use std::fmt;
use std::str::FromStr;
use url::Url;

/// A URL of which any part but scheme and host may be a secret: user, path and query are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

/// Why a text is no [`SecretUrl`]. No message repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    #[error("not a URL ({0})")]
    NotAUrl(url::ParseError),
    /// It begins with something other than `http` or `https`.
    #[error("it must begin with https:// or http://")]
    Scheme,
}

impl SecretUrl {
    /// Returns the URL with all its secrets, for requests and not for messages.
    pub(super) fn expose(&self) -> &Url {
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
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        match Url::parse(text.trim()) {
            Err(url::ParseError::RelativeUrlWithoutBase) => Err(BadUrl::Scheme),
            Err(error) => Err(BadUrl::NotAUrl(error)),
            Ok(url) if !matches!(url.scheme(), "http" | "https") => Err(BadUrl::Scheme),
            Ok(url) => Ok(Self(url)),
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
            let error = text.parse::<SecretUrl>().unwrap_err().to_string();
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
