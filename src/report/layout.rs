//! Text in columns, measured as a terminal shows it: wrapped, padded, fitted.

use super::doc::Column;
use anstream::adapter::strip_str;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub(super) const GAP: usize = 2;
/// A column that may break has no fewer columns of the terminal than this.
const WRAPPED_MIN: usize = 14;
/// Other columns are left out before a column that may break has fewer than this.
pub(super) const WRAPPED_ENOUGH: usize = 16;

/// Returns the columns that a text takes on a terminal: its colours take none.
pub(super) fn width(text: &str) -> usize {
    strip_str(text).map(UnicodeWidthStr::width).sum()
}

pub(super) fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Breaks a text into lines of at most so many columns: between words, and inside one only where it is longer than a
/// whole line. Nothing is left out; an empty text is one empty line.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let word_width = width(word);
        if used > 0 && used + 1 + word_width <= columns {
            line.push(' ');
            line.push_str(word);
            used += 1 + word_width;
            continue;
        }
        if used > 0 {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if word_width <= columns {
            line.push_str(word);
            used = word_width;
            continue;
        }
        for (at, letter) in word.char_indices() {
            let letter_width = letter.width().unwrap_or(0);
            if used + letter_width > columns {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            // A break must not let a line begin with what a CI system takes as a command.
            if used == 0 && at > 0 && word.get(at..).is_some_and(|rest| rest.starts_with("::")) {
                line.push('\\');
                used += 1;
            }
            line.push(letter);
            used += letter_width;
        }
    }
    lines.push(line);
    lines
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fitted {
    pub(super) place: usize,
    /// The width that it has; at first that of its widest cell.
    pub(super) width: usize,
    /// The width below which others are left out rather than that it breaks.
    pub(super) enough: usize,
}

/// Leaves out columns until a table fits, and gives those that are left their widths.
pub(super) fn fitted(columns: &[Column], mut table: Vec<Fitted>, space: usize) -> Vec<Fitted> {
    let taken = |table: &[Fitted], width: &dyn Fn(&Fitted) -> usize| {
        table.iter().map(width).sum::<usize>() + GAP * table.len().saturating_sub(1)
    };
    while taken(&table, &|column| column.enough.min(column.width)) > space {
        let droppable = table.iter().enumerate().filter(|(_, column)| columns[column.place].drop > 0);
        let Some((at, _)) = droppable.min_by_key(|(_, column)| columns[column.place].drop) else { break };
        table.remove(at);
    }
    let least = |column: &Fitted| {
        if columns[column.place].wraps { column.width.min(WRAPPED_MIN) } else { column.width }
    };
    let mut left = space.saturating_sub(taken(&table, &least));
    // What lacks least gets it first, so that as few columns as possible break.
    let mut order: Vec<usize> = (0..table.len()).collect();
    order.sort_by_key(|&at| table[at].width);
    for at in order {
        let more = (table[at].width - least(&table[at])).min(left);
        left -= more;
        table[at].width = least(&table[at]) + more;
    }
    table
}

pub(super) fn side_by_side(cells: &[(Vec<String>, usize)]) -> Vec<String> {
    let height = cells.iter().map(|(lines, _)| lines.len()).max().unwrap_or(0);
    let line = |row: usize| {
        let cell = |(lines, width): &(Vec<String>, usize)| {
            padded(lines.get(row).map_or("", String::as_str), width + GAP)
        };
        cells.iter().map(cell).collect::<String>().trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_broken_only_when_no_line_could_hold_them_and_wide_letters_count() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a abcdefghij k", 4), ["a", "abcd", "efgh", "ij k"]);
        assert_eq!(wrapped("データ データ", 7), ["データ", "データ"]);
        assert_eq!(wrapped("abcd::stop::", 4), ["abcd", "\\::s", "top:", ":"]);
        assert_eq!(wrapped("", 10), [""]);
        assert_eq!(padded("データ", 8), "データ  ");
    }

    proptest! {
        #[test]
        fn wrapping_loses_nothing_and_keeps_the_width(text in "[a-zé世 ]{0,120}", columns in 2_usize..60) {
            let lines = wrapped(&text, columns);
            prop_assert!(lines.iter().all(|line| width(line) <= columns));
            let letters = |text: &str| text.replace(' ', "");
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
