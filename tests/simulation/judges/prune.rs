//! Judges of deletes from storage: what the judges keep by their own reading, and what may be sent at all.

use super::truth::{is_unverified_in, shows_restorable_in};
use super::{FUTURE_US, HOUR_US, Judges, READING_RESTS_FOR, STUCK_AFTER_US, Seen};
use crate::cloud::MAX_AGE_DAYS;
use crate::transport::RequestRecord;
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::apply::Approval;
use fifo_retain::plan::{Action, VmPlan};
use fifo_retain::sandbox::{Record, Upload, Vm, World};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// So far the date that an answer has may be off, where a proxy shifts it.
const SHIFTED_BY_US: i64 = 600_000_000;

/// What is to be deleted from storage, and what was sent.
#[derive(Default)]
pub(super) struct Prunes {
    /// Whether both switches are on, by sender.
    may_prune: BTreeMap<usize, bool>,
    /// The senders that carry out only what their plan lists.
    is_bound: BTreeMap<usize, bool>,
    /// What the plans of the run list, by sender.
    listed: BTreeMap<usize, BTreeSet<(Uuid, Uuid)>>,
    /// What was sent, with everything that is wrong with it if it takes effect. It may be in transit for long.
    sent: BTreeMap<(Uuid, Uuid), Vec<String>>,
}

impl Judges {
    /// Takes note of what a run is about to do.
    pub(crate) fn lists(&mut self, sender: usize, may_prune: bool, approval: Approval, vms: &[VmPlan]) {
        let listed = vms.iter().flat_map(|planned| {
            let deletes = planned.due_actions().iter().filter_map(Action::as_cloud_delete);
            deletes.filter_map(|delete| Some((planned.uuid?.uuid(), delete.backup.uuid())))
        });
        self.prunes.listed.insert(sender, listed.collect());
        self.prunes.may_prune.insert(sender, may_prune);
        self.prunes.is_bound.insert(sender, approval == Approval::Listed);
    }

    /// Judges that an alarm is about something: what was to go, and has gone, is none.
    pub(crate) fn is_alarm(&mut self, gone: impl IntoIterator<Item = Uuid>, alarm: &str) {
        let is_listed = |id: &Uuid| self.prunes.listed.values().flatten().any(|(_, listed)| listed == id);
        // After a create nothing is gone: its body was lost.
        let gone: Vec<Uuid> = gone.into_iter().collect();
        let are_listed = gone.iter().all(|id| is_listed(id) && !self.removed.contains(id));
        if !gone.is_empty() && are_listed && !self.had_two_runners && !self.takes_more {
            self.found.push(format!("an alarm about what was to go: {alarm}"));
        }
    }

    /// Says whether a request deletes from storage, as it was sent; judges that it was sent at all.
    pub(super) fn prune_named(
        &mut self,
        world: &World,
        asked: &RequestRecord,
        vm: Uuid,
        right: DateTime<Utc>,
    ) -> Option<Uuid> {
        let named = asked.target.rsplit('/').next().and_then(|part| Uuid::try_parse(part).ok())?;
        if asked.is_late {
            return self.prunes.sent.contains_key(&(vm, named)).then_some(named);
        }
        let before = asked.vm_before.as_ref()?;
        if self.prunes.may_prune.get(&asked.sender) != Some(&true) {
            self.report(asked, "a delete from storage that policy and command do not both ask for");
        }
        let is_listed =
            self.prunes.listed.get(&asked.sender).is_some_and(|listed| listed.contains(&(vm, named)));
        if !is_listed && self.prunes.is_bound.get(&asked.sender) == Some(&true) {
            self.report(asked, "a delete from storage that the plan does not list");
        }
        // What is read before a clock is set, or without a version before people do something, is old.
        let is_near = |at: Option<DateTime<Utc>>| at.is_some_and(|at| right - at < READING_RESTS_FOR);
        let may_be_old = is_near(self.clocks_set_at) || asked.if_match.is_none() && is_near(self.people_at);
        let mut wrong = if may_be_old { Vec::new() } else { self.wrong_with_prune(before, named, asked.at) };
        let is_child = |upload: &Upload| upload.vm == vm && upload.parent == Some(named);
        if !may_be_old && world.uploads.values().any(is_child) {
            wrong.push(format!("deleted from storage while an increment on it was made: {named}"));
        }
        self.prunes.sent.insert((vm, named), wrong);
        Some(named)
    }

    /// Judges what a delete from storage has done to a VM.
    pub(super) fn judge_prune(
        &mut self,
        asked: &RequestRecord,
        vm: Uuid,
        named: Uuid,
        before: &Seen,
        after: &Seen,
    ) {
        let gone: BTreeSet<Uuid> = before.ids.difference(&after.ids).copied().collect();
        if gone.is_empty() {
            return;
        }
        for wrong in self.prunes.sent.get(&(vm, named)).cloned().unwrap_or_default() {
            self.report(asked, &wrong);
        }
        let may_meet_anything = asked.is_late && asked.if_match.is_none();
        if gone == BTreeSet::from([named]) || may_meet_anything {
            return;
        }
        if !self.takes_more {
            self.report(asked, &format!("a delete from storage took more than it names: {gone:?}"));
        }
        // FiFo took what it was not asked for: that can happen once, and has to be noticed.
        self.taken.extend(gone.iter().copied());
        self.removed.extend(gone);
        self.lose(asked, vm, false, "a second delete was sent to a FiFo that takes more than it is asked to");
    }

    /// Finds everything that is wrong with a delete from storage of a VM as it is.
    fn wrong_with_prune(&self, vm: &Vm, named: Uuid, at: DateTime<Utc>) -> Vec<String> {
        let Some(record) = vm.backups.get(&named) else { return Vec::new() };
        let mut wrong = Vec::new();
        let mut is_wrong = |is_wrong: bool, what: &str| {
            if is_wrong {
                wrong.push(format!("{what}: {named}"));
            }
        };
        let slack_us = if self.dates_are_wrong { SHIFTED_BY_US } else { 0 };
        is_wrong(vm.hypervisor().is_none(), "deleted from storage on no hypervisor");
        is_wrong(record.local == Some(true), "deleted from storage while it was local");
        is_wrong(record.local_size > Some(0), "deleted from storage while it held a snapshot");
        let has_child = vm.backups.values().any(|other| other.parent == Some(named));
        is_wrong(has_child, "deleted from storage with something that descends from it");
        let age_us = record.timestamp.map_or(0, |taken_us| at.timestamp_micros() - taken_us);
        is_wrong(age_us < HOUR_US - slack_us, "deleted from storage within an hour");
        is_wrong(self.kept(vm, slack_us).contains(&named), "deleted from storage although it is kept");
        is_wrong(self.is_stalled(vm, slack_us), "deleted from storage while no new backups come");
        wrong
    }

    /// Returns what has to stay stored: the newest of each tier, what is of none, what runs, and what these descend from.
    fn kept(&self, vm: &Vm, slack_us: i64) -> BTreeSet<Uuid> {
        let latest_us = self.latest.timestamp_micros();
        let counts = self.counting(vm);
        let mut kept: BTreeSet<Uuid> = counts.iter().max().map(|(_, id)| *id).into_iter().collect();
        let keeps = [
            ("monthly", self.rules.keep_coarser.map(|keep| keep.0)),
            ("weekly", self.rules.keep_coarser.map(|keep| keep.1)),
            ("daily", self.rules.keep),
        ];
        for (tier, keep) in keeps {
            let of_tier = counts.iter().rev().filter(|(_, id)| self.tier_of(&vm.backups[id]) == Some(tier));
            let keep = keep.map_or(usize::MAX, |keep| usize::try_from(keep).unwrap());
            kept.extend(of_tier.take(keep).map(|(_, id)| *id));
        }
        for (id, record) in &vm.backups {
            let taken_us = record.timestamp;
            let is_undecided = self.tier_of(record).is_none()
                || taken_us.is_none_or(|taken_us| taken_us > latest_us + FUTURE_US + slack_us);
            let is_young = taken_us.is_some_and(|taken_us| latest_us - taken_us < STUCK_AFTER_US - slack_us);
            if is_undecided || is_young && (!is_over(record) || is_unverified_in(vm, *id)) {
                kept.insert(*id);
            }
        }
        let mut next: Vec<Uuid> = kept.iter().copied().collect();
        while let Some(id) = next.pop() {
            let parent = vm.backups.get(&id).and_then(|record| record.parent);
            next.extend(parent.filter(|parent| kept.insert(*parent)));
        }
        kept
    }

    /// Returns what can be restored and shows it, oldest first.
    fn counting(&self, vm: &Vm) -> BTreeSet<(Option<i64>, Uuid)> {
        let latest_us = self.latest.timestamp_micros();
        let is_believable =
            |record: &Record| record.timestamp.is_some_and(|at_us| at_us <= latest_us + FUTURE_US);
        let backups = vm.backups.iter().filter(|(_, record)| is_believable(record));
        let restorable = backups.filter(|(id, _)| shows_restorable_in(vm, **id));
        restorable.map(|(id, record)| (record.timestamp, *id)).collect()
    }

    /// Says whether no new backups come: the newest is old, or a newer one has failed or never ended.
    fn is_stalled(&self, vm: &Vm, slack_us: i64) -> bool {
        let latest_us = self.latest.timestamp_micros();
        let Some((Some(newest_us), newest)) = self.counting(vm).pop_last() else { return true };
        let max_age_us = TimeDelta::days(MAX_AGE_DAYS).num_microseconds().unwrap();
        let has_failed = vm.backups.iter().any(|(id, record)| {
            let Some(taken_us) = record.timestamp else { return false };
            let has_had_its_time = latest_us - taken_us >= STUCK_AFTER_US + slack_us;
            let is_bad = match record.state.as_deref() {
                Some("completed") => {
                    vm.stored.get(id).is_some_and(|stored| !stored.sound)
                        || has_had_its_time && is_unverified_in(vm, *id)
                }
                Some(state) if state.contains("failed") => true,
                _ => has_had_its_time,
            };
            is_bad && taken_us <= latest_us + FUTURE_US - slack_us && (taken_us, *id) > (newest_us, newest)
        });
        latest_us - newest_us > max_age_us + slack_us || has_failed
    }
}

/// Says whether an upload has ended, well or not.
fn is_over(record: &Record) -> bool {
    record.state.as_deref().is_some_and(|state| state == "completed" || state.contains("failed"))
}
