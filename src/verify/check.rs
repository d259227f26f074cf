//! The check of one backup in a run: one that it has made, or that a delete would rely on.

use super::compare::Comparison;
use super::listing::Listing;
use super::report::Finding;
use crate::inventory::{BackupId, Vm};
use crate::store::{Store, StoreError};
use std::collections::BTreeMap;
use std::iter;

const PARALLEL: usize = 4;

/// Why nothing can be said of a backup.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unchecked {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A mirror may not have it yet, and a wrong bucket never will.
    #[error("{0}")]
    Lacks(String),
}

/// Reads the beginnings of a backup's objects and of its parent's, and returns what is wrong with each; nothing is where all
/// is right. An error: the store cannot be read, or does not have the objects as FiFo has recorded them.
pub async fn check_headers(
    store: &dyn Store,
    vm: &Vm,
    backup: BackupId,
) -> Result<BTreeMap<BackupId, Vec<Finding>>, Unchecked> {
    let mut listing = Listing::default();
    listing.refresh(store, vm.id).await?;
    let mut it = Comparison::new(iter::once(vm), &listing);
    if let Some(missing) = it.missing_most() {
        let text = format!("the store lacks {missing} of the {} objects of the VM", it.objects.len());
        return Err(Unchecked::Lacks(text));
    }
    let parent = vm.backups.get(backup).and_then(|backup| backup.parent);
    it.objects.retain(|(object, _)| object.backup == backup || Some(object.backup) == parent);
    it.objects();
    if let Some(finding) = it.findings.values().flatten().next() {
        return Err(Unchecked::Lacks(format!("{}: {}", finding.object, finding.message)));
    }
    it.headers(store, PARALLEL, &|_, _| {}).await?;
    let gone = it.gone.first().map(|object| format!("{}: it is not there any more", object.name()));
    if let Some(text) = gone.or_else(|| it.unread.first().map(|(_, _, unread)| unread.message.clone())) {
        return Err(Unchecked::Lacks(text));
    }
    it.links();
    Ok(it.findings.into_iter().map(|((_, backup), findings)| (backup, findings)).collect())
}
