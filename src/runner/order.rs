//! What a run is to do, and how.

use super::fifo::{FirstContact, Target};
use super::read::Selection;
use crate::apply::ExecutorSettings;
use crate::policy::Policies;
use crate::run::Failure;
use std::path::Path;
use std::time::Duration;

/// An order for a run, or for many of them.
pub struct Order<'a> {
    /// The command, which the lock names.
    pub command: &'static str,
    pub approval: Approval<'a>,
    pub selection: Selection,
    /// How much is done at once, for how long, and what is deleted. The timing is that of the FiFo.
    pub settings: ExecutorSettings,
    /// How long a FiFo that does not answer is retried.
    pub first_contact: FirstContact,
    /// The time after which the next run is due, and gets what still waits.
    pub handed_over_after: Option<Duration>,
    /// Reads the policies, as they are by now.
    pub policies: &'a dyn Fn() -> Result<Policies, Failure>,
    /// Finds out which FiFo is meant, and what to sign in with by now.
    pub fifo: &'a dyn Fn() -> Result<Target, Failure>,
}

/// What of the plan made now is carried out.
#[derive(Clone, Copy)]
pub enum Approval<'a> {
    /// All of it.
    Everything,
    /// What a person agrees to who is shown a plan and asked.
    Asked,
    /// What the plan in this file lists; `-` is standard input.
    Saved(&'a Path),
}
