//! How backups hang together: the steps that a restore takes.

use super::{Backup, BackupId, Backups};
use std::collections::BTreeSet;

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
pub fn chain_of(backups: &Backups, id: BackupId) -> Option<Chain<'_>> {
    let mut steps = vec![backups.get(id)?];
    let mut seen = BTreeSet::from([id]);
    let mut next = steps[0].parent;
    let end = loop {
        let Some(parent) = next else { break ChainEnd::Full };
        if !seen.insert(parent) {
            break ChainEnd::Loop(parent);
        }
        let Some(backup) = backups.get(parent) else { break ChainEnd::Missing(parent) };
        steps.push(backup);
        next = backup.parent;
    };
    Some(Chain { steps, end })
}

/// Finds the backups of which every step back to a full one is there and is good, given whether each backup is good.
///
/// Both are in the order of [`Backups::values`]. Takes each backup once, however long the chains are.
pub fn restorable(backups: &Backups, is_good: &[bool]) -> Vec<bool> {
    let mut known: Vec<Option<bool>> = is_good.iter().map(|&good| (!good).then_some(false)).collect();
    let mut steps = Vec::new();
    for first in 0..backups.len() {
        let mut next = Some(first);
        let verdict = loop {
            // A parent that is not there.
            let Some(at) = next else { break false };
            if let Some(verdict) = known[at] {
                break verdict;
            }
            // To come back to it is a loop.
            known[at] = Some(false);
            steps.push(at);
            if backups[at].parent.is_none() {
                break true;
            }
            next = backups.parent_position(at);
        };
        steps.drain(..).for_each(|step| known[step] = Some(verdict));
    }
    known.into_iter().map(|verdict| verdict == Some(true)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{LocalState, RecordedState, StoredFile};
    use uuid::Uuid;

    fn id(n: u128) -> BackupId {
        BackupId::new(Uuid::from_u128(n))
    }

    fn backup(n: u128, parent: Option<u128>) -> Backup {
        Backup {
            id: id(n),
            comment: None,
            timestamp: None,
            state: RecordedState::Completed,
            parent: parent.map(id),
            local: LocalState::Unknown,
            local_size_bytes: None,
            files: vec![StoredFile { size_bytes: Some(10), has_checksum: false, ..StoredFile::default() }],
            record_size_bytes: None,
            has_record_checksum: false,
        }
    }

    #[test]
    fn a_chain_has_its_steps_and_their_bytes() {
        let backups = Backups::from_iter([backup(1, None), backup(2, Some(1)), backup(3, Some(2))]);
        let chain = chain_of(&backups, id(3)).unwrap();
        assert_eq!(chain.steps.iter().map(|b| b.id).collect::<Vec<_>>(), [id(3), id(2), id(1)]);
        assert_eq!((chain.end, chain.size_bytes()), (ChainEnd::Full, Some(30)));
    }

    #[test]
    fn a_missing_parent_and_a_loop_end_the_chain() {
        let backups = Backups::from_iter([
            backup(1, Some(9)),
            backup(2, Some(3)),
            backup(3, Some(2)),
            backup(4, Some(2)),
        ]);
        assert_eq!(chain_of(&backups, id(1)).unwrap().end, ChainEnd::Missing(id(9)));
        assert_eq!(chain_of(&backups, id(4)).unwrap().end, ChainEnd::Loop(id(2)));
        assert_eq!(restorable(&backups, &[true; 4]), [false; 4]);
    }

    #[test]
    fn one_bad_step_spoils_all_that_hang_on_it_and_nothing_else() {
        let backups =
            Backups::from_iter([backup(1, None), backup(2, Some(1)), backup(3, Some(2)), backup(4, Some(1))]);
        assert_eq!(restorable(&backups, &[true, false, true, true]), [true, false, false, true]);
    }
}
