//! The page of `--listen`, for people who want to know whether the last runs were successful. Nothing on it changes anything.

use super::doc::{Block, Column, Detail, Doc, Row, Table, Tone};
use super::history::KnownVms;
use super::html::fleet::fleet;
use super::html::{self};
use super::run::{Vms, is_failed, summary};
use super::status::{entries, totals, worst_first};
use super::stop;
use super::verify::with_proofs;
use super::words::{action_text, counted, counts_text, instant_text, listed, span_text, vm_name, word};
use crate::apply::{ActionKind, ActionOutcome, RunReport, SafetyStop};
use crate::insight::status::{Health, VmHealth};
use crate::plan::NoteCode;
use crate::report::{Exit, RunHistory, RunSummary};
use chrono::{DateTime, Utc};
use maud::html;

const ACTION_COLUMNS: [Column; 4] = [
    Column::wrapping("VM", 0),
    Column::new("action", 0),
    Column::new("outcome", 0),
    Column::wrapping("message", 0),
];

pub fn page(history: &RunHistory, now: DateTime<Utc>) -> String {
    let health = history.overview.as_ref().map(|health| health.aged(now));
    let health = health.as_ref();
    let last = history.last.as_ref();
    let endpoint = health.map(|health| health.endpoint.as_str()).or_else(|| last?.endpoint.as_deref());
    let about = match (endpoint, last.and_then(|last| last.identity.as_deref())) {
        (None, _) => "No FiFo has been read yet".to_owned(),
        (Some(endpoint), Some(identity)) => format!("Backups of {endpoint}, read {identity}"),
        (Some(endpoint), None) => format!("Backups of {endpoint}"),
    };
    let zone = health.map_or_else(String::new, |health| format!(", those of backups in {}", health.timezone));
    let times = format!("{}. Times are in UTC{zone}. Reload the page for a newer state.", instant_text(now));
    written(document(history, health, now), &about, health, &history.verified, &times, true)
}

/// Writes the page of `status`: the same VMs without any run.
pub fn status_page(health: &Health, known: &KnownVms, stop: Option<&SafetyStop>, identity: &str) -> String {
    let alarms = stop.map(stop::blocks).unwrap_or_default();
    let out = out_text(health);
    let (tone, headline) = match out.as_str() {
        "" => (Tone::Fine, "All VMs that a policy wants are safe".to_owned()),
        out => (Tone::Alarm, format!("VMs: {out}")),
    };
    let tone = if stop.is_some() { Tone::Alarm } else { tone };
    let mut blocks = vec![Block::Para(tone, headline)];
    blocks.extend(vms(health));
    let about = format!("Backups of {}, read {identity}", health.endpoint);
    let times = format!("{}. Times of backups are in {}.", instant_text(health.at), health.timezone);
    written(Doc { alarms, blocks, ..Doc::default() }, &about, Some(health), known, &times, false)
}

fn written(
    mut doc: Doc,
    about: &str,
    health: Option<&Health>,
    known: &KnownVms,
    times: &str,
    has_pages: bool,
) -> String {
    let (mut title, mut below) = ("fifo-retain".to_owned(), html! {});
    if let Some(health) = health {
        let vms: Vec<_> = health.vms.iter().filter_map(|vm| Some((vm.uuid?, &*vm.alias))).collect();
        doc = with_proofs(doc, known, &vms);
        title = format!("fifo-retain: {}", health.endpoint);
        below = fleet(health, has_pages);
    }
    let footer = format!("fifo-retain {}, as of {times}", env!("CARGO_PKG_VERSION"));
    html::page(&title, about, &doc, &below, &footer)
}

fn vms(health: &Health) -> Vec<Block> {
    let mut blocks = Vec::new();
    let out: Vec<&VmHealth> = worst_first(health).into_iter().filter(|vm| vm.verdict.is_out()).collect();
    if !out.is_empty() {
        let title = format!("What is wrong with {}, and what to do", counted(out.len(), "VM"));
        blocks.push(Block::Details { title, blocks: vec![Block::Entries(entries(&out, Detail::Usual))] });
    }
    blocks.push(Block::Heading("VMs".to_owned()));
    let read = format!("{} As FiFo was read {}.", totals(health), instant_text(health.at));
    blocks.push(Block::Para(Tone::Plain, read));
    blocks
}

/// Counts the VMs that are out: `1 too old, 2 unreadable`; empty where none is.
fn out_text(health: &Health) -> String {
    let Vms { no_backup, too_old, conflict, unreadable, .. } = Vms::of(health);
    listed([
        (no_backup, "no backup"),
        (too_old, "too old"),
        (conflict, "conflict"),
        (unreadable, "unreadable"),
    ])
}

fn document(history: &RunHistory, health: Option<&Health>, now: DateTime<Utc>) -> Doc {
    let mut blocks = runs(history, health, now);
    blocks.extend(history.last.as_ref().and_then(|last| last.report.as_ref()).and_then(actions));
    blocks.extend(health.into_iter().flat_map(vms));
    let alarms = history.safety_stop.as_ref().map(stop::blocks).unwrap_or_default();
    Doc { alarms, blocks, ..Doc::default() }
}

pub(super) fn next_run_text(history: &RunHistory) -> Option<String> {
    history.next_run.map(|next| format!("The next run begins {}", instant_text(next)))
}

/// Lists the uploads of some VMs as FiFo was last read by a run: the VM's name, and what was being uploaded then.
pub(super) fn uploads<'a>(
    history: &'a RunHistory,
    of: impl Fn(&VmHealth) -> bool + 'a,
) -> impl Iterator<Item = (String, String)> + 'a {
    let vms = history.overview.iter().flat_map(|health| health.vms.iter().map(move |vm| (health.at, vm)));
    vms.filter(move |(_, vm)| of(vm)).flat_map(|(at, vm)| {
        let notes = vm.notes.iter().filter(|note| note.code == NoteCode::InProgress);
        notes.map(move |note| (vm_name(&vm.alias, vm.uuid), format!("{note} (as of {})", instant_text(at))))
    })
}

/// The last run and the next one, below a line that is as urgent as the worst of it.
fn runs(history: &RunHistory, health: Option<&Health>, now: DateTime<Utc>) -> Vec<Block> {
    let last = history.last.as_ref();
    let out = health.map_or_else(String::new, out_text);
    let tone = match last {
        _ if history.is_stopped() || !out.is_empty() => Tone::Alarm,
        None => Tone::Plain,
        Some(last) if last.exit == Exit::Done => Tone::Fine,
        Some(last) if matches!(last.exit.word(), "interrupted" | "locked") => Tone::Wait,
        Some(_) => Tone::Alarm,
    };
    let outcome = last.map_or_else(
        || "No run has ended yet".to_owned(),
        |last| format!("Last run: {}", last.exit.word().replace('_', " ")),
    );
    let out = if out.is_empty() { out } else { format!("; VMs: {out}") };
    let mut lines = Vec::new();
    if let Some(last) = last {
        lines.push(summary(last));
        let hint = last.failure.as_ref().and_then(|failure| failure.hint.as_deref());
        lines.extend(hint.map(|hint| format!("Hint: {hint}")));
        let (began, ended) = (instant_text(last.began), instant_text(last.ended));
        let took = span_text(last.duration().num_seconds());
        lines.push(format!("Began {began}, ended {ended} after {took}"));
    }
    let running = history.running_since.map(|since| (now - since).num_seconds());
    lines.extend(running.map(|secs| format!("A run has been under way for {}.", span_text(secs))));
    if history.is_stopped() {
        lines.push(
            "No further run begins (safety stop): another run could take more backups. Once the cause is found, \
             `fifo-retain resume` lifts this."
                .to_owned(),
        );
    }
    lines.extend(next_run_text(history));
    let out_of = uploads(history, |_| true).map(|(vm, line)| format!("{vm}: {line}"));
    lines.extend(out_of);
    let success = history.last_success.filter(|_| !last.is_some_and(RunSummary::is_success));
    lines.extend(success.map(|at| format!("The last run that did everything ended {}", instant_text(at))));
    let lines = lines.into_iter().map(|line| (Tone::Plain, line)).collect();
    vec![Block::Para(tone, format!("{outcome}{out}")), Block::List(lines)]
}

fn actions(report: &RunReport) -> Option<Block> {
    let steps = report.vms.iter().flat_map(|vm| vm.steps.iter().map(move |step| (vm, step)));
    let row = |(vm, step): (&crate::apply::VmReport, &crate::apply::ActionReport)| {
        let tone = match (step.ending, step.kind) {
            _ if is_failed(step) => Tone::Alarm,
            (ActionOutcome::Done, ActionKind::DeleteCloud) => Tone::Destroy,
            (ActionOutcome::Done, _) => Tone::Fine,
            _ => Tone::Wait,
        };
        let name = vm_name(&vm.at.alias, Some(vm.at.vm));
        let cells = vec![name, action_text(step.kind).to_owned(), word(&step.ending), step.message.clone()];
        Row { tone, cells, ..Row::default() }
    };
    let rows: Vec<Row> = steps.map(row).collect();
    let title = format!("What the last run did: {}", counted(rows.len(), "action"));
    let table = Table { columns: &ACTION_COLUMNS, rows, folded: None };
    let counts = Block::Para(Tone::Plain, counts_text(&report.tally()));
    (!table.rows.is_empty()).then(|| Block::Details { title, blocks: vec![counts, Block::Table(table)] })
}
