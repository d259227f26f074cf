//! A store that speaks S3: LeoFS, Garage, Ceph, Amazon's own.
//!
//! Objects are addressed by path style, listed by version 1 of the list, and requests signed in a header: what LeoFS knows.

use super::object::{Body, Object, Result, Store, StoreError};
use super::sign::{AccessKey, Unsigned, encoded};
use crate::fifo::pauses;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use http::HeaderMap;
use http::header::{CONTENT_RANGE, ETAG, RETRY_AFTER};
use reqwest::{Client, Response};
use serde::Deserialize;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use url::Url;

/// The longest page of a list that is read. One of a thousand objects has some 400 KiB.
const PAGE_BYTES_MAX: usize = 16 << 20;
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The longest pause that a store may ask for (`Retry-After`).
const PAUSE_ASKED_MAX: Duration = Duration::from_secs(60);
/// How often a read is tried that is answered 500: an object that LeoFS cannot read stays so.
const SERVER_ERRORS_MAX: u32 = 3;

#[derive(Clone)]
pub struct S3Settings {
    pub endpoint: Url,
    pub region: String,
    pub bucket: String,
    /// What stands before every name; ends with a slash, unless it is empty.
    pub prefix: String,
    pub key: AccessKey,
    pub client: Client,
    /// How long a read may go without any progress, with everything that is tried again.
    pub timeout: Duration,
    /// The clock that requests are signed by.
    pub clock: fn() -> DateTime<Utc>,
}

pub struct S3(pub Arc<S3Settings>);

impl Store for S3 {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        each: &'a mut (dyn FnMut(Object) + Send),
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut prefixes = vec![format!("{}{prefix}", self.0.prefix)];
            while let Some(prefix) = prefixes.pop() {
                let mut marker = String::new();
                loop {
                    let page = self.0.page(&prefix, &marker).await?;
                    // Not asked for; a store that groups all the same is followed.
                    prefixes.extend(page.groups.into_iter().map(|group| group.prefix));
                    let last = page.contents.last().map(|object| object.key.clone());
                    for Content { key, size, last_modified } in page.contents {
                        let Some(name) = key.strip_prefix(&self.0.prefix) else { continue };
                        let modified = DateTime::parse_from_rfc3339(&last_modified).ok();
                        let modified = modified.map(|at| at.to_utc());
                        each(Object { name: name.to_owned(), size_bytes: size, modified });
                    }
                    if !page.is_truncated {
                        break;
                    }
                    let next = page.next_marker.filter(|next| !next.is_empty()).or(last);
                    marker = next.filter(|next| *next != marker).ok_or_else(|| StoreError::Wrong {
                        doing: LISTING.to_owned(),
                        why: "it says that there is more, and not where".to_owned(),
                    })?;
                }
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, name: &'a str, range: Range<u64>) -> BoxFuture<'a, Result<Body>> {
        Box::pin(async move {
            let s3 = Arc::clone(&self.0);
            let mut fetch = Fetch { s3, name: name.to_owned(), range, etag: None, body: None, cuts: 0 };
            fetch.open().await?;
            let pieces = stream::try_unfold(fetch, |mut fetch| async move {
                let piece = fetch.next().await?;
                Ok(piece.map(|piece| (piece, fetch)))
            });
            Ok(pieces.boxed())
        })
    }
}

const LISTING: &str = "list the store";

/// A read of an object that goes on where its connection broke.
struct Fetch {
    s3: Arc<S3Settings>,
    name: String,
    /// What is still to come.
    range: Range<u64>,
    /// Of the first answer: the others have to be of the same object.
    etag: Option<String>,
    body: Option<stream::BoxStream<'static, reqwest::Result<Bytes>>>,
    /// How often it broke without a byte in between.
    cuts: u32,
}

impl Fetch {
    async fn open(&mut self) -> Result<()> {
        if self.range.is_empty() {
            return Ok(());
        }
        let doing = format!("read {}", self.name);
        let (s3, range, name) = (Arc::clone(&self.s3), self.range.clone(), self.name.clone());
        let (path, etag) = (s3.path(&name), self.etag.clone());
        let answer = s3
            .retrying(|| async {
                let mut headers = vec![("range", format!("bytes={}-{}", range.start, range.end - 1))];
                headers.extend(etag.clone().map(|etag| ("if-match", etag)));
                let answer = s3.send(&doing, &path, "", headers).await?;
                let wrong = |why: &str| StoreError::Wrong { doing: doing.clone(), why: why.to_owned() };
                match answer.status().as_u16() {
                    206 if starts_at(answer.headers(), range.start) => Ok(answer),
                    206 => Err(wrong("the store answered with another range than was asked for")),
                    // It does not know ranges.
                    200 if range.start == 0 => Ok(answer),
                    200 => Err(wrong("the store answered with the whole object where a part was asked for")),
                    404 => Err(StoreError::Missing(name.clone())),
                    412 | 416 => Err(StoreError::Changed(name.clone())),
                    _ => Err(refused(&doing, answer).await),
                }
            })
            .await?;
        let etag = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok());
        self.etag = self.etag.take().or(etag.filter(|etag| etag.starts_with('"')).map(str::to_owned));
        self.body = Some(answer.bytes_stream().boxed());
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let left = self.range.end.saturating_sub(self.range.start);
            if left == 0 {
                return Ok(None);
            }
            let piece = match &mut self.body {
                Some(body) => body.next().await,
                None => None,
            };
            let why = match piece {
                Some(Ok(mut piece)) => {
                    piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    if !piece.is_empty() {
                        self.cuts = 0;
                    }
                    self.range.start += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Some(Err(error)) => last_cause(error),
                None => "the answer ended early".to_owned(),
            };
            self.cuts += 1;
            if self.cuts > CUTS_MAX {
                return Err(StoreError::Lost { doing: format!("read {}", self.name), why });
            }
            sleep(PAUSE_FIRST * self.cuts).await;
            self.open().await?;
        }
    }
}

/// How often in a row a body may break off without a byte.
const CUTS_MAX: u32 = 5;

impl S3Settings {
    /// Returns the path of an object of the bucket, or of the bucket itself, encoded.
    fn path(&self, name: &str) -> String {
        let base = self.endpoint.path().trim_end_matches('/');
        let key = if name.is_empty() { String::new() } else { format!("{}{name}", self.prefix) };
        format!("{base}/{}/{}", self.bucket, encoded(&key, true))
    }

    async fn page(&self, prefix: &str, marker: &str) -> Result<Page> {
        let query = [("marker", marker), ("max-keys", "1000"), ("prefix", prefix)];
        let query = query.map(|(name, value)| format!("{name}={}", encoded(value, false))).join("&");
        let path = self.path("");
        self.retrying(|| async {
            let answer = self.send(LISTING, &path, &query, Vec::new()).await?;
            match answer.status().as_u16() {
                200 => {}
                404 => return Err(StoreError::Missing(format!("bucket {}", self.bucket))),
                _ => return Err(refused(LISTING, answer).await),
            }
            let text = body(LISTING, answer, PAGE_BYTES_MAX).await?;
            Page::read(&text)
        })
        .await
    }

    async fn send(
        &self,
        doing: &str,
        path: &str,
        query: &str,
        headers: Vec<(&'static str, String)>,
    ) -> Result<Response> {
        let wrong = |why: &str| StoreError::Wrong { doing: doing.to_owned(), why: why.to_owned() };
        let mut url = self.endpoint.clone();
        url.set_path(path);
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        let host = self.endpoint.host_str().ok_or_else(|| wrong("its address has no host"))?;
        let host = self.endpoint.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let unsigned = Unsigned { host: &host, path, query, headers };
        let headers = self.key.sign((self.clock)(), &self.region, &unsigned);
        let headers =
            headers.ok_or_else(|| wrong("the access key contains a character that HTTP does not allow"))?;
        let lost = |error| StoreError::Lost { doing: doing.to_owned(), why: last_cause(error) };
        self.client.get(url).headers(headers).send().await.map_err(lost)
    }

    /// Tries until it succeeds, fails for good, or the time is over.
    async fn retrying<T, F: Future<Output = Result<T>>>(&self, mut attempt: impl FnMut() -> F) -> Result<T> {
        let started = Instant::now();
        let seed = (self.clock)().timestamp_micros().unsigned_abs();
        let mut server_errors = 0;
        for pause in pauses(PAUSE_FIRST, PAUSE_MAX, seed) {
            let error = match attempt().await {
                Err(error) if error.passes() => error,
                ended => return ended,
            };
            server_errors += u32::from(matches!(error, StoreError::Status { status: 500, .. }));
            let is_over = started.elapsed() + pause >= self.timeout || server_errors >= SERVER_ERRORS_MAX;
            if is_over {
                return Err(error);
            }
            tracing::debug!(?pause, "{error}; trying again");
            sleep(pause).await;
        }
        Err(StoreError::Lost { doing: "read the store".to_owned(), why: "no time for it".to_owned() })
    }
}

fn starts_at(headers: &HeaderMap, start: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let first = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
    first == Some(start)
}

/// Waits as long as the store asks for, and makes an error of its answer.
async fn refused(doing: &str, answer: Response) -> StoreError {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Refusal {
        #[serde(rename = "Code")]
        code: String,
    }
    let status = answer.status().as_u16();
    let asked = answer.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
    let text = body(doing, answer, 64 << 10).await.unwrap_or_default();
    let Refusal { code } = quick_xml::de::from_str(&text).unwrap_or_default();
    let is_word = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if let Some(secs) = asked {
        sleep(Duration::from_secs(secs).min(PAUSE_ASKED_MAX)).await;
    }
    let code = if is_word { code } else { String::new() };
    StoreError::Status { doing: doing.to_owned(), status, code }
}

async fn body(doing: &str, answer: Response, bytes_max: usize) -> Result<String> {
    let (mut pieces, mut text) = (answer.bytes_stream(), Vec::new());
    while let Some(piece) = pieces.next().await {
        let lost = |error| StoreError::Lost { doing: doing.to_owned(), why: last_cause(error) };
        text.extend_from_slice(&piece.map_err(lost)?);
        if text.len() > bytes_max {
            let why = format!("the answer is longer than {bytes_max} bytes");
            return Err(StoreError::Wrong { doing: doing.to_owned(), why });
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Names what is at the bottom of an error, without the address.
fn last_cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    crate::fifo::causes(&error).last().map_or_else(String::new, ToString::to_string)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    is_truncated: bool,
    next_marker: Option<String>,
    #[serde(default)]
    contents: Vec<Content>,
    #[serde(default, rename = "CommonPrefixes")]
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    key: String,
    size: u64,
    #[serde(default)]
    last_modified: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Group {
    prefix: String,
}

impl Page {
    fn read(text: &str) -> Result<Self> {
        // An answer that broke off may be whole next time.
        let lost = |why: String| StoreError::Lost { doing: LISTING.to_owned(), why };
        if !text.contains("<ListBucketResult") || !text.trim_end().ends_with("</ListBucketResult>") {
            return Err(lost("the answer is no whole list of a bucket".to_owned()));
        }
        quick_xml::de::from_str(text).map_err(|error| lost(format!("the list cannot be read: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_whole_or_not_at_all() {
        let page = |text: &str| Page::read(text);
        let whole = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Name>b</Name><IsTruncated>true</IsTruncated>\
            <Contents><Key>a&amp;b/1</Key><LastModified>2026-11-30T10:00:00.000Z</LastModified><Size>7</Size>\
            <Owner><ID>x</ID></Owner></Contents><CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>\
            <Contents><Key>a/2</Key><Size>8</Size></Contents></ListBucketResult>";
        let read = page(whole).unwrap();
        let keys: Vec<(&str, u64)> = read.contents.iter().map(|it| (&*it.key, it.size)).collect();
        assert_eq!((keys, read.is_truncated), (vec![("a&b/1", 7), ("a/2", 8)], true));
        assert_eq!(read.groups[0].prefix, "c/");
        for cut in [&whole[..whole.len() - 1], "", "<html></html>"] {
            assert!(page(cut).unwrap_err().passes(), "{cut}");
        }
    }
}
