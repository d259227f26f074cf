//! Blocks in columns that are the same for the whole output.

use super::options::TextOptions;
use super::rows::{Row, RowGroup};
use crate::render::Styles;
use crate::render::cells::{padded, width, wrapped};
use crate::render::wording::Symbol;
use anstyle::Style;
use std::borrow::Borrow;
use std::io::{self, Write};

/// Blanks before a row's sign; the sign and a blank follow.
const INDENT: &str = "  ";
/// Blanks between columns.
const GAP: usize = 2;
/// Where fewer columns than this are left for what and why, the why goes below.
const SIDE_BY_SIDE_MIN: usize = 50;
/// The preferred width of a why; longer ones are wrapped before a what is.
const WHY_ENOUGH: usize = 31;

/// The widths of the columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    styles: Styles,
    columns: usize,
    verb: usize,
    reasons: Reasons,
}

/// Where a row's why stands.
#[derive(Clone, Copy, Debug)]
enum Reasons {
    /// Beside the what, which has so many columns.
    Beside { what: usize },
    /// On lines below it.
    Below,
}

impl Table {
    /// Measures everything that is to be written, one block after the other: all of them need not be there at once.
    pub(super) fn new<B: Borrow<RowGroup>>(
        blocks: impl IntoIterator<Item = B>,
        options: &TextOptions,
    ) -> Self {
        let (mut verb, mut what, mut why) = (0, 0, 0);
        for block in blocks {
            for row in &block.borrow().rows {
                verb = verb.max(width(row.verb));
                if !row.why.is_empty() {
                    what = what.max(width(&row.what));
                    why = why.max(width(&row.why));
                }
            }
        }
        let room = options.columns.saturating_sub(left_of_what(verb) + GAP);
        let reasons = if what + why <= room || room >= SIDE_BY_SIDE_MIN {
            Reasons::Beside { what: what.min(room.saturating_sub(why.min(WHY_ENOUGH))) }
        } else {
            Reasons::Below
        };
        Self { styles: options.styles, columns: options.columns, verb, reasons }
    }

    /// Writes a block.
    pub(super) fn write(&self, block: &RowGroup, out: &mut dyn Write) -> io::Result<()> {
        let heading = self.styles.heading;
        let policy = block.policy.as_ref().map_or_else(String::new, |policy| format!("  {policy}"));
        if width(&block.alias) + 2 + width(&block.id) + width(&policy) <= self.columns {
            writeln!(out, "{heading}{}{heading:#}  {}{policy}", block.alias, block.id)?;
        } else {
            for line in wrapped(&block.alias, self.columns) {
                writeln!(out, "{heading}{line}{heading:#}")?;
            }
            for line in wrapped(&format!("{}{policy}", block.id), self.columns - INDENT.len()) {
                writeln!(out, "{INDENT}{line}")?;
            }
        }
        block.rows.iter().try_for_each(|row| self.write_row(row, out))
    }

    fn write_row(&self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        let left = left_of_what(self.verb);
        let room = self.columns.saturating_sub(left);
        let lines = match self.reasons {
            _ if row.why.is_empty() => wrapped(&row.what, room),
            Reasons::Beside { what } => {
                let whys = wrapped(&row.why, room.saturating_sub(what + GAP));
                let whats = wrapped(&row.what, what);
                let lines = whats.len().max(whys.len());
                let cell = |cells: &[String], line: usize| cells.get(line).cloned().unwrap_or_default();
                (0..lines)
                    .map(|line| format!("{}{}", padded(&cell(&whats, line), what + GAP), cell(&whys, line)))
                    .collect()
            }
            Reasons::Below => [wrapped(&row.what, room), wrapped(&row.why, room)].concat(),
        };
        let style = self.style(row.symbol);
        for (place, line) in lines.iter().enumerate() {
            let text = if place == 0 {
                let verb = padded(row.verb, self.verb + GAP);
                format!("{INDENT}{style}{} {verb}{style:#}{line}", row.symbol.sign())
            } else {
                format!("{}{line}", " ".repeat(left))
            };
            writeln!(out, "{}", text.trim_end())?;
        }
        Ok(())
    }

    fn style(&self, symbol: Symbol) -> Style {
        match symbol {
            Symbol::Create => self.styles.create,
            Symbol::Delete => self.styles.delete,
            Symbol::Destroy => self.styles.destroy,
            Symbol::Held | Symbol::Waiting => self.styles.wait,
            Symbol::Alarm => self.styles.alarm,
            Symbol::Fine | Symbol::Aside => self.styles.quiet,
        }
    }
}

fn left_of_what(verb: usize) -> usize {
    INDENT.len() + 2 + verb + GAP
}
