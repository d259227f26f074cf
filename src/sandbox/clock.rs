use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the sandbox takes the time from; in microseconds since the Unix epoch throughout.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that moves only when it is told to.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Makes a clock that stands at an instant. Its clones show the same time.
    pub fn manual(now_us: i64) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now_us)))
    }

    /// Gives the time.
    pub fn now_us(&self) -> i64 {
        match self {
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
            }
            Self::Manual(now_us) => now_us.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock on; the machine's clock goes its own way.
    pub fn advance_us(&self, by_us: i64) {
        if let Self::Manual(now_us) = self {
            now_us.fetch_add(by_us, Ordering::SeqCst);
        }
    }
}
