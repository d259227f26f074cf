//! A VM's backups in the order of their chains.

use crate::inventory::Backups;
use chrono::{DateTime, Utc};
use std::iter::successors;

/// Lists each backup, by its [position](Backups::position), before those that are taken from it, and else the older one
/// first, with how far below the beginning of its chain it stands. What hangs on something missing begins a chain; so does
/// the oldest one of a loop.
pub(super) fn in_chains(backups: &Backups) -> Vec<(usize, usize)> {
    // Positions are in the order of UUIDs, which decides on a tie.
    let mut by_age: Vec<(Option<DateTime<Utc>>, usize)> =
        backups.values().map(|backup| backup.timestamp).zip(0..).collect();
    by_age.sort_unstable();
    let mut newest_child: Vec<Option<usize>> = vec![None; backups.len()];
    let mut next_older: Vec<Option<usize>> = vec![None; backups.len()];
    for &(_, at) in &by_age {
        if let Some(parent) = backups.parent_position(at) {
            next_older[at] = newest_child[parent].replace(at);
        }
    }
    let is_first = |&at: &usize| backups.parent_position(at).is_none();
    let (first, others): (Vec<usize>, Vec<usize>) = by_age.into_iter().map(|(_, at)| at).partition(is_first);
    let mut is_listed = vec![false; backups.len()];
    let mut lines = Vec::with_capacity(backups.len());
    // Of the others only the members of loops are left by then.
    for begin in first.into_iter().chain(others) {
        let mut open = vec![(0, begin)];
        while let Some((depth, at)) = open.pop() {
            if !std::mem::replace(&mut is_listed[at], true) {
                lines.push((depth, at));
                let newest_first = successors(newest_child[at], |&child| next_older[child]);
                open.extend(newest_first.map(|child| (depth + 1, child)));
            }
        }
    }
    lines
}
