//! EventKind the executor guards against.

use super::Fault;

const AUDIT: &[&str] = &["no_audit"];

pub(super) const FAULTS: [Fault; 21] = [
    Fault {
        name: "accepted_is_done",
        takes_away: "a create is done when its upload is complete",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/create.rs",
            "        if !self.context.executor.settings.wait {\n",
            "        if PLANTED {
            return Ok(StepSuccess { backup, kind: SuccessKind::Complete { bytes: None, lacks: None } });
        }
        if !self.context.executor.settings.wait {\n",
        )],
    },
    Fault {
        name: "completed_is_good",
        takes_away: "a backup that FiFo calls completed is checked",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/upload.rs",
            "    if backup.parent != create.parent {\n",
            "    if PLANTED {\n        return None;\n    }\n    if backup.parent != create.parent {\n",
        )],
    },
    Fault {
        name: "delete_after_failure",
        takes_away: "what comes after a create is not done when that has failed, neither by its order nor by a new decision",
        behind: AUDIT,
        seeds: &[],
        edits: &[
            (
                "src/apply/vm_run.rs",
                "let is_due = self.completed.is_some() || !delete.after_create;",
                "let is_due = self.completed.is_some() || !delete.after_create || PLANTED;",
            ),
            (
                "src/apply/local_delete.rs",
                "if !fresh.due_actions().iter().any(is_wanted) {",
                "if !fresh.due_actions().iter().any(is_wanted) && !PLANTED {",
            ),
        ],
    },
    Fault {
        name: "blind_repeat",
        takes_away: "a create that got no answer is looked for before it is sent again",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/create.rs",
            "        worker.context.executor.client.create_backup(worker.id, &self.new, seen.etag.as_ref()).await",
            "        let client = worker.context.executor.client;
        let answer = client.create_backup(worker.id, &self.new, seen.etag.as_ref()).await;
        if PLANTED && matches!(answer, Ok(WriteAnswer::Lost { .. } | WriteAnswer::Unavailable { .. })) {
            return client.create_backup(worker.id, &self.new, None).await;
        }
        answer",
        )],
    },
    Fault {
        name: "stale_reads_believed",
        takes_away: "what a single reading does not show is looked for in the list",
        behind: &[],
        seeds: &[84],
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
        name: "plan_trusted",
        takes_away: "a VM is read and decided again before anything is done",
        behind: AUDIT,
        seeds: &[],
        edits: &[
            (
                "src/apply/worker.rs",
                "if !self.compared && !self.is_as_planned(vm) {",
                "if !self.compared && !self.is_as_planned(vm) && !PLANTED {",
            ),
            (
                "src/apply/worker.rs",
                "        let fresh = decide(&seen.vm, executor.policies, now);",
                "        if PLANTED {
            return Ok(self.planned.clone());
        }
        let fresh = decide(&seen.vm, executor.policies, now);",
            ),
        ],
    },
    Fault {
        name: "no_canary",
        takes_away: "the first local delete goes alone",
        behind: &[],
        seeds: &[17],
        edits: &[("src/apply/canary.rs", "if state.is_open {", "if state.is_open || PLANTED {")],
    },
    Fault {
        name: "vanished_is_deleted",
        takes_away: "a backup that has vanished raises the alarm",
        behind: &[],
        seeds: &[15],
        edits: &[(
            "src/apply/cascade_guard.rs",
            "        self.on_record.iter().copied().filter(|id| !vm.backups.contains(*id) && !may_go(*id)).collect()",
            "        let is_missing = |id: &BackupId| !PLANTED && !vm.backups.contains(*id) && !may_go(*id);
        self.on_record.iter().copied().filter(is_missing).collect()",
        )],
    },
    Fault {
        name: "before_taken_anew",
        takes_away: "what was there before a delete was first sent must be there after all of its attempts",
        behind: &["no_patience"],
        seeds: &[84],
        edits: &[(
            "src/apply/write_loop.rs",
            "            let seen = self.read_vm_before_write(",
            "            if PLANTED {
                self.guard = None;
            }
            let seen = self.read_vm_before_write(",
        )],
    },
    Fault {
        name: "delete_without_condition",
        takes_away: "a local delete is conditional on the version that was read",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/local_delete.rs",
            "let etag = seen.etag.as_ref();",
            "let etag = seen.etag.as_ref().filter(|_| !PLANTED);",
        )],
    },
    Fault {
        name: "refusals_end_in_a_single_reading",
        takes_away: "without a condition only the list counts",
        behind: &[],
        seeds: &[2211, 4825],
        edits: &[(
            "src/apply/worker.rs",
            "        let vm = self.read_in_list().await?;
        self.compare(&vm)?;",
            "        if PLANTED {
            return Ok(VmReading { etag: None, ..self.read_vm().await? });
        }
        let vm = self.read_in_list().await?;
        self.compare(&vm)?;",
        )],
    },
    Fault {
        name: "creates_after_the_stop",
        takes_away: "no create is sent once the run was asked to stop",
        behind: &[],
        seeds: &[],
        edits: &[(
            "src/apply/write_loop.rs",
            "            if self.is_stopped() {",
            "            if self.is_stopped() && !PLANTED {",
        )],
    },
    Fault {
        name: "any_new_backup_is_ours",
        takes_away: "a new backup is ours only with our comment",
        behind: &[],
        seeds: &[375],
        edits: &[
            (
                "src/apply/search.rs",
                ".filter(|backup| backup.comment.as_deref() == Some(create.comment.as_str()))",
                ".filter(|backup| PLANTED || backup.comment.as_deref() == Some(create.comment.as_str()))",
            ),
            (
                "src/apply/upload.rs",
                "if found != Some(create.comment.as_str()) || tier != Some(create.tier.as_str()) {",
                "if !PLANTED && (found != Some(create.comment.as_str()) || tier != Some(create.tier.as_str())) {",
            ),
        ],
    },
    Fault {
        name: "parent_unchecked",
        takes_away: "a new backup has the parent that was asked for",
        behind: &[],
        seeds: &[266],
        edits: &[(
            "src/apply/upload.rs",
            "if backup.parent != create.parent {",
            "if backup.parent != create.parent && !PLANTED {",
        )],
    },
    Fault {
        name: "remnant_is_done",
        takes_away: "what was deleted while it uploaded is not done",
        behind: &[],
        seeds: &[305],
        edits: &[(
            "src/apply/upload.rs",
            "return Some(BackupFault::NoTimestamp);",
            "if PLANTED {
            return None;
        }
        return Some(BackupFault::NoTimestamp);",
        )],
    },
    Fault {
        name: "empty_list_believed",
        takes_away: "a list without a single known VM is a failed reading",
        behind: &[],
        seeds: &[154],
        edits: &[(
            "src/apply/reader.rs",
            "if inventory.vms.is_empty() && ",
            "if !PLANTED && inventory.vms.is_empty() && ",
        )],
    },
    Fault {
        name: "uploads_in_no_policy_not_counted",
        takes_away: "uploads of VMs in no policy take places",
        behind: &[],
        seeds: &[134],
        edits: &[(
            "src/apply/background.rs",
            "        Match::Unprotected | Match::Conflict(_) => STUCK_AFTER_DEFAULT,",
            "        Match::Unprotected | Match::Conflict(_) if PLANTED => return Vec::new(),
        Match::Unprotected | Match::Conflict(_) => STUCK_AFTER_DEFAULT,",
        )],
    },
    Fault {
        name: "still_uploads_keep_their_places",
        takes_away: "an upload that does not move gives its place back",
        behind: &[],
        seeds: &[579],
        edits: &[(
            "src/apply/progress.rs",
            "is_progressing: movement.since.elapsed() < patience",
            "is_progressing: movement.since.elapsed() < patience || PLANTED",
        )],
    },
    Fault {
        name: "stuck_not_looked_at",
        takes_away: "an upload that counts as stuck and still grows has no other started beside it",
        behind: &[],
        seeds: &[163],
        edits: &[(
            "src/apply/stuck.rs",
            "if self.has_checked_stuck || ",
            "if PLANTED || self.has_checked_stuck || ",
        )],
    },
    Fault {
        name: "running_uploads_forgotten",
        takes_away: "uploads that were running already take places",
        behind: &[],
        seeds: &[111],
        edits: &[(
            "src/apply/background.rs",
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
            "src/apply/slots.rs",
            "&& taken.held(Some(hypervisor)).count() < self.max_per_hypervisor\n",
            "&& (PLANTED || taken.held(Some(hypervisor)).count() < self.max_per_hypervisor)\n",
        )],
    },
];
