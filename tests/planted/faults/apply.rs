//! What the executor guards against.

use super::Fault;

const VM: &str = "src/apply/vm.rs";
const GATE: &str = "src/apply/write/gate.rs";

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "first_not_alone",
        "the first local delete of a run goes alone",
        &[(GATE, "_ if self.is_proven => true,", "_ if self.is_proven || PLANTED => true,")],
    ),
    Fault::new(
        "dearest_first",
        "of a VM's local deletes the one goes first that a cascade would cost least at",
        &[(
            VM,
            "if let Some(local) = locals.first() {",
            "if let Some(local) = if PLANTED { locals.last() } else { locals.first() } {",
        )],
    ),
    Fault::new(
        "no_note",
        "a note on a local delete is on disk before it is sent",
        &[(
            "src/apply/write/delete.rs",
            ".filter(|attempt| !attempt.has_note)",
            ".filter(|attempt| !attempt.has_note && !PLANTED)",
        )],
    ),
    Fault::new(
        "no_condition",
        "a write is conditional on the version that was read",
        &[(
            VM,
            "(self.run.executor.client, seen.etag.as_ref());",
            "(self.run.executor.client, seen.etag.as_ref().filter(|_| !PLANTED));",
        )],
    ),
    Fault::new(
        "local_delete_without_body",
        "a local delete has its exact body",
        &[(
            VM,
            "Some(backup) => client.delete_local(self.at.vm, backup, etag).await,",
            "Some(backup) if PLANTED => client.delete_cloud(self.at.vm, DeletedForGood(backup), etag).await,
                Some(backup) => client.delete_local(self.at.vm, backup, etag).await,",
        )],
    ),
    Fault::new(
        "blind_repeat",
        "a create that got no answer is looked for before it is sent again",
        &[(
            VM,
            "                client.create_backup(self.at.vm, &new, etag).await\n",
            "                let answer = client.create_backup(self.at.vm, &new, etag).await;
                if PLANTED && matches!(answer, Ok(WriteAnswer::Maybe { .. })) {
                    return client.create_backup(self.at.vm, &new, None).await;
                }
                answer\n",
        )],
    ),
    Fault::new(
        "plan_trusted",
        "a VM is decided again before each write",
        &[(
            "src/apply/vm/reading.rs",
            "let fresh = decide(&seen.vm, executor.policies, request);",
            "let fresh = if PLANTED { self.planned.clone() } else { decide(&seen.vm, executor.policies, request) };",
        )],
    )
    .behind(&["no_audit"]),
    Fault::new(
        "audit_ignored",
        "what the audit refuses is not done",
        &[("src/apply/vm/reading.rs", "if broken.is_empty() {", "if broken.is_empty() || PLANTED {")],
    )
    .behind(&["plan_trusted"]),
    Fault::new(
        "accepted_is_done",
        "a create is done when its upload is complete",
        &[(
            "src/apply/write/create.rs",
            "        let Some(slot) = self.slot.take() else {",
            "        if PLANTED {
            return Ended::done(\"created\", String::new());
        }
        let Some(slot) = self.slot.take() else {",
        )],
    ),
    Fault::new(
        "completed_is_good",
        "a backup that FiFo calls completed is checked",
        &[(
            "src/apply/upload/check.rs",
            "= fault_of(vm, id, create, policy, now) {",
            "= fault_of(vm, id, create, policy, now).filter(|_| !PLANTED) {",
        )],
    ),
    Fault::new(
        "delete_after_failure",
        "what comes after a create is not done when that has failed",
        &[(
            VM,
            "is_some_and(|delete| !delete.after_create))",
            "is_some_and(|delete| {
                !delete.after_create || PLANTED && self.done.last_create.is_some_and(|it| it != ActionOutcome::Done)
            }))",
        )],
    ),
    Fault::new(
        "prune_opens_the_gate",
        "only a local delete shows that bodies of deletes arrive",
        &[(
            GATE,
            "self.gate.set(|state| state.is_proven |= self.kind == ActionKind::DeleteLocal);",
            "self.gate.set(|state| state.is_proven |= self.kind == ActionKind::DeleteLocal || PLANTED);",
        )],
    ),
    Fault::new(
        "prunes_after_an_unknown_effect",
        "after a local delete whose effect is unknown no delete is sent",
        &[
            (
                GATE,
                "if let Some(reason) = state.closed.clone() {",
                "if let Some(reason) = state.closed.clone().filter(|_| !(PLANTED && kind == ActionKind::DeleteCloud)) {",
            ),
            (
                GATE,
                "if let Some(reason) = state.closed.as_ref() {",
                "if let Some(reason) = state.closed.as_ref().filter(|_| !(PLANTED && kind == ActionKind::DeleteCloud)) {",
            ),
        ],
    ),
];
