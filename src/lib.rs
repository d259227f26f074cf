//! Keeps the backups of every VM in a Project FiFo cloud the way YAML files in a git repository say they should be.
//!
//! The modules, each importing only from those above it (`docs/architecture.md` has more):
//!
//! - [`inventory`]: what FiFo has, as it was read;
//! - [`policy`]: the desired state, read from YAML and checked;
//! - [`plan`]: the pure core, which compares the two: no clock, no I/O, no randomness;
//! - [`simulate`]: runs the planner forward through time;
//! - [`insight`]: reports on plans and backups: status, show, comparison of policies; pure like [`plan`];
//! - [`fifo`]: FiFo's API as it really behaves, with a client that can only read and one that can write;
//! - [`store`]: the storage that FiFo exports to, and what lies in it; read-only;
//! - [`verify`]: compares FiFo's records with the storage, and rehearses restores;
//! - [`apply`]: executes a plan, checking everything twice;
//! - [`sandbox`]: a simulated FiFo over real HTTP, with its quirks; it stands apart, so that one misreading of the API
//!   cannot hide in both it and [`fifo`];
//! - [`report`]: plans and runs as documents for people, programs and pull requests, and what is known of runs as data;
//! - [`runner`]: one run from reading to its reports, for every command that carries something out, and its repetition;
//! - [`cli`]: the commands; the only place that reads the clock, the environment and the file system's whereabouts.

pub mod apply;
pub mod cli;
pub mod fifo;
pub mod insight;
pub mod inventory;
pub mod plan;
pub mod policy;
pub mod report;
pub mod runner;
pub mod sandbox;
pub mod simulate;
pub mod store;
pub mod verify;
