//! Uploads that no worker waits for: those of other runs, and those that this run can no longer watch. They hold a slot
//! while they make progress.

use super::action::VmRef;
use super::executor::{Executor, ExecutorSettings};
use super::slots::{Slot, Slots};
use crate::inventory::{Backup, BackupId, Inventory, RecordedState, Vm};
use crate::policy::{Match, Policies};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;

/// How long an upload of a VM in no policy counts as running.
const STUCK_AFTER_DEFAULT: TimeDelta = TimeDelta::hours(12);

/// An upload that no worker watches: one of another run, or one that is not waited for or can no longer be read.
pub(super) struct BackgroundUpload {
    pub(super) at: VmRef,
    pub(super) which: UploadRef,
    /// When it no longer counts as running.
    pub(super) until: DateTime<Utc>,
    /// The same by the monotonic clock.
    pub(super) until_at_the_latest: Instant,
}

/// Which upload is meant.
pub(super) enum UploadRef {
    /// The one of this backup.
    Known(BackupId),
    /// One that FiFo may have started, not seen yet: of a backup that is not in `before`.
    Unseen { before: BTreeSet<BackupId> },
}

/// What a reading shows of an upload.
pub(super) enum UploadLookup<'v> {
    /// It runs, and this is its record.
    Running(&'v Backup),
    /// It no longer runs.
    Ended,
    /// Neither: the reading may be older than the upload.
    Unknown,
}

impl BackgroundUpload {
    /// Makes one that counts as running for `lasts` from an instant on.
    pub(super) fn new(at: VmRef, which: UploadRef, lasts: TimeDelta, from: DateTime<Utc>) -> Self {
        let until_at_the_latest = Instant::now() + lasts.to_std().unwrap_or_default();
        Self { at, which, until: from + lasts, until_at_the_latest }
    }
}

impl UploadRef {
    /// Finds it in a reading of its VM.
    ///
    /// A single reading that does not show it may be older than it is; only the list can show that there is none.
    pub(super) fn find<'v>(&self, vm: &'v Vm, is_list: bool) -> UploadLookup<'v> {
        let under_way = || vm.backups.values().filter(|backup| is_under_way(backup));
        match self {
            Self::Known(id) => match vm.backups.get(*id) {
                Some(backup) if is_under_way(backup) => UploadLookup::Running(backup),
                None if !is_list => UploadLookup::Unknown,
                Some(_) | None => UploadLookup::Ended,
            },
            Self::Unseen { .. } if !is_list => UploadLookup::Unknown,
            Self::Unseen { before } => under_way()
                .find(|backup| !before.contains(&backup.id))
                .map_or(UploadLookup::Ended, UploadLookup::Running),
        }
    }
}

/// Finds the uploads that run already, whichever policy their VM is in, if any. Each that makes progress takes a slot,
/// beyond the limits too.
pub(super) fn foreign(
    inventory: &Inventory,
    executor: &Executor<'_>,
    slots: &Arc<Slots>,
) -> Vec<(BackgroundUpload, Slot)> {
    let &Executor { policies, progress, settings: ExecutorSettings { timing, .. }, .. } = executor;
    let now = executor.clock.now();
    let vms: Vec<&Vm> = inventory.vms.values().filter(|vm| has_upload(vm)).collect();
    let ids = vms.iter().flat_map(|vm| vm.backups.values()).filter(|backup| is_under_way(backup));
    progress.keep_only(&ids.map(|backup| backup.id).collect());
    let mut found = Vec::new();
    for vm in vms {
        let Some(hypervisor) = &vm.hypervisor else { continue };
        for (upload, backup) in foreign_of(vm, policies, now) {
            let slot = slots.occupy(hypervisor);
            slot.record(&upload.at, backup, progress.record(backup, &timing));
            found.push((upload, slot));
        }
    }
    found
}

fn foreign_of<'v>(
    vm: &'v Vm,
    policies: &Policies,
    now: DateTime<Utc>,
) -> Vec<(BackgroundUpload, &'v Backup)> {
    let stuck_after = match policies.policy_for(vm) {
        Match::One(policy) => policy.stuck_after,
        Match::Unprotected | Match::Conflict(_) => STUCK_AFTER_DEFAULT,
    };
    vm.backups
        .values()
        .filter(|backup| is_under_way(backup))
        .filter_map(|backup| {
            let taken = backup.timestamp?;
            // A date ahead of this clock does not show how long the upload has been running. It is limited to now, as in
            // the planner: otherwise one wrong clock would hold a slot, and with it the run, until that date.
            let lasts = taken.min(now) + stuck_after - now;
            let at = VmRef { vm: vm.id, alias: vm.alias.clone() };
            ((now - taken).abs() < stuck_after)
                .then(|| (BackgroundUpload::new(at, UploadRef::Known(backup.id), lasts, now), backup))
        })
        .collect()
}

/// Returns whether a backup of a VM is being uploaded, as far as its record says.
pub fn has_upload(vm: &Vm) -> bool {
    vm.backups.values().any(is_under_way)
}

fn is_under_way(backup: &Backup) -> bool {
    !matches!(backup.state, RecordedState::Completed | RecordedState::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::fixtures::*;

    /// Names what a reading shows: `running` with the backup, 1 or another one, `ended` or `unknown`.
    fn found(which: &UploadRef, vm: &VmBuilder, is_list: bool) -> String {
        match which.find(&vm.vm, is_list) {
            UploadLookup::Running(backup) if backup.id == backup_id(1) => "running 1".to_owned(),
            UploadLookup::Running(_) => "running 2".to_owned(),
            UploadLookup::Ended => "ended".to_owned(),
            UploadLookup::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn a_known_upload_has_ended_when_its_record_says_so_or_the_list_does_not_have_it() {
        let which = UploadRef::Known(backup_id(1));
        let both = |vm: VmBuilder| [found(&which, &vm, false), found(&which, &vm, true)];
        let backup = || vm(1).backup(1, "daily", "2026-11-17 01:00");
        assert_eq!(both(backup().uploading()), ["running 1", "running 1"]);
        assert_eq!(both(backup().accepted()), ["running 1", "running 1"]);
        assert_eq!(both(backup()), ["ended", "ended"]);
        assert_eq!(both(backup().failed()), ["ended", "ended"]);
        assert_eq!(both(vm(1)), ["unknown", "ended"], "a single reading may be older than the upload");
    }

    #[test]
    fn an_unseen_upload_is_looked_for_in_the_list_among_the_new_backups() {
        let which = UploadRef::Unseen { before: [backup_id(1)].into() };
        let both = |vm: VmBuilder| [found(&which, &vm, false), found(&which, &vm, true)];
        let before = || vm(1).backup(1, "daily", "2026-11-17 01:00").uploading();
        assert_eq!(both(before()), ["unknown", "ended"]);
        assert_eq!(
            both(before().backup(2, "daily", "2026-11-18 01:00").uploading()),
            ["unknown", "running 2"]
        );
        assert_eq!(both(before().backup(2, "daily", "2026-11-18 01:00")), ["unknown", "ended"]);
    }
}
