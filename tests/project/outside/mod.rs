//! What comes from outside: policy files, VM lists, saved plans, profiles and answers, the worst of them kept.
//!
//! `fuzz/README.md` describes how the corpus is made.

mod checks;

use checks::{CHECKS, Check};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Feeds a file; a failure names it.
fn feed(path: &Path, check: Check) {
    let bytes = fs::read(path).unwrap();
    if std::panic::catch_unwind(|| check(&bytes)).is_err() {
        panic!("{} does not pass", path.display());
    }
}

#[test]
fn the_kept_corpus_passes() {
    for (name, check) in CHECKS {
        files(&format!("tests/project/outside/corpus/{name}")).iter().for_each(|path| feed(path, check));
    }
}

#[test]
fn every_policy_file_of_the_project_passes() {
    for folder in ["policies", "tests/policies_broken"] {
        files(folder).iter().for_each(|path| feed(path, checks::policy_file));
    }
}

/// Something of the corpus with a few bytes changed, taken out or put in.
fn damaged(name: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let corpus: Vec<Vec<u8>> = files(&format!("tests/project/outside/corpus/{name}"))
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect();
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
