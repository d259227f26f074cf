//! The ready-made pipelines and manifests do what they say: their scripts are run against the simulated FiFo, with what a
//! platform would put around them.

mod github;
mod gitlab;
mod kubernetes;
mod project;
mod yaml;
