//! The page of all VMs: a line a VM, the most urgent first, with filters that are links and need no script.

use super::super::doc::Tone;
use super::super::groups::grouped;
use super::super::status::{names, problems_text, state_text, verdict_text, worst_first};
use super::super::words::{age_text, counted, next_due_text, restore_text};
use crate::insight::status::{Health, VmHealth};
use crate::report::escape::visible;
use maud::{Markup, PreEscaped, html};
use std::collections::BTreeMap;

const ROWS: usize = 100;
/// With more VMs than this a browser does not draw the tables that are out of sight.
const MANY: usize = 500;

/// Draws all VMs; with `has_pages` each is a link to its own page.
pub(in super::super) fn fleet(health: &Health, has_pages: bool) -> Markup {
    let vms = worst_first(health);
    let mut hypervisors: BTreeMap<&str, usize> = BTreeMap::new();
    for vm in &vms {
        *hypervisors.entry(vm.hypervisor.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let places: BTreeMap<&str, usize> =
        hypervisors.keys().enumerate().map(|(place, name)| (*name, place)).collect();
    let mut filters = vec![filter(&vms, |vm| {
        let word = state_text(vm);
        (word.replace([' ', '(', ')'], "-"), word)
    })];
    filters.push(filter(&vms, |vm| match &vm.policy {
        Some(policy) => (format!("p-{policy}"), policy.to_string()),
        None => ("p".to_owned(), "no policy".to_owned()),
    }));
    filters.push(filter(&vms, |vm| {
        let name = vm.hypervisor.as_deref().unwrap_or_default();
        (format!("h{}", places.get(name).copied().unwrap_or(0)), short(name))
    }));
    let targets: Vec<&Filter> = filters.iter().flatten().collect();
    let rules: String = targets.iter().map(|filter| filter.rules()).collect();
    let names = names(&vms);
    let groups = grouped(&vms, |vm| (state_text(vm), vm.policy.as_deref()), false);
    html! {
        section.fleet.many[vms.len() > MANY] aria-label="VMs" {
            style { (PreEscaped(rules)) }
            @for filter in &targets { i.at id={ "at-" (filter.class) } {} }
            nav aria-label="Filters" {
                @for filters in filters.iter().filter(|filters| filters.len() > 1) { p { (links(filters, vms.len())) } }
            }
            @for group in &groups { (section(group, &places, &names, has_pages)) }
        }
    }
}

struct Filter {
    class: String,
    text: String,
    count: usize,
}

impl Filter {
    /// Returns the style that hides all others once its link was followed.
    fn rules(&self) -> String {
        let Self { class, .. } = self;
        // Of hypervisors each row has its own.
        let is_of_rows = class.strip_prefix('h').is_some_and(|rest| rest.parse::<usize>().is_ok());
        let hidden = if is_of_rows {
            format!("#at-{class}:target~.g:not(:has(.{class})),#at-{class}:target~.g tbody tr:not(.{class})")
        } else {
            format!("#at-{class}:target~.g:not(.{class})")
        };
        format!(
            "{hidden}{{display:none}}#at-{class}:target~nav [href=\"#at-{class}\"]{{font-weight:700;color:var(--ink)}}"
        )
    }
}

/// Counts VMs by what they are chosen by, in the order in which they come.
fn filter(vms: &[&VmHealth], of: impl Fn(&VmHealth) -> (String, String)) -> Vec<Filter> {
    let filter = |vms: Vec<&VmHealth>| {
        let (class, text) = of(vms[0]);
        Filter { class, text, count: vms.len() }
    };
    grouped(vms, |vm| of(vm).0, false).into_iter().map(filter).collect()
}

fn links(filters: &[Filter], all: usize) -> Markup {
    html! {
        a href="#" { "all " (all) }
        @for filter in filters { " " a href={ "#at-" (filter.class) } { (visible(&filter.text)) " " (filter.count) } }
    }
}

fn section(
    group: &[&VmHealth],
    places: &BTreeMap<&str, usize>,
    names: &dyn Fn(&VmHealth) -> String,
    has_pages: bool,
) -> Markup {
    let Some(first) = group.first() else { return html! {} };
    let (tone, _) = verdict_text(first.verdict);
    let state = state_text(first);
    let policy = first.policy.as_deref();
    let class = format!(
        "g {} p{}",
        state.replace([' ', '(', ')'], "-"),
        policy.map_or_else(String::new, |it| format!("-{it}"))
    );
    let limit =
        first.max_age_secs.map_or_else(String::new, |secs| format!(", at most {} old", age_text(secs)));
    let next = |vm: &VmHealth| next_due_text(vm.next_due.iter().min_by_key(|due| due.at));
    let due = Some(next(first)).filter(|due| !due.is_empty() && group.iter().all(|vm| next(vm) == *due));
    html! {
        section class=(class) {
            h3 class=(tone.class()) {
                (state) ": " (counted(group.len(), "VM"))
                span.quiet { " · " (policy.unwrap_or("no policy")) (limit) @if let Some(due) = due { " · next due " (due) } }
            }
            @for (place, part) in group.chunks(ROWS).enumerate() {
                table {
                    caption.sr { (state) ", " (policy.unwrap_or("no policy")) ", from " (place * ROWS + 1) " on" }
                    thead { tr { @for title in ["VM", "age", "newest", "to restore", "local", "hypervisor", "problems"] { th scope="col" { (title) } } } }
                    tbody { @for vm in part { (row(vm, tone, places, names, has_pages)) } }
                }
            }
        }
    }
}

fn row(
    vm: &VmHealth,
    tone: Tone,
    places: &BTreeMap<&str, usize>,
    names: &dyn Fn(&VmHealth) -> String,
    has_pages: bool,
) -> Markup {
    let hypervisor = vm.hypervisor.as_deref().unwrap_or_default();
    let newest = vm.newest.as_ref();
    let name = names(vm);
    html! {
        tr class={ "h" (places.get(hypervisor).copied().unwrap_or(0)) } {
            th scope="row" { @match vm.uuid.filter(|_| has_pages) {
                Some(id) => a href={ "/vm/" (id) } { (visible(&name)) },
                None => (visible(&name)),
            } }
            td class=[(tone == Tone::Alarm).then_some("bad")] { @if let Some(newest) = newest { (age_text(newest.age_secs)) } }
            td { @if let Some(newest) = newest { (newest.tier.as_deref().unwrap_or("by hand")) " " (newest.taken.format("%m-%d %H:%M")) } }
            td { @if let Some(newest) = newest { (restore_text(newest.steps, newest.size_bytes)) } }
            td { @if vm.local.snapshots > 0 { (vm.local.snapshots) } }
            td { (short(hypervisor)) }
            td { (problems_text(vm)) }
        }
    }
}

fn short(hypervisor: &str) -> String {
    match hypervisor {
        "" => "none".to_owned(),
        hypervisor => visible(hypervisor.get(..8).unwrap_or(hypervisor)),
    }
}
