//! What is said of a run: a line, what needs attention, and the notification, short enough for a chat or a mail.

use super::escape::{cut, visible};
use super::notes::likeliest_cause;
use super::words::{action_text, age_text, counts_text, vm_name};
use crate::apply::{ActionOutcome, ActionReport, RunCounts, RunReport};
use crate::insight::status::{BackupHealth, Health, VmHealth};
use crate::inventory::VmId;
use crate::plan::{Note, NoteCode, TOOL};
use crate::report::RunSummary;
use chrono::{DateTime, Utc};
use serde::Serialize;

pub const FORMAT: &str = "fifo-retain.notification/1";

const PROBLEMS_MAX: usize = 50;
/// How many characters of a message are sent. Lists of hundreds of UUIDs are useless in a chat.
const MESSAGE_CHARS_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub code: ProblemCode,
    pub vm: Option<VmId>,
    pub alias: Option<String>,
    pub message: String,
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
    Conflict,
    NoBackup,
    /// A VM's newest restorable backup is older than its policy allows.
    TooOld,
    /// The attempts at a VM's backup were given up for now.
    GaveUp,
    /// Too many backups of a VM would be deleted from storage at once, and none is.
    OverPruneLimit,
}

impl Problem {
    /// Makes one; `at` names the VM that it is about.
    fn new(code: ProblemCode, at: Option<(Option<VmId>, &str)>, message: &str, advice: Option<&str>) -> Self {
        let (vm, alias) = at.map_or((None, None), |(vm, alias)| (vm, Some(alias.to_owned())));
        Self { code, vm, alias, message: visible(message), advice: advice.map(visible) }
    }
}

/// Lists what needs attention after a run, most urgent first.
fn problems(run: &RunSummary) -> Vec<Problem> {
    let mut problems = run_problems(run);
    problems.extend(run.overview.iter().flat_map(|health| health.vms.iter().flat_map(vm_problems)));
    problems.sort_by_key(|problem| problem.code);
    problems
}

fn run_problems(run: &RunSummary) -> Vec<Problem> {
    let failure = run.failure.as_ref().map(|failure| {
        Problem::new(ProblemCode::RunFailed, None, &failure.causes.join(": "), failure.hint.as_deref())
    });
    let reports = || run.report.iter();
    let alarms = reports().flat_map(|report| &report.alarms).map(|alarm| {
        let at = Some((Some(alarm.vm), alarm.alias.as_str()));
        Problem::new(ProblemCode::CascadeAlarm, at, &alarm.to_string(), None)
    });
    let steps =
        reports().flat_map(|report| &report.vms).flat_map(|vm| vm.steps.iter().map(move |step| (vm, step)));
    let failed = steps.filter(|(_, step)| is_failed(step)).map(|(vm, step)| {
        let message = format!("{}: {}", action_text(step.kind), step.message);
        Problem::new(ProblemCode::ActionFailed, Some((Some(vm.at.vm), &vm.at.alias)), &message, None)
    });
    failure.into_iter().chain(alarms).chain(failed).collect()
}

/// Says whether an action failed, or no reading has shown that it happened.
pub(super) fn is_failed(step: &ActionReport) -> bool {
    matches!(step.ending, ActionOutcome::Failed | ActionOutcome::Unverified)
}

fn vm_problems(vm: &VmHealth) -> impl Iterator<Item = Problem> {
    let of_vm = |code, message: &str, note: Option<&Note>| {
        Problem::new(code, Some((vm.uuid, &vm.alias)), message, note.and_then(|note| note.advice))
    };
    let noted = |note: NoteCode, code| {
        let note = vm.notes.iter().find(|it| it.code == note)?;
        Some(of_vm(code, &note.to_string(), Some(note)))
    };
    let with_cause = |code, message: String| {
        let cause = likeliest_cause(vm);
        let because = cause.map_or_else(String::new, |note| format!(": {note}"));
        Some(of_vm(code, &format!("{message}{because}"), cause))
    };
    let (unreadable, conflict) = ("could not be read completely", "several policies claim it");
    let of_health = match vm.verdict {
        BackupHealth::Safe | BackupHealth::Unprotected => noted(NoteCode::GaveUp, ProblemCode::GaveUp),
        BackupHealth::Unreadable => noted(NoteCode::Unreadable, ProblemCode::Unreadable)
            .or_else(|| Some(of_vm(ProblemCode::Unreadable, unreadable, None))),
        BackupHealth::Conflict => noted(NoteCode::PolicyConflict, ProblemCode::Conflict)
            .or_else(|| Some(of_vm(ProblemCode::Conflict, conflict, None))),
        BackupHealth::NoBackup => with_cause(ProblemCode::NoBackup, "no backup can be restored".to_owned()),
        BackupHealth::TooOld => {
            let age = vm.newest.as_ref().map_or_else(String::new, |newest| age_text(newest.age_secs));
            let max = vm.max_age_secs.map_or_else(String::new, age_text);
            let message = format!("the newest restorable backup is {age} old, and {max} are allowed");
            with_cause(ProblemCode::TooOld, message)
        }
    };
    let fault = noted(NoteCode::InternalError, ProblemCode::InternalError);
    let over_limit = noted(NoteCode::OverPruneLimit, ProblemCode::OverPruneLimit);
    [fault, of_health, over_limit].into_iter().flatten()
}

/// Returns a line with the result of a run: `reconcile: done (exit code 0). Done: 2 created, 0 deleted locally.`
pub fn summary(run: &RunSummary) -> String {
    let mut text = format!("{}: {} (exit code {}).", run.command, run.exit.word(), run.exit.code());
    if let Some(failure) = &run.failure {
        text.push_str(&format!(" {}", visible(&failure.causes.join(": "))));
    } else if let Some(report) = &run.report {
        text.push_str(&format!(" {}", counts_text(&report.tally())));
    }
    if let Some(count) = run.refused_deletes.filter(|count| *count > 0) {
        text.push_str(&format!(" Too many deletes from storage at once: {count}."));
    }
    text
}

/// Returns the summary and the problems as lines, for monitors that show the last lines of a failure.
pub fn lines(run: &RunSummary, bytes_max: usize) -> String {
    let mut text = cut(&summary(run), MESSAGE_CHARS_MAX);
    for problem in problems(run) {
        // A failure is in the summary already.
        let Some(alias) = &problem.alias else { continue };
        let (name, message) = (vm_name(alias, problem.vm), cut(&problem.message, MESSAGE_CHARS_MAX));
        let line = format!("\n{}", visible(&format!("{name}: {message}")));
        if text.len() + line.len() > bytes_max {
            text.push_str("\n…");
            break;
        }
        text.push_str(&line);
    }
    text
}

#[derive(Serialize)]
struct Notification<'a> {
    format: &'static str,
    tool: &'static str,
    command: &'static str,
    endpoint: Option<&'a str>,
    began: DateTime<Utc>,
    ended: DateTime<Utc>,
    outcome: &'static str,
    exit_code: u8,
    text: String,
    actions: Option<RunCounts>,
    vms: Option<Vms>,
    problems: Vec<Problem>,
    more_problems: usize,
}

#[derive(Serialize)]
pub(super) struct Vms {
    pub(super) safe: usize,
    pub(super) too_old: usize,
    pub(super) no_backup: usize,
    pub(super) conflict: usize,
    pub(super) unreadable: usize,
    pub(super) unprotected: usize,
}

impl Vms {
    pub(super) fn of(health: &Health) -> Self {
        let count = |verdict| health.vms.iter().filter(|vm| vm.verdict == verdict).count();
        Self {
            safe: count(BackupHealth::Safe),
            too_old: count(BackupHealth::TooOld),
            no_backup: count(BackupHealth::NoBackup),
            conflict: count(BackupHealth::Conflict),
            unreadable: count(BackupHealth::Unreadable),
            unprotected: count(BackupHealth::Unprotected),
        }
    }
}

pub fn notification(run: &RunSummary) -> Result<Vec<u8>, serde_json::Error> {
    let mut problems = problems(run);
    let more_problems = problems.len().saturating_sub(PROBLEMS_MAX);
    problems.truncate(PROBLEMS_MAX);
    for problem in &mut problems {
        problem.message = cut(&problem.message, MESSAGE_CHARS_MAX);
        problem.alias = problem.alias.as_deref().map(|alias| cut(alias, MESSAGE_CHARS_MAX));
    }
    serde_json::to_vec(&Notification {
        format: FORMAT,
        tool: TOOL,
        command: run.command,
        endpoint: run.endpoint.as_deref(),
        began: run.began,
        ended: run.ended,
        outcome: run.exit.word(),
        exit_code: run.exit.code(),
        text: cut(&summary(run), MESSAGE_CHARS_MAX),
        actions: run.report.as_ref().map(RunReport::tally),
        vms: run.overview.as_ref().map(Vms::of),
        problems,
        more_problems,
    })
}
