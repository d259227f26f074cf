//! What comes from outside: policy files, VM lists, saved plans, profiles and answers, the worst of them kept.
//!
//! `fuzz/README.md` describes how the corpus is made.

mod checks;

use checks::{CHECKS, Check};
use proptest::prelude::*;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

/// Reads the kept inputs of one target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(File::open(root().join("fuzz/corpus.tar")).unwrap());
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if entry.header().entry_type().is_file() && path.parent() == Some(&Path::new("corpus").join(target)) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            found.push((path.display().to_string(), bytes));
        }
    }
    assert!(!found.is_empty(), "{target}");
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Feeds an input; a failure names it.
fn feed(name: &str, bytes: &[u8], check: Check) {
    assert!(std::panic::catch_unwind(|| check(bytes)).is_ok(), "{name} does not pass");
}

#[test]
fn the_kept_corpus_passes() {
    for (name, check) in CHECKS {
        corpus(name).iter().for_each(|(name, bytes)| feed(name, bytes, check));
    }
}

#[test]
fn every_policy_file_of_the_project_passes() {
    for folder in ["policies", "tests/policies_broken"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                feed(&path.display().to_string(), &fs::read(&path).unwrap(), checks::policy_file);
            }
        }
    }
}

/// Something of the corpus with a few bytes changed, taken out or put in.
fn damaged(name: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let corpus: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..3_u8);
    (prop::sample::select(corpus), prop::collection::vec(change, 1..6)).prop_map(|(mut bytes, changes)| {
        for (place, byte, how) in changes {
            if bytes.is_empty() {
                bytes.push(byte);
            }
            let place = place.index(bytes.len());
            match how {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => drop(bytes.remove(place)),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_policy_file_passes(bytes in damaged("policy_file")) {
        checks::policy_file(&bytes);
    }

    #[test]
    fn a_damaged_vm_list_passes(bytes in damaged("vm_list")) {
        checks::vm_list(&bytes);
    }

    #[test]
    fn a_damaged_plan_passes(bytes in damaged("saved_plan")) {
        checks::saved_plan(&bytes);
    }

    #[test]
    fn a_damaged_profile_passes(bytes in damaged("profile")) {
        checks::profile(&bytes);
    }

    #[test]
    fn a_damaged_answer_passes(bytes in damaged("answer")) {
        checks::answer(&bytes);
    }

    #[test]
    fn anything_passes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for (_, check) in CHECKS {
            check(&bytes);
        }
    }
}
