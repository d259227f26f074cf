//! What is stored, what is local, what a restore reads and how old the newest backup is, over the days of a simulation.

use super::super::drawing::Drawing;
use super::super::words::span_text;
use super::chains::{Walk, ratio, small};
use crate::plan::bytes_text;
use crate::simulate::Day;
use chrono::Datelike as _;
use maud::{Markup, html};
use std::fmt::Write as _;

/// Ages are drawn up to so many times `max_age`.
const AGES_DRAWN: i64 = 3;
/// How far labels are apart at least, and the height of the first panel, in pixels.
const LABEL: f64 = 15.0;
const STORED_HEIGHT: f64 = 150.0;

struct Panel {
    name: &'static str,
    note: String,
    height: f64,
    body: Markup,
    /// Each with its distance from the top in percent and its class.
    labels: Vec<(f64, String, String)>,
}

/// Draws all curves with their values on a day; `before` are the same days under the policies before.
pub(super) fn curves(walk: &Walk<'_>, before: Option<&[Day]>, today: usize) -> Markup {
    let Walk { days, max_age_secs, .. } = *walk;
    let most = |of: fn(&Day) -> u64| {
        days.iter().chain(before.into_iter().flatten()).map(of).max().unwrap_or(0).max(1)
    };
    let day = days.get(today).cloned().unwrap_or_default();
    let simple = |name: &'static str, of: fn(&Day) -> u64| {
        let top = most(of);
        let height = |value: u64| 98.0 - 96.0 * ratio(value, top);
        Panel {
            name,
            note: format!("most {}", bytes_text(days.iter().map(of).max().unwrap_or(0))),
            height: 48.0,
            body: html! {
                @if let Some(before) = before { path.before d=(line(before, |day| Some(height(of(day))))) {} }
                path.line d=(line(days, |day| Some(height(of(day))))) {}
            },
            labels: vec![(height(of(&day)), "ink".to_owned(), bytes_text(of(&day)))],
        }
    };
    let cap = max_age_secs.max(1) * AGES_DRAWN;
    let age_height = |secs: i64| {
        98.0 - 96.0 * ratio(u64::try_from(secs.clamp(0, cap)).unwrap_or(0), u64::try_from(cap).unwrap_or(1))
    };
    let age = |day: &Day| day.newest_age_secs.map(age_height);
    let oldest = days.iter().filter_map(|day| day.newest_age_secs).max();
    let ages = Panel {
        name: "Age of the newest",
        note: oldest.map_or_else(|| "never any".to_owned(), |secs| format!("most {}", span_text(secs))),
        height: 56.0,
        body: html! {
            path.limit d={ "M0 " (age_height(max_age_secs)) "H1000" } {}
            @if let Some(before) = before { path.before d=(line(before, age)) {} }
            path.line d=(line(days, age)) {}
        },
        labels: vec![(
            age_height(max_age_secs),
            "bad".to_owned(),
            format!("max_age {}", span_text(max_age_secs)),
        )],
    };
    let panels = [
        stored(walk, before, today, most(|day| day.stored_bytes)),
        simple("On the hypervisor", |day| day.local_bytes),
        simple("To fetch", |day| day.restore_bytes),
        ages,
    ];
    html! {
        figure.curves {
            @for panel in &panels { (drawn(panel, walk, today)) }
            div.panel { div.name {} div.plot.months aria-hidden="true" { @for (day, date) in firsts(walk.drawing, days.len()) {
                span style={ "left:" (percent(day, days.len())) "%" } { (date.format("%b")) }
            } } }
            @if before.is_some() { p.quiet { "Thin dashed lines: the policies before." } }
        }
    }
}

/// Draws what is stored as a band a tier.
fn stored(walk: &Walk<'_>, before: Option<&[Day]>, today: usize, top: u64) -> Panel {
    let Walk { drawing, days, .. } = *walk;
    let lanes: Vec<Vec<u64>> =
        (0..drawing.lanes.len()).map(|lane| stored_of_lane(drawing, lane, days.len())).collect();
    let height = |value: u64| 98.0 - 96.0 * ratio(value, top);
    let mut below = vec![0_u64; days.len()];
    let (mut bands, mut labels) = (Vec::new(), Vec::new());
    for (at, lane) in lanes.iter().enumerate() {
        let above: Vec<u64> = below.iter().zip(lane).map(|(below, own)| below.saturating_add(*own)).collect();
        let mut band = String::from("M");
        for (day, value) in above.iter().enumerate() {
            point(&mut band, day, days.len(), height(*value));
        }
        for (day, value) in below.iter().enumerate().rev() {
            point(&mut band, day, days.len(), height(*value));
        }
        bands.push((at, band));
        if let (Some(low), Some(high), Some(own)) = (below.get(today), above.get(today), lane.get(today)) {
            let text = format!("{} {}", drawing.lanes[at].name, bytes_text(*own));
            labels.push((height(low.saturating_add((high - low) / 2)), format!("t{at}"), text));
        }
        below = above;
    }
    // From the top down, none over another one.
    labels.reverse();
    let gap = LABEL / STORED_HEIGHT * 100.0;
    for at in 1..labels.len() {
        labels[at].0 = labels[at].0.max(labels[at - 1].0 + gap);
    }
    let over = labels.last().map_or(0.0, |last| (last.0 - 98.0).max(0.0));
    labels.iter_mut().for_each(|label| label.0 -= over);
    let most = days.iter().map(|day| day.stored_bytes).max().unwrap_or(0);
    Panel {
        name: "Stored",
        note: format!("most {}", bytes_text(most)),
        height: STORED_HEIGHT,
        body: html! {
            @for (at, band) in &bands { path class={ "band t" (at) } d=(band) {} }
            @if let Some(before) = before { path.before d=(line(before, |day| Some(height(day.stored_bytes)))) {} }
        },
        labels,
    }
}

/// Sums up what a tier has in storage at the end of each day.
pub(super) fn stored_of_lane(drawing: &Drawing, lane: usize, days: usize) -> Vec<u64> {
    let mut sums = vec![0_u64; days];
    for node in drawing.nodes.iter().filter(|node| node.lane == lane) {
        let from = usize::try_from(node.day.max(0)).unwrap_or(0).min(days);
        let until = usize::try_from(node.gone).unwrap_or(0).clamp(from, days);
        for sum in &mut sums[from..until] {
            *sum = sum.saturating_add(node.size_bytes.unwrap_or(0));
        }
    }
    sums
}

fn drawn(panel: &Panel, walk: &Walk<'_>, today: usize) -> Markup {
    let days = walk.days.len();
    let x = |day: usize| percent(day, days) * 10.0;
    html! {
        div.panel {
            div.name { b { (panel.name) } " " span.quiet { (panel.note) } }
            div.plot style={ "height:" (panel.height) "px" } {
                svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label={ (panel.name) ", " (panel.note) } {
                    @for (day, _) in firsts(walk.drawing, days) { path.tick d={ "M" (x(day)) " 0V100" } {} }
                    @for &day in walk.down { @if let Ok(day) = usize::try_from(day) {
                        rect.down x=(x(day) - 500.0 / small(days)) y="0" width=(1000.0 / small(days)) height="100" {}
                    } }
                    (panel.body)
                    path.cursor d={ "M" (x(today)) " 0V100" } {}
                }
            }
            div.ends style={ "height:" (panel.height) "px" } {
                @for (top, class, text) in &panel.labels { span class=(class) style={ "top:" (top) "%" } { (text) } }
            }
        }
    }
}

fn firsts(drawing: &Drawing, days: usize) -> Vec<(usize, chrono::NaiveDate)> {
    let dated = (0..days).map(|day| (day, drawing.date(i64::try_from(day).unwrap_or(0))));
    dated.filter(|(_, date)| date.day() == 1).collect()
}

fn percent(day: usize, days: usize) -> f64 {
    ((small(day) + 0.5) / small(days.max(1)) * 1_000.0).round() / 10.0
}

fn line(days: &[Day], height: impl Fn(&Day) -> Option<f64>) -> String {
    let (mut path, mut is_open) = (String::new(), false);
    for (at, day) in days.iter().enumerate() {
        let Some(height) = height(day) else {
            is_open = false;
            continue;
        };
        if !std::mem::replace(&mut is_open, true) {
            path.push('M');
        }
        point(&mut path, at, days.len(), height);
    }
    path
}

fn point(path: &mut String, day: usize, days: usize, height: f64) {
    if !path.ends_with('M') {
        path.push('L');
    }
    // Writing to a String cannot fail.
    let _ = write!(path, "{:.1} {height:.1}", percent(day, days) * 10.0);
}
