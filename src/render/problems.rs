//! What needs attention after a run, in words.

use super::cells::visible;
use super::text::status::age_text;
use super::wording::wording;
use crate::apply::{ActionKind, ActionOutcome};
use crate::insight::status::{BackupHealth, VmHealth};
use crate::inventory::VmId;
use crate::plan::{Note, NoteCode};
use crate::run::{Failure, RunSummary};
use serde::Serialize;

/// Something that needs attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub code: ProblemCode,
    /// The VM, where it is about one whose UUID is known.
    pub vm: Option<VmId>,
    /// The VM's alias, where it is about one.
    pub alias: Option<String>,
    /// The full message, for people.
    pub message: String,
    /// The next step, if there is one.
    pub advice: Option<String>,
}

/// The kinds of [`Problem`], most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// A safety stop: backups vanished after a delete, and were to stay.
    CascadeAlarm,
    RunFailed,
    /// An action failed, or no reading has shown that it happened.
    ActionFailed,
    /// A VM is left out because of a fault of this program.
    InternalError,
    /// A VM could not be read whole.
    Unreadable,
    /// Several policies claim a VM.
    Conflict,
    /// A VM has no restorable backup.
    NoBackup,
    /// A VM's newest restorable backup is older than its policy allows.
    TooOld,
    /// The attempts at a VM's backup were given up for now.
    GaveUp,
    /// Too many backups of a VM would be deleted from storage at once, and none is.
    OverPruneLimit,
}

/// Lists what needs attention, most urgent first.
pub(super) fn problems(summary: &RunSummary) -> Vec<Problem> {
    let mut problems: Vec<Problem> = summary.failure.iter().map(failure_problem).collect();
    if let Some(report) = &summary.report {
        problems.extend(report.alarms.iter().map(|alarm| Problem {
            code: ProblemCode::CascadeAlarm,
            vm: Some(alarm.vm),
            alias: Some(alarm.alias.clone()),
            message: visible(&alarm.to_string()),
            advice: None,
        }));
        let steps = report.vms.iter().flat_map(|vm| vm.steps.iter().map(move |step| (vm, step)));
        problems.extend(
            steps
                .filter(|(_, step)| matches!(step.ending, ActionOutcome::Failed | ActionOutcome::Unverified))
                .map(|(vm, step)| {
                    let what = match step.kind {
                        ActionKind::Create => "create",
                        ActionKind::DeleteLocal => "local delete",
                        ActionKind::DeleteCloud => "delete from storage",
                    };
                    Problem {
                        code: ProblemCode::ActionFailed,
                        vm: Some(vm.at.vm),
                        alias: Some(vm.at.alias.clone()),
                        message: format!("{what}: {}", visible(&step.message)),
                        advice: None,
                    }
                }),
        );
    }
    problems.extend(summary.overview.iter().flat_map(|overview| vm_problems(&overview.health.vms)));
    problems.sort_by_key(|problem| problem.code);
    problems
}

fn failure_problem(failure: &Failure) -> Problem {
    Problem {
        code: ProblemCode::RunFailed,
        vm: None,
        alias: None,
        message: failure_text(failure),
        advice: failure.hint.as_deref().map(visible),
    }
}

/// Writes why a run failed as a whole, in a line.
pub(super) fn failure_text(failure: &Failure) -> String {
    visible(&failure.text())
}

/// Lists what is wrong with VMs, in their order.
pub(super) fn vm_problems(vms: &[VmHealth]) -> Vec<Problem> {
    let of_vm = |vm| {
        let fault = noted(vm, NoteCode::InternalError, ProblemCode::InternalError);
        let over_limit = noted(vm, NoteCode::OverPruneLimit, ProblemCode::OverPruneLimit);
        fault.into_iter().chain(health_problem(vm)).chain(over_limit)
    };
    vms.iter().flat_map(of_vm).collect()
}

fn health_problem(vm: &VmHealth) -> Option<Problem> {
    let noted_or = |note, code, otherwise: &str| {
        noted(vm, note, code).unwrap_or_else(|| problem(vm, code, otherwise.to_owned(), None))
    };
    match vm.verdict {
        BackupHealth::Safe | BackupHealth::Unprotected => noted(vm, NoteCode::GaveUp, ProblemCode::GaveUp),
        BackupHealth::Unreadable => {
            Some(noted_or(NoteCode::Unreadable, ProblemCode::Unreadable, "could not be read completely"))
        }
        BackupHealth::Conflict => {
            Some(noted_or(NoteCode::PolicyConflict, ProblemCode::Conflict, "several policies claim it"))
        }
        BackupHealth::NoBackup => Some(with_cause(vm, ProblemCode::NoBackup, "no backup can be restored")),
        BackupHealth::TooOld => {
            let age = vm.newest.as_ref().map_or_else(String::new, |newest| age_text(newest.age_secs));
            let max = vm.max_age_secs.map_or_else(String::new, age_text);
            let message = format!("the newest restorable backup is {age} old, and {max} are allowed");
            Some(with_cause(vm, ProblemCode::TooOld, &message))
        }
    }
}

/// Returns the problem that the first note with a code is; `None` where the VM has no such note.
fn noted(vm: &VmHealth, note: NoteCode, code: ProblemCode) -> Option<Problem> {
    let note = vm.notes.iter().find(|it| it.code == note)?;
    Some(problem(vm, code, visible(&note.to_string()), Some(note)))
}

/// Returns a problem with the likeliest of the notes that may be its cause.
fn with_cause(vm: &VmHealth, code: ProblemCode, message: &str) -> Problem {
    let causes = vm.notes.iter().filter_map(|note| Some((wording(note).cause_rank?, note)));
    let cause = causes.min_by_key(|(rank, _)| *rank).map(|(_, note)| note);
    let because = cause.map_or_else(String::new, |note| format!(": {}", visible(&note.to_string())));
    problem(vm, code, format!("{message}{because}"), cause)
}

fn problem(vm: &VmHealth, code: ProblemCode, message: String, note: Option<&Note>) -> Problem {
    Problem {
        code,
        vm: vm.uuid,
        alias: Some(vm.alias.clone()),
        message,
        advice: note.and_then(|note| note.advice).map(str::to_owned),
    }
}
