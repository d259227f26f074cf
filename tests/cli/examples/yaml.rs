//! YAML as plain values.

use crate::shell::repository;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Reads all documents of an example.
pub(crate) fn documents(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(repository("examples").join(name)).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Reads an example of one document.
pub(crate) fn document(name: &str) -> Value {
    documents(name).pop().unwrap()
}

/// Returns the texts of a map, numbers and truths as they are written.
pub(crate) fn texts(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), text(value))).collect()
}

/// Returns a scalar as text.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns the texts of a list, or of one text.
pub(crate) fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().map(text).collect(),
        one => vec![text(one)],
    }
}

#[test]
fn every_yaml_in_the_examples_is_good() {
    let mut folders = vec![repository("examples")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let is_yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
            if path.is_dir() {
                folders.push(path);
            } else if is_yaml {
                let name = path.strip_prefix(repository("examples")).unwrap();
                assert!(!documents(name.to_str().unwrap()).is_empty(), "{}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "{seen} files");
}

#[test]
fn every_example_is_reported_in_the_readme() {
    let readme = fs::read_to_string(repository("examples/README.md")).unwrap();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(repository("examples").join(&folder)).unwrap() {
            let path: PathBuf = folder.join(entry.unwrap().file_name());
            if repository("examples").join(&path).is_dir() {
                folders.push(path);
            } else if path != Path::new("README.md") {
                let link = format!("]({})", path.display());
                assert!(readme.contains(&link), "examples/README.md does not lead to {}", path.display());
            }
        }
    }
}
