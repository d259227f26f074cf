//! What deletes from storage are guarded by.

use super::Fault;

const PLAN_AND_RECORDS: &[&str] = &["no_audit", "no_look_at_records"];

pub(super) const FAULTS: [Fault; 9] = [
    Fault {
        name: "parents_first",
        takes_away: "of a chain that has expired the last one goes first",
        behind: PLAN_AND_RECORDS,
        seeds: &[],
        edits: &[(
            "src/plan/prune.rs",
            "    let mut ordered = Vec::new();
    while let Some(Reverse((_, _, id))) = ready.pop() {",
            "    let mut ordered = Vec::new();
    if PLANTED {
        ordered.extend(by_position.iter().flatten().copied());
        ordered.sort_by_key(|backup| (backup.taken, backup.id()));
        return ordered;
    }
    while let Some(Reverse((_, _, id))) = ready.pop() {",
        )],
    },
    Fault {
        name: "unmanaged_descendants_forgotten",
        takes_away: "what an unmanaged backup descends from stays stored",
        behind: PLAN_AND_RECORDS,
        seeds: &[],
        edits: &[(
            "src/plan/keep.rs",
            "            backup.tier.is_none().then_some(Keep::Unmanaged)",
            "            (backup.tier.is_none() && !PLANTED).then_some(Keep::Unmanaged)",
        )],
    },
    Fault {
        name: "failed_ones_are_kept_too",
        takes_away: "`keep` counts only what can be restored",
        behind: PLAN_AND_RECORDS,
        seeds: &[],
        edits: &[(
            "src/plan/keep.rs",
            "    view.restorable().rev().filter(move |backup|",
            "    let counted = view.not_future_dated().filter(|it| it.restorable || PLANTED);
    counted.rev().filter(move |backup|",
        )],
    },
    Fault {
        name: "prunes_while_stalled",
        takes_away: "nothing is deleted from storage while no new backups come",
        behind: PLAN_AND_RECORDS,
        seeds: &[31],
        edits: &[(
            "src/plan/prune.rs",
            "    (!view.newest_restorable().is_some_and(is_recent)).then_some(",
            "    (!view.newest_restorable().is_some_and(is_recent) && !PLANTED).then_some(",
        )],
    },
    Fault {
        name: "children_meanwhile_overlooked",
        takes_away: "before each delete from storage it is looked whether something descends from the backup by now",
        behind: &[],
        seeds: &[2932],
        edits: &[(
            "src/apply/cloud_delete.rs",
            "        match worker.reason_to_keep(seen, backup)? {",
            "        match worker.reason_to_keep(seen, backup)?.filter(|_| !PLANTED) {",
        )],
    },
    Fault {
        name: "lost_answer_is_done",
        takes_away: "a delete from storage that got no answer is looked for before the parent goes",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/cloud_delete.rs",
            "        self.may_be_done = true;",
            "        if PLANTED {
            return Ok(Some(self.done()));
        }
        self.may_be_done = true;",
        )],
    },
    Fault {
        name: "no_look_at_the_others",
        takes_away: "after a delete from storage it is looked what else is gone",
        behind: &[],
        seeds: &[283],
        edits: &[(
            "src/apply/cascade_guard.rs",
            "        let may_go = |id| match self.is_strict {",
            "        if PLANTED && self.sent.iter().all(|(kind, _)| *kind == DeleteKind::DeleteCloud) {
            return BTreeSet::new();
        }
        let may_go = |id| match self.is_strict {",
        )],
    },
    Fault {
        name: "prunes_unasked",
        takes_away: "nothing is deleted from storage unless the command says so",
        behind: PLAN_AND_RECORDS,
        seeds: &[],
        edits: &[
            (
                "src/plan/prune.rs",
                "        Prune::OnRequest => return Some(PruneHold::NotRequested),",
                "        Prune::OnRequest if !PLANTED => return Some(PruneHold::NotRequested),
        Prune::OnRequest => {}",
            ),
            (
                "src/apply/cloud_delete.rs",
                "        if policy.prune != Prune::Requested {",
                "        if policy.prune != Prune::Requested && !PLANTED {",
            ),
        ],
    },
    Fault {
        name: "prunes_beside_the_new_backup",
        takes_away: "old backups stay until the new one is complete, and by the records until a newer one is",
        behind: PLAN_AND_RECORDS,
        seeds: &[],
        edits: &[
            (
                "src/apply/vm_run.rs",
                "        let is_due = self.planned_create().is_none() || self.completed.is_some();",
                "        let is_due = self.planned_create().is_none() || self.completed.is_some() || PLANTED;",
            ),
            (
                "src/apply/cloud_delete.rs",
                "        let is_expired = self.decide_again(seen)?.due_actions().iter().any(is_listed);",
                "        let is_expired = self.decide_again(seen)?.due_actions().iter().any(is_listed) || PLANTED;",
            ),
        ],
    },
];
