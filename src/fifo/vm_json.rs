//! Makes a VM of its JSON, and names what cannot be read of it.
//!
//! A VM is read whole or not at all: planning on a part of its backups could take a wanted one for unwanted. FiFo of 2015
//! writes some fields in another shape than FiFo of 2016 and later, both write an empty object as `[]` at times, and a
//! field that FiFo has not set yet is missing, never `null`.

use crate::inventory::{Backup, BackupId, Backups, Disk, RecordedState, StoredFile, UnreadableVm, Vm, VmId};
use chrono::{DateTime, Datelike as _, Utc};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

/// Up to here a float is exact for every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// No instant beyond this year can be written in RFC 3339.
const LAST_YEAR: i32 = 9999;

/// Reads one VM's JSON. Where a part of it that matters is missing, of the wrong type, or there twice, the first such part
/// is named.
pub fn read_vm(json: &[u8]) -> Result<Vm, UnreadableVm> {
    let read = serde_json::from_slice(json).map_err(|_| problem(json));
    read.and_then(|Object(vm)| WireVm::into_vm(vm)).map_err(|problem| {
        let (id, alias) = identity(json);
        UnreadableVm { alias, id, problems: vec![problem] }
    })
}

/// Reads it once more, slower, and names the place of what is wrong and what was found there, but no text: it may be a
/// secret.
fn problem(json: &[u8]) -> String {
    let mut json = serde_json::Deserializer::from_slice(json);
    let Err(error) = serde_path_to_error::deserialize::<_, Object<WireVm>>(&mut json) else {
        return "not readable as JSON: it goes on behind the VM".to_owned();
    };
    let path = error.path().to_string();
    let path = if path == "." { "the VM" } else { &path };
    let text = error.inner().to_string();
    let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
    match text.strip_prefix("invalid type: ").and_then(|text| text.rsplit_once(", expected ")) {
        Some((found, expected)) => {
            let found = if found.starts_with("string ") { "a string" } else { found };
            format!("{path}: expected {expected}, found {found}")
        }
        None => format!("{path}: {text}"),
    }
}

/// Reads UUID and alias of a VM that cannot be read whole.
fn identity(json: &[u8]) -> (Option<VmId>, String) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Identity {
        uuid: Value,
        alias: Value,
    }
    #[derive(Default, Deserialize)]
    struct WithConfig {
        config: Identity,
    }
    let own: Identity = serde_json::from_slice(json).unwrap_or_default();
    let WithConfig { config } = serde_json::from_slice(json).unwrap_or_default();
    let mut aliases = [&own.alias, &config.alias].into_iter().filter_map(Value::as_str);
    let alias = aliases.find(|alias| !alias.is_empty()).unwrap_or_default();
    (own.uuid.as_str().and_then(|uuid| uuid.parse().ok()), alias.to_owned())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireVm {
    #[serde(deserialize_with = "id")]
    uuid: Option<VmId>,
    alias: String,
    owner: String,
    package: String,
    dataset: String,
    hypervisor: String,
    state: String,
    #[serde(deserialize_with = "flag")]
    creating: bool,
    #[serde(deserialize_with = "flag")]
    deleting: bool,
    config: Object<WireConfig>,
    metadata: Object<Map<String, Value>>,
    #[serde(deserialize_with = "some")]
    backups: Option<Object<Backups>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireConfig {
    alias: String,
    datasets: Vec<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireBackup<'a> {
    #[serde(borrow, deserialize_with = "some")]
    comment: Option<Text<'a>>,
    #[serde(deserialize_with = "timestamp")]
    timestamp: Option<DateTime<Utc>>,
    #[serde(borrow, deserialize_with = "some")]
    state: Option<Text<'a>>,
    #[serde(deserialize_with = "id")]
    parent: Option<BackupId>,
    #[serde(deserialize_with = "some")]
    local: Option<bool>,
    #[serde(deserialize_with = "whole")]
    local_size: Option<u64>,
    files: Object<WireFiles>,
    #[serde(deserialize_with = "whole")]
    size: Option<u64>,
    #[serde(borrow, deserialize_with = "some")]
    sha1: Option<Text<'a>>,
}

#[derive(Default)]
struct WireFiles(Vec<StoredFile>);

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireFile<'a> {
    #[serde(deserialize_with = "whole")]
    size: Option<u64>,
    #[serde(borrow, deserialize_with = "some")]
    sha1: Option<Text<'a>>,
}

/// A text, borrowed from the body where JSON allows it.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl WireVm {
    fn into_vm(self) -> Result<Vm, String> {
        let id = self.uuid.ok_or("uuid: expected a UUID, found nothing")?;
        let Object(backups) = self.backups.ok_or("backups: expected an object, found nothing")?;
        let Object(config) = self.config;
        // FiFo leaves a text empty for "none".
        let name = |text: String| Some(text).filter(|text| !text.is_empty());
        let mut metadata = Vec::new();
        flatten("", self.metadata.0, &mut metadata);
        Ok(Vm {
            id,
            // Where the VM's own alias is empty, FiFo goes by the one in its configuration.
            alias: name(self.alias).unwrap_or(config.alias),
            owner: name(self.owner),
            package: name(self.package),
            dataset: name(self.dataset),
            hypervisor: name(self.hypervisor),
            state: self.state,
            creating: self.creating,
            deleting: self.deleting,
            delegated_datasets: !config.datasets.is_empty(),
            metadata: metadata.into_iter().collect(),
            backups,
        })
    }
}

impl WireBackup<'_> {
    /// Makes a backup of its record. Those of a VM share their comments.
    fn into_backup(self, id: BackupId, comments: &mut HashSet<Arc<str>>) -> Backup {
        let Object(WireFiles(mut files)) = self.files;
        files.sort_unstable_by_key(|file| (file.size_bytes, file.has_checksum, file.disk));
        // FiFo of 2015 has one at the top level, which is of the object if there is only one.
        if let ([file], Some(Text(sha1))) = (files.as_mut_slice(), &self.sha1) {
            file.sha1 = file.sha1.or(digest(sha1));
        }
        let shared = |Text(comment): Text<'_>| {
            if !comments.contains(&*comment) {
                comments.insert(Arc::from(&*comment));
            }
            comments.get(&*comment).cloned()
        };
        Backup {
            id,
            comment: self.comment.and_then(shared),
            timestamp: self.timestamp,
            state: RecordedState::from_wire(self.state.as_ref().map(|Text(state)| state.as_ref())),
            parent: self.parent,
            local: self.local.into(),
            local_size_bytes: self.local_size,
            files,
            record_size_bytes: self.size,
            has_record_checksum: self.sha1.is_some(),
            is_broken: false,
        }
    }
}

/// What FiFo writes as an object.
trait FromObject<'de>: Default {
    fn from_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;

    /// Only an empty array is an object, without fields.
    fn from_array<A: SeqAccess<'de>>(mut array: A) -> Result<Self, A::Error> {
        let is_empty = array.next_element::<IgnoredAny>()?.is_none();
        is_empty.then(Self::default).ok_or_else(|| wrong("an array that is not empty"))
    }

    fn from_text<E: Error>(_: &str) -> Result<Self, E> {
        Err(wrong("a string"))
    }
}

fn wrong<E: Error>(found: &str) -> E {
    E::invalid_type(Unexpected::Other(found), &"an object")
}

impl<'de, T: Deserialize<'de> + Default> FromObject<'de> for T {
    fn from_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

impl<'de> FromObject<'de> for Backups {
    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let (mut backups, mut comments) = (Vec::new(), HashSet::new());
        while let Some((Text(id), Object(record))) = map.next_entry::<_, Object<WireBackup<'_>>>()? {
            let id = id.parse().map_err(|_| A::Error::custom("a key that is no UUID"))?;
            backups.push(record.into_backup(id, &mut comments));
        }
        let count = backups.len();
        let backups = Some(Self::new(backups)).filter(|backups| backups.len() == count);
        backups.ok_or_else(|| A::Error::custom("two records of one backup"))
    }
}

impl<'de> FromObject<'de> for WireFiles {
    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut files = Vec::new();
        while let Some((Text(name), Object(WireEntry(file)))) = map.next_entry()? {
            files.push(StoredFile { disk: Disk::of_object(&name), ..file });
        }
        Ok(Self(files))
    }

    /// FiFo of 2015 only names them.
    fn from_array<A: SeqAccess<'de>>(mut array: A) -> Result<Self, A::Error> {
        let mut files = Vec::new();
        while let Some(Text(name)) = array.next_element()? {
            files.push(StoredFile { disk: Disk::of_object(&name), ..StoredFile::default() });
        }
        Ok(Self(files))
    }
}

/// One of a backup's files.
#[derive(Default)]
struct WireEntry(StoredFile);

impl<'de> FromObject<'de> for WireEntry {
    fn from_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        let WireFile { size, sha1 } = FromObject::from_map(map)?;
        let (has_checksum, sha1) = (sha1.is_some(), sha1.and_then(|Text(sha1)| digest(&sha1)));
        Ok(Self(StoredFile { size_bytes: size, has_checksum, sha1, ..StoredFile::default() }))
    }

    /// The SHA-1 alone.
    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self(StoredFile { has_checksum: true, sha1: digest(text), ..StoredFile::default() }))
    }
}

/// What is written as an object, or, where it has no fields, as `[]`.
#[derive(Default)]
struct Object<T>(T);

impl<'de, T: FromObject<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: FromObject<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::from_map(map).map(Object)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Object<T>, A::Error> {
                T::from_array(array).map(Object)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Object<T>, E> {
                T::from_text(text).map(Object)
            }
        }
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

fn digest(hex: &str) -> Option<[u8; 20]> {
    let mut digest = [0; 20];
    hex::decode_to_slice(hex, &mut digest).ok().map(|()| digest)
}

/// Reads a value that is there: a `null` is not taken for nothing.
fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn id<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let Text(text) = Text::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|_| D::Error::invalid_type(Unexpected::Str(&text), &"a UUID"))
}

/// Reads a flag, which any value but `false` sets.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Value::deserialize(deserializer).map(|value| value != Value::Bool(false))
}

/// Reads a whole number, which FiFo may write as `5`, `5.0` or `5e0`.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = Number::deserialize(deserializer)?;
    let is_whole = |float: &f64| float.fract() == 0.0 && (0.0..=EXACT).contains(float);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range")]
    let float = || number.as_f64().filter(is_whole).map(|float| float as u64);
    number.as_u64().or_else(float).map(Some).ok_or_else(|| {
        let found = format!("the number {number}");
        D::Error::invalid_type(Unexpected::Other(&found), &"a whole number, 0 or more")
    })
}

/// Reads microseconds since 1970.
fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let micros = whole(deserializer)?.and_then(|micros| i64::try_from(micros).ok());
    let instant = micros.and_then(DateTime::from_timestamp_micros);
    let instant = instant.filter(|instant| instant.year() <= LAST_YEAR);
    instant.map(Some).ok_or_else(|| D::Error::custom("an instant that no calendar has"))
}

/// Flattens metadata into dotted paths and texts, so that policies compare text with text.
///
/// An array is kept as its JSON; an empty one, which may be FiFo's empty object, and a `null` are not set.
fn flatten(prefix: &str, object: Map<String, Value>, pairs: &mut Vec<(String, String)>) {
    for (key, value) in object {
        let path = format!("{prefix}{key}");
        match value {
            Value::Null => {}
            Value::Array(values) if values.is_empty() => {}
            Value::Object(object) => flatten(&format!("{path}."), object, pairs),
            Value::String(text) => pairs.push((path, text)),
            Value::Number(number) => pairs.push((path, plain(&number))),
            Value::Bool(_) | Value::Array(_) => pairs.push((path, value.to_string())),
        }
    }
}

/// Writes a number as it was, but `1.0` as `1`: FiFo's helper scripts and its web page spell the same mark in both ways.
fn plain(number: &Number) -> String {
    match number.as_f64() {
        // Adding 0 turns -0 into 0.
        Some(it) if number.is_f64() && it.fract() == 0.0 && it.abs() <= EXACT => format!("{:.0}", it + 0.0),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests;
