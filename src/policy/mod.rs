//! What people wish: policies, read from YAML files, checked whole, and matched against VMs.
//!
//! The way in is [`load`]: files and folders in, [`Policies`] or *all* the mistakes out. The rest of the program only
//! ever sees a checked [`Policy`].

mod check;
mod cron;
mod diagnostic;
mod document;
mod fields;
mod lint;
mod load;
mod model;
mod node;
mod schedule;
mod selection;
mod selector;
mod shape;
mod text;
mod units;
mod zone;

pub use cron::ScheduleError;
pub use diagnostic::{
    Diagnostic, PolicyErrors, Related, Severity, SourcePosition, render_github, render_text,
};
pub use lint::unmatched;
pub use load::{Loaded, SourceFile, load, load_if_any, parse};
pub use model::{
    Match, MissingParent, Policies, Policy, Retry, Source, Suspension, Tier, TierIndex, TierKind,
};
pub use schedule::{Schedule, SkippedTime};
pub use selector::{Pattern, Selector};
pub use shape::schema;
pub use units::{duration as parse_duration, duration_text};
pub use zone::{Zone, minute_text, weekday_text};

#[cfg(test)]
mod tests;
