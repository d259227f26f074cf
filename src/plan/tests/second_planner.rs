//! The contract's sections 2.3 to 2.8 read once more, independently of the planner and the audit: in rows and
//! passes over them. Both plan the same nasty VMs, and have to agree on every action, the status and what was given up.

use super::fixtures::*;
use crate::inventory::{Backup, BackupId, LocalState, RecordedState, StoredFile, Vm};
use crate::plan::decide::decide_under;
use crate::plan::due::Occurrences;
use crate::plan::{Action, NoteCode, Status};
use crate::policy::{MissingParent, Policy, Retry, TierKind, Zone};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use uuid::Uuid;

const VMS: usize = 5_000;
const VMS_AN_INSTANT: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Word {
    Whole,
    Going,
    Hung,
    Spoilt,
    Hollow,
}

/// A backup as the rules see it.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) at: DateTime<Utc>,
    pub(super) id: BackupId,
    pub(super) tier: Option<usize>,
    pub(super) word: Word,
    pub(super) parent: Option<BackupId>,
    pub(super) restorable: bool,
    pub(super) held: bool,
    pub(super) local: bool,
    pub(super) silent: bool,
    pub(super) called_completed: bool,
}

/// A VM under its policy: the rows from old to new, without those from the future, which are apart.
pub(super) struct Sheet<'a> {
    policy: &'a Policy,
    pub(super) rows: Vec<Row>,
    pub(super) future: Vec<Row>,
    /// The oldest one that shows that this FiFo tells sizes and checksums.
    pub(super) proof: Option<BackupId>,
}

#[derive(Debug, PartialEq)]
struct Reading {
    actions: BTreeSet<String>,
    status: Status,
    gave_up: usize,
    retry_later: usize,
}

/// All of them have it, or none of them has and the record has one for all.
fn is_known(of_files: &[bool], of_record: bool) -> bool {
    if of_files.contains(&true) { !of_files.contains(&false) } else { of_record }
}

fn word(
    backup: &Backup,
    is_proven: bool,
    at: DateTime<Utc>,
    policy: &Policy,
    now: DateTime<Utc>,
) -> (Word, bool) {
    let sizes: Vec<bool> = backup.files.iter().map(|file| file.size_bytes.is_some()).collect();
    let sums: Vec<bool> = backup.files.iter().map(|file| file.has_checksum).collect();
    let has_both = !backup.files.is_empty()
        && is_known(&sizes, backup.record_size_bytes.is_some())
        && is_known(&sums, backup.has_record_checksum);
    let known: Vec<u64> = backup.files.iter().filter_map(|file| file.size_bytes).collect();
    let known = if known.is_empty() { backup.record_size_bytes.into_iter().collect() } else { known };
    let is_empty = known.iter().any(|&bytes| bytes < 100)
        || (backup.parent.is_none()
            && !known.is_empty()
            && known.iter().sum::<u64>() < policy.min_full_size_bytes);
    let apart = if at > now { at - now } else { now - at };
    let word = match &backup.state {
        RecordedState::Failed => Word::Spoilt,
        RecordedState::Completed if is_empty => Word::Hollow,
        RecordedState::Completed if has_both || !is_proven => Word::Whole,
        RecordedState::Completed if apart >= policy.stuck_after => Word::Spoilt,
        RecordedState::Completed => Word::Going,
        _ if apart >= policy.stuck_after => Word::Hung,
        _ => Word::Going,
    };
    (word, is_proven || (has_both && backup.state == RecordedState::Completed))
}

impl<'a> Sheet<'a> {
    pub(super) fn new(vm: &Vm, policy: &'a Policy, now: DateTime<Utc>) -> Self {
        let mut dated: Vec<(DateTime<Utc>, &Backup)> =
            vm.backups.values().filter_map(|backup| Some((backup.timestamp?, backup))).collect();
        dated.sort_by_key(|(at, backup)| (*at, backup.id));
        let mut proof = None;
        let mut rows: Vec<Row> = Vec::new();
        for (at, backup) in dated {
            let (word, proven) = word(backup, proof.is_some(), at, policy, now);
            proof = proof.or(proven.then_some(backup.id));
            let tier = policy.tiers.iter().position(|tier| {
                backup
                    .comment
                    .as_deref()
                    .is_some_and(|it| tier.comment == it || tier.also.iter().any(|also| also == it))
            });
            rows.push(Row {
                at,
                id: backup.id,
                tier,
                word,
                parent: backup.parent,
                restorable: word == Word::Whole && backup.parent.is_none(),
                held: match backup.local {
                    LocalState::Unknown => backup.local_size_bytes.unwrap_or(0) > 0,
                    known => known == LocalState::Present,
                },
                local: backup.local == LocalState::Present,
                silent: backup.state == RecordedState::Accepted && backup.parent.is_none(),
                called_completed: backup.state == RecordedState::Completed,
            });
        }
        // From the full ones up, until nothing is added: loops and missing parents are never reached.
        loop {
            let good: BTreeSet<BackupId> =
                rows.iter().filter(|row| row.restorable).map(|row| row.id).collect();
            for row in &mut rows {
                row.restorable |=
                    row.word == Word::Whole && row.parent.is_some_and(|parent| good.contains(&parent));
            }
            if rows.iter().filter(|row| row.restorable).count() == good.len() {
                break;
            }
        }
        let future = rows.iter().position(|row| row.at > now + TimeDelta::minutes(10)).unwrap_or(rows.len());
        let future = rows.split_off(future);
        Self { policy, rows, future, proof }
    }

    pub(super) fn everything(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().chain(&self.future)
    }

    /// 2.6: from new to old, with the coarsest restorable tier seen so far.
    fn parent(&self, tier: usize) -> Option<BackupId> {
        let TierKind::Incremental { from } = &self.policy.tiers[tier].kind else { return None };
        let mut coarsest_seen = usize::MAX;
        for row in self.rows.iter().rev().filter(|row| row.restorable) {
            let Some(own) = row.tier else { continue };
            if row.local && from.contains(&own) && coarsest_seen >= own {
                return Some(row.id);
            }
            coarsest_seen = coarsest_seen.min(own);
        }
        None
    }

    fn is_spent(&self, parent: BackupId) -> bool {
        let mut last = None;
        for row in self.everything().filter(|row| row.parent == Some(parent) && row.called_completed) {
            last = Some(row.word);
        }
        last == Some(Word::Hollow)
    }

    /// 2.7: gives what is to go.
    fn to_go(&self) -> BTreeSet<BackupId> {
        let (stay, is_silent) = self.local_stay();
        if is_silent {
            return BTreeSet::new();
        }
        let managed = self.rows.iter().filter(|row| row.tier.is_some() && row.held);
        managed.map(|row| row.id).filter(|id| !stay.contains(id)).collect()
    }

    /// 2.7: gives what is wanted locally, and whether the parent of one that runs is unknown.
    pub(super) fn local_stay(&self) -> (BTreeSet<BackupId>, bool) {
        let mut stay: BTreeSet<BackupId> =
            (0..self.policy.tiers.len()).filter_map(|tier| self.parent(tier)).collect();
        let mut left: Vec<u32> = self.policy.tiers.iter().map(|tier| tier.keep_local).collect();
        // What is met before the first restorable one, from new to old, is newer than it.
        let mut is_newest = true;
        let mut has_lost = false;
        let mut is_silent = false;
        for row in self.rows.iter().rev() {
            let may_run = row.word == Word::Going || (row.word == Word::Hung && is_newest);
            is_silent |= may_run && row.silent;
            if may_run {
                stay.insert(row.id);
                stay.extend(row.parent);
            }
            if row.restorable {
                is_newest = false;
                if let Some(left) = row.tier.and_then(|tier| left.get_mut(tier)).filter(|left| **left > 0) {
                    *left -= 1;
                    stay.insert(row.id);
                }
            } else if row.held && row.tier.is_some() && row.word != Word::Going && !has_lost {
                has_lost = true;
                if is_newest {
                    stay.insert(row.id);
                }
            }
        }
        for row in self.future.iter().filter(|row| row.word == Word::Going) {
            is_silent |= row.silent;
            stay.extend(row.parent);
        }
        (stay, is_silent)
    }
}

fn second_reading(vm: &Vm, policy: &Policy, due: &[DateTime<Utc>], now: DateTime<Utc>) -> Reading {
    let sheet = Sheet::new(vm, policy, now);
    let short = |id: BackupId| id.uuid();
    let can = vm.hypervisor.is_some()
        && !(vm.delegated_datasets || vm.creating || vm.deleting)
        && ["running", "stopped", "booting", "shutting_down"].contains(&vm.state.as_str());
    let mut reading =
        Reading { actions: BTreeSet::new(), status: Status::UpToDate, gave_up: 0, retry_later: 0 };
    // Each tier that is due: whether it has failed, its place, and from when on it may be tried.
    let mut missing: Vec<(bool, usize, Option<DateTime<Utc>>, bool)> = Vec::new();
    for (tier, since) in due.iter().enumerate() {
        let fresh = || sheet.rows.iter().filter(|row| row.at >= *since);
        if fresh().any(|row| {
            row.tier <= Some(tier) && row.tier.is_some() && (row.restorable || row.word == Word::Going)
        }) {
            continue;
        }
        let bad = |row: &&Row| matches!(row.word, Word::Spoilt | Word::Hollow | Word::Hung);
        let failed: Vec<DateTime<Utc>> =
            fresh().filter(|row| row.tier == Some(tier)).filter(bad).map(|row| row.at).collect();
        let again = failed.last().map(|last| {
            let doubled = policy.retry.backoff.num_seconds() as f64 * 2_f64.powi(failed.len() as i32 - 1);
            *last + TimeDelta::seconds(doubled.min(86_400.0) as i64)
        });
        missing.push((!failed.is_empty(), tier, again, failed.len() >= policy.retry.attempts as usize));
    }
    let gone = if can { sheet.to_go() } else { BTreeSet::new() };
    reading.actions.extend(gone.iter().map(|&id| format!("delete {}", short(id))));
    let is_going = sheet.everything().any(|row| row.word == Word::Going)
        || sheet.future.iter().any(|row| row.at <= now + TimeDelta::hours(1));
    if can {
        reading.gave_up = missing.iter().filter(|it| it.3).count();
        reading.retry_later = missing.iter().filter(|it| !it.3 && it.2.is_some_and(|at| at > now)).count();
    }
    missing.sort_by_key(|it| (it.0, it.1));
    let blocks = policy.missing_parent == MissingParent::Block;
    let parent = |tier| sheet.parent(tier).filter(|&parent| !sheet.is_spent(parent));
    let is_incremental = |tier: usize| matches!(policy.tiers[tier].kind, TierKind::Incremental { .. });
    let first = missing.iter().find(|&&(_, tier, again, _)| {
        again.is_none_or(|at| at <= now) && !(blocks && is_incremental(tier) && parent(tier).is_none())
    });
    if let Some(&(_, tier, ..)) = first.filter(|_| can && !is_going) {
        let parent = parent(tier);
        let new = BackupId::new(Uuid::max());
        let latest = now + TimeDelta::minutes(10);
        let newest = sheet.rows.last().map_or(now, |row| row.at + TimeDelta::microseconds(1));
        let row = Row {
            at: now.max(newest.min(latest)),
            id: new,
            tier: Some(tier),
            word: Word::Whole,
            parent,
            restorable: true,
            held: true,
            local: true,
            silent: false,
            called_completed: true,
        };
        let rows = sheet.rows.iter().cloned().chain([row]).collect();
        let after = Sheet { policy, rows, future: sheet.future.clone(), proof: sheet.proof }.to_go();
        let on = parent.map_or("nothing".to_owned(), |parent| short(parent).to_string());
        reading.actions.insert(format!("create {} on {on}", policy.tiers[tier].name));
        let later = after.into_iter().filter(|id| !gone.contains(id));
        let name = |id| if id == new { "new".to_owned() } else { short(id).to_string() };
        reading.actions.extend(later.map(|id| format!("delete {} after", name(id))));
    }
    let waits = missing.iter().any(|it| !it.3 && it.2.is_some_and(|at| at > now));
    reading.status = match () {
        () if !reading.actions.is_empty() => Status::Changes,
        () if !missing.is_empty() && !can => Status::Blocked,
        () if is_going => Status::Waiting,
        () if missing.is_empty() => Status::UpToDate,
        () if waits => Status::Waiting,
        () => Status::Blocked,
    };
    reading
}

fn the_planners(vm: &Vm, policy: &Policy, occurrences: &Occurrences<'_>) -> Reading {
    let planned = decide_under(vm, policy, occurrences);
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
    let count = |code| planned.notes.iter().filter(|note| note.code() == code).count();
    Reading {
        actions: actions.collect(),
        status: planned.status,
        gave_up: count(NoteCode::GaveUp),
        retry_later: count(NoteCode::RetryLater),
    }
}

/// Chance with a seed: the same on every machine.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
}

pub(super) fn policies() -> Vec<Policy> {
    let zone = Zone::UTC;
    let inc = |from: &[usize]| TierKind::Incremental { from: from.to_vec() };
    let mut differential = grandfather();
    differential.tiers[1].kind = inc(&[0]);
    differential.tiers[2].kind = inc(&[1, 2]);
    let mut renamed = grandfather();
    renamed.tiers[2].also = vec!["by hand".to_owned()];
    vec![
        grandfather(),
        differential,
        renamed,
        policy(
            "hourly",
            vec![
                tier("weekly", "0 1 * * SUN", TierKind::Full, &zone),
                tier("daily", "0 1 * * *", TierKind::Full, &zone),
                tier("hourly", "0 * * * *", inc(&[1, 2]), &zone),
            ],
        ),
        policy("full", vec![tier("daily", "0 1 * * *", TierKind::Full, &zone)]),
    ]
}

pub(super) fn changed(mut policy: Policy, dice: &mut Dice) -> Policy {
    policy.missing_parent = dice.pick(&[MissingParent::Full, MissingParent::Full, MissingParent::Block]);
    policy.stuck_after = TimeDelta::hours(dice.pick(&[2, 12, 30]));
    let backoff = TimeDelta::minutes(dice.pick(&[0, 20, 60, 60, 1_000]));
    policy.retry = Retry { attempts: dice.pick(&[1, 2, 3]), backoff };
    for tier in &mut policy.tiers {
        tier.keep_local = dice.pick(&[0, 0, 0, 1, 2]);
    }
    policy
}

/// The files of a backup in the styles of 2015 and of 2016 on, as they should be and with something missing.
fn write_files(backup: &mut Backup, is_old_fifo: bool, dice: &mut Dice) {
    let file = |size_bytes, has_checksum| StoredFile { size_bytes, has_checksum };
    let good = file(Some(GIB), true);
    if is_old_fifo && !dice.one_in(12) {
        backup.files = dice.pick(&[vec![], vec![file(None, false)], vec![file(Some(GIB), false)]]);
        return;
    }
    match dice.below(24) {
        0 => backup.files = vec![file(Some(GIB), false)],
        1 => backup.files = vec![file(None, true)],
        2 => backup.files = vec![good, file(Some(GIB), false)],
        3 => backup.files = vec![good, file(Some(52), true)],
        4 => backup.files = vec![file(Some(dice.pick(&[0, 99, 100, 65_535, 65_536])), true)],
        5 => backup.files = vec![],
        way @ 6..12 => {
            backup.files = vec![file(None, false), file(None, way == 6)];
            backup.record_size_bytes = (way != 7).then_some(if way == 8 { 52 } else { GIB });
            backup.has_record_checksum = way != 9;
        }
        12..15 => backup.files = vec![good, good],
        _ => backup.files = vec![good],
    }
}

pub(super) fn nasty_vm(policy: &Policy, due: &[DateTime<Utc>], now: DateTime<Utc>, dice: &mut Dice) -> Vm {
    let mut vm = vm(1).vm;
    match dice.below(60) {
        0 => vm.hypervisor = None,
        1 => vm.delegated_datasets = true,
        2 => vm.creating = true,
        3 => vm.state = "storing".to_owned(),
        4 => vm.state = "stopped".to_owned(),
        _ => {}
    }
    let is_old_fifo = dice.one_in(5);
    let is_calm = dice.one_in(3);
    let mut ids: Vec<BackupId> = Vec::new();
    let near_us: [i64; 12] = [
        -3_600_000_001,
        -3_600_000_000,
        -1,
        0,
        1,
        60_000_000,
        7_200_000_000,
        0,
        0,
        300_000_000,
        90_000_000,
        -86_400_000_000,
    ];
    let ahead_us: [i64; 7] =
        [1, 599_999_999, 600_000_000, 600_000_001, 7_199_000_000, 7_200_000_000, 3_456_000_000_000];
    for n in 0..dice.below(15) {
        let id = backup_id(u128::from(dice.below(1_000)) << 64 | u128::from(n));
        let taken = match dice.below(if is_calm { 4 } else { 14 }) {
            0..4 => now - TimeDelta::minutes(dice.below(60 * 24 * 9) as i64),
            4..6 => now - TimeDelta::minutes(dice.below(240) as i64),
            6 => now + TimeDelta::microseconds(dice.pick(&ahead_us)),
            7 if !vm.backups.is_empty() => {
                let last = vm.backups.values().filter_map(|backup| backup.timestamp).next_back();
                last.unwrap_or(now)
            }
            8 => now - policy.stuck_after + TimeDelta::microseconds(dice.pick(&[-1, 0, 1])),
            _ => dice.pick(due) + TimeDelta::microseconds(dice.pick(&near_us)),
        };
        let tier = dice.pick(&policy.tiers);
        let mut backup = vm_backup(id, &tier.comment, taken);
        if dice.one_in(12) {
            backup.comment = dice.pick(&[None, Some("by hand".into()), Some("".into())]);
        }
        if !is_calm {
            backup.state = match dice.below(14) {
                0..3 => RecordedState::Failed,
                3..5 => RecordedState::Uploading,
                5 => RecordedState::Accepted,
                6 if dice.one_in(2) => RecordedState::Other("verifying".to_owned()),
                _ => RecordedState::Completed,
            };
        }
        write_files(&mut backup, is_old_fifo, dice);
        backup.parent = match dice.below(20) {
            0..6 => None,
            6 => Some(backup_id(u128::MAX / 3)),
            7 => Some(id),
            8..13 => ids.last().copied(),
            _ if ids.is_empty() => None,
            _ => Some(dice.pick(&ids)),
        };
        if matches!(tier.kind, TierKind::Full) && !dice.one_in(6) {
            backup.parent = None;
        }
        backup.local =
            dice.pick(&[Some(true), Some(true), Some(true), Some(false), Some(false), None]).into();
        backup.local_size_bytes = dice.pick(&[Some(0), Some(GIB), None]);
        if dice.one_in(30) {
            (backup.timestamp, backup.comment) = (None, None);
        }
        ids.push(id);
        vm.backups.insert(backup);
    }
    // A loop of several.
    if dice.one_in(6) && ids.len() > 2 {
        let (one, other) = (ids[0], ids[ids.len() - 1]);
        if let Some(backup) = vm.backups.get_mut(one) {
            backup.parent = Some(other);
        }
    }
    vm
}

fn vm_backup(id: BackupId, comment: &str, taken: DateTime<Utc>) -> Backup {
    Backup {
        id,
        comment: Some(comment.into()),
        timestamp: Some(taken),
        state: RecordedState::Completed,
        parent: None,
        local: LocalState::Unknown,
        local_size_bytes: None,
        files: Vec::new(),
        record_size_bytes: None,
        has_record_checksum: false,
    }
}

#[test]
fn thousands_of_nasty_vms_are_planned_as_a_second_reading_of_the_rules_plans_them() {
    let mut dice = Dice(20_261_122);
    let shapes = policies();
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for round in 0..VMS / VMS_AN_INSTANT {
        let policy = changed(shapes[round % shapes.len()].clone(), &mut dice);
        let now = at("2026-11-18 00:00")
            + TimeDelta::days(dice.below(40) as i64)
            + TimeDelta::minutes(dice.pick(&[60, 61, 90, 119, 120, 185, 500, 1_000, 1_439]));
        let occurrences = Occurrences::new(&policy, now);
        let due: Vec<DateTime<Utc>> =
            policy.tiers.iter().map(|tier| tier.schedule.last_at_or_before(now).unwrap()).collect();
        for n in 0..VMS_AN_INSTANT {
            let vm = nasty_vm(&policy, &due, now, &mut dice);
            let (ours, theirs) =
                (the_planners(&vm, &policy, &occurrences), second_reading(&vm, &policy, &due, now));
            assert_eq!(ours, theirs, "round {round}, VM {n} at {now}, {policy:#?} {:#?}", vm.backups);
            *seen.entry(format!("{:?}", ours.status)).or_default() += 1;
            for action in &ours.actions {
                let kind = action.split(' ').next().unwrap();
                *seen.entry(format!("{kind} {}", action.ends_with("after"))).or_default() += 1;
            }
            *seen
                .entry(format!("gave up {}, later {}", ours.gave_up.min(2), ours.retry_later.min(2)))
                .or_default() += 1;
        }
    }
    // They are as nasty as they are meant to be.
    for what in [
        "Changes",
        "Waiting",
        "Blocked",
        "UpToDate",
        "create false",
        "delete false",
        "delete true",
        "gave up 0, later 1",
        "gave up 1, later 0",
        "gave up 1, later 1",
        "gave up 2, later 0",
    ] {
        assert!(seen.get(what).is_some_and(|&count| count >= 3), "{what}: {seen:#?}");
    }
}
