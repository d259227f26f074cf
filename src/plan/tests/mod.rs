//! The rules of the contract, stated as small clouds and what must be planned for them.

mod audit_prune_refusals;
mod audit_refusals;
mod boundaries;
pub(crate) mod fixtures;
pub(crate) mod frame;
pub(crate) mod generators;
pub(crate) mod properties;
mod prune;
mod rules;
mod script_comparison;
mod script_defects;
mod second_planner;
mod second_pruner;
mod starvation;
mod unverified;
mod year_of_pruning;
