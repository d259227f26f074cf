//! The real network below the client: one [`Transport`], made with reqwest.

use super::endpoint::{Endpoint, is_loopback};
use super::transport::{Connection, Request, Response, Transport, TransportError, TransportErrorKind};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use reqwest::{Certificate, Client, ClientBuilder};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// FiFo closes a connection that was idle for 5 s; a request that crosses the close is lost.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// What can be set about the connection to FiFo.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// A PEM file with certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Uses TLS without checking who answers. Anybody on the way can then read the token.
    pub insecure: bool,
    /// How long the server may stay silent, before its answer and within it.
    pub idle_timeout: Duration,
}

impl Default for HttpOptions {
    /// Trusts what the system trusts, and treats a minute of silence as a broken connection.
    fn default() -> Self {
        Self { ca_file: None, insecure: false, idle_timeout: Duration::from_secs(60) }
    }
}

/// Why a transport could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum HttpSetupError {
    /// The CA file could not be read.
    #[error("failed to read the CA file {}", path.display())]
    CaFile { path: PathBuf, source: io::Error },
    /// The CA file holds no certificate.
    #[error("the CA file {} contains no certificate: expected PEM with BEGIN CERTIFICATE", path.display())]
    NoCertificate { path: PathBuf },
    /// TLS could not be set up, most often since the system has no certificates installed, or since one of the CA
    /// file's is none.
    #[error("failed to set up TLS: if the system has no CA certificates, install them or set a CA file")]
    Tls(#[source] reqwest::Error),
}

/// Speaks HTTP/1.1 to one FiFo, follows no redirect, asks for no compression, repeats nothing.
///
/// `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are honoured, since a FiFo may be reachable in no other way, except for a
/// FiFo on this machine. Mind that a proxy which inspects requests is just what may drop the body of a DELETE: the
/// canary of [`crate::apply`] is there for that.
pub struct HttpTransport {
    endpoint: Endpoint,
    reused: Client,
    fresh: Client,
}

impl HttpTransport {
    /// Makes one; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When the CA file cannot be read or holds no certificate, or the system has no certificates at all.
    pub fn new(endpoint: &Endpoint, options: &HttpOptions) -> Result<Self, HttpSetupError> {
        install_crypto();
        let certificates = match &options.ca_file {
            None => Vec::new(),
            Some(path) => ca_certificates(path.clone())?,
        };
        let client = |max_idle: usize| {
            let builder = builder(endpoint.is_loopback())
                .pool_max_idle_per_host(max_idle)
                .pool_idle_timeout(POOL_IDLE_TIMEOUT)
                .read_timeout(options.idle_timeout);
            trusting(builder, endpoint.is_https(), options.insecure, &certificates)
                .build()
                .map_err(HttpSetupError::Tls)
        };
        Ok(Self { endpoint: endpoint.clone(), reused: client(usize::MAX)?, fresh: client(0)? })
    }
}

/// Makes ring the process's provider of cryptography for TLS, unless another one has been installed already.
pub fn install_crypto() {
    // The error says that there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Makes a client for notifications and pings, with the same TLS: the system's certificates
/// and those of a CA file. It follows no redirect, so that no secret goes anywhere but where it was meant to go, and
/// never leaves certificates unchecked: `--insecure` is about FiFo.
///
/// # Errors
///
/// When the CA file cannot be read or holds no certificate, or the system has no certificates at all.
pub fn outward_client(url: &Url, ca_file: Option<PathBuf>) -> Result<Client, HttpSetupError> {
    install_crypto();
    let certificates = ca_file.map_or_else(|| Ok(Vec::new()), ca_certificates)?;
    let builder = builder(is_loopback(url))
        .pool_max_idle_per_host(0)
        .user_agent(concat!("fifo-retain/", env!("CARGO_PKG_VERSION")));
    trusting(builder, url.scheme() == "https", false, &certificates).build().map_err(HttpSetupError::Tls)
}

/// Returns what all clients have in common: HTTP/1.1, without redirects, repetitions and, on this machine, proxies.
fn builder(is_loopback: bool) -> ClientBuilder {
    let builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only();
    if is_loopback { builder.no_proxy() } else { builder }
}

fn trusting(
    builder: ClientBuilder,
    is_https: bool,
    insecure: bool,
    certificates: &[Certificate],
) -> ClientBuilder {
    if !is_https {
        // The system's certificates are not even loaded: a container without any can still speak plain HTTP.
        builder.tls_certs_only([])
    } else if insecure {
        builder.tls_danger_accept_invalid_certs(true)
    } else {
        builder.tls_certs_merge(certificates.iter().cloned())
    }
}

fn ca_certificates(path: PathBuf) -> Result<Vec<Certificate>, HttpSetupError> {
    let pem = match fs::read(&path) {
        Ok(pem) => pem,
        Err(source) => return Err(HttpSetupError::CaFile { path, source }),
    };
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(HttpSetupError::NoCertificate { path }),
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        async move {
            let url = self
                .endpoint
                .url(&request.path)
                .map_err(|error| TransportError::new(TransportErrorKind::NotSent, error))?;
            let client = match request.connection {
                Connection::Reused => &self.reused,
                Connection::Fresh => &self.fresh,
            };
            let mut building = client.request(request.method, url).headers(request.headers);
            if let Some(body) = request.body {
                building = building.body(body);
            }
            let answer = building.send().await.map_err(transport_error)?;
            Ok(Response {
                status: answer.status(),
                headers: answer.headers().clone(),
                body: answer.bytes_stream().map(|chunk| chunk.map_err(transport_error)).boxed(),
            })
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
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
