//! Uploads: who may start one, who watches them, and whether the result is good.

pub(super) mod check;
pub(super) mod moving;
pub(super) mod progress;
pub(super) mod slots;
pub(super) mod watch;
