//! What people wish: policies, read from YAML files, checked whole, and matched against VMs.
//!
//! The way in is [`load`]: files and folders in, [`Policies`] or *all* the mistakes out. The rest of the program only
//! ever sees a checked [`Policy`].

mod model;
mod schedule;
mod selector;

pub use model::{
    Match, MissingParent, Policies, Policy, Retry, Source, Suspension, Tier, TierIndex, TierKind,
};
pub use schedule::{Schedule, ScheduleError, Zone, minute_text, weekday_text};
pub use selector::{Pattern, Selector};
