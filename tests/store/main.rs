//! The backup storage: streams that are built, recorded and made for real, stores that are broken in every way, and the program
//! over them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]
#![allow(clippy::print_stdout, reason = "names what is skipped")]

mod built;
mod cloud;
mod faults;
mod moto;
mod real;
mod s3;
mod server;
mod streams;
