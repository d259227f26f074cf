//! The seam between FiFo's API and the network: everything above it is free of sockets, threads, clock and chance.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{HeaderMap, Method, StatusCode};
use std::error::Error;
use std::fmt;

/// Carries one request to FiFo and brings the answer back. It repeats nothing and follows no redirect.
pub trait Transport: Send + Sync {
    /// Sends a request, once, and returns when the answer's head is there.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>>;
}

#[derive(Clone)]
pub struct Request {
    /// GET, POST or DELETE.
    pub method: Method,
    /// Path and query: `/api/3/vms/…`.
    pub path: String,
    /// Every header that matters to FiFo; the transport adds `host` and `content-length`.
    pub headers: HeaderMap,
    /// The body, sent with its length, never in chunks.
    pub body: Option<Bytes>,
    /// Which connection may carry it.
    pub connection: Connection,
}

impl fmt::Debug for Request {
    /// Leaves the headers and the body out: they hold tokens and passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({:?})", self.method, self.path, self.connection)
    }
}

/// Which connection may carry a request.
///
/// FiFo closes a connection without a word after a 500, after 5 idle seconds, and after 100 requests. A read that is
/// lost to that is repeated; a write could not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// One that carried another request before, if there is one.
    Reused,
    /// A new one that carries nothing else, before or after.
    Fresh,
}

/// An answer: its head, and its body as it comes in.
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body. It ends with an error when the connection breaks before a promised length is reached; where no length
    /// was promised, a broken connection may look like an end.
    pub body: BoxStream<'static, Result<Bytes, TransportError>>,
}

/// A request that got no answer, or an answer that broke off.
#[derive(Debug, thiserror::Error)]
#[error("{}", match .kind {
    TransportErrorKind::NotSent => "failed to connect",
    TransportErrorKind::Untrusted => "failed to connect: the server's certificate is not trusted",
    TransportErrorKind::NotTls => "failed to connect: the server does not speak TLS",
    TransportErrorKind::NotHttp => "the server does not speak HTTP",
    TransportErrorKind::Lost => "the connection was lost",
})]
pub struct TransportError {
    kind: TransportErrorKind,
    source: Box<dyn Error + Send + Sync>,
}

/// What a [`TransportError`] says about the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportErrorKind {
    /// There was no connection: surely nothing reached FiFo.
    NotSent,
    /// There was no connection, since the server's certificate is not trusted: nothing reached FiFo, and trying again
    /// will not change that.
    Untrusted,
    /// There was no connection, since the server does not speak TLS: nothing reached FiFo.
    NotTls,
    /// The request was at least partly sent, and the answer is no HTTP.
    NotHttp,
    /// The request was at least partly sent: it may have been carried out or not.
    Lost,
}

impl TransportError {
    /// Makes one. `source` must hold no secret: it is shown to people.
    pub fn new(kind: TransportErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: source.into() }
    }

    /// Returns what it says about the request.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}
