//! The notification about a run that has ended: a summary as JSON, short enough for a chat or a mail.

use super::problems::{Problem, failure_text, problems};
use crate::apply::{RunCounts, RunReport};
use crate::insight::status::{BackupHealth, Health};
use crate::plan::TOOL;
use crate::run::RunSummary;
use chrono::{DateTime, Utc};
use serde::Serialize;

/// The format of this version's notifications.
pub const FORMAT: &str = "fifo-retain.notification/1";

/// How many problems are listed; the others are counted.
const PROBLEMS_MAX: usize = 50;
/// How many characters of a message are sent. Lists of hundreds of UUIDs are useless in a chat.
const MESSAGE_CHARS_MAX: usize = 1_000;

#[derive(Serialize)]
struct Notification<'a> {
    format: &'static str,
    tool: &'static str,
    command: &'static str,
    endpoint: Option<&'a str>,
    began: DateTime<Utc>,
    ended: Option<DateTime<Utc>>,
    outcome: Option<&'static str>,
    exit_code: Option<u8>,
    text: String,
    actions: Option<RunCounts>,
    vms: Option<Vms>,
    problems: Vec<Problem>,
    more_problems: usize,
}

/// How many VMs have each verdict.
#[derive(Serialize)]
struct Vms {
    safe: usize,
    too_old: usize,
    no_backup: usize,
    conflict: usize,
    unreadable: usize,
    unprotected: usize,
}

impl Vms {
    fn of(health: &Health) -> Self {
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

/// Writes the summary of a run as JSON.
///
/// # Errors
///
/// None in practice: all of it can be written as JSON.
pub fn json(run: &RunSummary) -> Result<Vec<u8>, serde_json::Error> {
    let mut problems = problems(run);
    let more_problems = problems.len().saturating_sub(PROBLEMS_MAX);
    problems.truncate(PROBLEMS_MAX);
    for problem in &mut problems {
        problem.message = shortened(&problem.message, MESSAGE_CHARS_MAX);
        problem.alias = problem.alias.as_deref().map(|alias| shortened(alias, MESSAGE_CHARS_MAX));
    }
    serde_json::to_vec(&Notification {
        format: FORMAT,
        tool: TOOL,
        command: run.command,
        endpoint: run.endpoint.as_deref(),
        began: run.began,
        ended: run.ended.map(|ended| ended.at),
        outcome: run.ended.map(|ended| ended.exit.word()),
        exit_code: run.ended.map(|ended| ended.exit.code()),
        text: shortened(&summary(run), MESSAGE_CHARS_MAX),
        actions: run.report.as_ref().map(RunReport::tally),
        vms: run.overview.as_ref().map(|overview| Vms::of(&overview.health)),
        problems,
        more_problems,
    })
}

/// Returns a line with the result of a run: `reconcile: done (exit code 0). Done: 2 created, 0 deleted locally.`
pub fn summary(run: &RunSummary) -> String {
    let ended = run.ended.map_or_else(
        || "under way".to_owned(),
        |it| format!("{} (exit code {})", it.exit.word(), it.exit.code()),
    );
    let mut text = format!("{}: {ended}.", run.command);
    if let Some(failure) = &run.failure {
        text.push_str(&format!(" {}", failure_text(failure)));
    } else if let Some(report) = &run.report {
        text.push_str(&format!(" {}", super::counts_text(&report.tally())));
    }
    if run.refused_deletes > 0 {
        text.push_str(&format!(" Too many deletes from storage at once: {}.", run.refused_deletes));
    }
    text
}

/// Returns the summary and the problems as lines, for monitors that show the last lines of a failure.
pub fn lines(run: &RunSummary, bytes_max: usize) -> String {
    let mut text = shortened(&summary(run), MESSAGE_CHARS_MAX);
    for problem in problems(run) {
        // A failure is in the summary already.
        let Some(alias) = &problem.alias else { continue };
        let line = format!("\n{}: {}", super::visible(alias), shortened(&problem.message, MESSAGE_CHARS_MAX));
        if text.len() + line.len() > bytes_max {
            text.push_str("\n…");
            break;
        }
        text.push_str(&line);
    }
    text
}

/// Cuts a text that is too long, and shows that it is cut.
fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::Overview;
    use crate::insight::status::VmHealth;
    use crate::plan::SnapshotUsage;
    use crate::run::{Exit, Failure, RunEnd};
    use std::sync::Arc;

    fn failed(cause: &str) -> RunSummary {
        let at = "2026-11-22T20:00:00Z".parse().unwrap();
        RunSummary {
            failure: Some(Failure::new(cause)),
            ended: Some(RunEnd { at, exit: Exit::Failed }),
            ..RunSummary::new("reconcile", at)
        }
    }

    #[test]
    fn a_run_that_came_to_nothing_says_why_and_invents_nothing() {
        let payload: serde_json::Value =
            serde_json::from_slice(&json(&failed("could not read \u{1b}[2J it")).unwrap()).unwrap();
        assert_eq!(payload["format"], FORMAT);
        assert_eq!((&payload["outcome"], &payload["exit_code"]), (&"failed".into(), &1.into()));
        assert_eq!(payload["text"], "reconcile: failed (exit code 1). could not read \\u{1b}[2J it");
        assert_eq!(payload["problems"][0]["code"], "run_failed");
        assert!(
            payload["vms"].is_null() && payload["actions"].is_null() && payload["endpoint"].is_null(),
            "{payload}"
        );
    }

    #[test]
    fn beyond_fifty_problems_the_others_are_counted() {
        let vm = VmHealth {
            uuid: None,
            alias: "web".repeat(1_000),
            policy: None,
            verdict: BackupHealth::NoBackup,
            is_suspended: false,
            newest: None,
            max_age_secs: None,
            local: SnapshotUsage::default(),
            unmanaged: SnapshotUsage::default(),
            next_due: Arc::default(),
            gaps: Box::default(),
            notes: Box::default(),
        };
        let at = "2026-11-22T20:00:00Z".parse().unwrap();
        let health = Health {
            at,
            endpoint: "https://fifo".to_owned(),
            timezone: "UTC".to_owned(),
            vms: vec![vm; 1_500],
        };
        let overview = Overview { health, vms_by_status: Default::default(), tiers: Default::default() };
        let body = json(&RunSummary { overview: Some(overview), ..failed("down") }).unwrap();
        assert!(body.len() < 60_000, "{} bytes", body.len());
        let payload: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(payload["problems"].as_array().unwrap().len(), 50);
        assert_eq!((&payload["more_problems"], &payload["vms"]["no_backup"]), (&1_451.into(), &1_500.into()));
        assert_eq!(payload["problems"][0]["code"], "run_failed", "the most urgent first");
    }

    #[test]
    fn nothing_makes_it_long() {
        let long = json(&failed(&"ä".repeat(100_000))).unwrap();
        assert!(long.len() < 5_000, "{} bytes", long.len());
        assert!(lines(&failed(&"ä".repeat(100)), 300).starts_with("reconcile: failed"));
        assert_eq!(shortened("äöü", 2), "äö…");
        assert_eq!(shortened("äöü", 3), "äöü");
    }
}
