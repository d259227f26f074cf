//! FiFo's API as it really behaves.
//!
//! [`ReadClient`] can only read, [`WriteClient`] can also create a backup, delete its snapshot, and delete it from storage; there
//! is nothing else to do here. Both speak through a [`Transport`], below which lie the real network ([`HttpTransport`]) or a simulated
//! one. What an answer means is data: [`WriteAnswer`] keeps "was not done" apart from "may have been done", and
//! who looks and decides is [`crate::apply`].

mod auth;
mod backoff;
mod endpoint;
mod error;
mod http_transport;
mod list;
mod profile;
mod read;

mod session;
mod splitter;
mod transport;
mod vm_json;
mod wire;
mod write;

pub use backoff::{Backoff, pauses};
pub use endpoint::{ApiVersion, BadApiVersion, BadEndpoint, Endpoint, is_loopback};
pub use error::{FifoError, causes, with_causes};
pub use http_transport::{HttpOptions, HttpSetupError, HttpTransport, install_crypto, outward_client};
pub use list::{ListSummary, Listing, VmVisitor};
pub use profile::{Profile, ProfileError};
pub use read::{ETag, ReadClient, VmRead};

pub use splitter::{ListError, MAX_ELEMENT_BYTES, Splitter};
pub use transport::{Connection, Payload, Request, Response, Transport, TransportError, TransportErrorKind};
pub use vm_json::read_vm;
pub use wire::{ClientSettings, Credentials};
pub use write::{DeletedForGood, NewBackup, WriteAnswer, WriteClient};

#[cfg(test)]
mod tests;
