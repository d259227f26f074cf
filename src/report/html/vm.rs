//! The page of a VM: its chains, what became of its due times, why each backup is kept, and the way back to each of them.

use super::super::doc::{Detail, Tone};
use super::super::drawing::{Drawing, day_text};
use super::super::page::{next_run_text, uploads};
use super::super::run::{is_failed, summary};
use super::super::show::{lines, table};
use super::super::words::{action_text, instant_text, origin, vm_name, word};
use super::chains::{self, words};
use super::{frame, part};
use crate::insight::show::{DueOutcome, Explanation, PastDue, VmExplanation};
use crate::report::RunHistory;
use crate::report::doc::Block;
use crate::report::escape::visible;
use chrono::{Days, NaiveDate};
use maud::{Markup, html};
use serde::Serialize;

/// Writes the page of some VMs; what is in `alarms` stands above all. With a history it says what the last run did.
pub fn page(
    explained: &Explanation,
    alarms: &[String],
    identity: Option<&str>,
    history: Option<&RunHistory>,
) -> String {
    let title = match explained.vms.as_slice() {
        [vm] => vm_name(&vm.alias, vm.uuid),
        vms => format!("{} VMs", vms.len()),
    };
    let body = html! {
        main.sim {
            header { h1 { (visible(&title)) }
                p.quiet { (visible(&origin(&explained.endpoint, identity, &explained.timezone))) " As of " (explained.at.format("%Y-%m-%d %H:%M UTC")) "." } }
            @for alarm in alarms { p.bad { (visible(alarm)) } }
            @for vm in &explained.vms { (section(explained, vm, history)) }
        }
    };
    frame(&title, &body, None)
}

fn section(explained: &Explanation, vm: &VmExplanation, history: Option<&RunHistory>) -> Markup {
    let (drawing, _) = Drawing::of_vm(vm);
    let end =
        vm.timeline.iter().map(|due| due.at).chain(vm.backups.iter().filter_map(|backup| backup.taken)).max();
    let today = end.map(|end| end.date_naive()).unwrap_or_default().max(explained.at.date_naive());
    let day = (today - drawing.day0).num_days();
    let data = Data { drawing: &drawing, today: day };
    html! {
        section.policy data-policy=(vm.uuid.map_or_else(String::new, |id| id.to_string())) {
            @if explained.vms.len() > 1 { h2 { (visible(&vm_name(&vm.alias, vm.uuid))) } }
            p.quiet { @if let Some(id) = vm.uuid { (id) } @if let Some(policy) = &vm.policy { " · " (policy) } }
            @if vm.is_suspended { p.warn { "Its policy is suspended for it: nothing is done." } }
            ul.list { @for line in lines(vm, Detail::Usual) { li class=[(line.tone >= Tone::Alarm).then_some("bad")] {
                b { (line.verb) } " " (visible(&line.what)) @if !line.why.is_empty() { span.quiet { " → " (visible(&line.why)) } }
            } } }
            @if let Some(history) = history {
                h2.small { "The last run that has ended" }
                (part(&Block::List(last_run(history, vm))))
            }
            @if !vm.timeline.is_empty() {
                h2.small { "The last 35 days against the policy" }
                (timeline(vm, &drawing, today))
            }
            @if drawing.nodes.is_empty() { p { "It has no backup that can be drawn." } } @else {
                h2.small { "Its chains" }
                (chains::figure(&drawing, day))
                (chains::key(&drawing, false))
                details { summary { "The way back to each of them" }
                    @for at in (0..drawing.nodes.len()).rev().filter(|&at| drawing.nodes[at].is_restorable) {
                        div.way { (words(&drawing, &drawing.way(at), day)) }
                    }
                }
            }
            details { summary { "Every backup, and why it is kept" } (part(&Block::Table(table(vm, Detail::Full)))) }
            (chains::data(&data))
        }
    }
}

/// Says what the last run did to a VM, which of its backups were being uploaded then, and when the next run begins.
fn last_run(history: &RunHistory, vm: &VmExplanation) -> Vec<(Tone, String)> {
    let mut lines = Vec::new();
    let Some(last) = &history.last else { return vec![(Tone::Plain, "No run has ended yet.".to_owned())] };
    lines.push((Tone::Plain, format!("Ended {}. {}", instant_text(last.ended), summary(last))));
    let of_vm = last.report.iter().flat_map(|report| &report.vms).filter(|it| Some(it.at.vm) == vm.uuid);
    lines.extend(of_vm.flat_map(|it| &it.steps).map(|step| {
        let what = format!("{}, {}: {}", action_text(step.kind), word(&step.ending), step.message);
        (if is_failed(step) { Tone::Alarm } else { Tone::Plain }, what)
    }));
    if lines.len() == 1 {
        lines.push((Tone::Plain, "It did nothing to this VM.".to_owned()));
    }
    lines.extend(uploads(history, |it| it.uuid == vm.uuid).map(|(_, line)| (Tone::Wait, line)));
    lines.extend(next_run_text(history).map(|line| (Tone::Plain, line)));
    lines
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    drawing: &'a Drawing,
    today: i64,
}

/// Draws what became of the due times, a row a tier and a column a day; a day leads to the newest backup up to its end.
fn timeline(vm: &VmExplanation, drawing: &Drawing, today: NaiveDate) -> Markup {
    let days: Vec<NaiveDate> =
        (0..36).rev().filter_map(|back| today.checked_sub_days(Days::new(back))).collect();
    // Of several on a day the worst, and of these the first.
    let worst = |of_tier: &'_ [PastDue], day: NaiveDate| {
        let of_day = of_tier.iter().rev().filter(|due| due.at.date_naive() == day);
        of_day.max_by_key(|due| due.outcome).map(|due| (due.at, outcome(due.outcome)))
    };
    let tiers = || vm.timeline.chunk_by(|one, other| one.tier == other.tier);
    let back_to = |day: NaiveDate| {
        let day = (day - drawing.day0).num_days();
        drawing.nodes.iter().rposition(|node| node.is_restorable && node.day <= day)
    };
    html! {
        div.timeline tabindex="0" role="region" aria-label="The last 35 days" { table {
            caption.sr { "What became of each due time, a row a tier" }
            thead { tr { th scope="col" { span.sr { "tier" } } @for day in &days { th scope="col" { @match back_to(*day) {
                Some(at) => button type="button" data-at=(at) title={ "Back to the end of " (day_text(*day)) } { (day.format("%-d")) },
                None => (day.format("%-d")),
            } } } } }
            tbody { @for of_tier in tiers() { tr {
                th scope="row" { (of_tier[0].tier) }
                @for day in &days { @match worst(of_tier, *day) {
                    Some((at, (class, sign, word))) =>
                        td class=(class) title={ (at.format("%a %-d %b %H:%M")) ": " (word) } { i aria-hidden="true" { (sign) } span.sr { (word) } },
                    None => td {},
                } }
            } } }
        } }
        ul.key { @for of in [DueOutcome::Made, DueOutcome::Late, DueOutcome::Running, DueOutcome::Due, DueOutcome::Failed, DueOutcome::Missed, DueOutcome::Unknown] {
            @let (class, sign, word) = outcome(of);
            li { i class={ "due " (class) } aria-hidden="true" { (sign) } " " (word) }
        } }
    }
}

fn outcome(outcome: DueOutcome) -> (&'static str, &'static str, &'static str) {
    match outcome {
        DueOutcome::Made => ("made", "✓", "made"),
        DueOutcome::Late => ("late", "◷", "made late"),
        DueOutcome::Running => ("run", "…", "in progress"),
        DueOutcome::Due => ("run", "○", "due"),
        DueOutcome::Failed => ("failed", "×", "failed"),
        DueOutcome::Missed => ("missed", "–", "missed"),
        DueOutcome::Unknown => ("unknown", "?", "no longer known"),
    }
}
