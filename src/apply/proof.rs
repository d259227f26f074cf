//! What a run is told of the backups in storage.

use crate::inventory::{BackupId, Vm};
use futures::future::BoxFuture;

/// What is known of the backups in storage, and the storage itself.
pub trait Proof: Send + Sync {
    /// Marks the backups of a VM that are known to be broken.
    fn mark(&self, vm: &mut Vm);

    /// Says whether there is a storage to ask.
    fn has_store(&self) -> bool;

    /// Asks the storage whether the beginnings of a completed backup's objects are right. One that is not is marked from then
    /// on.
    fn check<'a>(&'a self, vm: &'a Vm, backup: BackupId) -> BoxFuture<'a, Headers>;
}

/// What the beginnings of a backup's objects show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Headers {
    /// They are what they should be.
    Right,
    /// The backup, or its parent, is broken.
    Wrong(String),
    /// They could not be read, or are not there yet.
    Unread(String),
}
