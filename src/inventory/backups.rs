use super::{Backup, BackupId};
use std::ops::Index;
use std::slice;
use std::vec;

/// A VM's backups, by UUID.
///
/// A map in one piece of memory: a VM has ten or ten thousand of them, they are read once, and walked over again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backups(Vec<Backup>);

impl Backups {
    /// Takes backups in any order. Of two with one UUID the last one stays.
    pub fn new(mut backups: Vec<Backup>) -> Self {
        if !backups.is_sorted_by(|one, other| one.id < other.id) {
            backups.sort_by_key(|backup| backup.id);
            backups.reverse();
            backups.dedup_by_key(|backup| backup.id);
            backups.reverse();
        }
        Self(backups)
    }

    /// Gives back the memory that reading them has taken and they do not need. It is worth its time for VMs that are kept.
    pub fn shrink_to_fit(&mut self) {
        self.0.shrink_to_fit();
        for backup in &mut self.0 {
            backup.files.shrink_to_fit();
        }
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the place of a backup in the order of UUIDs, in which [`values`](Self::values) returns them.
    pub fn position(&self, id: BackupId) -> Option<usize> {
        self.0.binary_search_by_key(&id, |backup| backup.id).ok()
    }

    /// Returns a backup.
    pub fn get(&self, id: BackupId) -> Option<&Backup> {
        self.position(id).and_then(|at| self.0.get(at))
    }

    /// Returns a backup, to be changed. Its UUID must stay.
    pub fn get_mut(&mut self, id: BackupId) -> Option<&mut Backup> {
        self.position(id).and_then(|at| self.0.get_mut(at))
    }

    /// Returns whether a backup is there.
    pub fn contains(&self, id: BackupId) -> bool {
        self.position(id).is_some()
    }

    /// Returns the backups, by UUID.
    pub fn values(&self) -> slice::Iter<'_, Backup> {
        self.0.iter()
    }

    /// Returns the backups, by UUID, to be changed. Their UUIDs must stay.
    pub fn values_mut(&mut self) -> slice::IterMut<'_, Backup> {
        self.0.iter_mut()
    }

    /// Returns the UUIDs, in their order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = BackupId> + '_ {
        self.0.iter().map(|backup| backup.id)
    }

    /// Adds a backup, or puts it in place of the one with its UUID.
    pub fn insert(&mut self, backup: Backup) {
        match self.0.binary_search_by_key(&backup.id, |backup| backup.id) {
            Ok(at) => self.0[at] = backup,
            Err(at) => self.0.insert(at, backup),
        }
    }

    /// Takes a backup out.
    pub fn remove(&mut self, id: BackupId) -> Option<Backup> {
        self.position(id).map(|at| self.0.remove(at))
    }

    /// Takes out all backups but these.
    pub fn retain(&mut self, is_kept: impl FnMut(&Backup) -> bool) {
        self.0.retain(is_kept);
    }
}

/// The backup at a [position](Backups::position).
impl Index<usize> for Backups {
    type Output = Backup;

    fn index(&self, position: usize) -> &Backup {
        &self.0[position]
    }
}

impl FromIterator<Backup> for Backups {
    fn from_iter<I: IntoIterator<Item = Backup>>(backups: I) -> Self {
        Self::new(backups.into_iter().collect())
    }
}

impl IntoIterator for Backups {
    type Item = Backup;
    type IntoIter = vec::IntoIter<Backup>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Backups {
    type Item = &'a Backup;
    type IntoIter = slice::Iter<'a, Backup>;

    fn into_iter(self) -> Self::IntoIter {
        self.values()
    }
}
