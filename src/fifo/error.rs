//! What can go wrong between us and FiFo.

use super::transport::{TransportError, TransportErrorKind};
use crate::inventory::VmId;
use http::StatusCode;
use std::error::Error;
use std::iter::successors;
use std::time::Duration;

pub(super) type Result<T, E = FifoError> = std::result::Result<T, E>;

/// Why FiFo could not be read, or could not be signed in to.
///
/// Nothing was changed in FiFo by what ended in one of these. No message holds a password or a token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FifoError {
    #[error("failed to {doing}: no answer from {endpoint}")]
    Connection { doing: String, endpoint: String, source: TransportError },
    /// It took longer than the total time for a read, with everything that was tried again.
    #[error("failed to {doing} within {} s, after {attempts} attempt{}", timeout.as_secs_f32(), plural(*attempts))]
    TimedOut {
        doing: String,
        timeout: Duration,
        attempts: u32,
        #[source]
        last: Option<Box<FifoError>>,
    },
    /// FiFo refuses this user and password; `reason` is its word for it, such as `access_denied`.
    #[error(
        "{endpoint} refuses to sign in `{user}`{}: check user name and password",
        reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default()
    )]
    SignInRefused { user: String, endpoint: String, reason: Option<String> },
    /// FiFo could not find out whether this user may sign in. That says nothing about the password.
    #[error("failed to sign in: the user store of {endpoint} does not answer ({reason})")]
    SignInUnavailable { endpoint: String, reason: String },
    #[error("{endpoint} {why}")]
    TokenRefused { endpoint: String, why: String },
    #[error("failed to {doing}: FiFo answered 403; the user needs the permission `{permission}`")]
    Forbidden { doing: String, permission: String },
    #[error("FiFo has no VM {vm}")]
    NoSuchVm { vm: VmId },
    /// FiFo, or something before it, gave another answer than what was asked for.
    #[error("failed to {doing}: FiFo answered {status}{}", hint(*status, location.as_deref()))]
    Status { doing: String, status: StatusCode, retry_after: Option<Duration>, location: Option<String> },
    #[error("failed to {doing}: invalid answer: {why}")]
    Unreadable {
        doing: String,
        why: String,
        /// Whether it broke off, so that the next one may be whole.
        is_cut: bool,
    },
}

/// How often a read is tried whose failure will probably stay.
pub(super) const A_FEW: u32 = 3;

impl FifoError {
    pub(super) fn unreadable(doing: &str, why: impl Into<String>) -> Self {
        Self::Unreadable { doing: doing.to_owned(), why: why.into(), is_cut: false }
    }

    /// Says whether a read that failed so will go better later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Connection { source, .. } => source.kind() != TransportErrorKind::Untrusted,
            Self::SignInUnavailable { .. } => true,
            Self::Unreadable { is_cut, .. } => *is_cut,
            // The refusal of a token that is final does not come as a status.
            Self::Status { status, .. } => matches!(status.as_u16(), 401 | 408 | 429 | 502..=504),
            _ => false,
        }
    }

    pub(super) fn attempts_max(&self) -> u32 {
        match self {
            _ if self.passes() => u32::MAX,
            Self::Unreadable { .. } => A_FEW,
            Self::Status { status, .. } if status.is_server_error() => A_FEW,
            _ => 1,
        }
    }

    /// Says whether FiFo has refused the user as such, so that no other request will fare better.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::SignInRefused { .. } | Self::TokenRefused { .. })
    }

    /// Says whether there was no answer at all, so that the address may be wrong.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Connection { .. } => true,
            Self::TimedOut { last, .. } => last.as_deref().is_none_or(Self::is_silence),
            _ => false,
        }
    }
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn hint(status: StatusCode, location: Option<&str>) -> String {
    match (status.as_u16(), location) {
        (300..400, Some(location)) => {
            format!(", a redirect to {location}, which is never followed: set the endpoint to that host")
        }
        (300..400, None) => {
            ", a redirect, which is never followed: set the endpoint to the address it leads to".to_owned()
        }
        (404 | 406, _) => ": check that this is a FiFo and has this version of the API".to_owned(),
        _ => String::new(),
    }
}

pub fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(error.source(), |&cause| cause.source())
}

/// Writes an error with everything that caused it, for where only one text fits.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in causes(error).map(ToString::to_string) {
        // Some layers repeat what lies below them.
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
