//! A simulation as text: for each policy a calendar, a table by month and one sentence.

use super::cells::{visible, width, wrapped};
use super::text::{TextOptions, span_text};
use crate::plan::bytes_text;
use crate::policy::{Policies, Policy, Tier};
use crate::simulate::{Day, Made, PolicySimulation, Simulation, Totals};
use chrono::{Datelike as _, NaiveDate, TimeDelta};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// Blanks between columns.
const GAP: usize = 2;
/// Storage that has grown by no more than a fiftieth over these days counts as settled.
const SETTLED_DAYS: usize = 62;

/// A simulation with the policies that it is of.
pub type Simulated<'a> = (&'a Simulation, &'a Policies);

/// Writes a simulation; with `before` each number as it is before and after.
///
/// # Errors
///
/// Those of writing.
pub fn simulation(
    after: Simulated<'_>,
    before: Option<Simulated<'_>>,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (after, before) = (by_name(after), before.map(by_name));
    let names: BTreeSet<&str> = after.keys().chain(before.iter().flat_map(BTreeMap::keys)).copied().collect();
    for (place, name) in names.into_iter().enumerate() {
        if place > 0 {
            writeln!(out)?;
        }
        let (new, old) = (after.get(name), before.as_ref().map(|before| before.get(name)));
        let Some((simulated, policy)) = new.or(old.flatten()) else { continue };
        let mut title = format!("{}, {}", visible(name), counted(simulated.vms, "VM"));
        match (new, old) {
            (Some(_), Some(None)) => title.push_str(", a new policy"),
            (None, _) => title.push_str(", a policy that is gone"),
            _ => {}
        }
        let heading = options.styles.heading;
        writeln!(out, "{heading}{title}{heading:#}")?;
        calendar(simulated, policy, options, out)?;
        writeln!(out)?;
        let compared =
            new.zip(old.flatten()).map(|((new, _), (old, _))| (new.days.as_slice(), old.days.as_slice()));
        table(&simulated.days, compared.map(|(_, old)| old), options, out)?;
        writeln!(out)?;
        let sentences = match new.zip(old.flatten()) {
            Some(((new, policy), (old, old_policy))) => {
                vec![
                    format!("Before: {}", sentence(old, old_policy)),
                    format!("After: {}", sentence(new, policy)),
                ]
            }
            None => vec![sentence(simulated, policy)],
        };
        for line in sentences.iter().flat_map(|sentence| wrapped(sentence, options.columns)) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
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

/// Writes what is made of one VM, a month a line, a letter a tier; a capital is a full backup.
fn calendar(
    simulated: &PolicySimulation,
    policy: &Policy,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
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
        alias => format!(" of {}", visible(alias)),
    };
    let legend = format!("Made{whose}: {meant}; a capital is a full backup, a point none.");
    for line in wrapped(&legend, options.columns) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "         1   5    10   15   20   25   30")?;
    for month in simulated.days.chunk_by(|one, other| month_of(one) == month_of(other)) {
        let mut line = format!("{:<9}", month_of(&month[0]));
        line.push_str(&" ".repeat(month[0].date.day0() as usize));
        for day in month {
            line.push(match made.get(&day.date) {
                None => '.',
                Some(made) if made.is_full => letters[made.tier].to_ascii_uppercase(),
                Some(made) => letters[made.tier],
            });
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Gives each tier a letter of its own, where its name has one that is left.
fn letters(policy: &Policy) -> Vec<char> {
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

/// Writes the numbers of each month: what there is at its end, what was done in it, and the worst of it.
fn table(days: &[Day], before: Option<&[Day]>, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    type Number = fn(&Totals) -> String;
    /// The columns; the last ones give way first.
    const COLUMNS: [(&str, Number); 9] = [
        ("stored", |month| month.stored.to_string()),
        ("bytes", |month| bytes_text(month.stored_bytes)),
        ("chain", |month| month.longest_chain.to_string()),
        ("restore", |month| bytes_text(month.restore_bytes)),
        ("age", |month| month.newest_age_secs.map_or_else(|| "none".to_owned(), span_text)),
        ("full", |month| month.full.to_string()),
        ("incr", |month| month.incremental.to_string()),
        ("pruned", |month| month.pruned.to_string()),
        ("local", |month| month.local_max.to_string()),
    ];
    let months: Vec<&[Day]> = days.chunk_by(|one, other| month_of(one) == month_of(other)).collect();
    let cell = |month: &&[Day], number: &Number| {
        let now = number(&Totals::of(month));
        let of_month = |day: &&Day| month_of(day) == month_of(&month[0]);
        let then = before.map(|before| before.iter().filter(of_month).cloned().collect::<Vec<Day>>());
        match then.map(|then| number(&Totals::of(&then))) {
            Some(then) if then != now => format!("{then} -> {now}"),
            _ => now,
        }
    };
    let mut columns: Vec<Vec<String>> = Vec::new();
    let mut room = options.columns.saturating_sub("2026-12".len());
    for (name, number) in &COLUMNS {
        let column: Vec<String> = std::iter::once((*name).to_owned())
            .chain(months.iter().map(|month| cell(month, number)))
            .collect();
        let wide = GAP + column.iter().map(|cell| width(cell)).max().unwrap_or(0);
        if wide > room {
            break;
        }
        room -= wide;
        columns.push(column);
    }
    let names = std::iter::once("month".to_owned()).chain(months.iter().map(|month| month_of(&month[0])));
    for (row, name) in names.enumerate() {
        let mut line = format!("{name:<7}");
        for column in &columns {
            let wide = GAP + column.iter().map(|cell| width(cell)).max().unwrap_or(0);
            line.push_str(&format!("{:>wide$}", column[row]));
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Says what the policy comes to: how far back one can go, what a restore reads, and where storage settles.
fn sentence(simulated: &PolicySimulation, policy: &Policy) -> String {
    let totals = simulated.totals();
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
    let (least, most) = (schedule.wall_gap_min(), schedule.wall_gap_max());
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

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
