use super::*;
use crate::inventory::LocalState;
use proptest::prelude::*;
use serde_json::{Value, json};

const VM: &str = "11111111-0000-4000-8000-000000000001";
const BACKUP: &str = "bbbbbbbb-0000-4000-8000-000000000001";

fn vm_with(key: &str, value: Value) -> Value {
    let mut vm = json!({"uuid": VM, "alias": "web-1", "backups": {}});
    vm[key] = value;
    vm
}

fn read(vm: &Value) -> Vm {
    read_vm(vm.to_string().as_bytes()).unwrap()
}

fn read_backup(record: Value) -> Backup {
    let vm = read(&vm_with("backups", json!({ BACKUP: record })));
    vm.backups[0].clone()
}

fn problem(json: &str) -> String {
    read_vm(json.as_bytes()).unwrap_err().problems.concat()
}

fn problem_of_backup(record: Value) -> String {
    problem(&vm_with("backups", json!({ BACKUP: record })).to_string())
        .replace(&format!("backups.{BACKUP}"), "B")
}

#[test]
fn the_alias_is_the_vms_own_or_else_its_configs() {
    assert_eq!(read(&vm_with("config", json!({"alias": "other"}))).alias, "web-1");
    let vm = json!({"uuid": VM, "backups": {}, "config": {"alias": "other"}});
    assert_eq!(read(&vm).alias, "other");
    assert_eq!(read(&vm_with("config", json!([]))).alias, "web-1");
    let vm = json!({"uuid": VM, "alias": "", "backups": {}, "config": {"alias": "other"}});
    assert_eq!(read(&vm).alias, "other", "an empty one is none");
    assert_eq!(read(&vm_with("alias", json!(""))).alias, "");
}

#[test]
fn empty_names_are_none() {
    for key in ["hypervisor", "owner", "package", "dataset"] {
        let vm = read(&vm_with(key, json!("")));
        assert_eq!((vm.hypervisor, vm.owner, vm.package, vm.dataset), (None, None, None, None));
    }
    assert_eq!(read(&vm_with("hypervisor", json!("hv-1"))).hypervisor.as_deref(), Some("hv-1"));
}

#[test]
fn whatever_is_not_false_sets_a_flag() {
    assert!(!read(&vm_with("deleting", json!(false))).deleting);
    for value in [json!(true), json!("false"), json!(0), json!(-1.5), json!(null), json!([]), json!({"a": 1})]
    {
        assert!(read(&vm_with("deleting", value.clone())).deleting, "{value}");
        assert!(read(&vm_with("creating", value.clone())).creating, "{value}");
    }
}

#[test]
fn metadata_is_flattened_to_texts() {
    let vm = read(&vm_with(
        "metadata",
        json!({
            "fifo": {"backup": 1, "float": 1.0, "half": 0.5, "negative": -0.0, "on": true, "text": "1.0"},
            "list": [1, "a"], "empty": [], "nothing": null, "a.b": "dotted"
        }),
    ));
    for (path, text) in [
        ("fifo.backup", Some("1")),
        ("fifo.float", Some("1")),
        ("fifo.half", Some("0.5")),
        ("fifo.negative", Some("0")),
        ("fifo.on", Some("true")),
        ("fifo.text", Some("1.0")),
        ("list", Some(r#"[1,"a"]"#)),
        ("empty", None),
        ("nothing", None),
        ("a.b", Some("dotted")),
    ] {
        assert_eq!(vm.metadata.get(path), text, "{path}");
    }
    assert!(vm.metadata.is_set("fifo") && !vm.metadata.is_set("empty"));
}

#[test]
fn a_backup_of_either_year_has_its_files() {
    let name = format!("{VM}/{BACKUP}");
    let sha1 = "49c74c48cedb8543b07b795d57797176deef5ed0";
    let mut digest = [0; 20];
    hex::decode_to_slice(sha1, &mut digest).unwrap();
    let bare = |size_bytes, has_checksum| StoredFile { size_bytes, has_checksum, ..StoredFile::default() };
    let file = |size_bytes, has_checksum, sha1| [StoredFile { sha1, ..bare(size_bytes, has_checksum) }];
    let new = read_backup(json!({"files": {&name: {"size": 7, "sha1": sha1}}}));
    assert_eq!(new.files, file(Some(7), true, Some(digest)));
    let old = read_backup(json!({"files": [&name], "size": 7, "sha1": sha1}));
    assert_eq!(old.files, file(None, false, Some(digest)));
    assert_eq!((old.record_size_bytes, old.has_record_checksum), (Some(7), true));
    assert_eq!(read_backup(json!({"files": {&name: sha1}})).files, file(None, true, Some(digest)));
    assert_eq!(read_backup(json!({"files": {&name: []}})).files, file(None, false, None));
    let disks =
        read_backup(json!({"files": [format!("{name}-disk1"), format!("{name}-disk01")], "sha1": sha1}));
    let disks: Vec<_> = disks.files.iter().map(|file| (file.disk, file.sha1)).collect();
    assert_eq!(disks, [(Disk::Number(1), None), (Disk::Unknown, None)]);
    assert_eq!(read_backup(json!({"files": []})).files, []);
    let two = [json!({"b": {"size": 7}, "a": sha1}), json!({"a": sha1, "b": {"size": 7}})];
    assert_eq!(read_backup(json!({"files": two[0]})), read_backup(json!({"files": two[1]})));
}

#[test]
fn any_subset_of_a_backups_keys_can_be_read() {
    let remnant = read_backup(json!({"state": "failed", "local": true, "unheard_of": {"a": [1]}}));
    assert_eq!((remnant.timestamp, remnant.comment, remnant.local), (None, None, LocalState::Present));
    assert_eq!(remnant.state, RecordedState::Failed);
    assert_eq!(read_backup(json!([])).state, RecordedState::Accepted);
}

#[test]
fn timestamps_are_microseconds() {
    let at = |value: Value| read_backup(json!({"timestamp": value})).timestamp.unwrap();
    assert_eq!(at(json!(1_795_383_407_033_533_u64)).to_rfc3339(), "2026-11-22T21:36:47.033533+00:00");
    assert_eq!(at(json!(1.795383407033533e15)), at(json!(1_795_383_407_033_533_u64)));
    for wrong in [json!(-1), json!(0.5), json!(300_000_000_000_000_000_u64), json!(u64::MAX)] {
        assert!(problem_of_backup(json!({"timestamp": wrong})).starts_with("B.timestamp: "), "{wrong}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_path_and_no_text_is_shown() {
    for (record, problem) in [
        (json!({"parent": "a secret"}), "B.parent: expected a UUID, found a string"),
        (json!({"parent": 5}), "B.parent: expected a string, found integer `5`"),
        (json!({"parent": null}), "B.parent: expected a string, found null"),
        (json!({"comment": null}), "B.comment: expected a string, found null"),
        (json!({"state": true}), "B.state: expected a string, found boolean `true`"),
        (json!({"local": "true"}), "B.local: expected a boolean, found a string"),
        (json!({"local_size": -7}), "B.local_size: expected a whole number, 0 or more, found the number -7"),
        (json!({"size": "7"}), "B.size: expected a JSON number, found a string"),
        (json!({"files": "x"}), "B.files: expected an object, found a string"),
        (json!({"files": {"f": 1}}), "B.files.f: expected an object, found integer `1`"),
        (json!({"files": {"f": {"size": {}}}}), "B.files.f.size: expected a JSON number, found map"),
        (json!({"files": ["a", 1]}), "B.files[1]: expected a string, found integer `1`"),
        (json!("gone"), "B: expected an object, found a string"),
        (json!([1]), "B: expected an object, found an array that is not empty"),
        (json!(null), "B: expected an object, found null"),
        (json!({"timestamp": 300_000_000_000_000_000_u64}), "B.timestamp: an instant that no calendar has"),
    ] {
        assert_eq!(problem_of_backup(record.clone()), problem, "{record}");
    }
    for (key, value, words) in [
        ("alias", json!(null), "alias: expected a string, found null"),
        ("uuid", json!("one"), "uuid: expected a UUID, found a string"),
        ("backups", json!("none"), "backups: expected an object, found a string"),
        ("backups", json!(null), "backups: expected an object, found null"),
        ("backups", json!([1]), "backups: expected an object, found an array that is not empty"),
        ("backups", json!({"x": {}}), "backups: a key that is no UUID"),
        ("metadata", json!("a secret"), "metadata: expected an object, found a string"),
        ("config", json!(7), "config: expected an object, found integer `7`"),
        ("config", json!({"datasets": "x"}), "config.datasets: expected a sequence, found a string"),
        ("hypervisor", json!({}), "hypervisor: expected a string, found map"),
    ] {
        assert_eq!(problem(&vm_with(key, value).to_string()), words);
    }
}

#[test]
fn an_unreadable_vm_is_named_where_that_can_be_read() {
    let broken = vm_with("state", json!(1)).to_string();
    let by_config = json!({"uuid": VM, "alias": "", "state": 1, "config": {"alias": "web-1"}}).to_string();
    let twice = |fields: &str| format!(r#"{{"uuid":"{VM}","alias":"web-1","backups":{fields}}}"#);
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    for (json, words) in [
        (broken, "state"),
        (by_config, "state"),
        (twice(r#"{},"backups":{}"#), "duplicate field"),
        (twice(&format!(r#"{{"{BACKUP}":{{"local":true,"local":false}}}}"#)), "duplicate field"),
        (twice(&format!(r#"{{"{BACKUP}":{{}},"{BACKUP}":{{}}}}"#)), "two records of one backup"),
        (twice(&format!(r#"{{}},"metadata":{deep}"#)), "recursion limit"),
    ] {
        let unreadable = read_vm(json.as_bytes()).unwrap_err();
        assert_eq!((unreadable.alias.as_str(), unreadable.id.is_some()), ("web-1", true), "{json}");
        assert!(unreadable.problems[0].contains(words), "{unreadable:?}");
    }
}

#[test]
fn missing_backups_are_not_no_backups() {
    for (json, problem_of_it) in [
        (json!({"uuid": VM, "alias": "web-1"}), "backups: expected an object, found nothing"),
        (json!({"alias": "web-1", "backups": {}}), "uuid: expected a UUID, found nothing"),
        (json!({}), "uuid: expected a UUID, found nothing"),
        (json!([]), "uuid: expected a UUID, found nothing"),
        (json!(VM), "the VM: expected an object, found a string"),
    ] {
        assert_eq!(problem(&json.to_string()), problem_of_it);
    }
}

#[test]
fn escaped_text_is_read_as_it_was_meant() {
    let vm = format!(
        r#"{{"\u0075uid":"{VM}","alias":"\u00fcber \"x\"","backups":{{"{}":{{"comment":"a\nb"}}}}}}"#,
        BACKUP.replace('b', r"\u0062")
    );
    let vm = read_vm(vm.as_bytes()).unwrap();
    assert_eq!(vm.alias, "über \"x\"");
    assert_eq!(vm.backups.get(BACKUP.parse().unwrap()).unwrap().comment.as_deref(), Some("a\nb"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
        Just(Value::from(BACKUP)),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((any_key(), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "uuid",
        "alias",
        "backups",
        "config",
        "datasets",
        "metadata",
        "parent",
        "local",
        "files",
        "size",
        "sha1",
        "timestamp",
        BACKUP,
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn any_value_in_a_vms_field_is_read_or_named(key in any_key(), value in any_json()) {
        let vm = vm_with(&key, value);
        match read_vm(vm.to_string().as_bytes()) {
            Ok(read) => {
                prop_assert_eq!(&vm["uuid"], &Value::from(read.id.to_string()));
                prop_assert_eq!(read.backups.len(), vm["backups"].as_object().map_or(0, serde_json::Map::len));
            }
            Err(unreadable) => prop_assert!(unreadable.problems.iter().all(|problem| problem.starts_with(&key))),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read_vm(&bytes).is_err());
    }

    #[test]
    fn any_value_in_a_backups_field_is_read_or_named(key in any_key(), value in any_json()) {
        let vm = vm_with("backups", json!({ BACKUP: { &key: &value } }));
        match read_vm(vm.to_string().as_bytes()) {
            Ok(vm) => prop_assert_eq!(vm.backups.len(), 1),
            Err(unreadable) => {
                let path = format!("backups.{BACKUP}.{key}");
                prop_assert!(unreadable.problems.iter().all(|problem| problem.starts_with(&path)));
            }
        }
    }
}
