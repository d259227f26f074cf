//! How backups hang together: the steps that a restore takes.

use super::{Backup, BackupId, Backups};
use serde::Serialize;

/// The way from a backup back to the full one that it rests on, in storage: the backup itself is the first step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    pub steps: Vec<&'a Backup>,
    /// The parent of the last step, where that is not there.
    pub missing: Option<BackupId>,
}

impl Chain<'_> {
    /// Returns the bytes to fetch for a restore; `None` when the size of a step is not known.
    pub fn size_bytes(&self) -> Option<u64> {
        self.steps.iter().try_fold(0_u64, |sum, step| Some(sum.saturating_add(step.size_bytes()?)))
    }
}

/// Walks from a backup to the full one that it rests on, or once through a loop; `None` when there is no such backup.
pub fn chain_of(backups: &Backups, id: BackupId) -> Option<Chain<'_>> {
    let steps: Vec<&Backup> = backups.chain_from(backups.position(id)?).map(|at| &backups[at]).collect();
    let missing = steps.last()?.parent.filter(|parent| !backups.contains(*parent));
    Some(Chain { steps, missing })
}

/// What a restore fetches from storage, one backup after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Restore {
    /// The number of backups, when no snapshot is left on the hypervisor.
    pub steps: usize,
    /// Their total size in bytes; `None` when the size of one is unknown.
    pub size_bytes: Option<u64>,
    /// The number of backups now: FiFo stops at the first one whose snapshot is there. 0 is a rollback.
    pub steps_now: usize,
}

impl Restore {
    /// What a full backup is added to.
    pub const NOTHING: Self = Self { steps: 0, size_bytes: Some(0), steps_now: 0 };

    /// Adds a backup that is taken from the last of these.
    #[must_use]
    pub fn and(self, size_bytes: Option<u64>, is_local: bool) -> Self {
        Self {
            steps: self.steps + 1,
            size_bytes: self.size_bytes.zip(size_bytes).map(|(sum, own)| sum.saturating_add(own)),
            steps_now: if is_local { 0 } else { self.steps_now + 1 },
        }
    }
}

/// Goes up each chain from its full backup, each backup once, and returns by [position](Backups::position) what `step` makes of it
/// and of what its parent came to, which for a full one is `begin`. `None` where a step gives it, an ancestor is missing, or there
/// is a loop.
pub fn along_chains<T: Clone>(
    backups: &Backups,
    begin: T,
    step: impl Fn(usize, T) -> Option<T>,
) -> Vec<Option<T>> {
    let mut found: Vec<Option<T>> = vec![None; backups.len()];
    let mut is_known = vec![false; backups.len()];
    let mut path = Vec::new();
    for first in 0..backups.len() {
        let mut next = Some(first);
        let mut below = loop {
            // A parent that is not there.
            let Some(at) = next else { break None };
            // To come back to one on the way, of which nothing is found yet, is a loop.
            if std::mem::replace(&mut is_known[at], true) {
                break found[at].clone();
            }
            path.push(at);
            if backups[at].parent.is_none() {
                break Some(begin.clone());
            }
            next = backups.parent_position(at);
        };
        for at in path.drain(..).rev() {
            below = below.and_then(|below| step(at, below));
            found[at].clone_from(&below);
        }
    }
    found
}

/// Finds the backups of which every step back to a full one is there and is good, given whether each backup is good.
pub fn restorable(backups: &Backups, is_good: &[bool]) -> Vec<bool> {
    let found = along_chains(backups, (), |at, ()| is_good[at].then_some(()));
    found.iter().map(Option::is_some).collect()
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
            is_broken: false,
        }
    }

    #[test]
    fn a_chain_has_its_steps_and_their_bytes() {
        let backups = Backups::from_iter([backup(1, None), backup(2, Some(1)), backup(3, Some(2))]);
        let chain = chain_of(&backups, id(3)).unwrap();
        assert_eq!(chain.steps.iter().map(|b| b.id).collect::<Vec<_>>(), [id(3), id(2), id(1)]);
        assert_eq!((chain.missing, chain.size_bytes()), (None, Some(30)));
    }

    #[test]
    fn a_missing_parent_and_a_loop_end_the_chain() {
        let backups = Backups::from_iter([
            backup(1, Some(9)),
            backup(2, Some(3)),
            backup(3, Some(2)),
            backup(4, Some(2)),
        ]);
        assert_eq!(chain_of(&backups, id(1)).unwrap().missing, Some(id(9)));
        let looped = chain_of(&backups, id(4)).unwrap();
        let steps: Vec<BackupId> = looped.steps.iter().map(|step| step.id).collect();
        assert_eq!((steps, looped.missing), (vec![id(4), id(2), id(3)], None));
        assert_eq!(restorable(&backups, &[true; 4]), [false; 4]);
    }

    #[test]
    fn one_bad_step_spoils_all_that_hang_on_it_and_nothing_else() {
        let backups =
            Backups::from_iter([backup(1, None), backup(2, Some(1)), backup(3, Some(2)), backup(4, Some(1))]);
        assert_eq!(restorable(&backups, &[true, false, true, true]), [true, false, false, true]);
    }
}
