//! Judges of deletes from storage: what the judges keep by their own reading, and what may be sent at all.

use super::truth::{Records, is_over};
use super::{Cause, HOUR_US, Judges, READING_RESTS_FOR, Seen, TIERS, is_fit};
use crate::cloud::MAX_AGE_DAYS;
use crate::transport::RequestRecord;
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::apply::Approval;
use fifo_retain::plan::{Action, VmPlan};
use fifo_retain::sandbox::{ApiStyle, Record, Upload, Vm, World};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// So far the date that an answer has may be off, where a proxy shifts it.
const SHIFTED_BY_US: i64 = 600_000_000;

/// What cannot be restored stays for so long.
const EVIDENCE_US: i64 = 35 * 24 * HOUR_US;

/// What newer backups made expire does not count against the limit, as far as they are of this time.
const LIMIT_SPAN_US: i64 = 8 * 24 * HOUR_US;

#[derive(Default)]
pub(super) struct Prunes {
    may_prune: BTreeMap<usize, bool>,
    /// The senders that carry out only what their plan lists.
    is_bound: BTreeMap<usize, bool>,
    /// What the plans of the run list, by sender.
    listed: BTreeMap<usize, BTreeSet<(Uuid, Uuid)>>,
    /// What was sent, with everything that is wrong with it if it takes effect. It may be in transit for long.
    sent: BTreeMap<(Uuid, Uuid), Vec<String>>,
}

impl Judges {
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
        let style = world.shape.style;
        let mut wrong =
            if may_be_old { Vec::new() } else { self.wrong_with_prune(before, style, named, asked.at) };
        let is_child = |upload: &Upload| upload.vm == vm && upload.parent == Some(named);
        if !may_be_old && world.uploads.values().any(is_child) {
            wrong.push(format!("deleted from storage while an increment on it was made: {named}"));
        }
        self.prunes.sent.insert((vm, named), wrong);
        Some(named)
    }

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
        let again = "a second delete was sent to a FiFo that takes more than it is asked to";
        self.lose(asked, vm, Cause::Prune, false, again);
    }

    fn wrong_with_prune(&self, vm: &Vm, style: ApiStyle, named: Uuid, at: DateTime<Utc>) -> Vec<String> {
        let Some(record) = vm.backups.get(&named) else { return Vec::new() };
        let slack_us = if self.dates_are_wrong { SHIFTED_BY_US } else { 0 };
        let records = Records::new(vm, style, self.latest.timestamp_micros() + slack_us);
        let kept = self.kept(records);
        let newest = self.restorable(records, None).pop().and_then(|id| vm.backups[&id].timestamp);
        let max_age_us = TimeDelta::days(MAX_AGE_DAYS).num_microseconds().unwrap();
        let age_us = record.timestamp.map_or(0, |taken_us| at.timestamp_micros() - taken_us);
        let (expired, limit) = self.expired_before(records, style);
        let wrong = [
            (!is_fit(vm), "on a VM that cannot be backed up"),
            (record.local == Some(true), "while it was local"),
            (record.local_size > Some(0), "while it held a snapshot"),
            (
                vm.backups.values().any(|other| other.parent == Some(named)),
                "with something that descends from it",
            ),
            (age_us < HOUR_US - slack_us, "within an hour"),
            (kept.contains(&named), "although it is kept"),
            (!is_over(record) && age_us < EVIDENCE_US - slack_us, "although it may still end"),
            (self.is_evidence(records, &kept, named), "although it is evidence"),
            (
                newest.is_none_or(|newest_us| records.at_us - newest_us > max_age_us + 2 * slack_us),
                "while no new backups come",
            ),
            (
                slack_us == 0 && self.has_unknown_parent(records, named),
                "while a backup that may be running has not named its parent",
            ),
            (slack_us == 0 && expired > limit, "over the limit"),
        ];
        let wrong = wrong.into_iter().filter(|(is_wrong, _)| *is_wrong);
        wrong.map(|(_, what)| format!("deleted from storage {what}: {named}")).collect()
    }

    /// Returns what has to stay stored: the newest of each tier, what is of none, what runs, what is needed locally, what
    /// cannot be restored while nothing newer can, and what these descend from.
    pub(super) fn kept(&self, records: Records<'_>) -> BTreeSet<Uuid> {
        let vm = records.vm;
        let newest = self.restorable(records, None).pop();
        let mut kept: BTreeSet<Uuid> = newest.into_iter().collect();
        let (keep_monthly, keep_weekly) = self.rules.keep_coarser.unzip();
        for (tier, keep) in TIERS.into_iter().zip([keep_monthly, keep_weekly, self.rules.keep]) {
            let keep = keep.map_or(usize::MAX, |keep| {
                let keep = if tier == "daily" { keep.max(self.rules.daily_keeps_local) } else { keep };
                usize::try_from(keep).unwrap()
            });
            kept.extend(self.restorable(records, Some(tier)).into_iter().rev().take(keep));
            kept.extend(self.parent_for(records, tier, None).filter(|_| self.has_tier(tier)));
        }
        let newest = newest.map(|id| (vm.backups[&id].timestamp, id));
        for (id, record) in &vm.backups {
            let is_undecided = !self.is_of_a_tier(record) || !Self::is_believable(record, records.at_us);
            let is_only_copy = !records.is_restorable(*id) && Some((record.timestamp, *id)) > newest;
            if is_undecided || is_only_copy || records.is_running(record) {
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

    /// Says whether a backup cannot be restored, and has to stay as evidence: neither is it old, nor does it hang on a chain
    /// that goes.
    fn is_evidence(&self, records: Records<'_>, kept: &BTreeSet<Uuid>, backup: Uuid) -> bool {
        let goes = |id: &Uuid| {
            let taken_us = records.vm.backups.get(id).and_then(|record| record.timestamp);
            records.is_restorable(*id) || taken_us.is_none_or(|at_us| records.at_us - at_us >= EVIDENCE_US)
        };
        let is_there = |id: &Uuid| records.vm.backups.contains_key(id) && !kept.contains(id);
        !records.chain(backup).take_while(is_there).any(|id| goes(&id))
    }

    /// Counts the completed backups that would be expired even without those of the last days, and how many may be.
    fn expired_before(&self, records: Records<'_>, style: ApiStyle) -> (usize, usize) {
        let is_completed = |record: &Record| record.state.as_deref() == Some("completed");
        let completed = records.vm.backups.values().filter(|record| is_completed(record)).count();
        // A gap between two of them counts as `max_age` at most: what the last night before an outage released goes after it.
        let gap_max_us = TimeDelta::days(MAX_AGE_DAYS).num_microseconds().unwrap();
        let restorable = self.restorable(records, None);
        let taken_us = |id: &Uuid| records.vm.backups.get(id).and_then(|record| record.timestamp);
        let ago_us = |taken: i64| {
            let (mut newer, mut ago) = (records.at_us, 0);
            for step in restorable.iter().rev().filter_map(taken_us).filter(|step| *step > taken) {
                ago += (newer - step).clamp(0, gap_max_us);
                newer = newer.min(step);
            }
            ago + (newer - taken).clamp(0, gap_max_us)
        };
        let mut before = records.vm.clone();
        before.backups.retain(|_, record| {
            let is_recent = |taken| taken <= records.at_us && ago_us(taken) < LIMIT_SPAN_US;
            !record.timestamp.is_some_and(is_recent)
        });
        let before = Records::new(&before, style, records.at_us);
        let kept = self.kept(before);
        let goes = |(id, record): &(&Uuid, &Record)| {
            is_completed(record) && !kept.contains(id) && !self.is_evidence(before, &kept, **id)
        };
        (before.vm.backups.iter().filter(goes).count(), 2.max(completed / 10))
    }
}
