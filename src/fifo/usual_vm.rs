//! Reads a VM that is written as FiFo usually writes it, many times as fast as [`convert`](super::convert) does.
//!
//! It gives up on whatever is out of the ordinary, a duplicate field or a number like `5.0`, say, and judges nothing: what
//! it does read is what `convert` would have read.

use super::json::Json;
use super::values::{files_by_name, flat, instant};
use crate::inventory::{Backup, BackupId, Backups, Metadata, RecordedState, StoredFile, Vm, VmId};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

/// How many different comments of a VM are remembered, so that its backups share them.
const COMMENTS_SHARED: usize = 8;

/// Reads a VM; an error says no more than that it is not written in the usual way.
pub(super) fn read(json: &[u8]) -> Result<Vm, serde_json::Error> {
    let Object(vm): Object<WireVm<'_>> = serde_json::from_slice(json)?;
    let config = vm.config.0;
    let own_alias = Some(vm.alias.0).filter(|alias| !alias.is_empty());
    let metadata = match vm.metadata {
        None => Metadata::default(),
        Some(Json::Object(entries)) => flat(Json::Object(entries)),
        Some(_) => return Err(Error::custom("metadata")),
    };
    let name = |text: Text<'_>| Some(text.0).filter(|text| !text.is_empty()).map(Cow::into_owned);
    Ok(Vm {
        id: vm.uuid.ok_or_else(|| Error::custom("no uuid"))?.0,
        alias: own_alias.unwrap_or(config.alias.0).into_owned(),
        owner: name(vm.owner),
        package: name(vm.package),
        dataset: name(vm.dataset),
        hypervisor: name(vm.hypervisor),
        state: vm.state.0.into_owned(),
        creating: vm.creating,
        deleting: vm.deleting,
        delegated_datasets: !config.datasets.is_empty(),
        metadata,
        backups: vm.backups.ok_or_else(|| Error::custom("no backups"))?.0,
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireVm<'a> {
    #[serde(deserialize_with = "some")]
    uuid: Option<Id<VmId>>,
    #[serde(borrow)]
    alias: Text<'a>,
    #[serde(borrow)]
    owner: Text<'a>,
    #[serde(borrow)]
    package: Text<'a>,
    #[serde(borrow)]
    dataset: Text<'a>,
    #[serde(borrow)]
    hypervisor: Text<'a>,
    #[serde(borrow)]
    state: Text<'a>,
    creating: bool,
    deleting: bool,
    #[serde(borrow)]
    config: Object<WireConfig<'a>>,
    #[serde(borrow, deserialize_with = "some")]
    metadata: Option<Json<'a>>,
    #[serde(deserialize_with = "some")]
    backups: Option<WireBackups>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireConfig<'a> {
    #[serde(borrow)]
    alias: Text<'a>,
    datasets: Vec<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireBackup<'a> {
    #[serde(borrow, deserialize_with = "some")]
    comment: Option<Text<'a>>,
    #[serde(deserialize_with = "some")]
    timestamp: Option<u64>,
    #[serde(borrow, deserialize_with = "some")]
    state: Option<Text<'a>>,
    #[serde(deserialize_with = "some")]
    parent: Option<Id<BackupId>>,
    #[serde(deserialize_with = "some")]
    local: Option<bool>,
    #[serde(deserialize_with = "some")]
    local_size: Option<u64>,
    files: WireFiles,
    #[serde(deserialize_with = "some")]
    size: Option<u64>,
    #[serde(borrow, deserialize_with = "some")]
    sha1: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireFile<'a> {
    #[serde(deserialize_with = "some")]
    size: Option<u64>,
    #[serde(borrow, deserialize_with = "some")]
    sha1: Option<Text<'a>>,
}

/// Reads a value that is there: other than an `Option`'s own reading, this takes no `null` for nothing.
fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A text, borrowed from the body where JSON allows it.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// A UUID in its form of 36 characters.
struct Id<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer)?.0.parse().map(Id).map_err(Error::custom)
    }
}

/// An object. One without fields may be written as `[]`; otherwise no array is taken for one.
#[derive(Default)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Object<T>, A::Error> {
                refuse_elements(array).map(|()| Object(T::default()))
            }
        }
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

fn refuse_elements<'de, A: SeqAccess<'de>>(mut array: A) -> Result<(), A::Error> {
    match array.next_element::<IgnoredAny>()? {
        None => Ok(()),
        Some(_) => Err(Error::custom("an array that is not empty")),
    }
}

struct WireBackups(Backups);

impl<'de> Deserialize<'de> for WireBackups {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BackupsVisitor;
        impl<'de> Visitor<'de> for BackupsVisitor {
            type Value = WireBackups;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("backups")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WireBackups, A::Error> {
                let mut comments: Vec<Arc<str>> = Vec::new();
                let mut backups = Vec::new();
                while let Some((Id(id), Object(record))) =
                    map.next_entry::<Id<BackupId>, Object<WireBackup<'_>>>()?
                {
                    backups
                        .push(backup(id, record, &mut comments).ok_or_else(|| Error::custom("timestamp"))?);
                }
                let count = backups.len();
                let backups = Backups::new(backups);
                if backups.len() < count {
                    return Err(Error::custom("two records of one backup"));
                }
                Ok(WireBackups(backups))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<WireBackups, A::Error> {
                refuse_elements(array).map(|()| WireBackups(Backups::default()))
            }
        }
        deserializer.deserialize_any(BackupsVisitor)
    }
}

fn backup(id: BackupId, record: WireBackup<'_>, comments: &mut Vec<Arc<str>>) -> Option<Backup> {
    let timestamp = match record.timestamp {
        Some(micros) => Some(instant(micros)?),
        None => None,
    };
    Some(Backup {
        id,
        comment: record.comment.map(|Text(comment)| shared(&comment, comments)),
        timestamp,
        state: RecordedState::from_wire(record.state.as_ref().map(|Text(state)| state.as_ref())),
        parent: record.parent.map(|Id(parent)| parent),
        local: record.local.into(),
        local_size_bytes: record.local_size,
        files: record.files.0,
        record_size_bytes: record.size,
        has_record_checksum: record.sha1.is_some(),
    })
}

/// Returns the same text that an earlier backup has, where one has it.
fn shared(comment: &str, comments: &mut Vec<Arc<str>>) -> Arc<str> {
    if let Some(known) = comments.iter().find(|known| ***known == *comment) {
        return Arc::clone(known);
    }
    let new = Arc::from(comment);
    if comments.len() < COMMENTS_SHARED {
        comments.push(Arc::clone(&new));
    }
    new
}

#[derive(Default)]
struct WireFiles(Vec<StoredFile>);

impl<'de> Deserialize<'de> for WireFiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FilesVisitor;
        impl<'de> Visitor<'de> for FilesVisitor {
            type Value = WireFiles;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("files")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WireFiles, A::Error> {
                let mut files = Vec::new();
                while let Some((Text(name), file)) = map.next_entry::<Text<'_>, WireFileInfo>()? {
                    files.push((name, file.0));
                }
                in_order(files)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<WireFiles, A::Error> {
                let mut files = Vec::new();
                while let Some(Text(name)) = array.next_element::<Text<'_>>()? {
                    files.push((name, StoredFile { size_bytes: None, has_checksum: false }));
                }
                in_order(files)
            }
        }
        deserializer.deserialize_any(FilesVisitor)
    }
}

fn in_order<E: Error>(files: Vec<(Cow<'_, str>, StoredFile)>) -> Result<WireFiles, E> {
    files_by_name(files).map(WireFiles).map_err(|name| E::custom(format!("two files of the name {name}")))
}

/// What a record says of one file: its SHA-1, or an object with size and SHA-1.
struct WireFileInfo(StoredFile);

impl<'de> Deserialize<'de> for WireFileInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FileVisitor;
        impl<'de> Visitor<'de> for FileVisitor {
            type Value = WireFileInfo;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file")
            }

            fn visit_str<E>(self, _: &str) -> Result<WireFileInfo, E> {
                Ok(WireFileInfo(StoredFile { size_bytes: None, has_checksum: true }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WireFileInfo, A::Error> {
                let file = WireFile::deserialize(MapAccessDeserializer::new(map))?;
                let has_checksum = file.sha1.is_some();
                Ok(WireFileInfo(StoredFile { size_bytes: file.size, has_checksum }))
            }
        }
        deserializer.deserialize_any(FileVisitor)
    }
}
