//! Judges of the order in which local deletes are sent: the cheapest first, the first one of a run alone, and none once the
//! effect of one is unknown.

use super::sending::ON_THE_WAY;
use super::truth::{Seen, is_sending};
use super::{FUTURE_US, Judges, STUCK_AFTER_US, TIERS};
use crate::transport::RequestRecord;
use chrono::{DateTime, Utc};
use fifo_retain::sandbox::{Upload, World};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

#[derive(Default)]
pub(super) struct Locals {
    /// Of each sender, whether one has been seen to have its effect.
    proven: BTreeSet<usize>,
    /// The last one of each sender that FiFo may have done.
    last: BTreeMap<usize, Last>,
    /// What a cascade would have cost at the last one, by sender and VM.
    costs: BTreeMap<(usize, Uuid), Costs>,
    /// The senders that do not know what one has done, each with since when.
    unknown: BTreeMap<usize, DateTime<Utc>>,
}

struct Last {
    vm: Uuid,
    was_accepted: bool,
    is_looked_at: bool,
}

struct Costs {
    named: Uuid,
    /// Of each local backup, how many would go with it that show that they can be restored.
    of: BTreeMap<Uuid, usize>,
    /// What was on record, and in which state: another one may have become expendable since.
    on_record: BTreeMap<Uuid, Option<String>>,
}

impl Judges {
    pub(super) fn looked_at(&mut self, sender: usize, vm: Option<Uuid>) {
        if let Some(last) = self.locals.last.get_mut(&sender).filter(|last| vm.is_none_or(|vm| vm == last.vm))
        {
            last.is_looked_at = true;
            if last.was_accepted {
                self.locals.proven.insert(sender);
            }
        }
    }

    pub(crate) fn does_not_know(&mut self, sender: usize, now: DateTime<Utc>) {
        self.locals.unknown.entry(sender).or_insert(now);
    }

    pub(super) fn judge_order(&mut self, world: &World, asked: &RequestRecord, vm: Uuid) {
        let sender = asked.sender;
        if asked.is_late {
            return;
        }
        if self.locals.unknown.get(&sender).is_some_and(|at| self.right > *at + ON_THE_WAY) {
            self.report(asked, "a delete after a local one whose effect is unknown");
        }
        let named = asked.target.rsplit('/').next().and_then(|part| Uuid::try_parse(part).ok());
        let is_local = !asked.body.is_empty() && world.vms.contains_key(&vm);
        let Some(named) = named.filter(|_| is_local) else { return };
        let last = self.locals.last.get(&sender).filter(|last| last.vm != vm);
        if last.is_some_and(|last| !last.is_looked_at) && !self.locals.proven.contains(&sender) {
            self.report(asked, "the first local delete did not go alone");
        }
        // One that was refused has cost nothing.
        if !asked.status.is_none_or(|status| status == 204 || status >= 500) {
            return;
        }
        let was_accepted = asked.status == Some(204);
        self.locals.last.insert(sender, Last { vm, was_accepted, is_looked_at: false });
        // The world is as it is after the delete: what it has cost is what it would have cost.
        let backups = world.vms[&vm].backups.iter();
        let on_record: BTreeMap<_, _> = backups.map(|(id, record)| (*id, record.state.clone())).collect();
        let cost_before = |costs: &Costs| {
            // Where the date is wrong, what still has to be verified by the judges' clock counts by the program's.
            let is_alike = costs.on_record == on_record && asked.if_match.is_some() && !self.dates_are_wrong;
            is_alike.then(|| Some((*costs.of.get(&named)?, *costs.of.get(&costs.named)?))).flatten()
        };
        let costs = self.locals.costs.get(&(sender, vm));
        if let Some((this, earlier)) = costs.and_then(cost_before)
            && this < earlier
        {
            self.report(asked, &format!("{named} went after one that would have cost {earlier}, not {this}"));
        }
        let records = self.records(world, &world.vms[&vm]);
        let restorable: Vec<Uuid> =
            on_record.keys().copied().filter(|id| records.is_restorable(*id)).collect();
        let lost = |backup: Uuid| {
            let ids = restorable.iter().filter(|id| records.chain(**id).any(|step| step == backup));
            ids.count()
        };
        let is_local = |id: &&Uuid| **id == named || world.vms[&vm].backups[*id].local == Some(true);
        let of = on_record.keys().filter(is_local).map(|id| (*id, lost(*id))).collect();
        self.locals.costs.insert((sender, vm), Costs { named, of, on_record });
    }

    pub(super) fn judge_local_delete(
        &mut self,
        world: &World,
        vm: Uuid,
        gone: Uuid,
        after: &Seen,
        asked: &RequestRecord,
    ) {
        let backups = &world.vms[&vm].backups;
        let record = &backups[&gone];
        // One that has been uploading for longer than it may is given up on when something newer can be restored.
        let latest_us = self.latest.timestamp_micros();
        // One whose date is far ahead counts in no rule, and holds no parent.
        let has_wrong_date = |id: &Uuid| {
            let stamped_us = backups.get(id).and_then(|record| record.timestamp);
            stamped_us.is_some_and(|at_us| at_us - latest_us >= STUCK_AFTER_US)
        };
        let runs = |(id, upload): (&Uuid, &Upload)| {
            (*id == gone || upload.parent == Some(gone))
                && !has_wrong_date(id)
                && latest_us - upload.started_us < STUCK_AFTER_US
                && is_sending(world, id, upload)
        };
        if world.uploads.iter().any(runs) {
            self.report(asked, &format!("the snapshot of {gone} was deleted while it was needed"));
        }
        if !self.is_of_a_tier(record) {
            self.report(asked, &format!("the snapshot of {gone} was deleted, which is of no tier"));
        }
        // A date in the future is a wrong one, and says nothing about what is newer.
        let believable = |id: &&Uuid| backups[*id].timestamp <= Some(latest_us + FUTURE_US);
        if !believable(&&gone) {
            self.report(asked, &format!("the snapshot of {gone} was deleted, whose date is in the future"));
        }
        let records = self.records(world, &world.vms[&vm]);
        // What is in progress is not yet a copy of anything.
        let counts: Vec<Uuid> =
            after.restorable.iter().copied().filter(|id| records.is_restorable(*id)).collect();
        let key = (record.timestamp, gone);
        let newer = |id: &&Uuid| believable(id) && (backups[*id].timestamp, **id) > key;
        let has_newer_copy = counts.iter().any(|id| id == &gone || newer(&id));
        if !has_newer_copy && !after.local.iter().any(|id| newer(&id)) {
            self.report(asked, &format!("the snapshot of {gone} was the only copy of its moment"));
        }
        let is_parent_for = |tier: &&&str| self.parent_for(records, tier, Some(gone)) == Some(gone);
        if let Some(tier) = TIERS[1..].iter().filter(|tier| self.has_tier(tier)).find(is_parent_for) {
            self.report(asked, &format!("the snapshot of {gone} was deleted, which the next {tier} needs"));
        }
        let keep_local = usize::try_from(self.rules.daily_keeps_local).unwrap();
        if self.restorable(records, Some("daily")).iter().rev().take(keep_local).any(|id| *id == gone) {
            self.report(
                asked,
                &format!("the snapshot of {gone} was deleted, which is to stay for a rollback"),
            );
        }
    }
}
