//! What deletes from storage are guarded by.

use super::Fault;

const PLAN_AND_RECORDS: &[&str] = &["no_audit", "no_look_at_records"];

pub(super) const FAULTS: [Fault; 8] = [
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
        name: "no_look_at_records",
        takes_away: "what the records alone say against a delete from storage, whatever the plan says",
        behind: &["parents_first", "no_audit"],
        seeds: &[],
        edits: &[(
            "src/apply/write/delete.rs",
            "    let why = if vm.hypervisor.is_none() {",
            "    if PLANTED {\n        return None;\n    }\n    let why = if vm.hypervisor.is_none() {",
        )],
    },
    Fault {
        name: "lost_answer_is_done",
        takes_away: "a delete from storage that got no answer is looked for before the parent goes",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/vm.rs",
            "        let confirmed = self.confirm(&sent, within).await;",
            "        let confirmed = match action {
            Action::DeleteCloud(delete) if PLANTED => super::write::confirm::Confirmed::Seen(delete.backup),
            _ => self.confirm(&sent, within).await,
        };",
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
                "    if !view.prune.is_requested {",
                "    if !view.prune.is_requested && !PLANTED {",
            ),
            (
                "src/apply/write/delete.rs",
                "        if !(policy.prune && self.run.executor.settings.prune.is_requested) {",
                "        if !(policy.prune && self.run.executor.settings.prune.is_requested) && !PLANTED {",
            ),
        ],
    },
    Fault {
        name: "prunes_before_the_create",
        takes_away: "nothing is deleted from storage while a create is due",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/vm.rs",
            "            return self.may_go(create).then(|| create.clone());",
            "            if !PLANTED || self.may_go(create) {
                return self.may_go(create).then(|| create.clone());
            }",
        )],
    },
];
