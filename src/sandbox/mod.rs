//! A simulated FiFo.
//!
//! [`World`] is the cloud: what FiFo has recorded, and what is really on the hypervisors and in the store. It is plain
//! data without clock or chance, so that a simulation can drive it on its own time. [`handle`] is FiFo's API on such a
//! world, [`Faults::handle`] the same with disturbances between. [`Sandbox::start`] serves both over real HTTP on a
//! loopback address, with the ways of FiFo's server: the list that ends with its connection, the idle close, the silent
//! close after a 500.
//!
//! Nothing in here knows the client or its types: it is FiFo's behaviour written down a second time, so that one
//! misreading of the API cannot hide in both.
//!
//! The user is `admin`, with the password `admin`.
//!
//! # Controls
//!
//! Beside the API, below `/_sandbox/`, without sign-in, for a second shell:
//!
//! - `GET /_sandbox/world`: all there is, as JSON;
//! - `GET /_sandbox/requests`: the last 200 requests, with method, target and status;
//! - `POST /_sandbox/faults`: adds a [`Rule`], or an array of them;
//! - `DELETE /_sandbox/faults`: takes all of them away, and leaves one API node;
//! - `POST /_sandbox/switches`: sets any of `{"backend_up": bool, "store_configured": bool, "user_store": "up" |
//!   "server_error" | "temporarily_unavailable", "list_limit_ms": number or null, "stamps_ahead_s": number,
//!   "nodes": number}`;
//! - `POST /_sandbox/users/<name>`: makes or replaces a [`User`] and what it may do:
//!   `{"password": "x", "permissions": [["cloud", "vms", "list"], ["vms", "_", "get"]]}`;
//! - `POST /_sandbox/vms/<uuid>/fates`: adds an [`UploadScript`], or an array of them, for that VM's next creates.
//!
//! ```sh
//! # the next create is done, but its answer is lost
//! curl -d '{"when": {"operation": "create"}, "times": 1, "effect": "act_then_drop"}' $URL/_sandbox/faults
//! # the next upload of this VM fails after ten seconds
//! curl -d '{"outcome": "fail", "upload_ms": 10000}' $URL/_sandbox/vms/$VM/fates
//! ```

mod backups;
mod connection;
mod control;
mod faults;
mod json;
mod list;
mod message;
mod progress;
mod routes;
mod rules;
mod script;
mod seed;
mod server;
mod shared;
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
pub use script::{UploadOutcome, UploadScript};
pub use seed::Seed;
pub use server::{Options, RunningSandbox, Sandbox};
pub use state::{Clock, RequestRecord, State};
pub use upload::Upload;
pub use users::{Token, User, UserStore};
pub use vm::{FileRecord, Record, Snapshot, Stored, Vm};
pub use world::{ApiStyle, EmptyMaps, Shape, World};
