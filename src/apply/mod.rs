//! Executes a plan, checking everything twice.
//!
//! [`Executor::execute`] works on the VMs side by side (`run`), on each VM in the order of its plan (`vm_run`). Before each
//! write the VM is read again (`reader`) and decided again (`worker`): only what the plan lists *and* a fresh decision still
//! wants is done. All writes go through one loop (`write_loop`, `write_attempts`). A create (`create`, `search`, `upload`)
//! is searched for rather than repeated, and is done when it is listed, complete, with its parent and its checksums. A local
//! delete (`local_delete`) is done when the record is still there and no longer local; the first one of a run goes alone
//! (`canary`). A delete from storage (`cloud_delete`) is checked against the records once more (`expendable`) and is done when
//! the record is gone; all of a run go one after the other. A backup that has vanished and was to stay stops everything
//! (`delete_effect`, `cascade_guard`). How an action ends is data (`step`).
//!
//! What a run leaves in the state folder is in `state`.

mod action;
mod background;
mod background_watch;
mod canary;
mod cascade_guard;
mod cloud_delete;
mod context;
mod create;
mod delete_effect;
mod event;
mod executor;
mod expendable;
mod local_delete;
mod progress;
mod reader;
mod report;
mod run;
mod search;
mod slots;
mod state;
mod step;
mod stuck;
mod timing;
mod upload;
mod vm_run;
mod waiting;
mod worker;
mod write_attempts;
mod write_loop;

pub use action::{ActionKind, ActionOutcome, ActionRef, DeleteKind, RunCounts, VmRef};
pub use background::has_upload;
pub use event::{Event, EventKind, Observer, SlotHolder, SlotUse, Waiting, schema};
pub use executor::{Clock, Executor, ExecutorSettings};
pub use progress::ProgressTracker;
pub use report::{ActionReport, RunReport, VmReport};
pub use run::WITNESSES;
pub(crate) use state::open_state_file;
pub use state::{
    Alarm, DeleteNote, Holder, InFlight, Journal, LeftBehind, Lock, LockError, SafetyStop, StopFile,
};
pub(crate) use step::{
    BackupFault, CloseReason, DropReason, FailureReason, HandOverCause, HandOverReason, InterruptReason,
    KeepReason, MissingFact, MovingUpload, StepError, StepSuccess, StorageClose, SuccessKind, UnclearAnswer,
    UnverifiedReason, UploadChange, WriteFailure, WriteState,
};
pub use timing::{CLOCK_SKEW_MAX, Timing};
