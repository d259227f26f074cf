//! What must never be true of deletes from storage, or of their absence.

use super::case::AuditCase;
use super::deletes::name_of;
use super::records::{Age, Row};
use crate::inventory::{BackupId, LocalState, RecordedState};
use crate::plan::changeset::{Action, DeleteCloud, VmPlan};
use crate::plan::note::{ExpiredBackups, NoteKind, PruneHold};
use crate::policy::{Prune, TierIndex};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// What has expired of a tier and stays: how many, their bytes, the time of the oldest, and why.
type ExpiredOfTier = (u32, u64, Option<DateTime<Utc>>, PruneHold);

/// What a VM's stored backups are wanted for, each read once.
pub(super) struct Storage<'c, 'a> {
    case: &'c AuditCase<'a>,
    /// For each tier the age below which its restorable backups are beyond `keep`; `None` where all are kept.
    oldest_kept: Vec<Option<Age>>,
    /// For each tier since when its failures are attempts that still count; `None` where none does.
    attempts_since: Vec<Option<DateTime<Utc>>>,
    /// The last completed increments on backups that are local.
    last_increments: BTreeSet<BackupId>,
    /// The oldest one that shows that this FiFo tells sizes and checksums: newer ones without are unverified.
    reference: Option<Age>,
    /// All that are wanted, and all that these descend from.
    needed: BTreeSet<BackupId>,
}

/// Finds what is wrong with the deletes from storage of a VM's plan, with what it lacks of them, and with what it says of
/// the backups that have expired.
pub(super) fn prunes_broken(case: &AuditCase<'_>, planned: &VmPlan) -> Vec<String> {
    let storage = Storage::new(case);
    let mut found = Vec::new();
    let mut gone: BTreeSet<BackupId> = BTreeSet::new();
    let last_other = planned.actions.iter().rposition(|action| !action.is_cloud_delete());
    for (place, action) in planned.actions.iter().enumerate() {
        let Action::DeleteCloud(delete) = action else { continue };
        let name = name_of(delete.backup);
        let mut report = |what: &str| found.push(format!("{name}: a delete from storage {what}"));
        if last_other > Some(place) {
            report("before a create or a local delete");
        }
        match case.get(delete.backup) {
            None => report("of a backup that is not there"),
            Some(row) => {
                shown_wrongly(case, delete, row).into_iter().for_each(&mut report);
                storage.kept_for(row).into_iter().for_each(&mut report);
                storage.not_yet(row).into_iter().for_each(&mut report);
                if case.children(row).any(|child| !gone.contains(&child.backup.id)) {
                    report("while a backup that descends from it is there");
                }
                if storage.others_are_judged_by(row, &gone) {
                    report("by which an unverified backup is judged");
                }
            }
        }
        if !gone.insert(delete.backup) {
            report("for a second time");
        }
    }
    let hold = storage.hold();
    match hold {
        Some(hold) if !gone.is_empty() => found.push(format!("deletes from storage in spite of {hold:?}")),
        None => found.extend(storage.left_over(&gone)),
        Some(_) => {}
    }
    if storage.expired_by_tier(&gone, hold.unwrap_or(PruneHold::NotYet)) != noted_by_tier(planned) {
        found.push("its expired backups are not those that are reported".to_owned());
    }
    found
}

/// Finds what is shown of a backup and is not its own.
fn shown_wrongly(case: &AuditCase<'_>, delete: &DeleteCloud, row: &Row<'_>) -> Vec<&'static str> {
    let mut found = Vec::new();
    if row.tier.is_none_or(|tier| *case.policy.tiers[tier].name != *delete.tier) {
        found.push("under another tier than its own");
    }
    if row.backup.timestamp != Some(delete.taken.to_utc()) {
        found.push("with another time than its own");
    }
    if row.backup.size_bytes() != delete.size_bytes {
        found.push("with another size than its own");
    }
    found
}

impl<'c, 'a> Storage<'c, 'a> {
    fn new(case: &'c AuditCase<'a>) -> Self {
        let tiers = 0..case.policy.tiers.len();
        let oldest_kept = tiers.clone().map(|tier| oldest_kept(case, tier)).collect();
        let attempts_since = tiers.map(|tier| attempts_since(case, tier)).collect();
        let may_be_parent = |row: &&Row<'_>| row.counts() && row.backup.local == LocalState::Present;
        let last_increment = |row: &Row<'_>| case.last_done_on(row).map(|last| last.backup.id);
        let last_increments = case.all().filter(may_be_parent).filter_map(last_increment).collect();
        let reference = case.all().filter(|row| row.is_told).map(Row::age).min();
        let mut storage =
            Self { case, oldest_kept, attempts_since, last_increments, reference, needed: BTreeSet::new() };
        let mut open: Vec<BackupId> =
            case.all().filter(|row| !storage.kept_for(row).is_empty()).map(|row| row.backup.id).collect();
        while let Some(id) = open.pop() {
            if let Some(row) = case.get(id).filter(|row| !storage.needed.contains(&row.backup.id)) {
                storage.needed.insert(row.backup.id);
                open.extend(row.backup.parent);
            }
        }
        storage
    }

    /// Returns the reasons for which a backup must stay in storage for its own sake.
    fn kept_for(&self, row: &Row<'_>) -> Vec<&'static str> {
        let case = self.case;
        let mut found = Vec::new();
        let Some(tier) = row.tier else { return vec!["of an unmanaged backup"] };
        if row.is_future_or_undated {
            found.push("of a backup whose time cannot be believed");
        }
        if case.is_the_newest(row) {
            found.push("of the newest that can be restored");
        }
        if row.counts() && self.oldest_kept[tier].is_none_or(|oldest| row.age() >= oldest) {
            found.push("of one of those that `keep` asks for");
        }
        if case.is_kept_by_keep_local(row) {
            found.push("of one of those that `keep_local` asks for");
        }
        if (0..self.oldest_kept.len()).any(|tier| case.is_best_parent(row, tier)) {
            found.push("of the next increment's parent");
        }
        if row.may_run || case.children(row).any(|child| child.may_run || case.may_still_run(child)) {
            found.push("of a backup that runs, or of the parent of one that may");
        }
        if !row.can_be_restored && !case.is_outlived(row) {
            found.push("of one that cannot be restored while nothing newer can");
        }
        if row.is_failure() && self.attempts_since[tier].is_some_and(|due| row.backup.timestamp >= Some(due))
        {
            found.push("of an attempt that still counts");
        }
        if self.last_increments.contains(&row.backup.id) {
            found.push("of the last increment on a backup that is local");
        }
        found
    }

    /// Returns what forbids to delete a backup now, expired or not.
    fn not_yet(&self, row: &Row<'_>) -> Vec<&'static str> {
        let mut found = Vec::new();
        if row.is_on_hypervisor() || row.backup.local_size_bytes > Some(0) {
            found.push("of a backup that holds a snapshot");
        }
        if row
            .backup
            .timestamp
            .is_some_and(|time| (self.case.now - time).num_microseconds() < Some(3_600_000_000))
        {
            found.push("of a backup that is less than an hour old");
        }
        if row.backup.state == RecordedState::Uploading && row.backup.local != LocalState::Absent {
            found.push("of a backup that may still upload");
        }
        if row.is_whole_by_word && !row.can_be_restored {
            found.push("of a backup that is whole by FiFo's word");
        }
        if matches!(row.backup.state, RecordedState::Other(_)) {
            found.push("of a backup in an unknown state");
        }
        found
    }

    /// Says whether an unverified backup that is still there counts as such only because this one is there.
    fn others_are_judged_by(&self, row: &Row<'_>, gone: &BTreeSet<BackupId>) -> bool {
        self.reference == Some(row.age())
            && self.case.all().any(|other| other.is_unverified && !gone.contains(&other.backup.id))
    }

    /// Returns why nothing of the VM may be deleted from storage.
    fn hold(&self) -> Option<PruneHold> {
        let case = self.case;
        let is_bad = |row: &Row<'_>| !row.can_be_restored && !row.may_run && !row.is_future_or_undated;
        let a_failure_is_newer = || case.all().any(|row| is_bad(row) && !case.is_outlived(row));
        let is_silent = |row: &Row<'_>| {
            row.is_future_or_undated
                && row.backup.timestamp.is_some()
                && row.backup.state == RecordedState::Accepted
                && row.backup.parent.is_none()
        };
        let is_stalled = || {
            let newest = case.newest_time();
            newest.is_none_or(|newest| newest + case.policy.max_age < case.now)
        };
        match case.policy.prune {
            Prune::Never => Some(PruneHold::NotAllowed),
            Prune::OnRequest => Some(PruneHold::NotRequested),
            Prune::Requested if !case.can_be_backed_up() => Some(PruneHold::CannotBackUp),
            Prune::Requested if case.a_parent_is_unknown() || case.all().any(is_silent) => {
                Some(PruneHold::UnknownParent)
            }
            Prune::Requested if a_failure_is_newer() => Some(PruneHold::NewestFailed),
            Prune::Requested if is_stalled() => Some(PruneHold::NewestTooOld),
            Prune::Requested => None,
        }
    }

    /// Finds the backups that nothing would keep from being deleted, and that are not.
    fn left_over(&self, gone: &BTreeSet<BackupId>) -> Vec<String> {
        let could_go = |row: &&Row<'_>| {
            !gone.contains(&row.backup.id)
                && !self.needed.contains(&row.backup.id)
                && self.not_yet(row).is_empty()
                && self.case.children(row).all(|child| gone.contains(&child.backup.id))
                && !self.others_are_judged_by(row, gone)
        };
        let left = self.case.all().filter(could_go);
        left.map(|row| format!("{}: it has expired and would stay in storage", name_of(row.backup.id)))
            .collect()
    }

    /// Counts what has expired and stays, by tier.
    fn expired_by_tier(&self, gone: &BTreeSet<BackupId>, hold: PruneHold) -> BTreeMap<&str, ExpiredOfTier> {
        let mut by_tier: BTreeMap<&str, ExpiredOfTier> = BTreeMap::new();
        let stays = |row: &&Row<'_>| !self.needed.contains(&row.backup.id) && !gone.contains(&row.backup.id);
        for row in self.case.all().filter(stays) {
            let Some(tier) = row.tier else { continue };
            let time = row.backup.timestamp;
            let counted = by_tier.entry(&self.case.policy.tiers[tier].name).or_insert((0, 0, time, hold));
            counted.0 += 1;
            counted.1 = counted.1.saturating_add(row.backup.size_bytes().unwrap_or(0));
            counted.2 = counted.2.min(time);
        }
        by_tier
    }
}

fn noted_by_tier(planned: &VmPlan) -> BTreeMap<&str, ExpiredOfTier> {
    let noted = planned.notes.iter().filter_map(|note| match &note.kind {
        NoteKind::Expired(ExpiredBackups { tier, count, size_bytes, oldest, hold }) => {
            Some((tier.as_str(), (*count, *size_bytes, Some(oldest.to_utc()), *hold)))
        }
        _ => None,
    });
    noted.collect()
}

/// Returns the age of the last of the newest restorable ones of a tier that `keep` asks for; `None` where it asks for all, or
/// for more than there are.
fn oldest_kept(case: &AuditCase<'_>, tier: TierIndex) -> Option<Age> {
    let others = case.policy.tiers[tier].keep?.get() as usize - 1;
    case.nth_newest(tier, others)
}

/// Returns since when a tier's failures count: since it is due, if nothing restorable has satisfied it.
fn attempts_since(case: &AuditCase<'_>, tier: TierIndex) -> Option<DateTime<Utc>> {
    let due = case.due_since(tier)?;
    let does = |row: &Row<'_>| row.counts() && row.tier <= Some(tier) && row.tier.is_some();
    (!case.all().any(|row| does(row) && row.backup.timestamp >= Some(due))).then_some(due)
}
