//! The year as twelve small tables: what can be restored on a day, and what became of the rest.

use super::super::drawing::{Node, day_text};
use super::chains::Walk;
use chrono::{Datelike as _, NaiveDate};
use maud::{Markup, html};

/// How many months are shown at once where there are scripts.
pub(super) const MONTHS: usize = 12;

/// Draws the months that a simulation touches, as of a day.
pub(super) fn calendar(walk: &Walk<'_>, today: i64) -> Markup {
    let count = i64::try_from(walk.days.len()).unwrap_or(0);
    let mut months: Vec<Vec<i64>> = Vec::new();
    for day in 0..count {
        let is_new = day == 0 || walk.drawing.date(day).day() == 1;
        match months.last_mut() {
            Some(month) if !is_new => month.push(day),
            _ => months.push(vec![day]),
        }
    }
    let shown_from = months.len().saturating_sub(MONTHS);
    html! {
        div.year { @for (place, month) in months.iter().enumerate() { (table(walk, month, today, place < shown_from)) } }
    }
}

fn table(walk: &Walk<'_>, month: &[i64], today: i64, is_out: bool) -> Markup {
    let first = walk.drawing.date(month[0]);
    let blanks = first.with_day(1).unwrap_or(first).weekday().num_days_from_monday() + first.day0();
    let mut weeks: Vec<Vec<Option<i64>>> = Vec::new();
    for cell in (0..blanks).map(|_| None).chain(month.iter().copied().map(Some)) {
        match weeks.last_mut() {
            Some(week) if week.len() < 7 => week.push(cell),
            _ => weeks.push(vec![cell]),
        }
    }
    html! {
        table class=[is_out.then_some("out")] {
            caption { (first.format("%b %Y")) }
            thead { tr { @for name in ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"] { th scope="col" { (name) } } } }
            tbody { @for week in &weeks { tr { @for day in week {
                @match day { Some(day) => (cell(walk, *day, today)), None => td {} }
            } } } }
        }
    }
}

/// Draws a day as of another day. The script does the same.
fn cell(walk: &Walk<'_>, day: i64, today: i64) -> Markup {
    let drawing = walk.drawing;
    let date = drawing.date(day);
    let number = date.day().to_string();
    let of_day = || drawing.nodes.iter().filter(|node| node.day == day);
    let coarsest = |node: &&Node| (node.lane, !node.is_full);
    let kept = of_day().filter(|node| today < node.gone).min_by_key(coarsest);
    let (class, sign, meaning) = match (day > today, kept, of_day().min_by_key(coarsest)) {
        (true, ..) => ("later".to_owned(), number, String::new()),
        (_, Some(node), _) => {
            let (full, kind) = if node.is_full { (" f", "full") } else { ("", "increment") };
            let (end, expired) = if node.expired_since <= today { (" e", ", expired") } else { ("", "") };
            let lane = &drawing.lanes[node.lane];
            (
                format!("k t{}{full}{end}", node.lane),
                lane.letter.to_string(),
                format!("{}, {kind}{expired}", lane.name),
            )
        }
        (_, _, Some(node)) => {
            (format!("g t{}", node.lane), number, format!("{}, pruned since", drawing.lanes[node.lane].name))
        }
        _ if walk.failed.contains(&day) => ("x".to_owned(), "×".to_owned(), "failed".to_owned()),
        _ if walk.down.contains(&day) => ("o".to_owned(), number, "no run".to_owned()),
        _ => (String::new(), number, String::new()),
    };
    let class = if day == today { format!("{class} n") } else { class };
    html! {
        td class=(class) data-d=(day) title=[title(date, &meaning)] {
            i aria-hidden="true" { (sign) }
            span.sr { (date.day()) @if !meaning.is_empty() { ": " (meaning) } }
        }
    }
}

fn title(date: NaiveDate, meaning: &str) -> Option<String> {
    (!meaning.is_empty()).then(|| format!("{}: {meaning}", day_text(date)))
}
