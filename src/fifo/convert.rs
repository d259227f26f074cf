//! Makes the inventory's VMs of FiFo's, and names what it could not read.
//!
//! A VM is read whole or not at all: planning on a part of its backups could take a wanted one for unwanted.

use super::field::{Entries, Field, Number, Text};
use super::wire::{BackupRecord, ConfigRecord, FileEntry, Files, Identity, VmRecord};
use crate::inventory::{Backup, BackupId, Metadata, RecordedState, StoredFile, UnreadableVm, Vm, VmId};
use chrono::{DateTime, Datelike, Utc};
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

/// No instant beyond this year can be written in RFC 3339.
const LAST_YEAR: i32 = 9999;

/// Reads one VM's JSON.
///
/// # Errors
///
/// When any part of it that matters is missing, of the wrong type, or there twice; then it names every such part.
pub fn read_vm(json: &[u8]) -> Result<Vm, UnreadableVm> {
    match serde_json::from_slice::<Field<VmRecord<'_>>>(json) {
        Ok(field) => whole_vm(field),
        Err(error) => {
            let named = serde_json::from_slice::<Field<Identity<'_>>>(json);
            let (id, alias) = match named {
                Ok(Field::Read(Identity { uuid, alias })) => (value(uuid), value(alias)),
                _ => (None, None),
            };
            Err(UnreadableVm {
                alias: alias.map(owned).unwrap_or_default(),
                id,
                problems: vec![format!("not readable as JSON: {error}")],
            })
        }
    }
}

fn whole_vm(field: Field<VmRecord<'_>>) -> Result<Vm, UnreadableVm> {
    let mut problems = Problems::default();
    let record = problems.read(format_args!("the VM"), field).unwrap_or_default();

    let id = problems.require(format_args!("uuid"), "a UUID", record.uuid);
    let config = problems.read(format_args!("config"), record.config).unwrap_or_default();
    let ConfigRecord { alias: config_alias, datasets } = config;
    // Where the VM's own alias is empty, FiFo goes by the one in its configuration.
    let alias = match problems.read(format_args!("alias"), record.alias).map(owned) {
        Some(alias) if !alias.is_empty() => alias,
        _ => problems.text(format_args!("config.alias"), config_alias).unwrap_or_default(),
    };
    let datasets = problems.read(format_args!("config.datasets"), datasets);
    let metadata = problems.read(format_args!("metadata"), record.metadata);
    let owner = problems.name(format_args!("owner"), record.owner);
    let package = problems.name(format_args!("package"), record.package);
    let dataset = problems.name(format_args!("dataset"), record.dataset);
    let hypervisor = problems.name(format_args!("hypervisor"), record.hypervisor);
    let state = problems.text(format_args!("state"), record.state).unwrap_or_default();
    let creating = problems.read(format_args!("creating"), record.creating).is_some_and(|flag| flag.0);
    let deleting = problems.read(format_args!("deleting"), record.deleting).is_some_and(|flag| flag.0);
    let backups = problems.require(format_args!("backups"), "an object", record.backups);
    let backups = backups.map(|entries| all_backups(entries, &mut problems)).unwrap_or_default();

    match id {
        Some(id) if problems.0.is_empty() => Ok(Vm {
            id,
            alias,
            owner,
            package,
            dataset,
            hypervisor,
            state,
            creating,
            deleting,
            delegated_datasets: datasets.is_some_and(|length| length.0 > 0),
            metadata: flat(metadata.map(|object| object.0).unwrap_or_default()),
            backups,
        }),
        id => Err(UnreadableVm { alias, id, problems: problems.0 }),
    }
}

fn all_backups(
    Entries(entries): Entries<'_, BackupRecord<'_>>,
    problems: &mut Problems,
) -> BTreeMap<BackupId, Backup> {
    let mut backups = BTreeMap::new();
    for (key, record) in entries {
        let Ok(id) = key.parse::<BackupId>() else {
            problems.wrong(format_args!("backups"), "a UUID as key", &format!("{:?}", shortened(&key)));
            continue;
        };
        let record = problems.require(format_args!("backups.{id}"), "an object", record);
        let backup = one_backup(id, record.unwrap_or_default(), problems);
        match backups.entry(id) {
            Entry::Vacant(place) => {
                place.insert(backup);
            }
            Entry::Occupied(_) => problems.wrong(format_args!("backups.{id}"), "one record", "two"),
        }
    }
    backups
}

fn one_backup(id: BackupId, record: BackupRecord<'_>, problems: &mut Problems) -> Backup {
    let timestamp = problems.read(format_args!("backups.{id}.timestamp"), record.timestamp);
    let timestamp = timestamp.and_then(|Number(micros)| {
        let instant = instant(micros);
        if instant.is_none() {
            let path = format_args!("backups.{id}.timestamp");
            problems.wrong(path, "microseconds since 1970", &micros.to_string());
        }
        instant
    });
    let state = problems.read(format_args!("backups.{id}.state"), record.state);
    let files = problems.read(format_args!("backups.{id}.files"), record.files);
    let size = problems.read(format_args!("backups.{id}.size"), record.size);
    let local_size = problems.read(format_args!("backups.{id}.local_size"), record.local_size);
    Backup {
        id,
        comment: problems.text(format_args!("backups.{id}.comment"), record.comment),
        timestamp,
        state: RecordedState::from_wire(state.as_ref().map(|text| text.0.as_ref())),
        parent: problems.read(format_args!("backups.{id}.parent"), record.parent),
        local: problems.read(format_args!("backups.{id}.local"), record.local),
        local_size_bytes: local_size.map(|bytes| bytes.0),
        files: files.map(|files| stored_files(id, files, problems)).unwrap_or_default(),
        record_size_bytes: size.map(|bytes| bytes.0),
        record_sha1: problems.text(format_args!("backups.{id}.sha1"), record.sha1),
    }
}

fn instant(micros: u64) -> Option<DateTime<Utc>> {
    let instant = DateTime::from_timestamp_micros(i64::try_from(micros).ok()?)?;
    (instant.year() <= LAST_YEAR).then_some(instant)
}

/// Gives a backup's files by name, in whichever shape they came.
fn stored_files(id: BackupId, files: Files<'_>, problems: &mut Problems) -> Vec<StoredFile> {
    let mut stored = Vec::new();
    match files {
        Files::Names(names) => {
            for (at, name) in names.into_iter().enumerate() {
                if let Some(name) = problems.text(format_args!("backups.{id}.files[{at}]"), name) {
                    stored.push(StoredFile { name, size_bytes: None, sha1: None });
                }
            }
        }
        Files::ByName(Entries(entries)) => {
            for (name, entry) in entries {
                let (size_bytes, sha1) = match problems.read(format_args!("backups.{id}.files.{name}"), entry)
                {
                    None => continue,
                    Some(FileEntry::Sha1(sha1)) => (None, Some(sha1.into_owned())),
                    Some(FileEntry::Record(file)) => (
                        problems.read(format_args!("backups.{id}.files.{name}.size"), file.size).map(|n| n.0),
                        problems.text(format_args!("backups.{id}.files.{name}.sha1"), file.sha1),
                    ),
                };
                stored.push(StoredFile { name: name.into_owned(), size_bytes, sha1 });
            }
        }
    }
    stored.sort_by(|a, b| a.name.cmp(&b.name));
    for pair in stored.windows(2).filter(|pair| pair[0].name == pair[1].name) {
        problems.wrong(format_args!("backups.{id}.files.{}", pair[0].name), "one entry", "two");
    }
    stored
}

/// Flattens metadata into dotted paths and texts, so that policies compare text with text.
///
/// An array is kept as its JSON; an empty one, which may be FiFo's empty object, and a `null` are not set.
fn flat(object: serde_json::Map<String, Value>) -> Metadata {
    fn add(path: String, value: Value, pairs: &mut Vec<(String, String)>) {
        let text = match value {
            Value::Null => return,
            Value::Array(values) if values.is_empty() => return,
            Value::Object(object) => {
                for (key, value) in object {
                    add(format!("{path}.{key}"), value, pairs);
                }
                return;
            }
            Value::String(text) => text,
            Value::Number(number) => plain(&number),
            Value::Bool(_) | Value::Array(_) => value.to_string(),
        };
        pairs.push((path, text));
    }

    let mut pairs = Vec::new();
    for (key, value) in object {
        add(key, value, &mut pairs);
    }
    pairs.into_iter().collect()
}

/// Writes a number as it was, but `1.0` as `1`: FiFo's helper scripts and its web page spell the same mark in both ways.
fn plain(number: &serde_json::Number) -> String {
    /// Up to here a float tells every whole number from the next.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT => {
            // Adding 0 turns -0 into 0.
            format!("{:.0}", float + 0.0)
        }
        _ => number.to_string(),
    }
}

/// What could not be read of one VM, each with its path.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn wrong(&mut self, path: fmt::Arguments<'_>, expected: &str, found: &str) {
        self.0.push(format!("{path}: expected {expected}, found {found}"));
    }

    /// Gives a field's value; a missing one is `None`, a wrong one is noted.
    fn read<T>(&mut self, path: fmt::Arguments<'_>, field: Field<T>) -> Option<T> {
        match field {
            Field::Missing => None,
            Field::Read(value) => Some(value),
            Field::Wrong { expected, found } => {
                self.wrong(path, expected, &found);
                None
            }
        }
    }

    /// Gives a field's value, and notes a missing one too.
    fn require<T>(&mut self, path: fmt::Arguments<'_>, expected: &str, field: Field<T>) -> Option<T> {
        if matches!(field, Field::Missing) {
            self.wrong(path, expected, "nothing");
        }
        self.read(path, field)
    }

    fn text(&mut self, path: fmt::Arguments<'_>, field: Field<Text<'_>>) -> Option<String> {
        self.read(path, field).map(owned)
    }

    /// Gives a text that FiFo leaves empty for "none".
    fn name(&mut self, path: fmt::Arguments<'_>, field: Field<Text<'_>>) -> Option<String> {
        self.text(path, field).filter(|text| !text.is_empty())
    }
}

fn value<T>(field: Field<T>) -> Option<T> {
    match field {
        Field::Read(value) => Some(value),
        Field::Missing | Field::Wrong { .. } => None,
    }
}

fn owned(Text(text): Text<'_>) -> String {
    text.into_owned()
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Tells of a VM that a list had twice: neither record can be trusted to be the whole one.
pub(super) fn listed_twice(id: VmId, alias: String) -> UnreadableVm {
    UnreadableVm {
        alias,
        id: Some(id),
        problems: vec!["uuid: expected once in the list, found again".to_owned()],
    }
}

#[cfg(test)]
mod tests;
