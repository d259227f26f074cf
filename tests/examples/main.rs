//! The ready-made pipelines and manifests do what they say: every script in them is run, in the surroundings that its
//! platform would give it, against the simulated FiFo.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod github;
mod gitlab;
mod kubernetes;
mod project;
#[expect(dead_code, reason = "each target needs some of it")]
#[path = "../shell/mod.rs"]
mod shell;
mod yaml;
