//! The references under `docs/` name everything there is.

use crate::harness::{AT, Fifo, Folder, GRANDFATHER};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn doc(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// Returns what stands under a heading.
fn section<'a>(doc: &'a str, heading: &str) -> &'a str {
    let begin = doc.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let rest = &doc[begin + 4..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

#[test]
fn every_field_of_a_policy_is_in_its_reference_with_its_default() {
    let doc = doc("policy-file.md");
    let schema: Value = serde_json::from_str(&Folder::new().run(&["schema"]).code(0).out).unwrap();
    for (heading, part) in [
        ("The policy", ""),
        ("Tiers", "/$defs/Tier"),
        ("Selectors", "/$defs/Selector"),
        ("Retry", "/$defs/Retry"),
        ("Suspend", "/$defs/Suspend"),
    ] {
        let section = section(&doc, heading);
        let fields = schema.pointer(part).unwrap()["properties"].as_object().unwrap();
        let is_field = |line: &&str| line.starts_with("| `") || line.starts_with("- `");
        let rows: Vec<&str> = section.lines().filter(is_field).collect();
        for (name, field) in fields {
            let row = rows.iter().find(|row| row[2..].starts_with(&format!("`{name}`")));
            let row = row.unwrap_or_else(|| panic!("`{name}` is not under {heading}"));
            if let Some(default) = field.get("default") {
                let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
                assert!(row.contains(&format!("(default `{default}`)")), "the default of `{name}`: {row}");
            }
        }
        assert_eq!(rows.len(), fields.len(), "{heading} has a field that is none");
    }
}

#[test]
fn the_policy_of_the_reference_is_good_and_has_every_field() {
    let doc = doc("policy-file.md");
    let text = section(&doc, "The whole of it");
    let yaml = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = Folder::new();
    folder.write("policies/grandfather.yaml", yaml);
    assert_eq!(folder.run(&["validate"]).code(0).out.lines().last(), Some("1 policy in 1 file, no mistakes"));
    let schema: Value = serde_json::from_str(&folder.run(&["schema"]).code(0).out).unwrap();
    for part in ["", "/$defs/Tier", "/$defs/Retry", "/$defs/Suspend"] {
        for name in schema.pointer(part).unwrap()["properties"].as_object().unwrap().keys() {
            assert!(yaml.contains(&format!("{name}:")), "{name}");
        }
    }
}

/// Collects the names of all fields, at any depth.
fn names(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                into.insert(name.clone());
                names(value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, into)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_json_is_in_its_reference() {
    let doc = doc("json.md");
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let output = |heading: &str, out: &str| {
        let value: Value = serde_json::from_str(out).unwrap();
        let format = value["format"].as_str().unwrap();
        let section = section(&doc, &format!("{heading}: `{format}`"));
        let mut found = BTreeSet::new();
        names(&value, &mut found);
        for name in found.iter().filter(|name| *name != "format") {
            let is_there = section.contains(&format!("`{name}`"))
                || section.contains(&format!(".{name}`"))
                || section.contains(&format!("`{name}[]"));
            assert!(is_there, "`{name}` is not under {heading}");
        }
        assert!(found.len() > 5);
    };
    output("Status", &folder.ask(&fifo, &["--format", "json", "status", "--at", AT]).code(0).out);
    output("Check", &folder.ask(&fifo, &["--format", "json", "check"]).code(1).out);
    let days = ["--format", "json", "simulate", "--from", AT, "--days", "2", "--against", "policies"];
    output("Simulation", &folder.run(&days).code(0).out);
    output("Show", &folder.ask(&fifo, &["--format", "json", "show", "*", "--at", AT]).code(0).out);
    folder.write("policies/grandfather.yaml", &GRANDFATHER.replace("timezone", "timezoen"));
    output("Validate", &folder.run(&["--format", "json", "validate"]).code(1).out);
    for file in ["schema/plan.json", "schema/event.json", "../policies/policy.schema.json"] {
        assert!(doc.contains(&format!("]({file})")), "{file} is not named");
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file).is_file(),
            "{file} is not there"
        );
    }
}
