//! A small read-only HTTP server.
//!
//! `desk` is the page on which policies are tried, `vm` that of one VM.
//!
//! It is meant for a loopback address or a network of friends, and is safe to leave open to a slow, large or many-armed
//! client all the same: what a client may send and how long it may take are bounded, and nothing that it does holds up
//! what is being done beside it.
//!
//! It stands on hyper alone: three fixed paths need no router, and the bounds have to be set below one anyway.

pub mod desk;
pub(super) mod vm;

use crate::report::Failure;
use crate::report::html::BROWSER_MAY;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
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

const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may live in all: each is for one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How many bytes a request's head may have; hyper answers 431 beyond that.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// How many connections there may be at a time; others wait for a place.
const CONNECTIONS_MAX: usize = 128;
/// How many bytes may be sent to a site that takes any: a policy is far smaller.
const BODY_BYTES_MAX: usize = 256 << 10;
/// What is sent must be of this type, which a page from elsewhere cannot send unasked.
const BODY_TYPE: &str = "application/yaml";

type Site = dyn Fn(Asked) -> BoxFuture<'static, Option<Answer>> + Send + Sync;

#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) query: String,
    /// What the client says it takes.
    pub(super) accept: Option<String>,
    /// What it sends; `None` where it only reads.
    pub(super) sent: Option<Bytes>,
}

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
    /// address counts that can be listened on. With `takes_any` it takes what is posted. `seen` is what it shows.
    pub(super) async fn start(
        address: &str,
        takes_any: bool,
        seen: &str,
        site: impl Fn(Asked) -> BoxFuture<'static, Option<Answer>> + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let cannot = |error: io::Error| {
            Failure::new(format!("failed to listen on {address}"))
                .because(error)
                .hint("is another process listening there? name another address with --listen")
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        if !address.ip().is_loopback() {
            tracing::warn!("{address} can be reached from other machines, which can then see {seen}");
        }
        Ok(Self { address, task: tokio::spawn(serve(listener, takes_any, Arc::new(site))) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, takes_any: bool, site: Arc<Site>) {
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
                    let _ =
                        tokio::time::timeout(CONNECTION_TIMEOUT, connection(stream, takes_any, site)).await;
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

async fn connection(stream: TcpStream, takes_any: bool, site: Arc<Site>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(respond(request, takes_any, site.as_ref()).await) }
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

async fn respond(request: Request<Incoming>, takes_any: bool, site: &Site) -> Response<Full<Bytes>> {
    let plain = "text/plain; charset=utf-8";
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let asked = Asked {
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        accept: header(ACCEPT),
        sent: None,
    };
    let asked = match *request.method() {
        Method::GET | Method::HEAD => asked,
        Method::POST if takes_any && header(CONTENT_TYPE).as_deref() != Some(BODY_TYPE) => {
            return made(StatusCode::UNSUPPORTED_MEDIA_TYPE, plain, format!("only {BODY_TYPE}\n"));
        }
        Method::POST if takes_any => {
            match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
                Ok(body) => Asked { sent: Some(body.to_bytes()), ..asked },
                Err(_) => {
                    let limit = format!("no more than {} KiB\n", BODY_BYTES_MAX >> 10);
                    return made(StatusCode::PAYLOAD_TOO_LARGE, plain, limit);
                }
            }
        }
        _ => {
            let mut response = made(StatusCode::METHOD_NOT_ALLOWED, plain, "only GET and HEAD\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
    };
    match site(asked).await {
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
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    // The head of a page cannot forbid frames.
    if let Ok(policy) = HeaderValue::try_from(format!("{}; frame-ancestors 'none'", *BROWSER_MAY)) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[cfg(test)]
mod tests;
