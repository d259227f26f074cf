//! Runs one VM forward.

use super::counts::{ForecastCounts, StoredForecast};
use super::course::{BackupRef, Course, ForecastBackup, Step, made_id};
use super::occurrences::{OccurrenceRange, VmOccurrenceRange};
use super::replay::Replay;
use super::start_state::{Start, StateKey, settled, snapshots, trimmed};
use crate::inventory::{BackupId, Vm};
use crate::plan::Action;
use crate::plan::decide::local_actions;
use crate::plan::projection;
use crate::plan::standing::VmView;
use crate::policy::Policy;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;

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

impl<'a> Runner<'a> {
    pub(super) fn new(policy: &'a Policy, from: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        Self { policy, from, range: OccurrenceRange::new(policy, from, until), known: BTreeMap::new() }
    }

    /// Returns the forecast of a VM; `None` when that would take more decisions than are left.
    pub(super) fn run(&mut self, vm: &Vm, decisions_left: &mut usize) -> Option<ForecastCounts> {
        let settled = settled(vm, self.policy, self.from);
        let range = self.range.of(vm.id);
        let start = Start::new(&settled, self.policy, self.from, &range);
        // What is due now, what is tried again, what a suspension held back, and then what becomes due.
        let mut times = range.times();
        let until = self.range.until();
        let others = start.retries.iter().copied().chain([self.from]).chain(self.policy.suspended_until(vm));
        times.extend(others.filter(|&time| self.from <= time && time <= until));
        times.sort_unstable();
        times.dedup();
        // What is stored, and so what expires, is each VM's own.
        if self.policy.prune {
            *decisions_left = decisions_left.checked_sub(times.len())?;
        }
        if !self.known.contains_key(&start.key) {
            *decisions_left = decisions_left.checked_sub(times.len())?;
            let course = self.course(&settled, &start, &range, &times);
            self.known.insert(start.key.clone(), course);
        }
        let course = self.known.get(&start.key)?;
        let replay = Replay { policy: self.policy, course, times: &times, until };
        Some(self.outlook(course, &replay.stored(vm, &settled, &start.ids)))
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
        let decided = times.iter().copied().enumerate();
        for (place, time) in decided.filter(|&(_, time)| !self.policy.suspends(&start.vm, time)) {
            let mut step = Step { time: place, made: None, deleted: Vec::new() };
            let occurrences = range.occurrences(time);
            let view = VmView::new(&vm, self.policy, time);
            let actions = local_actions(&view, &occurrences);
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
                        let tier = self.policy.tiers.iter().position(|tier| *tier.name == *create.tier);
                        step.made = tier.map(|_| course.made.len());
                        let late = TimeDelta::zero();
                        let made = tier.map(|tier| ForecastBackup { tier, kind: create.kind, late, parent });
                        course.made.extend(made);
                    }
                    Action::DeleteLocal(delete) => {
                        step.deleted.extend(places.get(&delete.backup.unwrap_or(new)));
                        held = held.saturating_sub(1);
                    }
                    // Not among these.
                    Action::DeleteCloud(_) => {}
                }
            }
            course.local_max = course.local_max.max(held);
            let after = projection::executed(&vm, &actions, new, time);
            // A little later than planned, where a clock ahead of ours has stamped another one.
            let taken = after.backups.get(new).and_then(|backup| backup.timestamp);
            if let (Some(made), Some(taken)) = (course.made.last_mut(), taken) {
                made.late = taken - time;
            }
            course.steps.push(step);
            vm = if after.backups.len() > BACKUPS_MAX {
                trimmed(&VmView::new(&after, self.policy, time), &occurrences)
            } else {
                after
            };
        }
        course.local = held;
        course
    }

    /// Counts a course for one of the VMs that take it, given what is stored of that one.
    fn outlook(&self, course: &Course, stored: &StoredForecast) -> ForecastCounts {
        let mut outlook = ForecastCounts::of(Some(self.policy));
        for made in &course.made {
            outlook.count_create(made.tier, made.kind);
        }
        outlook.deleted_locally = course.steps.iter().map(|step| step.deleted.len()).sum();
        outlook.local = course.local;
        outlook.local_max = course.local_max;
        outlook.steps_max = course.steps_max;
        outlook.stored = stored.clone();
        outlook
    }
}
