//! Generated clouds: policies, VMs with the histories that could be, and an instant.

use super::fixtures::{GIB, at, backup_id, policy, tier, vm_id};
use crate::inventory::{Backup, BackupId, Inventory, Metadata, RecordedState, StoredFile, UnreadableVm, Vm};
use crate::plan::{Prune, Request};
use crate::policy::{MissingParent, Pattern, Policy, Retry, Selector, Suspension, TierKind, Zone};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::LazyLock;

/// One generated world.
#[derive(Clone)]
pub(crate) struct Cloud {
    pub(crate) policies: Vec<Policy>,
    pub(crate) inventory: Inventory,
    pub(crate) now: DateTime<Utc>,
}

impl Cloud {
    /// Asks about it, at some clouds with `--prune`, and at some with a FiFo whose clock is behind.
    pub(crate) fn request(&self, now: DateTime<Utc>) -> Request {
        let first = &self.policies[0];
        let prune = if first.retry.attempts == 2 { Prune::default() } else { Prune::REQUESTED };
        let behind = TimeDelta::minutes(if first.stuck_after == TimeDelta::hours(12) { 25 } else { 0 });
        Request::by_clocks(now, Some(now - behind), prune)
    }
}

/// A counterexample in a few lines instead of a thousand.
impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "at {}", self.now)?;
        for policy in &self.policies {
            let (name, priority, block) = (&policy.name, policy.priority, policy.missing_parent);
            write!(f, "{name}: {priority} {block:?} stuck {} retry {:?}", policy.stuck_after, policy.retry)?;
            let suspend =
                policy.suspend.as_ref().map(|suspend| (suspend.until_instant, suspend.vms.is_some()));
            writeln!(f, " {} in {} suspended {suspend:?}", policy.select.alias[0], policy.zone.name())?;
            writeln!(f, "  prune {:?} max age {}", policy.prune, policy.max_age)?;
            for tier in &policy.tiers {
                let (name, kind, keep_local, keep) = (&tier.name, &tier.kind, tier.keep_local, tier.keep);
                writeln!(
                    f,
                    "  {name} {} {kind:?} spread {} local {keep_local} keep {keep:?}",
                    tier.schedule, tier.spread
                )?;
            }
        }
        for vm in self.inventory.vms.values() {
            let flags = [vm.creating, vm.deleting, vm.delegated_datasets];
            writeln!(f, "{} {} on {:?} {:?} {flags:?}", vm.id, vm.alias, vm.hypervisor, vm.state)?;
            for backup in vm.backups.values() {
                let (comment, state, local) = (&backup.comment, &backup.state, backup.local);
                let (bytes, local_bytes) = (backup.size_bytes(), backup.local_size_bytes);
                write!(f, "  {} {comment:?} {:?} {state:?} local {local:?}", backup.id, backup.timestamp)?;
                writeln!(f, " ({local_bytes:?}) on {:?} {bytes:?} bytes", backup.parent)?;
            }
        }
        write!(f, "{:?}", self.inventory.unreadable)
    }
}

/// The id of a backup that a carried-out create makes: greater than all others, as if it won every tie.
pub(crate) fn fresh_id(n: usize) -> BackupId {
    backup_id(u128::MAX - n as u128)
}

/// Policies of every shape, in zones with their own days; to read a schedule costs, so each is read once.
static SHAPES: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    let incremental = |from: &[usize]| TierKind::Incremental { from: from.to_vec() };
    ["UTC", "Europe/Berlin", "Pacific/Apia"]
        .into_iter()
        .flat_map(|zone| {
            let zone = Zone::find(zone).unwrap();
            let monthly = || tier("monthly", "0 1 1 * *", TierKind::Full, &zone);
            let weekly = |from: &[usize]| tier("weekly", "0 1 * * SUN", incremental(from), &zone);
            let daily = |from: &[usize]| tier("daily", "0 1 * * *", incremental(from), &zone);
            [
                vec![monthly(), weekly(&[0, 1]), daily(&[0, 1, 2])],
                vec![monthly(), weekly(&[0]), daily(&[1, 2])],
                vec![monthly(), daily(&[0])],
                vec![tier("daily", "30 2 * * *", TierKind::Full, &zone)],
                vec![
                    tier("weekly", "0 1 * * SUN", TierKind::Full, &zone),
                    tier("daily", "0 1 * * *", TierKind::Full, &zone),
                    tier("hourly", "*/20 * * * *", incremental(&[1, 2]), &zone),
                ],
            ]
        })
        .map(|tiers| policy("shape", tiers))
        .collect()
});

/// Alias patterns, some of which overlap; to compile one costs as well.
static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    ["vm-[0-3]", "vm-[1-9]", "vm-0", "*", "*"].into_iter().map(|text| Pattern::new(text).unwrap()).collect()
});

fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let one = (
        any::<Index>(),
        (0..5_i64, 0..3_u32, select(vec![0_i64, 0, 3_600, 5_000])),
        (any::<bool>(), select(vec![2_i64, 12, 30]), 1..4_u32, select(vec![0_i64, 20, 60, 200])),
        any::<Index>(),
        proptest::option::weighted(0.15, (-3..4_i64, any::<bool>())),
        proptest::option::of(1..4_u32),
    );
    vec(one, 1..=3).prop_map(|ones| {
        ones.into_iter()
            .enumerate()
            .map(|(n, (shape, (priority, keep_local, spread), when, select, suspend, keep))| {
                let (block, stuck_hours, attempts, backoff_mins) = when;
                let mut policy = shape.get(&SHAPES).clone();
                policy.name = format!("policy-{n}").into();
                policy.priority = priority;
                policy.select =
                    Selector { alias: vec![select.get(&PATTERNS).clone()], ..Selector::default() };
                policy.missing_parent = if block { MissingParent::Block } else { MissingParent::Full };
                policy.stuck_after = TimeDelta::hours(stuck_hours);
                policy.retry = Retry { attempts, backoff: TimeDelta::minutes(backoff_mins) };
                for (place, tier) in policy.tiers.iter_mut().enumerate() {
                    tier.keep_local = if place % 2 == 1 { keep_local } else { 0 };
                    // Of the last of some none expires.
                    tier.keep = keep.and_then(|keep| NonZeroU32::new((keep + place as u32) % 4));
                    tier.spread = TimeDelta::seconds(spread.min(tier.schedule.gap_min().num_seconds() - 1));
                }
                policy.prune = !(attempts as usize + n).is_multiple_of(4);
                // Relative to the base of all instants; before and after them, and for some of its VMs.
                policy.suspend = suspend.map(|(months, some)| {
                    let until_instant = at("2027-06-01 00:00") + TimeDelta::days(60 * months);
                    Suspension {
                        reason: "storage move".to_owned(),
                        until: until_instant.date_naive(),
                        until_instant,
                        vms: some.then(|| vec![PATTERNS[1].clone()]),
                    }
                });
                policy
            })
            .collect()
    })
}

/// Where a generated backup hangs.
#[derive(Clone, Debug)]
enum On {
    Nothing,
    TheLastCompleted,
    Any(Index),
    Missing,
}

#[derive(Clone, Debug)]
struct History {
    backups: Vec<(Record, i64, On)>,
    last_mins_ago: i64,
    /// All went well so far, and the scheme was kept to.
    tidy: bool,
    /// Some of them stand right around the instant, whatever their place.
    near_secs: Vec<(Index, i64)>,
    /// Failures of the last hours: of which tier, and how long ago.
    attempts: Vec<(&'static str, i64)>,
}

#[derive(Clone, Debug)]
struct Record {
    id: u64,
    comment: Option<&'static str>,
    state: RecordedState,
    local: Option<bool>,
    local_size_bytes: Option<u64>,
    size_bytes: Option<u64>,
    dated: bool,
}

fn record() -> impl Strategy<Value = Record> {
    let comments = vec![
        Some("monthly"),
        Some("weekly"),
        Some("weekly"),
        Some("daily"),
        Some("daily"),
        Some("daily"),
        Some("hourly"),
        Some("by hand"),
        None,
    ];
    let states = prop_oneof![
        24 => Just(RecordedState::Completed),
        2 => Just(RecordedState::Failed),
        1 => Just(RecordedState::Uploading),
        1 => Just(RecordedState::Accepted),
        1 => Just(RecordedState::Other("verifying".to_owned())),
    ];
    (
        0..64_u64,
        select(comments),
        states,
        select(vec![Some(true), Some(true), Some(false), None]),
        select(vec![Some(0), Some(GIB), None]),
        prop_oneof![24 => Just(Some(GIB)), 1 => Just(None), 1 => select(vec![Some(0), Some(52), Some(65_536)])],
        proptest::bool::weighted(0.97),
    )
        .prop_map(|(id, comment, state, local, local_size_bytes, size_bytes, dated)| Record {
            id,
            comment,
            state,
            local,
            local_size_bytes,
            size_bytes,
            dated,
        })
}

fn history() -> impl Strategy<Value = History> {
    let gap_mins =
        select(vec![0_i64, 1, 9, 60, 65, 23 * 60, 24 * 60, 24 * 60, 24 * 60, 25 * 60, 7 * 24 * 60]);
    let on = prop_oneof![
        8 => Just(On::Nothing),
        30 => Just(On::TheLastCompleted),
        2 => any::<Index>().prop_map(On::Any),
        1 => Just(On::Missing),
    ];
    let near_secs =
        select(vec![-3_700_i64, -3_600, -600, -1, 0, 1, 300, 600, 601, 3_600, 3_601, 40 * 24 * 3_600]);
    let attempts = (select(vec!["monthly", "weekly", "daily", "daily", "hourly"]), 0..150_i64);
    (
        vec((record(), gap_mins, on), 0..=22),
        prop_oneof![0..100_i64, 0..1_500_i64, 0..1_500_i64, 0..40_000_i64],
        any::<bool>(),
        prop_oneof![2 => Just(Vec::new()), 1 => vec((any::<Index>(), near_secs), 1..=2)],
        prop_oneof![3 => Just(Vec::new()), 1 => vec(attempts, 1..=3)],
    )
        .prop_map(|(backups, last_mins_ago, tidy, near_secs, attempts)| History {
            backups,
            last_mins_ago,
            tidy,
            near_secs,
            attempts,
        })
}

impl History {
    fn backups(mut self, vm: u128, now: DateTime<Utc>) -> Vec<Backup> {
        if self.tidy {
            let mut seen = Vec::new();
            for (record, _, on) in self.backups.iter_mut().rev() {
                let local = !seen.contains(&record.comment);
                seen.push(record.comment);
                record.state = RecordedState::Completed;
                record.local = Some(local);
                record.local_size_bytes = Some(if local { GIB } else { 0 });
                record.size_bytes = Some(GIB);
                record.dated = true;
                *on = if record.comment == Some("monthly") { On::Nothing } else { On::TheLastCompleted };
            }
        }
        // The high bits are drawn, so that UUIDs do not follow the times.
        let id = |drawn: u64, n: usize| backup_id(u128::from(drawn) << 64 | vm << 32 | n as u128);
        let ids: Vec<BackupId> =
            self.backups.iter().enumerate().map(|(n, (record, ..))| id(record.id, n)).collect();
        let last_completed_before =
            |n: usize| (0..n).rev().find(|&n| self.backups[n].0.state == RecordedState::Completed);
        let span_mins: i64 = self.backups.iter().map(|&(_, gap_mins, _)| gap_mins).sum();
        let mut taken = now - TimeDelta::minutes(self.last_mins_ago + span_mins);
        let mut backups: Vec<Backup> = Vec::new();
        for (n, (record, gap_mins, on)) in self.backups.iter().enumerate() {
            taken += TimeDelta::minutes(*gap_mins);
            let file = StoredFile {
                size_bytes: record.size_bytes,
                has_checksum: self.tidy || record.id % 16 > 0,
                ..StoredFile::default()
            };
            backups.push(Backup {
                id: ids[n],
                comment: record.comment.filter(|_| record.dated).map(Into::into),
                timestamp: record.dated.then_some(taken),
                parent: match on {
                    On::Nothing => None,
                    On::TheLastCompleted => last_completed_before(n).map(|before| ids[before]),
                    On::Any(index) => Some(*index.get(&ids)),
                    On::Missing => Some(id(u64::MAX, 0)),
                },
                local: record.local.into(),
                local_size_bytes: record.local_size_bytes,
                files: if record.state == RecordedState::Accepted { Vec::new() } else { vec![file] },
                record_size_bytes: None,
                has_record_checksum: false,
                is_broken: false,
                state: record.state.clone(),
            });
        }
        for (index, secs) in &self.near_secs {
            let Some(near) = backups.get_mut(index.index(self.backups.len().max(1))) else { break };
            near.timestamp = near.timestamp.map(|_| now + TimeDelta::seconds(*secs));
        }
        for (n, (comment, mins_ago)) in self.attempts.iter().enumerate() {
            backups.push(Backup {
                id: id(7, 100 + n),
                comment: Some((*comment).into()),
                timestamp: Some(now - TimeDelta::minutes(*mins_ago)),
                state: RecordedState::Failed,
                parent: None,
                local: Some(n == 0).into(),
                local_size_bytes: None,
                files: Vec::new(),
                record_size_bytes: None,
                has_record_checksum: false,
                is_broken: false,
            });
        }
        backups
    }
}

/// The histories of a cloud's VMs, each with a state and with one oddity in some.
fn vms() -> impl Strategy<Value = Vec<(History, &'static str, u8)>> {
    let states = prop_oneof![9 => Just("running"), 1 => select(vec!["stopped", "booting", "storing", ""])];
    vec((history(), states, 0..30_u8), 0..=3)
}

fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    let at_us = prop_oneof![
        select(vec![0_i64, 3_600_000_000, 3_600_000_001, 3_599_999_999, 7_200_000_000, 9_000_000_000]),
        0..86_400_000_000_i64,
    ];
    (0..420_i64, at_us)
        .prop_map(|(days, us)| at("2027-02-20 00:00") + TimeDelta::days(days) + TimeDelta::microseconds(us))
}

/// Clouds of every kind.
pub(crate) fn clouds() -> impl Strategy<Value = Cloud> {
    (policies(), vms(), vec(0..3_u8, 0..=2), instant()).prop_map(|(policies, vms, unreadable, now)| {
        let vms = vms.into_iter().enumerate().map(|(n, (history, state, odd))| {
            let vm = Vm {
                id: vm_id(n as u128 + 1),
                alias: format!("vm-{}", n.min(2)),
                owner: None,
                package: None,
                dataset: None,
                hypervisor: (odd != 1).then(|| "hv-1".to_owned()),
                state: state.to_owned(),
                creating: odd == 2,
                deleting: odd == 3,
                delegated_datasets: odd == 4,
                metadata: Metadata::default(),
                backups: history.backups(n as u128 + 1, now).into_iter().collect(),
            };
            (vm.id, vm)
        });
        let unreadable = unreadable.into_iter().map(|kind| UnreadableVm {
            alias: if kind == 0 { String::new() } else { "odd".to_owned() },
            id: (kind != 1).then(|| vm_id(900 + u128::from(kind))),
            problems: vec![format!("backups: problem {kind}")],
        });
        let inventory = Inventory {
            endpoint: "https://fifo.example.com".to_owned(),
            vms: vms.collect(),
            unreadable: unreadable.collect(),
        };
        Cloud { policies, inventory, now }
    })
}
