//! Makes the inventory's VMs of FiFo's, and names what it could not read.
//!
//! A VM is read whole or not at all: planning on a part of its backups could take a wanted one for unwanted. FiFo of 2015
//! writes some fields in another shape than FiFo of 2016 and later, and both write an empty object as `[]` at times.

use super::json::{Entries, Found, Json};
use super::usual_vm;
use super::values::{EXACT, files_by_name, flat, instant};
use crate::inventory::{Backup, BackupId, Backups, RecordedState, StoredFile, UnreadableVm, Vm, VmId};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::str::FromStr;
use std::sync::Arc;

/// How much of an invalid UUID a message shows.
const SHOWN_CHARS: usize = 40;

/// Reads one VM's JSON.
///
/// # Errors
///
/// When any part of it that matters is missing, of the wrong type, or there twice; then it names every such part.
pub fn read_vm(json: &[u8]) -> Result<Vm, UnreadableVm> {
    usual_vm::read(json).or_else(|_| read_unusual(json))
}

fn read_unusual(json: &[u8]) -> Result<Vm, UnreadableVm> {
    serde_json::from_slice(json).map_or_else(|error| Err(not_json(json, &error)), whole_vm)
}

/// Names the VM of a text that is no JSON, or nested too deep, as far as it can be read.
fn not_json(json: &[u8], error: &serde_json::Error) -> UnreadableVm {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Identity<'a> {
        #[serde(borrow)]
        uuid: Json<'a>,
        #[serde(borrow)]
        alias: Json<'a>,
    }
    let Identity { uuid, alias } = serde_json::from_slice(json).unwrap_or_default();
    UnreadableVm {
        alias: text(alias).unwrap_or_default().into_owned(),
        id: id(uuid).ok(),
        problems: vec![format!("not readable as JSON: {error}")],
    }
}

fn whole_vm(json: Json<'_>) -> Result<Vm, UnreadableVm> {
    let mut problems = Vec::new();
    let entries = object(json).unwrap_or_else(|found| {
        problems.push(format!("the VM: expected an object, found {found}"));
        Entries::new()
    });
    let mut vm = Fields { prefix: String::new(), entries, problems: &mut problems };
    let id = vm.required("uuid", "a UUID", id);
    let alias = vm.text("alias").filter(|alias| !alias.is_empty());
    let config = vm.read("config", "an object", object).unwrap_or_default();
    let mut config = Fields { prefix: "config.".to_owned(), entries: config, problems: &mut *vm.problems };
    // Where the VM's own alias is empty, FiFo goes by the one in its configuration.
    let alias = alias.or_else(|| config.text("alias")).unwrap_or_default();
    let delegated_datasets = config.read("datasets", "an array", array).is_some_and(|it| !it.is_empty());
    let metadata = vm.read("metadata", "an object", object).unwrap_or_default();
    let (owner, package, dataset) = (vm.name("owner"), vm.name("package"), vm.name("dataset"));
    let hypervisor = vm.name("hypervisor");
    let state = vm.text("state").unwrap_or_default();
    let (creating, deleting) = (vm.flag("creating"), vm.flag("deleting"));
    let backups = vm.required("backups", "an object", object).unwrap_or_default();
    let backups = all_backups(backups, &mut problems);
    match id {
        Some(id) if problems.is_empty() => Ok(Vm {
            id,
            alias,
            owner,
            package,
            dataset,
            hypervisor,
            state,
            creating,
            deleting,
            delegated_datasets,
            metadata: flat(Json::Object(metadata)),
            backups,
        }),
        id => Err(UnreadableVm { alias, id, problems }),
    }
}

fn all_backups(entries: Entries<'_>, problems: &mut Vec<String>) -> Backups {
    let mut backups: BTreeMap<BackupId, Backup> = BTreeMap::new();
    for (key, record) in entries {
        let Ok(id) = key.parse::<BackupId>() else {
            problems.push(format!("backups: expected a UUID as key, found {:?}", shortened(&key)));
            continue;
        };
        let entries = object(record).unwrap_or_else(|found| {
            problems.push(format!("backups.{id}: expected an object, found {found}"));
            Entries::new()
        });
        let fields = Fields { prefix: format!("backups.{id}."), entries, problems: &mut *problems };
        let backup = one_backup(id, fields);
        match backups.entry(id) {
            Entry::Vacant(place) => {
                place.insert(backup);
            }
            Entry::Occupied(_) => problems.push(format!("backups.{id}: expected one record, found two")),
        }
    }
    backups.into_values().collect()
}

fn one_backup(id: BackupId, mut record: Fields<'_, '_>) -> Backup {
    let timestamp = record.number("timestamp").and_then(|micros| {
        let instant = instant(micros);
        if instant.is_none() {
            record.wrong("timestamp", "microseconds since 1970", &micros.to_string());
        }
        instant
    });
    Backup {
        id,
        comment: record.read("comment", "a string", text).map(Arc::from),
        timestamp,
        state: RecordedState::from_wire(record.text("state").as_deref()),
        parent: record.read("parent", "a UUID", self::id),
        local: record.read("local", "true or false", boolean).into(),
        local_size_bytes: record.number("local_size"),
        files: stored_files(&mut record),
        record_size_bytes: record.number("size"),
        has_record_checksum: record.text("sha1").is_some(),
    }
}

/// Reads a backup's files: an array of names, or an object with a SHA-1 or a record at each name.
fn stored_files(backup: &mut Fields<'_, '_>) -> Vec<StoredFile> {
    let files = backup.read("files", "an object or an array", |json| match json {
        Json::Array(_) | Json::Object(_) => Ok(json),
        other => Err(other.kind()),
    });
    let mut stored: Vec<(Cow<'_, str>, StoredFile)> = Vec::new();
    match files {
        Some(Json::Array(names)) => {
            for (at, name) in names.into_iter().enumerate() {
                if let Some(name) = backup.checked(&format!("files[{at}]"), "a string", text(name)) {
                    stored.push((name, StoredFile { size_bytes: None, has_checksum: false }));
                }
            }
        }
        Some(Json::Object(entries)) => {
            for (name, entry) in entries {
                let file = stored_file(&name, entry, backup);
                stored.extend(file.map(|file| (name, file)));
            }
        }
        _ => {}
    }
    files_by_name(stored).unwrap_or_else(|name| {
        backup.wrong(&format!("files.{name}"), "one entry", "two");
        Vec::new()
    })
}

fn stored_file(name: &str, entry: Json<'_>, backup: &mut Fields<'_, '_>) -> Option<StoredFile> {
    let (size_bytes, has_checksum) = match entry {
        Json::Text(_) => (None, true),
        entry => {
            let entries = backup.checked(&format!("files.{name}"), "an object or a string", object(entry))?;
            let prefix = format!("{}files.{name}.", backup.prefix);
            let mut file = Fields { prefix, entries, problems: &mut *backup.problems };
            (file.number("size"), file.text("sha1").is_some())
        }
    };
    Some(StoredFile { size_bytes, has_checksum })
}

/// The fields of an object.
struct Fields<'a, 'p> {
    /// What stands before a field's name in a message: nothing, or a path with a final dot.
    prefix: String,
    entries: Entries<'a>,
    /// What could not be read of the VM, each with its path.
    problems: &'p mut Vec<String>,
}

impl<'a> Fields<'a, '_> {
    fn wrong(&mut self, field: &str, expected: &str, found: &str) {
        self.problems.push(format!("{}{field}: expected {expected}, found {found}", self.prefix));
    }

    /// Gives what was read, or notes what was found instead.
    fn checked<T>(&mut self, field: &str, expected: &str, read: Result<T, Found>) -> Option<T> {
        read.map_err(|found| self.wrong(field, expected, &found)).ok()
    }

    fn take(&mut self, field: &str) -> Option<Json<'a>> {
        let at = self.entries.iter().position(|(key, _)| key == field)?;
        Some(self.entries.swap_remove(at).1)
    }

    /// Reads a field that may be missing.
    fn read<T>(
        &mut self,
        field: &str,
        expected: &str,
        read: impl FnOnce(Json<'a>) -> Result<T, Found>,
    ) -> Option<T> {
        let json = self.take(field)?;
        if self.take(field).is_some() {
            self.problems.push(format!("{}{field}: duplicate field", self.prefix));
        }
        self.checked(field, expected, read(json))
    }

    fn required<T>(
        &mut self,
        field: &str,
        expected: &str,
        read: impl FnOnce(Json<'a>) -> Result<T, Found>,
    ) -> Option<T> {
        if self.entries.iter().all(|(key, _)| key != field) {
            self.wrong(field, expected, "nothing");
        }
        self.read(field, expected, read)
    }

    fn text(&mut self, field: &str) -> Option<String> {
        self.read(field, "a string", text).map(Cow::into_owned)
    }

    /// Reads a text that FiFo leaves empty for "none".
    fn name(&mut self, field: &str) -> Option<String> {
        self.text(field).filter(|text| !text.is_empty())
    }

    fn number(&mut self, field: &str) -> Option<u64> {
        self.read(field, "a whole number, 0 or more", number)
    }

    /// Reads a flag, which any value but `false` sets.
    fn flag(&mut self, field: &str) -> bool {
        self.read(field, "true or false", |json| Ok(!matches!(json, Json::Bool(false)))).unwrap_or(false)
    }
}

fn text(json: Json<'_>) -> Result<Cow<'_, str>, Found> {
    match json {
        Json::Text(text) => Ok(text),
        other => Err(other.kind()),
    }
}

fn boolean(json: Json<'_>) -> Result<bool, Found> {
    match json {
        Json::Bool(value) => Ok(value),
        other => Err(other.kind()),
    }
}

/// Reads a whole number, which FiFo may write as `5`, `5.0` or `5e0`.
fn number(json: Json<'_>) -> Result<u64, Found> {
    let Json::Number(number) = &json else { return Err(json.kind()) };
    let whole = |float: &f64| float.fract() == 0.0 && (0.0..=EXACT).contains(float);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and in range"
    )]
    let float = || number.as_f64().filter(whole).map(|float| float as u64);
    number.as_u64().or_else(float).ok_or_else(|| format!("the number {number}").into())
}

/// Reads a UUID. A text that is none is shown, since no secret stands in place of one.
fn id<T: FromStr>(json: Json<'_>) -> Result<T, Found> {
    let text = text(json)?;
    text.parse().map_err(|_| format!("the string {:?}", shortened(&text)).into())
}

fn array(json: Json<'_>) -> Result<Vec<Json<'_>>, Found> {
    match json {
        Json::Array(items) => Ok(items),
        other => Err(other.kind()),
    }
}

/// Reads an object, which FiFo may write as `[]` when it is empty.
fn object(json: Json<'_>) -> Result<Entries<'_>, Found> {
    match json {
        Json::Object(entries) => Ok(entries),
        Json::Array(items) if items.is_empty() => Ok(Entries::new()),
        Json::Array(_) => Err("an array that is not empty".into()),
        other => Err(other.kind()),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

/// Reports a VM that a list had twice: neither record can be trusted to be the whole one.
pub(super) fn listed_twice(id: VmId, alias: String) -> UnreadableVm {
    UnreadableVm {
        alias,
        id: Some(id),
        problems: vec!["uuid: expected once in the list, found again".to_owned()],
    }
}

#[cfg(test)]
mod tests;
