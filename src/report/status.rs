//! The document of the status of VMs: a table, what is wrong with those that are out, then the counts.

use super::doc::{Block, Column, Detail, Doc, Entry, Line, Row, Table, Tone};
use super::groups::{ALONE_MAX, entry_head, grouped, natural, same_or_example};
use super::notes::{is_problem, note_line};
use super::run::Vms;
use super::stop;
use super::words::{
    age_text, counted, held_text, newest_text, next_due_text, origin, restore_text, vm_id, vm_name,
};
use crate::apply::SafetyStop;
use crate::insight::status::{BackupHealth, Health, VmHealth};
use crate::plan::Status;
use crate::policy::{Name, minute_text};
use std::collections::BTreeSet;

const GAPS_NAMED: usize = 3;

const COLUMNS: [Column; 10] = [
    Column::wrapping("VM", 0),
    Column::new("state", 0),
    Column::new("age", 0),
    Column::new("limit", 6),
    Column::new("newest restorable", 4),
    Column::new("to restore", 2),
    Column::number("local", 3),
    Column::new("policy", 5),
    Column::new("next due", 1),
    Column::wrapping("problems", 0),
];

/// Reports the status of VMs, those in trouble first: a table, and below it the details of those that are out, which stand alone
/// with `only_problems`. With [`Detail::Full`] it is the details of all, with [`Detail::Brief`] a line a VM that is out, and
/// nothing where none is.
pub fn document(
    health: &Health,
    stop: Option<&SafetyStop>,
    only_problems: bool,
    identity: Option<&str>,
    detail: Detail,
) -> Doc {
    let alarms = stop.map(stop::blocks).unwrap_or_default();
    let is_out = |vm: &&VmHealth| vm.verdict.is_out();
    if detail <= Detail::Brief && !health.vms.iter().any(|vm| is_out(&vm)) {
        return Doc { alarms, ..Doc::default() };
    }
    let vms = worst_first(health);
    let out: Vec<&VmHealth> = vms.iter().copied().filter(is_out).collect();
    let blocks = match (only_problems, detail) {
        (_, Detail::Errors | Detail::Brief) => vec![Block::Table(table(&out))],
        (false, Detail::Full) => vec![Block::Entries(entries(&vms, detail))],
        (false, Detail::Usual) => {
            vec![Block::Table(table(&vms)), Block::Entries(entries(&out, detail))]
        }
        (true, _) => vec![Block::Entries(entries(&out, detail))],
    };
    let origin = origin(&health.endpoint, identity, &health.timezone);
    let remarks = if detail > Detail::Brief { vec![(Tone::Plain, origin)] } else { Vec::new() };
    Doc { alarms, blocks, remarks, summary: vec![totals(health)] }
}

/// Returns the VMs with the most urgent first, each kind in natural order.
pub(super) fn worst_first(health: &Health) -> Vec<&VmHealth> {
    let rank = |vm: &VmHealth| match vm.verdict {
        BackupHealth::NoBackup => 0,
        BackupHealth::TooOld => 1,
        BackupHealth::Conflict => 2,
        BackupHealth::Unreadable => 3,
        BackupHealth::Safe if vm.notes.iter().any(|note| note.advice.is_some()) => 4,
        BackupHealth::Safe => 5,
        BackupHealth::Unprotected => 6,
    };
    let mut vms: Vec<&VmHealth> = health.vms.iter().collect();
    vms.sort_by_cached_key(|vm| (rank(vm), natural(&vm.alias)));
    vms
}

/// Returns the last line: `Status: 9 safe, 1 too old, 0 without a backup, 0 in conflict, 0 unreadable; 1 unprotected, 1
/// suspended.`
pub(super) fn totals(health: &Health) -> String {
    let Vms { safe, too_old, no_backup, conflict, unreadable, unprotected } = Vms::of(health);
    let suspended = health.vms.iter().filter(|vm| vm.is_suspended).count();
    format!(
        "Status: {safe} safe, {too_old} too old, {no_backup} without a backup, {conflict} in conflict, {unreadable} unreadable; \
         {unprotected} unprotected, {suspended} suspended."
    )
}

pub(super) fn verdict_text(verdict: BackupHealth) -> (Tone, &'static str) {
    match verdict {
        BackupHealth::Safe => (Tone::Fine, "safe"),
        BackupHealth::TooOld => (Tone::Alarm, "too old"),
        BackupHealth::NoBackup => (Tone::Alarm, "no backup"),
        BackupHealth::Conflict => (Tone::Alarm, "conflict"),
        BackupHealth::Unreadable => (Tone::Alarm, "unreadable"),
        BackupHealth::Unprotected => (Tone::Plain, "unprotected"),
    }
}

pub(super) fn state_text(vm: &VmHealth) -> String {
    let (_, state) = verdict_text(vm.verdict);
    if vm.is_suspended { format!("{state} (suspended)") } else { state.to_owned() }
}

/// Returns what VMs are called: where another one has the same alias, with the beginning of the UUID.
pub(super) fn names<'a>(vms: &[&'a VmHealth]) -> impl Fn(&VmHealth) -> String + use<'a> {
    let mut seen = BTreeSet::new();
    let aliases = vms.iter().map(|vm| vm.alias.as_str());
    let twice: BTreeSet<&str> = aliases.filter(|alias| !seen.insert(*alias) && !alias.is_empty()).collect();
    move |vm| match twice.contains(vm.alias.as_str()) {
        true => format!("{} {}", vm_name(&vm.alias, vm.uuid), vm_id(&vm.alias, vm.uuid)),
        false => vm_name(&vm.alias, vm.uuid),
    }
}

pub(super) fn table(vms: &[&VmHealth]) -> Table {
    let names = names(vms);
    let row = |vm: &&VmHealth| {
        let newest = vm.newest.as_ref();
        let cells = vec![
            names(vm),
            state_text(vm),
            newest.map_or_else(String::new, |newest| age_text(newest.age_secs)),
            vm.max_age_secs.map_or_else(String::new, age_text),
            newest.map_or_else(String::new, newest_text),
            newest.map_or_else(String::new, |newest| restore_text(newest.steps, newest.size_bytes)),
            if vm.local.snapshots == 0 { String::new() } else { vm.local.snapshots.to_string() },
            vm.policy.as_ref().map_or_else(String::new, Name::to_string),
            next_due_text(vm.next_due.iter().min_by_key(|due| due.at)),
            problems_text(vm),
        ];
        Row { tone: verdict_text(vm.verdict).0, cells, ..Row::default() }
    };
    let out = vms.iter().take_while(|vm| vm.verdict.is_out()).count();
    let rest = vms.len() - out;
    let folded =
        (out > 0 && rest > 0).then(|| (out, format!("{} more, none of them out", counted(rest, "VM"))));
    Table { columns: &COLUMNS, rows: vms.iter().map(row).collect(), folded }
}

/// Lists what is wrong in single words, each with its number where there are several: `2 failed, blocked`.
pub(super) fn problems_text(vm: &VmHealth) -> String {
    // The state column shows its own word already.
    let (_, state) = verdict_text(vm.verdict);
    let problems = vm.notes.iter().filter(|note| is_problem(note));
    let mut verbs: Vec<&str> = problems.map(|note| note_line(note, Status::UpToDate).verb).collect();
    verbs.retain(|verb| *verb != state && !(vm.is_suspended && *verb == "suspended"));
    let word = |same: &Vec<&str>| match same.as_slice() {
        [verb] => (*verb).to_owned(),
        _ => format!("{} {}", same.len(), same[0]),
    };
    let mut words: Vec<String> = grouped(&verbs, |verb| *verb, false).iter().map(word).collect();
    if !vm.gaps.is_empty() {
        words.push(counted(vm.gaps.len(), "gap"));
    }
    words.join(", ")
}

/// Reports VMs in the given order; those with the same problems as one, where there are many.
pub(super) fn entries(vms: &[&VmHealth], detail: Detail) -> Vec<Entry> {
    let key = |vm: &&VmHealth| {
        let verbs: Vec<&str> = lines(vm, detail).iter().map(|line| line.verb).collect();
        (vm.policy.as_ref().map(Name::to_string), verbs)
    };
    grouped(vms, key, detail == Detail::Full || vms.len() <= ALONE_MAX)
        .iter()
        .map(|vms| entry(vms, detail))
        .collect()
}

fn entry(vms: &[&VmHealth], detail: Detail) -> Entry {
    let named: Vec<_> = vms.iter().map(|vm| (vm.alias.as_str(), vm.uuid)).collect();
    let policy = vms.first().and_then(|vm| vm.policy.as_deref());
    let all: Vec<Vec<Line>> = vms.iter().map(|vm| lines(vm, detail)).collect();
    // All have lines about the same.
    let line = |(place, line): (usize, &Line)| {
        let alike = || all.iter().filter_map(|lines| lines.get(place));
        Line {
            what: same_or_example(alike().map(|line| line.what.as_str())),
            why: same_or_example(alike().map(|line| line.why.as_str())),
            count: vms.len(),
            ..*line
        }
    };
    let lines = all.first().into_iter().flatten().enumerate().map(line).collect();
    Entry { lines, ..entry_head(&named, policy) }
}

fn lines(vm: &VmHealth, detail: Detail) -> Vec<Line> {
    let is_full = detail == Detail::Full;
    let mut lines: Vec<Line> = verdict_line(vm).into_iter().collect();
    if is_full && vm.policy.is_some() && vm.local.snapshots > 0 {
        lines.push(Line::new(Tone::Plain, "local", held_text(&vm.local)));
    }
    if is_full && vm.unmanaged.snapshots > 0 {
        let advice = "name the comment in a tier's `also`, or delete them locally by hand".to_owned();
        lines.push(Line::new(Tone::Plain, "unmanaged", held_text(&vm.unmanaged)).because(advice));
    }
    if !vm.gaps.is_empty() {
        let named: Vec<String> = vm.gaps.iter().rev().take(GAPS_NAMED).map(|gap| minute_text(*gap)).collect();
        let more = match vm.gaps.len().saturating_sub(GAPS_NAMED) {
            0 => String::new(),
            more => format!(" and {more} before"),
        };
        let what = format!("nothing to restore of {}{more}", named.join(", "));
        lines.push(Line::new(Tone::Wait, "gaps", what));
    }
    if is_full && !vm.next_due.is_empty() {
        lines.push(Line::new(Tone::Plain, "next due", next_due_text(vm.next_due.iter())));
    }
    let notes = vm.notes.iter().filter(|note| is_full || is_problem(note));
    lines.extend(
        notes.map(|note| {
            note_line(note, Status::UpToDate).because(note.advice.unwrap_or_default().to_owned())
        }),
    );
    lines
}

/// Says how old the newest backup is and what restoring it takes; what has no policy says it in its notes.
fn verdict_line(vm: &VmHealth) -> Option<Line> {
    let (tone, verb) = verdict_text(vm.verdict);
    match vm.verdict {
        BackupHealth::NoBackup => Some(Line::new(tone, verb, "nothing can be restored".to_owned())),
        BackupHealth::Safe | BackupHealth::TooOld => {
            let newest = vm.newest.as_ref()?;
            let limit =
                vm.max_age_secs.map_or_else(String::new, |secs| format!(", {} at most", age_text(secs)));
            let what = format!("{}, {} old{limit}", newest_text(newest), age_text(newest.age_secs));
            let restore = format!("a restore fetches {}", restore_text(newest.steps, newest.size_bytes));
            Some(Line::new(tone, verb, what).because(restore))
        }
        BackupHealth::Conflict | BackupHealth::Unreadable | BackupHealth::Unprotected => None,
    }
}
