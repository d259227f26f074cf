//! The engine: one VM from run to run, each run the loop that `apply` has, on the real decision.

use super::Scenario;
use super::world::SimulatedVm;
use crate::inventory::BackupId;
use crate::plan::decide::actions;
use crate::plan::due::Occurrences;
use crate::plan::standing::VmView;
use crate::plan::{Action, next_turning_point, projection};
use crate::policy::{Name, Policy};
use chrono::{DateTime, TimeDelta, Utc};
use std::ops::ControlFlow;

/// So many backups are worth looking for some that no decision reads any more.
const TRIM_ABOVE: usize = 24;

pub(super) struct Engine<'a> {
    pub(super) policy: &'a Policy,
    pub(super) scenario: &'a Scenario,
    occurrences: Occurrences<'a>,
    /// With more backups than this in the working set, those that no decision reads any more leave it.
    pub(super) trim_above: usize,
}

impl<'a> Engine<'a> {
    pub(super) fn new(policy: &'a Policy, scenario: &'a Scenario) -> Self {
        let occurrences = Occurrences::over(policy, scenario.from, scenario.until);
        Self { policy, scenario, occurrences, trim_above: TRIM_ABOVE }
    }

    /// Lets a VM live through the scenario. `each` sees it before each run, and at the end; it can end the simulation before.
    pub(super) fn play(
        &self,
        vm: &mut SimulatedVm,
        mut each: impl FnMut(&SimulatedVm, DateTime<Utc>) -> ControlFlow<()>,
    ) {
        let Scenario { from, until, every, .. } = *self.scenario;
        let mut next = Some(from);
        while let Some(now) = next.map(|next| self.scenario.up_at(next)).filter(|now| *now < until) {
            if each(vm, now).is_break() || self.scenario.is_stopped() {
                return;
            }
            let turning_point = self.run(vm, &self.occurrences.at(now));
            next = match every.map(|every| every.num_seconds().max(1)) {
                // What falls into an outage is not made up for later.
                Some(every) => {
                    Some(from + TimeDelta::seconds(((now - from).num_seconds() / every + 1) * every))
                }
                None => turning_point,
            };
        }
        // Whether it goes on makes no difference any more.
        _ = each(vm, until);
    }

    /// Lets one run happen, in the order of the executor: what may be deleted locally, a create of a tier that this run has not
    /// tried, and prunes that its first decision listed too. Nothing follows a create that failed but another one. Returns when the
    /// next decision can be another one.
    fn run(&self, vm: &mut SimulatedVm, occurrences: &Occurrences<'_>) -> Option<DateTime<Utc>> {
        let now = occurrences.now();
        let fails = self.scenario.do_uploads_fail(now);
        let (mut created, mut listed_first): (Vec<Name>, _) = (Vec::new(), None);
        let mut is_over = self.policy.suspends(&vm.vm, now);
        loop {
            let view = VmView::new(&vm.vm, self.policy, self.scenario.request(now));
            let planned = if is_over { Vec::new() } else { actions(&view, occurrences) };
            let mut prunes: Vec<BackupId> =
                planned.iter().filter_map(Action::as_cloud_delete).map(|delete| delete.backup).collect();
            let listed_first = listed_first.get_or_insert_with(|| prunes.clone());
            let create = planned.iter().find_map(Action::as_create);
            // Then what may be deleted locally is all that is left.
            is_over |= listed_first.is_empty() && create.is_none();
            let locals = planned.iter().filter_map(Action::as_local_delete).filter(|it| !it.after_create);
            let locals: Vec<BackupId> = locals.filter_map(|delete| delete.backup).collect();
            prunes.retain(|backup| listed_first.contains(backup));
            if !locals.is_empty() {
                locals.iter().for_each(|id| projection::delete_locally(&mut vm.vm, *id));
            } else if let Some(create) = create.filter(|create| !created.contains(&create.tier)) {
                vm.create(self.policy, create, now, !fails);
                created.push(create.tier.clone());
            } else if create.is_none() && !prunes.is_empty() && (created.is_empty() || !fails) {
                vm.prune(&prunes);
            } else {
                let next = next_turning_point(&view, occurrences);
                vm.trim(self.policy, self.scenario.request(now), self.trim_above);
                return next;
            }
        }
    }
}
