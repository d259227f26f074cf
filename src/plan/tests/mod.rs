//! The rules of the contract, stated as small clouds and what must be planned for them.

mod audit;
mod boundaries;
mod findings;
pub(crate) mod fixtures;
pub(crate) mod frame;
pub(crate) mod generators;
pub(crate) mod nasty;
mod oracle;
mod play;
pub(crate) mod properties;
mod prune;
mod rules;
mod starvation;
