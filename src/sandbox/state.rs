//! The clock and the changing state of a running sandbox.

use super::faults::Faults;
use super::message::Request;
use super::world::World;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the sandbox takes the time from; in microseconds since the Unix epoch throughout.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Makes a clock that stands at an instant. Its clones show the same time.
    pub fn manual(now_us: i64) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now_us)))
    }

    pub fn now_us(&self) -> i64 {
        match self {
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
            }
            Self::Manual(now_us) => now_us.load(Ordering::SeqCst),
        }
    }

    pub fn advance_us(&self, by_us: i64) {
        if let Self::Manual(now_us) = self {
            now_us.fetch_add(by_us, Ordering::SeqCst);
        }
    }
}

#[derive(Debug)]
pub struct State {
    pub world: World,
    pub faults: Faults,
    /// The last requests, oldest first, with all their headers and bytes; those for the controls are not among them.
    pub requests: VecDeque<RequestRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    pub request: Request,
    /// The status of the answer; `None` where the connection was closed without one.
    pub status: Option<u16>,
}
