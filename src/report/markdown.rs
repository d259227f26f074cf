//! Documents as Markdown, for comments, issues and job summaries.
//!
//! A comment takes only so many bytes. Each part is either whole or counted, those at the end are counted first, and a line at
//! the top says that something is only counted.

use super::doc::{Block, Doc, Entry, Row, Table, Tone};
use super::escape::{cut, markdown as escaped, visible};
use super::words::counted;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The first line of every plan, by which a pipeline finds its earlier comment and replaces it.
pub const MARKER: &str = "<!-- fifo-retain plan -->";

/// What a comment on GitHub takes, in bytes.
pub const MAX_BYTES_DEFAULT: usize = 65_536;

/// Fewer bytes than this do not hold the counts and what was left out.
pub const MAX_BYTES_LEAST: usize = 1_536;

/// The longest name shown, in characters; the UUID follows.
const NAME_CHARS_MAX: usize = 60;
const TEXT_CHARS_MAX: usize = 300;

/// Writes a document, in at most `max_bytes` where these are given. Fewer than [`MAX_BYTES_LEAST`] may not be kept to.
pub fn written(doc: &Doc, marker: Option<&str>, max_bytes: Option<usize>) -> String {
    let remarks = Block::List(doc.remarks.clone());
    let marker = marker.map_or_else(String::new, |marker| format!("{marker}\n"));
    let summary: String = doc.summary.iter().map(|line| format!("**{}**\n\n", escaped(line))).collect();
    // A safety stop stands first and is counted last.
    let parts: Vec<&Block> = doc.alarms.iter().chain([&remarks]).chain(&doc.blocks).collect();
    let mut texts: Vec<String> = parts.iter().map(|part| text(part)).collect();
    let mut notice = String::new();
    if let Some(max_bytes) = max_bytes {
        let fixed = marker.len() + summary.len();
        let is_over = |texts: &[String], notice: &str| {
            fixed + notice.len() + texts.iter().map(String::len).sum::<usize>() > max_bytes
        };
        if is_over(&texts, "") {
            notice = format!("**{max_bytes} bytes do not hold all of it: some is only counted here.**\n\n");
        }
        for (place, part) in parts.iter().enumerate().rev() {
            if !is_over(&texts, &notice) {
                break;
            }
            let counted = counted_text(part);
            if counted.len() < texts[place].len() {
                texts[place] = counted;
            }
        }
    }
    let (alarms, rest) = texts.split_at(doc.alarms.len());
    let all = [&marker, &alarms.concat(), &summary, &notice, &rest.concat()].map(String::as_str).concat();
    format!("{}\n", all.trim_end_matches('\n'))
}

fn text(block: &Block) -> String {
    match block {
        block if block.is_empty() => String::new(),
        Block::Heading(text) => format!("### {}\n\n", escaped(text)),
        Block::Para(tone, text) => format!("{}\n\n", toned(*tone, &cell(text))),
        Block::List(items) => {
            let item = |(tone, text): &(Tone, String)| format!("- {}\n", toned(*tone, &cell(text)));
            items.iter().map(item).collect::<String>() + "\n"
        }
        Block::Table(table) => table_text(table),
        Block::Entries(entries) => entries_text(entries),
        Block::Lines { title, lines } => {
            // No line can close a fence that is longer than every run of backticks in them.
            let runs = lines.iter().flat_map(|(_, line)| line.split(|letter| letter != '`').map(str::len));
            let fence = "`".repeat(runs.max().unwrap_or(0).max(2) + 1);
            let language = if title.is_some() { "diff" } else { "" };
            let lines: String = lines.iter().map(|(_, line)| visible(line) + "\n").collect();
            let fenced = format!("{fence}{language}\n{lines}{fence}\n\n");
            title.as_ref().map_or(fenced.clone(), |title| folded(title, &fenced))
        }
        Block::Details { title, blocks } => folded(title, &blocks.iter().map(text).collect::<String>()),
    }
}

fn counted_text(block: &Block) -> String {
    let left_out = |count: usize, noun: &str| format!("… {} left out here\n\n", counted(count, noun));
    match block {
        block if block.is_empty() => String::new(),
        Block::Heading(_) | Block::Para(..) => text(block),
        Block::List(items) => left_out(items.len(), "line"),
        Block::Table(table) => left_out(table.rows.len(), "row"),
        Block::Entries(entries) => {
            let mut counts: BTreeMap<_, usize> = BTreeMap::new();
            for line in entries.iter().flat_map(|entry| &entry.lines) {
                *counts.entry((Reverse(line.tone), line.verb)).or_default() += line.count;
            }
            let part = |((tone, verb), count): ((Reverse<Tone>, &str), usize)| {
                toned(tone.0, &format!("{count} {verb}"))
            };
            let parts: Vec<String> = counts.into_iter().map(part).collect();
            format!("Only counted here: {}\n\n", parts.join(", "))
        }
        Block::Lines { title, lines } => {
            let title = title.as_ref().map_or_else(String::new, |title| format!("{}: ", escaped(title)));
            format!("{title}{}", left_out(lines.len(), "line"))
        }
        Block::Details { title, .. } => format!("{}: left out here\n\n", escaped(title)),
    }
}

fn folded(title: &str, inner: &str) -> String {
    format!("<details><summary>{}</summary>\n\n{inner}</details>\n\n", escaped(title))
}

fn toned(tone: Tone, escaped: &str) -> String {
    if tone >= Tone::Destroy && !escaped.is_empty() { format!("**{escaped}**") } else { escaped.to_owned() }
}

fn cell(text: &str) -> String {
    escaped(&cut(text, TEXT_CHARS_MAX))
}

fn head(titles: &[&str]) -> String {
    format!("| {} |\n{}|\n", titles.join(" | "), "|---".repeat(titles.len()))
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn table_text(table: &Table) -> String {
    let used = table.used();
    let has_more = table.rows.iter().any(|row| !row.below.is_empty());
    let mut titles: Vec<&str> = used.iter().map(|&place| table.columns[place].title).collect();
    if has_more {
        titles.push("why");
    }
    let line = |line: &Row| {
        let mut cells: Vec<String> = used.iter().map(|&place| cell(&line.cells[place])).collect();
        if let (Some(first), Some(depth @ 1..)) = (cells.first_mut(), line.depth) {
            *first = format!("{}└ {first}", "&emsp;".repeat(depth.min(8) - 1));
        }
        if has_more {
            cells.push(line.below.iter().map(|text| cell(text)).collect::<Vec<_>>().join("<br>"));
        }
        row(&cells)
    };
    let part = |rows: &[Row]| match rows {
        [] => String::new(),
        rows => head(&titles) + &rows.iter().map(line).collect::<String>() + "\n",
    };
    match &table.folded {
        Some((from, title)) if *from < table.rows.len() => {
            let (open, rest) = table.rows.split_at(*from);
            part(open) + &folded(title, &part(rest))
        }
        _ => part(&table.rows),
    }
}

fn entries_text(entries: &[Entry]) -> String {
    let mut text = head(&["VM", "policy", "", "what", "why"]);
    for entry in entries {
        let id = if entry.id.is_empty() { String::new() } else { format!(" `{}`", visible(&entry.id)) };
        let mut vm = format!("{}{id}", escaped(&cut(&entry.name, NAME_CHARS_MAX)));
        let mut policy = escaped(&entry.policy);
        for line in &entry.lines {
            // Said once, as in text.
            let (vm, policy) = (std::mem::take(&mut vm), std::mem::take(&mut policy));
            text.push_str(&row(&[
                vm,
                policy,
                toned(line.tone, line.verb),
                cell(&line.what),
                cell(&line.why),
            ]));
        }
        if entry.lines.is_empty() {
            text.push_str(&row(&[vm, policy, String::new(), String::new(), String::new()]));
        }
    }
    text + "\n"
}
