//! Judges of what is done to the world. They know the promises and the world's truth, and none of the program's code.

use crate::scenario::Rules;
use crate::transport::Asked;
use chrono::{DateTime, Datelike as _, Days, NaiveDate, TimeDelta, Utc, Weekday};
use fifo_retain::sandbox::{Record, Upload, World};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// As the policies of a life say.
const STUCK_AFTER_US: i64 = 2 * HOUR_US;
/// So far two clocks may be apart.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::hours(1);
const HOUR_US: i64 = 3_600_000_000;
/// A date further ahead than this is a wrong one.
const FUTURE_US: i64 = 600_000_000;

/// What the judges remember, and what they found.
pub(crate) struct Judges {
    pub(crate) found: Vec<String>,
    max_uploads: usize,
    max_uploads_per_hypervisor: usize,
    rules: Rules,
    /// Until when, by either clock, the policy of the protected VMs is suspended.
    suspended_until: Option<DateTime<Utc>>,
    /// Whether a proxy drops the bodies of DELETEs just now.
    pub(crate) bodies_are_dropped: bool,
    /// Whether answers tell another clock just now than the one by which FiFo stamps backups.
    pub(crate) dates_are_wrong: bool,
    /// Whether two runners are at it: then some promises are not made.
    pub(crate) two_runners: bool,
    /// Chains that were lost in this run to DELETEs that went out without their body.
    chains_lost: usize,
    /// What the program has made, and for which due time.
    made: BTreeMap<Uuid, i64>,
    /// The later one of both clocks at the last request: what the program plans for.
    latest: DateTime<Utc>,
    before: BTreeMap<Uuid, Seen>,
    /// Backups that could be restored until somebody else took them: a reading of a moment ago may still show them.
    taken: BTreeSet<Uuid>,
    /// Backups whose record somebody else took, by themselves or with their VM.
    removed: BTreeSet<Uuid>,
}

/// A VM's backups as they were.
#[derive(Clone, Default, PartialEq)]
struct Seen {
    ids: BTreeSet<Uuid>,
    restorable: BTreeSet<Uuid>,
    local: BTreeSet<Uuid>,
}

impl Judges {
    pub(crate) fn new(max_uploads: usize, max_uploads_per_hypervisor: usize) -> Self {
        Self {
            found: Vec::new(),
            max_uploads,
            max_uploads_per_hypervisor,
            rules: Rules {
                due_hour: 0,
                has_weekly: true,
                daily_keeps_local: 0,
                attempts: 3,
                suspended_days: None,
            },
            suspended_until: None,
            bodies_are_dropped: false,
            dates_are_wrong: false,
            two_runners: false,
            chains_lost: 0,
            made: BTreeMap::new(),
            latest: DateTime::UNIX_EPOCH,
            before: BTreeMap::new(),
            taken: BTreeSet::new(),
            removed: BTreeSet::new(),
        }
    }

    /// Takes note of new policies, written at an instant.
    pub(crate) fn rules_change(&mut self, rules: &Rules, now: DateTime<Utc>) {
        self.rules = rules.clone();
        let until = rules.suspended_days.map(|days| now.date_naive() + TimeDelta::days(days));
        self.suspended_until = until.and_then(|day| day.and_hms_opt(0, 0, 0)).map(|at| at.and_utc());
    }

    /// Takes the world as it is for granted: it was changed by people, or by time.
    pub(crate) fn accept(&mut self, world: &World) {
        let now = seen(world);
        self.take(&now);
        self.before = now;
    }

    /// Takes note of what people are about to change, as it is before.
    pub(crate) fn changes(&mut self, world: &World) {
        self.before = seen(world);
    }

    /// Says whether a backup could be restored, or could until somebody took it.
    pub(crate) fn is_or_was_restorable(&self, world: &World, vm: Uuid, backup: Uuid) -> bool {
        self.taken.contains(&backup) || restorable(world, vm, backup)
    }

    /// Says whether a backup is there and not local, or was until somebody took its record.
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

    pub(crate) fn run_begins(&mut self, two_runners: bool) {
        self.chains_lost = 0;
        self.two_runners = two_runners;
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
        self.before = now;
    }

    /// Looks at the world after a request.
    pub(crate) fn asked(&mut self, world: &World, asked: &Asked, now: DateTime<Utc>) {
        self.latest = asked.at.max(now);
        if asked.method == "GET" || !asked.target.contains("/backups") {
            return;
        }
        if !asked.was_fresh {
            self.tell(asked, "a write on a connection that was used before");
        }
        let Some(vm) = asked.target.split('/').find_map(|part| Uuid::try_parse(part).ok()) else { return };
        let now = seen(world);
        let (before, after) =
            (self.before.get(&vm).cloned().unwrap_or_default(), now.get(&vm).cloned().unwrap_or_default());
        // Through a stale cache nobody can see that a VM has left its policy; but then FiFo refuses the old version (412).
        if before != after && !self.may_be_touched(world, vm, asked.at) {
            self.tell(asked, "a VM was written to that is not to be touched");
        }
        if asked.method == "DELETE" {
            if asked.body != br#"{"location":"hypervisor"}"# {
                self.tell(asked, "a DELETE with another body than the one");
            }
            if self.bodies_are_dropped {
                // One that was refused did no harm and told nothing; one lost chain is what can happen.
                self.chains_lost += usize::from(!before.ids.is_subset(&after.ids));
                if self.chains_lost > 1 && !self.two_runners {
                    self.tell(asked, "a second chain was lost to a proxy that drops bodies");
                }
            }
            for gone in before.local.difference(&after.local).filter(|gone| after.ids.contains(gone)) {
                self.judge_local_delete(world, vm, *gone, &after, asked);
            }
        }
        let lost: Vec<_> = before.restorable.difference(&after.restorable).collect();
        if !lost.is_empty() && !self.bodies_are_dropped {
            self.tell(asked, &format!("restorable backups were lost: {lost:?}"));
        }
        for new in after.ids.difference(&before.ids) {
            let due_us = self.judge_create(world, vm, *new, asked);
            // Where its date is wrong nobody can know whether FiFo's clock has come to the due time: then one counts for it
            // only if it was stamped after it.
            self.made.insert(*new, if self.dates_are_wrong { i64::MIN } else { due_us });
        }
        if self.two_runners && self.bodies_are_dropped {
            self.taken.extend(before.ids.difference(&after.ids));
        }
        self.before = now;
    }

    /// Judges a new backup; gives the due time that it was made for.
    fn judge_create(&mut self, world: &World, vm: Uuid, new: Uuid, asked: &Asked) -> i64 {
        let latest_us = self.latest.timestamp_micros();
        let runs = |id: &Uuid| {
            world.uploads.get(id).is_some_and(|upload| latest_us - upload.started_us < STUCK_AFTER_US)
        };
        let backups = &world.vms[&vm].backups;
        let record = &backups[&new];
        let comment = record.comment.clone().unwrap_or_default();
        let since_us = self.last_due_us(&comment, latest_us);
        // Where the policies have changed since, one made for an earlier due time may lie after the new one, too.
        let is_for_it = |id: &Uuid, at_us: i64| {
            self.made.get(id).is_some_and(|due_us| *due_us == since_us || at_us >= since_us)
        };
        let twin = backups.iter().find(|(id, other)| {
            **id != new
                && other.comment.as_deref() == Some(&comment)
                && other.timestamp.is_some_and(|at_us| is_for_it(id, at_us) && at_us <= latest_us + FUTURE_US)
                && (runs(id) || restorable(world, vm, **id))
        });
        if let Some((twin, _)) = twin
            && !self.two_runners
        {
            let twin = *twin;
            self.tell(asked, &format!("a second {comment} for one due time: {new} beside {twin}"));
        }
        if let Some(parent) = world.uploads.get(&new).and_then(|upload| upload.parent)
            && !restorable(world, vm, parent)
        {
            self.tell(asked, &format!("{new} is an increment on {parent}, which cannot be restored"));
        }
        if self.two_runners {
            return since_us;
        }
        let ours: Vec<_> = world
            .uploads
            .iter()
            .filter(|(id, upload)| {
                self.made.contains_key(id) && latest_us - upload.started_us < STUCK_AFTER_US
            })
            .filter(|(id, upload)| is_sending(world, id, upload))
            .collect();
        let hypervisor = world.vms[&vm].hypervisor();
        let here = ours.iter().filter(|(_, upload)| world.vms[&upload.vm].hypervisor() == hypervisor).count();
        // The new one is not among those that were made yet.
        if ours.len() >= self.max_uploads || here >= self.max_uploads_per_hypervisor {
            self.tell(asked, &format!("too many uploads: {} in all, {here} there", ours.len() + 1));
        }
        since_us
    }

    fn judge_local_delete(&mut self, world: &World, vm: Uuid, gone: Uuid, after: &Seen, asked: &Asked) {
        let backups = &world.vms[&vm].backups;
        let record = &backups[&gone];
        // One that has been uploading for longer than it may is given up on when something newer can be restored.
        let latest_us = self.latest.timestamp_micros();
        let runs = |(id, upload): (&Uuid, &Upload)| {
            (*id == gone || upload.parent == Some(gone))
                && latest_us - upload.started_us < STUCK_AFTER_US
                && is_sending(world, id, upload)
        };
        if world.uploads.iter().any(runs) {
            self.tell(asked, &format!("the snapshot of {gone} was deleted while it was needed"));
        }
        if !self.is_of_a_tier(record) {
            self.tell(asked, &format!("the snapshot of {gone} was deleted, which is of no tier"));
        }
        // A date in the future is a wrong one, and says nothing about what is newer.
        let believable = |id: &&Uuid| backups[*id].timestamp <= Some(latest_us + FUTURE_US);
        if !believable(&&gone) {
            self.tell(asked, &format!("the snapshot of {gone} was deleted, whose date is in the future"));
        }
        let key = (record.timestamp, gone);
        let newer = |id: &&Uuid| believable(id) && (backups[*id].timestamp, **id) > key;
        let has_newer_copy = after.restorable.iter().any(|id| id == &gone || newer(&id));
        if !has_newer_copy && !after.local.iter().any(|id| newer(&id)) {
            self.tell(asked, &format!("the snapshot of {gone} was the only copy of its moment"));
        }
        let newest =
            after.restorable.iter().filter(believable).max_by_key(|id| (backups[*id].timestamp, **id));
        if newest == Some(&gone) {
            self.tell(asked, &format!("the snapshot of {gone} was deleted, which the next increment needs"));
        }
    }

    fn is_of_a_tier(&self, record: &Record) -> bool {
        match record.comment.as_deref() {
            Some("monthly" | "daily") => true,
            Some("weekly") => self.rules.has_weekly,
            _ => false,
        }
    }

    /// Says whether the program may do anything to a VM at an instant of FiFo's clock.
    fn may_be_touched(&self, world: &World, vm: Uuid, at: DateTime<Utc>) -> bool {
        let Some(vm) = world.vms.get(&vm) else { return true };
        let mark = vm.fields.get("metadata").and_then(|metadata| metadata["sim"]["mark"].as_str());
        mark == Some("Protected") && self.suspended_until.is_none_or(|until| at + CLOCKS_APART_MAX >= until)
    }

    /// The last time at which a tier was due, by a calendar of the judges' own.
    fn last_due_us(&self, comment: &str, now_us: i64) -> i64 {
        let now = DateTime::<Utc>::from_timestamp_micros(now_us).unwrap();
        let is_due = |day: NaiveDate| match comment {
            "monthly" => day.day() == 1,
            "weekly" => day.weekday() == Weekday::Sun,
            _ => true,
        };
        let mut day = now.date_naive();
        loop {
            let at = day.and_hms_opt(self.rules.due_hour, 0, 0).unwrap().and_utc();
            if is_due(day) && at <= now {
                return at.timestamp_micros();
            }
            day = day.checked_sub_days(Days::new(1)).unwrap();
        }
    }

    fn tell(&mut self, asked: &Asked, what: &str) {
        self.found.push(format!("{} {} at {}: {what}", asked.method, asked.target, asked.at));
    }

    /// Looks at the world at the very end, after two quiet runs: every VM that can be backed up is.
    pub(crate) fn at_the_end(&mut self, world: &World, now: DateTime<Utc>) {
        let now_us = now.timestamp_micros();
        let due_us = self.last_due_us("daily", now_us);
        let mut found = Vec::new();
        for (id, vm) in &world.vms {
            let is_suspended = self.suspended_until.is_some_and(|until| now < until);
            if is_suspended || vm.hypervisor().is_none() || !self.may_be_touched(world, *id, now) {
                continue;
            }
            let ours = || {
                let of_tiers = vm.backups.iter().filter(|(_, record)| self.is_of_a_tier(record));
                of_tiers.filter(|(_, record)| record.timestamp <= Some(now_us + FUTURE_US))
            };
            let is_over = |record: &Record| {
                record.state.as_deref().is_some_and(|state| state == "completed" || state.contains("failed"))
            };
            // What has a wrong date about now, and has not ended, is waited for as if it had been begun now.
            let is_waited_for = vm.backups.values().any(|record| {
                let ahead_us = record.timestamp.map(|at_us| (at_us - now_us).abs());
                !is_over(record) && ahead_us.is_some_and(|ahead_us| ahead_us < STUCK_AFTER_US)
            });
            // One that never ended counts as an attempt when its date has passed, be it the last one for that due time.
            let is_spent = ours().any(|(_, record)| !is_over(record) && record.timestamp >= Some(due_us));
            let is_there = |(backup, record): (&Uuid, &Record)| {
                record.timestamp >= Some(due_us) && restorable(world, *id, *backup)
            };
            if !is_waited_for && !is_spent && !ours().any(is_there) {
                found.push(format!("{id} has no backup of its last due time"));
            }
            // What an upload hangs on that never ended may have to stay, and one with a wrong date is always the newest.
            let may_be_needed = |id: &Uuid| {
                let mut uploads = vm.backups.values().filter(|record| !is_over(record));
                uploads.any(|record| record.parent == Some(*id))
            };
            let local: Vec<_> = ours()
                .filter(|(backup, record)| record.local == Some(true) && !may_be_needed(backup))
                .collect();
            if local.len() > 2 + usize::try_from(self.rules.daily_keeps_local).unwrap() {
                found.push(format!("{id} still holds {local:?}"));
            }
        }
        self.found.append(&mut found);
    }
}

/// Says whether an upload still needs its snapshot and its parent's. When its state is written nothing is sent any more,
/// even if `local` is still to come; and of one whose record was deleted nobody can know.
fn is_sending(world: &World, id: &Uuid, upload: &Upload) -> bool {
    let record = world.vms.get(&upload.vm).and_then(|vm| vm.backups.get(id));
    record.is_some_and(|record| matches!(record.state.as_deref(), None | Some("uploading")))
}

fn seen(world: &World) -> BTreeMap<Uuid, Seen> {
    world
        .vms
        .iter()
        .map(|(id, vm)| {
            let is_local =
                |backup: &Record| backup.local.unwrap_or(backup.local_size.is_some_and(|bytes| bytes > 0));
            let local = vm.backups.iter().filter(|(_, backup)| is_local(backup)).map(|(id, _)| *id);
            let restorable = vm.backups.keys().copied().filter(|backup| restorable(world, *id, *backup));
            let seen = Seen {
                ids: vm.backups.keys().copied().collect(),
                restorable: restorable.collect(),
                local: local.collect(),
            };
            (*id, seen)
        })
        .collect()
}

/// Says whether a backup can be had from the store: every step is there, completed and sound, and fits on the one before.
fn restorable(world: &World, vm: Uuid, backup: Uuid) -> bool {
    let Some(vm) = world.vms.get(&vm) else { return false };
    let mut at = backup;
    for _ in 0..=vm.backups.len() {
        let (Some(record), Some(stored)) = (vm.backups.get(&at), vm.stored.get(&at)) else { return false };
        if record.state.as_deref() != Some("completed") || !stored.sound || stored.base != record.parent {
            return false;
        }
        match record.parent {
            Some(parent) => at = parent,
            None => return true,
        }
    }
    false
}
