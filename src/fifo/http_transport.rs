//! The real network below the client: one [`Transport`], made with reqwest.

use super::endpoint::{Endpoint, is_loopback};
use super::pin::{self, CertificatePin};
use super::transport::{Connection, Payload, Request, Sent, Transport, TransportError, TransportErrorKind};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http_body_util::BodyExt as _;
use reqwest::{Certificate, Client, ClientBuilder};
use std::error::Error;
use std::iter::successors;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// FiFo closes a connection that was idle for 5 s; a request that crosses the close is lost.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Clone, Debug)]
pub struct HttpOptions {
    pub ca_file: Option<PathBuf>,
    /// The only certificate to trust, whatever is in it; the others count for nothing then.
    pub pin: Option<CertificatePin>,
    /// Uses TLS without checking who answers: anyone on the way can then read the token.
    pub insecure: bool,
    /// How long the server may stay silent, before its answer and within it.
    pub idle_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { ca_file: None, pin: None, insecure: false, idle_timeout: Duration::from_secs(60) }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum HttpSetupError {
    #[error("failed to read the CA file {}", path.display())]
    CaFile { path: PathBuf, source: io::Error },
    #[error("the CA file {} contains no certificate: expected PEM with BEGIN CERTIFICATE", path.display())]
    NoCertificate { path: PathBuf },
    #[error("failed to set up TLS: if the system has no CA certificates, install them or set a CA file")]
    Tls(#[source] reqwest::Error),
}

/// Speaks HTTP/1.1 to one FiFo, follows no redirect, asks for no compression, repeats nothing.
///
/// `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are honoured, except for a FiFo on this machine. A proxy may drop the body of
/// a DELETE, which [`crate::apply`] has to find out.
pub struct HttpTransport {
    endpoint: Endpoint,
    reused: Client,
    fresh: Client,
}

impl HttpTransport {
    pub fn new(endpoint: &Endpoint, options: &HttpOptions) -> Result<Self, HttpSetupError> {
        let client = |max_idle| {
            builder(endpoint.as_url(), options)?
                .pool_max_idle_per_host(max_idle)
                .pool_idle_timeout(POOL_IDLE_TIMEOUT)
                .read_timeout(options.idle_timeout)
                .build()
                .map_err(HttpSetupError::Tls)
        };
        Ok(Self { endpoint: endpoint.clone(), reused: client(usize::MAX)?, fresh: client(0)? })
    }
}

/// Makes ring the process's provider of cryptography for TLS, unless another one has been installed already.
pub fn install_crypto() {
    // The error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Makes a client for notifications and pings. It always checks certificates: `--insecure` is about FiFo. It follows no
/// redirect, so that no secret goes elsewhere.
pub fn outward_client(url: &Url, ca_file: Option<&Path>) -> Result<Client, HttpSetupError> {
    let ca_file = ca_file.map(Path::to_owned);
    builder(url, &HttpOptions { ca_file, ..HttpOptions::default() })?
        .pool_max_idle_per_host(0)
        .user_agent(concat!("fifo-retain/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(HttpSetupError::Tls)
}

/// Makes a client for the backup storage: like the one for notifications, but connections are used again.
pub fn storage_client(
    url: &Url,
    ca_file: Option<&Path>,
    idle_timeout: Duration,
) -> Result<Client, HttpSetupError> {
    let ca_file = ca_file.map(Path::to_owned);
    builder(url, &HttpOptions { ca_file, ..HttpOptions::default() })?
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .read_timeout(idle_timeout)
        .user_agent(concat!("fifo-retain/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(HttpSetupError::Tls)
}

/// Begins a client: HTTP/1.1, without redirects, repetitions and, on this machine, proxies.
fn builder(url: &Url, options: &HttpOptions) -> Result<ClientBuilder, HttpSetupError> {
    install_crypto();
    let builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only();
    let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
    let certificates = options.ca_file.as_deref().map_or_else(|| Ok(Vec::new()), ca_certificates)?;
    Ok(match options.pin {
        // The system's certificates are not even loaded: a container without any can still speak plain HTTP.
        _ if url.scheme() != "https" => builder.tls_certs_only([]),
        Some(pin) => builder.tls_backend_preconfigured(pin::client_config(pin)),
        None if options.insecure => builder.tls_danger_accept_invalid_certs(true),
        None => builder.tls_certs_merge(certificates),
    })
}

fn ca_certificates(path: &Path) -> Result<Vec<Certificate>, HttpSetupError> {
    let pem = fs::read(path).map_err(|source| HttpSetupError::CaFile { path: path.to_owned(), source })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(HttpSetupError::NoCertificate { path: path.to_owned() }),
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: Request, connection: Connection) -> BoxFuture<'_, Sent> {
        async move {
            let (head, Payload(body)) = request.into_parts();
            let url = self.endpoint.as_url().join(&head.uri.to_string());
            let url = url.map_err(|error| TransportError::new(TransportErrorKind::NotSent, error))?;
            let client = match connection {
                Connection::Reused => &self.reused,
                Connection::Fresh => &self.fresh,
            };
            let mut building = client.request(head.method, url).headers(head.headers);
            if !body.is_empty() {
                building = building.body(body);
            }
            let answer = http::Response::from(building.send().await.map_err(transport_error)?);
            Ok(answer.map(|body| body.into_data_stream().map(|chunk| chunk.map_err(transport_error)).boxed()))
        }
        .boxed()
    }
}

fn transport_error(error: reqwest::Error) -> TransportError {
    let kind = match cause::<rustls::Error>(&error) {
        Some(rustls::Error::InvalidCertificate(_)) => TransportErrorKind::Untrusted,
        Some(rustls::Error::InvalidMessage(_)) if error.is_connect() => TransportErrorKind::NotTls,
        _ if error.is_connect() || error.is_builder() => TransportErrorKind::NotSent,
        _ if cause::<hyper::Error>(&error).is_some_and(hyper::Error::is_parse) => TransportErrorKind::NotHttp,
        _ => TransportErrorKind::Lost,
    };
    TransportError::new(kind, error.without_url())
}

/// Looks for a certain kind of error among the causes: an [`io::Error`] hides what it wraps from [`Error::source`].
fn cause<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let inner = |&error: &&'e (dyn Error + 'static)| match error.downcast_ref().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner as &(dyn Error + 'static)),
        None => error.source(),
    };
    successors(Some(error), inner).find_map(|error| error.downcast_ref())
}
