//! Carries a plan out, looking at everything twice.
//!
//! [`Executor::execute`] works on the VMs side by side, on each VM in the order of its plan (`one_vm`). Before
//! anything is asked of FiFo the VM is read again (`look`) and decided again: only what the plan lists *and* a fresh
//! decision still wants is done. A create (`create`, `upload`) is looked for rather than repeated, and is not done until it is
//! listed, complete, with its parent and its checksums. A local delete (`local_delete`) is not done until the record
//! is still there and no longer local; the first one of a run goes alone (`canary`), and a backup that has vanished
//! stops everything.
//!
//! Nothing is remembered from run to run but an alarm, by the [`Latch`]: FiFo is the record. The [`Journal`] is for
//! people, the [`Lock`] is the operating system's.

mod action;
mod background;
mod background_watch;
mod canary;
mod cascade_guard;
mod context;
mod create;
mod event;
mod executor;
mod journal;
mod latch;
mod local_delete;
mod lock;
mod progress;
mod reader;
mod report;
mod run;
mod search;
mod slots;
mod stuck;
mod timing;
mod upload;
mod vm_run;
mod waiting;
mod worker;
mod write_attempts;

pub use action::{ActionKind, ActionOutcome, ActionRef, RunCounts, VmRef};
pub use event::{Event, EventKind, Observer, SlotHolder, SlotUse, Waiting, schema};
pub use executor::{Clock, Executor, Settings};
pub use journal::Journal;
pub use latch::{Latch, LatchedAlarm, SafetyStop};
pub use lock::{Holder, Lock, LockError};
pub use progress::ProgressTracker;
pub use report::{ActionReport, CascadeAlarm, RunReport, VmReport};
pub use timing::Timing;
