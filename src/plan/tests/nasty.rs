//! Nasty VMs: every kind of record, most of them around the instants at which a rule turns, from a seed.

use super::fixtures::*;
use crate::inventory::{Backup, BackupId, LocalState, RecordedState, StoredFile, Vm};
use crate::plan::{Prune, Request};
use crate::policy::{MissingParent, Policy, Retry, TierKind, Zone};
use chrono::{DateTime, TimeDelta, Utc};
use std::num::NonZeroU32;

/// Chance with a seed: the same on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
}

pub(crate) fn nasty_policies() -> Vec<Policy> {
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

pub(crate) fn changed_policy(mut policy: Policy, rng: &mut Random) -> Policy {
    policy.missing_parent = rng.pick(&[MissingParent::Full, MissingParent::Full, MissingParent::Block]);
    policy.stuck_after = TimeDelta::hours(rng.pick(&[2, 12, 30]));
    let backoff = TimeDelta::minutes(rng.pick(&[0, 20, 60, 60, 1_000]));
    policy.retry = Retry { attempts: rng.pick(&[1, 2, 3]), backoff };
    for tier in &mut policy.tiers {
        tier.keep_local = rng.pick(&[0, 0, 0, 1, 2]);
        tier.keep = NonZeroU32::new(rng.pick(&[1, 1, 1, 2, 3, 0]));
    }
    policy.prune = !rng.one_in(5);
    policy.max_age = TimeDelta::hours(rng.pick(&[26, 26, 24 * 9]));
    policy
}

/// A request at an instant: with `--prune` or without, and at times with a FiFo whose clock is behind.
pub(crate) fn nasty_request(now: DateTime<Utc>, rng: &mut Random) -> Request {
    let prune = Prune { is_requested: !rng.one_in(5), mass_allowed: rng.pick(&[0, 0, 0, 4]) };
    let behind = TimeDelta::minutes(rng.pick(&[0, 0, 1, 59]));
    Request::by_clocks(now, Some(now - behind), prune)
}

/// The files of a backup in the styles of 2015 and of 2016 on, as they should be and with something missing.
fn write_files(backup: &mut Backup, is_old_fifo: bool, rng: &mut Random) {
    let file = |size_bytes, has_checksum| StoredFile { size_bytes, has_checksum, ..StoredFile::default() };
    let good = file(Some(GIB), true);
    if is_old_fifo && !rng.one_in(12) {
        backup.files = rng.pick(&[vec![], vec![file(None, false)], vec![file(Some(GIB), false)]]);
        return;
    }
    match rng.below(24) {
        0 => backup.files = vec![file(Some(GIB), false)],
        1 => backup.files = vec![file(None, true)],
        2 => backup.files = vec![good, file(Some(GIB), false)],
        3 => backup.files = vec![good, file(Some(52), true)],
        4 => backup.files = vec![file(Some(rng.pick(&[0, 99, 100, 65_535, 65_536])), true)],
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

pub(crate) fn nasty_vm(policy: &Policy, due: &[DateTime<Utc>], now: DateTime<Utc>, rng: &mut Random) -> Vm {
    let mut vm = vm(1).vm;
    match rng.below(60) {
        0 => vm.hypervisor = None,
        1 => vm.delegated_datasets = true,
        2 => vm.creating = true,
        3 => vm.state = "storing".to_owned(),
        4 => vm.state = "stopped".to_owned(),
        _ => {}
    }
    let is_old_fifo = rng.one_in(5);
    let is_calm = rng.one_in(3);
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
    let ahead_us: [i64; 9] = [
        1,
        599_999_999,
        600_000_000,
        600_000_001,
        3_600_000_000,
        3_600_000_001,
        7_199_000_000,
        7_200_000_000,
        3_456_000_000_000,
    ];
    for n in 0..rng.below(if is_calm { 24 } else { 15 }) {
        let id = backup_id(u128::from(rng.below(1_000)) << 64 | u128::from(n));
        let taken = match rng.below(16) {
            2..14 if is_calm => now - TimeDelta::minutes(rng.below(60 * 24 * 60) as i64),
            14 | 15 => now - TimeDelta::minutes(rng.below(60 * 24 * 60) as i64),
            0 if rng.one_in(4) => now - TimeDelta::days(35) + TimeDelta::microseconds(rng.pick(&[-1, 0, 1])),
            1 if rng.one_in(4) => now - TimeDelta::days(8) + TimeDelta::microseconds(rng.pick(&[-1, 0, 1])),
            0..4 => now - TimeDelta::minutes(rng.below(60 * 24 * 9) as i64),
            4..6 => now - TimeDelta::minutes(rng.below(240) as i64),
            6 => now + TimeDelta::microseconds(rng.pick(&ahead_us)),
            7 if !vm.backups.is_empty() => {
                let last = vm.backups.values().filter_map(|backup| backup.timestamp).next_back();
                last.unwrap_or(now)
            }
            8 => now - policy.stuck_after + TimeDelta::microseconds(rng.pick(&[-1, 0, 1])),
            _ => rng.pick(due) + TimeDelta::microseconds(rng.pick(&near_us)),
        };
        let tier = rng.pick(&policy.tiers);
        let mut backup = vm_backup(id, &tier.comment, taken);
        if rng.one_in(12) {
            backup.comment = rng.pick(&[None, Some("by hand".into()), Some("".into())]);
        }
        if !is_calm {
            backup.state = match rng.below(14) {
                0..3 => RecordedState::Failed,
                3..5 => RecordedState::Uploading,
                5 => RecordedState::Accepted,
                6 if rng.one_in(2) => RecordedState::Other("verifying".to_owned()),
                _ => RecordedState::Completed,
            };
        }
        write_files(&mut backup, is_old_fifo, rng);
        backup.parent = match rng.below(20) {
            0..6 => None,
            6 => Some(backup_id(u128::MAX / 3)),
            7 => Some(id),
            8..13 => ids.last().copied(),
            _ if ids.is_empty() => None,
            _ => Some(rng.pick(&ids)),
        };
        if matches!(tier.kind, TierKind::Full) && !rng.one_in(6) {
            backup.parent = None;
        }
        backup.local = rng.pick(&[Some(true), Some(true), Some(true), Some(false), Some(false), None]).into();
        backup.local_size_bytes = rng.pick(&[Some(0), Some(GIB), None]);
        // Most snapshots are gone after a while.
        if is_calm && !rng.one_in(4) {
            (backup.local, backup.local_size_bytes) = (LocalState::Absent, Some(0));
        }
        if rng.one_in(30) {
            (backup.timestamp, backup.comment) = (None, None);
        }
        ids.push(id);
        vm.backups.insert(backup);
    }
    // A loop of several.
    if rng.one_in(6) && ids.len() > 2 {
        let (one, other) = (ids[0], ids[ids.len() - 1]);
        if let Some(backup) = vm.backups.get_mut(one) {
            backup.parent = Some(other);
        }
    }
    vm
}

pub(crate) fn vm_backup(id: BackupId, comment: &str, taken: DateTime<Utc>) -> Backup {
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
        is_broken: false,
    }
}
