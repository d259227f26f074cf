//! Recorded streams through the program, and, where there is ZFS, made and restored ones.

use crate::cloud::{Cloud, found};
use crate::streams::{RECORDED_VM, recorded, recorded_backup};

/// A cloud with the recorded chain of three.
pub(crate) fn recorded_cloud() -> Cloud {
    let cloud = Cloud::new();
    for number in 1..=3 {
        let backup = recorded_backup(number);
        let parent = (number > 1).then(|| recorded_backup(number - 1));
        cloud.backup(RECORDED_VM, &backup, parent.as_deref(), &[("", recorded(&backup))]);
    }
    cloud
}

#[test]
fn a_recorded_chain_is_proven_to_connect_and_to_be_whole() {
    let cloud = recorded_cloud();
    for depth in ["headers", "full"] {
        let (code, report) = cloud.verify(&["--depth", depth]);
        assert_eq!((code, found(&report)), (0, (vec![], vec![])), "{report:#}");
    }
    // Two of its steps in each other's place.
    cloud.put(&format!("{RECORDED_VM}/{}", recorded_backup(2)), &recorded(&recorded_backup(3)));
    let (code, report) = cloud.verify(&[]);
    let (findings, lost) = found(&report);
    assert_eq!((code, lost.len()), (2, 2), "{report:#}");
    assert!(
        findings.iter().any(|it| it.starts_with("name")) && findings.iter().any(|it| it.starts_with("link"))
    );
}
