//! FiFo's API from both sides: the client against recorded exchanges and against servers that send every byte, and the
//! sandbox as other clients see it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]
#![allow(clippy::print_stdout, reason = "names the exchange that failed")]

mod client_http;
mod notify;
mod raw_http;
#[path = "../raw_server/mod.rs"]
mod raw_server;
mod sandbox_api;
mod sandbox_facts;
mod sandbox_lab;
mod sandbox_pyfi;
mod wire_client;
mod wire_sandbox;
