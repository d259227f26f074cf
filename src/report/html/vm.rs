//! The page of a VM: its chains, what became of its due times, why each backup is kept, and the way back to each of them.

use super::super::show::{lines, table};
use super::super::style::Tone;
use super::super::text::Detail;
use super::super::words::{origin, restore_text, vm_name};
use super::chains::{self, Drawing, Lane, NEVER, Node, words};
use super::{frame, part};
use crate::insight::show::{BackupExplanation, DueOutcome, Explanation, PastDue, VmExplanation};
use crate::plan::BackupKind;
use crate::report::doc::Block;
use crate::report::escape::visible;
use chrono::{DateTime, Days, FixedOffset, NaiveDate, Timelike as _};
use maud::{Markup, html};
use serde::Serialize;
use std::collections::BTreeMap;

/// Writes the page of some VMs; what is in `alarms` stands above all.
pub fn page(explained: &Explanation, alarms: &[String], identity: Option<&str>) -> String {
    let title = match explained.vms.as_slice() {
        [vm] => vm_name(&vm.alias, vm.uuid),
        vms => format!("{} VMs", vms.len()),
    };
    let body = html! {
        main.sim {
            header { h1 { (visible(&title)) }
                p.quiet { (visible(&origin(&explained.endpoint, identity, &explained.timezone))) " As of " (explained.at.format("%Y-%m-%d %H:%M UTC")) "." } }
            @for alarm in alarms { p.bad { (visible(alarm)) } }
            @for vm in &explained.vms { (section(explained, vm)) }
        }
    };
    frame(&title, &body).into_string()
}

fn section(explained: &Explanation, vm: &VmExplanation) -> Markup {
    let (drawing, places) = drawing(vm);
    let end =
        vm.timeline.iter().map(|due| due.at).chain(vm.backups.iter().filter_map(|backup| backup.taken)).max();
    let today = end.map(|end| end.date_naive()).unwrap_or_default().max(explained.at.date_naive());
    let day = (today - drawing.day0).num_days();
    let data = Data { drawing: &drawing, today: day };
    let newest = drawing.newest(day).and_then(|at| vm.backups[places[at]].restore);
    html! {
        section.policy data-policy=(vm.uuid.map_or_else(String::new, |id| id.to_string())) {
            @if explained.vms.len() > 1 { h2 { (visible(&vm_name(&vm.alias, vm.uuid))) } }
            p.quiet { @if let Some(id) = vm.uuid { (id) } @if let Some(policy) = &vm.policy { " · " (policy) } }
            @if let Some(newest) = newest { p.says { "A restore of the newest backup fetches " b { (restore_text(newest.steps, newest.size_bytes)) } "." } }
            @if vm.is_suspended { p.warn { "Its policy is suspended for it: nothing is done." } }
            ul.list { @for line in lines(vm, Detail::Usual) { li class=[(line.tone >= Tone::Alarm).then_some("bad")] {
                b { (line.verb) } " " (visible(&line.what)) @if !line.why.is_empty() { span.quiet { " → " (visible(&line.why)) } }
            } } }
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

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    drawing: &'a Drawing,
    today: i64,
}

/// Takes the backups with a time for a drawing, oldest first, with the place of each in the explanation.
fn drawing(vm: &VmExplanation) -> (Drawing, Vec<usize>) {
    let mut dated: Vec<(DateTime<FixedOffset>, usize)> =
        vm.backups.iter().enumerate().filter_map(|(place, backup)| Some((backup.taken?, place))).collect();
    dated.sort();
    let day0 = dated.first().map(|(taken, _)| taken.date_naive()).unwrap_or_default();
    let mut names: Vec<&str> = Vec::new();
    for due in &vm.timeline {
        if !names.contains(&due.tier.as_str()) {
            names.push(&due.tier);
        }
    }
    for (_, place) in &dated {
        let name = vm.backups[*place].tier.as_deref().unwrap_or("no tier");
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let place_of: BTreeMap<_, usize> =
        dated.iter().enumerate().map(|(at, (_, place))| (vm.backups[*place].backup, at)).collect();
    let node = |&(taken, place): &(DateTime<FixedOffset>, usize)| {
        let backup: &BackupExplanation = &vm.backups[place];
        let day = (taken.date_naive() - day0).num_days();
        let name = backup.tier.as_deref().unwrap_or("no tier");
        let is_needed = backup.stored.kept_for.as_ref().is_some_and(|reason| reason.code == "needed");
        let now_or_never = |is_now: bool| if is_now { day } else { NEVER };
        Node {
            day,
            minute: taken.hour() * 60 + taken.minute(),
            lane: names.iter().position(|known| *known == name).unwrap_or(0),
            parent: backup.parent.and_then(|parent| place_of.get(&parent)).copied(),
            is_full: backup.kind == BackupKind::Full,
            is_restorable: backup.restore.is_some(),
            size_bytes: backup.size_bytes,
            local_until: now_or_never(!backup.local.is_held),
            needed_since: now_or_never(is_needed),
            expired_since: now_or_never(backup.stored.is_expired),
            gone: NEVER,
        }
    };
    let nodes: Vec<Node> = dated.iter().map(node).collect();
    let lane = |name: &&str| Lane {
        name: visible(name),
        letter: name.chars().next().unwrap_or('?').to_ascii_uppercase(),
    };
    let ids = dated.iter().map(|(_, place)| vm.backups[*place].backup.to_string()).collect();
    let why = dated.iter().map(|(_, place)| why(&vm.backups[*place])).collect();
    let drawing = Drawing {
        day0,
        lanes: names.iter().map(lane).collect(),
        nodes,
        ids,
        why,
        vm: vm.uuid.map(|id| id.to_string()),
    };
    (drawing, dated.into_iter().map(|(_, place)| place).collect())
}

/// Says in a few words why a backup stays in storage.
fn why(backup: &BackupExplanation) -> String {
    match (&backup.stored.prune, &backup.stored.kept_for) {
        (Some(prune), _) => visible(&prune.message),
        (None, Some(reason)) => visible(&reason.why),
        (None, None) => String::new(),
    }
}

/// Draws what became of the due times, a row a tier and a column a day; a day leads to the newest backup up to its end.
fn timeline(vm: &VmExplanation, drawing: &Drawing, today: NaiveDate) -> Markup {
    let days: Vec<NaiveDate> =
        (0..36).rev().filter_map(|back| today.checked_sub_days(Days::new(back))).collect();
    let mut tiers: Vec<(&str, BTreeMap<NaiveDate, &PastDue>)> = Vec::new();
    for due in &vm.timeline {
        let row = match tiers.iter_mut().find(|(tier, _)| *tier == due.tier.as_str()) {
            Some((_, row)) => row,
            None => {
                tiers.push((&due.tier, BTreeMap::new()));
                let Some((_, row)) = tiers.last_mut() else { continue };
                row
            }
        };
        // Of several the worst.
        let worst = row.entry(due.at.date_naive()).or_insert(due);
        if due.outcome > worst.outcome {
            *worst = due;
        }
    }
    let back_to = |day: NaiveDate| {
        let day = (day - drawing.day0).num_days();
        drawing.nodes.iter().rposition(|node| node.is_restorable && node.day <= day)
    };
    html! {
        div.timeline tabindex="0" role="region" aria-label="The last 35 days" { table {
            caption.sr { "What became of each due time, a row a tier" }
            thead { tr { th scope="col" { span.sr { "tier" } } @for day in &days { th scope="col" { @match back_to(*day) {
                Some(at) => button type="button" data-at=(at) title={ "Back to the end of " (chains::day_text(*day)) } { (day.format("%-d")) },
                None => (day.format("%-d")),
            } } } } }
            tbody { @for (tier, row) in &tiers { tr {
                th scope="row" { (tier) }
                @for day in &days { @match row.get(day) {
                    Some(due) => {
                        @let (class, sign, word) = outcome(due.outcome);
                        td class=(class) title={ (due.at.format("%a %-d %b %H:%M")) ": " (word) } { i aria-hidden="true" { (sign) } span.sr { (word) } }
                    },
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

/// Returns the class, the sign and the words for what became of a due time.
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
