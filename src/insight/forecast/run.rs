//! Runs one VM forward.

use super::counts::ForecastCounts;
use super::occurrences::{OccurrenceRange, VmOccurrenceRange};
use super::start_state::{Start, StateKey, settled, snapshots, trimmed, with_backups};
use crate::inventory::{Backup, BackupId, LocalState, RecordedState, Vm};
use crate::plan::decide::{Decision, decision};
use crate::plan::due::Occurrences;
use crate::plan::projection;
use crate::plan::standing::VmView;
use crate::plan::stored::expired;
use crate::plan::{Action, BackupKind};
use crate::policy::{Policy, TierIndex};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A VM with more backups than this is trimmed again during the simulation.
const BACKUPS_MAX: usize = 24;

/// Runs the VMs of one policy forward, and remembers the result for each [`StateKey`].
#[derive(Debug)]
pub(super) struct Runner<'a> {
    policy: &'a Policy,
    from: DateTime<Utc>,
    range: OccurrenceRange<'a>,
    known: BTreeMap<StateKey, Course>,
}

/// The forecast of a VM, in terms of its [`StateKey`].
#[derive(Clone, Debug, Default)]
struct Course {
    made: Vec<ForecastBackup>,
    deleted: Vec<BackupRef>,
    local: usize,
    local_max: usize,
    steps_max: usize,
}

/// A backup that was made on the way.
#[derive(Clone, Debug)]
struct ForecastBackup {
    tier: TierIndex,
    kind: BackupKind,
    at: DateTime<Utc>,
    parent: Option<BackupRef>,
}

/// Which backup is meant, whatever its UUID.
#[derive(Clone, Copy, Debug)]
enum BackupRef {
    /// One that was there at the beginning, by its place in [`Start::ids`].
    Existing(usize),
    /// One that was made on the way, by its place in [`Course::made`].
    Forecast(usize),
}

impl<'a> Runner<'a> {
    pub(super) fn new(policy: &'a Policy, from: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        Self { policy, from, range: OccurrenceRange::new(policy, from, until), known: BTreeMap::new() }
    }

    /// Returns the forecast of a VM; `None` when that would take more decisions than are left.
    pub(super) fn run(&mut self, vm: &Vm, decisions_left: &mut usize) -> Option<ForecastCounts> {
        let settled = settled(vm, self.policy, self.from);
        let range = self.range.of(vm.id);
        let start = Start::new(&settled, self.policy, self.from, &range);
        if let Some(course) = self.known.get(&start.key) {
            return Some(self.outlook(course, &settled, &start));
        }
        // What is due now, what is tried again, what a suspension held back, and then what becomes due.
        let mut times = range.times();
        let until = self.range.until();
        let others = start.retries.iter().copied().chain([self.from]).chain(self.policy.suspended_until(vm));
        times.extend(others.filter(|&time| self.from <= time && time <= until));
        times.sort_unstable();
        times.dedup();
        *decisions_left = decisions_left.checked_sub(times.len())?;
        let course = self.course(&settled, &start, &range, &times);
        let outlook = self.outlook(&course, &settled, &start);
        self.known.insert(start.key, course);
        Some(outlook)
    }

    fn course(
        &self,
        settled: &Vm,
        start: &Start,
        range: &VmOccurrenceRange<'_, '_>,
        times: &[DateTime<Utc>],
    ) -> Course {
        let mut course = Course::default();
        let mut places: BTreeMap<BackupId, BackupRef> =
            start.ids.iter().enumerate().map(|(place, &id)| (id, BackupRef::Existing(place))).collect();
        let mut steps: BTreeMap<BackupId, usize> = start.steps().collect();
        let mut vm = start.vm.clone();
        // Those without a timestamp are not looked at, and stay.
        let mut held = snapshots(settled);
        course.local_max = if self.policy.suspends(&vm, self.from) { held } else { 0 };
        for &time in times.iter().filter(|&&time| !self.policy.suspends(&start.vm, time)) {
            let occurrences = range.occurrences(time);
            let view = VmView::new(&vm, self.policy, time);
            let Decision::Act { actions, tier } = decision(&view, &occurrences, &mut Vec::new()) else {
                course.local_max = course.local_max.max(held);
                continue;
            };
            let new = made_id(course.made.len());
            for action in &actions {
                match action {
                    Action::Create(create) => {
                        places.insert(new, BackupRef::Forecast(course.made.len()));
                        let parent_steps = create.parent.and_then(|parent| steps.get(&parent)).copied();
                        steps.insert(new, parent_steps.unwrap_or(0) + 1);
                        course.steps_max = course.steps_max.max(parent_steps.unwrap_or(0) + 1);
                        held += 1;
                        let parent = create.parent.and_then(|parent| places.get(&parent)).copied();
                        course.made.extend(tier.map(|tier| ForecastBackup {
                            tier,
                            kind: create.kind,
                            at: time,
                            parent,
                        }));
                    }
                    Action::DeleteLocal(delete) => {
                        course.deleted.extend(places.get(&delete.backup.unwrap_or(new)));
                        held = held.saturating_sub(1);
                    }
                    // Not among what `decision` decides.
                    Action::DeleteCloud(_) => {}
                }
            }
            course.local_max = course.local_max.max(held);
            let after = projection::executed(&vm, &actions, new, time);
            // A little later than planned, where a clock ahead of ours has stamped another one.
            let taken = after.backups.get(new).and_then(|backup| backup.timestamp);
            if let (Some(made), Some(taken)) = (course.made.last_mut(), taken) {
                made.at = taken;
            }
            vm = if after.backups.len() > BACKUPS_MAX {
                trimmed(&VmView::new(&after, self.policy, time), &occurrences)
            } else {
                after
            };
        }
        course.local = held;
        course
    }

    /// Counts a course for one of the VMs that take it.
    fn outlook(&self, course: &Course, settled: &Vm, start: &Start) -> ForecastCounts {
        let mut outlook = ForecastCounts::of(Some(self.policy));
        for made in &course.made {
            outlook.count_create(made.tier, made.kind);
        }
        outlook.deleted_locally = course.deleted.len();
        outlook.local = course.local;
        outlook.local_max = course.local_max;
        outlook.steps_max = course.steps_max;
        let after = self.carried_through(course, settled, start);
        let until = self.range.until();
        let occurrences = Occurrences::new(self.policy, until);
        outlook.expired = expired(&VmView::new(&after, self.policy, until), &occurrences).len();
        outlook
    }

    /// Returns a VM with all its backups, those that are trimmed away on the way as well, as it is in the end.
    fn carried_through(&self, course: &Course, settled: &Vm, start: &Start) -> Vm {
        let id_of = |place: &BackupRef| match place {
            BackupRef::Existing(place) => start.ids.get(*place).copied(),
            BackupRef::Forecast(number) => Some(made_id(*number)),
        };
        let mut backups = settled.backups.clone();
        for (number, made) in course.made.iter().enumerate() {
            let backup = Backup {
                id: made_id(number),
                comment: Some(self.policy.tiers[made.tier].comment.as_str().into()),
                timestamp: Some(made.at),
                state: RecordedState::Completed,
                parent: made.parent.as_ref().and_then(id_of),
                local: LocalState::Present,
                local_size_bytes: None,
                files: Vec::new(),
                record_size_bytes: None,
                has_record_checksum: false,
            };
            backups.insert(backup);
        }
        for id in course.deleted.iter().filter_map(id_of) {
            if let Some(backup) = backups.get_mut(id) {
                backup.local = LocalState::Absent;
                backup.local_size_bytes = Some(0);
            }
        }
        with_backups(settled, backups)
    }
}

/// Returns the UUID that stands for a backup made on the way: greater than those there are, and different from any other.
fn made_id(number: usize) -> BackupId {
    let number = u128::try_from(number).unwrap_or(0);
    BackupId::new(Uuid::from_u128((u128::MAX - u128::from(u64::MAX)) | number))
}
