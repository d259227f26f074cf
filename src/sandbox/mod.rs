//! A simulated FiFo.
//!
//! [`World`] is the cloud: what FiFo has recorded, and what is really on the hypervisors and in the store. It is plain
//! data, so that a simulation can drive it on its own time. [`handle`] is FiFo's API on such a world, [`Faults::handle`]
//! the same with disturbances between. [`Sandbox::start`] serves both over HTTP on a loopback address, as FiFo's server
//! does: the list that ends with its connection, the idle close, the silent close after a 500.
//!
//! Nothing in here knows the client or its types, so that one misreading of the API cannot hide in both.
//!
//! The user is `admin`, with the password `admin`. The controls beside the API, below `/_sandbox/`, are described in
//! `docs/sandbox.md`.

mod backups;
mod connection;
mod control;
mod faults;
mod json;
mod message;
mod progress;
mod routes;
mod rules;
mod seed;
mod server;
mod state;
mod store;
mod upload;
mod users;
mod vm;
mod world;

pub use backups::{BackupRequest, Refused};
pub use faults::{Arrival, Faults, Outgoing};
pub use message::{Framing, Reply, Request};
pub use routes::handle;
pub use rules::{Effect, Matcher, Operation, Rule};
pub use seed::Seed;
pub use server::{Options, RunningSandbox, Sandbox};
pub use state::{Clock, RequestRecord, State};
pub use upload::{Upload, UploadOutcome, UploadScript};
pub use users::{Token, User, UserStore};
pub use vm::{FileRecord, Record, Snapshot, Stored, Vm};
pub use world::{ApiStyle, EmptyMaps, Shape, World};
