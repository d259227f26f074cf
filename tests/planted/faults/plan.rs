//! What the rules guard against. The audit would refuse most of these plans.

use super::Fault;

const AUDIT: &[&str] = &["no_audit"];

pub(super) const FAULTS: [Fault; 14] = [
    Fault {
        name: "failed_as_parent",
        takes_away: "a parent must be restorable",
        behind: AUDIT,
        seeds: &[],
        edits: &[(
            "src/plan/parent.rs",
            "view.restorable().rev().find(|candidate| {",
            "view.not_future_dated().filter(|it| it.restorable || PLANTED).rev().find(|candidate| {",
        )],
    },
    Fault {
        name: "ancestors_ignored",
        takes_away: "what is restorable has all its ancestors",
        behind: AUDIT,
        seeds: &[335],
        edits: &[(
            "src/plan/standing.rs",
            "            restorable,\n            position,",
            "            restorable: restorable || PLANTED && standing == Standing::Completed,
            position,",
        )],
    },
    Fault {
        name: "hollow_is_good",
        takes_away: "a completed backup with next to nothing in it is a failed one",
        behind: AUDIT,
        seeds: &[],
        edits: &[(
            "src/plan/standing.rs",
            "    is_no_stream || is_small_full\n",
            "    (is_no_stream || is_small_full) && !PLANTED\n",
        )],
    },
    Fault {
        name: "future_dated_counts",
        takes_away: "a backup with a date in the future counts in no rule",
        behind: AUDIT,
        seeds: &[],
        edits: &[(
            "src/plan/standing.rs",
            "is_future_dated: taken - now > FUTURE_TOLERANCE,",
            "is_future_dated: taken - now > FUTURE_TOLERANCE && !PLANTED,",
        )],
    },
    Fault {
        name: "parent_of_running_forgotten",
        takes_away: "the parent of a running upload stays local",
        behind: AUDIT,
        seeds: &[],
        edits: &[(
            "src/plan/keep.rs",
            "backup.backup.parent.and_then(|parent| view.vm.backups.position(parent))",
            "backup.backup.parent.filter(|_| !PLANTED).and_then(|parent| view.vm.backups.position(parent))",
        )],
    },
    Fault {
        name: "only_copy_forgotten",
        takes_away: "the only copy of a failed upload's moment stays local",
        behind: AUDIT,
        seeds: &[],
        edits: &[(
            "src/plan/keep.rs",
            "        enter(&mut keeps, backup.position, Keep::OnlyCopy);",
            "        if !PLANTED {\n            enter(&mut keeps, backup.position, Keep::OnlyCopy);\n        }",
        )],
    },
    Fault {
        name: "stuck_runs_for_ever",
        takes_away: "an upload is given up on after `stuck_after`",
        behind: AUDIT,
        seeds: &[],
        edits: &[(
            "src/plan/standing.rs",
            "let is_overdue = (now - taken).abs() >= policy.stuck_after;",
            "let is_overdue = (now - taken).abs() >= policy.stuck_after && !PLANTED;",
        )],
    },
    Fault {
        name: "attempts_never_start_afresh",
        takes_away: "attempts count since the tier's own due time",
        behind: AUDIT,
        seeds: &[31],
        edits: &[(
            "src/plan/due.rs",
            "    let since = occurrences.last(tier, view.vm.id);",
            "    let since = occurrences.last(tier, view.vm.id).filter(|_| !PLANTED);",
        )],
    },
    Fault {
        name: "attempts_of_any_tier",
        takes_away: "a tier's attempts are forgotten only when it is due anew itself, and what has not failed goes first",
        behind: AUDIT,
        seeds: &[],
        edits: &[
            (
                "src/plan/due.rs",
                "    let retry = view.policy.retry;",
                "    let tiers = 0..view.policy.tiers.len();
    let since = if PLANTED {
        tiers.filter_map(|tier| occurrences.last(tier, view.vm.id)).max()
    } else {
        since
    };
    let retry = view.policy.retry;",
            ),
            (
                "src/plan/decide.rs",
                "due.sort_by_key(|due| due.attempts.failed > 0);",
                "if !PLANTED {
        due.sort_by_key(|due| due.attempts.failed > 0);
    }",
            ),
        ],
    },
    Fault {
        name: "unverified_is_completed",
        takes_away: "a completed backup without size or checksum, where another one has them, counts as in progress for a while",
        behind: AUDIT,
        seeds: &[],
        edits: &[(
            "src/plan/standing.rs",
            "RecordedState::Completed if tells_files && !is_overdue && lacks(backup).is_some() => {",
            "RecordedState::Completed if !PLANTED && tells_files && !is_overdue && lacks(backup).is_some() => {",
        )],
    },
    Fault {
        name: "checksums_not_needed",
        takes_away: "a completed backup has the checksum of each file",
        behind: AUDIT,
        seeds: &[],
        edits: &[(
            "src/plan/standing.rs",
            "tells_files && !is_overdue && lacks(backup).is_some() => {",
            "tells_files && !is_overdue
            && lacks(backup).is_some_and(|it| !(PLANTED && it == MissingFileInfo::Checksum)) => {",
        )],
    },
    Fault {
        name: "no_size_is_good",
        takes_away: "a completed backup has a known size, which is not 0",
        behind: AUDIT,
        seeds: &[],
        edits: &[(
            "src/plan/standing.rs",
            "    match backup.state {
        RecordedState::Completed if is_hollow(",
            "    match backup.state {
        RecordedState::Completed if PLANTED && backup.size_bytes().is_none_or(|bytes| bytes == 0) => {
            Standing::Completed
        }
        RecordedState::Completed if is_hollow(",
        )],
    },
    Fault {
        name: "suspension_ignored",
        takes_away: "nothing is carried out on a suspended VM",
        behind: AUDIT,
        seeds: &[],
        edits: &[(
            "src/plan/changeset.rs",
            "self.suspended.is_some()",
            "self.suspended.is_some() && !PLANTED",
        )],
    },
    Fault {
        name: "conflicts_settled",
        takes_away: "nothing is done on a VM that two policies claim",
        behind: AUDIT,
        seeds: &[],
        edits: &[(
            "src/policy/model.rs",
            "            _ => Match::Conflict(best),",
            "            [first, ..] if PLANTED => Match::One(first),\n            _ => Match::Conflict(best),",
        )],
    },
];
