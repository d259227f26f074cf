//! The seam between FiFo's API and the network: everything above it is free of sockets, threads, clock and chance.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Carries one request to FiFo and brings the answer back. It repeats nothing and follows no redirect.
pub trait Transport: Send + Sync {
    /// Sends a request, once, and returns when the answer's head is there. It adds `host` and `content-length`.
    fn send(&self, request: Request, connection: Connection) -> BoxFuture<'_, Sent>;
}

/// A GET, POST or DELETE with every header that matters to FiFo. Its URI is path and query alone: `/api/3/vms/…`.
pub type Request = http::Request<Payload>;

/// An answer: its head, and its body as it comes in.
///
/// The body ends with an error when the connection breaks before a promised length is reached; where no length was
/// promised, a broken connection may look like an end.
pub type Response = http::Response<BoxStream<'static, Result<Bytes, TransportError>>>;

pub(super) type Sent = Result<Response, TransportError>;

/// The body of a request, sent with its length, never in chunks. An empty one is none: then no length is sent either.
#[derive(Clone, Default)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    /// Leaves the bytes out: one body holds the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// FiFo closes a connection without a word after a 500, after 5 idle seconds, and after 100 requests. A read that is
/// lost to that is repeated; a write could not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// One that carried another request before, if there is one.
    Reused,
    /// A new one that carries nothing else, before or after.
    Fresh,
}

/// A request that got no answer, or an answer that broke off.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind}")]
pub struct TransportError {
    kind: TransportErrorKind,
    source: Arc<dyn Error + Send + Sync>,
}

/// What a [`TransportError`] says about the request. Only after the last two may it have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportErrorKind {
    #[error("failed to connect")]
    NotSent,
    /// Trying again does not change it.
    #[error("failed to connect: the server's certificate is not trusted")]
    Untrusted,
    #[error("failed to connect: the server does not speak TLS")]
    NotTls,
    #[error("the server does not speak HTTP")]
    NotHttp,
    #[error("the connection was lost")]
    Lost,
}

impl TransportError {
    /// Makes one. `source` must hold no secret: it is shown to people.
    pub fn new(kind: TransportErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: source.into().into() }
    }

    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}
