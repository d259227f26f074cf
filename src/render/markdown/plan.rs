//! A plan as a comment on a pull request.

use super::deletes::{DeletePlace, Deleted, Deletes, fitted};
use super::escape::{escaped, fifo};
use super::page::{CountNoun, composed, counted};
use super::sections::{Actions, due_actions, parted, sections};
use crate::apply::SafetyStop;
use crate::insight::{Comparison, ComparisonSummary};
use crate::plan::Plan;
use crate::render::safety_stop;
use crate::render::text::{change_totals, expiry_lines, left_alone, totals, unmanaged};
use std::io::{self, Write};

/// The first line of every page, by which a pipeline finds its earlier comment and replaces it.
pub const MARKER: &str = "<!-- fifo-retain plan -->";

/// What a comment on GitHub takes, in bytes.
pub const MAX_BYTES_DEFAULT: usize = 65_536;

/// Fewer bytes than this do not hold the counts and what was left out.
pub const MAX_BYTES_LEAST: usize = 1_536;

/// What the page shows besides the plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanPageParts<'a> {
    /// The effect of a change of policies.
    pub comparison: Option<&'a Comparison>,
    /// A safety stop that is in force. It stands above everything else; with its details where these leave room for the plan.
    pub stop: Option<&'a SafetyStop>,
    /// As whom FiFo was read.
    pub identity: Option<&'a str>,
    /// A unified diff of the backups, without colours; empty for none.
    pub diff: &'a str,
}

/// Writes a plan in at most `max_bytes`.
///
/// First the counts and the VMs that are protected worse than before, then what is deleted, then the rest, folded, what
/// matters most first. Deletes have the first claim to
/// the room, those from storage before all others: each is listed, in fewer words where there are many; where there are too many for that, they are counted by
/// policy and tier, which is then said in bold. Those that are due in any case are counted before they take half the room
/// from what a change of policies does. Of everything else as much is listed as fits, and what was left out is
/// counted at the top. Fewer than [`MAX_BYTES_LEAST`] bytes may not be kept to.
///
/// # Errors
///
/// Those of writing.
pub fn plan(plan: &Plan, parts: &PlanPageParts<'_>, max_bytes: usize, out: &mut dyn Write) -> io::Result<()> {
    let &PlanPageParts { comparison, stop, identity, diff } = parts;
    let mut head = format!("{MARKER}\n");
    if let Some(stop) = stop {
        let whole = safety_stop::markdown(stop);
        if whole.len() <= max_bytes / 4 {
            head.push_str(&whole);
        } else {
            head.push_str(&format!("**{}.**\n\n", safety_stop::headline(stop)));
        }
    }
    head.push_str(&format!("**{}**\n", totals(&plan.summary)));
    if let Some(left_alone) = left_alone(&plan.summary) {
        head.push_str(&format!("**{left_alone}**\n"));
    }
    if let Some(comparison) = comparison {
        head.push_str(&format!("\n{}\n", change_totals(&comparison.summary)));
        for line in expiry_lines(&comparison.summary) {
            head.push_str(&format!("**{line}**\n"));
        }
        if let Some(worse) = worse(&comparison.summary) {
            head.push_str(&format!("**{worse}**\n"));
        }
    }
    let origin = origin(plan, identity, comparison);
    // Useful, and less important than the deletes.
    if head.len() + origin.len() <= max_bytes / 4 {
        head.push_str(&origin);
    }
    let groups = deletes(plan, comparison);
    let page = composed(&head, |room| fitted(&groups, room), &sections(plan, comparison, diff), max_bytes);
    out.write_all(page.as_bytes())
}

/// Warns of VMs that are protected worse than before, and of backups that no longer belong to a tier; `None` where there are
/// none.
fn worse(summary: &ComparisonSummary) -> Option<String> {
    const LOSE: CountNoun = ("VM loses its protection", "VMs lose their protection");
    const CONFLICT: CountNoun = ("VM comes into conflict", "VMs come into conflict");
    const STRANDED: CountNoun = ("backup no longer belongs to a tier", "backups no longer belong to a tier");
    const SUSPENDED: CountNoun = ("VM is suspended", "VMs are suspended");
    let counts = [
        (summary.loses_protection, LOSE),
        (summary.comes_into_conflict, CONFLICT),
        (summary.suspended, SUSPENDED),
        (summary.stranded.backups, STRANDED),
    ];
    let parts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, noun)| counted(count, noun))
        .collect();
    (!parts.is_empty()).then(|| format!("{}.", parts.join(", ")))
}

fn origin(plan: &Plan, identity: Option<&str>, comparison: Option<&Comparison>) -> String {
    let minute = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M UTC");
    let until =
        plan.valid_until.map_or_else(String::new, |until| format!("; it holds until {}", minute(until)));
    let mut text =
        format!("\nPlanned as of {} for {}{until}. ", minute(plan.at), fifo(&plan.endpoint, identity));
    text.push_str(&format!("Times of backups are in {}.\n", escaped(&plan.timezone)));
    if let Some(unmanaged) = unmanaged(&plan.summary.unmanaged) {
        text.push_str(&format!("Unmanaged: {unmanaged}, which no tier is for.\n"));
    }
    if comparison.is_some_and(|comparison| comparison.against.is_empty()) {
        text.push_str("There were no policies before.\n");
    }
    text
}

/// Collects the deletes, those from storage first: one group of each, or two where it is known which ones only the change
/// causes.
fn deletes<'a>(plan: &'a Plan, comparison: Option<&Comparison>) -> Vec<Deletes<'a>> {
    let parts = match comparison {
        None => vec![("", false, due_actions(plan))],
        Some(comparison) => {
            let (caused, anyway) = parted(plan, comparison);
            vec![(" because of this change", false, caused), (" in any case", true, anyway)]
        }
    };
    let of = |place, (title, is_routine, actions): &(&'static str, bool, Actions<'a>)| {
        let deleted = actions.iter().filter_map(|&(vm, action)| Some((vm, Deleted::by(action)?)));
        let of = deleted.filter(|(_, deleted)| deleted.place() == place).collect();
        Deletes { place, title, is_routine: *is_routine, of }
    };
    let places = [DeletePlace::Storage, DeletePlace::Hypervisor];
    places.into_iter().flat_map(|place| parts.iter().map(move |part| of(place, part))).collect()
}
