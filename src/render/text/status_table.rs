//! The overview of `status`: a table with one line per VM.

use super::TextOptions;
use super::rows::note_row;
use super::status_text::{age_text, is_problem, name_of};
use crate::insight::status::{BackupHealth, VmHealth};
use crate::plan::Status;
use crate::policy::Name;
use crate::render::cells::{padded, visible, width, wrapped};
use std::collections::BTreeSet;
use std::io::{self, Write};

/// Blanks between columns.
const GAP: usize = 2;
/// The alias and the problems are wrapped, but never to fewer columns than this.
const FLEXIBLE_MIN: usize = 14;

/// The columns, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Vm,
    State,
    Age,
    Limit,
    Newest,
    Snapshots,
    Policy,
    Problems,
}

const COLUMNS: [Column; 8] = [
    Column::Vm,
    Column::State,
    Column::Age,
    Column::Limit,
    Column::Newest,
    Column::Snapshots,
    Column::Policy,
    Column::Problems,
];

/// The columns that a narrow terminal leaves out, first to last. `-v` shows all of them.
const DISPENSABLE: [Column; 4] = [Column::Snapshots, Column::Newest, Column::Policy, Column::Limit];

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Self::Vm => "VM",
            Self::State => "state",
            Self::Age => "age",
            Self::Limit => "limit",
            Self::Newest => "newest restorable",
            Self::Snapshots => "local",
            Self::Policy => "policy",
            Self::Problems => "problems",
        }
    }

    fn is_flexible(self) -> bool {
        matches!(self, Self::Vm | Self::Problems)
    }

    fn cell(self, vm: &VmHealth, is_ambiguous: bool) -> String {
        let newest = vm.newest.as_ref();
        let text = match self {
            Self::Vm => vm_text(vm, is_ambiguous),
            Self::State => state_text(vm.verdict).to_owned(),
            Self::Age => newest.map_or_else(String::new, |newest| age_text(newest.age_secs)),
            Self::Limit => vm.max_age_secs.map_or_else(String::new, age_text),
            Self::Newest => newest.map_or_else(String::new, name_of),
            Self::Snapshots => match vm.local.snapshots {
                0 => String::new(),
                snapshots => snapshots.to_string(),
            },
            Self::Policy => vm.policy.as_ref().map_or_else(String::new, Name::to_string),
            Self::Problems => problems_text(vm),
        };
        visible(&text)
    }
}

/// Writes the table, in the order of the VMs.
pub(super) fn write(vms: &[&VmHealth], options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    if vms.is_empty() {
        return Ok(());
    }
    let mut aliases: Vec<&str> = vms.iter().map(|vm| vm.alias.as_str()).collect();
    aliases.sort_unstable();
    let twice: BTreeSet<&str> =
        aliases.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    drop(aliases);
    let is_ambiguous = |vm: &VmHealth| vm.alias.is_empty() || twice.contains(vm.alias.as_str());
    let mut table = measured(vms, is_ambiguous);
    let widths = fitted(&mut table, options.columns);
    let heading = options.styles.heading;
    let headings: Vec<Vec<String>> =
        table.iter().map(|(column, _)| vec![column.heading().to_owned()]).collect();
    for line in lines(&headings, &widths) {
        writeln!(out, "{heading}{line}{heading:#}")?;
    }
    for vm in vms {
        let cells: Vec<Vec<String>> = table
            .iter()
            .zip(&widths)
            .map(|((column, _), width)| wrapped(&column.cell(vm, is_ambiguous(vm)), *width))
            .collect();
        let style = match vm.verdict {
            verdict if verdict.is_out() => options.styles.alarm,
            BackupHealth::Unprotected => options.styles.quiet,
            _ => anstyle::Style::new(),
        };
        for line in lines(&cells, &widths) {
            writeln!(out, "{style}{line}{style:#}")?;
        }
    }
    Ok(())
}

/// Returns the columns that have anything in them, each with the width of its widest cell or heading. The cells are made
/// again when they are written, so that no more than one line of them is in memory.
fn measured(vms: &[&VmHealth], is_ambiguous: impl Fn(&VmHealth) -> bool) -> Vec<(Column, usize)> {
    let mut widest: [Option<usize>; COLUMNS.len()] = [None; COLUMNS.len()];
    for vm in vms {
        for (column, widest) in COLUMNS.into_iter().zip(&mut widest) {
            let cell = column.cell(vm, is_ambiguous(vm));
            if !cell.is_empty() {
                *widest = (*widest).max(Some(width(&cell)));
            }
        }
    }
    let used = COLUMNS.into_iter().zip(widest);
    used.filter_map(|(column, widest)| Some((column, widest?.max(width(column.heading()))))).collect()
}

/// Leaves out columns until the table fits, and returns the width of each that is left.
fn fitted(table: &mut Vec<(Column, usize)>, columns: usize) -> Vec<usize> {
    let least = |&(column, widest): &(Column, usize)| {
        if column.is_flexible() { widest.min(FLEXIBLE_MIN) } else { widest }
    };
    let gaps = |count: usize| GAP * count.saturating_sub(1);
    for column in DISPENSABLE {
        if table.iter().map(least).sum::<usize>() + gaps(table.len()) <= columns {
            break;
        }
        table.retain(|(it, _)| *it != column);
    }
    let mut widths: Vec<usize> = table.iter().map(least).collect();
    let mut room = columns.saturating_sub(widths.iter().sum::<usize>() + gaps(widths.len()));
    for ((_, widest), width) in table.iter().zip(&mut widths) {
        let more = widest.saturating_sub(*width).min(room);
        *width += more;
        room -= more;
    }
    widths
}

/// Puts wrapped cells side by side.
fn lines(cells: &[Vec<String>], widths: &[usize]) -> Vec<String> {
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let line = |row: usize| {
        let cell = |(cell, width): (&Vec<String>, &usize)| {
            padded(cell.get(row).map_or("", String::as_str), *width + GAP)
        };
        cells.iter().zip(widths).map(cell).collect::<String>().trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

fn vm_text(vm: &VmHealth, is_ambiguous: bool) -> String {
    let id = vm.uuid.map_or_else(|| "no UUID".to_owned(), |id| id.short());
    match vm.alias.as_str() {
        "" => format!("(no alias) {id}"),
        alias if is_ambiguous => format!("{alias} {id}"),
        alias => alias.to_owned(),
    }
}

fn state_text(verdict: BackupHealth) -> &'static str {
    match verdict {
        BackupHealth::Safe => "= safe",
        BackupHealth::TooOld => "! too old",
        BackupHealth::NoBackup => "! no backup",
        BackupHealth::Conflict => "! conflict",
        BackupHealth::Unreadable => "! unreadable",
        BackupHealth::Unprotected => "  unprotected",
    }
}

/// Lists what is wrong in single words, each with its number where there are several: `2 failed, blocked`.
fn problems_text(vm: &VmHealth) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for note in vm.notes.iter().filter(|note| is_problem(note)) {
        let verb = note_row(note, Status::UpToDate).verb;
        match counts.iter_mut().find(|(known, _)| *known == verb) {
            Some((_, count)) => *count += 1,
            None => counts.push((verb, 1)),
        }
    }
    let mut words: Vec<String> = counts
        .into_iter()
        // The state column shows it already.
        .filter(|(verb, _)| !state_text(vm.verdict).ends_with(verb))
        .map(|(verb, count)| if count == 1 { verb.to_owned() } else { format!("{count} {verb}") })
        .collect();
    match vm.gaps.len() {
        0 => {}
        1 => words.push("1 gap".to_owned()),
        gaps => words.push(format!("{gaps} gaps")),
    }
    words.join(", ")
}
