//! How VMs and backups are shown: the JSON of both styles, written straight from the world's records.

use super::record::{FileRecord, Record};
use super::vm::Vm;
use super::world::{ApiStyle, EmptyMaps, Shape};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The fields of a VM that FiFo did not have in 2015.
const NEWER_FIELDS: [&str; 7] =
    ["created_at", "created_by", "creating", "deleting", "docker", "fw_rules", "vm_type"];

/// A VM as it is shown: whole, or only the fields that were asked for.
pub(super) struct VmJson<'a> {
    pub(super) uuid: Uuid,
    pub(super) vm: &'a Vm,
    pub(super) shape: Shape,
    pub(super) only: Option<&'a [String]>,
}

impl VmJson<'_> {
    /// The ETag: strong, and another one whenever anything at all of the VM shows differently.
    pub(super) fn etag(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        format!("\"{}\"", hex::encode(&Sha1::digest(&json)[..16]))
    }

    fn shows(&self, key: &str) -> bool {
        self.only.is_none_or(|only| only.iter().any(|field| field == key))
            && (self.shape.style == ApiStyle::V3 || !NEWER_FIELDS.contains(&key))
    }
}

impl Serialize for VmJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut keys: Vec<&str> = self.vm.fields.keys().map(String::as_str).collect();
        keys.extend(["backups", "uuid"].into_iter().filter(|key| !self.vm.fields.contains_key(*key)));
        keys.retain(|key| self.shows(key));
        keys.sort_unstable();
        if keys.is_empty() {
            return serializer.serialize_seq(Some(0))?.end();
        }
        let mut map = serializer.serialize_map(None)?;
        for key in keys {
            match self.vm.fields.get(key) {
                Some(value) => map.serialize_entry(key, &Plain(value, self.shape.empty_maps))?,
                None if key == "uuid" => map.serialize_entry(key, &self.uuid)?,
                None => {
                    map.serialize_entry(key, &Backups { backups: &self.vm.backups, shape: self.shape })?
                }
            }
        }
        map.end()
    }
}

struct Backups<'a> {
    backups: &'a BTreeMap<Uuid, Record>,
    shape: Shape,
}

impl Serialize for Backups<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.backups.is_empty() {
            return empty_map(self.shape.empty_maps, serializer);
        }
        let views = self.backups.iter();
        serializer.collect_map(
            views.map(|(uuid, record)| (uuid, RecordJson { record, shape: self.shape, uuid: None })),
        )
    }
}

/// A backup's record as it is shown; with its `uuid` as a key where it stands in a list.
pub(super) struct RecordJson<'a> {
    pub(super) record: &'a Record,
    pub(super) shape: Shape,
    pub(super) uuid: Option<Uuid>,
}

impl Serialize for RecordJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Record { comment, timestamp, pending, state, xml, parent, local, local_size, files, size, extra } =
            self.record;
        let old = self.shape.style == ApiStyle::V2;
        let mut map = Fields { map: serializer.serialize_map(None)?, extra };
        map.field("comment", comment.as_ref())?;
        match files {
            Some(files) if old => map.field("files", Some(files.keys().collect::<Vec<_>>()))?,
            files => map.field("files", files.as_ref())?,
        }
        map.field("local", local.as_ref())?;
        map.field("local_size", local_size.as_ref())?;
        map.field("parent", parent.as_ref())?;
        map.field("pending", pending.as_ref())?;
        if let Some(files) = files.as_ref().filter(|_| old) {
            map.field("sha1", whole_sha1(files))?;
            map.field("size", Some(files.values().map(|file| file.size).sum::<u64>()))?;
        } else {
            map.field("size", size.as_ref())?;
        }
        map.field("state", state.as_ref())?;
        map.field("timestamp", timestamp.as_ref())?;
        map.field("uuid", self.uuid.as_ref())?;
        map.field("xml", xml.as_ref())?;
        for (key, value) in extra {
            map.map.serialize_entry(key, &Plain(value, self.shape.empty_maps))?;
        }
        map.map.end()
    }
}

/// The one SHA-1 that 2015 kept of a backup, once all its files are whole.
fn whole_sha1(files: &BTreeMap<String, FileRecord>) -> Option<&str> {
    if files.values().all(|file| file.sha1.is_some()) { files.values().next()?.sha1.as_deref() } else { None }
}

/// Leaves out what is not there, and what `extra` shows in its place.
struct Fields<'a, M> {
    map: M,
    extra: &'a BTreeMap<String, Value>,
}

impl<M: SerializeMap> Fields<'_, M> {
    fn field(&mut self, key: &'static str, value: Option<impl Serialize>) -> Result<(), M::Error> {
        match value {
            Some(value) if !self.extra.contains_key(key) => self.map.serialize_entry(key, &value),
            _ => Ok(()),
        }
    }
}

/// A free-form value, with its empty maps as the style has them.
pub(super) struct Plain<'a>(pub(super) &'a Value, pub(super) EmptyMaps);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Plain(value, empty_maps) = *self;
        match value {
            Value::Object(map) if map.is_empty() => empty_map(empty_maps, serializer),
            Value::Object(map) => {
                serializer.collect_map(map.iter().map(|(key, value)| (key, Plain(value, empty_maps))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(|item| Plain(item, empty_maps))),
            scalar => scalar.serialize(serializer),
        }
    }
}

fn empty_map<S: Serializer>(empty_maps: EmptyMaps, serializer: S) -> Result<S::Ok, S::Error> {
    match empty_maps {
        EmptyMaps::Array => serializer.serialize_seq(Some(0))?.end(),
        EmptyMaps::Object => serializer.serialize_map(Some(0))?.end(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(vm: &Vm, shape: Shape, only: Option<&[String]>) -> Value {
        serde_json::to_value(VmJson { uuid: Uuid::nil(), vm, shape, only }).unwrap()
    }

    fn shape(style: ApiStyle, empty_maps: EmptyMaps) -> Shape {
        Shape { style, empty_maps }
    }

    #[test]
    fn empty_maps_are_arrays_until_2016_and_objects_from_2017() {
        let vm = Vm::new("web-1", "hv-1");
        let old = shown(&vm, shape(ApiStyle::V3, EmptyMaps::Array), None);
        let new = shown(&vm, shape(ApiStyle::V3, EmptyMaps::Object), None);
        for key in ["backups", "metadata", "snapshots", "services"] {
            assert_eq!(old[key], json!([]), "{key}");
            assert_eq!(new[key], json!({}), "{key}");
        }
        assert_eq!(new["log"], json!([]), "a list stays a list");
    }

    #[test]
    fn fields_of_later_years_are_not_shown_in_2015() {
        let old = shown(&Vm::new("web-1", "hv-1"), shape(ApiStyle::V2, EmptyMaps::Array), None);
        assert_eq!(old.get("creating"), None);
        assert_eq!(old["alias"], "web-1");
    }

    #[test]
    fn unknown_fields_are_dropped_and_a_vm_without_any_is_an_empty_array() {
        let vm = Vm::new("web-1", "hv-1");
        let fields = ["alias".to_owned(), "nonsense".to_owned()];
        assert_eq!(shown(&vm, Shape::default(), Some(&fields)), json!({"alias": "web-1"}));
        assert_eq!(shown(&vm, Shape::default(), Some(&[String::new()])), json!([]));
    }

    #[test]
    fn sizes_are_by_file_from_2016_and_of_the_whole_before() {
        let file = |size| FileRecord { size, sha1: Some("aa".to_owned()) };
        let files = BTreeMap::from([("v/b".to_owned(), file(3)), ("v/b-disk0".to_owned(), file(4))]);
        let record = Record { files: Some(files), ..Record::default() };
        let view = |style| RecordJson { record: &record, shape: shape(style, EmptyMaps::Array), uuid: None };
        assert_eq!(
            serde_json::to_value(view(ApiStyle::V3)).unwrap(),
            json!({"files": {"v/b": {"size": 3, "sha1": "aa"}, "v/b-disk0": {"size": 4, "sha1": "aa"}}})
        );
        assert_eq!(
            serde_json::to_value(view(ApiStyle::V2)).unwrap(),
            json!({"files": ["v/b", "v/b-disk0"], "size": 7, "sha1": "aa"})
        );
    }

    #[test]
    fn what_no_fifo_ought_to_have_can_be_shown_in_a_keys_place() {
        let record = Record {
            comment: Some("daily".to_owned()),
            extra: BTreeMap::from([("comment".to_owned(), json!(7))]),
            ..Record::default()
        };
        let view = RecordJson { record: &record, shape: Shape::default(), uuid: None };
        assert_eq!(serde_json::to_value(view).unwrap(), json!({"comment": 7}));
    }

    #[test]
    fn the_etag_changes_with_a_line_of_the_log() {
        let mut vm = Vm::new("web-1", "hv-1");
        let etag = |vm: &Vm| VmJson { uuid: Uuid::nil(), vm, shape: Shape::default(), only: None }.etag();
        let before = etag(&vm);
        assert_eq!(before, etag(&vm));
        vm.fields.insert("log".to_owned(), json!(["Deploying."]));
        assert_ne!(before, etag(&vm));
    }
}
