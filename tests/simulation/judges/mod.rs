//! Judges of what is done to the world. They know the promises and the world's truth, and none of the program's code.

mod at_the_end;
mod calendar;
mod creates;
mod growth;
mod locals;
mod prune;
mod sending;
mod truth;

use crate::scenario::Rules;
use crate::state_folder::StateFolder;
use crate::transport::RequestRecord;
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::sandbox::{Record, Upload, Vm, World};
use growth::Growths;
use locals::Locals;
use prune::Prunes;
use sending::Sending;
use std::collections::{BTreeMap, BTreeSet};
use truth::{Records, Seen, is_silent, restorable, seen};
use uuid::Uuid;

/// As the policies of a life say.
const STUCK_AFTER_US: i64 = 2 * HOUR_US;
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::hours(1);
const HOUR_US: i64 = 3_600_000_000;
/// How long an upload on a VM in no policy is taken to be running.
const STUCK_AFTER_DEFAULT_US: i64 = 12 * HOUR_US;
/// What is decided within so long of a change depends on the state before.
const READING_RESTS_FOR: TimeDelta = TimeDelta::minutes(2);
/// A date further ahead than this is a wrong one.
const FUTURE_US: i64 = 600_000_000;
const TIERS: [&str; 3] = ["monthly", "weekly", "daily"];
/// One whose date is no further ahead than this is waited for: clocks differ.
const AHEAD_US: i64 = HOUR_US - 60_000_000;

/// What has taken a backup that was to stay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    LocalDelete,
    Prune,
}

/// What the judges remember, and what they found.
#[derive(Default)]
pub(crate) struct Judges {
    pub(crate) found: Vec<String>,
    max_uploads: usize,
    max_uploads_per_hypervisor: usize,
    rules: Rules,
    /// Until when, by either clock, the policy of the protected VMs is suspended.
    suspended_until: Option<DateTime<Utc>>,
    /// Whether a proxy drops the bodies of DELETEs just now.
    pub(crate) bodies_are_dropped: bool,
    /// Whether FiFo takes more than a delete from storage names just now.
    pub(crate) takes_more: bool,
    pub(crate) clocks_set_at: Option<DateTime<Utc>>,
    pub(crate) people_at: Option<DateTime<Utc>>,
    /// Whether answers show another clock now than the one by which FiFo stamps backups.
    pub(crate) dates_are_wrong: bool,
    /// Whether single readings stay the same for ever, whichever node gives them.
    pub(crate) readings_freeze: bool,
    /// Whether those of some node do: it then takes an old version for the present one.
    pub(crate) versions_freeze: bool,
    /// Whether two runners are at it: then some promises are not made.
    pub(crate) two_runners: bool,
    /// Whether there were two in the last run: what they sent may arrive when they have ended.
    had_two_runners: bool,
    /// Whether writes have ever been late: then one without a condition may meet anything.
    pub(crate) writes_were_late: bool,
    /// Whether the list may have taken long in this run.
    pub(crate) lists_are_disturbed: bool,
    pub(crate) clock_set_at: Option<DateTime<Utc>>,
    pub(crate) stopped_at: Option<DateTime<Utc>>,
    sending: Sending,
    locals: Locals,
    prunes: Prunes,
    right: DateTime<Utc>,
    growths: Growths,
    /// What was made by a late request: another one may have been sent meanwhile, or none that was reported.
    came_late: BTreeSet<Uuid>,
    ran_already: BTreeSet<Uuid>,
    unfit_since: BTreeMap<Uuid, DateTime<Utc>>,
    /// Whether the list is always cut, so that VMs are read one by one, or was until just now.
    lists_are_cut: bool,
    lists_cut_at: Option<DateTime<Utc>>,
    /// Whether a proxy cuts answers just now, so that a run may come to read VMs one by one.
    pub(crate) lists_may_be_cut: bool,
    /// When each process last sent a create that no reading can show, by machine and VM.
    pub(crate) unproven_at: BTreeMap<(usize, Uuid), DateTime<Utc>>,
    /// What each machine has lost since a person last lifted its safety stop: chains, in whichever runs; and by deletes from
    /// storage, in this run, since nothing is noted of those.
    lost: BTreeMap<(usize, Cause), usize>,
    /// The tiers that each runner has made a backup of in this run.
    made_in_run: BTreeSet<(usize, Uuid, &'static str)>,
    made: BTreeMap<Uuid, i64>,
    /// The later one of both clocks at the last request: what the program plans for.
    latest: DateTime<Utc>,
    /// The clock of the machine that the program runs on, at the last request.
    own_us: i64,
    before: BTreeMap<Uuid, Seen>,
    /// What would be kept of each VM before; counted only while bodies are dropped.
    kept_before: BTreeMap<Uuid, BTreeSet<Uuid>>,
    /// Backups that could be restored until another client took them: a reading of a moment ago may still show them.
    taken: BTreeSet<Uuid>,
    /// Backups whose record another client took, by themselves or with their VM.
    removed: BTreeSet<Uuid>,
}

impl Judges {
    pub(crate) fn new(max_uploads: usize, max_uploads_per_hypervisor: usize) -> Self {
        Self { max_uploads, max_uploads_per_hypervisor, ..Self::default() }
    }

    pub(crate) fn rules_change(&mut self, rules: &Rules, now: DateTime<Utc>) {
        self.rules = rules.clone();
        let today = now.timestamp().div_euclid(86_400);
        let until_us = rules.suspended_days.map(|days| calendar::day_us(rules, today + days));
        self.suspended_until = until_us.and_then(DateTime::from_timestamp_micros);
    }

    /// Takes the world as it is for granted: it was changed by people, or by time.
    pub(crate) fn accept(&mut self, world: &World) {
        let now = seen(world);
        self.take(&now);
        self.remember(world, now);
    }

    /// Takes note of what people are about to change, as it is before.
    pub(crate) fn changes(&mut self, world: &World) {
        self.remember(world, seen(world));
    }

    /// Says why a backup is not what was reported as done; what people have taken was so until then.
    pub(crate) fn is_not_done(
        &self,
        world: &World,
        vm: Uuid,
        backup: Uuid,
        tier: &str,
        parent: Option<Uuid>,
    ) -> Option<String> {
        let Some(record) = world.vms.get(&vm).and_then(|vm| vm.backups.get(&backup)) else {
            return (!self.removed.contains(&backup)).then(|| "there is none".to_owned());
        };
        // Of what was deleted while it uploaded there are remains, which are no backup.
        let is_remnant = self.removed.contains(&backup) && record.state.as_deref() == Some("completed");
        if !is_remnant && (self.taken.contains(&backup) || self.removed.contains(&backup)) {
            return None;
        }
        // A tier's name is what it writes as a comment.
        if record.comment.as_deref() != Some(tier) {
            Some(format!("its comment is {:?}", record.comment))
        } else if record.timestamp.is_none() {
            Some("it has no timestamp".to_owned())
        } else if record.parent != parent {
            Some(format!("its parent is {:?}", record.parent))
        } else if !restorable(world, vm, backup) {
            Some("it cannot be restored".to_owned())
        } else if self.records(world, &world.vms[&vm]).is_unverified(record) {
            Some("its checksum is missing".to_owned())
        } else {
            None
        }
    }

    /// Says whether a backup is there and not local, or was until a person took its record.
    pub(crate) fn is_or_was_not_local(&self, world: &World, vm: Uuid, backup: Uuid) -> bool {
        let record = world.vms.get(&vm).and_then(|vm| vm.backups.get(&backup));
        self.removed.contains(&backup) || record.is_some_and(|record| record.local == Some(false))
    }

    fn take(&mut self, now: &BTreeMap<Uuid, Seen>) {
        for (vm, before) in &self.before {
            let is_there = |id: &&Uuid| now.get(vm).is_some_and(|after| after.restorable.contains(id));
            self.taken.extend(before.restorable.iter().filter(|id| !is_there(id)));
            let is_on_record = |id: &&Uuid| now.get(vm).is_some_and(|after| after.ids.contains(id));
            self.removed.extend(before.ids.iter().filter(|id| !is_on_record(id)));
        }
    }

    /// Takes note that a run begins; `is_new` says that a new process does it.
    pub(crate) fn run_begins(&mut self, world: &World, two_runners: bool, is_new: bool) {
        if is_new {
            self.unproven_at.clear();
        }
        self.two_runners = two_runners;
        self.had_two_runners = two_runners;
        self.stopped_at = None;
        self.sending.run_begins();
        self.locals = Locals::default();
        self.lost.retain(|(_, cause), _| *cause != Cause::Prune);
        self.made_in_run.clear();
        // What runs on a VM that cannot be read when the run begins is not known, even if it can be later.
        let is_readable =
            |upload: &Upload| world.vms.get(&upload.vm).is_some_and(|vm| mark_of(vm) != Some("Unreadable"));
        let readable = world.uploads.iter().filter(|(_, upload)| is_readable(upload));
        self.ran_already = readable.map(|(id, _)| *id).collect();
    }

    /// Takes note that a run was not killed, but has come to its end.
    ///
    /// `is_whole` says that it was not asked to stop, and that it has compared all notes of earlier runs.
    pub(crate) fn run_ends(&mut self, sender: usize, is_whole: bool, now: DateTime<Utc>) {
        for vm in self.sending.unnoticed(sender, is_whole, now) {
            self.found.push(format!("a write without its body has hit {vm}, and nothing reported it"));
        }
    }

    /// A person has lifted the safety stop of a machine, and takes its losses for granted.
    pub(crate) fn stop_lifted(&mut self, sender: usize) {
        self.lost.retain(|(of, _), _| *of != sender);
        self.sending.forgive(sender);
    }

    pub(crate) fn cut_lists(&mut self, are_cut: bool, now: DateTime<Utc>) {
        if self.lists_are_cut != are_cut {
            self.lists_cut_at = Some(now);
        }
        self.lists_are_cut = are_cut;
    }

    /// Says whether nothing proves what a write without a condition is decided on: lists are cut, or may have been in this run.
    fn is_blind(&self, asked: &RequestRecord) -> bool {
        let was_near = self.lists_cut_at.is_some_and(|at| self.right - at < TimeDelta::hours(6));
        let may_be_old = asked.if_match.is_none() || self.versions_freeze;
        may_be_old && (self.lists_are_cut || self.lists_may_be_cut || was_near)
    }

    /// Judges that a delete is sent at all, by the notes that its machine holds.
    pub(crate) fn deletes(&mut self, asked: &RequestRecord, folder: &StateFolder, own: DateTime<Utc>) {
        let vm = asked.target.split('/').find_map(|part| Uuid::try_parse(part).ok());
        if let Some(vm) = vm.filter(|_| asked.method == "DELETE" && !asked.is_late)
            && let Some(wrong) = folder.wrong_with_delete(vm, !asked.body.is_empty(), own)
        {
            self.report(asked, wrong);
        }
    }

    fn lose(&mut self, asked: &RequestRecord, vm: Uuid, cause: Cause, is_certain: bool, again: &str) {
        self.sending.lost(asked.sender, vm, self.right, is_certain);
        *self.lost.entry((asked.sender, cause)).or_default() += 1;
        let lost = self.lost.iter().filter(|((of, _), _)| *of == asked.sender);
        if lost.map(|(_, times)| times).sum::<usize>() > 1 {
            self.report(asked, again);
        }
    }

    pub(crate) fn alarmed(&mut self, sender: usize, vm: Uuid, now: DateTime<Utc>) {
        self.sending.alarmed(sender, vm, now);
    }

    pub(crate) fn unverified(&mut self, vm: Uuid) {
        self.sending.known(vm);
    }

    pub(crate) fn suspended_until(&self) -> Option<DateTime<Utc>> {
        self.suspended_until
    }

    /// Looks at the world after time has passed: nothing that could be restored may have gone.
    pub(crate) fn time_passed(&mut self, world: &World) {
        let now = seen(world);
        for (vm, before) in &self.before {
            let after = now.get(vm).cloned().unwrap_or_default();
            let lost = before.restorable.difference(&after.restorable).count();
            if lost > 0 {
                self.found.push(format!("{lost} restorable backups of {vm} have gone by themselves"));
            }
        }
        self.remember(world, now);
    }

    /// Looks at the world after a request.
    ///
    /// `own` is the clock of the machine that the program runs on, `right` is the right time.
    pub(crate) fn asked(
        &mut self,
        world: &World,
        asked: &RequestRecord,
        own: DateTime<Utc>,
        right: DateTime<Utc>,
    ) {
        // What arrives late was decided up to a minute ago.
        let decided_by = if asked.is_late { own - TimeDelta::minutes(1) } else { own };
        self.latest = asked.at.max(decided_by);
        self.own_us = own.timestamp_micros();
        self.right = right;
        self.growths.look(world, right);
        self.unfit_since.retain(|id, _| world.vms.get(id).is_some_and(|vm| !is_fit(vm)));
        for (id, _) in world.vms.iter().filter(|(_, vm)| !is_fit(vm)) {
            self.unfit_since.entry(*id).or_insert(right);
        }
        let vm = asked.target.split('/').find_map(|part| Uuid::try_parse(part).ok());
        if asked.method == "GET" {
            self.looked_at(asked.sender, vm);
        }
        let Some(vm) = vm else { return };
        if asked.method == "GET" {
            self.sending.was_read(asked, vm, right);
            return;
        }
        if !asked.was_fresh {
            self.report(asked, "a write on a connection that was used before");
        }
        if !asked.is_late
            && let Some(wrong) = self.sending.wrong_with(asked, vm, right, self.stopped_at)
        {
            self.report(asked, wrong);
        }
        if asked.method == "POST" {
            self.judge_unproven(world, asked, vm);
        }
        let now = seen(world);
        let (before, after) =
            (self.before.get(&vm).cloned().unwrap_or_default(), now.get(&vm).cloned().unwrap_or_default());
        // Through a stale cache it cannot be seen that a VM has left its policy; but then FiFo refuses the old version (412).
        // Nor can it be where nothing proves what a write without a condition is decided on.
        let may_be_late = asked.is_late && asked.if_match.is_none() || self.is_blind(asked);
        let is_refused = asked.status == Some(412);
        // A suspension that began while it was in transit is not FiFo's to know.
        let was_before_suspension = asked.is_late && self.suspended_until.is_some();
        if before != after
            && !may_be_late
            && !is_refused
            && !was_before_suspension
            && !self.may_be_touched(world, vm, asked.at.max(own))
        {
            self.report(asked, "a VM was written to that is not to be touched");
        }
        // What has changed all the same by a create that was refused, time has changed.
        let is_of_time = is_refused && asked.method == "POST";
        let is_unfit = |since: &DateTime<Utc>| {
            right - *since > READING_RESTS_FOR && !may_be_late && !is_of_time && before != after
        };
        if self.unfit_since.get(&vm).is_some_and(is_unfit) {
            self.report(asked, "a VM was written to that cannot be backed up");
        }
        let pruned = if asked.method == "DELETE" { self.prune_named(world, asked, vm, right) } else { None };
        if asked.method == "DELETE" {
            self.judge_order(world, asked, vm);
            if !asked.is_late && pruned.is_none() && asked.body != br#"{"location":"hypervisor"}"# {
                self.report(asked, "a DELETE with another body than the one");
            }
            if let Some(named) = pruned {
                self.judge_prune(asked, vm, named, &before, &after);
            } else if self.bodies_are_dropped {
                // One that was refused did no harm and showed nothing; one lost chain is what can happen. Where nothing of it
                // would be kept, and a kill kept its own run from seeing it, no safety stop follows.
                let kept = self.kept_before.get(&vm);
                let mut gone = before.ids.difference(&after.ids);
                if gone.any(|id| kept.is_none_or(|kept| kept.contains(id))) {
                    let is_certain = before.restorable.difference(&after.restorable).any(|id| self.stays(id));
                    let again = "a second chain was lost to a proxy that drops bodies";
                    self.lose(asked, vm, Cause::LocalDelete, is_certain, again);
                }
            }
            let no_longer = before.local.difference(&after.local).filter(|gone| after.ids.contains(gone));
            for gone in no_longer.filter(|_| !may_be_late) {
                self.judge_local_delete(world, vm, *gone, &after, asked);
            }
        }
        // What FiFo takes beyond what a delete from storage names is judged above.
        let is_meant = |id: &&Uuid| pruned == Some(**id) || pruned.is_some() && self.takes_more;
        let lost: Vec<_> =
            before.restorable.difference(&after.restorable).filter(|id| !is_meant(id)).collect();
        if !lost.is_empty() && (!self.bodies_are_dropped || pruned.is_some()) {
            self.report(asked, &format!("restorable backups were lost: {lost:?}"));
        }
        // Of what was deleted while it uploaded remains appear, at whatever time.
        let is_remnant = |id: &&Uuid| self.removed.contains(id);
        let made: Vec<Uuid> =
            after.ids.difference(&before.ids).filter(|id| !is_remnant(id)).copied().collect();
        for new in &made {
            if asked.is_late {
                self.came_late.insert(*new);
            }
            let due_us = self.judge_create(world, vm, *new, asked, right);
            // Where its date is wrong it cannot be known whether FiFo's clock has come to the due time: then one counts for it
            // only if it was stamped after it.
            self.made.insert(*new, if self.dates_are_wrong { i64::MIN } else { due_us });
        }
        if self.two_runners && self.bodies_are_dropped {
            self.taken.extend(before.ids.difference(&after.ids));
            self.removed.extend(before.ids.difference(&after.ids));
        }
        self.remember(world, now);
    }

    /// Takes note of the world as it is, to compare it with what comes.
    fn remember(&mut self, world: &World, now: BTreeMap<Uuid, Seen>) {
        self.before = now;
        let vms = world.vms.iter().filter(|_| self.bodies_are_dropped);
        self.kept_before = vms.map(|(id, vm)| (*id, self.kept(self.records(world, vm)))).collect();
    }

    /// Says whether a backup that is gone was one of those that the policies keep for ever.
    fn stays(&self, id: &Uuid) -> bool {
        self.rules.keep.is_none() && self.rules.keep_coarser.is_none() && self.made.contains_key(id)
    }

    fn is_of_a_tier(&self, record: &Record) -> bool {
        self.tier_of(record).is_some()
    }

    /// Returns the tier that a backup is of, by the name under which it began.
    fn tier_of(&self, record: &Record) -> Option<&'static str> {
        match record.comment.as_deref()? {
            "monthly" => Some("monthly"),
            "weekly" if self.rules.has_weekly => Some("weekly"),
            "daily" => Some("daily"),
            "nightly" if self.rules.is_renamed => Some("daily"),
            _ => None,
        }
    }

    fn records<'w>(&self, world: &World, vm: &'w Vm) -> Records<'w> {
        Records::new(vm, world.shape.style, self.latest.timestamp_micros())
    }

    fn is_believable(record: &Record, now_us: i64) -> bool {
        record.timestamp.is_some_and(|taken_us| taken_us <= now_us + FUTURE_US)
    }

    /// Returns what can be restored and counts, oldest first, of a tier or of whatever tier or none.
    fn restorable(&self, records: Records<'_>, tier: Option<&str>) -> Vec<Uuid> {
        let is_of_it = |record: &Record| tier.is_none_or(|tier| self.tier_of(record) == Some(tier));
        let backups = records.vm.backups.iter().filter(|(id, record)| {
            is_of_it(record) && Self::is_believable(record, records.at_us) && records.is_restorable(**id)
        });
        let mut found: Vec<_> = backups.map(|(id, record)| (record.timestamp, *id)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// Returns what an increment of a tier is to be taken from: the newest backup of the tiers that it may be taken from, or a
    /// full one of its own, that is local, restorable and newer than every restorable one of a tier coarser than its own.
    ///
    /// `gone` counts as local.
    fn parent_for(&self, records: Records<'_>, tier: &str, gone: Option<Uuid>) -> Option<Uuid> {
        if tier == "monthly" {
            return None;
        }
        let rank = |tier: &str| TIERS.iter().position(|one| *one == tier);
        let newest_first: Vec<Uuid> = self.restorable(records, None).into_iter().rev().collect();
        let mut coarsest = usize::MAX;
        newest_first.into_iter().find(|id| {
            let record = &records.vm.backups[id];
            let Some(own) = self.tier_of(record) else { return false };
            let is_outdated = Some(coarsest) < rank(own);
            coarsest = coarsest.min(rank(own).unwrap_or(usize::MAX));
            let is_from = match tier {
                "daily" => own != "daily" || !self.rules.daily_from_coarser,
                _ => rank(own) <= rank(tier),
            };
            let is_local = record.local == Some(true) || gone == Some(*id);
            is_local && !is_outdated && (is_from || own == tier && record.parent.is_none())
        })
    }

    /// Says whether a backup that may be running has not named its parent, which may be any.
    fn has_unknown_parent(&self, records: Records<'_>, named: Uuid) -> bool {
        let newest = self.restorable(records, None).pop().map(|id| (records.vm.backups[&id].timestamp, id));
        records.vm.backups.iter().any(|(id, record)| {
            let may_be_running = records.is_running(record) || Some((record.timestamp, *id)) > newest;
            *id != named && is_silent(record) && record.parent.is_none() && may_be_running
        })
    }

    fn has_tier(&self, tier: &str) -> bool {
        tier != "weekly" || self.rules.has_weekly
    }

    fn may_be_touched(&self, world: &World, vm: Uuid, at: DateTime<Utc>) -> bool {
        let Some(vm) = world.vms.get(&vm) else { return true };
        mark_of(vm) == Some("Protected")
            && self.suspended_until.is_none_or(|until| at + CLOCKS_APART_MAX >= until)
    }

    fn last_due_us(&self, vm: Uuid, comment: &str, now_us: i64) -> i64 {
        calendar::last_due_us(&self.rules, vm, comment, now_us)
    }

    fn report(&mut self, asked: &RequestRecord, what: &str) {
        self.found.push(format!("{} {} at {}: {what}", asked.method, asked.target, asked.at));
    }
}

fn mark_of(vm: &Vm) -> Option<&str> {
    vm.fields.get("metadata").and_then(|metadata| metadata["sim"]["mark"].as_str())
}

fn is_fit(vm: &Vm) -> bool {
    let state = vm.fields.get("state").and_then(|state| state.as_str());
    vm.hypervisor().is_some()
        && !vm.has_delegated_datasets()
        && matches!(state, Some("running" | "stopped" | "booting" | "shutting_down"))
}
