//! Documents as HTML that needs nothing from outside. Maud escapes; what came from elsewhere is made visible before.

mod calendar;
mod chains;
mod curves;
pub(super) mod fleet;
pub mod simulation;
pub mod vm;

use super::doc::{Block, Doc, Entry, Line, Row, Table, Tone};
use super::escape::visible;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// How many rows of a part are shown. Longer pages are unreadable and slow on a phone.
const ROWS_MAX: usize = 2_000;

const STYLE: &str = include_str!("page.css");
const PICTURES: &str = include_str!("html/pictures.css");
const SCRIPT: &str = include_str!("html/simulation.js");

/// What a browser may do with a page: apply the style in it, run the scripts in it that are ours, and ask where it came from.
pub static BROWSER_MAY: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(Sha256::digest(SCRIPT));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'"
    )
});

/// Writes a page around its body. Without a footer of its own it is one of pictures, with the script for them.
fn frame(title: &str, body: &Markup, footer: Option<&str>) -> String {
    let program = concat!("fifo-retain ", env!("CARGO_PKG_VERSION"));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                @if footer.is_none() { meta http-equiv="Content-Security-Policy" content=(*BROWSER_MAY); }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (visible(title)) @if footer.is_none() { " · fifo-retain" } }
                style { (PreEscaped(STYLE)) (PreEscaped(PICTURES)) }
            }
            body.pictures {
                (body)
                footer { (visible(footer.unwrap_or(program))) }
                @if footer.is_none() { script { (PreEscaped(SCRIPT)) } }
            }
        }
    };
    page.into_string()
}

/// Writes a page of a document with something below it: what is in `about` stands below the title, and `footer` at the end.
pub(super) fn page(title: &str, about: &str, doc: &Doc, below: &Markup, footer: &str) -> String {
    let body = html! {
        header { h1 { "fifo-retain" } p.quiet { (visible(about)) } }
        main {
            @for block in &doc.alarms { (part(block)) }
            @for line in &doc.summary { p { strong { (visible(line)) } } }
            (part(&Block::List(doc.remarks.clone())))
            @for block in &doc.blocks { (part(block)) }
            (below)
        }
    };
    frame(title, &body, Some(footer))
}

fn part(block: &Block) -> Markup {
    html! {
        @match block {
            block if block.is_empty() => {},
            Block::Heading(text) => h2 { (visible(text)) },
            Block::Para(tone, text) => p class=(tone.class()) { (visible(text)) },
            Block::List(items) => {
                ul.list {
                    @for (tone, item) in items.iter().take(ROWS_MAX) { li class=[urgent(*tone)] { (visible(item)) } }
                }
                (more(items.len()))
            },
            Block::Table(table) => (rows(table)),
            Block::Entries(entries) => (entry_table(entries)),
            Block::Lines { title: Some(title), lines } => details {
                summary { (visible(title)) }
                (preformatted(lines))
            },
            Block::Lines { title: None, lines } => (preformatted(lines)),
            Block::Details { title, blocks } => details {
                summary { (visible(title)) }
                @for block in blocks { (part(block)) }
            },
        }
    }
}

fn preformatted(lines: &[(Tone, String)]) -> Markup {
    html! { pre { @for (_, line) in lines { (visible(line)) "\n" } } }
}

fn urgent(tone: Tone) -> Option<&'static str> {
    (tone >= Tone::Destroy).then(|| tone.class())
}

fn indent(row: &Row, place: usize) -> Option<String> {
    let depth = row.depth.filter(|depth| place == 0 && *depth > 0)?;
    Some(format!("padding-left: {depth}rem"))
}

fn more(rows: usize) -> Markup {
    html! { @if rows > ROWS_MAX { p.quiet { "and " (rows - ROWS_MAX) " more" } } }
}

fn rows(table: &Table) -> Markup {
    let used = table.used();
    // A class of its own for what is well lets a checkbox hide it.
    let has_fine = table.rows.iter().any(|row| row.tone < Tone::Wait)
        && table.rows.iter().any(|row| row.tone == Tone::Alarm);
    let row = |row: &Row| {
        html! {
            tr class={ "tone-" (row.tone.class()) } {
                @for (place, &column) in used.iter().enumerate() {
                    td class=[(place == 0).then_some("name")] style=[indent(row, place)] data-label=(table.columns[column].title) {
                        span { (visible(&row.cells[column])) }
                        @if place == 0 { @for text in &row.below { br; span.quiet { (visible(text)) } } }
                    }
                }
            }
        }
    };
    html! {
        @if has_fine { label.filter { input.filter type="checkbox"; " only what is out" } }
        table {
            thead { tr { @for &column in &used { th scope="col" { (table.columns[column].title) } } } }
            tbody { @for line in table.rows.iter().take(ROWS_MAX) { (row(line)) } }
        }
        (more(table.rows.len()))
    }
}

fn entry_table(entries: &[Entry]) -> Markup {
    let line = |entry: &Entry, place: usize, line: &Line| {
        html! {
            tr class={ "tone-" (line.tone.class()) } {
                td.name data-label="VM" { @if place == 0 {
                    span { (visible(&entry.name)) " " code { (visible(&entry.id)) } }
                } }
                td data-label="policy" { @if place == 0 { (visible(&entry.policy)) } }
                td class=(line.tone.class()) { (line.verb) }
                td data-label="what" { span { (visible(&line.what)) } }
                td data-label="why" { span { (visible(&line.why)) } }
            }
        }
    };
    html! {
        table {
            thead { tr { @for title in ["VM", "policy", "", "what", "why"] { th scope="col" { (title) } } } }
            tbody {
                @for entry in entries.iter().take(ROWS_MAX) {
                    @for (place, of) in entry.lines.iter().enumerate() { (line(entry, place, of)) }
                }
            }
        }
        (more(entries.len()))
    }
}
