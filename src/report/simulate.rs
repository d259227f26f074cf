//! The document of a simulation: for each policy a calendar, a table by month and one sentence.

use super::doc::{Block, Column, Doc, Row, Table, Tone};
use super::drawing::Drawing;
use super::graph;
use super::words::{counted, span_text};
use crate::plan::bytes_text;
use crate::policy::{Policies, Policy, Tier};
use crate::simulate::{Day, Made, PolicySimulation, Simulation, Story, Totals};
use chrono::{Datelike as _, NaiveDate, TimeDelta};
use std::collections::{BTreeMap, BTreeSet};

/// Storage counts as settled where the most of these days is no more than the most of as many days before, by this part.
const TOLERANCE: u64 = 50;
const SETTLED_DAYS: usize = 62;

const CHAIN_COLUMNS: [Column; 3] =
    [Column::wrapping("backup", 0), Column::number("size", 0), Column::new("remark", 0)];

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

type Number = fn(&Totals) -> String;
/// What days come to, each number with its name.
pub(super) const NUMBERS: [(&str, Number); 10] = [
    ("full backups made", |days| days.full.to_string()),
    ("incremental backups made", |days| days.incremental.to_string()),
    ("backups deleted from storage", |days| days.pruned.to_string()),
    ("backups stored in the end", |days| days.stored.to_string()),
    ("most backups stored", |days| days.stored_max.to_string()),
    ("stored in the end", |days| bytes_text(days.stored_bytes)),
    ("most snapshots on the hypervisor", |days| days.local_max.to_string()),
    ("backups that a restore reads at the most", |days| days.longest_chain.to_string()),
    ("bytes that a restore of the newest reads", |days| bytes_text(days.restore_bytes)),
    ("greatest age of the newest", |days| days.newest_age_secs.map_or_else(|| "none".to_owned(), span_text)),
];
const BY_MONTH: [usize; 9] = [3, 5, 7, 8, 9, 0, 1, 2, 6];

/// A simulation with the policies that it is of, and what became of one VM of each, in the same order.
#[derive(Clone, Copy)]
pub struct Played<'a> {
    pub simulation: &'a Simulation,
    pub policies: &'a Policies,
    pub stories: &'a [Story],
}

#[derive(Clone, Copy)]
pub(super) struct Year<'a> {
    pub(super) policy: &'a Policy,
    pub(super) simulated: &'a PolicySimulation,
    pub(super) story: &'a Story,
}

impl<'a> Played<'a> {
    fn year(&self, name: &str) -> Option<Year<'a>> {
        let (at, policy) = self.policies.iter().enumerate().find(|(_, policy)| &*policy.name == name)?;
        let simulated = self.simulation.policies.iter().find(|simulated| simulated.policy == policy.name)?;
        Some(Year { policy, simulated, story: self.stories.get(at)? })
    }
}

/// Lists the policies by name: each as it is now, or was where it is gone; as it was before, where it is compared; and what it
/// is to be called for that.
pub(super) fn years<'a>(
    after: Played<'a>,
    before: Option<Played<'a>>,
) -> Vec<(Year<'a>, Option<Year<'a>>, &'static str)> {
    let policies = after.policies.iter().chain(before.iter().flat_map(|before| before.policies.iter()));
    let names: BTreeSet<&str> = policies.map(|policy| &*policy.name).collect();
    let year = |name| {
        let (new, old) = (after.year(name), before.map(|before| before.year(name)));
        let change = match (new, old) {
            (Some(_), Some(None)) => ", a new policy",
            (None, _) => ", a policy that is gone",
            _ => "",
        };
        Some((new.or(old.flatten())?, old.flatten().filter(|_| new.is_some()), change))
    };
    names.into_iter().filter_map(year).collect()
}

/// Reports a simulation; with `before` each number as it is before and after. On a terminal of so many columns the chains at its
/// end are drawn.
pub fn document(after: Played<'_>, before: Option<Played<'_>>, terminal: Option<usize>) -> Doc {
    let mut blocks = Vec::new();
    for (year, old, change) in years(after, before) {
        let Year { policy, simulated, .. } = year;
        let drawing = Drawing::of_story(year.story, policy, after.simulation.from);
        blocks.push(Block::Heading(format!("{}, {}{change}", policy.name, counted(simulated.vms, "VM"))));
        blocks.extend(calendar(simulated, policy, &drawing));
        blocks.extend(terminal.and_then(|columns| chains(&drawing, columns)).into_iter().flatten());
        blocks.push(Block::Table(months(&simulated.days, old.map(|old| old.simulated.days.as_slice()))));
        blocks.extend(sentences(year, old).into_iter().map(|says| Block::Para(Tone::Plain, says)));
    }
    Doc { blocks, ..Doc::default() }
}

/// Draws what is stored in the end; `None` where that is nothing, or does not fit.
fn chains(drawing: &Drawing, columns: usize) -> Option<[Block; 3]> {
    let today = drawing.last_day;
    let shown = drawing.drawn(today);
    let way = drawing.newest(today).map(|newest| drawing.way(newest))?;
    let mut guides = graph::guides(drawing, &shown, &way, columns / graph::SHARE)?.into_iter();
    let row = |&at: &usize| {
        let remark = drawing.remark(at, today);
        let tone = match remark {
            "expired" => Tone::Plain,
            "cannot be restored" => Tone::Alarm,
            _ => Tone::Fine,
        };
        let cells = vec![drawing.name(at), drawing.size(at), remark.to_owned()];
        Row { tone, guide: guides.next(), cells, ..Row::default() }
    };
    let rows = shown.iter().rev().map(row).collect();
    let head = format!(
        "Chains at the end of {}, the newest first; numbers are the steps of a restore of the newest.",
        drawing.date(today)
    );
    let end = format!(
        "Back to {}: {} {}",
        drawing.moment(*way.last()?),
        drawing.restore_text(&way, today),
        drawing.left_out(today)
    );
    Some([
        Block::Para(Tone::Plain, head),
        Block::Table(Table { columns: &CHAIN_COLUMNS, rows, folded: None }),
        Block::Para(Tone::Plain, end.trim_end().to_owned()),
    ])
}

/// Shows what is made of one VM, a month a line, a letter a tier; a capital is a full backup.
fn calendar(simulated: &PolicySimulation, policy: &Policy, drawing: &Drawing) -> [Block; 2] {
    let mut made: BTreeMap<NaiveDate, Made> = BTreeMap::new();
    for &one in &simulated.example.made {
        // Of several the coarsest.
        let best = made.entry(policy.zone.moment(one.at).date_naive()).or_insert(one);
        if (one.tier, !one.is_full) < (best.tier, !best.is_full) {
            *best = one;
        }
    }
    let whose = match simulated.example.alias.as_str() {
        "" => String::new(),
        alias => format!(" of {alias}"),
    };
    let legend = format!("Made{whose}: {}, a point none.", graph::key(drawing));
    let mut lines = vec![(Tone::Plain, "         1   5    10   15   20   25   30".to_owned())];
    for month in simulated.days.chunk_by(|one, other| month_of(one) == month_of(other)) {
        let Some(first) = month.first() else { continue };
        let days = month.iter().map(|day| match made.get(&day.date) {
            None => '.',
            Some(made) if made.is_full => drawing.lanes[made.tier].letter,
            Some(made) => drawing.lanes[made.tier].letter.to_ascii_lowercase(),
        });
        let before = " ".repeat(first.date.day0() as usize);
        lines.push((Tone::Plain, format!("{:<9}{before}{}", month_of(first), days.collect::<String>())));
    }
    [Block::Para(Tone::Plain, legend), Block::Lines { title: None, lines }]
}

fn month_of(day: &Day) -> String {
    day.date.format("%Y-%m").to_string()
}

/// Counts each month: what there is at its end, what was done in it, and the worst of it.
pub(super) fn months(days: &[Day], before: Option<&[Day]>) -> Table {
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
        let cells = BY_MONTH.map(|at| cell(NUMBERS[at].1));
        Row { cells: std::iter::once(name).chain(cells).collect(), ..Row::default() }
    };
    let months = days.chunk_by(|one, other| month_of(one) == month_of(other));
    Table { columns: &COLUMNS, rows: months.map(row).collect(), folded: None }
}

/// Says what a policy comes to, before and after where it is compared, and what a day without a run costs.
pub(super) fn sentences(year: Year<'_>, before: Option<Year<'_>>) -> Vec<String> {
    let now = sentence(year);
    let mut says = match before {
        Some(before) => vec![format!("Before: {}", sentence(before)), format!("After: {now}")],
        None => vec![now],
    };
    says.extend(year.story.missed_day.map(|missed| {
        let age = span_text(missed.newest_age_secs);
        match missed.backups {
            0 => format!(
                "A day without a run costs no backup: the next run makes up for it; until then the newest one gets {age} old."
            ),
            count => format!("A day without a run costs {}: the newest one gets {age} old.", counted(count, "backup")),
        }
    }));
    says
}

/// Says what the policy comes to: how far back one can go, what a restore reads, and where storage settles.
fn sentence(Year { simulated, policy, .. }: Year<'_>) -> String {
    let totals = Totals::of(&simulated.days);
    if totals.longest_chain == 0 {
        return "Nothing is ever stored that could be restored.".to_owned();
    }
    let made = |tier: usize| simulated.example.made.iter().filter(|made| made.tier == tier).count();
    let reaches = policy.tiers.iter().enumerate().rev().filter(|(index, _)| made(*index) > 0);
    let reaches: Vec<String> = reaches.map(|(index, tier)| reach(tier, made(index), simulated)).collect();
    let size = bytes_text(totals.stored_bytes);
    let storage = match settled(&simulated.days) {
        None => format!("storage comes to {size}, in too short a time to see it settle"),
        Some(Some((most, since))) => format!("storage settles at {} from {since} on", bytes_text(most)),
        Some(None) => format!("storage is {size} in the end and does not settle within the simulated time"),
    };
    let chain = counted(totals.longest_chain, "backup");
    let restore = bytes_text(totals.restore_bytes);
    format!(
        "You can go back to {}; a restore reads at most {chain}, {restore}; {storage}.",
        reaches.join(", ")
    )
}

/// Finds out at how many bytes storage settles, and on which day; `None` where the days are too few to tell, or it does not.
fn settled(days: &[Day]) -> Option<Option<(u64, NaiveDate)>> {
    let (rest, recent) = days.split_at(days.len().checked_sub(SETTLED_DAYS)?);
    let earlier = &rest[rest.len().checked_sub(SETTLED_DAYS)?..];
    let most = |days: &[Day]| days.iter().map(|day| day.stored_bytes).max().unwrap_or(0);
    let (before, now) = (most(earlier), most(recent));
    let most = Some(now).filter(|now| *now <= before + before / TOLERANCE);
    let since = |most: u64| {
        // What was there in the beginning may be more.
        let above = days.iter().rposition(|day| day.stored_bytes > most).map_or(0, |last| last + 1);
        let reached = days[above..].iter().find(|day| day.stored_bytes >= most - most / TOLERANCE)?;
        Some((most, reached.date))
    };
    Some(most.and_then(since))
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
