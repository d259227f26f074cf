//! A small read-only HTTP server.
//!
//! It is meant for a loopback address or a network of friends, and is safe to leave open to a slow, large or many-armed
//! client all the same: what a client may send and how long it may take are bounded, and nothing that it does holds up
//! what is being done beside it.
//!
//! It stands on hyper alone: three fixed paths need no router, and the bounds have to be set below one anyway.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// How long a client may take for its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may live in all: each is for one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How many bytes a request's head may have; hyper answers 431 beyond that.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How many headers there may be among these.
const HEADERS_MAX: usize = 64;
/// How many connections there may be at a time; others wait for a place.
const CONNECTIONS_MAX: usize = 128;
/// What a browser may do with what comes from here: apply the style that is in it, and nothing else.
const BROWSER_MAY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers for a path, at once; `None` where there is nothing. The second text is what the client says it takes.
type Site = dyn Fn(&str, Option<&str>) -> Option<Answer> + Send + Sync;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whether all is well: 200, else 503.
    pub(super) is_well: bool,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Begins to serve a site, on the runtime it is called on. With port 0 the system chooses one. Of a host's name the first
    /// address counts that can be listened on.
    pub(super) async fn start(
        address: &str,
        site: impl Fn(&str, Option<&str>) -> Option<Answer> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, task: tokio::spawn(serve(listener, Arc::new(site))) })
    }

    /// Returns the address that it listens on.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, site: Arc<Site>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        // Never closed, so there is always a place in the end.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let site = Arc::clone(&site);
                connections.spawn(async move {
                    // How a connection ends matters to nothing else.
                    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection(stream, site)).await;
                    drop(place);
                });
            }
            // Too many open files, most likely: that passes.
            Err(error) => {
                tracing::debug!("failed to accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, site: Arc<Site>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(&request, site.as_ref());
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn respond<B>(request: &Request<B>, site: &Site) -> Response<Full<Bytes>> {
    let plain = "text/plain; charset=utf-8";
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = made(StatusCode::METHOD_NOT_ALLOWED, plain, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    match site(request.uri().path(), accept) {
        None => made(StatusCode::NOT_FOUND, plain, "there is nothing here\n".to_owned()),
        Some(Answer { is_well, content_type, body }) => {
            made(if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, content_type, body)
        }
    }
}

fn made(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, BROWSER_MAY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
