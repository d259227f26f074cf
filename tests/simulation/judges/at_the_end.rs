//! What must be so when all has been quiet for two nights.

use super::truth::{Records, is_over, is_silent, restorable};
use super::{FUTURE_US, HOUR_US, Judges, STUCK_AFTER_US};
use chrono::{DateTime, Utc};
use fifo_retain::sandbox::{Record, Vm, World};
use uuid::Uuid;

fn newest(vm: &Vm) -> Vec<(&Uuid, &Record)> {
    let mut records: Vec<_> = vm.backups.iter().collect();
    records.sort_by_key(|(_, record)| std::cmp::Reverse(record.timestamp));
    records.truncate(8);
    records
}

impl Judges {
    /// Looks at the world at the very end, after two quiet runs: every VM that can be backed up is.
    pub(crate) fn at_the_end(&mut self, world: &World, now: DateTime<Utc>) {
        let now_us = now.timestamp_micros();
        let mut found = Vec::new();
        for (id, vm) in &world.vms {
            let is_suspended = self.suspended_until.is_some_and(|until| now < until);
            if is_suspended || vm.hypervisor().is_none() || !self.may_be_touched(world, *id, now) {
                continue;
            }
            let due_us = self.last_due_us(*id, "daily", now_us);
            let ours = || {
                let of_tiers = vm.backups.iter().filter(|(_, record)| self.is_of_a_tier(record));
                of_tiers.filter(|(_, record)| record.timestamp <= Some(now_us + FUTURE_US))
            };
            let records = Records::new(vm, world.shape.style, now_us);
            // What has a wrong date about now, and has not ended or is unverified, is waited for as if it had been started now;
            // so is, whether or not it has ended, what counts within the hour.
            let is_waited_for = vm.backups.values().any(|record| {
                let Some(ahead_us) = record.timestamp.map(|at_us| at_us - now_us) else { return false };
                !is_over(record) && ahead_us.abs() < STUCK_AFTER_US
                    || records.is_unverified(record)
                    || (FUTURE_US..HOUR_US).contains(&ahead_us)
            });
            // One that never ended counts as an attempt when its date has passed, be it the last one for that due time.
            let is_spent = ours().any(|(_, record)| !is_over(record) && record.timestamp >= Some(due_us));
            let is_there = |(backup, record): (&Uuid, &Record)| {
                record.timestamp >= Some(due_us) && restorable(world, *id, *backup)
            };
            // Without a parent an increment may have to wait for the next full backup.
            let may_wait = self.rules.blocks_without_parent && !self.has_parent(records);
            if !is_waited_for && !is_spent && !may_wait && !ours().any(is_there) {
                found.push(format!("{id} has no backup of its last due time: {:#?}", newest(vm)));
            }
            // What an upload depends on that never ended may have to stay, and one with a wrong date is always the newest.
            let may_be_needed = |id: &Uuid| {
                let mut uploads = vm.backups.values().filter(|record| !is_over(record));
                uploads.any(|record| record.parent == Some(*id))
            };
            let local: Vec<_> = ours()
                .filter(|(backup, record)| record.local == Some(true) && !may_be_needed(backup))
                .collect();
            // What was accepted and never started may need any of them, until something newer can be restored.
            let is_restored_later = |silent: &Record| {
                vm.backups.iter().any(|(backup, record)| {
                    record.timestamp > silent.timestamp && records.is_restorable(*backup)
                })
            };
            let holds_all = vm.backups.values().any(|record| is_silent(record) && !is_restored_later(record));
            // One for each incremental tier, and one that has failed.
            let local_max = 2
                + usize::try_from(self.rules.daily_keeps_local).unwrap()
                + usize::from(self.rules.has_weekly);
            if local.len() > local_max && !holds_all {
                found.push(format!("{id} still holds {local:?}"));
            }
        }
        self.found.append(&mut found);
    }

    fn has_parent(&self, records: Records<'_>) -> bool {
        self.parent_for(records, "daily", None).is_some_and(|id| !records.has_hollow_increment(id))
    }

    pub(crate) fn has_month_started(&self, world: &World, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
        let is_due =
            |id: &Uuid| self.last_due_us(*id, "monthly", to.timestamp_micros()) > from.timestamp_micros();
        world.vms.keys().any(is_due)
    }

    /// Looks at the world a night after all full backups had failed, with one run in each of them: the monthly is there.
    pub(crate) fn after_the_next_night(&mut self, world: &World, failed_at: DateTime<Utc>) {
        let failed_us = failed_at.timestamp_micros();
        for (id, vm) in &world.vms {
            let is_suspended = self.suspended_until.is_some_and(|until| failed_at < until);
            // One with a wrong date may be waited for.
            let is_clear =
                !vm.backups.values().any(|record| record.timestamp > Some(self.latest.timestamp_micros()));
            if is_suspended
                || vm.hypervisor().is_none()
                || !self.may_be_touched(world, *id, failed_at)
                || !is_clear
            {
                continue;
            }
            let due_us = self.last_due_us(*id, "monthly", failed_us);
            let is_there = |(backup, record): (&Uuid, &Record)| {
                self.tier_of(record) == Some("monthly")
                    && record.timestamp >= Some(due_us)
                    && restorable(world, *id, *backup)
            };
            if !vm.backups.iter().any(is_there) {
                self.found.push(format!("{id} has no monthly a night after it failed: {:#?}", newest(vm)));
            }
        }
    }

    /// Looks at the world after a night in which no full backup could be made: what can be an increment is there, and the
    /// failed ones have left no more behind than one of each kind.
    pub(crate) fn after_a_hard_night(&mut self, world: &World, run_began: DateTime<Utc>) {
        let began_us = run_began.timestamp_micros();
        for (id, vm) in &world.vms {
            let is_suspended = self.suspended_until.is_some_and(|until| run_began < until);
            if is_suspended || vm.hypervisor().is_none() || !self.may_be_touched(world, *id, run_began) {
                continue;
            }
            let due_us = self.last_due_us(*id, "daily", began_us);
            let ours = || vm.backups.iter().filter(|(_, record)| self.is_of_a_tier(record));
            let is_there = |(backup, record): (&Uuid, &Record)| {
                record.timestamp >= Some(due_us) && restorable(world, *id, *backup)
            };
            if self.has_parent(Records::new(vm, world.shape.style, began_us)) && !ours().any(is_there) {
                self.found.push(format!("{id} has no increment of its last due time, since full ones fail"));
                return;
            }
            // What was accepted and never started does not show its parent: until something newer can be restored it may be
            // any, and all of them stay.
            // What has a wrong date is never deleted; a hard night is over long before the next.
            let is_dated = |record: &Record| record.timestamp <= Some(began_us + 12 * HOUR_US);
            let held = ours().filter(|(_, record)| record.local == Some(true) && is_dated(record)).count();
            if !vm.backups.values().any(is_silent)
                && held > 4 + usize::try_from(self.rules.daily_keeps_local).unwrap()
            {
                self.found.push(format!("{id} holds {held} snapshots, since full backups fail"));
                return;
            }
        }
    }
}
