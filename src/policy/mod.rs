//! Policies: read from YAML files, checked, and matched against VMs.
//!
//! [`load`] reads files and folders and returns [`Policies`], or all the mistakes in them. The rest of the program sees
//! only checked policies.

mod check;
mod cron;
mod diagnostic;
mod document;
mod fields;
mod lint;
mod load;
mod model;
mod name;
mod node;
mod schedule;
mod schema;
mod selection;
mod selector;
mod text;
mod units;
mod zone;

pub use cron::ScheduleError;
pub use diagnostic::{
    Diagnostic, PolicyErrors, Related, Severity, SourcePosition, render_github, render_text,
};
pub use document::is_name;
pub use lint::unmatched;
pub use load::{Loaded, SourceFile, load, load_if_any, parse};
pub use model::{
    Match, MissingParent, Policies, Policy, Prune, Retry, Source, Suspension, Tier, TierIndex, TierKind,
};
pub use name::Name;
pub use schedule::{Schedule, SkippedTime};
pub use schema::SCHEMA;
pub use selector::{Pattern, Selector};
pub use units::{duration as parse_duration, duration_text};
pub use zone::{Zone, minute_text, weekday_text};

#[cfg(test)]
mod tests;
