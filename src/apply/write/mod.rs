//! What belongs to a request: whether it may be sent, what its answer means, and what a reading shows of it.

pub(super) mod attempt;
mod confirm;
mod create;
mod delete;
pub(super) mod gate;
pub(super) mod left_behind;
mod prove;
