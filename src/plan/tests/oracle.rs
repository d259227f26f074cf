//! An independent computation of the contract's section 2, by sets and quadratic searches and with no code of the planner. Both
//! plan the same thousands of VMs, and have to agree on every action, the status, and what has expired and why it stays.

use super::fixtures::at;
use super::nasty::{Random, changed_policy, nasty_policies, nasty_request, nasty_vm, vm_backup};
use super::properties::for_clouds;
use crate::inventory::{Backup, BackupId, LocalState, RecordedState, Vm};
use crate::plan::decide::decide_under;
use crate::plan::due::Occurrences;
use crate::plan::keep::Keeps;
use crate::plan::standing::VmView;
use crate::plan::{Action, Expired, NoteCode, Prune, PruneHold, Request, Status, VmPlan, decide};
use crate::policy::{Match, MissingParent, Policies, Policy, TierKind};
use chrono::{DateTime, TimeDelta, Utc};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const VMS_AN_INSTANT: usize = 25;
const NEW: BackupId = BackupId::new(Uuid::max());

/// 2.3, but for whether it can be restored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stands {
    Unreadable,
    Good,
    Going,
    Hung,
    Failed,
}

#[derive(Clone)]
struct Item {
    record: Backup,
    stands: Stands,
    tier: Option<usize>,
    is_restorable: bool,
    is_ahead: bool,
}

impl Item {
    fn at(&self) -> DateTime<Utc> {
        self.record.timestamp.unwrap_or_default()
    }

    fn key(&self) -> (DateTime<Utc>, BackupId) {
        (self.at(), self.record.id)
    }

    fn holds(&self) -> bool {
        self.record.local == LocalState::Present
            || self.record.local == LocalState::Unknown && self.record.local_size_bytes.unwrap_or(0) > 0
    }

    /// Whether rules look at it at all.
    fn counts(&self) -> bool {
        self.stands != Stands::Unreadable && !self.is_ahead
    }

    fn is_begun(&self) -> bool {
        matches!(self.record.state, RecordedState::Accepted | RecordedState::Uploading)
    }

    fn hides_parent(&self) -> bool {
        self.record.state == RecordedState::Accepted && self.record.parent.is_none()
    }
}

struct World<'p> {
    policy: &'p Policy,
    now: DateTime<Utc>,
    prune: Prune,
    items: Vec<Item>,
}

fn file_sizes(backup: &Backup) -> Vec<u64> {
    let own: Vec<u64> = backup.files.iter().filter_map(|file| file.size_bytes).collect();
    if own.is_empty() { backup.record_size_bytes.into_iter().collect() } else { own }
}

/// Whether `files` maps names to sizes and checksums, and whether none of these is missing.
fn newer_form(backup: &Backup) -> Option<bool> {
    let is_newer =
        backup.record_size_bytes.is_none() && !backup.has_record_checksum && !backup.files.is_empty();
    is_newer.then(|| backup.files.iter().all(|file| file.size_bytes.is_some() && file.has_checksum))
}

fn stands(backup: &Backup, vm: &Vm, policy: &Policy, now: DateTime<Utc>) -> Stands {
    let Some(at) = backup.timestamp else { return Stands::Unreadable };
    let is_fresh = now - at < policy.stuck_after && at - now < policy.stuck_after;
    let sizes = file_sizes(backup);
    let is_hollow = sizes.iter().any(|&bytes| bytes < 100)
        || backup.parent.is_none()
            && !sizes.is_empty()
            && sizes.iter().sum::<u64>() < policy.min_full_size_bytes;
    let other_has_all =
        |other: &Backup| other.state == RecordedState::Completed && newer_form(other) == Some(true);
    match backup.state {
        RecordedState::Failed => Stands::Failed,
        RecordedState::Completed if is_hollow => Stands::Failed,
        RecordedState::Completed
            if is_fresh && newer_form(backup) == Some(false) && vm.backups.values().any(other_has_all) =>
        {
            Stands::Going
        }
        RecordedState::Completed => Stands::Good,
        _ if is_fresh => Stands::Going,
        _ => Stands::Hung,
    }
}

impl<'p> World<'p> {
    fn of(vm: &Vm, policy: &'p Policy, request: Request) -> Self {
        let Request { now, prune, .. } = request;
        let item = |record: &Backup| Item {
            stands: stands(record, vm, policy, now),
            tier: policy.tiers.iter().position(|tier| {
                let names = || tier.also.iter().chain([&tier.comment]);
                record.comment.as_deref().is_some_and(|comment| names().any(|name| name == comment))
            }),
            is_restorable: false,
            is_ahead: record.timestamp.is_some_and(|at| at - now > TimeDelta::minutes(10)),
            record: record.clone(),
        };
        let mut world = Self { policy, now, prune, items: vm.backups.values().map(item).collect() };
        let restorable: Vec<bool> = world.items.iter().map(|item| world.leads_to_a_full(item)).collect();
        world.items.iter_mut().zip(restorable).for_each(|(item, is)| item.is_restorable = is);
        world
    }

    fn get(&self, id: BackupId) -> Option<&Item> {
        self.items.iter().find(|item| item.record.id == id)
    }

    fn leads_to_a_full(&self, item: &Item) -> bool {
        let mut step = item;
        for _ in 0..=self.items.len() {
            if step.stands != Stands::Good {
                return false;
            }
            match step.record.parent {
                None => return true,
                Some(parent) => match self.get(parent) {
                    None => return false,
                    Some(parent) => step = parent,
                },
            }
        }
        false
    }

    fn restorable(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.is_restorable && item.counts())
    }

    fn has_newer(&self, item: &Item) -> bool {
        self.restorable().any(|other| other.key() > item.key())
    }

    fn children(&self, id: BackupId) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.record.parent == Some(id))
    }

    /// 2.6
    fn parent(&self, tier: usize) -> Option<&Item> {
        let TierKind::Incremental { from } = &self.policy.tiers[tier].kind else { return None };
        let may_be = |item: &&Item| {
            let Some(own) = item.tier else { return false };
            item.record.local == LocalState::Present
                && (from.contains(&own) || own == tier && item.record.parent.is_none())
                && self
                    .restorable()
                    .filter(|other| other.tier.is_some_and(|coarser| coarser < own))
                    .all(|coarser| coarser.key() < item.key())
        };
        self.restorable().filter(may_be).max_by_key(|item| item.key())
    }

    fn last_increment_is_hollow(&self, parent: BackupId) -> bool {
        let done = self
            .children(parent)
            .filter(|item| item.record.state == RecordedState::Completed && item.record.timestamp.is_some());
        done.max_by_key(|item| item.key()).is_some_and(|last| last.stands == Stands::Failed)
    }

    fn newest_of_tier(&self, tier: usize, count: Option<u32>) -> Vec<BackupId> {
        let mut of_tier: Vec<&Item> = self.restorable().filter(|item| item.tier == Some(tier)).collect();
        of_tier.sort_by_key(|item| std::cmp::Reverse(item.key()));
        of_tier.iter().take(count.map_or(usize::MAX, |count| count as usize)).map(|it| it.record.id).collect()
    }

    /// Whether it is in progress, or stuck with nothing restorable newer.
    fn may_run(&self, item: &Item) -> bool {
        item.stands == Stands::Going || item.stands == Stands::Hung && item.counts() && !self.has_newer(item)
    }

    /// 2.7, whether or not there is a snapshot.
    fn stay_local(&self) -> BTreeSet<BackupId> {
        let tiers = 0..self.policy.tiers.len();
        let mut stay: BTreeSet<BackupId> =
            tiers.clone().filter_map(|tier| self.parent(tier)).map(|item| item.record.id).collect();
        stay.extend(
            tiers.flat_map(|tier| self.newest_of_tier(tier, Some(self.policy.tiers[tier].keep_local))),
        );
        for item in self.items.iter().filter(|item| self.may_run(item)) {
            stay.insert(item.record.id);
            stay.extend(item.record.parent);
        }
        let is_lost = |item: &&Item| {
            item.tier.is_some()
                && item.counts()
                && item.holds()
                && !item.is_restorable
                && item.stands != Stands::Going
        };
        let lost = self.items.iter().filter(is_lost).max_by_key(|item| item.key());
        stay.extend(lost.filter(|item| !self.has_newer(item)).map(|item| item.record.id));
        stay
    }

    fn go_local(&self) -> BTreeSet<BackupId> {
        if self.items.iter().any(|item| item.hides_parent() && self.may_run(item)) {
            return BTreeSet::new();
        }
        let stay = self.stay_local();
        let managed = self.items.iter().filter(|item| item.tier.is_some() && item.counts() && item.holds());
        managed.map(|item| item.record.id).filter(|id| !stay.contains(id)).collect()
    }

    fn age(&self, item: &Item) -> TimeDelta {
        self.now - item.at()
    }

    /// 2.9
    fn expired(&self) -> BTreeSet<BackupId> {
        let days_35 = TimeDelta::days(35);
        let mut kept = self.stay_local();
        for (tier, rules) in self.policy.tiers.iter().enumerate() {
            kept.extend(self.newest_of_tier(tier, rules.keep.map(std::num::NonZeroU32::get)));
        }
        kept.extend(self.restorable().max_by_key(|item| item.key()).map(|item| item.record.id));
        for item in &self.items {
            let is_given_up = item.is_begun() && self.age(item) >= days_35;
            if !item.counts()
                || item.tier.is_none()
                || item.stands == Stands::Going && !is_given_up
                || !item.is_restorable && !self.has_newer(item)
            {
                kept.insert(item.record.id);
            }
        }
        let mut open: Vec<BackupId> = kept.iter().copied().collect();
        while let Some(id) = open.pop() {
            if let Some(parent) = self.get(id).and_then(|item| item.record.parent)
                && kept.insert(parent)
            {
                open.push(parent);
            }
        }
        // What is left goes, the evidence with what it hangs on.
        let left = self.items.iter().filter(|item| !kept.contains(&item.record.id));
        let mut expired: BTreeSet<BackupId> = left
            .filter(|item| item.is_restorable || self.age(item) >= days_35)
            .map(|item| item.record.id)
            .collect();
        loop {
            let hangs = |item: &&Item| {
                !kept.contains(&item.record.id)
                    && item.record.parent.is_some_and(|parent| expired.contains(&parent))
            };
            let more: Vec<BackupId> = self.items.iter().filter(hangs).map(|item| item.record.id).collect();
            let before = expired.len();
            expired.extend(more);
            if expired.len() == before {
                return expired;
            }
        }
    }

    /// 2.9: what goes, in no order; and the limit where that is exceeded.
    fn prunes(&self, vm: &Vm, can: bool) -> (BTreeSet<BackupId>, Option<(usize, usize)>) {
        let newest = self.restorable().map(Item::at).max();
        let hides = |item: &Item| {
            let is_given_up = self.age(item) >= TimeDelta::days(35);
            item.hides_parent() && !is_given_up && (item.is_ahead || self.may_run(item))
        };
        if !(self.policy.prune && self.prune.is_requested && can)
            || newest.is_none_or(|newest| self.now - newest > self.policy.max_age)
            || self.items.iter().any(hides)
        {
            return (BTreeSet::new(), None);
        }
        let expired = self.expired();
        let mut goes = expired.clone();
        loop {
            let stays = |id: &BackupId| {
                let item = self.get(*id).unwrap();
                item.holds()
                    || item.record.local_size_bytes.unwrap_or(0) > 0
                    || self.age(item) < TimeDelta::hours(1)
                    || item.is_begun() && self.age(item) < TimeDelta::days(35)
                    || matches!(item.record.state, RecordedState::Other(_))
                    || !item.is_restorable && self.is_whole_by_word(item)
                    || self.children(*id).any(|child| !goes.contains(&child.record.id))
            };
            let stay: Vec<BackupId> = goes.iter().copied().filter(stays).collect();
            if stay.is_empty() {
                break;
            }
            stay.iter().for_each(|id| _ = goes.remove(id));
        }
        // A loop of parents has no end to begin at.
        goes.retain(|&id| {
            let mut line = std::iter::successors(Some(id), |&id| self.get(id)?.record.parent).skip(1);
            !line.by_ref().take(self.items.len()).any(|step| step == id)
        });
        let mut before = vm.clone();
        let is_recent = |at: DateTime<Utc>| at <= self.now && self.time_since(at) < TimeDelta::days(8);
        before.backups.retain(|backup| !backup.timestamp.is_some_and(is_recent));
        let before = World::of(&before, self.policy, self.now.into());
        let is_completed =
            |id: &&BackupId| before.get(**id).unwrap().record.state == RecordedState::Completed;
        let old = before.expired().iter().filter(is_completed).count();
        let completed = vm.backups.values().filter(|it| it.state == RecordedState::Completed).count();
        let limit = [2, completed / 10, self.prune.mass_allowed].into_iter().max().unwrap();
        if old > limit && !goes.is_empty() { (BTreeSet::new(), Some((old, limit))) } else { (goes, None) }
    }

    /// How long ago it is, by the newest backup where that is ahead, with each gap between two restorable backups as no longer
    /// than `max_age`.
    fn time_since(&self, at: DateTime<Utc>) -> TimeDelta {
        let mut times: Vec<DateTime<Utc>> = self.restorable().map(Item::at).filter(|it| *it > at).collect();
        let is_behind = times.iter().any(|it| *it > self.now);
        times.extend([at].into_iter().chain((!is_behind).then_some(self.now)));
        times.sort();
        times.windows(2).map(|two| (two[1] - two[0]).min(self.policy.max_age)).sum()
    }

    fn is_whole_by_word(&self, item: &Item) -> bool {
        let mut step = item;
        for _ in 0..=self.items.len() {
            let is_good = step.record.state == RecordedState::Completed
                && file_sizes(&step.record).iter().all(|&bytes| bytes >= 100);
            match step.record.parent.map(|parent| self.get(parent)) {
                _ if !is_good => return false,
                None => return true,
                Some(None) => return false,
                Some(Some(parent)) => step = parent,
            }
        }
        false
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    actions: BTreeSet<String>,
    status: Status,
    gave_up: usize,
    retry_later: usize,
    expired: BTreeSet<BackupId>,
    over_limit: Option<(usize, usize)>,
}

/// A tier that is due: its place, whether and from when on it may be tried, whether it has failed, whether it gave up.
struct Due {
    tier: usize,
    pauses: bool,
    failed: bool,
    gave_up: bool,
}

/// 2.4 and 2.5
fn due_tiers(world: &World<'_>, due: &[Option<DateTime<Utc>>]) -> Vec<Due> {
    let mut missing = Vec::new();
    for (tier, since) in due.iter().enumerate().filter_map(|(tier, since)| Some((tier, (*since)?))) {
        let since_then = || world.items.iter().filter(|item| item.counts() && item.at() >= since);
        let does = |item: &Item| {
            item.tier.is_some_and(|own| own <= tier) && (item.is_restorable || item.stands == Stands::Going)
        };
        if since_then().any(does) {
            continue;
        }
        let failures: Vec<DateTime<Utc>> = since_then()
            .filter(|item| item.tier == Some(tier) && matches!(item.stands, Stands::Failed | Stands::Hung))
            .map(Item::at)
            .collect();
        let count = failures.len();
        let pause = world.policy.retry.backoff.num_seconds() as f64 * 2_f64.powi(count as i32 - 1);
        let pause = TimeDelta::seconds(pause.min(20.0 * 3600.0) as i64);
        missing.push(Due {
            tier,
            pauses: failures.iter().max().is_some_and(|last| world.now < *last + pause),
            failed: count > 0,
            gave_up: count >= world.policy.retry.attempts as usize,
        });
    }
    missing.sort_by_key(|due| (due.failed, due.tier));
    missing
}

fn oracle(vm: &Vm, policy: &Policy, due: &[Option<DateTime<Utc>>], request: Request) -> Outcome {
    let Request { now, prune, .. } = request;
    let world = World::of(vm, policy, request);
    let can = vm.hypervisor.is_some()
        && !(vm.delegated_datasets || vm.creating || vm.deleting)
        && ["running", "stopped", "booting", "shutting_down"].contains(&vm.state.as_str());
    let missing = due_tiers(&world, due);
    let mut actions = BTreeSet::new();
    let gone = if can { world.go_local() } else { BTreeSet::new() };
    actions.extend(gone.iter().map(|id| format!("delete {}", id.uuid())));
    let waits = world
        .items
        .iter()
        .any(|item| item.stands == Stands::Going || item.is_ahead && item.at() - now <= TimeDelta::hours(1));
    let is_full = |tier: usize| policy.tiers[tier].kind == TierKind::Full;
    let parent_of =
        |tier| world.parent(tier).map(|it| it.record.id).filter(|&id| !world.last_increment_is_hollow(id));
    let passed_over = |tier: usize| {
        !is_full(tier)
            && parent_of(tier).is_none()
            && (policy.missing_parent == MissingParent::Block
                || missing.iter().any(|due| due.tier < tier && is_full(due.tier)))
    };
    let made = missing.iter().find(|due| can && !waits && !due.pauses && !passed_over(due.tier));
    if let Some(made) = made {
        let parent = parent_of(made.tier);
        let on = parent.map_or("nothing".to_owned(), |parent| parent.uuid().to_string());
        actions.insert(format!("create {} on {on}", policy.tiers[made.tier].name));
        let newest = world.items.iter().filter(|item| item.counts()).map(Item::at).max();
        let at = newest.map_or(now, |newest| newest + TimeDelta::microseconds(1));
        let mut then = world.items.clone();
        let record = blank(now.max(at.min(now + TimeDelta::minutes(10))), parent);
        let tier = Some(made.tier);
        then.push(Item { record, stands: Stands::Good, tier, is_restorable: true, is_ahead: false });
        let later = World { policy, now, prune, items: then }.go_local();
        actions.extend(later.difference(&gone).map(|id| {
            let name = if *id == NEW { "new".to_owned() } else { id.uuid().to_string() };
            format!("delete {name} after")
        }));
    }
    let (prunes, over_limit) = world.prunes(vm, can);
    actions.extend(prunes.iter().map(|id| format!("prune {}", id.uuid())));
    let is_waiting = missing.iter().any(|due| due.pauses && !due.gave_up);
    let status = match () {
        () if !actions.is_empty() => Status::Changes,
        () if !missing.is_empty() && !can => Status::Blocked,
        () if waits => Status::Waiting,
        () if missing.is_empty() => Status::UpToDate,
        () if is_waiting => Status::Waiting,
        () => Status::Blocked,
    };
    let count = |is_it: fn(&Due) -> bool| missing.iter().filter(|due| can && is_it(due)).count();
    Outcome {
        actions,
        status,
        gave_up: count(|due| due.gave_up),
        retry_later: count(|due| due.pauses && !due.gave_up),
        expired: world.expired(),
        over_limit,
    }
}

fn blank(at: DateTime<Utc>, parent: Option<BackupId>) -> Backup {
    Backup { comment: None, parent, local: LocalState::Present, ..vm_backup(NEW, "", at) }
}

fn the_planners(planned: &VmPlan, vm: &Vm, policy: &Policy, request: Request) -> Outcome {
    let actions = planned.actions.iter().map(|action| match action {
        Action::Create(create) => {
            let on = create.parent.map_or("nothing".to_owned(), |parent| parent.uuid().to_string());
            format!("create {} on {on}", create.tier)
        }
        Action::DeleteLocal(delete) => {
            let backup = delete.backup.map_or("new".to_owned(), |id| id.uuid().to_string());
            format!("delete {backup}{}", if delete.after_create { " after" } else { "" })
        }
        Action::DeleteCloud(delete) => format!("prune {}", delete.backup.uuid()),
    });
    let view = VmView::new(vm, policy, request);
    let count = |code| planned.notes.iter().filter(|note| note.code == code).count();
    Outcome {
        actions: actions.collect(),
        status: planned.status,
        gave_up: count(NoteCode::GaveUp),
        retry_later: count(NoteCode::RetryLater),
        expired: Keeps::of(&view).expired(&view).iter().map(|backup| backup.id()).collect(),
        over_limit: match Expired::of(&view, &Keeps::of(&view)).hold {
            PruneHold::OverLimit(expired, limit) => Some((expired, limit)),
            _ => None,
        },
    }
}

/// Deletes one after the other from storage: children come first, all else that can be restored stays so, and a fresh decision
/// wants what is left of the list.
fn pruned_step_by_step(planned: &VmPlan, vm: &Vm, policy: &Policy, request: Request) {
    let occurrences = Occurrences::new(policy, request.due_at);
    let deletes = |planned: &VmPlan| -> Vec<BackupId> {
        planned.actions.iter().filter_map(Action::as_cloud_delete).map(|delete| delete.backup).collect()
    };
    let gone = deletes(planned);
    let before = World::of(vm, policy, request);
    let mut vm = vm.clone();
    for done in 1..=gone.len() {
        assert!(vm.backups.values().all(|it| it.parent != Some(gone[done - 1])), "FiFo's cascade takes more");
        vm.backups.remove(gone[done - 1]);
        let left = World::of(&vm, policy, request);
        let stay = before.items.iter().filter(|it| it.is_restorable && !gone.contains(&it.record.id));
        for item in stay {
            assert!(left.get(item.record.id).is_some_and(|it| it.is_restorable), "{}", item.record.id);
        }
        // Where the last one with sizes and checksums went, others count as completed, and more may have expired.
        let then = decide_under(&VmView::new(&vm, policy, request), &occurrences);
        if then.note(NoteCode::OverPruneLimit).is_some() {
            // With one completed backup less the limit may be lower: what is left waits.
            return;
        }
        let then = deletes(&then);
        let left = gone[done..].iter().filter(|id| !then.contains(id)).count();
        assert_eq!(left, 0, "after {done} of {gone:?}: {then:?}");
    }
}

/// Compares both plans of a VM, and counts what is seen.
fn compared(vm: &Vm, policies: &Policies, request: Request, seen: &mut BTreeMap<String, usize>) {
    let Match::One(policy) = policies.policy_for(vm) else { return };
    let occurrences = Occurrences::new(policy, request.due_at);
    let due: Vec<_> = (0..policy.tiers.len()).map(|tier| occurrences.last(tier, vm.id)).collect();
    let planned = decide(vm, policies, request);
    let (ours, theirs) = (the_planners(&planned, vm, policy, request), oracle(vm, policy, &due, request));
    assert_eq!(ours, theirs, "{request:?}, {policy:#?} {:#?}", vm.backups);
    pruned_step_by_step(&planned, vm, policy, request);
    let mut count = |what: &str, count: usize| *seen.entry(what.to_owned()).or_default() += count;
    count(&format!("{:?}", ours.status), 1);
    for action in &ours.actions {
        let kind = action.split(' ').next().unwrap();
        count(&format!("{kind} {}", action.ends_with("after")), 1);
    }
    count(&format!("gave up {}, later {}", ours.gave_up.min(2), ours.retry_later.min(2)), 1);
    count("over limit", usize::from(ours.over_limit.is_some()));
    let prunes = planned.actions.iter().filter(|action| action.is_cloud_delete()).count();
    count("several prunes", usize::from(prunes > 2));
    count("expired and not pruned", usize::from(ours.expired.len() > prunes));
}

/// Compares both plans of so many nasty VMs.
fn nasty_vms(seed: u64, vms: usize) {
    let mut rng = Random(seed);
    let shapes = nasty_policies();
    let mut seen = BTreeMap::new();
    for round in 0..vms / VMS_AN_INSTANT {
        let policy = changed_policy(shapes[round % shapes.len()].clone(), &mut rng);
        let now = at("2026-11-18 00:00")
            + TimeDelta::days(rng.below(40) as i64)
            + TimeDelta::minutes(rng.pick(&[60, 61, 90, 119, 120, 185, 500, 1_000, 1_439]));
        let due: Vec<DateTime<Utc>> =
            policy.tiers.iter().map(|tier| tier.schedule.last_at_or_before(now).unwrap()).collect();
        let policies = Policies::new(vec![policy.clone()]);
        for _ in 0..VMS_AN_INSTANT {
            let vm = nasty_vm(&policy, &due, now, &mut rng);
            compared(&vm, &policies, nasty_request(now, &mut rng), &mut seen);
        }
    }
    // They are as nasty as they are meant to be.
    const KINDS: &str = "Changes|Waiting|Blocked|UpToDate|create false|delete false|delete true|\
        prune false|gave up 0, later 1|gave up 1, later 0|gave up 1, later 1|gave up 2, later 0|over limit|several prunes|expired and not pruned";
    for what in KINDS.split('|') {
        assert!(seen.get(what).is_some_and(|&count| count >= 3), "{what}: {seen:#?}");
    }
}

#[test]
fn five_thousand_nasty_vms_are_planned_as_an_independent_computation_of_the_contract_plans_them() {
    nasty_vms(20_261_130, 5_000);
}

#[test]
#[ignore = "a minute with `cargo test --release --lib oracle -- --ignored`"]
fn two_hundred_thousand_more_are_planned_alike() {
    (1..=8).for_each(|seed| nasty_vms(seed, 25_000));
}

#[test]
fn generated_clouds_are_planned_as_an_independent_computation_of_the_contract_plans_them() {
    let seen = RefCell::new(BTreeMap::new());
    for_clouds(1_000, |cloud| {
        let policies = Policies::new(cloud.policies.clone());
        for vm in cloud.inventory.vms.values() {
            compared(vm, &policies, cloud.request(cloud.now), &mut seen.borrow_mut());
        }
        Ok(())
    });
    let seen = seen.into_inner();
    let is_seen = |what: &str| seen.get(what).is_some_and(|&count| count > 0);
    assert!(["prune false", "several prunes"].into_iter().all(is_seen), "{seen:#?}");
}
