//! Follows what is stored of one VM along its course: each VM has its own, however alike the decisions are.

use super::counts::StoredForecast;
use super::course::{BackupRef, Course, ForecastBackup, Step, made_id};
use super::start_state::with_backups;
use crate::inventory::{Backup, BackupId, LocalState, RecordedState, Vm};
use crate::plan::keep::Keeps;
use crate::plan::standing::VmView;
use crate::plan::{BackupKind, Expired, Prune, Request};
use crate::policy::{Policy, TierIndex};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// The course of one VM.
pub(super) struct Replay<'r, 'a> {
    pub(super) policy: &'a Policy,
    pub(super) course: &'r Course,
    /// The VM's own times at which it is decided.
    pub(super) times: &'r [DateTime<Utc>],
    pub(super) until: DateTime<Utc>,
}

impl Replay<'_, '_> {
    /// Counts what is stored of a VM along the way; `settled` is the VM as the course begins, and `ids` its backups that are
    /// mentioned there.
    pub(super) fn stored(&self, vm: &Vm, settled: &Vm, ids: &[BackupId]) -> StoredForecast {
        let mut state = with_backups(settled, settled.backups.clone());
        let mut counts = StoredForecast { stored_max: completed(&state), ..StoredForecast::default() };
        for step in &self.course.steps {
            let time = self.time_of(step);
            let expired = self.expired(&state, time);
            self.carry_out(step, &mut state, ids);
            counts.stored_max = counts.stored_max.max(completed(&state));
            counts.pruned += expired.len();
            state.backups.retain(|backup| !expired.contains(&backup.id));
        }
        counts.stored = completed(&state);
        counts.stored_size_bytes = self.size_bytes(vm, &state);
        let view = VmView::new(&state, self.policy, self.until);
        counts.expired = Keeps::of(&view).expired(&view).len();
        counts
    }

    fn time_of(&self, step: &Step) -> DateTime<Utc> {
        self.times.get(step.time).copied().unwrap_or(self.until)
    }

    /// Finds what is deleted from storage at an instant, where the policy asks for it.
    fn expired(&self, vm: &Vm, now: DateTime<Utc>) -> BTreeSet<BackupId> {
        if !self.policy.prune {
            return BTreeSet::new();
        }
        let view = VmView::new(vm, self.policy, Request { prune: Prune::REQUESTED, ..now.into() });
        Expired::of(&view, &Keeps::of(&view)).deletes.iter().map(|backup| backup.id()).collect()
    }

    /// Makes the backup of a step and deletes its snapshots.
    fn carry_out(&self, step: &Step, vm: &mut Vm, ids: &[BackupId]) {
        let id_of = |place: &BackupRef| match place {
            BackupRef::Existing(place) => ids.get(*place).copied(),
            BackupRef::Forecast(number) => Some(made_id(*number)),
        };
        if let Some((number, made)) = step.made.and_then(|at| Some((at, self.course.made.get(at)?))) {
            vm.backups.insert(Backup {
                id: made_id(number),
                comment: Some(self.policy.tiers[made.tier].comment.as_str().into()),
                timestamp: Some(self.time_of(step) + made.late),
                state: RecordedState::Completed,
                parent: made.parent.as_ref().and_then(id_of),
                local: LocalState::Present,
                local_size_bytes: None,
                files: Vec::new(),
                record_size_bytes: None,
                has_record_checksum: false,
            });
        }
        for id in step.deleted.iter().filter_map(id_of) {
            if let Some(backup) = vm.backups.get_mut(id) {
                backup.local = LocalState::Absent;
                backup.local_size_bytes = Some(0);
            }
        }
    }

    /// Sums up what is stored of a VM in the end, as far as sizes are known.
    fn size_bytes(&self, vm: &Vm, end: &Vm) -> u64 {
        let newest = newest_sizes(vm, self.policy);
        let of_made =
            |made: &ForecastBackup| newest.get(&(made.tier, made.kind == BackupKind::Full)).copied();
        let made: BTreeMap<BackupId, &ForecastBackup> =
            self.course.made.iter().enumerate().map(|(number, made)| (made_id(number), made)).collect();
        let size = |backup: &Backup| match made.get(&backup.id) {
            Some(made) => of_made(made),
            None => vm.backups.get(backup.id)?.size_bytes(),
        };
        let stored = end.backups.values().filter(|backup| backup.state == RecordedState::Completed);
        stored.filter_map(size).fold(0, u64::saturating_add)
    }
}

fn completed(vm: &Vm) -> usize {
    vm.backups.values().filter(|backup| backup.state == RecordedState::Completed).count()
}

/// Finds the size of the newest completed backup of each tier and type; the second of the key says whether it is full.
fn newest_sizes(vm: &Vm, policy: &Policy) -> BTreeMap<(TierIndex, bool), u64> {
    let mut completed: Vec<&Backup> =
        vm.backups.values().filter(|backup| backup.state == RecordedState::Completed).collect();
    completed.sort_by_key(|backup| (backup.timestamp, backup.id));
    let size = |backup: &&Backup| {
        let tier = policy.tier_of(backup.comment.as_deref())?;
        Some(((tier, backup.parent.is_none()), backup.size_bytes()?))
    };
    completed.iter().filter_map(size).collect()
}
