use serde::{Deserialize, Serialize};

/// What is wrong with a stored backup. A code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// An object that the record names is not there.
    Missing,
    /// It has another size than FiFo has recorded.
    Size,
    /// It is not gzip, or holds no stream of `zfs send`.
    NoStream,
    /// The stream is of another snapshot.
    Name,
    /// The stream does not start from the parent's snapshot.
    Link,
    /// It is gzip that cannot be read to its end, or goes on behind it.
    Gzip,
    /// The stream has no end.
    Truncated,
    /// A checksum in the stream does not hold, or its records make no sense.
    Checksum,
    /// It has another SHA-1 than FiFo has recorded.
    Sha1,
}

impl Code {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Size => "size",
            Self::NoStream => "no_stream",
            Self::Name => "name",
            Self::Link => "link",
            Self::Gzip => "gzip",
            Self::Truncated => "truncated",
            Self::Checksum => "checksum",
            Self::Sha1 => "sha1",
        }
    }
}

/// What is wrong with the bytes of an object. The message may hold bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub code: Code,
    pub message: String,
}

impl Damage {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
