//! What a run is to do, and how.

use super::fifo::{FirstContact, Target};
use super::read::Selection;
use crate::plan::Prune;
use crate::policy::Policies;
use crate::report::Failure;
use std::path::Path;
use std::time::Duration;

/// An order for a run, or for many of them.
pub struct Order<'a> {
    /// The command, which the lock names.
    pub command: &'static str,
    pub approval: Approval<'a>,
    pub selection: Selection,
    /// What the command says of deletes from storage.
    pub prune: Prune,
    pub limits: Limits,
    /// How long a FiFo that does not answer is retried.
    pub first_contact: FirstContact,
    /// The time after which the next run is due, and gets what still waits.
    pub handed_over_after: Option<Duration>,
    /// The time after which the next run gets what still waits, whether or not it is due.
    pub deadline: Option<Duration>,
    /// Reads the policies, as they are by now.
    pub policies: &'a dyn Fn() -> Result<Policies, Failure>,
    /// Finds out which FiFo is meant, and what to sign in with by now.
    pub fifo: &'a dyn Fn() -> Result<Target, Failure>,
}

/// How much is done at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many uploads may run in all, and on one hypervisor, counting those that run already.
    pub max_uploads: usize,
    pub max_uploads_per_hypervisor: usize,
    /// Whether uploads are waited for.
    pub waits: bool,
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
