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
mod message;
mod routes;
mod seed;
mod server;
mod state;
mod vm;
mod world;

pub use backups::{BackupRequest, Refused};
pub use faults::{Arrival, Effect, Faults, Matcher, Operation, Outgoing, Rule};
pub use message::{Framing, Reply, Request};
pub use routes::handle;
pub use seed::Seed;
pub use server::{Options, RunningSandbox, Sandbox};
pub use state::{Clock, RequestRecord, State};
pub use vm::{FileRecord, Record, Snapshot, Stored, Upload, UploadOutcome, UploadScript, Vm};
pub use world::{ApiStyle, EmptyMaps, Shape, Token, User, UserStore, World};
