//! The rules of the contract, stated as small clouds and what must be planned for them.

mod boundaries;
mod clouds;
mod compare;
mod explain;
pub(in crate::plan) mod fixtures;
mod forecast;
mod health;
mod holes;
mod nights;
mod overview;
mod properties;
mod rules;
mod second_reading;
mod starvation;
mod strict_audit;
mod unverified;
