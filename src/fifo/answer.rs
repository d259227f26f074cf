//! What the headers and bodies of answers have in common.

use super::error::{FifoError, UnreadableAnswer};
use super::retry::{FailedAttempt, RetryRule};
use super::transport::Response;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use http::header::{DATE, ETAG, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// Names one version of one VM; goes back in `If-Match`, so that nothing is done to a VM that has changed meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(HeaderValue);

impl ETag {
    /// Takes an answer's ETag, if it has one that can be used.
    ///
    /// A weak one cannot: a proxy on the way has made it so, and `If-Match` would never hold.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(ETAG)?;
        value.as_bytes().starts_with(b"\"").then(|| Self(value.clone()))
    }

    /// Returns it as it goes into `If-Match`.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Reads the server's clock from an answer, to the second.
pub(super) fn server_date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    date(headers.get(DATE)?.to_str().ok()?)
}

/// Reads how long FiFo asks us to wait. A date is taken against the server's own, since ours may differ.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = text(headers, &RETRY_AFTER)?;
    match text.parse() {
        Ok(secs) => Some(Duration::from_secs(secs)),
        Err(_) => (date(text)? - server_date(headers)?).to_std().ok(),
    }
}

/// Returns a header's value, where it is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

/// Reads a body whole, up to a limit.
pub(super) async fn whole_body(
    doing: &str,
    endpoint: String,
    response: Response,
    limit_bytes: usize,
) -> Result<Vec<u8>, FailedAttempt> {
    let mut stream = response.body;
    let mut body = Vec::new();
    loop {
        match stream.try_next().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() <= limit_bytes => body.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                let source = UnreadableAnswer::TooLong { limit_bytes };
                return Err(unreadable(doing, RetryRule::Never, source));
            }
            Err(error) => return Err(FailedAttempt::of_connection(doing, endpoint, error)),
        }
    }
}

/// Makes the failure of an attempt of which the answer's body is wrong.
pub(super) fn unreadable(doing: &str, retry: RetryRule, source: UnreadableAnswer) -> FailedAttempt {
    FailedAttempt {
        error: FifoError::Unreadable { doing: doing.to_owned(), source },
        retry,
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn dates_are_read_as_http_writes_them() {
        let date = server_date(&headers(&[(DATE, "Sun, 22 Nov 2026 21:36:46 GMT")]));
        assert_eq!(date.unwrap().to_rfc3339(), "2026-11-22T21:36:46+00:00");
        assert_eq!(server_date(&headers(&[(DATE, "yesterday")])), None);
        assert_eq!(server_date(&headers(&[])), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_clock() {
        assert_eq!(retry_after(&headers(&[(RETRY_AFTER, "7")])), Some(Duration::from_secs(7)));
        let dated = [(RETRY_AFTER, "Sun, 22 Nov 2026 21:37:46 GMT"), (DATE, "Sun, 22 Nov 2026 21:36:46 GMT")];
        assert_eq!(retry_after(&headers(&dated)), Some(Duration::from_secs(60)));
        assert_eq!(retry_after(&headers(&dated[..1])), None);
        assert_eq!(retry_after(&headers(&[(RETRY_AFTER, "-7")])), None);
    }

    #[test]
    fn a_weak_etag_is_none() {
        assert!(ETag::of(&headers(&[(ETAG, "\"abc==\"")])).is_some());
        assert!(ETag::of(&headers(&[(ETAG, "W/\"abc==\"")])).is_none());
        assert!(ETag::of(&headers(&[])).is_none());
    }
}
