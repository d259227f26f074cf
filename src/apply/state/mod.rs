//! What a run leaves in the state folder.
//!
//! The safety stop ([`StopFile`]) and the notes on deletes in flight ([`InFlight`]) are all that is remembered from run to
//! run: FiFo is the record. The [`Journal`] is for people, and the operating system holds the [`Lock`].

mod file;
mod in_flight;
mod journal;
mod lock;
mod stop;

pub(crate) use file::open as open_state_file;
pub use in_flight::{DeleteNote, InFlight, LeftBehind};
pub use journal::Journal;
pub use lock::{Holder, Lock, LockError};
pub use stop::{Alarm, SafetyStop, StopFile};
