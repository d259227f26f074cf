//! Carries out what the plan says: looks at a VM, does one step, confirms it, and looks again.
//!
//! [`Executor::execute`] works on the VMs side by side (`run`); `vm` is the loop of one VM, and there is no other way
//! through here. `write` has what belongs to a request, `upload` the slots and the watch over every moving upload. `reader`
//! knows that a reading may be old. How an action ends is a code and a sentence, made where it arises (`outcome`).
//!
//! `state` holds what outlives a run: the safety stop, the notes on deletes in flight and the lock.
//! FiFo is the record of everything else.

mod event;
mod executor;
mod outcome;
mod proof;
mod reader;
mod run;
mod state;
mod timing;
mod upload;
mod vm;
mod write;

pub use event::{
    ActionReport, Event, EventKind, Observer, RunReport, SlotHolder, SlotUse, VmReport, Waiting, schema,
};
pub use executor::{Approval, Clock, Executor, ExecutorSettings};
pub use outcome::{ActionKind, ActionOutcome, ActionRef, RunCounts, VmRef};
pub use proof::{Headers, Proof};
pub use run::WITNESSES;
pub(crate) use state::open_state_file;
pub use state::{
    Alarm, DeleteNote, Holder, InFlight, LeftBehind, Lock, LockError, Notes, SafetyStop, StopFile,
};
pub use timing::{CLOCK_SKEW_MAX, Timing};
pub use upload::moving::has_upload;
pub use upload::slots::ProgressTracker;
