//! Deletes: of a snapshot on the hypervisor, and of an expired backup from storage.
//!
//! A local DELETE that loses its body on the way is a delete from storage of the backup and of all that descends from it. So
//! the effect of each one is confirmed, the first one of a run goes alone, and a note on the VM's records outlives a run that
//! is killed in between. A delete from storage takes everything that descends from the backup along, so that it is only sent
//! where nothing does.

use super::super::outcome::{ActionKind, Ended};
use super::super::reader::VmReading;
use super::super::vm::{Start, VmRun};
use super::answer::{Answer, Unclear};
use super::confirm::Confirmed;
use crate::inventory::{Backup, BackupId, ChainEnd, RecordedState, Vm, chain_of};
use crate::plan::{Action, DeleteCloud, DeleteLocal, bytes_text, fingerprint};
use crate::policy::minute_text;
use chrono::{DateTime, TimeDelta, Utc};

/// Nothing younger is deleted from storage.
const AGE_MIN: TimeDelta = TimeDelta::hours(1);

/// A timestamp that is further ahead of the clock is wrong, and its backup newer than nothing.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(10);

impl VmRun<'_> {
    /// Waits at the gate.
    pub(in super::super) async fn enter_gate(&mut self, kind: ActionKind) -> Start {
        let waited = match self.permit.take() {
            Some(permit) => {
                let others = self.wait_noting(permit.wait_for_others()).await;
                others.map(|(result, waited)| (result.map(|()| permit), waited))
            }
            None => self.wait_noting(self.run.gate.enter(self.id, kind)).await,
        };
        match waited {
            Ok((Ok(permit), had_to_wait)) => {
                self.permit = Some(permit);
                if had_to_wait { Start::Waited } else { Start::Now }
            }
            Ok((Err(reason), _)) => Start::Not(Ended::left(
                "closed",
                format!("nothing was done: this run sends no more deletes, since {reason}"),
            )),
            Err(cut) => Start::Not(self.cut_short(cut)),
        }
    }

    /// Says whether a delete from storage may be sent now, by a reading of the VM.
    pub(in super::super) async fn may_prune(&mut self, delete: &DeleteCloud, seen: &VmReading) -> Start {
        match self.enter_gate(ActionKind::DeleteCloud).await {
            Start::Now => {}
            other => return other,
        }
        let Some(policy) = self.policy_of(&seen.vm) else { return Start::Now };
        let kept =
            |why: String| Start::Not(Ended::dropped("kept", format!("{why}; the next run decides again")));
        if !(policy.prune && self.run.executor.settings.prune.is_requested) {
            return kept("policy and command do not both ask for it".to_owned());
        }
        if seen.etag.is_none() && !self.run.reader.proves_absence() {
            return kept("FiFo gives no version of the VM and truncates its list".to_owned());
        }
        let ours = self.run.executor.clock.now();
        let now = seen.server_date.map_or(ours, |date| date.min(ours));
        if let Some(why) = hold_of(&seen.vm, delete.backup, now, policy.stuck_after) {
            return kept(why);
        }
        // Behind a cache both the reading and the check of its version may be old.
        if !self.is_listed {
            let recent = self.run.reader.in_recent_list(self.id).await;
            let is_same = |vm: &Vm| fingerprint(vm) == fingerprint(&seen.vm);
            if !recent.is_some_and(|vm| is_same(&vm)) {
                match self.run.reader.in_list(self.id).await {
                    Ok(vm) if is_same(&vm) => {}
                    Ok(_) => return kept("the list shows the VM otherwise than its own reading".to_owned()),
                    Err(error) => return Start::Not(self.unreadable(error)),
                }
            }
            self.is_listed = true;
        }
        Start::Now
    }

    /// Ends a local delete by what was found of it; `None` where it may be sent again.
    pub(in super::super) fn settle_local(
        &mut self,
        delete: &DeleteLocal,
        backup: BackupId,
        is_stored: bool,
        unclear: Option<Unclear>,
        confirmed: Confirmed,
    ) -> Option<Ended> {
        let ended = match (confirmed, unclear) {
            (Confirmed::Seen(_), unclear) => {
                // A snapshot that is gone after an unclear answer does not prove that the body arrived: the VM may have been
                // moved meanwhile, say.
                if let (None, Some(permit)) = (&unclear, &self.permit) {
                    permit.confirm();
                }
                self.forget_note();
                let taken =
                    delete.taken.map(|taken| format!(" of {}", minute_text(taken))).unwrap_or_default();
                let stored = if is_stored { ", the stored copy is in place" } else { "" };
                Ended::done("deleted", format!("snapshot {}{taken} is deleted{stored}", backup.short()))
            }
            (Confirmed::Vanished(gone), _) => self.vanished(&Action::DeleteLocal(delete.clone()), gone),
            (Confirmed::Absent, Some(unclear)) => {
                self.forget_note();
                if self.attempt.as_ref().is_some_and(|attempt| attempt.may_repeat(&unclear)) {
                    return None;
                }
                let text = format!(
                    "FiFo {}, and the snapshot is still there; check the hypervisor's agent",
                    unclear.text
                );
                let ended = Ended::failed("no_effect", text);
                unclear.status.map_or(ended.clone(), |status| ended.with_detail(status.as_u16()))
            }
            (Confirmed::Absent | Confirmed::BodyLost(_), None) | (Confirmed::BodyLost(_), Some(_)) => {
                Ended::unknown(
                    "no_effect",
                    "FiFo accepted the local delete, but the snapshot is still there; this run sends no more deletes, the \
                     next run checks again"
                        .to_owned(),
                )
            }
            (Confirmed::Gone, _) => {
                self.forget_note();
                Ended::failed("vm_gone", "the local delete was sent, and the VM is gone".to_owned())
            }
            (Confirmed::Unknown(why), unclear) => {
                let answer = unclear.map_or("accepted the local delete".to_owned(), |unclear| unclear.text);
                Ended::unknown(
                    "unknown",
                    format!(
                        "the local delete was sent, FiFo {answer}, and the result is unknown ({why}); this run sends no \
                         more deletes, the next run checks again"
                    ),
                )
            }
        };
        Some(ended)
    }

    /// Ends a delete from storage by what was found of it; an answer where it was not done and may be sent again.
    pub(in super::super) fn settle_prune(
        &mut self,
        delete: &DeleteCloud,
        unclear: Option<Unclear>,
        confirmed: Confirmed,
    ) -> Answer {
        let (short, taken) = (delete.backup.short(), minute_text(delete.taken));
        let timing = &self.run.executor.settings.timing;
        let ended = match (confirmed, unclear) {
            (Confirmed::Seen(_), _) => {
                self.known.forget(delete.backup);
                let size = delete.size_bytes.map_or("of unknown size".to_owned(), bytes_text);
                Ended::done("pruned", format!("backup {short} of {taken} is deleted from storage ({size})"))
            }
            (Confirmed::Vanished(gone), _) => self.vanished(&Action::DeleteCloud(delete.clone()), gone),
            (Confirmed::Absent, Some(unclear)) if unclear.is_refusal() => {
                return match &self.attempt {
                    Some(attempt) => attempt.refused_prune(&unclear, timing),
                    None => Answer::NotDone { pause: timing.pause_min },
                };
            }
            (Confirmed::Absent, Some(unclear)) if unclear.is_failure() => {
                let ended = Ended::unknown(
                    "unknown",
                    format!(
                        "the delete from storage was sent, FiFo {}, and the backup is still on record, but its files may be \
                         gone: check the VM's hypervisor in FiFo; the next run tries again",
                        unclear.text
                    ),
                );
                unclear.status.map_or(ended.clone(), |status| ended.with_detail(status.as_u16()))
            }
            (Confirmed::Absent, Some(unclear)) => {
                if self.attempt.as_ref().is_some_and(|attempt| attempt.may_repeat(&unclear)) {
                    return Answer::NotDone { pause: timing.pause_min };
                }
                let text = format!("FiFo {}, and the backup is still there; the next run tries again", unclear.text);
                Ended::failed("no_effect", text)
            }
            (Confirmed::Absent | Confirmed::BodyLost(_), _) => Ended::unknown(
                "no_effect",
                "FiFo accepted the delete from storage, but the backup is still there; the next run checks again".to_owned(),
            ),
            (Confirmed::Gone, _) => {
                Ended::failed("vm_gone", "the VM is gone: it was deleted while its backups were".to_owned())
            }
            (Confirmed::Unknown(why), unclear) => {
                let answer = unclear.map_or("accepted it".to_owned(), |unclear| unclear.text);
                Ended::unknown(
                    "unknown",
                    format!(
                        "the delete from storage was sent, FiFo {answer}, and the result is unknown ({why}); the next run \
                         checks again"
                    ),
                )
            }
        };
        Answer::Refused(ended)
    }
}

/// Returns why a backup must stay in storage by the records alone, whatever the plan says, at an instant by FiFo's clock.
///
/// `stuck_after` is how long an upload may take.
fn hold_of(vm: &Vm, id: BackupId, now: DateTime<Utc>, stuck_after: TimeDelta) -> Option<String> {
    let backup = vm.backups.get(id)?;
    let why = if vm.hypervisor.is_none() {
        "the VM is on no hypervisor".to_owned()
    } else if backup.holds_snapshot() || backup.local_size_bytes.is_some_and(|bytes| bytes > 0) {
        "its snapshot is on the hypervisor, or was until just now".to_owned()
    } else if let Some(child) = vm.backups.values().find(|other| other.parent == Some(id)) {
        format!("backup {} descends from it", child.id)
    } else if backup.timestamp.is_none_or(|taken| now - taken < AGE_MIN) {
        "it is less than an hour old by FiFo's clock".to_owned()
    } else if let Some(silent) =
        vm.backups.values().find(|other| other.id != id && has_unknown_parent(vm, other, now, stuck_after))
    {
        format!("backup {} has not started, and may turn out to descend from it", silent.id)
    } else if !has_newer_chain(vm, backup, now) {
        "no newer backup of the VM can be restored".to_owned()
    } else {
        return None;
    };
    Some(why)
}

/// Says whether an accepted backup may still turn out to be an increment on any other: it has not named its parent, and has
/// time left to start, or nothing newer has completed.
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
    fn judged(hypervisor: &str, records: &[Value]) -> Option<String> {
        let backups: serde_json::Map<String, Value> =
            (1..).zip(records).map(|(number, record)| (id(number).to_string(), record.clone())).collect();
        let vm = json!({"uuid": Uuid::from_u128(100), "hypervisor": hypervisor, "backups": backups});
        let vm = read_vm(vm.to_string().as_bytes()).unwrap();
        hold_of(&vm, id(1), NOON.parse().unwrap(), TimeDelta::hours(12))
    }

    #[test]
    fn each_precaution_holds_by_itself() {
        let old = || record(30, json!({}));
        let newer = || record(5, json!({}));
        let silent = |hours_ago| record(hours_ago, json!({"state": null, "local": null}));
        let cases = [
            ("it may go", vec![old(), newer()], None),
            ("local", vec![record(30, json!({"local": true})), newer()], Some("snapshot")),
            (
                "never uploaded",
                vec![record(30, json!({"local": null, "local_size": 7})), newer()],
                Some("snapshot"),
            ),
            ("never started, and given up", vec![silent(30), newer()], None),
            ("bytes left", vec![record(30, json!({"local_size": 7})), newer()], Some("snapshot")),
            (
                "a child",
                vec![old(), newer(), record(2, json!({"parent": id(1), "state": "failed"}))],
                Some("descends from it"),
            ),
            ("too young", vec![record(0, json!({})), newer()], Some("less than an hour")),
            ("no timestamp", vec![record(0, json!({"timestamp": null})), newer()], Some("less than an hour")),
            ("one just accepted", vec![old(), newer(), silent(0)], Some("has not started")),
            (
                "one accepted long ago, and nothing newer",
                vec![old(), newer(), silent(4)],
                Some("has not started"),
            ),
            ("one accepted long ago, and a newer one", vec![old(), newer(), silent(20)], None),
            ("the newest", vec![old(), record(40, json!({}))], Some("no newer")),
            ("the newer one failed", vec![old(), record(5, json!({"state": "failed"}))], Some("no newer")),
            (
                "the newer one has no parent any more",
                vec![old(), record(5, json!({"parent": id(9)}))],
                Some("no newer"),
            ),
            ("the newer one is of the future", vec![old(), record(-3, json!({}))], Some("no newer")),
        ];
        for (case, records, expected) in cases {
            let why = judged("hv-1", &records);
            let fits = match (&why, expected) {
                (Some(why), Some(part)) => why.contains(part),
                (why, expected) => why.is_none() && expected.is_none(),
            };
            assert!(fits, "{case}: {why:?}");
        }
        assert!(judged("", &[old(), newer()]).unwrap().contains("no hypervisor"));
    }
}
