//! The status page: one HTML document that needs nothing from outside, for people who want to know whether the last runs were
//! successful.
//!
//! Everything that came from elsewhere (aliases, messages of FiFo) is made visible and escaped. Nothing on the page
//! changes anything.

use super::cells::visible;
use super::notification::summary;
use super::outcomes::{action_text, ending_text};
use super::problems::{Problem, ProblemCode, problems, vm_problems};
use super::safety_stop::details;
use super::text::span_text;
use super::text::status::{age_text, name_of, restore_text, totals};
use crate::apply::{ActionKind, ActionOutcome};
use crate::insight::status::{BackupHealth, Health, VmHealth};
use crate::plan::bytes_text;
use crate::policy::minute_text;
use crate::run::{Exit, RunHistory, RunSummary};
use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The reload interval of the page, in seconds.
const REFRESH_SECS: u32 = 60;
/// How many problems, VMs and actions are shown. Longer pages are unreadable and slow on a phone.
const ROWS_MAX: usize = 2_000;

const STYLE: &str = include_str!("page.css");

/// Writes the page as of an instant.
pub fn page(history: &RunHistory, now: DateTime<Utc>) -> String {
    let health = history.overview.as_ref().map(|overview| overview.health.aged(now));
    let endpoint = health
        .as_ref()
        .map(|health| health.endpoint.as_str())
        .or_else(|| history.last.as_ref().and_then(|last| last.endpoint.as_deref()));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content=(REFRESH_SECS);
                meta name="color-scheme" content="light dark";
                title { "fifo-retain" @if let Some(endpoint) = endpoint { ": " (visible(endpoint)) } }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "fifo-retain" }
                    p.quiet {
                        @if let Some(endpoint) = endpoint { "Backups of " (visible(endpoint)) } @else { "No FiFo has been read yet" }
                        @if let Some(identity) = history.last.as_ref().and_then(|last| last.identity.as_deref()) {
                            ", read " (visible(identity))
                        }
                    }
                }
                (runs(history, now))
                @if let Some(health) = &health {
                    (counts(health))
                    (problem_list(&all_problems(history, health)))
                    (vms(health))
                }
                (actions(history))
                footer {
                    "fifo-retain " (env!("CARGO_PKG_VERSION")) ", as of " (instant_text(now))
                    ". Times are in UTC"
                    @if let Some(health) = &health { ", those of backups in " (visible(&health.timezone)) }
                    ". This page renews itself."
                }
            }
        }
    }
    .into_string()
}

/// The last run and the next one.
fn runs(history: &RunHistory, now: DateTime<Utc>) -> Markup {
    let class = match history.last.as_ref().and_then(|last| last.ended) {
        None => "quiet",
        Some(ended) if ended.exit == Exit::Done => "ok",
        Some(ended) if matches!(ended.exit.word(), "interrupted" | "locked") => "warn",
        Some(_) => "bad",
    };
    html! {
        section class={ "run " (class) } {
            @match &history.last {
                None => strong { "No run has ended yet" },
                Some(last) => {
                    strong { "Last run: " (last.ended.map_or("under way", |ended| ended.exit.word()).replace('_', " ")) }
                    p { (visible(&summary(last))) }
                    @if let Some(hint) = last.failure.as_ref().and_then(|failure| failure.hint.as_deref()) {
                        p.quiet { "Hint: " (visible(hint)) }
                    }
                    p.quiet {
                        "Began " (instant_text(last.began))
                        @if let (Some(ended), Some(took)) = (last.ended, last.duration()) {
                            ", ended " (instant_text(ended.at)) " after " (span_text(took.num_seconds()))
                        }
                    }
                }
            }
            @if let Some(since) = history.running_since {
                p { "A run has been under way for " (span_text((now - since).num_seconds())) "." }
            }
            @if history.is_stopped() {
                p.bad {
                    strong { "No further run begins" }
                    " (safety stop): another run could take more backups. Once the cause is found, "
                    code { "fifo-retain resume" } " lifts this."
                }
            }
            @if let Some(stop) = &history.safety_stop {
                ul.list { @for line in details(stop).into_iter().take(ROWS_MAX) { li { (line) } } }
            }
            @if let Some(next) = history.next_run {
                p.quiet { "The next run begins " (instant_text(next)) }
            }
            @if let Some(success) = history.last_success.filter(|_| !history.last.as_ref().is_some_and(RunSummary::is_success)) {
                p.quiet { "The last run that did everything ended " (instant_text(success)) }
            }
        }
    }
}

fn counts(health: &Health) -> Markup {
    let count = |verdict| health.vms.iter().filter(|vm| vm.verdict == verdict).count();
    html! {
        ul.counts aria-label=(totals(health)) {
            @for verdict in VERDICTS {
                @let (word, class) = verdict_words(verdict);
                @let vms = count(verdict);
                li { b class=(if vms == 0 { "quiet" } else { class }) { (vms) } (word) }
            }
        }
        p.quiet { "As FiFo was read " (instant_text(health.at)) "." }
    }
}

/// The problems of the last run, and of the VMs as they stand by now, which may be from an earlier reading.
fn all_problems(history: &RunHistory, health: &Health) -> Vec<Problem> {
    let of_run = history.last.iter().flat_map(problems).filter(|problem| is_of_run(problem.code));
    of_run.chain(vm_problems(&health.vms)).collect()
}

/// Says whether a problem is one of a run, and not of how a VM stands.
fn is_of_run(code: ProblemCode) -> bool {
    matches!(code, ProblemCode::CascadeAlarm | ProblemCode::OverPruneLimit | ProblemCode::ActionFailed)
}

fn problem_list(problems: &[Problem]) -> Markup {
    html! {
        @if !problems.is_empty() {
            h2 { "Problems" }
            ul.list {
                @for problem in problems.iter().take(ROWS_MAX) {
                    li {
                        @if let Some(alias) = &problem.alias { strong { (name(alias)) } " " }
                        @if let Some(id) = problem.vm { code { (id.short()) } " " }
                        (visible(&problem.message))
                        @if let Some(advice) = &problem.advice { br; span.quiet { (visible(advice)) } }
                    }
                }
            }
            (more(problems.len()))
        }
    }
}

fn vms(health: &Health) -> Markup {
    let mut vms: Vec<&VmHealth> = health.vms.iter().collect();
    // VMs that need attention first; within each verdict the order stays.
    vms.sort_by_key(|vm| VERDICTS.iter().position(|verdict| *verdict == vm.verdict));
    html! {
        h2 { "VMs" }
        table {
            thead {
                tr {
                    th { "VM" } th { "Stands" } th { "Policy" } th { "Newest restorable" } th { "Age" }
                    th { "To restore" } th { "Local" } th { "Gaps" } th { "Next due" }
                }
            }
            tbody { @for vm in vms.iter().take(ROWS_MAX) { (row(vm)) } }
        }
        (more(vms.len()))
    }
}

fn row(vm: &VmHealth) -> Markup {
    let (word, class) = verdict_words(vm.verdict);
    let newest = vm.newest.as_ref();
    let age = match (newest, vm.max_age_secs) {
        (Some(newest), Some(max)) => format!("{} (max {})", age_text(newest.age_secs), age_text(max)),
        (None, Some(max)) => format!("(max {})", age_text(max)),
        (_, None) => String::new(),
    };
    let gaps = match vm.gaps.last() {
        Some(last) => format!("{}, last {}", vm.gaps.len(), minute_text(*last)),
        None => String::new(),
    };
    let next_due = vm.next_due.iter().min_by_key(|due| due.at).map_or_else(String::new, |due| {
        format!("{}, {} {}", visible(&due.tier), minute_text(due.at), due.at.format("%:z"))
    });
    let local = if vm.local.snapshots == 0 {
        String::new()
    } else {
        let plural = if vm.local.snapshots == 1 { "" } else { "s" };
        format!("{} snapshot{plural}, {}", vm.local.snapshots, bytes_text(vm.local.size_bytes))
    };
    html! {
        tr {
            td.name data-label="VM" {
                span { (name(&vm.alias)) " " code { (vm.uuid.map_or_else(|| "(no UUID)".to_owned(), |id| id.short())) } }
            }
            td class={ "verdict " (class) } data-label="Stands" { (word) @if vm.is_suspended { " (suspended)" } }
            td data-label="Policy" { (visible(vm.policy.as_deref().unwrap_or_default())) }
            td data-label="Newest" { (newest.map_or_else(String::new, |newest| visible(&name_of(newest)))) }
            td.span data-label="Age" { (age) }
            td data-label="To restore" { (newest.map_or_else(String::new, restore_text)) }
            td data-label="Local" { (local) }
            td data-label="Gaps" { (gaps) }
            td data-label="Next due" { (next_due) }
        }
    }
}

fn actions(history: &RunHistory) -> Markup {
    let reports = history.last.iter().filter_map(|last| last.report.as_ref()).flat_map(|report| &report.vms);
    let steps: Vec<_> = reports.flat_map(|vm| vm.steps.iter().map(move |step| (vm, step))).collect();
    html! {
        @if !steps.is_empty() {
            h2 { "What the last run did" }
            ul.list {
                @for (vm, step) in steps.iter().take(ROWS_MAX) {
                    li {
                        strong { (name(&vm.at.alias)) } " "
                        @if step.kind == ActionKind::DeleteCloud { span.destroy { (action_text(step.kind)) } } @else { (action_text(step.kind)) }
                        ": "
                        span class=(ending_class(step.ending)) { (ending_text(step.ending)) } ", " (visible(&step.message))
                    }
                }
            }
            (more(steps.len()))
        }
    }
}

/// Says how many rows were left out.
fn more(rows: usize) -> Markup {
    html! { @if rows > ROWS_MAX { p.quiet { "and " (rows - ROWS_MAX) " more" } } }
}

const VERDICTS: [BackupHealth; 6] = [
    BackupHealth::NoBackup,
    BackupHealth::TooOld,
    BackupHealth::Conflict,
    BackupHealth::Unreadable,
    BackupHealth::Safe,
    BackupHealth::Unprotected,
];

fn verdict_words(verdict: BackupHealth) -> (&'static str, &'static str) {
    match verdict {
        BackupHealth::Safe => ("safe", "ok"),
        BackupHealth::TooOld => ("too old", "bad"),
        BackupHealth::NoBackup => ("no backup", "bad"),
        BackupHealth::Conflict => ("conflict", "bad"),
        BackupHealth::Unreadable => ("unreadable", "bad"),
        BackupHealth::Unprotected => ("unprotected", "quiet"),
    }
}

fn ending_class(ending: ActionOutcome) -> &'static str {
    match ending {
        ActionOutcome::Done => "ok",
        ActionOutcome::Started
        | ActionOutcome::HandedOver
        | ActionOutcome::Dropped
        | ActionOutcome::Interrupted => "warn",
        ActionOutcome::Failed | ActionOutcome::Unverified => "bad",
    }
}

fn name(alias: &str) -> String {
    if alias.is_empty() { "(no alias)".to_owned() } else { visible(alias) }
}

fn instant_text(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{ActionReport, RunReport, VmRef, VmReport};
    use crate::insight::Overview;
    use crate::inventory::VmId;
    use crate::plan::SnapshotUsage;
    use std::sync::Arc;
    use uuid::Uuid;

    fn history(alias: &str) -> RunHistory {
        let vm = VmHealth {
            uuid: Some(VmId::new(Uuid::nil())),
            alias: alias.to_owned(),
            policy: Some("grandfather".into()),
            verdict: BackupHealth::NoBackup,
            is_suspended: false,
            newest: None,
            max_age_secs: Some(93_600),
            local: SnapshotUsage::default(),
            unmanaged: SnapshotUsage::default(),
            next_due: Arc::default(),
            gaps: Box::default(),
            notes: Box::default(),
        };
        let health = Health {
            at: at(),
            endpoint: "https://fifo".to_owned(),
            timezone: "UTC".to_owned(),
            vms: vec![vm],
        };
        let overview = Overview { health, vms_by_status: Default::default(), tiers: Default::default() };
        RunHistory { overview: Some(overview), ..RunHistory::default() }
    }

    fn at() -> DateTime<Utc> {
        "2026-11-22T20:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_alias_writes_no_html() {
        let page = page(&history("<script>alert(1)</script>\"'&\u{202e}"), at());
        assert!(!page.contains("<script") && !page.contains('\u{202e}'), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    }

    #[test]
    fn it_asks_for_nothing_from_outside() {
        let page = page(&history("web-1"), at());
        for word in ["src=", "href=", "url(", "@import", "<script", "<link", "<form"] {
            assert!(!page.contains(word), "{word} is in\n{page}");
        }
    }

    #[test]
    fn it_names_fifo_the_user_and_the_zone() {
        let mut history = history("web-1");
        let mut last = RunSummary::new("reconcile", at());
        last.identity = Some("as `ops`, API version 3".to_owned());
        history.last = Some(last);
        let page = page(&history, at());
        for words in ["Backups of https://fifo, read as `ops`, API version 3", "those of backups in UTC."] {
            assert!(page.contains(words), "{words} is not in\n{page}");
        }
    }

    #[test]
    fn deletes_from_storage_stand_out_and_too_many_are_a_problem() {
        let mut history = history("web-1");
        let at_vm = VmRef { vm: VmId::new(Uuid::nil()), alias: "web-1".to_owned() };
        let step = |kind| ActionReport {
            kind,
            ending: ActionOutcome::Done,
            code: "deleted",
            message: "gone".to_owned(),
        };
        let steps = vec![step(ActionKind::DeleteLocal), step(ActionKind::DeleteCloud)];
        let report = RunReport { vms: vec![VmReport { at: at_vm, steps }], ..RunReport::default() };
        history.last = Some(RunSummary { report: Some(report), ..RunSummary::new("reconcile", at()) });
        let page = page(&history, at());
        for words in [
            r#"<span class="destroy">delete from storage</span>: "#,
            "</strong> delete locally: ",
            "1 deleted locally, 1 deleted from storage.",
        ] {
            assert!(page.contains(words), "{words} is not in\n{page}");
        }
    }

    #[test]
    fn before_the_first_run_there_is_a_page_too() {
        let page = page(&RunHistory::default(), at());
        assert!(
            page.contains("No run has ended yet") && page.contains("No FiFo has been read yet"),
            "{page}"
        );
    }
}
