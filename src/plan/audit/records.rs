//! The records of a VM's backups, read once: one row a backup.

use crate::inventory::{Backup, BackupId, LocalState, RecordedState, Vm};
use crate::policy::{Policy, Tier, TierIndex};
use chrono::{DateTime, TimeDelta, Utc};

/// What "newer" compares.
pub(super) type Age = (Option<DateTime<Utc>>, BackupId);

/// A backup's record and what it shows.
pub(super) struct Row<'a> {
    pub(super) backup: &'a Backup,
    /// The tier whose comment it has: the tier's own, or one that the tier takes over.
    pub(super) tier: Option<TierIndex>,
    /// Whether its time is missing or more than ten minutes ahead.
    pub(super) is_future_or_undated: bool,
    /// Whether what is stored of it can be no backup.
    pub(super) is_next_to_empty: bool,
    /// Whether FiFo calls it completed and tells the size and checksum of all of its files.
    pub(super) is_told: bool,
    /// Whether FiFo calls it completed with something missing that an older completed one has.
    pub(super) is_unverified: bool,
    /// Whether its state is neither completed nor failed, however long ago it began.
    pub(super) never_ended: bool,
    /// Whether it may be uploading, or may still be given what it lacks: it has not ended as it should, and did not begin
    /// too long ago.
    pub(super) may_run: bool,
    /// Whether it is whole in itself: completed, with a timestamp, not next to empty, and with all the data that shows it.
    is_sound: bool,
    /// Whether it and every step back to a full backup are sound.
    pub(super) can_be_restored: bool,
    /// Whether FiFo calls it and every step back to a full backup completed, and none holds just an error message.
    pub(super) is_whole_by_word: bool,
    /// One of those taken from it, by its place.
    pub(super) child: Option<usize>,
    /// Another one that is taken from the same.
    pub(super) sibling: Option<usize>,
}

impl Row<'_> {
    pub(super) fn age(&self) -> Age {
        age(self.backup)
    }

    /// Says whether the rules may depend on the backup.
    pub(super) fn counts(&self) -> bool {
        self.can_be_restored && !self.is_future_or_undated
    }

    pub(super) fn is_on_hypervisor(&self) -> bool {
        let backup = self.backup;
        backup.local == LocalState::Present
            || (backup.local == LocalState::Unknown && backup.local_size_bytes > Some(0))
    }

    /// Says whether it is managed, has a usable time, and holds a snapshot on the hypervisor.
    pub(super) fn holds_a_snapshot_of_ours(&self) -> bool {
        self.tier.is_some() && !self.is_future_or_undated && self.is_on_hypervisor()
    }

    /// Says whether its snapshot is all there is of that moment: it is in no state to be restored from storage.
    pub(super) fn is_lost(&self) -> bool {
        self.holds_a_snapshot_of_ours() && !self.can_be_restored && !self.may_run
    }

    /// Says whether it ended badly or was given up on.
    pub(super) fn is_failure(&self) -> bool {
        self.backup.timestamp.is_some() && !self.is_sound && !self.may_run
    }
}

/// Reads a VM's records, in their order.
pub(super) fn rows<'a>(vm: &'a Vm, policy: &Policy, now: DateTime<Utc>) -> Vec<Row<'a>> {
    let told = vm.backups.values().filter(|backup| is_completed(backup) && tells_all_of_its_files(backup));
    let oldest_told = told.map(age).min();
    let latest = now + TimeDelta::minutes(10);
    let (run_after, run_before) = (now - policy.stuck_after, now + policy.stuck_after);
    let read = |backup: &'a Backup| {
        let is_completed = is_completed(backup);
        let is_next_to_empty = is_next_to_empty(backup, policy);
        // It is called completed with something missing that an older completed one has.
        let is_unverified = is_completed
            && !is_next_to_empty
            && oldest_told.is_some_and(|told| told < age(backup))
            && !tells_all_of_its_files(backup);
        let never_ended = !matches!(backup.state, RecordedState::Completed | RecordedState::Failed)
            && backup.timestamp.is_some();
        Row {
            backup,
            tier: tier_of(backup, &policy.tiers),
            is_future_or_undated: backup.timestamp.is_none_or(|time| time > latest),
            is_next_to_empty,
            is_told: is_completed && tells_all_of_its_files(backup),
            is_unverified,
            never_ended,
            may_run: (never_ended || is_unverified)
                && backup.timestamp.is_some_and(|time| time > run_after && time < run_before),
            is_sound: is_completed && !is_next_to_empty && !is_unverified,
            can_be_restored: false,
            is_whole_by_word: false,
            child: None,
            sibling: None,
        }
    };
    let mut rows: Vec<Row<'a>> = vm.backups.values().map(read).collect();
    find_children(&mut rows, vm);
    let sound: Vec<bool> = rows.iter().map(|row| row.is_sound).collect();
    for at in whole(&rows, &sound) {
        rows[at].can_be_restored = true;
    }
    let said: Vec<bool> = rows.iter().map(|row| is_said_to_be_sound(row.backup)).collect();
    for at in whole(&rows, &said) {
        rows[at].is_whole_by_word = true;
    }
    rows
}

fn find_children(rows: &mut [Row<'_>], vm: &Vm) {
    for at in 0..rows.len() {
        if let Some(parent) = vm.backups.parent_position(at) {
            rows[at].sibling = rows[parent].child.replace(at);
        }
    }
}

/// Goes from the full backups to all that are taken from them, as far as they are sound.
fn whole(rows: &[Row<'_>], is_sound: &[bool]) -> Vec<usize> {
    let is_full = |&at: &usize| is_sound[at] && rows[at].backup.parent.is_none();
    let mut reached: Vec<usize> = (0..rows.len()).filter(is_full).collect();
    let mut looked_at = 0;
    while let Some(&at) = reached.get(looked_at) {
        looked_at += 1;
        let mut child = rows[at].child;
        while let Some(at) = child {
            reached.extend(is_sound[at].then_some(at));
            child = rows[at].sibling;
        }
    }
    reached
}

fn is_said_to_be_sound(backup: &Backup) -> bool {
    let mut sizes = backup.files.iter().filter_map(|file| file.size_bytes).peekable();
    let is_tiny = match sizes.peek() {
        Some(_) => sizes.any(|bytes| bytes < 100),
        None => backup.record_size_bytes.is_some_and(|bytes| bytes < 100),
    };
    backup.state == RecordedState::Completed && !is_tiny
}

fn age(backup: &Backup) -> Age {
    (backup.timestamp, backup.id)
}

fn is_completed(backup: &Backup) -> bool {
    backup.state == RecordedState::Completed && backup.timestamp.is_some()
}

fn tier_of(backup: &Backup, tiers: &[Tier]) -> Option<TierIndex> {
    let comment = backup.comment.as_deref()?;
    tiers.iter().position(|tier| tier.comment == comment || tier.also.iter().any(|also| also == comment))
}

/// Says whether every file of a record has a size and a checksum: its own ones, or in the old form those of the whole
/// record, where no file has any.
fn tells_all_of_its_files(backup: &Backup) -> bool {
    let (mut sized, mut summed) = (0, 0);
    for file in &backup.files {
        sized += usize::from(file.size_bytes.is_some());
        summed += usize::from(file.has_checksum);
    }
    let files = backup.files.len();
    let has_sizes = sized == files || (sized == 0 && backup.record_size_bytes.is_some());
    let has_sums = summed == files || (summed == 0 && backup.has_record_checksum);
    files > 0 && has_sizes && has_sums
}

fn is_next_to_empty(backup: &Backup, policy: &Policy) -> bool {
    let a_disk_is_missing = match backup.files.iter().find_map(|file| file.size_bytes) {
        Some(_) => backup.files.iter().any(|file| file.size_bytes.is_some_and(|bytes| bytes < 100)),
        None => backup.record_size_bytes.is_some_and(|bytes| bytes < 100),
    };
    let is_small = backup.parent.is_none()
        && backup.size_bytes().is_some_and(|bytes| bytes < policy.min_full_size_bytes);
    a_disk_is_missing || is_small
}
