//! Events and the report of a run, as data: journal, progress display and JSON stream are views of the events.

use super::outcome::{ActionKind, ActionOutcome, ActionRef, RunCounts, VmRef};
use super::state::Alarm;
use crate::inventory::BackupId;
use chrono::{DateTime, Utc};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;

/// Returns the JSON Schema (2020-12) of an event, which is one line of the JSON output of `apply` and `reconcile`.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Event>()
}

/// Something that happened, and when by the clock of this machine.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[schemars(title = "fifo-retain event", extend("unevaluatedProperties" = false))]
pub struct Event {
    /// When.
    pub time: DateTime<Utc>,
    #[serde(flatten)]
    pub what: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The run begins.
    Started {
        /// The FiFo it is about.
        endpoint: String,
        /// How many backups are to be created.
        create: usize,
        /// How many snapshots are to be deleted on hypervisors, including those of new backups that do not stay once they
        /// are complete.
        delete_local: usize,
        /// How many backups are to be deleted from storage.
        delete_cloud: usize,
        /// The bytes that the new backups are likely to have, each as many as the newest completed backup of the same VM,
        /// comment and type; null where one of them has none.
        expected_bytes: Option<u64>,
    },
    /// A request is about to be sent to FiFo.
    ActionStarted {
        #[serde(flatten)]
        at: VmRef,
        #[serde(flatten)]
        step: ActionRef,
    },
    /// FiFo has a new backup on record; its upload is waited for.
    Accepted {
        #[serde(flatten)]
        at: VmRef,
        /// The new backup.
        backup: BackupId,
        /// Its tier.
        tier: String,
        /// The bytes that it is likely to have: those of the newest completed backup of the same VM, comment and type;
        /// null where there is none.
        expected_bytes: Option<u64>,
    },
    /// The progress of an upload. It has no journal entry.
    Progress {
        #[serde(flatten)]
        at: VmRef,
        /// The backup.
        backup: BackupId,
        /// Its tier.
        tier: String,
        /// Bytes stored so far.
        bytes: u64,
    },
    /// What is waited for before requests are sent to FiFo. Reported every 30 s while anything waits, and once more, with
    /// nothing in it, when that is over. It has no journal entry.
    Waiting(Waiting),
    /// An action has ended.
    ActionEnded {
        #[serde(flatten)]
        at: VmRef,
        #[serde(flatten)]
        step: ActionRef,
        /// How it ended.
        outcome: ActionOutcome,
        /// A stable word for the kind of ending.
        code: &'static str,
        /// The whole outcome, for people.
        message: String,
    },
    /// Something of note that ends nothing.
    Warning {
        /// Where, unless it is about the whole run.
        #[serde(flatten)]
        at: Option<VmRef>,
        /// The whole warning, for people.
        message: String,
    },
    /// Backups have vanished after a delete, and were to stay, or the body of a create was lost on the way: nothing new is
    /// started.
    CascadeAlarm(Alarm),
    /// The run has ended.
    Finished {
        /// The counts of its actions.
        #[serde(flatten)]
        tally: RunCounts,
    },
}

/// What is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Waiting {
    /// How many VMs wait for a slot, which means for other uploads to end.
    pub for_slot: usize,
    /// Where VMs wait for slots, and which uploads hold them.
    pub slots: Vec<SlotUse>,
    /// All of it, for people; empty when nothing is waited for.
    pub message: String,
}

/// How the slots that are waited for are used.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct SlotUse {
    /// The hypervisor; null where the limit for all of them is reached.
    pub hypervisor: Option<String>,
    /// How many VMs wait for one.
    pub waiting: usize,
    /// How many uploads hold one.
    pub running: usize,
    /// How many there are.
    pub limit: usize,
    /// The uploads that hold one, as far as a reading has shown them.
    pub held_by: Vec<SlotHolder>,
}

/// An upload that holds a slot.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct SlotHolder {
    #[serde(flatten)]
    pub at: VmRef,
    /// The backup.
    pub backup: BackupId,
    /// When FiFo accepted it, where it says so.
    pub since: Option<DateTime<Utc>>,
    /// Bytes stored by the last reading.
    pub bytes: u64,
    /// For how many seconds no reading has shown growth.
    pub quiet_secs: u64,
}

pub trait Observer: Send + Sync {
    /// Receives an event. Must not fail: a report that cannot be written must not stop the run.
    fn observe(&self, event: &Event);
}

/// The result of a whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunReport {
    /// The VMs that something was to be done to, in the order of the plan.
    pub vms: Vec<VmReport>,
    /// Why the safety stop is to be set: each time that backups had vanished that were to stay, or a body was lost on the
    /// way. After the first one nothing new was started; others may have been in progress.
    pub alarms: Vec<Alarm>,
    pub uncompared: Vec<String>,
    pub interrupted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmReport {
    pub at: VmRef,
    pub steps: Vec<ActionReport>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionReport {
    pub kind: ActionKind,
    pub ending: ActionOutcome,
    pub code: &'static str,
    pub message: String,
}

impl RunReport {
    pub fn tally(&self) -> RunCounts {
        let mut tally = RunCounts::default();
        for step in self.vms.iter().flat_map(|vm| &vm.steps) {
            let count = match (step.ending, step.kind) {
                (ActionOutcome::Done, ActionKind::Create) => &mut tally.created,
                (ActionOutcome::Done, ActionKind::DeleteLocal) => &mut tally.deleted_local,
                (ActionOutcome::Done, ActionKind::DeleteCloud) => &mut tally.deleted_cloud,
                (ActionOutcome::Started, _) => &mut tally.started,
                (ActionOutcome::HandedOver, _) => &mut tally.left,
                (ActionOutcome::Failed | ActionOutcome::Unverified, _) => &mut tally.failed,
                (ActionOutcome::Dropped, _) => &mut tally.dropped,
                (ActionOutcome::Interrupted, _) => &mut tally.interrupted,
            };
            *count += 1;
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::VmId;
    use serde_json::Value;
    use uuid::Uuid;

    #[test]
    fn every_kind_of_event_is_as_the_schema_says() {
        let schema = schema().to_value();
        let kinds = schema["oneOf"].as_array().unwrap().len();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let at = VmRef { vm: VmId::new(Uuid::from_u128(1)), alias: "web-1".to_owned() };
        let backup = BackupId::new(Uuid::from_u128(2));
        let (tier, message) = ("daily".to_owned(), "done".to_owned());
        let step = |kind, backup| ActionRef { kind, tier: tier.clone(), parent: None, backup };
        let ended = |kind, backup, outcome| EventKind::ActionEnded {
            at: at.clone(),
            step: step(kind, backup),
            outcome,
            code: "code",
            message: message.clone(),
        };
        let time = "2026-11-22T01:00:00Z".parse().unwrap();
        let alarm = |after, gone| EventKind::CascadeAlarm(Alarm::vanished(time, &at, after, backup, gone));
        let events = [
            EventKind::Started {
                endpoint: "https://fifo".to_owned(),
                create: 1,
                delete_local: 2,
                delete_cloud: 3,
                expected_bytes: None,
            },
            EventKind::ActionStarted { at: at.clone(), step: step(ActionKind::Create, None) },
            EventKind::Accepted { at: at.clone(), backup, tier: tier.clone(), expected_bytes: Some(3) },
            EventKind::Progress { at: at.clone(), backup, tier: tier.clone(), bytes: u64::MAX },
            EventKind::Waiting(Waiting {
                for_slot: 1,
                slots: vec![SlotUse {
                    hypervisor: None,
                    waiting: 1,
                    running: 1,
                    limit: 1,
                    held_by: vec![SlotHolder {
                        at: at.clone(),
                        backup,
                        since: None,
                        bytes: 5,
                        quiet_secs: 6,
                    }],
                }],
                message: message.clone(),
            }),
            ended(ActionKind::Create, Some(backup), ActionOutcome::Unverified),
            ended(ActionKind::DeleteLocal, Some(backup), ActionOutcome::Done),
            ended(ActionKind::DeleteLocal, None, ActionOutcome::Dropped),
            ended(ActionKind::DeleteCloud, Some(backup), ActionOutcome::Done),
            EventKind::Warning { at: None, message: message.clone() },
            EventKind::Warning { at: Some(at.clone()), message: message.clone() },
            alarm(ActionKind::DeleteLocal, vec![backup]),
            alarm(ActionKind::DeleteCloud, vec![backup]),
            alarm(ActionKind::Create, Vec::new()),
            EventKind::Finished { tally: RunCounts::default() },
        ];
        let mut seen = std::collections::BTreeSet::new();
        for what in events {
            let text = serde_json::to_string(&Event { time, what }).unwrap();
            assert_eq!(text.matches("\"time\":").count(), 1, "{text}");
            let mut json: Value = serde_json::from_str(&text).unwrap();
            assert!(validator.is_valid(&json), "{json:#}");
            seen.insert(json["event"].to_string());
            json["strange"] = Value::Null;
            assert!(!validator.is_valid(&json), "{json:#}");
        }
        assert_eq!(seen.len(), kinds, "a kind of event is not tried: {seen:?}");
    }
}
