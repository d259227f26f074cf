//! What a run leaves in the state folder: the safety stop, the notes on deletes in flight, the lock, and a journal for people.
//!
//! FiFo is the record of everything else.

mod file;
mod in_flight;
mod journal;
mod lock;
mod stop;

pub(crate) use file::open as open_state_file;
pub use in_flight::{DeleteNote, InFlight, LeftBehind, Notes};
pub use journal::Journal;
pub use lock::{Holder, Lock, LockError};
pub use stop::{Alarm, SafetyStop, StopFile};
