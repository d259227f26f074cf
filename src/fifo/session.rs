//! What reading and writing have in common: the headers, the token, and signing in again once.

use super::auth::{Auth, Token};
use super::client::Settings;
use super::error::FifoError;
use super::retry::{Failure, retrying};
use super::transport::{Request, Response, Transport, TransportError};
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderName, HeaderValue};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tracing::warn;

/// How the API before 2016 wants the token.
const X_SNARL_TOKEN: HeaderName = HeaderName::from_static("x-snarl-token");

const US: HeaderValue = HeaderValue::from_static(concat!("fifo-retain/", env!("CARGO_PKG_VERSION")));

/// After so many cut lists in a row it is believed that FiFo cuts every one.
const CUTS_BELIEVED: u32 = 2;

pub(super) struct Session {
    pub(super) settings: Settings,
    pub(super) auth: Auth,
    transport: Arc<dyn Transport>,
    /// How many reads there were, so that each has pauses of its own.
    reads: AtomicU64,
    /// How many full lists were cut one after the other. At [`CUTS_BELIEVED`] it stays.
    lists_cut_in_row: AtomicU32,
}

impl Session {
    pub(super) fn new(transport: Arc<dyn Transport>, settings: Settings) -> Self {
        let auth = Auth::new(Arc::clone(&transport), &settings);
        Self { settings, auth, transport, reads: AtomicU64::new(0), lists_cut_in_row: AtomicU32::new(0) }
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

    /// Says whether full lists are cut every time, so that VMs have to be read one by one.
    pub(super) fn lists_are_cut(&self) -> bool {
        self.lists_cut_in_row.load(Ordering::SeqCst) >= CUTS_BELIEVED
    }

    /// Takes note of a full list that came whole.
    pub(super) fn list_came_whole(&self) {
        let reset = |cuts| (cuts < CUTS_BELIEVED).then_some(0);
        // The error says that there is nothing to reset any more.
        let _ = self.lists_cut_in_row.fetch_update(Ordering::SeqCst, Ordering::SeqCst, reset);
    }

    /// Takes note of a full list that was cut.
    pub(super) fn list_was_cut(&self) {
        if self.lists_cut_in_row.fetch_add(1, Ordering::SeqCst) + 1 == CUTS_BELIEVED {
            warn!(
                "{} cut its list of VMs short {CUTS_BELIEVED} times in a row, as FiFo of 2016 does with a list that \
                 takes more than 5 s: from now on VMs are read one by one",
                self.settings.endpoint
            );
        }
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
