//! A VM's backups in the order of their chains.

use crate::inventory::{Backup, BackupId};
use std::collections::{BTreeMap, BTreeSet};

/// Lists each backup before those that are taken from it, and else the older one first, with how far below the beginning
/// of its chain it stands. A backup whose parent is missing starts a chain; so does the oldest one of a loop.
pub(super) fn in_chains(backups: &BTreeMap<BackupId, Backup>) -> Vec<(usize, &Backup)> {
    let age = |backup: &Backup| (backup.timestamp, backup.id);
    let mut by_age: Vec<&Backup> = backups.values().collect();
    by_age.sort_by_key(|backup| age(backup));
    let mut children: BTreeMap<BackupId, Vec<&Backup>> = BTreeMap::new();
    for backup in &by_age {
        if let Some(parent) = backup.parent {
            children.entry(parent).or_default().push(backup);
        }
    }
    let is_first = |backup: &&Backup| backup.parent.is_none_or(|parent| !backups.contains_key(&parent));
    let (first, others): (Vec<&Backup>, Vec<&Backup>) = by_age.into_iter().partition(is_first);
    let mut listed = BTreeSet::new();
    let mut lines = Vec::with_capacity(backups.len());
    // Of the others only the members of loops are left by then.
    for begin in first.into_iter().chain(others) {
        let mut open = vec![(0, begin)];
        while let Some((depth, backup)) = open.pop() {
            if listed.insert(backup.id) {
                lines.push((depth, backup));
                let next = children.get(&backup.id).into_iter().flatten().rev();
                open.extend(next.map(|child| (depth + 1, *child)));
            }
        }
    }
    lines
}
