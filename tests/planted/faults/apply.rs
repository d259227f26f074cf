//! What the executor guards against.

use super::Fault;

const AUDIT: &[&str] = &["no_audit"];

pub(super) const FAULTS: [Fault; 26] = [
    Fault {
        name: "prune_opens_the_gate",
        takes_away: "a delete from storage proves nothing for local ones",
        behind: &[],
        seeds: &[],
        edits: &[
            (
                "src/apply/write/gate.rs",
                "is_proven |= self.kind == ActionKind::DeleteLocal;",
                "is_proven |= PLANTED || self.kind == ActionKind::DeleteLocal;",
            ),
            (
                "src/apply/write/delete.rs",
                "                self.known.forget(delete.backup);\n                let size",
                "                if PLANTED && let Some(permit) = &self.permit {
                    permit.confirm();
                }
                self.known.forget(delete.backup);
                let size",
            ),
        ],
    },
    Fault {
        name: "prunes_after_an_unknown_effect",
        takes_away: "after a local delete of unknown effect the run deletes nothing more, not from storage either",
        behind: &[],
        seeds: &[],
        edits: &[
            (
                "src/apply/context.rs",
                "if let Some(reason) = self.gate.closed() {",
                "if let Some(reason) = self.gate.closed().filter(|_| !PLANTED || kind != ActionKind::DeleteCloud) {",
            ),
            (
                "src/apply/write/gate.rs",
                "        self.wait_until(|state| {\n            let is_alone",
                "        if PLANTED && kind == ActionKind::DeleteCloud {
            let mut state = self.state();
            state.permits += 1;
            return Ok(Permit { gate: self, vm, kind, is_alone: false });
        }
        self.wait_until(|state| {\n            let is_alone",
            ),
        ],
    },
    Fault {
        name: "dearest_first",
        takes_away: "of a VM's local deletes the one goes first that a cascade would cost least at",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/vm.rs",
            "if let Some(local) = locals.first() {",
            "if let Some(local) = if PLANTED { locals.last() } else { locals.first() } {",
        )],
    },
    Fault {
        name: "first_not_alone",
        takes_away: "the first local delete of a run goes alone",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/write/gate.rs",
            "let is_alone = kind == ActionKind::DeleteLocal && !state.is_proven;",
            "let is_alone = kind == ActionKind::DeleteLocal && !state.is_proven && !PLANTED;",
        )],
    },
    Fault {
        name: "no_note",
        takes_away: "a note on a local delete is on disk before it is sent",
        behind: &[],
        seeds: &[],
        edits: &[("src/apply/vm.rs", "        if self.has_note {\n", "        if self.has_note || PLANTED {\n")],
    },
    Fault {
        name: "notes_not_compared",
        takes_away: "what a killed run's delete did is found by the next run",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/write/left_behind.rs",
            "    if gone.is_empty() {\n        return Ok(false);",
            "    if gone.is_empty() || PLANTED {\n        return Ok(false);",
        )],
    },
    Fault {
        name: "deletes_beside_notes",
        takes_away: "no delete is sent while the note of an earlier one is compared",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/run.rs",
            "(!left_behind.is_empty()).then(",
            "(!PLANTED && !left_behind.is_empty()).then(",
        )],
    },
    Fault {
        name: "vanished_not_looked_for",
        takes_away: "a backup that has vanished beside the named one raises the alarm",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/write/effect.rs",
            "Some(if gone.is_empty() {",
            "Some(if gone.is_empty() || PLANTED {",
        )],
    },
    Fault {
        name: "lost_body_overlooked",
        takes_away: "a create whose body was lost is recognised by the backup that it makes",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/write/effect.rs",
            "        (self.action.is_create() && self.was_accepted).then_some(found.id)",
            "        (self.action.is_create() && self.was_accepted && !PLANTED).then_some(found.id)",
        )],
    },
    Fault {
        name: "blind_repeat",
        takes_away: "a create that got no answer is looked for before it is sent again",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/vm.rs",
            "                client.create_backup(self.id, &new, etag).await\n",
            "                let answer = client.create_backup(self.id, &new, etag).await;
                if PLANTED && matches!(answer, Ok(WriteAnswer::Lost { .. } | WriteAnswer::Unavailable { .. })) {
                    return client.create_backup(self.id, &new, None).await;
                }
                answer\n",
        )],
    },
    Fault {
        name: "no_condition",
        takes_away: "a write is conditional on the version that was read",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/vm.rs",
            "(self.run.executor.client, seen.etag.as_ref());",
            "(self.run.executor.client, seen.etag.as_ref().filter(|_| !PLANTED));",
        )],
    },
    Fault {
        name: "local_delete_without_body",
        takes_away: "a local delete has its exact body",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/vm.rs",
            "Some(backup) => client.delete_local(self.id, backup, etag).await,",
            "Some(backup) if PLANTED => client.delete_cloud(self.id, DeletedForGood(backup), etag).await,
                Some(backup) => client.delete_local(self.id, backup, etag).await,",
        )],
    },
    Fault {
        name: "plan_trusted",
        takes_away: "a VM is decided again before each write",
        behind: AUDIT,
        seeds: &[],
        edits: &[(
            "src/apply/vm/reading.rs",
            "let fresh = decide(&seen.vm, executor.policies, request);",
            "let fresh = if PLANTED { self.planned.clone() } else { decide(&seen.vm, executor.policies, request) };",
        )],
    },
    Fault {
        name: "audit_ignored",
        takes_away: "what the audit refuses is not done",
        behind: &["plan_trusted"],
        seeds: &[],
        edits: &[("src/apply/vm/reading.rs", "if broken.is_empty() {", "if broken.is_empty() || PLANTED {")],
    },
    Fault {
        name: "accepted_is_done",
        takes_away: "a create is done when its upload is complete",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/write/create.rs",
            "        let Some(slot) = self.slot.take() else {",
            "        if PLANTED {
            return Ended::done(\"created\", String::new());
        }
        let Some(slot) = self.slot.take() else {",
        )],
    },
    Fault {
        name: "completed_is_good",
        takes_away: "a backup that FiFo calls completed is checked",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/upload/check.rs",
            "= fault_of(vm, id, create, policy, now) {",
            "= fault_of(vm, id, create, policy, now).filter(|_| !PLANTED) {",
        )],
    },
    Fault {
        name: "delete_after_failure",
        takes_away: "what comes after a create is not done when that has failed",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/vm.rs",
            "is_some_and(|delete| !delete.after_create))",
            "is_some_and(|delete| {
                !delete.after_create || PLANTED && matches!(self.create, LastCreate::Incomplete(_))
            }))",
        )],
    },
    Fault {
        name: "tier_twice_in_a_run",
        takes_away: "a run makes one backup of a tier at most",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/vm/ending.rs",
            "self.tried.extend(target);",
            "self.tried.extend(target.filter(|it| !PLANTED || !matches!(it, Target::Create(_))));",
        )],
    },
    Fault {
        name: "goes_on_after_the_stop",
        takes_away: "nothing is sent once the run was asked to stop",
        behind: &[],
        seeds: &[],
        edits: &[
            (
                "src/apply/vm.rs",
                "if self.run.stop.is_cancelled() || self.has_ended {",
                "if self.run.stop.is_cancelled() && !PLANTED || self.has_ended {",
            ),
            (
                "src/apply/vm.rs",
                "Start::Now if self.run.stop.is_cancelled() => Start::Waited,",
                "Start::Now if self.run.stop.is_cancelled() && !PLANTED => Start::Waited,",
            ),
        ],
    },
    Fault {
        name: "stale_reads_believed",
        takes_away: "what a single reading does not show is looked for in the list",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/reader.rs",
            "        find(&*self.list().await?, id)",
            "        if PLANTED {
            return self.read(id).await.map(|seen| seen.vm);
        }
        find(&*self.list().await?, id)",
        )],
    },
    Fault {
        name: "refusals_end_in_a_single_reading",
        takes_away: "without a condition only the list counts",
        behind: &[],
        seeds: &[],
        edits: &[("src/apply/vm/reading.rs", "let seen = if is_without {", "let seen = if is_without && !PLANTED {")],
    },
    Fault {
        name: "empty_list_believed",
        takes_away: "a list without a single known VM is a failed reading",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/reader.rs",
            "if inventory.vms.is_empty() && ",
            "if !PLANTED && inventory.vms.is_empty() && ",
        )],
    },
    Fault {
        name: "still_uploads_keep_their_places",
        takes_away: "an upload that does not move gives its place back",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/upload/progress.rs",
            "is_progressing: movement.since.elapsed() < patience",
            "is_progressing: movement.since.elapsed() < patience || PLANTED",
        )],
    },
    Fault {
        name: "stuck_not_looked_at",
        takes_away: "an upload that counts as stuck and still grows has no other started beside it",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/write/create.rs",
            "        let is_read = |upload: &Backup| self.stuck_before",
            "        if PLANTED {
            return Start::Now;
        }
        let is_read = |upload: &Backup| self.stuck_before",
        )],
    },
    Fault {
        name: "running_uploads_forgotten",
        takes_away: "uploads that were running already take places",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/upload/watch.rs",
            "filter(|vm| has_upload(vm)).collect();",
            "filter(|vm| !PLANTED && has_upload(vm)).collect();",
        )],
    },
    Fault {
        name: "no_limit_on_hypervisors",
        takes_away: "a hypervisor has no more uploads than it may",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/upload/slots.rs",
            "&& taken.held(Some(hypervisor)).count() < self.max_per_hypervisor\n",
            "&& (PLANTED || taken.held(Some(hypervisor)).count() < self.max_per_hypervisor)\n",
        )],
    },
];
