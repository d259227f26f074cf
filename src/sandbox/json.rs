//! How VMs, backups and the list are shown: the JSON of both styles.

use super::message::{Framing, Reply, Request};
use super::users::User;
use super::vm::{Record, Vm};
use super::world::{ApiStyle, EmptyMaps, Shape, World};
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};
use uuid::Uuid;

/// The fields of a VM that FiFo did not have in 2015.
const NEWER_FIELDS: [&str; 7] =
    ["created_at", "created_by", "creating", "deleting", "docker", "fw_rules", "vm_type"];

/// Shows a VM: whole, or only the fields that were asked for. One that is left without any is an empty array.
pub(super) fn vm_json(uuid: Uuid, vm: &Vm, shape: Shape, only: Option<&[String]>) -> Value {
    let shows = |key: &str| {
        only.is_none_or(|only| only.iter().any(|field| field == key))
            && (shape.style == ApiStyle::V3 || !NEWER_FIELDS.contains(&key))
    };
    let fields = vm.fields.iter().filter(|(key, _)| shows(key));
    let mut shown: Map<String, Value> =
        fields.map(|(key, value)| (key.clone(), plain(value, shape.empty_maps))).collect();
    if shows("uuid") {
        shown.entry("uuid").or_insert_with(|| json!(uuid));
    }
    if shows("backups") {
        shown.entry("backups").or_insert_with(|| {
            let backups = vm.backups.iter();
            let backups = backups.map(|(id, record)| (id.to_string(), record_json(record, shape)));
            map_json(backups.collect(), shape.empty_maps)
        });
    }
    map_json(shown, if only.is_some() { EmptyMaps::Array } else { shape.empty_maps })
}

/// Shows a backup's record. In 2015 it has the names of its files, one size, and one SHA-1 once all files are whole.
pub(super) fn record_json(record: &Record, shape: Shape) -> Value {
    let mut shown = json!(record);
    if let Some(shown) = shown.as_object_mut() {
        shown.retain(|_, value| !value.is_null());
    }
    if let Some(files) = record.files.as_ref().filter(|_| shape.style == ApiStyle::V2) {
        shown["files"] = files.keys().cloned().collect();
        shown["size"] = json!(files.values().map(|file| file.size).sum::<u64>());
        let whole: Option<Vec<_>> = files.values().map(|file| file.sha1.as_ref()).collect();
        if let Some(sha1) = whole.as_deref().and_then(<[_]>::first) {
            shown["sha1"] = json!(sha1);
        }
    }
    shown
}

/// The ETag of a VM shown like that: strong, and another one whenever anything at all shows differently.
pub(super) fn etag(vm_json: &[u8]) -> String {
    format!("\"{}\"", hex::encode(&Sha1::digest(vm_json)[..16]))
}

/// A free-form value, with its empty maps as the style has them.
fn plain(value: &Value, empty_maps: EmptyMaps) -> Value {
    match value {
        Value::Object(map) => {
            let map = map.iter().map(|(key, value)| (key.clone(), plain(value, empty_maps)));
            map_json(map.collect(), empty_maps)
        }
        Value::Array(items) => items.iter().map(|item| plain(item, empty_maps)).collect(),
        scalar => scalar.clone(),
    }
}

fn map_json(map: Map<String, Value>, empty_maps: EmptyMaps) -> Value {
    if map.is_empty() && empty_maps == EmptyMaps::Array { json!([]) } else { Value::Object(map) }
}

/// What a full list is reckoned to take, for each VM and for each of its backups.
const VM_MS: usize = 10;
const BACKUP_MS: usize = 1;

/// Answers with the VMs a user may see: their UUIDs, or what was asked for of each.
///
/// Each element brings the comma or bracket before it. A list without elements is therefore `]` from 2016 on, and one
/// that takes too long ends behind an element, without its last bracket. From 2016 on the end of the connection is the
/// end of the body.
pub(super) fn list(world: &World, user: &User, request: &Request) -> Reply {
    let is_old = world.shape.style == ApiStyle::V2;
    let full = matches!(asked(request, "full-list").as_deref(), Some("true" | "True"));
    let fields = asked(request, "full-list-fields");
    let fields: Option<Vec<String>> = fields.map(|fields| fields.split(',').map(str::to_owned).collect());
    let limit_ms = world.list_limit_ms.filter(|_| full && !is_old);
    let (mut body, mut taken_ms, mut is_cut) = (Vec::new(), 0, false);
    for (id, vm) in &world.vms {
        if !user.may(&["vms", &id.to_string(), "get"]) {
            continue;
        }
        taken_ms += VM_MS + BACKUP_MS * vm.backups.len();
        is_cut = limit_ms.is_some_and(|limit_ms| taken_ms as u64 > limit_ms);
        if is_cut {
            break;
        }
        body.push(if body.is_empty() { b'[' } else { b',' });
        // Writing to memory cannot fail.
        let _ = if full {
            serde_json::to_writer(&mut body, &vm_json(*id, vm, world.shape, fields.as_deref()))
        } else {
            serde_json::to_writer(&mut body, id)
        };
    }
    if is_old && body.is_empty() {
        body.push(b'[');
    }
    if !is_cut {
        body.push(b']');
    }
    let framing = if is_old { Framing::Length } else { Framing::UntilClose };
    let reply = Reply { framing, ..Reply::empty(200) };
    reply.with_body("application/json", body).with_header("vary", "accept")
}

/// A parameter from the query or, as old clients send it, from a header.
fn asked(request: &Request, name: &str) -> Option<String> {
    let from_header = || request.header(&format!("x-{name}")).map(str::to_owned);
    request.query(name).or_else(from_header)
}

#[cfg(test)]
mod tests {
    use super::super::vm::FileRecord;
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn fields_are_as_the_year_has_them_and_unknown_ones_are_dropped() {
        let vm = Vm::new("web-1", "hv-1");
        let shown = |style, only: Option<&[String]>| {
            vm_json(Uuid::nil(), &vm, Shape { style, ..Shape::default() }, only)
        };
        let (old, new) = (shown(ApiStyle::V2, None), shown(ApiStyle::V3, None));
        assert_eq!((old.get("creating"), &old["alias"]), (None, &json!("web-1")));
        assert_eq!((&new["creating"], &new["alias"]), (&json!(false), &json!("web-1")));
        let fields = ["alias".to_owned(), "nonsense".to_owned()];
        assert_eq!(shown(ApiStyle::V3, Some(&fields)), json!({"alias": "web-1"}));
        assert_eq!(shown(ApiStyle::V3, Some(&[String::new()])), json!([]));
    }

    #[test]
    fn sizes_are_by_file_from_2016_and_of_the_whole_before() {
        let file = |size| FileRecord { size, sha1: Some("aa".to_owned()) };
        let files = BTreeMap::from([("v/b".to_owned(), file(3)), ("v/b-disk0".to_owned(), file(4))]);
        let record = Record { files: Some(files), ..Record::default() };
        let shown = |style| record_json(&record, Shape { style, ..Shape::default() });
        let by_file =
            json!({"files": {"v/b": {"size": 3, "sha1": "aa"}, "v/b-disk0": {"size": 4, "sha1": "aa"}}});
        assert_eq!(shown(ApiStyle::V3), by_file);
        assert_eq!(shown(ApiStyle::V2), json!({"files": ["v/b", "v/b-disk0"], "size": 7, "sha1": "aa"}));
    }
}
