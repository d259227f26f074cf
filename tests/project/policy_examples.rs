//! The policies that come with the program are good, and say what their README says.

use fifo_retain::policy::{TierKind, load};
use std::fs;
use std::path::Path;

#[test]
fn every_example_is_without_mistake_and_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let loaded = load(&[folder]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(loaded.warnings, []);
    let names: Vec<&str> = loaded.policies.iter().map(|policy| &*policy.name).collect();
    assert_eq!(names, ["daily-full", "databases", "differential", "grandfather"]);
}

#[test]
fn every_example_is_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    for policy in load(&[folder]).unwrap().policies.iter() {
        let file = Path::new(&policy.source.file).file_name().unwrap().to_str().unwrap();
        assert_eq!(file, format!("{}.yaml", policy.name));
        assert!(readme.contains(&format!("]({file})")), "{file} is not in the table");
        assert!(readme.contains(&format!("\n## {}\n", policy.name)), "{} has no section", policy.name);
    }
}

#[test]
fn no_chain_of_the_differential_example_is_longer_than_three() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/differential.yaml");
    let policies = load(&[folder]).unwrap().policies;
    let mut lengths: Vec<usize> = Vec::new();
    for (index, tier) in policies.iter().next().unwrap().tiers.iter().enumerate() {
        lengths.push(match &tier.kind {
            TierKind::Full => 1,
            TierKind::Incremental { from } => {
                assert!(
                    !from.contains(&index),
                    "a tier that is taken from itself makes chains of any length"
                );
                1 + from.iter().map(|&it| lengths[it]).max().unwrap()
            }
        });
    }
    assert_eq!(lengths, [1, 2, 3]);
}
