//! What can go wrong between us and FiFo.

use super::list::ListError;
use super::transport::TransportError;
use crate::inventory::VmId;
use http::StatusCode;
use std::error::Error;
use std::iter::successors;
use std::time::Duration;

/// Why FiFo could not be read, or could not be signed in to.
///
/// Nothing was changed in FiFo by what ended in one of these. No message holds a password or a token.
#[derive(Debug, thiserror::Error)]
pub enum FifoError {
    /// There was no connection, or it broke.
    #[error("failed to {doing}: no answer from {endpoint}")]
    Connection {
        /// What was asked for: `read the list of VMs`.
        doing: String,
        /// The FiFo that was asked.
        endpoint: String,
        source: TransportError,
    },
    /// It took longer than the total time for a read, with everything that was tried again.
    #[error("failed to {doing} within {} s, after {attempts} attempt{}", timeout.as_secs_f32(), plural(*attempts))]
    TimedOut {
        doing: String,
        timeout: Duration,
        /// How often it was tried, the unfinished one too.
        attempts: u32,
        /// Why the last finished attempt failed, if there was any.
        #[source]
        last: Option<Box<FifoError>>,
    },
    /// FiFo refuses this user and password.
    #[error(
        "{endpoint} refuses to sign in `{user}`{}: check user name and password",
        reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default()
    )]
    SignInRefused {
        user: String,
        /// The FiFo that was asked.
        endpoint: String,
        /// FiFo's word for it: `access_denied`.
        reason: Option<String>,
    },
    /// FiFo could not find out whether this user may sign in. That says nothing about the password.
    #[error("failed to sign in: the user store of {endpoint} does not answer ({reason})")]
    SignInUnavailable {
        /// The FiFo that was asked.
        endpoint: String,
        /// FiFo's word for it: `server_error`.
        reason: String,
    },
    /// FiFo does not accept the token that was given to us.
    #[error("{endpoint} rejects the token, which may have expired: set FIFO_TOKEN to a new one")]
    TokenRefused {
        /// The FiFo that was asked.
        endpoint: String,
    },
    /// FiFo does not accept a token that it has just given out.
    #[error(
        "{endpoint} rejects the token that it has just issued to `{user}`: \
         check whether the clocks of its API nodes differ"
    )]
    NewTokenRefused {
        user: String,
        /// The FiFo that was asked.
        endpoint: String,
    },
    /// The token cannot be sent.
    #[error(
        "the token contains a character that HTTP does not allow, such as a line break: check FIFO_TOKEN"
    )]
    UnusableToken,
    /// The user lacks a permission.
    #[error("failed to {doing}: FiFo answered 403; the user needs the permission `{permission}`")]
    Forbidden {
        doing: String,
        /// The permission: `vms→<uuid>→backup`.
        permission: String,
    },
    /// There is no such VM.
    #[error("FiFo has no VM {vm}")]
    NoSuchVm {
        /// The VM that was asked for.
        vm: VmId,
    },
    /// FiFo, or something before it, gave another answer than what was asked for.
    #[error("failed to {doing}: FiFo answered {status}{}", hint(*status))]
    Status { doing: String, status: StatusCode },
    /// The answer could not be understood.
    #[error("failed to {doing}: invalid answer")]
    Unreadable {
        doing: String,
        /// What is wrong with it.
        source: UnreadableAnswer,
    },
}

impl FifoError {
    /// Says whether FiFo has refused us, so that no other request will fare better.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::SignInRefused { .. }
            | Self::TokenRefused { .. }
            | Self::NewTokenRefused { .. }
            | Self::UnusableToken => true,
            Self::Connection { .. }
            | Self::TimedOut { .. }
            | Self::SignInUnavailable { .. }
            | Self::Forbidden { .. }
            | Self::NoSuchVm { .. }
            | Self::Status { .. }
            | Self::Unreadable { .. } => false,
        }
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

/// What is wrong with an answer of which the status was right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableAnswer {
    /// A list, but not a whole one.
    #[error(transparent)]
    List(#[from] ListError),
    /// Not JSON, or not all of it.
    #[error("expected JSON, found {begin:?}")]
    NotJson {
        /// Its first printable characters.
        begin: String,
    },
    /// Longer than any answer of its kind.
    #[error("it is longer than {limit_bytes} bytes")]
    TooLong { limit_bytes: usize },
    /// An answer to the sign-in without a token in it. It is not shown, since there may be one.
    #[error("it contains no access_token")]
    NoToken,
}

/// Returns what makes a noun fit its number.
fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Returns what to do about a status, to go behind it.
fn hint(status: StatusCode) -> &'static str {
    if status.is_redirection() {
        ", a redirect, which is never followed: set the endpoint to the address it leads to"
    } else if matches!(status, StatusCode::NOT_FOUND | StatusCode::NOT_ACCEPTABLE) {
        ": check that this is a FiFo and has this version of the API"
    } else {
        ""
    }
}

/// Lists what lies below an error, the deepest last.
pub fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(error.source(), |&cause| cause.source())
}

/// Writes an error with everything that caused it, for where only one text fits.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in causes(error).map(ToString::to_string) {
        // Some layers repeat what lies below them.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}
