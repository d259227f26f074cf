use super::{Backup, BackupId};
use std::iter::successors;
use std::mem::replace;
use std::ops::Index;
use std::slice;
use std::sync::OnceLock;

/// A VM's backups, by UUID.
///
/// A map in two pieces of memory: a VM has ten or ten thousand of them, they are read once, and walked over again and again.
#[derive(Clone, Debug, Default)]
pub struct Backups {
    /// The UUIDs: a search goes through these alone, which takes a fraction of the time.
    ids: Vec<BackupId>,
    records: Vec<Backup>,
    /// The position of each one's parent, found when that is first asked for, and again after a change.
    parents: OnceLock<Vec<Option<usize>>>,
}

impl Backups {
    /// Takes backups in any order. Of two with one UUID the last one stays.
    pub fn new(mut records: Vec<Backup>) -> Self {
        if !records.is_sorted_by(|one, other| one.id < other.id) {
            records.reverse();
            records.sort_by_key(|backup| backup.id);
            records.dedup_by_key(|backup| backup.id);
        }
        Self { ids: records.iter().map(|backup| backup.id).collect(), records, parents: OnceLock::new() }
    }

    /// Gives back the memory that reading them has taken and they do not need. It is worth its time for VMs that are kept.
    pub fn shrink_to_fit(&mut self) {
        self.parents.take();
        self.ids.shrink_to_fit();
        self.records.shrink_to_fit();
        self.records.iter_mut().for_each(|backup| backup.files.shrink_to_fit());
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the place of a backup in the order of UUIDs, in which [`values`](Self::values) returns them.
    pub fn position(&self, id: BackupId) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }

    /// Returns the position of the parent of the backup at a position; `None` without a parent, or where it is not there.
    pub fn parent_position(&self, position: usize) -> Option<usize> {
        let find = |backup: &Backup| backup.parent.and_then(|parent| self.position(parent));
        self.parents.get_or_init(|| self.records.iter().map(find).collect())[position]
    }

    /// Gives the positions of a backup and of all that it descends from, each once, also where parents are a loop.
    pub fn chain_from(&self, position: usize) -> impl Iterator<Item = usize> {
        let mut seen = vec![false; self.len()];
        let steps = successors(Some(position), |&at| self.parent_position(at));
        steps.take_while(move |&at| !replace(&mut seen[at], true))
    }

    pub fn get(&self, id: BackupId) -> Option<&Backup> {
        self.position(id).and_then(|at| self.records.get(at))
    }

    /// Returns a backup, to be changed. Its UUID must stay.
    pub fn get_mut(&mut self, id: BackupId) -> Option<&mut Backup> {
        self.parents.take();
        self.position(id).and_then(|at| self.records.get_mut(at))
    }

    pub fn contains(&self, id: BackupId) -> bool {
        self.position(id).is_some()
    }

    pub fn values(&self) -> slice::Iter<'_, Backup> {
        self.records.iter()
    }

    /// Returns the backups, by UUID, to be changed. Their UUIDs must stay.
    pub fn values_mut(&mut self) -> slice::IterMut<'_, Backup> {
        self.parents.take();
        self.records.iter_mut()
    }

    pub fn keys(&self) -> impl ExactSizeIterator<Item = BackupId> + '_ {
        self.ids.iter().copied()
    }

    /// Adds a backup, or puts it in place of the one with its UUID.
    pub fn insert(&mut self, backup: Backup) {
        self.parents.take();
        match self.ids.binary_search(&backup.id) {
            Ok(at) => self.records[at] = backup,
            Err(at) => {
                self.ids.insert(at, backup.id);
                self.records.insert(at, backup);
            }
        }
    }

    pub fn remove(&mut self, id: BackupId) {
        self.retain(|backup| backup.id != id);
    }

    pub fn retain(&mut self, is_kept: impl FnMut(&Backup) -> bool) {
        self.parents.take();
        self.records.retain(is_kept);
        self.ids.clear();
        self.ids.extend(self.records.iter().map(|backup| backup.id));
    }
}

/// What was found out about the records does not count.
impl PartialEq for Backups {
    fn eq(&self, other: &Self) -> bool {
        self.records == other.records
    }
}

impl Eq for Backups {}

/// The backup at a [position](Backups::position).
impl Index<usize> for Backups {
    type Output = Backup;

    fn index(&self, position: usize) -> &Backup {
        &self.records[position]
    }
}

impl FromIterator<Backup> for Backups {
    fn from_iter<I: IntoIterator<Item = Backup>>(backups: I) -> Self {
        Self::new(backups.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{LocalState, RecordedState};
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
            files: Vec::new(),
            record_size_bytes: None,
            has_record_checksum: false,
            is_broken: false,
        }
    }

    #[test]
    fn the_positions_of_parents_follow_every_change() {
        fn parents(backups: &Backups) -> Vec<Option<usize>> {
            (0..backups.len()).map(|at| backups.parent_position(at)).collect()
        }
        let mut backups = Backups::new(vec![backup(6, Some(4)), backup(4, None), backup(8, Some(2))]);
        assert_eq!(parents(&backups), [None, Some(0), None]);
        backups.insert(backup(2, None));
        assert_eq!(parents(&backups), [None, None, Some(1), Some(0)]);
        backups.get_mut(id(4)).unwrap().parent = Some(id(2));
        assert_eq!(parents(&backups), [None, Some(0), Some(1), Some(0)]);
        backups.values_mut().for_each(|backup| backup.parent = Some(id(8)));
        assert_eq!(parents(&backups), [Some(3); 4]);
        backups.remove(id(2));
        assert_eq!(parents(&backups), [Some(2); 3]);
        backups.retain(|backup| backup.id != id(4));
        assert_eq!(parents(&backups), [Some(1); 2]);
        assert_eq!(backups.keys().collect::<Vec<_>>(), [id(6), id(8)]);
    }
}
