//! What the rules guard against. The audit would refuse most of these plans.

use super::Fault;

const AUDIT: &[&str] = &["no_audit"];

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "failed_as_parent",
        "a parent must be restorable",
        &[(
            "src/plan/parent.rs",
            "view.restorable().rev().find(|candidate| {",
            "view.not_future_dated().filter(|it| it.is_restorable() || PLANTED).rev().find(|candidate| {",
        )],
    )
    .behind(AUDIT),
    Fault::new(
        "hollow_is_good",
        "a completed backup with next to nothing in it is a failed one",
        &[(
            "src/plan/standing.rs",
            "    is_no_stream || is_small_full\n",
            "    (is_no_stream || is_small_full) && !PLANTED\n",
        )],
    )
    .behind(AUDIT),
    Fault::new(
        "unverified_is_completed",
        "a completed backup without a checksum, where another one has it, counts as in progress for a while",
        &[(
            "src/plan/standing.rs",
            "RecordedState::Completed if tells_files && !is_overdue",
            "RecordedState::Completed if !PLANTED && tells_files && !is_overdue",
        )],
    )
    .behind(AUDIT),
    Fault::new(
        "parent_of_running_forgotten",
        "the parent of a running upload stays local",
        &[(
            "src/plan/keep.rs",
            "backup.backup.parent.and_then(|parent| view.vm.backups.position(parent))",
            "backup.backup.parent.filter(|_| !PLANTED).and_then(|it| view.vm.backups.position(it))",
        )],
    )
    .behind(AUDIT),
    Fault::new(
        "only_copy_forgotten",
        "the only copy of a failed upload's moment stays local",
        &[(
            "src/plan/keep.rs",
            "        enter(&mut keeps, backup.position, Keep::OnlyCopy);",
            "        if !PLANTED {\n            enter(&mut keeps, backup.position, Keep::OnlyCopy);\n        }",
        )],
    )
    .behind(AUDIT),
];
