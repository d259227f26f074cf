//! What every report keeps to, whatever the VMs are called.

mod facts;
pub(super) mod fixtures;
mod graph;
mod markdown;
mod pages;
mod plan;
mod run;
mod show;

use super::doc::Detail;
use super::plan::PlanParts;
use super::text::TextOptions;
use super::{Doc, Styles, json, metrics, page};
use crate::apply::{ActionKind, Alarm, SafetyStop, VmRef};
use crate::inventory::VmId;
use crate::plan::{Note, NoteCode, Plan};
use crate::report::{Exit, RunHistory};
use fixtures::*;
use uuid::Uuid;

fn text_of(doc: &Doc, columns: usize, detail: Detail, styles: Styles) -> String {
    let mut out = Vec::new();
    super::text::write(doc, &TextOptions { styles, columns, detail }, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn plan_doc(plan: &Plan, detail: Detail) -> Doc {
    super::plan::document(plan, PlanParts { has_details: true, ..PlanParts::default() }, detail)
}

fn plain(plan: &Plan, columns: usize, detail: Detail) -> String {
    text_of(&plan_doc(plan, detail), columns, detail, Styles::Plain)
}

/// Returns what a text says at whatever width: its letters in order, without blanks and the branches of trees.
fn letters(text: &str) -> Vec<char> {
    let is_said = |letter: &char| !letter.is_whitespace() && !"│├└…".contains(*letter);
    let mut letters: Vec<char> = text.chars().filter(is_said).collect();
    letters.sort_unstable();
    letters
}

/// Texts that would act where they are printed as they are.
fn foreign_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "web\r1",
        "web\u{2028}::add-mask::1",
        "web\u{202e}1",
        "web\u{1b}[2J\u{9b}1",
        "::add-mask::x",
        " \u{3000}::set-output name=x::y",
        "##vso[task.setvariable]x",
        "##[group]x",
        "a\n::stop-commands::x\n</details>\n##[error]",
    ]
    .map(str::to_owned)
    .into();
    texts.push("::x ".repeat(125));
    texts.push("##[".repeat(167));
    texts.push(format!("{}::error::x", "x".repeat(500)));
    texts
}

/// Every report of a cloud whose owners name VMs, comments, states, policies and error bodies so.
fn reports(foreign: &str) -> Vec<(String, String)> {
    let mut plan = cloud();
    for vm in &mut plan.vms {
        vm.alias = foreign.to_owned();
        vm.notes.push(Note::vm(NoteCode::NoHypervisor, format!("on no hypervisor ({foreign})")));
    }
    plan.endpoint = foreign.to_owned();
    let mut summary = run(foreign, Exit::SomeFailed, &format!("FiFo answered 500: {foreign}"));
    summary.identity = Some(foreign.to_owned());
    let vm = VmRef { vm: VmId::new(Uuid::nil()), alias: foreign.to_owned() };
    let time = summary.began;
    let stop = SafetyStop {
        file: foreign.to_owned(),
        endpoint: "https://fifo".to_owned(),
        alarms: vec![Alarm::vanished(time, &vm, ActionKind::DeleteLocal, backup(1), vec![backup(1)])],
        unreadable: Some(foreign.to_owned()),
    };
    let explained = explained(foreign, foreign);
    let status = overview(vec![health(foreign), health(foreign)]);
    let diff = vec![(super::Tone::Plain, format!(" {foreign}"))];
    let parts =
        PlanParts { stop: Some(&stop), identity: Some(foreign), diff, has_details: true, estimate: None };
    let documents = [
        ("plan", super::plan::document(&plan, parts, Detail::Usual)),
        ("plan -v", plan_doc(&plan, Detail::Full)),
        ("status", super::status::document(&status, Some(&stop), false, Some(foreign), Detail::Usual)),
        ("status -q", super::status::document(&status, None, false, None, Detail::Brief)),
        ("show -v", super::show::document(&explained, None, Some(foreign), Detail::Full, None)),
    ];
    let mut reports = Vec::new();
    for (name, doc) in &documents {
        for columns in [60, 200] {
            reports.push((format!("{name} as text"), text_of(doc, columns, Detail::Usual, Styles::Plain)));
        }
        for max_bytes in [None, Some(1_536)] {
            reports.push((format!("{name} as Markdown"), super::markdown::written(doc, None, max_bytes)));
        }
    }
    let mut out = Vec::new();
    json::document(&plan, Some(&stop), &mut out).unwrap();
    json::status(&status, &std::collections::BTreeMap::new(), None, &mut out).unwrap();
    json::show(&explained, &std::collections::BTreeMap::new(), None, &mut out).unwrap();
    reports.push(("JSON".to_owned(), String::from_utf8(out).unwrap()));
    reports.push(("lines".to_owned(), super::run::lines(&summary, 100_000)));
    let mut history = RunHistory { safety_stop: Some(stop), ..RunHistory::default() };
    history.enter(summary);
    reports.push(("page".to_owned(), page::page(&history, time)));
    reports.push(("VM's page".to_owned(), super::html::vm::page(&explained, &[], Some(foreign), None)));
    reports.push(("fleet".to_owned(), page::status_page(&status, &Default::default(), None, foreign)));
    reports.push(("metrics".to_owned(), metrics::text(&history, time, metrics::Dialect::Prometheus)));
    reports
}

#[test]
fn foreign_text_acts_nowhere() {
    for foreign in foreign_texts() {
        for (name, report) in reports(&foreign) {
            let where_is = || format!("{foreign:?} in {name}:\n{report}");
            for line in report.split('\n') {
                assert!(!line.trim_start().starts_with("::"), "{line:?} with {}", where_is());
                assert!(!line.contains("##[") && !line.contains("##vso["), "{line:?} with {}", where_is());
                let acts = line.chars().find(|letter| super::escape::is_acted_on(*letter));
                assert_eq!(acts, None, "{line:?} with {}", where_is());
            }
        }
    }
}

#[test]
fn a_vm_without_an_alias_is_called_by_its_uuid_everywhere() {
    for (name, report) in reports("") {
        let is_named = ["JSON", "metrics"].contains(&name.as_str()) || report.contains("Only counted here");
        let is_named = is_named || report.contains("4fa44310");
        assert!(is_named && !report.contains("no alias") && !report.contains("****"), "{name}:\n{report}");
    }
}
