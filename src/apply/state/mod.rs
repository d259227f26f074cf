//! What a run leaves in the state folder: the safety stop, the notes on deletes in flight and the lock.
//!
//! FiFo is the record of everything else.

mod file;
mod in_flight;
mod lock;
mod stop;

pub(crate) use file::open as open_state_file;
pub use in_flight::{DeleteNote, InFlight, LeftBehind, Notes};
pub use lock::{Holder, Lock, LockError};
pub use stop::{Alarm, SafetyStop, StopFile};
