//! Documents as text for a terminal or a pipe.

use super::doc::{Block, Column, Detail, Doc, Entry, Line, Row, Table, Tone, guides};
use super::escape::visible;
use super::layout::{Fitted, GAP, WRAPPED_ENOUGH, fitted, padded, side_by_side, width, wrapped};
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};

#[derive(Clone, Copy, Debug)]
pub struct TextOptions {
    pub styles: Styles,
    /// The columns there are; 60 or more is sensible.
    pub columns: usize,
    pub detail: Detail,
}

/// Whether an output has colours: those of the terminal's own sixteen, so that they suit its background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Styles {
    #[default]
    Plain,
    Colored,
}

impl Styles {
    pub fn of(self, tone: Tone) -> Style {
        match tone {
            _ if self == Self::Plain => Style::new(),
            Tone::Plain | Tone::Fine => Style::new().dimmed(),
            Tone::Create => AnsiColor::Green.on_default(),
            Tone::Wait | Tone::Held => AnsiColor::Yellow.on_default(),
            Tone::Delete => AnsiColor::Red.on_default(),
            Tone::Destroy => AnsiColor::Magenta.on_default().bold(),
            Tone::Alarm => AnsiColor::Red.on_default().bold(),
        }
    }

    /// Returns the style of what begins a block, such as a VM's alias.
    fn heading(self) -> Style {
        if self == Self::Plain { Style::new() } else { Style::new().bold() }
    }
}

const INDENT: &str = "  ";
/// Where fewer columns than this are left for what and why, the why goes below.
const SIDE_BY_SIDE_MIN: usize = 50;
/// The columns in which the name of most backups fits.
const TREE_ENOUGH: usize = 24;
/// The preferred width of a why; longer ones are wrapped before a what is.
const WHY_ENOUGH: usize = 31;

/// Writes a document. Its last lines are always its summary, which is never wrapped.
pub fn write(doc: &Doc, options: &TextOptions, out: &mut dyn Write) -> io::Result<()> {
    for block in &doc.alarms {
        options.block(block, out)?;
    }
    let shown =
        doc.blocks.iter().filter(|block| !block.is_empty() && !matches!(block, Block::Details { .. }));
    let mut is_first = doc.alarms.is_empty();
    let mut is_below_heading = false;
    for block in shown {
        let follows_on = is_below_heading || matches!(block, Block::Table(table) if table.is_tree());
        if !is_first && !follows_on {
            writeln!(out)?;
        }
        is_first = false;
        is_below_heading = matches!(block, Block::Heading(_));
        options.block(block, out)?;
    }
    let is_last = doc.remarks.is_empty() && doc.summary.is_empty();
    if !is_first && !is_last {
        writeln!(out)?;
    }
    for (tone, remark) in &doc.remarks {
        options.para(*tone, remark, out)?;
    }
    doc.summary.iter().try_for_each(|line| writeln!(out, "{}", visible(line)))
}

fn aligned(column: Column, text: &str, columns: usize) -> String {
    let blanks = if column.is_number { columns.saturating_sub(width(text)) } else { 0 };
    format!("{}{text}", " ".repeat(blanks))
}

impl TextOptions {
    fn block(&self, block: &Block, out: &mut dyn Write) -> io::Result<()> {
        match block {
            Block::Heading(text) => {
                self.lines(self.styles.heading(), &wrapped(&visible(text), self.columns), out)
            }
            Block::Para(tone, text) => self.para(*tone, text, out),
            Block::List(items) => {
                for (tone, item) in items {
                    let space = self.columns.saturating_sub(2 * INDENT.len());
                    for (place, line) in wrapped(&visible(item), space).iter().enumerate() {
                        let style = self.line_style(*tone);
                        let indent = if place == 0 { INDENT } else { "    " };
                        writeln!(out, "{indent}{style}{line}{style:#}")?;
                    }
                }
                Ok(())
            }
            Block::Table(table) => self.table(table, out),
            Block::Entries(entries) => self.entries(entries, out),
            Block::Lines { title, lines } => lines.iter().try_for_each(|(tone, line)| {
                let style = match tone {
                    _ if title.is_none() => Style::new(),
                    Tone::Fine => self.styles.heading(),
                    tone => self.styles.of(*tone),
                };
                writeln!(out, "{style}{}{style:#}", visible(line))
            }),
            Block::Details { .. } => Ok(()),
        }
    }

    /// Returns the style of a whole line: only what is urgent has a colour throughout.
    fn line_style(&self, tone: Tone) -> Style {
        if tone >= Tone::Destroy { self.styles.of(tone) } else { Style::new() }
    }

    fn para(&self, tone: Tone, text: &str, out: &mut dyn Write) -> io::Result<()> {
        self.lines(self.line_style(tone), &wrapped(&visible(text), self.columns), out)
    }

    fn lines(&self, style: Style, lines: &[String], out: &mut dyn Write) -> io::Result<()> {
        lines.iter().try_for_each(|line| writeln!(out, "{style}{line}{style:#}"))
    }

    fn table(&self, table: &Table, out: &mut dyn Write) -> io::Result<()> {
        let guides = guides(&table.rows);
        let used = table.used();
        // The sign and a blank stand before the first cell.
        let left = |row: usize| width(&guides[row].first) + 2;
        let indent = if table.is_tree() { INDENT } else { "" };
        let space = self.columns.saturating_sub(indent.len());
        let fit = |&place: &usize| {
            let column = table.columns[place];
            let is_first = Some(&place) == used.first();
            let cell = |(at, row): (usize, &Row)| {
                width(&visible(&row.cells[place])) + if is_first { left(at) } else { 0 }
            };
            let widest = table.rows.iter().enumerate().map(cell).max().unwrap_or(0);
            let enough = match column.wraps {
                false => usize::MAX,
                // A short name and a time, beside the branches.
                true if is_first && table.is_tree() => {
                    (0..table.rows.len()).map(left).max().unwrap_or(0) + TREE_ENOUGH
                }
                true => WRAPPED_ENOUGH,
            };
            Fitted { place, width: widest.max(width(column.title) + if is_first { 2 } else { 0 }), enough }
        };
        let columns = fitted(table.columns, used.iter().map(fit).collect(), space);
        // The branches of a tree go on beside the lines of other cells.
        let lines = |text: &dyn Fn(usize) -> String, first: &str, rest: &str| {
            let cell = |&Fitted { place, width: columns, .. }: &Fitted| {
                let (first, rest) = if Some(&place) == used.first() { (first, rest) } else { ("", "") };
                let line = |(at, line): (usize, &String)| {
                    let line = format!("{}{line}", if at == 0 { first } else { rest });
                    aligned(table.columns[place], &line, columns)
                };
                let lines = wrapped(&text(place), columns.saturating_sub(width(first).max(width(rest))));
                (lines.iter().enumerate().map(line).collect(), columns)
            };
            let mut cells: Vec<(Vec<String>, usize)> = columns.iter().map(cell).collect();
            let height = cells.iter().map(|(lines, _)| lines.len()).max().unwrap_or(0);
            cells.iter_mut().take(1).for_each(|(lines, _)| lines.resize(height, rest.to_owned()));
            side_by_side(&cells)
        };
        let heading = self.styles.heading();
        for line in lines(&|place| table.columns[place].title.to_owned(), INDENT, INDENT) {
            writeln!(out, "{indent}{heading}{line}{heading:#}")?;
        }
        for (at, row) in table.rows.iter().enumerate() {
            let first = format!("{}{} ", guides[at].first, row.tone.sign());
            let rest = padded(&guides[at].below, width(&first));
            let style = match row.tone {
                Tone::Fine => Style::new(),
                tone => self.styles.of(tone),
            };
            for line in lines(&|place| visible(&row.cells[place]), &first, &rest) {
                writeln!(out, "{indent}{style}{line}{style:#}")?;
            }
            let below = format!("{indent}{}", guides[at].below);
            let space = self.columns.saturating_sub(width(&below));
            for line in row.below.iter().flat_map(|text| wrapped(&visible(text), space)) {
                writeln!(out, "{below}{line}")?;
            }
        }
        Ok(())
    }

    fn entries(&self, entries: &[Entry], out: &mut dyn Write) -> io::Result<()> {
        let lines = || entries.iter().flat_map(|entry| &entry.lines);
        let verb = lines().map(|line| width(line.verb)).max().unwrap_or(0);
        let with_why = || lines().filter(|line| !line.why.is_empty());
        let what = with_why().map(|line| width(&visible(&line.what))).max().unwrap_or(0);
        let why = with_why().map(|line| width(&visible(&line.why))).max().unwrap_or(0);
        let left = INDENT.len() + 2 + verb + GAP;
        let space = self.columns.saturating_sub(left + GAP);
        let is_beside = what + why <= space || space >= SIDE_BY_SIDE_MIN;
        let what = is_beside.then(|| what.min(space.saturating_sub(why.min(WHY_ENOUGH))));
        for entry in entries {
            self.entry_head(entry, out)?;
            for line in &entry.lines {
                self.entry_line(line, verb, what, out)?;
            }
        }
        Ok(())
    }

    fn entry_head(&self, entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
        let heading = self.styles.heading();
        let name = visible(&entry.name);
        let others = [&entry.id, &entry.policy];
        let others: Vec<String> =
            others.into_iter().filter(|text| !text.is_empty()).map(|text| visible(text)).collect();
        let others = others.join("  ");
        if name.is_empty() && others.is_empty() {
            return Ok(());
        }
        if width(&name) + GAP + width(&others) <= self.columns {
            let gap = if others.is_empty() { "" } else { "  " };
            return writeln!(out, "{heading}{name}{heading:#}{gap}{others}");
        }
        self.lines(heading, &wrapped(&name, self.columns), out)?;
        let others = wrapped(&others, self.columns.saturating_sub(INDENT.len()));
        others.iter().try_for_each(|line| writeln!(out, "{INDENT}{line}"))
    }

    /// Writes a line of an entry; `what` is how many columns it has beside its why, `None` where that goes below.
    fn entry_line(
        &self,
        line: &Line,
        verb: usize,
        what: Option<usize>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let left = INDENT.len() + 2 + verb + GAP;
        let space = self.columns.saturating_sub(left);
        let (said, why) = (visible(&line.what), visible(&line.why));
        let lines = match what {
            _ if why.is_empty() => wrapped(&said, space),
            Some(what) => {
                let why = wrapped(&why, space.saturating_sub(what + GAP));
                side_by_side(&[(wrapped(&said, what), what), (why, 0)])
            }
            None => [wrapped(&said, space), wrapped(&why, space)].concat(),
        };
        let style = self.styles.of(line.tone);
        for (place, text) in lines.iter().enumerate() {
            let text = if place == 0 {
                let verb = padded(line.verb, verb + GAP);
                format!("{INDENT}{style}{} {verb}{style:#}{text}", line.tone.sign())
            } else {
                format!("{}{text}", " ".repeat(left))
            };
            writeln!(out, "{}", text.trim_end())?;
        }
        Ok(())
    }
}
