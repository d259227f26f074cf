//! Policies: read from YAML files, checked, and matched against VMs. The rest of the program sees only checked ones.

mod cron;
mod fields;
mod findings;
mod lint;
mod load;
mod model;
mod pattern;
mod read;
mod read_selector;
mod schedule;
mod selector;
mod source;
mod units;
mod yaml;
mod zone;

pub use cron::ScheduleError;
pub use findings::{Diagnostic, PolicyErrors, Severity, SourcePosition, render_github, render_text};
pub use load::{Loaded, SourceFile, load, load_if_any, parse, read_files};
pub use model::{
    Match, MissingParent, Name, Policies, Policy, Retry, Source, Suspension, Tier, TierIndex, TierKind,
};
pub use pattern::Pattern;
pub use read::is_name;
pub use schedule::Schedule;
pub use selector::{MetadataValue, Selector};
pub use units::{duration as parse_duration, duration_text, size as parse_size};
pub use zone::{Zone, minute_text, weekday_text};

/// The JSON Schema (2020-12) of a policy, for editors. It is written by hand; tests compare it with the reader.
pub const SCHEMA: &str = include_str!("../../policies/policy.schema.json");

#[cfg(test)]
mod tests;
