//! The JSON as FiFo sends it, in the shapes of 2015 and of 2016 on: only the fields that matter.
//!
//! What a field's value means is [`super::convert`]'s business.

use super::field::{Entries, Field, Flag, Found, FromJson, JsonObject, Length, Number, Text, only_empty};
use crate::inventory::{BackupId, VmId};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, MapAccess, SeqAccess};
use std::borrow::Cow;

/// A VM. None of its fields is certain to be there.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct VmRecord<'a> {
    pub(super) uuid: Field<VmId>,
    #[serde(borrow)]
    pub(super) alias: Field<Text<'a>>,
    #[serde(borrow)]
    pub(super) owner: Field<Text<'a>>,
    #[serde(borrow)]
    pub(super) package: Field<Text<'a>>,
    #[serde(borrow)]
    pub(super) dataset: Field<Text<'a>>,
    #[serde(borrow)]
    pub(super) hypervisor: Field<Text<'a>>,
    #[serde(borrow)]
    pub(super) state: Field<Text<'a>>,
    pub(super) creating: Field<Flag>,
    pub(super) deleting: Field<Flag>,
    pub(super) metadata: Field<JsonObject>,
    #[serde(borrow)]
    pub(super) config: Field<ConfigRecord<'a>>,
    #[serde(borrow)]
    pub(super) backups: Field<Entries<'a, BackupRecord<'a>>>,
}

/// What of a VM's `config` matters.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct ConfigRecord<'a> {
    #[serde(borrow)]
    pub(super) alias: Field<Text<'a>>,
    pub(super) datasets: Field<Length>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct BackupRecord<'a> {
    #[serde(borrow)]
    pub(super) comment: Field<Text<'a>>,
    pub(super) timestamp: Field<Number>,
    #[serde(borrow)]
    pub(super) state: Field<Text<'a>>,
    pub(super) parent: Field<BackupId>,
    pub(super) local: Field<bool>,
    pub(super) local_size: Field<Number>,
    #[serde(borrow)]
    pub(super) files: Field<Files<'a>>,
    pub(super) size: Field<Number>,
    #[serde(borrow)]
    pub(super) sha1: Field<Text<'a>>,
}

/// A file's entry in the shape of 2016 and later.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct FileRecord<'a> {
    pub(super) size: Field<Number>,
    #[serde(borrow)]
    pub(super) sha1: Field<Text<'a>>,
}

/// Just enough to name a VM that cannot be read.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Identity<'a> {
    pub(super) uuid: Field<VmId>,
    #[serde(borrow)]
    pub(super) alias: Field<Text<'a>>,
}

/// A backup's files in either shape.
#[derive(Debug)]
pub(super) enum Files<'a> {
    /// An object by name.
    ByName(Entries<'a, FileEntry<'a>>),
    /// An array of names.
    Names(Vec<Field<Text<'a>>>),
}

/// What stands at a file's name.
#[derive(Debug)]
pub(super) enum FileEntry<'a> {
    /// An object with size and SHA-1.
    Record(FileRecord<'a>),
    /// The SHA-1 alone.
    Sha1(Cow<'a, str>),
}

impl<'de: 'a, 'a> FromJson<'de> for Files<'a> {
    const EXPECTED: &'static str = "an object or an array";

    fn from_array<A: SeqAccess<'de>>(mut array: A) -> Result<Result<Self, Found>, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = array.next_element()? {
            names.push(name);
        }
        Ok(Ok(Self::Names(names)))
    }

    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Result<Self, Found>, A::Error> {
        Entries::of(object).map(|entries| Ok(Self::ByName(entries)))
    }
}

impl<'de: 'a, 'a> FromJson<'de> for FileEntry<'a> {
    const EXPECTED: &'static str = "an object or a string";

    fn from_text(text: Cow<'de, str>) -> Result<Self, Found> {
        Ok(Self::Sha1(text))
    }

    fn from_array<A: SeqAccess<'de>>(array: A) -> Result<Result<Self, Found>, A::Error> {
        only_empty(array, Self::Record(FileRecord::default()))
    }

    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Result<Self, Found>, A::Error> {
        let record = FileRecord::deserialize(MapAccessDeserializer::new(object))?;
        Ok(Ok(Self::Record(record)))
    }
}

/// Implements [`FromJson`] for records: an object, or `[]` for one without any field.
macro_rules! from_json_for_record {
    ($record:ident) => {
        impl<'de: 'a, 'a> FromJson<'de> for $record<'a> {
            const EXPECTED: &'static str = "an object";

            fn from_array<A: SeqAccess<'de>>(array: A) -> Result<Result<Self, Found>, A::Error> {
                only_empty(array, Self::default())
            }

            fn from_object<A: MapAccess<'de>>(object: A) -> Result<Result<Self, Found>, A::Error> {
                Self::deserialize(MapAccessDeserializer::new(object)).map(Ok)
            }
        }
    };
}

from_json_for_record!(VmRecord);
from_json_for_record!(ConfigRecord);
from_json_for_record!(BackupRecord);
from_json_for_record!(Identity);
