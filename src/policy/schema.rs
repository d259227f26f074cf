//! The JSON Schema of a policy, with which editors complete and check.
//!
//! The schema is written by hand. Tests compare it with the reader ([`super::read`]): the same fields, words and
//! defaults, and the same verdict on every example and every broken policy that a schema can judge.

/// The JSON Schema (2020-12) of a policy document.
pub const SCHEMA: &str = include_str!("../../policies/policy.schema.json");

#[cfg(test)]
mod tests;
