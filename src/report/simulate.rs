//! The document of a simulation: for each policy a calendar, a table by month and one sentence.

use super::doc::{Block, Column, Doc, Row, Table};
use super::style::Tone;
use super::words::{counted, span_text};
use crate::plan::bytes_text;
use crate::policy::{Policies, Policy, Tier};
use crate::simulate::{Day, Made, PolicySimulation, Simulation, Totals};
use chrono::{Datelike as _, NaiveDate, TimeDelta};
use std::collections::{BTreeMap, BTreeSet};

/// Storage that has grown by no more than a fiftieth over these days counts as settled.
const SETTLED_DAYS: usize = 62;

/// The columns of the table by month; the last ones give way first.
const COLUMNS: [Column; 10] = [
    Column::new("month", 0),
    Column::number("stored", 0),
    Column::number("bytes", 8),
    Column::number("chain", 7),
    Column::number("restore", 6),
    Column::number("age", 5),
    Column::number("full", 4),
    Column::number("incr", 3),
    Column::number("pruned", 2),
    Column::number("local", 1),
];

/// A simulation with the policies that it is of.
pub type Simulated<'a> = (&'a Simulation, &'a Policies);

/// Reports a simulation; with `before` each number as it is before and after.
pub fn document(after: Simulated<'_>, before: Option<Simulated<'_>>) -> Doc {
    let (after, before) = (by_name(after), before.map(by_name));
    let names: BTreeSet<&str> = after.keys().chain(before.iter().flat_map(BTreeMap::keys)).copied().collect();
    let mut blocks = Vec::new();
    for name in names {
        let (new, old) = (after.get(name), before.as_ref().map(|before| before.get(name)));
        let Some((simulated, policy)) = new.or(old.flatten()) else { continue };
        let change = match (new, old) {
            (Some(_), Some(None)) => ", a new policy",
            (None, _) => ", a policy that is gone",
            _ => "",
        };
        blocks.push(Block::Heading(format!("{name}, {}{change}", counted(simulated.vms, "VM"))));
        blocks.extend(calendar(simulated, policy));
        let both = new.zip(old.flatten());
        blocks.push(Block::Table(months(&simulated.days, both.map(|(_, (old, _))| old.days.as_slice()))));
        let says = sentences((simulated, policy), both.map(|(_, old)| *old));
        blocks.extend(says.into_iter().map(|says| Block::Para(Tone::Plain, says)));
    }
    Doc { blocks, ..Doc::default() }
}

fn by_name<'a>(
    (simulated, policies): Simulated<'a>,
) -> BTreeMap<&'a str, (&'a PolicySimulation, &'a Policy)> {
    let of_policy = |policy: &'a Policy| {
        let simulated = simulated.policies.iter().find(|simulated| simulated.policy == policy.name)?;
        Some((policy.name.as_str(), (simulated, policy)))
    };
    policies.iter().filter_map(of_policy).collect()
}

/// Shows what is made of one VM, a month a line, a letter a tier; a capital is a full backup.
fn calendar(simulated: &PolicySimulation, policy: &Policy) -> [Block; 2] {
    let letters = letters(policy);
    let mut made: BTreeMap<NaiveDate, Made> = BTreeMap::new();
    for &one in &simulated.example.made {
        // Of several the coarsest.
        let best = made.entry(policy.zone.moment(one.at).date_naive()).or_insert(one);
        if (one.tier, !one.is_full) < (best.tier, !best.is_full) {
            *best = one;
        }
    }
    let meant = policy.tiers.iter().zip(&letters).map(|(tier, letter)| format!("{letter} {}", tier.name));
    let meant = meant.collect::<Vec<_>>().join(", ");
    let whose = match simulated.example.alias.as_str() {
        "" => String::new(),
        alias => format!(" of {alias}"),
    };
    let legend = format!("Made{whose}: {meant}; a capital is a full backup, a point none.");
    let mut lines = vec![(Tone::Plain, "         1   5    10   15   20   25   30".to_owned())];
    for month in simulated.days.chunk_by(|one, other| month_of(one) == month_of(other)) {
        let Some(first) = month.first() else { continue };
        let days = month.iter().map(|day| match made.get(&day.date) {
            None => '.',
            Some(made) if made.is_full => letters[made.tier].to_ascii_uppercase(),
            Some(made) => letters[made.tier],
        });
        let before = " ".repeat(first.date.day0() as usize);
        lines.push((Tone::Plain, format!("{:<9}{before}{}", month_of(first), days.collect::<String>())));
    }
    [Block::Para(Tone::Plain, legend), Block::Lines { title: None, lines }]
}

/// Gives each tier a letter of its own, where its name has one that is left.
pub(super) fn letters(policy: &Policy) -> Vec<char> {
    let mut letters = Vec::new();
    for tier in &policy.tiers {
        let is_left = |letter: &char| letter.is_ascii_alphabetic() && !letters.contains(letter);
        let letter = tier.name.chars().find(is_left).or_else(|| ('a'..='z').find(is_left));
        letters.push(letter.unwrap_or('x'));
    }
    letters
}

fn month_of(day: &Day) -> String {
    day.date.format("%Y-%m").to_string()
}

/// Counts each month: what there is at its end, what was done in it, and the worst of it.
pub(super) fn months(days: &[Day], before: Option<&[Day]>) -> Table {
    type Number = fn(&Totals) -> String;
    const NUMBERS: [Number; 9] = [
        |month| month.stored.to_string(),
        |month| bytes_text(month.stored_bytes),
        |month| month.longest_chain.to_string(),
        |month| bytes_text(month.restore_bytes),
        |month| month.newest_age_secs.map_or_else(|| "none".to_owned(), span_text),
        |month| month.full.to_string(),
        |month| month.incremental.to_string(),
        |month| month.pruned.to_string(),
        |month| month.local_max.to_string(),
    ];
    let row = |month: &[Day]| {
        let name = month.first().map(month_of).unwrap_or_default();
        let now = Totals::of(month);
        let then = before.map(|before| {
            let of_month: Vec<Day> = before.iter().filter(|day| month_of(day) == name).cloned().collect();
            Totals::of(&of_month)
        });
        let cell = |number: Number| match then.as_ref().map(number) {
            Some(then) if then != number(&now) => format!("{then} -> {}", number(&now)),
            _ => number(&now),
        };
        Row { cells: std::iter::once(name).chain(NUMBERS.map(cell)).collect(), ..Row::default() }
    };
    let months = days.chunk_by(|one, other| month_of(one) == month_of(other));
    Table { columns: &COLUMNS, rows: months.map(row).collect(), folded: None }
}

/// Says what a policy comes to, before and after where both are given.
pub(super) fn sentences(
    (new, policy): (&PolicySimulation, &Policy),
    before: Option<(&PolicySimulation, &Policy)>,
) -> Vec<String> {
    let new = sentence(new, policy);
    match before {
        Some((old, policy)) => vec![format!("Before: {}", sentence(old, policy)), format!("After: {new}")],
        None => vec![new],
    }
}

/// Says what the policy comes to: how far back one can go, what a restore reads, and where storage settles.
fn sentence(simulated: &PolicySimulation, policy: &Policy) -> String {
    let totals = Totals::of(&simulated.days);
    if totals.longest_chain == 0 {
        return "Nothing is ever stored that could be restored.".to_owned();
    }
    let made = |tier: usize| simulated.example.made.iter().filter(|made| made.tier == tier).count();
    let reaches = policy.tiers.iter().enumerate().rev().filter(|(index, _)| made(*index) > 0);
    let reaches: Vec<String> = reaches.map(|(index, tier)| reach(tier, made(index), simulated)).collect();
    let size = bytes_text(totals.stored_bytes);
    let earlier =
        simulated.days.len().checked_sub(2 * SETTLED_DAYS).and(simulated.days.iter().rev().nth(SETTLED_DAYS));
    let storage = match earlier {
        None => format!("storage comes to {size}"),
        Some(earlier) if totals.stored_bytes <= earlier.stored_bytes + earlier.stored_bytes / 50 => {
            let recent = &simulated.days[simulated.days.len() - SETTLED_DAYS..];
            let most = recent.iter().map(|day| day.stored_bytes).max().unwrap_or(0);
            format!("storage settles at {}", bytes_text(most))
        }
        Some(_) => format!("storage is {size} in the end and goes on growing"),
    };
    let chain = counted(totals.longest_chain, "backup");
    let restore = bytes_text(totals.restore_bytes);
    format!(
        "You can go back to {}; a restore reads at most {chain}, {restore}; {storage}.",
        reaches.join(", ")
    )
}

/// Says which moments a tier holds: `any Sunday of the last 5 weeks`.
fn reach(tier: &Tier, made: usize, simulated: &PolicySimulation) -> String {
    const DAY: TimeDelta = TimeDelta::days(1);
    let schedule = &tier.schedule;
    let (least, most) = schedule.wall_gaps();
    let due = simulated.example.made.first().and_then(|made| schedule.next_after(made.at));
    let due = due.map(|due| schedule.zone().moment(due));
    let keep = tier.keep.map(|keep| usize::try_from(keep.get()).unwrap_or(usize::MAX).min(made));
    let is_spread = !tier.spread.is_zero();
    match (due, keep) {
        (_, Some(1)) => format!("the newest {}", tier.name),
        (Some(_), keep) if (least, most) == (DAY, DAY) => match keep {
            Some(keep) => format!("any day of the last {keep}"),
            None => "any day".to_owned(),
        },
        (Some(due), keep) if (least, most) == (DAY * 7, DAY * 7) => {
            let day = if is_spread { "one day".to_owned() } else { format!("any {}", due.format("%A")) };
            let each = if is_spread { "of each of" } else { "of" };
            match keep {
                Some(keep) => format!("{day} {each} the last {keep} weeks"),
                None if is_spread => "one day of every week".to_owned(),
                None => day,
            }
        }
        (Some(due), keep) if least >= DAY * 28 && most <= DAY * 31 => {
            let day = if is_spread { "one day".to_owned() } else { format!("the {}", ordinal(due.day())) };
            match keep {
                Some(keep) => format!("{day} of each of the last {keep} months"),
                None => format!("{day} of every month"),
            }
        }
        (_, Some(keep)) => format!("any of the last {keep} {} backups", tier.name),
        (_, None) => format!("any {} backup", tier.name),
    }
}

fn ordinal(day: u32) -> String {
    let end = match (day % 10, day) {
        (1, 1 | 21 | 31) => "st",
        (2, 2 | 22) => "nd",
        (3, 3 | 23) => "rd",
        _ => "th",
    };
    format!("{day}{end}")
}
