//! FiFo's API as it really behaves.
//!
//! [`ReadClient`] can only read, [`WriteClient`] can also create a backup, delete its snapshot, and delete it from storage; there
//! is nothing else to do here. Both speak through a [`Transport`], below which lie the real network ([`HttpTransport`]) or a simulated
//! one. What an answer means is data: [`WriteAnswer`] keeps "was not done" apart from "may have been done", and
//! who looks and decides is [`crate::apply`].

mod answer;
mod auth;
mod client;
mod convert;
mod credentials;
mod endpoint;
mod error;
mod http_transport;
mod json;
mod list;
mod listing;
mod profile;
mod retry;
mod session;
mod settings;
mod transport;
mod usual_vm;
mod values;
mod write;

pub use answer::ETag;
pub use client::{ReadClient, VmRead};
pub use convert::read_vm;
pub use credentials::Credentials;
pub use endpoint::{ApiVersion, BadApiVersion, BadEndpoint, Endpoint, is_loopback};
pub use error::{FifoError, UnreadableAnswer, causes, with_causes};
pub use http_transport::{HttpOptions, HttpSetupError, HttpTransport, install_crypto, outward_client};
pub use list::{ListError, MAX_ELEMENT_BYTES, Splitter};
pub use listing::{ListSummary, Listing, VmVisitor};
pub use profile::{Profile, ProfileError};
pub use retry::Backoff;
pub use settings::ClientSettings;
pub use transport::{Connection, Request, Response, Transport, TransportError, TransportErrorKind};
pub use write::{DeletedForGood, NewBackup, WriteAnswer, WriteClient};

#[cfg(test)]
mod tests;
