//! Checks by the records alone, whatever the plan says, that a backup may be deleted from storage.

use super::step::KeepReason;
use crate::inventory::{Backup, ChainEnd, RecordedState, Vm, chain_of};
use chrono::{DateTime, TimeDelta, Utc};

/// Nothing younger is deleted from storage.
const AGE_MIN: TimeDelta = TimeDelta::hours(1);

/// A timestamp that is further ahead of the clock is wrong, and its backup newer than nothing.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(10);

/// Returns the reason for which a backup must stay in storage at an instant by FiFo's clock; `None` where it may go.
///
/// `stuck_after` is how long an upload may take.
pub(super) fn keep_reason(
    vm: &Vm,
    backup: &Backup,
    now: DateTime<Utc>,
    stuck_after: TimeDelta,
) -> Option<KeepReason> {
    if vm.hypervisor.is_none() {
        return Some(KeepReason::NoHypervisor);
    }
    if backup.holds_snapshot() || backup.local_size_bytes.is_some_and(|bytes| bytes > 0) {
        return Some(KeepReason::Local);
    }
    if let Some(child) = vm.backups.values().find(|other| other.parent == Some(backup.id)) {
        return Some(KeepReason::Parent(child.id));
    }
    if backup.timestamp.is_none_or(|taken| now - taken < AGE_MIN) {
        return Some(KeepReason::Young);
    }
    let may_start =
        |other: &&Backup| other.id != backup.id && has_unknown_parent(vm, other, now, stuck_after);
    if let Some(silent) = vm.backups.values().find(may_start) {
        return Some(KeepReason::UnknownParent(silent.id));
    }
    (!has_newer_chain(vm, backup, now)).then_some(KeepReason::NothingNewer)
}

/// Says whether an accepted backup may still turn out to be an increment on any other: it has not named its parent, and
/// has time left to start, or nothing newer has completed.
fn has_unknown_parent(vm: &Vm, backup: &Backup, now: DateTime<Utc>, stuck_after: TimeDelta) -> bool {
    let is_silent = backup.state == RecordedState::Accepted && backup.parent.is_none();
    let Some(taken) = backup.timestamp.filter(|_| is_silent) else { return false };
    (now - taken).abs() < stuck_after || !has_newer_chain(vm, backup, now)
}

/// Says whether another backup is newer, and completed with all that it descends from.
fn has_newer_chain(vm: &Vm, backup: &Backup, now: DateTime<Utc>) -> bool {
    let is_newer = |other: &&Backup| {
        other.id != backup.id
            && other.timestamp > backup.timestamp
            && other.timestamp <= Some(now + AHEAD_MAX)
    };
    let is_whole = |other: &Backup| {
        chain_of(&vm.backups, other.id).is_some_and(|chain| {
            chain.end == ChainEnd::Full
                && chain.steps.iter().all(|step| step.state == RecordedState::Completed)
        })
    };
    vm.backups.values().filter(is_newer).any(is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fifo::read_vm;
    use crate::inventory::BackupId;
    use serde_json::{Value, json};
    use uuid::Uuid;

    const NOON: &str = "2026-11-22T12:00:00Z";

    fn id(number: u128) -> BackupId {
        BackupId::new(Uuid::from_u128(number))
    }

    /// A completed backup of some hours ago that is not local.
    fn record(hours_ago: i64, changes: Value) -> Value {
        let taken = NOON.parse::<DateTime<Utc>>().unwrap() - TimeDelta::hours(hours_ago);
        let mut record = json!({"timestamp": taken.timestamp_micros(), "state": "completed", "local": false, "local_size": 0});
        for (key, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => _ = record.as_object_mut().unwrap().remove(key),
                value => record[key] = value.clone(),
            }
        }
        record
    }

    /// Judges the first one of these backups.
    fn judged(hypervisor: &str, records: &[Value]) -> Option<KeepReason> {
        let backups: serde_json::Map<String, Value> =
            (1..).zip(records).map(|(number, record)| (id(number).to_string(), record.clone())).collect();
        let vm = json!({"uuid": Uuid::from_u128(100), "hypervisor": hypervisor, "backups": backups});
        let vm = read_vm(vm.to_string().as_bytes()).unwrap();
        keep_reason(&vm, vm.backups.get(id(1)).unwrap(), NOON.parse().unwrap(), TimeDelta::hours(12))
    }

    #[test]
    fn each_precaution_holds_by_itself() {
        let old = || record(30, json!({}));
        let newer = || record(5, json!({}));
        let silent = |hours_ago| record(hours_ago, json!({"state": null, "local": null}));
        let cases = [
            ("it may go", vec![old(), newer()], None),
            ("local", vec![record(30, json!({"local": true})), newer()], Some(KeepReason::Local)),
            (
                "never uploaded",
                vec![record(30, json!({"local": null, "local_size": 7})), newer()],
                Some(KeepReason::Local),
            ),
            ("never started, and given up", vec![silent(30), newer()], None),
            ("bytes left", vec![record(30, json!({"local_size": 7})), newer()], Some(KeepReason::Local)),
            (
                "a child",
                vec![old(), newer(), record(2, json!({"parent": id(1), "state": "failed"}))],
                Some(KeepReason::Parent(id(3))),
            ),
            ("too young", vec![record(0, json!({})), newer()], Some(KeepReason::Young)),
            ("no timestamp", vec![record(0, json!({"timestamp": null})), newer()], Some(KeepReason::Young)),
            ("one just accepted", vec![old(), newer(), silent(0)], Some(KeepReason::UnknownParent(id(3)))),
            (
                "one accepted long ago, and nothing newer",
                vec![old(), newer(), silent(4)],
                Some(KeepReason::UnknownParent(id(3))),
            ),
            ("one accepted long ago, and a newer one", vec![old(), newer(), silent(20)], None),
            ("the newest", vec![old(), record(40, json!({}))], Some(KeepReason::NothingNewer)),
            (
                "the newer one failed",
                vec![old(), record(5, json!({"state": "failed"}))],
                Some(KeepReason::NothingNewer),
            ),
            (
                "the newer one has no parent any more",
                vec![old(), record(5, json!({"parent": id(9)}))],
                Some(KeepReason::NothingNewer),
            ),
            (
                "the newer one is of the future",
                vec![old(), record(-3, json!({}))],
                Some(KeepReason::NothingNewer),
            ),
        ];
        for (case, records, expected) in cases {
            assert_eq!(judged("hv-1", &records), expected, "{case}");
        }
        assert_eq!(judged("", &[old(), newer()]), Some(KeepReason::NoHypervisor));
    }
}
