//! Uploads: the slots that they hold, the watch over all that move, and the check of what has completed.

pub(super) mod check;
pub(super) mod moving;
pub(super) mod slots;
pub(super) mod watch;
