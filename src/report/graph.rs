//! Chains of backups in characters, beside a list of them with the newest first, as `git log --graph` draws commits: a lane a
//! tier, a letter a backup, a capital for a full one, heavy lines and the numbers of its steps for the way of a restore.

use super::doc::Guide;
use super::drawing::Drawing;
use std::collections::{BTreeMap, BTreeSet};

/// The characters for lines that leave a place up (1), down (2), to the left (4) and to the right (8).
const LIGHT: [char; 16] = [' ', '│', '│', '│', '─', '┘', '┐', '┤', '─', '└', '┌', '├', '─', '┴', '┬', '┼'];
const HEAVY: [char; 16] = [' ', '┃', '┃', '┃', '━', '┛', '┓', '┫', '━', '┗', '┏', '┣', '━', '┻', '┳', '╋'];
const UP: usize = 1;
const DOWN: usize = 2;
const LEFT: usize = 4;
const RIGHT: usize = 8;
/// A drawing has at most this part of a terminal's columns.
pub(super) const SHARE: usize = 3;
/// Steps of a restore from this one on have letters like all others: there is no room for longer numbers.
const STEPS_NUMBERED: usize = 99;

/// A place where lines may meet: which leave it, and which of these belong to the way.
#[derive(Clone, Copy, Default)]
struct Place {
    lines: usize,
    heavy: usize,
}

impl Place {
    fn character(self) -> char {
        (if self.heavy == 0 { LIGHT } else { HEAVY })[self.lines]
    }
}

/// What of a parent's line to its increments is known: rows count from the newest down.
struct Trunk {
    parent: usize,
    /// Each with its row, the newest first.
    children: Vec<(usize, usize)>,
    top: usize,
    bottom: usize,
    /// How far right of its tier's place it is drawn.
    beside: usize,
}

/// Draws backups, given oldest first, with a way through them; `None` where that takes more columns than there are.
/// Returns the guides of the rows, the newest first.
pub(super) fn guides(
    drawing: &Drawing,
    shown: &[usize],
    way: &[usize],
    columns: usize,
) -> Option<Vec<Guide>> {
    let order: Vec<usize> = shown.iter().rev().copied().collect();
    let trunks = trunks(drawing, shown, &order);
    // A tier is as wide as the lines that no longer fit in its own place ask for.
    let mut widths = vec![1; drawing.lanes.len()];
    for trunk in &trunks {
        let width = &mut widths[drawing.nodes[trunk.parent].lane];
        *width = trunk.beside.saturating_add(1).max(*width);
    }
    let begins: Vec<usize> = (0..widths.len()).map(|lane| widths[..lane].iter().sum()).collect();
    let width: usize = widths.iter().sum();
    if width * 2 > columns {
        return None;
    }
    let place_of = |node: usize| begins[drawing.nodes[node].lane];
    let mut places = vec![vec![Place::default(); width]; order.len()];
    let steps: BTreeSet<(usize, usize)> = way.iter().copied().zip(way.iter().skip(1).copied()).collect();
    let is_step = |parent: usize, child: usize| steps.contains(&(parent, child));
    for trunk in &trunks {
        let (own, at) = (place_of(trunk.parent), place_of(trunk.parent) + trunk.beside);
        let step = trunk.children.iter().find(|(child, _)| is_step(trunk.parent, *child));
        for row in trunk.top..trunk.bottom {
            let is_heavy = step.is_some_and(|(_, begin)| *begin <= row);
            join(&mut places, (row, at), (row + 1, at), is_heavy);
        }
        let rows =
            trunk.children.iter().map(|&(child, row)| (row, place_of(child), is_step(trunk.parent, child)));
        for (row, end, is_heavy) in rows.chain([(trunk.bottom, own, step.is_some())]) {
            for between in at.min(end)..at.max(end) {
                join(&mut places, (row, between), (row, between + 1), is_heavy);
            }
        }
    }
    let guide = |(row, &node): (usize, &usize)| {
        let (mut first, mut below) = (String::new(), String::new());
        for (at, place) in places[row].iter().enumerate() {
            let line = if place.heavy & RIGHT > 0 { HEAVY[RIGHT] } else { LIGHT[place.lines & RIGHT] };
            below.push(if place.heavy & DOWN > 0 { HEAVY[DOWN] } else { LIGHT[place.lines & DOWN] });
            below.push(' ');
            if at == place_of(node) {
                let sign = sign(drawing, node, way);
                let is_without_parent =
                    !drawing.nodes[node].is_full && parent_of(drawing, node, shown).is_none();
                let rest = if is_without_parent { '?' } else { line };
                first.push_str(&sign);
                first.extend((sign.len() == 1).then_some(rest));
            } else {
                first.extend([place.character(), line]);
            }
        }
        Guide { first, below }
    };
    Some(order.iter().enumerate().map(guide).collect())
}

/// Explains the signs: `m monthly, d daily; a capital is a full backup`.
pub(super) fn key(drawing: &Drawing) -> String {
    let lane = |lane: &super::drawing::Lane| format!("{} {}", lane.letter.to_ascii_lowercase(), lane.name);
    let lanes: Vec<String> = drawing.lanes.iter().map(lane).collect();
    format!("{}; a capital is a full backup", lanes.join(", "))
}

fn sign(drawing: &Drawing, node: usize, way: &[usize]) -> String {
    match way.iter().position(|&step| step == node) {
        Some(step) if step < STEPS_NUMBERED => (step + 1).to_string(),
        _ if drawing.nodes[node].is_full => drawing.letter(node).to_string(),
        _ => drawing.letter(node).to_ascii_lowercase().to_string(),
    }
}

/// Returns the backup that one is taken from, where it is older and shown.
fn parent_of(drawing: &Drawing, node: usize, shown: &[usize]) -> Option<usize> {
    drawing.nodes[node].parent.filter(|parent| *parent < node && shown.binary_search(parent).is_ok())
}

/// Finds a place for each parent's line: its tier's own, where no other backup or line is in the way, else beside that.
fn trunks(drawing: &Drawing, shown: &[usize], order: &[usize]) -> Vec<Trunk> {
    let mut children: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for (row, &node) in order.iter().enumerate() {
        if let Some(parent) = parent_of(drawing, node, shown) {
            children.entry(parent).or_default().push((node, row));
        }
    }
    let lane = |node: usize| drawing.nodes[node].lane;
    // Where the last line ends that is drawn so far right of a tier's place: each further one ends below it.
    let mut ends: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let place = |(bottom, &parent): (usize, &usize)| {
        let children = children.remove(&parent)?;
        let top = children.first()?.1;
        let is_crossed = order[top + 1..bottom].iter().any(|node| lane(*node) == lane(parent));
        // In the tier's own place there is a backup where one line ends and the next one begins.
        let is_free = |&beside: &usize| match ends.get(&(lane(parent), beside)) {
            _ if beside == 0 && is_crossed => false,
            end => end.is_none_or(|end| *end < top || beside == 0 && *end == top),
        };
        let beside = (0..=order.len()).find(is_free)?;
        ends.insert((lane(parent), beside), bottom);
        Some(Trunk { parent, children, top, bottom, beside })
    };
    order.iter().enumerate().filter_map(place).collect()
}

/// Draws a line between two places side by side, or one above the other.
fn join(places: &mut [Vec<Place>], from: (usize, usize), to: (usize, usize), is_heavy: bool) {
    let (out, back) = if from.0 == to.0 { (RIGHT, LEFT) } else { (DOWN, UP) };
    for ((row, at), line) in [(from, out), (to, back)] {
        let place = &mut places[row][at];
        place.lines |= line;
        place.heavy |= if is_heavy { line } else { 0 };
    }
}
