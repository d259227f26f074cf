use crate::cloud::Cloud;
use crate::harness::{AT, Fifo, Folder, GRANDFATHER};
use jsonschema::Validator;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// What is printed, and the file that holds it in the repository.
const SCHEMAS: [(&str, &str); 3] = [
    ("policy", "policies/policy.schema.json"),
    ("plan", "docs/schema/plan.json"),
    ("event", "docs/schema/event.json"),
];

fn validator(of: &str) -> Validator {
    let schema: Value = serde_json::from_str(&Folder::new().run(&["schema", of]).code(0).out).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
fn assert_valid(validator: &Validator, document: &Value) {
    let wrong: Vec<String> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{}\n{document:#}", wrong.join("\n"));
}

/// `UPDATE_GOLDEN=1` writes the files anew, to be read before they are committed; where `CI` is set it does not.
#[test]
fn the_files_in_the_repository_hold_what_is_printed() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some() && std::env::var_os("CI").is_none();
    for (of, file) in SCHEMAS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let printed = Folder::new().run(&["schema", of]).code(0).out;
        if update {
            fs::write(&path, &printed).unwrap();
        }
        similar_asserts::assert_eq!(fs::read_to_string(&path).unwrap_or_default(), printed, "{file}");
    }
}

#[test]
fn a_policy_is_what_is_meant_when_nothing_is_named() {
    let folder = Folder::new();
    assert_eq!(folder.run(&["schema"]).code(0).out, folder.run(&["schema", "policy"]).code(0).out);
    folder.run(&["schema", "cat"]).code(64);
    folder.run(&["--format", "markdown", "schema"]).code(64);
}

#[test]
fn every_example_names_the_schema_that_lies_beside_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            let named =
                text.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=").unwrap();
            assert!(folder.join(named).is_file(), "{path:?} names {named}");
        }
    }
}

#[test]
fn plans_are_as_their_schema_says() {
    let schema = validator("plan");
    let fifo = Fifo::standing_still();
    let folder = Folder::new();
    let with_suspension =
        format!("{GRANDFATHER}suspend: {{ reason: move, until: 2026-12-24, vms: web-1 }}\n");
    for policy in [GRANDFATHER, &with_suspension] {
        folder.write("policies/grandfather.yaml", policy);
        for at in [AT, "2026-12-01T12:00:00Z", "2027-03-01T00:00:00Z"] {
            let out = folder.ask(&fifo, &["--format", "json", "plan", "--at", at]).code(0).out;
            let plan: Value = serde_json::from_str(&out).unwrap();
            assert!(plan["vms"].as_array().unwrap().len() > 10);
            assert_valid(&schema, &plan);
        }
    }
    let mut strange: Value =
        serde_json::from_str(&folder.ask(&fifo, &["--format", "json", "plan", "--at", AT]).out).unwrap();
    strange["vms"][0]["strange"] = true.into();
    assert!(!schema.is_valid(&strange));
    strange["vms"][0].as_object_mut().unwrap().remove("strange");
    assert!(schema.is_valid(&strange));
    strange.as_object_mut().unwrap().remove("valid_until");
    assert!(!schema.is_valid(&strange), "what is always written is required");
}

#[test]
fn events_are_as_their_schema_says() {
    let schema = validator("event");
    let cloud = Cloud::of(3, 50);
    let out = cloud.folder.ask(&cloud.fifo, &["--format", "json", "reconcile"]).code(0).out;
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"started"), Some(&"finished")));
    assert!(kinds.contains(&"action_ended"), "{kinds:?}");
    for event in &events {
        assert_valid(&schema, event);
    }
    let mut strange = events[0].clone();
    strange["strange"] = 1.into();
    assert!(!schema.is_valid(&strange));
    strange.as_object_mut().unwrap().retain(|key, _| key == "time");
    assert!(!schema.is_valid(&strange), "a line without an event is none");
}
