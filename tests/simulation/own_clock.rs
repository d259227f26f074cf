//! The clock of the machine that the program runs on, which people set.

use crate::transport::TestClock;
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::apply::Clock;
use std::sync::atomic::{AtomicI64, Ordering};

pub(crate) struct OwnClock {
    right: TestClock,
    ahead_s: AtomicI64,
}

impl OwnClock {
    pub(crate) fn new(right: TestClock) -> Self {
        Self { right, ahead_s: AtomicI64::new(0) }
    }

    pub(crate) fn set(&self, ahead_s: i64) {
        self.ahead_s.store(ahead_s, Ordering::SeqCst);
    }
}

impl Clock for OwnClock {
    fn now(&self) -> DateTime<Utc> {
        self.right.now() + TimeDelta::seconds(self.ahead_s.load(Ordering::SeqCst))
    }
}
