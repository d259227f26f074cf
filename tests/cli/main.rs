//! What a user sees: the real program, in a sealed environment, against the sandbox over real HTTP.
//!
//! The rules themselves are tested in the library; here it is shown that flags arrive and outcomes come out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod apply;
mod certificates;
mod check;
mod cloud;
mod completions;
mod conventions;
mod dockerfile;
mod docs;
mod every;
mod examples;
mod exposition;
mod first_contact;
mod gitops;
mod harness;
mod help;
mod init;
mod listing;
mod pages;
mod plan;
mod plan_against;
mod plan_markdown;
mod processes;
mod prune;
#[path = "../raw_server/mod.rs"]
mod raw_server;
mod reconcile;
mod reporting;
mod running;
mod safety_stop;
mod sandbox;
mod saved_plan;
mod schema;
mod secrets;
mod shell;
mod show;
mod simulate;
mod status;
mod terminal;
mod usage;
mod validate;
mod watching;
mod web;
mod widths;
