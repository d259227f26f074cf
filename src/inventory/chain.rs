//! How backups hang together: the steps that a restore takes, and who hangs on whom.

use super::{Backup, BackupId};
use std::collections::{BTreeMap, BTreeSet};

/// The way from a backup back to the full one that it rests on, in storage.
///
/// FiFo's own restore would stop early at an ancestor that is still local; this is the way when nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    /// The backup itself first, then its parent, and so on.
    pub steps: Vec<&'a Backup>,
    /// Where the way ends.
    pub end: ChainEnd,
}

impl Chain<'_> {
    /// Gives the bytes to fetch for a restore; `None` when the size of a step is not known.
    pub fn size_bytes(&self) -> Option<u64> {
        self.steps.iter().try_fold(0_u64, |sum, step| Some(sum.saturating_add(step.size_bytes()?)))
    }
}

/// How a [`Chain`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainEnd {
    /// At a backup without a parent.
    Full,
    /// At a parent that is not there.
    Missing(BackupId),
    /// At a backup that was already on the way.
    Loop(BackupId),
}

/// Walks from a backup to the full one that it rests on; `None` when there is no such backup.
pub fn chain_of(backups: &BTreeMap<BackupId, Backup>, id: BackupId) -> Option<Chain<'_>> {
    let mut steps = vec![backups.get(&id)?];
    let mut seen = BTreeSet::from([id]);
    let mut next = steps[0].parent;
    let end = loop {
        let Some(parent) = next else { break ChainEnd::Full };
        if !seen.insert(parent) {
            break ChainEnd::Loop(parent);
        }
        let Some(backup) = backups.get(&parent) else { break ChainEnd::Missing(parent) };
        steps.push(backup);
        next = backup.parent;
    };
    Some(Chain { steps, end })
}

/// Finds the backups of which every step back to a full one is there and is `good`.
///
/// Takes each backup once, however long the chains are.
pub fn restorable(
    backups: &BTreeMap<BackupId, Backup>,
    good: impl Fn(&Backup) -> bool,
) -> BTreeSet<BackupId> {
    let mut known: BTreeMap<BackupId, bool> = BTreeMap::new();
    for &id in backups.keys() {
        let mut way = Vec::new();
        let mut on_way = BTreeSet::new();
        let mut next = Some(id);
        let verdict = loop {
            let Some(id) = next else { break true };
            if let Some(&verdict) = known.get(&id) {
                break verdict;
            }
            let Some(backup) = backups.get(&id) else { break false };
            way.push(id);
            if !on_way.insert(id) || !good(backup) {
                break false;
            }
            next = backup.parent;
        };
        known.extend(way.into_iter().map(|id| (id, verdict)));
    }
    known.into_iter().filter_map(|(id, restorable)| restorable.then_some(id)).collect()
}

/// Who hangs on whom.
#[derive(Clone, Debug, Default)]
pub struct Children(BTreeMap<BackupId, Vec<BackupId>>);

impl Children {
    /// Reads the parents of a VM's backups the other way round.
    pub fn of(backups: &BTreeMap<BackupId, Backup>) -> Self {
        let mut children: BTreeMap<BackupId, Vec<BackupId>> = BTreeMap::new();
        for backup in backups.values() {
            if let Some(parent) = backup.parent {
                children.entry(parent).or_default().push(backup.id);
            }
        }
        Self(children)
    }

    /// Gives the backups taken directly from this one, by UUID.
    pub fn direct(&self, id: BackupId) -> &[BackupId] {
        self.0.get(&id).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{LocalState, RecordedState, StoredFile};
    use uuid::Uuid;

    fn id(n: u128) -> BackupId {
        BackupId::new(Uuid::from_u128(n))
    }

    fn backup(n: u128, parent: Option<u128>) -> (BackupId, Backup) {
        let file = StoredFile { name: n.to_string(), size_bytes: Some(10), sha1: None };
        let backup = Backup {
            id: id(n),
            comment: None,
            timestamp: None,
            state: RecordedState::Completed,
            parent: parent.map(id),
            local: LocalState::Unknown,
            local_size_bytes: None,
            files: vec![file],
            record_size_bytes: None,
            record_sha1: None,
        };
        (id(n), backup)
    }

    #[test]
    fn a_chain_has_its_steps_and_their_bytes() {
        let backups = BTreeMap::from([backup(1, None), backup(2, Some(1)), backup(3, Some(2))]);
        let chain = chain_of(&backups, id(3)).unwrap();
        assert_eq!(chain.steps.iter().map(|b| b.id).collect::<Vec<_>>(), [id(3), id(2), id(1)]);
        assert_eq!((chain.end, chain.size_bytes()), (ChainEnd::Full, Some(30)));
        assert_eq!(Children::of(&backups).direct(id(2)), [id(3)]);
    }

    #[test]
    fn a_missing_parent_and_a_loop_end_the_chain() {
        let backups =
            BTreeMap::from([backup(1, Some(9)), backup(2, Some(3)), backup(3, Some(2)), backup(4, Some(2))]);
        assert_eq!(chain_of(&backups, id(1)).unwrap().end, ChainEnd::Missing(id(9)));
        assert_eq!(chain_of(&backups, id(4)).unwrap().end, ChainEnd::Loop(id(2)));
        assert_eq!(restorable(&backups, |_| true), BTreeSet::new());
    }

    #[test]
    fn one_bad_step_spoils_all_that_hang_on_it_and_nothing_else() {
        let backups =
            BTreeMap::from([backup(1, None), backup(2, Some(1)), backup(3, Some(2)), backup(4, Some(1))]);
        assert_eq!(restorable(&backups, |b| b.id != id(2)), BTreeSet::from([id(1), id(4)]));
    }
}
