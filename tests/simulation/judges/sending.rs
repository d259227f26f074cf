//! What may be sent at all: after an alarm, after a stop, and without a condition.

use crate::transport::RequestRecord;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What was sent within this time is still in transit.
pub(super) const ON_THE_WAY: TimeDelta = TimeDelta::milliseconds(5);

/// A reading without a version may be so old when the write that depends on it is sent.
const READING_RESTS_FOR: TimeDelta = TimeDelta::minutes(5);

/// After so many refusals a condition may be left out.
const REFUSALS_MIN: u32 = 3;

/// The time within which a check shows whether a delete has done harm.
const NOTICED_WITHIN: TimeDelta = TimeDelta::seconds(90);

struct Loss {
    vm: Uuid,
    sender: usize,
    at: DateTime<Utc>,
    /// Whether the run that sent it has ended, killed or not: then the note on it is what shows it.
    is_of_earlier_run: bool,
    /// Whether something is gone that is kept for ever: then the note shows it later, too.
    is_certain: bool,
}

/// What has been read and refused in this run, by sender and VM, and what must not go on.
#[derive(Default)]
pub(super) struct Sending {
    without_version: BTreeMap<(usize, Uuid), DateTime<Utc>>,
    refused: BTreeMap<(usize, Uuid), u32>,
    alarmed: BTreeMap<usize, DateTime<Utc>>,
    losses: Vec<Loss>,
    shown: BTreeMap<(usize, Uuid), Vec<u8>>,
}

impl Sending {
    pub(super) fn was_read(&mut self, asked: &RequestRecord, vm: Uuid, now: DateTime<Utc>) {
        if asked.status == Some(200) && !asked.has_version {
            self.without_version.insert((asked.sender, vm), now);
        }
        if let Some(shown) = asked.shown.clone().filter(|_| asked.status == Some(200)) {
            self.shown.insert((asked.sender, vm), shown);
        }
    }

    /// Says whether the last single reading of the VM in this run has shown a backup.
    pub(super) fn has_shown(&self, sender: usize, vm: Uuid, backup: Uuid) -> bool {
        self.shown_as(sender, vm, |_| true).contains(&backup)
    }

    pub(super) fn shown_completed(&self, sender: usize, vm: Uuid) -> BTreeSet<Uuid> {
        self.shown_as(sender, vm, |record| record["state"] == "completed")
    }

    fn shown_as(&self, sender: usize, vm: Uuid, is_it: impl Fn(&Value) -> bool) -> BTreeSet<Uuid> {
        let shown = self.shown.get(&(sender, vm)).and_then(|shown| serde_json::from_slice(shown).ok());
        let shown: Value = shown.unwrap_or_default();
        let backups = shown["backups"].as_object().into_iter().flatten();
        backups.filter(|(_, record)| is_it(record)).filter_map(|(id, _)| id.parse().ok()).collect()
    }

    /// Judges that a write was sent at all; returns what is wrong with it.
    pub(super) fn wrong_with(
        &mut self,
        asked: &RequestRecord,
        vm: Uuid,
        now: DateTime<Utc>,
        stopped_at: Option<DateTime<Utc>>,
    ) -> Option<&'static str> {
        let key = (asked.sender, vm);
        let is_after = |at: &DateTime<Utc>| now > *at + ON_THE_WAY;
        let refused = self.refused.entry(key).or_default();
        let may_be_unconditional = *refused >= REFUSALS_MIN
            || self.without_version.get(&key).is_some_and(|at| now - *at < READING_RESTS_FOR);
        *refused += u32::from(asked.status == Some(412));
        if self.alarmed.get(&asked.sender).is_some_and(is_after) {
            Some("a write after an alarm")
        } else if stopped_at.as_ref().is_some_and(is_after) {
            Some("a write after the run was asked to stop")
        } else if asked.if_match.is_none() && !may_be_unconditional {
            Some("a write without a condition, which there was")
        } else {
            None
        }
    }

    pub(super) fn alarmed(&mut self, sender: usize, vm: Uuid, now: DateTime<Utc>) {
        self.alarmed.entry(sender).or_insert(now);
        self.known(vm);
    }

    pub(super) fn known(&mut self, vm: Uuid) {
        self.losses.retain(|loss| loss.vm != vm);
    }

    pub(super) fn forgive(&mut self, sender: usize) {
        self.losses.retain(|loss| loss.sender != sender);
    }

    pub(super) fn lost(&mut self, sender: usize, vm: Uuid, at: DateTime<Utc>, is_certain: bool) {
        self.losses.push(Loss { vm, sender, at, is_of_earlier_run: false, is_certain });
    }

    /// Forgets what was read and refused, and goes on looking for what killed runs have lost.
    pub(super) fn run_begins(&mut self) {
        let losses = std::mem::take(&mut self.losses).into_iter().filter(|loss| loss.is_certain);
        let losses = losses.map(|loss| Loss { is_of_earlier_run: true, ..loss }).collect();
        *self = Self { losses, ..Self::default() };
    }

    /// Returns the VMs that have lost a chain by a run that is over, and that it has not reported; where that was cut short
    /// or could not read everything, only those of its own.
    pub(super) fn unnoticed(&mut self, sender: usize, is_whole: bool, now: DateTime<Utc>) -> Vec<Uuid> {
        let is_due = |loss: &mut Loss| loss.sender == sender && (is_whole || !loss.is_of_earlier_run);
        let losses = self.losses.extract_if(.., is_due);
        losses.filter(|loss| now - loss.at > NOTICED_WITHIN).map(|loss| loss.vm).collect()
    }
}
