//! Chains of backups as a list with a graph beside it, and in words. `simulation.js` draws the same of another day or backup, and
//! in columns where there is room.

use super::super::drawing::{Drawing, Node, day_text};
use crate::simulate::Day;
use maud::{Markup, PreEscaped, html};
use serde::{Serialize, Serializer};

/// The height of a row, and how far its lanes are apart.
const ROW: f64 = 34.0;
const ROW_LANE: f64 = 24.0;

pub(super) fn shape(lane: usize, x: f64, y: f64, size: f64, class: &str) -> Markup {
    html! {
        @match lane {
            0 => rect class=(class) x=(x - size) y=(y - size) width=(size * 2.0) height=(size * 2.0) rx="3" {},
            1 => {
                @let wide = size * 1.25;
                path class=(class) d={ "M" (x) " " (y - wide) "L" (x + wide) " " (y) "L" (x) " " (y + wide) "L" (x - wide) " " (y) "Z" } {}
            },
            _ => circle class=(class) cx=(x) cy=(y) r=(size) {},
        }
    }
}

fn shape_class(node: &Node, day: i64) -> String {
    let mut class = "node".to_owned();
    for (is_so, word) in [
        (node.is_full, " full"),
        (node.expired_since <= day, " exp"),
        (node.needed_since <= day, " anc"),
        (!node.is_restorable, " bad"),
    ] {
        if is_so {
            class.push_str(word);
        }
    }
    class
}

/// Draws what is stored at the end of a day, with the way to the newest of it.
pub(super) fn figure(drawing: &Drawing, day: i64) -> Markup {
    let chosen = drawing.newest(day);
    let way = chosen.map(|chosen| drawing.way(chosen)).unwrap_or_default();
    html! {
        figure.chain {
            div.wide tabindex="0" role="region" aria-label="The chains" { }
            div.tall style={ "--lanes:" (drawing.lanes.len()) } { (list(drawing, day, &way)) }
            figcaption.quiet { (drawing.left_out(day)) }
        }
        div.way aria-live="polite" { (words(drawing, &way, day)) }
    }
}

pub(super) fn words(drawing: &Drawing, way: &[usize], day: i64) -> Markup {
    let Some(&to) = way.last() else { return html! { p { "Nothing can be restored." } } };
    html! {
        p { b { "Back to " (drawing.moment(to)) ":" } " " (drawing.restore_text(way, day)) }
        ol { @for &at in way { li {
            (drawing.lane_name(at)) " of " (drawing.moment(at)) ": "
            @if drawing.nodes[at].is_full { b { "full" } } @else { "increment" }
            ", " (drawing.size(at))
            @if let Some(id) = drawing.ids.get(at) { " " code { (id) } }
            @if let Some(why) = drawing.why.get(at).filter(|why| !why.is_empty()) { " " span.quiet { (why) } }
        } } }
        @if let Some((vm, id)) = drawing.vm.as_ref().zip(drawing.ids.get(to)) {
            pre.commands { "fifo vms stop " (vm) "\nfifo vms backups " (vm) " restore " (id) "\nfifo vms start " (vm) }
        }
    }
}

/// Draws a row a backup, the newest first: a table with a graph beside it.
fn list(drawing: &Drawing, day: i64, way: &[usize]) -> Markup {
    let mut stored = drawing.drawn(day);
    stored.reverse();
    let x = |at: usize| 12.0 + ROW_LANE * small(drawing.nodes[at].lane);
    let y = |at: usize| ROW * (place(&stored, at) + 0.5);
    let (width, height) = (ROW_LANE * small(drawing.lanes.len()) + 4.0, ROW * small(stored.len()));
    html! {
        svg.graph width=(width) height=(height) aria-hidden="true" {
            @for &at in &stored { @if let Some(parent) = drawing.nodes[at].parent.filter(|parent| stored.contains(parent)) {
                path class={ "edge" @if way.contains(&at) { " on" } } d=(branch(x(parent), y(parent), x(at), y(at))) {}
            } }
            @for &at in &stored {
                @let step_number = way.iter().position(|&other| other == at);
                g class={ "b t" (drawing.nodes[at].lane) @if step_number.is_some() { " on" } } data-i=(at) {
                    (shape(drawing.nodes[at].lane, x(at), y(at), 9.0, &shape_class(&drawing.nodes[at], day)))
                    text.ch x=(x(at)) y=(y(at) + 4.0) { @match step_number { Some(number) => (number + 1), None => (drawing.letter(at)) } }
                }
            }
        }
        table {
            caption.sr { "The backups, newest first" }
            thead.sr { tr { th scope="col" { "taken" } th scope="col" { "tier" } th scope="col" { "size" } th scope="col" { "remark" } } }
            tbody { @for &at in &stored { tr data-i=(at) {
                th scope="row" { (day_text(drawing.date(drawing.nodes[at].day))) }
                td.sr { (drawing.lane_name(at)) @if drawing.nodes[at].is_full { ", full" } }
                td { (drawing.size(at)) }
                td { (drawing.remark(at, day)) }
            } } }
        }
    }
}

fn branch(x1: f64, y1: f64, x2: f64, y2: f64) -> String {
    if x1 == x2 {
        return format!("M{x1} {y1}V{y2}");
    }
    let bend = if x1 < x2 { x2 - 8.0 } else { x2 + 8.0 };
    format!("M{x1} {y1}H{bend}Q{x2} {y1} {x2} {}V{y2}", y1 - 8.0)
}

pub(super) fn key(drawing: &Drawing, is_simulated: bool) -> Markup {
    html! {
        ul.key {
            @for (at, lane) in drawing.lanes.iter().enumerate() {
                li class={ "t" (at) } { svg viewBox="0 0 24 24" aria-hidden="true" { (shape(at, 12.0, 12.0, 8.0, "node")) } (lane.name) }
            }
            @let signs: &[&str] = if is_simulated {
                &["filled: full", "outlined: increment", "dash below: made, pruned since", "dotted: expired", "hatched: no run", "×: failed"]
            } else {
                &["filled: full", "outlined: increment", "dotted: expired"]
            };
            @for sign in signs { li { (sign) } }
            li { "dashed: only kept for others" }
            li { "▾: still on the hypervisor" }
        }
    }
}

fn place(stored: &[usize], at: usize) -> f64 {
    small(stored.iter().position(|&other| other == at).unwrap_or(0))
}

pub(super) fn small(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Returns the share that one number has of another one, which is not 0.
#[expect(clippy::cast_precision_loss, reason = "a picture needs no more than a few digits")]
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// What is drawn of a simulated VM, and what the script draws other days from.
#[derive(Serialize)]
pub(super) struct Walk<'a> {
    #[serde(flatten)]
    pub(super) drawing: &'a Drawing,
    #[serde(serialize_with = "numbers")]
    pub(super) days: &'a [Day],
    /// The days without a run, and those on which uploads failed.
    pub(super) down: &'a [i64],
    pub(super) failed: &'a [i64],
    pub(super) max_age_secs: i64,
}

/// Writes the numbers of days: stored, its bytes, local, its bytes, bytes of a restore, age of the newest or -1.
fn numbers<S: Serializer>(days: &[Day], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(days.iter().map(|day| {
        let age = day.newest_age_secs.unwrap_or(-1);
        (day.stored, day.stored_bytes, day.local, day.local_bytes, day.restore_bytes, age)
    }))
}

/// Writes data for the script of the page: nothing in it ends the element that it stands in.
pub(super) fn data(of: &impl Serialize) -> Markup {
    let text = serde_json::to_string(of).unwrap_or_default().replace('<', "\\u003c");
    html! { script.data type="application/json" { (PreEscaped(text)) } }
}
