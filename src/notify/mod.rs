//! Telling other machines: a summary to post, a monitor to ping.
//!
//! The addresses may hold tokens in any part, so a [`SecretUrl`] never shows more than scheme and host. Whatever goes
//! wrong here is for the caller to report, and must change nothing else: backups are made whether or not the report
//! of it.

mod post;
mod url;

pub use self::post::{NotifyError, Poster};
pub use self::url::{BadUrl, SecretUrl};
