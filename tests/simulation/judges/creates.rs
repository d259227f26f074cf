//! Judges of creates: one for a due time, on what can be restored, beside no more uploads than there may be.

use super::truth::restorable;
use super::{AHEAD_US, Judges, READING_RESTS_FOR, STUCK_AFTER_DEFAULT_US, STUCK_AFTER_US, mark_of};
use crate::cloud::MAX_AGE_DAYS;
use crate::transport::RequestRecord;
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::sandbox::{Record, Upload, World};
use uuid::Uuid;

/// How old the newest backup may be where the policies do not say: the longest gap of the dailies, and two hours.
const MAX_AGE_DEFAULT: TimeDelta = TimeDelta::hours(26);

/// The pause before a retry, as the policies of a life say, without the time that a run takes to come to it.
const RETRY_AFTER: TimeDelta = TimeDelta::minutes(59);

impl Judges {
    /// Judges a new backup; returns the due time that it was made for.
    pub(super) fn judge_create(
        &mut self,
        world: &World,
        vm: Uuid,
        new: Uuid,
        asked: &RequestRecord,
        right: DateTime<Utc>,
    ) -> i64 {
        let latest_us = self.latest.timestamp_micros();
        let runs = |id: &Uuid| {
            world.uploads.get(id).is_some_and(|upload| latest_us - upload.started_us < STUCK_AFTER_US)
        };
        let backups = &world.vms[&vm].backups;
        let record = &backups[&new];
        let tier = self.tier_of(record);
        if record.comment.as_deref() == Some("") {
            // FiFo has made this of a request that lost its body: it has to be noticed, if it does not come later than it is
            // looked for.
            if asked.status == Some(303) && !asked.is_late {
                self.sending.lost(asked.sender, vm, right, false);
            }
            return i64::MIN;
        }
        let is_again = tier.is_some_and(|tier| !self.made_in_run.insert((asked.sender, vm, tier)));
        let since_us = self.last_due_us(vm, tier.unwrap_or("daily"), latest_us);
        // Where the slower clock has not come to it, it is made for the one before, and counts for that.
        let slower_us = asked.at.timestamp_micros().min(self.own_us);
        let made_for_us = self.last_due_us(vm, tier.unwrap_or("daily"), slower_us);
        // Where the policies have changed since, one made for an earlier due time may lie after the new one, too.
        let is_for_it = |id: &Uuid, at_us: i64| {
            self.made.get(id).is_some_and(|due_us| *due_us == since_us || at_us >= since_us)
        };
        // Where FiFo does not send the time, there is only the program's own clock to go by.
        let is_ahead_us = if self.dates_are_wrong { self.own_us } else { latest_us };
        let twin = backups.iter().find(|(id, other)| {
            **id != new
                && self.tier_of(other) == tier
                && other
                    .timestamp
                    .is_some_and(|at_us| is_for_it(id, at_us) && at_us <= is_ahead_us + AHEAD_US)
                && (runs(id) || restorable(world, vm, **id))
        });
        // Without a condition FiFo cannot refuse a second one.
        let is_blind = self.is_blind(asked);
        let has_guard = asked.if_match.is_some() || !self.two_runners && !self.writes_were_late && !is_blind;
        if is_again && has_guard && !asked.is_late {
            self.report(asked, &format!("a second {tier:?} by one run: {new}"));
        }
        // The list has no date: a clock that is set between the last date and the write is not seen.
        let was_just_set =
            asked.if_match.is_none() && self.clock_set_at.is_some_and(|at| right - at < READING_RESTS_FOR);
        // By FiFo's clock, which has stamped it.
        let asked_us = asked.at.timestamp_micros();
        let listed_after_us = if self.lists_are_disturbed { 60_000_000 } else { 3_000_000 };
        // What another runner has made for long is in the list, which is read where there is no condition.
        let is_old = |other: &Record| other.timestamp.is_some_and(|at_us| asked_us - at_us > listed_after_us);
        if let Some((twin, _)) = twin.filter(|(_, other)| {
            !was_just_set && !is_blind && (has_guard || !self.writes_were_late && is_old(other))
        }) {
            let twin = *twin;
            self.report(asked, &format!("a second {tier:?} for one due time: {new} beside {twin}"));
        }
        if let Some(parent) = world.uploads.get(&new).and_then(|upload| upload.parent)
            && !restorable(world, vm, parent)
        {
            self.report(asked, &format!("{new} is an increment on {parent}, which cannot be restored"));
        }
        // What was started by another client while the VM was watched for a minute has not been watched itself.
        let watched_us = READING_RESTS_FOR.num_microseconds().unwrap();
        let beside = world.uploads.iter().find(|(id, upload)| {
            upload.vm == vm
                && **id != new
                && asked_us - upload.started_us > watched_us
                && self.growths.has_just_grown(world, id, right)
        });
        if let Some((beside, _)) = beside
            && has_guard
        {
            self.report(asked, &format!("{new} was started while {beside} was growing"));
        }
        if self.two_runners || asked.is_late {
            return made_for_us;
        }
        let counted: Vec<_> = world
            .uploads
            .iter()
            .filter(|(id, upload)| **id != new && self.takes_a_place(asked, world, id, upload))
            .collect();
        let hypervisor = world.vms[&vm].hypervisor();
        let here =
            counted.iter().filter(|(_, upload)| world.vms[&upload.vm].hypervisor() == hypervisor).count();
        if counted.len() >= self.max_uploads || here >= self.max_uploads_per_hypervisor {
            let others: Vec<Uuid> = counted.iter().map(|(id, _)| **id).collect();
            self.report(asked, &format!("too many uploads: {new} beside {others:?}, {here} of them there"));
        }
        made_for_us
    }

    /// Judges a create that nothing proves to be missing: lists are cut, and FiFo does not check a condition. It is sent once
    /// what can be seen is too old, and then at the pace of retries.
    pub(super) fn judge_unproven(&mut self, world: &World, asked: &RequestRecord, vm: Uuid) {
        let are_cut = self.lists_are_cut
            && self.lists_cut_at.is_some_and(|at| self.right - at > READING_RESTS_FOR)
            && !self.dates_are_wrong;
        let may_act = asked.status.is_none_or(|status| status == 303 || status >= 500);
        let Some(record) = world.vms.get(&vm) else { return };
        if asked.if_match.is_some() || asked.is_late || !are_cut || !may_act {
            return;
        }
        let records = self.records(world, record);
        let shown = self.sending.shown_completed(asked.sender, vm);
        let newest = self.restorable(records, None).into_iter().rfind(|id| shown.contains(id));
        let newest_us = newest.and_then(|id| record.backups[&id].timestamp);
        let max_age = if self.rules.prunes { TimeDelta::days(MAX_AGE_DAYS) } else { MAX_AGE_DEFAULT };
        let is_young = |at_us: i64| records.at_us - at_us < max_age.num_microseconds().unwrap();
        if newest_us.is_some_and(is_young) {
            self.report(asked, "a create that nothing proves, although what can be seen is young enough");
        }
        let last = self.unproven_at.insert((asked.sender, vm), self.right);
        if last.is_some_and(|last| self.right - last < RETRY_AFTER) {
            self.report(asked, "a create that nothing proves, too soon after the last one");
        }
    }

    /// Says whether an upload counts against the limits: it was made by the program, or ran already when the run began,
    /// it moves, and it is not so old that it counts as stuck.
    fn takes_a_place(&self, asked: &RequestRecord, world: &World, id: &Uuid, upload: &Upload) -> bool {
        let latest_us = self.latest.timestamp_micros();
        let Some(vm) = world.vms.get(&upload.vm) else { return false };
        // Where no list shows that an upload moves, and no reading does, nobody can see it.
        let is_unseen = || self.readings_freeze || !self.sending.has_shown(asked.sender, upload.vm, *id);
        let is_known = match mark_of(vm) {
            // What cannot be read may have anything running.
            Some("Unreadable") => false,
            _ if self.lists_are_cut && is_unseen() => false,
            _ => {
                let was_seen = !self.came_late.contains(id);
                self.made.contains_key(id) && was_seen || self.ran_already.contains(id)
            }
        };
        let longest_us = match mark_of(vm) {
            Some("Protected" | "Suspended") => STUCK_AFTER_US,
            _ => STUCK_AFTER_DEFAULT_US,
        };
        let stamped_us = vm.backups.get(id).and_then(|record| record.timestamp);
        let is_young = stamped_us.is_some_and(|at_us| (latest_us - at_us).abs() < longest_us - 60_000_000);
        is_known && is_young && self.growths.moves(world, id)
    }
}
