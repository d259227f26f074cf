//! Writes: whether one may be sent now, what its answer means, and what came of it.

pub(super) mod answer;
pub(super) mod confirm;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod effect;
pub(super) mod gate;
pub(super) mod left_behind;
