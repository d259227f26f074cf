//! The page of `simulate`: a year of each policy as it is played by the planner, to walk through day by day.

use super::super::drawing::{Drawing, day_text};
use super::super::simulate::{Played, Year, months, sentences, years};
use super::calendar::calendar;
use super::chains::{self, Walk};
use super::curves::curves;
use super::{frame, part};
use crate::plan::bytes_text;
use crate::policy::Diagnostic;
use crate::report::doc::Block;
use crate::report::escape::visible;
use crate::report::words::{counted, span_text};
use crate::simulate::{Day, Scenario, Simulation};
use chrono::{DateTime, Utc};
use maud::{Markup, PreEscaped, html};
use std::ops::Range;

/// Writes the whole page; with `before` the curves of both are laid over each other.
pub fn page(after: Played<'_>, before: Option<Played<'_>>, scenario: &Scenario) -> String {
    let body =
        html! { main.sim { (heading(after.simulation, scenario)) (sections(after, before, scenario)) } };
    frame("A year of backups", &body, None)
}

/// Writes the page of `--listen`: what an edit changes beside an editor with one of some files, each a name and a text.
pub fn live_page(files: &[(String, String)], chosen: usize, page: Option<&str>, findings: &str) -> String {
    let (name, text) = files.get(chosen).map_or(("policy.yaml", ""), |(name, text)| (name, text));
    let body = html! {
        div.live {
            form.editor data-file=(chosen) {
                h2 { label for="yaml" { "Policy" } }
                @if files.len() > 1 {
                    p.files { @for (at, (name, _)) in files.iter().enumerate() {
                        a href={ "/?file=" (at) } aria-current=[(at == chosen).then_some("page")] { (visible(name)) } " "
                    } }
                } @else { p.quiet { (visible(name)) } }
                div.code {
                    pre.lines aria-hidden="true" { "1" }
                    textarea #yaml spellcheck="false" autocomplete="off" autocapitalize="off" wrap="off" rows="24"
                        aria-describedby="findings" { "\n" (text) }
                }
                div #findings role="status" { (PreEscaped(findings)) }
                p { button type="button" data-save=(name.rsplit('/').next().unwrap_or(name)) { "Save the file" }
                    " " span.quiet.took {} }
                p.quiet { "Nothing is sent to FiFo, and nothing is written: the button saves what you see to your downloads." }
            }
            main.sim #sim { @match page {
                Some(page) => (PreEscaped(page)),
                None => { h1 { "What there would be" } p { "There are mistakes in the policy." } },
            } }
        }
    };
    frame("Try a policy", &body, None)
}

pub fn fragment(after: Played<'_>, scenario: &Scenario) -> String {
    html! { (heading(after.simulation, scenario)) (sections(after, None, scenario)) }.into_string()
}

pub fn findings(found: &[Diagnostic], file: &str) -> String {
    let finding = |it: &Diagnostic| {
        let place = match (it.line(), it.column()) {
            (Some(line), Some(column)) if it.file == file => format!("line {line}:{column}"),
            (Some(line), _) => format!("{}:{line}", it.file),
            _ => it.file.clone(),
        };
        let line = it.line().filter(|_| it.file == file);
        html! {
            p class=(it.severity.as_str()) data-line=[line] {
                b { (it.severity.as_str()) ", " (visible(&place)) ":" } " " (visible(&it.message))
                @if let Some(hint) = &it.hint { br; span.quiet { "hint: " (visible(hint)) } }
            }
        }
    };
    html! { @for it in found { (finding(it)) } }.into_string()
}

fn heading(simulation: &Simulation, scenario: &Scenario) -> Markup {
    let range = |range: &Range<DateTime<Utc>>| {
        format!("{} to {}", range.start.format("%-d %b %Y"), range.end.format("%-d %b %Y"))
    };
    let ranges = |what: &str, all: &[Range<DateTime<Utc>>]| {
        (!all.is_empty()).then(|| format!("{what} {}", all.iter().map(range).collect::<Vec<_>>().join(", ")))
    };
    let permille = scenario.change_ppm.div_ceil(1_000);
    let change = format!("{}.{}", permille / 10, permille % 10);
    let mut assumed = vec![
        format!("{} a VM", bytes_text(scenario.vm_size_bytes)),
        format!("{} % changed a day, where nothing else is known", change.trim_end_matches(".0")),
    ];
    assumed.extend(scenario.every.map(|every| format!("a run every {}", span_text(every.num_seconds()))));
    assumed.push(
        if scenario.prune.is_requested { "expired backups pruned" } else { "nothing pruned" }.to_owned(),
    );
    assumed.extend(ranges("no run", &scenario.down));
    assumed.extend(ranges("uploads fail", &scenario.uploads_fail));
    html! {
        header {
            h1 { "What there would be" }
            p.quiet { (range(&(simulation.from..simulation.until))) ". Assumed: " (assumed.join("; ")) "." }
        }
    }
}

fn sections(after: Played<'_>, before: Option<Played<'_>>, scenario: &Scenario) -> Markup {
    html! { @for (year, before, change) in years(after, before) { (section(year, before, change, scenario)) } }
}

fn section(year: Year<'_>, before: Option<Year<'_>>, change: &str, scenario: &Scenario) -> Markup {
    let Year { policy, simulated, story } = year;
    let drawing = Drawing::of_story(story, policy, scenario.from);
    let count = story.days.len();
    let (today, index) = (i64::try_from(count).unwrap_or(1) - 1, count.saturating_sub(1));
    let day_of =
        |instant: DateTime<Utc>| (policy.zone.moment(instant).date_naive() - drawing.day0).num_days();
    let mut failed: Vec<i64> = story.failed.iter().map(|at| day_of(*at)).collect();
    failed.dedup();
    let is_down = |day: &i64| {
        let ends = |day: i64| policy.zone.day_start(drawing.date(day));
        scenario.down.iter().any(|down| {
            ends(*day).zip(ends(*day + 1)).is_some_and(|(from, to)| down.start < to && from < down.end)
        })
    };
    let down: Vec<i64> = (0..=today).filter(is_down).collect();
    let who = match (simulated.vms, visible(&story.alias)) {
        (1, alias) if alias.is_empty() => "one VM".to_owned(),
        (1, alias) => alias,
        (vms, alias) if alias.is_empty() => counted(vms, "VM"),
        (vms, alias) => format!("{alias}, one of {}", counted(vms, "VM")),
    };
    let walk = Walk {
        drawing: &drawing,
        days: &story.days,
        down: &down,
        failed: &failed,
        max_age_secs: policy.max_age.num_seconds(),
    };
    html! {
        section.policy data-policy=(policy.name) {
            h2 { (policy.name) " " span.quiet { (who) (change) } }
            @for says in sentences(year, before) { p.says { (strong(&says)) } }
            @if count == 0 { p { "No VM belongs to it." } } @else {
                div.walk role="group" aria-label="The day looked at" {
                    div.go {
                        button type="button" data-go="-7" aria-label="−7 days" { "−7" }
                        button type="button" data-go="-1" aria-label="−1 day" { "−1" }
                        input type="range" min="0" max=(index) value=(index) aria-label="Day of the simulation";
                        button type="button" data-go="1" aria-label="+1 day" { "+1" }
                        button type="button" data-go="7" aria-label="+7 days" { "+7" }
                    }
                    div.now role="status" { (now(&drawing, &story.days[index], today)) }
                }
                h3 { "What can be restored on that day" }
                (calendar(&walk, today))
                (chains::key(&drawing, true))
                h3 { "Its chains" }
                (chains::figure(&drawing, today))
                h3 { "Over the time" }
                (curves(&walk, before.map(|before| before.story.days.as_slice()), index))
                details { summary { "Month by month" @if simulated.vms != 1 { ", all of its " (counted(simulated.vms, "VM")) } }
                    (part(&Block::Table(months(&simulated.days, before.map(|before| before.simulated.days.as_slice()))))) }
                (chains::data(&walk))
            }
        }
    }
}

/// Writes a sentence with what it promises in bold.
fn strong(says: &str) -> Markup {
    const BEFORE: [&str; 5] = ["go back to ", "at most ", "settles at ", "comes to ", "storage is "];
    let parts: Vec<&str> = says.trim_end_matches('.').split("; ").collect();
    let part = |part: &str| {
        let begin = BEFORE.iter().filter_map(|before| Some(part.find(before)? + before.len())).min();
        let (plain, bold) = part.split_at(begin.unwrap_or(part.len()));
        html! { (plain) b { (bold) } }
    };
    html! { @for (at, text) in parts.iter().enumerate() { @if at > 0 { "; " } (part(text)) } "." }
}

/// Says how a day stands. The script does the same.
fn now(drawing: &Drawing, day: &Day, today: i64) -> Markup {
    let way = drawing.newest(today).map(|newest| drawing.way(newest)).unwrap_or_default();
    let made: Vec<&str> = drawing
        .nodes
        .iter()
        .filter(|node| node.day == today)
        .map(|node| drawing.lanes[node.lane].name.as_str())
        .collect();
    html! {
        b { (day_text(day.date)) }
        span { (day.stored) " stored, " (bytes_text(day.stored_bytes)) }
        span { (day.local) " on the hypervisor, " (bytes_text(day.local_bytes)) }
        span { "newest: " (way.len()) " to fetch, " (bytes_text(day.restore_bytes)) }
        span { @if made.is_empty() { "nothing made" } @else { "made: " (made.join(", ")) } }
    }
}
