//! What the records of a VM's backups show, read on its own: nothing here is shared with the planner but the data types.

use crate::inventory::{Backup, BackupId, RecordedState, Vm};
use crate::policy::{Policy, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};

/// A backup's record and what it shows.
pub(super) struct Row<'a> {
    pub(super) backup: &'a Backup,
    /// The tier whose comment, or one of whose further comments, it has.
    pub(super) tier: Option<TierIndex>,
    /// Whether its time is missing or more than ten minutes ahead.
    pub(super) is_future_or_undated: bool,
    /// Whether it may be uploading: it has not ended, or lacks what shows that it ended well, and did not begin too long ago.
    pub(super) may_run: bool,
    pub(super) never_ended: bool,
    /// Whether FiFo calls it and every step back to a full backup completed, and none holds just an error message.
    pub(super) is_whole_by_word: bool,
    /// Whether all of these are good by the policy as well.
    pub(super) is_restorable: bool,
}

impl Row<'_> {
    pub(super) fn age(&self) -> (Option<DateTime<Utc>>, BackupId) {
        (self.backup.timestamp, self.backup.id)
    }

    /// Says whether other backups may depend on it.
    pub(super) fn counts(&self) -> bool {
        self.is_restorable && !self.is_future_or_undated
    }

    /// Says whether it has been accepted, and does not show which parent it needs.
    pub(super) fn hides_its_parent(&self) -> bool {
        self.backup.state == RecordedState::Accepted && self.backup.parent.is_none()
    }
}

pub(super) struct Records<'a> {
    vm: &'a Vm,
    pub(super) rows: Vec<Row<'a>>,
    /// The places of those that are taken from each.
    children: Vec<Vec<usize>>,
    /// The newest of the VM that can be restored.
    pub(super) newest: Option<(Option<DateTime<Utc>>, BackupId)>,
}

impl<'a> Records<'a> {
    pub(super) fn read(vm: &'a Vm, policy: &Policy, now: DateTime<Utc>) -> Self {
        let rows: Vec<Row<'a>> = vm.backups.values().map(|backup| row(backup, vm, policy, now)).collect();
        let mut children = vec![Vec::new(); rows.len()];
        for (at, row) in rows.iter().enumerate() {
            if let Some(parent) = row.backup.parent.and_then(|parent| vm.backups.position(parent)) {
                children[parent].push(at);
            }
        }
        let mut records = Self { vm, rows, children, newest: None };
        for at in records.reached(|row| is_called_good(row.backup)) {
            records.rows[at].is_whole_by_word = true;
        }
        let is_good = |row: &Row<'_>| {
            is_called_good(row.backup)
                && !row.backup.is_broken
                && row.backup.timestamp.is_some()
                && !row.may_run
                && !is_small(row.backup, policy)
        };
        for at in records.reached(is_good) {
            records.rows[at].is_restorable = true;
        }
        records.newest = records.rows.iter().filter(|row| row.counts()).map(Row::age).max();
        records
    }

    /// Goes from the full backups to all that are taken from them, as far as they are good.
    fn reached(&self, is_good: impl Fn(&Row<'_>) -> bool) -> Vec<usize> {
        let is_full = |&at: &usize| is_good(&self.rows[at]) && self.rows[at].backup.parent.is_none();
        let mut reached: Vec<usize> = (0..self.rows.len()).filter(is_full).collect();
        let mut looked_at = 0;
        while let Some(&at) = reached.get(looked_at) {
            looked_at += 1;
            reached.extend(self.children[at].iter().filter(|&&child| is_good(&self.rows[child])));
        }
        reached
    }

    pub(super) fn get(&self, id: BackupId) -> Option<&Row<'a>> {
        self.vm.backups.position(id).map(|at| &self.rows[at])
    }

    pub(super) fn children(&self, row: &Row<'_>) -> impl Iterator<Item = &Row<'a>> {
        let at = self.vm.backups.position(row.backup.id);
        at.into_iter().flat_map(|at| &self.children[at]).map(|&child| &self.rows[child])
    }

    /// Says whether it is known to be broken, or any that it hangs on or that hangs on it.
    pub(super) fn is_on_broken_chain(&self, row: &Row<'_>) -> bool {
        let hangs_on = |row: &Row<'_>, ancestor: &Row<'_>| {
            let mut next = Some(row.backup.id);
            // A loop of parents has no more steps than there are backups.
            let steps = self.rows.iter().map_while(|_| {
                let step = self.get(next?)?;
                next = step.backup.parent;
                Some(step.backup.id)
            });
            steps.into_iter().any(|id| id == ancestor.backup.id)
        };
        let mut broken = self.rows.iter().filter(|other| other.backup.is_broken);
        broken.any(|broken| hangs_on(row, broken) || hangs_on(broken, row))
    }

    /// Says whether a newer backup of the VM can be restored.
    pub(super) fn is_outlived(&self, row: &Row<'_>) -> bool {
        self.newest > Some(row.age())
    }

    /// Says whether it runs, or ran out of its time with nothing restorable after it, so that it may run all the same.
    pub(super) fn may_run(&self, row: &Row<'_>) -> bool {
        row.may_run || (row.never_ended && !row.is_future_or_undated && !self.is_outlived(row))
    }

    /// Says whether its snapshot is the newest that storage cannot give back, with nothing restorable after it.
    pub(super) fn is_only_copy(&self, row: &Row<'_>) -> bool {
        let is_lost = |row: &&Row<'_>| {
            row.tier.is_some()
                && !row.is_future_or_undated
                && row.backup.holds_snapshot()
                && !row.is_restorable
                && !row.may_run
        };
        let newest = self.rows.iter().filter(is_lost).max_by_key(|row| row.age());
        !self.is_outlived(row) && newest.is_some_and(|newest| newest.backup.id == row.backup.id)
    }
}

fn row<'a>(backup: &'a Backup, vm: &Vm, policy: &Policy, now: DateTime<Utc>) -> Row<'a> {
    let time = backup.timestamp;
    let never_ended =
        time.is_some() && !matches!(backup.state, RecordedState::Completed | RecordedState::Failed);
    // In the newer form each file has its own size and checksum; one is missing that another backup has.
    let is_new_form = |backup: &Backup| {
        !backup.files.is_empty() && backup.record_size_bytes.is_none() && !backup.has_record_checksum
    };
    let tells_all =
        |backup: &Backup| backup.files.iter().all(|file| file.size_bytes.is_some() && file.has_checksum);
    let mut completed = vm.backups.values().filter(|it| it.state == RecordedState::Completed);
    let is_doubtful = is_called_good(backup)
        && !backup.is_broken
        && !is_small(backup, policy)
        && is_new_form(backup)
        && !tells_all(backup)
        && completed.any(|it| is_new_form(it) && tells_all(it));
    let is_recent = time.is_some_and(|time| (now - time).abs() < policy.stuck_after);
    let is_named = |name: &String| backup.comment.as_deref() == Some(name);
    Row {
        backup,
        tier: policy.tiers.iter().position(|it| is_named(&it.comment) || it.also.iter().any(is_named)),
        is_future_or_undated: time.is_none_or(|time| time > now + TimeDelta::minutes(10)),
        may_run: (never_ended || is_doubtful) && is_recent,
        never_ended,
        is_whole_by_word: false,
        is_restorable: false,
    }
}

fn is_small(backup: &Backup, policy: &Policy) -> bool {
    backup.parent.is_none() && backup.size_bytes().is_some_and(|bytes| bytes < policy.min_full_size_bytes)
}

/// Says whether FiFo calls a backup completed, and none of its disks is known to be an error message instead.
fn is_called_good(backup: &Backup) -> bool {
    let smallest = backup.smallest_size_bytes();
    backup.state == RecordedState::Completed && smallest.is_none_or(|bytes| bytes >= 100)
}
