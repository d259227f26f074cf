//! A page of limited size in bytes: what does not fit is left out by whole rows, counted, and reported at the top.

use std::fmt::Write as _;

/// A noun in the singular and the plural.
pub(super) type CountNoun = (&'static str, &'static str);

/// Puts a number before a noun.
pub(super) fn counted(count: usize, (one, many): CountNoun) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A part of the page that may be cut between its rows.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// The noun for a row.
    pub(super) noun: CountNoun,
    /// What it is called, with its count.
    pub(super) title: String,
    pub(super) body: Body,
    /// Its rows, the first ones first; each is one of `noun`.
    pub(super) rows: Vec<String>,
    pub(super) place: Place,
}

/// What the rows of a section are.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Rows of a table with these columns.
    Table(&'static [&'static str]),
    /// Lines of a unified diff.
    Diff,
}

/// The position of a section, and whether it is folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Above the deletes, in full view.
    Top,
    /// Below the deletes, folded.
    Folded,
}

/// A section as far as there was room for it.
#[derive(Debug, Default)]
struct Fitted {
    text: String,
    left_out: usize,
}

impl Section {
    fn open(&self) -> String {
        let title = &self.title;
        let heading = match self.place {
            Place::Top => format!("\n### {title}\n\n"),
            Place::Folded => format!("\n<details><summary>{title}</summary>\n\n"),
        };
        match self.body {
            Body::Table(columns) => heading + &table_head(columns),
            Body::Diff => format!("{heading}{}diff\n", self.fence()),
        }
    }

    fn close(&self) -> String {
        let details = if self.place == Place::Folded { "\n</details>\n" } else { "" };
        match self.body {
            Body::Table(_) => details.to_owned(),
            Body::Diff => format!("{}\n{details}", self.fence()),
        }
    }

    /// Returns a fence that no row can close: longer than every run of backticks in them.
    fn fence(&self) -> String {
        let runs = self.rows.iter().flat_map(|row| row.split(|letter| letter != '`').map(str::len));
        "`".repeat(runs.max().unwrap_or(0).max(2) + 1)
    }

    fn whole_bytes(&self) -> usize {
        self.open().len() + self.rows.iter().map(String::len).sum::<usize>() + self.close().len()
    }

    /// Returns as much of it as fits into so many bytes: all, or as many rows as leave room to say that there are more, or
    /// nothing.
    fn fitted(&self, room: usize) -> Fitted {
        let (mut text, close) = (self.open(), self.close());
        if self.whole_bytes() <= room {
            self.rows.iter().for_each(|row| text.push_str(row));
            text.push_str(&close);
            return Fitted { text, left_out: 0 };
        }
        let and_more = |left: usize| format!("\n… and {} that had no room here\n", counted(left, self.noun));
        let reserved = and_more(self.rows.len()).len() + close.len();
        let mut shown = 0;
        for row in &self.rows {
            if text.len() + row.len() + reserved > room {
                break;
            }
            text.push_str(row);
            shown += 1;
        }
        let left_out = self.rows.len() - shown;
        if shown == 0 {
            return Fitted { text: String::new(), left_out };
        }
        text.push_str(&and_more(left_out));
        text.push_str(&close);
        Fitted { text, left_out }
    }
}

pub(super) fn table_head(columns: &[&str]) -> String {
    let mut head = String::new();
    for column in columns {
        // Writing to a String cannot fail.
        let _ = write!(head, "| {column} ");
    }
    head.push_str("|\n");
    head.push_str(&"|---".repeat(columns.len()));
    head.push_str("|\n");
    head
}

pub(super) fn table_row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// Says what was left out; empty where nothing was.
fn notice<'a>(left_out: impl Iterator<Item = (usize, &'a CountNoun)>, max_bytes: usize) -> String {
    let parts: Vec<String> =
        left_out.filter(|(count, _)| *count > 0).map(|(count, noun)| counted(count, *noun)).collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("\n**Left out, for {max_bytes} bytes hold no more: {}.**\n", parts.join(", "))
    }
}

/// Puts a page together that has at most `max_bytes`: the head, what was left out, the sections at the top, the deletes,
/// the folded sections.
///
/// `deletes` is asked for a text of at most so many bytes, before any section is.
pub(super) fn composed(
    head: &str,
    deletes: impl FnOnce(usize) -> String,
    sections: &[Section],
    max_bytes: usize,
) -> String {
    let all = sections.iter().map(|section| (section.rows.len(), &section.noun));
    let reserved = head.len() + notice(all, max_bytes).len();
    let deletes = deletes(max_bytes.saturating_sub(reserved));
    let mut room = max_bytes.saturating_sub(reserved + deletes.len());
    // A short one is not worth leaving out for a few more rows of a long one.
    let is_long = |section: &Section| section.whole_bytes() > room / 8;
    let mut turns: Vec<usize> = (0..sections.len()).collect();
    turns.sort_by_key(|&place| is_long(&sections[place]));
    let mut fitted: Vec<Fitted> = sections.iter().map(|_| Fitted::default()).collect();
    for place in turns {
        fitted[place] = sections[place].fitted(room);
        room -= fitted[place].text.len();
    }
    let left_out = fitted.iter().zip(sections).map(|(fitted, section)| (fitted.left_out, &section.noun));
    let notice = notice(left_out, max_bytes);
    let at = |place: Place| -> String {
        let all = fitted.iter().zip(sections).filter(|(_, section)| section.place == place);
        all.map(|(fitted, _)| fitted.text.as_str()).collect()
    };
    format!("{head}{notice}{}{deletes}{}", at(Place::Top), at(Place::Folded))
}
