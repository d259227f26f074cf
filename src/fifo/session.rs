//! What reading and writing have in common: the headers, the token, and signing in again once.

use super::auth::{Auth, Token};
use super::client::Settings;
use super::error::FifoError;
use super::retry::{Failure, retrying};
use super::transport::{Request, Response, Transport, TransportError};
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderName, HeaderValue};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How the API before 2016 wants the token.
const X_SNARL_TOKEN: HeaderName = HeaderName::from_static("x-snarl-token");

const US: HeaderValue = HeaderValue::from_static(concat!("fifo-retain/", env!("CARGO_PKG_VERSION")));

pub(super) struct Session {
    pub(super) settings: Settings,
    pub(super) auth: Auth,
    transport: Arc<dyn Transport>,
    /// How many reads there were, so that each has pauses of its own.
    reads: AtomicU64,
}

impl Session {
    pub(super) fn new(transport: Arc<dyn Transport>, settings: Settings) -> Self {
        let auth = Auth::new(
            Arc::clone(&transport),
            settings.endpoint.clone(),
            settings.api,
            settings.credentials.clone(),
        );
        Self { settings, auth, transport, reads: AtomicU64::new(0) }
    }

    /// Gives the part of every path that all have in common.
    pub(super) fn base(&self) -> String {
        format!("/api/{}", self.settings.api.as_str())
    }

    /// Completes a request and sends it, once.
    pub(super) async fn send(
        &self,
        mut request: Request,
        token: &Token,
    ) -> Result<Result<Response, TransportError>, FifoError> {
        let headers = &mut request.headers;
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, US);
        headers.insert(AUTHORIZATION, token.header("Bearer ")?);
        if self.settings.api.wants_snarl_token() {
            headers.insert(X_SNARL_TOKEN, token.header("")?);
        }
        Ok(self.transport.send(request).await)
    }

    /// Repeats what fails for a while, as the settings say.
    pub(super) async fn retrying<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        doing: &str,
        attempt: impl FnMut(u32) -> F,
    ) -> Result<T, FifoError> {
        let seed = self.settings.jitter_seed.wrapping_add(self.reads.fetch_add(1, Ordering::Relaxed));
        retrying(doing, self.settings.read_timeout, self.settings.pauses, seed, attempt).await
    }
}
