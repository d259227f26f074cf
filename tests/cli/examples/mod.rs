//! The ready-made pipelines and manifests do what they say: every script in them is run, in the surroundings that its
//! platform would give it, against the simulated FiFo.

mod github;
mod gitlab;
mod kubernetes;
mod project;
mod yaml;
