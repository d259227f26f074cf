use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::ops::Range;

pub trait Store: Send + Sync {
    /// Hands over every object whose name starts with `prefix`, in any order. An error: the list could not be read whole; what
    /// was handed over counts for nothing then.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        each: &'a mut (dyn FnMut(Object) + Send),
    ) -> BoxFuture<'a, Result<()>>;

    /// Reads the bytes of a range that the object has according to the list. The body has exactly these, or ends in an error.
    fn get<'a>(&'a self, name: &'a str, range: Range<u64>) -> BoxFuture<'a, Result<Body>>;
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

pub type Body = BoxStream<'static, Result<Bytes>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name below the store's prefix: `<vm>/<backup>`.
    pub name: String,
    pub size_bytes: u64,
    /// When it was last written, where the store says so.
    pub modified: Option<DateTime<Utc>>,
}

/// Why a store could not be read. No message holds a secret or a signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("there is no {0}")]
    Missing(String),
    /// It is not what it was when it was listed.
    #[error("{0} has changed since it was listed")]
    Changed(String),
    #[error("failed to {doing}: the store answered {status}{}", code_text(code))]
    Status {
        doing: String,
        status: u16,
        /// The store's word for it, such as `SignatureDoesNotMatch`.
        code: String,
    },
    /// The connection, or an answer, broke off.
    #[error("failed to {doing}: {why}")]
    Lost { doing: String, why: String },
    /// An answer that trying again does not change.
    #[error("failed to {doing}: {why}")]
    Wrong { doing: String, why: String },
}

fn code_text(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!(" ({code})") }
}

impl StoreError {
    /// Says whether it is the store that does not answer, rather than an object that cannot be read.
    pub fn is_of_all(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 401 | 403 | 429 | 502 | 503 | 504),
            Self::Lost { .. } => true,
            Self::Missing(_) | Self::Changed(_) | Self::Wrong { .. } => false,
        }
    }

    /// Says whether the same may go better later.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Self::Lost { .. } => true,
            Self::Missing(_) | Self::Changed(_) | Self::Wrong { .. } => false,
        }
    }
}
