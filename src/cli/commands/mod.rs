//! The commands: one file or folder each.

pub(super) mod apply;
pub(super) mod check;
pub(super) mod completions;
pub(super) mod init;
pub(super) mod plan;
pub(super) mod reconcile;
pub(super) mod resume;
pub(super) mod sandbox;
pub(super) mod schema;
pub(super) mod show;
pub(super) mod simulate;
pub(super) mod status;
pub(super) mod validate;
