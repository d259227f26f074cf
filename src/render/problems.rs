//! What needs attention after a run, in words.

use super::cells::visible;
use super::text::status::age_text;
use crate::apply::{ActionKind, ActionOutcome};
use crate::insight::status::{BackupHealth, VmHealth, advice};
use crate::inventory::VmId;
use crate::plan::NoteCode;
use crate::run::{RunFailure, RunSummary};
use serde::Serialize;

/// Something that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What kind of thing.
    pub code: ProblemCode,
    /// The VM, where it is about one whose UUID is known.
    pub vm: Option<VmId>,
    /// The VM's alias, where it is about one.
    pub alias: Option<String>,
    /// The whole of it, for people.
    pub message: String,
    /// What to do about it, where there is something to say.
    pub advice: Option<String>,
}

/// The kinds of [`Problem`], most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// Backups vanished after a local delete.
    CascadeAlarm,
    /// The run failed as a whole.
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
}

/// Lists what somebody should look at, most urgent first.
pub(super) fn problems(summary: &RunSummary) -> Vec<Problem> {
    let mut problems: Vec<Problem> = summary.failure.iter().map(failure_problem).collect();
    if let Some(report) = &summary.report {
        problems.extend(report.alarms.iter().map(|alarm| Problem {
            code: ProblemCode::CascadeAlarm,
            vm: Some(alarm.at.vm),
            alias: Some(alarm.at.alias.clone()),
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

fn failure_problem(failure: &RunFailure) -> Problem {
    Problem {
        code: ProblemCode::RunFailed,
        vm: None,
        alias: None,
        message: failure_text(failure),
        advice: failure.hint.as_deref().map(visible),
    }
}

/// Writes why a run failed as a whole, in a line.
pub(super) fn failure_text(failure: &RunFailure) -> String {
    visible(&failure.causes.join(": "))
}

/// Lists what is wrong with VMs, in their order.
pub(super) fn vm_problems(vms: &[VmHealth]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for vm in vms {
        let told = |code: NoteCode| vm.notes.iter().find(|note| note.code == code);
        let mut add = |code, message: String, note: Option<NoteCode>| {
            problems.push(Problem {
                code,
                vm: vm.uuid,
                alias: Some(vm.alias.clone()),
                message,
                advice: note.and_then(advice).map(str::to_owned),
            });
        };
        let message_of = |code, otherwise: &str| {
            told(code).map_or_else(|| otherwise.to_owned(), |note| visible(&note.message))
        };
        if told(NoteCode::InternalError).is_some() {
            let message = message_of(NoteCode::InternalError, "left out by a fault of this program");
            add(ProblemCode::InternalError, message, Some(NoteCode::InternalError));
        }
        let why = WHY_NOT.into_iter().find_map(|code| told(code).map(|note| (code, visible(&note.message))));
        let because = why.as_ref().map_or_else(String::new, |(_, message)| format!(": {message}"));
        match vm.verdict {
            BackupHealth::Safe | BackupHealth::Unprotected => {
                if told(NoteCode::GaveUp).is_some() {
                    add(ProblemCode::GaveUp, message_of(NoteCode::GaveUp, "gave up"), Some(NoteCode::GaveUp));
                }
            }
            BackupHealth::Unreadable => {
                let message = message_of(NoteCode::Unreadable, "could not be read whole");
                add(ProblemCode::Unreadable, message, Some(NoteCode::Unreadable));
            }
            BackupHealth::Conflict => {
                let message = message_of(NoteCode::PolicyConflict, "several policies claim it");
                add(ProblemCode::Conflict, message, Some(NoteCode::PolicyConflict));
            }
            BackupHealth::NoBackup => {
                let message = format!("no backup can be restored{because}");
                add(ProblemCode::NoBackup, message, why.map(|(code, _)| code));
            }
            BackupHealth::TooOld => {
                let age = vm.newest.as_ref().map_or_else(String::new, |newest| age_text(newest.age_secs));
                let max = vm.max_age_secs.map_or_else(String::new, age_text);
                let message =
                    format!("the newest restorable backup is {age} old, and {max} are allowed{because}");
                add(ProblemCode::TooOld, message, why.map(|(code, _)| code));
            }
        }
    }
    problems
}

/// What may explain that a VM has no backup that is young enough, the likeliest first.
const WHY_NOT: [NoteCode; 10] = [
    NoteCode::Suspended,
    NoteCode::NoHypervisor,
    NoteCode::DelegatedDatasets,
    NoteCode::VmState,
    NoteCode::GaveUp,
    NoteCode::RetryLater,
    NoteCode::Unverified,
    NoteCode::Stuck,
    NoteCode::InProgress,
    NoteCode::Hollow,
];
