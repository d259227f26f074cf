//! Uploads that no worker watches: those that ran before this run began, and those that were let out of sight. They
//! take places until they end.

use super::limits::{Slot, Slots};
use super::look::LookError;
use super::pace::Pauses;
use super::run::Shared;
use crate::inventory::{BackupId, Inventory, RecordedState, Vm, VmId};
use crate::policy::{Match, Policies};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

/// How long an upload of a VM in no policy is taken to be running.
const STUCK_AFTER_DEFAULT: TimeDelta = TimeDelta::hours(12);

/// An upload that no worker watches: somebody else's, or one that is not waited for or cannot be read any more.
pub(super) struct Unwatched {
    pub(super) vm: VmId,
    pub(super) which: Upload,
    pub(super) hypervisor: String,
    /// When it is no longer taken to be running.
    pub(super) until: DateTime<Utc>,
}

/// Which upload is meant.
pub(super) enum Upload {
    /// The one of this backup.
    Of(BackupId),
    /// One that FiFo may have begun, and that has not been seen yet: of a backup that was not there before.
    Unseen { before: BTreeSet<BackupId> },
}

impl Upload {
    /// Says whether it runs, by a reading of its VM.
    ///
    /// A single reading that does not show it may be older than it is; only the list can show that there is none.
    fn runs(&self, vm: &Vm, is_list: bool) -> bool {
        match self {
            Self::Of(backup) if vm.backups.contains_key(backup) => is_under_way(vm, *backup),
            Self::Unseen { before } if is_list => {
                vm.backups.keys().any(|backup| !before.contains(backup) && is_under_way(vm, *backup))
            }
            Self::Of(_) | Self::Unseen { .. } => !is_list,
        }
    }
}

/// Finds the uploads that are under way, whichever policy their VM is in, if any.
pub(super) fn foreign(inventory: &Inventory, policies: &Policies, now: DateTime<Utc>) -> Vec<Unwatched> {
    inventory.vms.values().flat_map(|vm| foreign_of(vm, policies, now)).collect()
}

fn foreign_of(vm: &Vm, policies: &Policies, now: DateTime<Utc>) -> Vec<Unwatched> {
    let Some(hypervisor) = &vm.hypervisor else { return Vec::new() };
    let stuck_after = match policies.policy_for(vm) {
        Match::One(policy) => policy.stuck_after,
        Match::Unprotected | Match::Conflict(_) => STUCK_AFTER_DEFAULT,
    };
    let runs = |id: &BackupId| is_under_way(vm, *id);
    vm.backups
        .keys()
        .filter(|id| runs(id))
        .filter_map(|&backup| {
            let taken = vm.backups.get(&backup)?.timestamp?;
            // A date ahead of us says nothing about how long it has been running: it is bounded all the same, as the
            // planner does. Otherwise one wrong clock would hold a place, and with it the run, until that date.
            let until = taken.min(now) + stuck_after;
            ((now - taken).abs() < stuck_after).then(|| Unwatched {
                vm: vm.id,
                which: Upload::Of(backup),
                hypervisor: hypervisor.clone(),
                until,
            })
        })
        .collect()
}

fn is_under_way(vm: &Vm, backup: BackupId) -> bool {
    vm.backups
        .get(&backup)
        .is_some_and(|backup| !matches!(backup.state, RecordedState::Completed | RecordedState::Failed))
}

/// How many rounds of readings go by until the list is read as well: a single reading can be old for ever.
const ROUNDS_PER_LIST: usize = 4;

/// Takes a place for each foreign upload, whether or not there is one.
pub(super) fn occupy(slots: &Arc<Slots>, foreign: Vec<Unwatched>) -> Vec<(Unwatched, Slot)> {
    foreign
        .into_iter()
        .map(|upload| {
            let slot = slots.occupy(&upload.hypervisor);
            (upload, slot)
        })
        .collect()
}

/// Frees the place of each upload that no worker watches when it has ended. Reads only while somebody waits for a place.
pub(super) async fn watch(shared: &Shared<'_>) -> Infallible {
    let pace = shared.executor.settings.pace;
    let mut round = 0;
    for pause in Pauses::new(pace.pause_min, pace.pause_max) {
        tokio::time::sleep(pause).await;
        if !shared.slots.is_waited_for() {
            continue;
        }
        round += 1;
        for (upload, slot) in shared.take_unwatched() {
            let is_list = round % ROUNDS_PER_LIST == 0;
            let seen = if is_list {
                shared.look.in_list(upload.vm).await
            } else {
                shared.look.at(upload.vm).await.map(|seen| seen.vm)
            };
            let runs = match seen {
                Ok(vm) => upload.which.runs(&vm, is_list),
                Err(LookError::Gone) if is_list => false,
                // A reading that failed or is old keeps the place taken: a place too few for a while harms nobody.
                Err(_) => true,
            };
            if runs && shared.executor.clock.now() < upload.until {
                shared.keep_running(upload, slot);
            }
        }
    }
    std::future::pending().await
}
