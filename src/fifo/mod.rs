//! FiFo's API as it really behaves.
//!
//! [`ReadClient`] can only read, [`WriteClient`] can also create a backup, delete its snapshot, and delete it from
//! storage. Both speak through a [`Transport`]: the real network ([`HttpTransport`]) or a simulated one. [`WriteAnswer`]
//! keeps "was not done" apart from "may have been done"; [`crate::apply`] looks and decides.

mod endpoint;
mod error;
mod http_transport;
mod list;
mod pin;
mod profile;
mod read;
mod session;
mod splitter;
mod transport;
mod vm_json;
mod write;

pub use endpoint::{ApiVersion, BadAddress, Endpoint, is_loopback};
pub use error::{FifoError, causes, with_causes};
pub use http_transport::{
    HttpOptions, HttpSetupError, HttpTransport, install_crypto, outward_client, storage_client,
};
pub use list::{ListSummary, Listing, VmVisitor};
pub use pin::CertificatePin;
pub use profile::{Profile, ProfileError};
pub use read::{ETag, ReadClient, VmRead};
pub use session::{Backoff, ClientSettings, Credentials, pauses};
pub use splitter::{ListError, MAX_ELEMENT_BYTES, Splitter};
pub use transport::{Connection, Payload, Request, Response, Transport, TransportError, TransportErrorKind};
pub use vm_json::read_vm;
pub use write::{DeletedForGood, NewBackup, WriteAnswer, WriteClient};

#[cfg(test)]
mod tests;
