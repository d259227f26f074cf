//! The rules of the contract, stated as small clouds and what must be planned for them.

mod boundaries;
pub(crate) mod clouds;
pub(crate) mod fixtures;
mod holes;
mod nights;
pub(crate) mod properties;
mod rules;
mod second_reading;
mod starvation;
mod strict_audit;
mod unverified;
