//! Judges of the order in which local deletes are sent: the cheapest first, the first one of a run alone, and none once the
//! effect of one is unknown.

use super::Judges;
use super::truth::{chain, restorable};
use crate::transport::RequestRecord;
use fifo_retain::sandbox::World;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The local deletes of a run.
#[derive(Default)]
pub(super) struct Locals {
    /// Of each sender, whether one has been seen to have its effect.
    proven: BTreeSet<usize>,
    /// The last one of each sender that FiFo may have done.
    last: BTreeMap<usize, Last>,
    /// What a cascade would have cost at the last one, by sender and VM.
    costs: BTreeMap<(usize, Uuid), Costs>,
    /// The senders that do not know what one has done.
    unknown: BTreeSet<usize>,
}

struct Last {
    vm: Uuid,
    was_accepted: bool,
    is_looked_at: bool,
}

struct Costs {
    named: Uuid,
    /// Of each local backup, how many restorable ones would go with it.
    of: BTreeMap<Uuid, usize>,
    on_record: BTreeSet<Uuid>,
}

impl Judges {
    /// Takes note of a reading of a VM, or of the list.
    pub(super) fn looked_at(&mut self, sender: usize, vm: Option<Uuid>) {
        if let Some(last) = self.locals.last.get_mut(&sender).filter(|last| vm.is_none_or(|vm| vm == last.vm))
        {
            last.is_looked_at = true;
            if last.was_accepted {
                self.locals.proven.insert(sender);
            }
        }
    }

    /// A run reports that it does not know what a local delete has done.
    pub(crate) fn does_not_know(&mut self, sender: usize) {
        self.locals.unknown.insert(sender);
    }

    /// Judges that a delete is sent after those before it.
    pub(super) fn judge_order(&mut self, world: &World, asked: &RequestRecord, vm: Uuid) {
        let sender = asked.sender;
        if asked.is_late {
            return;
        }
        if self.locals.unknown.contains(&sender) {
            self.report(asked, "a delete after a local one whose effect is unknown");
        }
        let named = asked.target.rsplit('/').next().and_then(|part| Uuid::try_parse(part).ok());
        let is_local = !asked.body.is_empty() && world.vms.contains_key(&vm);
        let Some(named) = named.filter(|_| is_local) else { return };
        let last = self.locals.last.get(&sender).filter(|last| last.vm != vm);
        if last.is_some_and(|last| !last.is_looked_at) && !self.locals.proven.contains(&sender) {
            self.report(asked, "the first local delete did not go alone");
        }
        if asked.status.is_none_or(|status| status == 204 || status >= 500) {
            let was_accepted = asked.status == Some(204);
            self.locals.last.insert(sender, Last { vm, was_accepted, is_looked_at: false });
        }
        // The world is as it is after the delete: what it has cost is what it would have cost.
        let on_record: BTreeSet<Uuid> = world.vms[&vm].backups.keys().copied().collect();
        let cost_before = |costs: &Costs| {
            let is_alike = costs.on_record == on_record && asked.if_match.is_some();
            is_alike.then(|| Some((*costs.of.get(&named)?, *costs.of.get(&costs.named)?))).flatten()
        };
        let costs = self.locals.costs.get(&(sender, vm));
        if let Some((this, earlier)) = costs.and_then(cost_before)
            && this < earlier
        {
            self.report(asked, &format!("{named} went after one that would have cost {earlier}, not {this}"));
        }
        let lost = |backup: Uuid| {
            let ids = world.vms[&vm].backups.keys().copied().filter(|id| restorable(world, vm, *id));
            ids.filter(|id| chain(world, vm, *id).any(|step| step == backup)).count()
        };
        let is_local = |id: &&Uuid| **id == named || world.vms[&vm].backups[*id].local == Some(true);
        let of = on_record.iter().filter(is_local).map(|id| (*id, lost(*id))).collect();
        self.locals.costs.insert((sender, vm), Costs { named, of, on_record });
    }
}
