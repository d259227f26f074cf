//! The document of a plan: what is to be done to which VM and why, then what is worth knowing, then the counts.

use super::doc::{Block, Detail, Doc, Entry, Line, Tone};
use super::groups::{ALONE_MAX, entry_head, grouped, natural, same_or_example};
use super::notes::{flaw_of, is_explanation, is_held_back, note_line, problem_of};
use super::stop;
use super::words::{counted, held_text, instant_text, listed};
use crate::apply::SafetyStop;
use crate::insight::Estimate;
use crate::inventory::BackupId;
use crate::plan::{
    Action, Create, DeleteCloud, DeleteLocal, Note, NoteCode, Plan, Status, Summary, VmPlan, bytes_text,
};
use crate::policy::minute_text;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
pub struct PlanParts<'a> {
    pub stop: Option<&'a SafetyStop>,
    pub identity: Option<&'a str>,
    pub estimate: Option<&'a Estimate>,
    /// Whether there is a place for what fewer readers need, folded.
    pub has_details: bool,
    /// The unified diff of the backups, line by line; empty for none.
    pub diff: Vec<(Tone, String)>,
}

/// Reports a plan. With [`Detail::Brief`] there is nothing in it where nothing is to do and nothing is wrong.
pub fn document(plan: &Plan, parts: PlanParts<'_>, detail: Detail) -> Doc {
    let alarms = parts.stop.map(stop::blocks).unwrap_or_default();
    if is_left_out(plan, detail) {
        return Doc { alarms, ..Doc::default() };
    }
    let mut blocks = Vec::new();
    if detail > Detail::Brief {
        let shown: Vec<&VmPlan> = plan.vms.iter().filter(|vm| is_shown(vm, detail)).collect();
        let shown = entries(&shown, detail);
        let further = if parts.has_details { further(plan, &shown) } else { None };
        blocks.push(Block::Entries(shown));
        blocks.extend((!parts.diff.is_empty()).then(|| Block::diff(parts.diff)));
        blocks.extend(further);
    }
    let mut remarks = remarks(plan, detail);
    if let Some(identity) = parts.identity.filter(|_| detail > Detail::Brief) {
        remarks.push((Tone::Plain, origin_text(plan, identity)));
    }
    remarks.extend(parts.estimate.and_then(estimate_text).map(|text| (Tone::Plain, text)));
    Doc { alarms, blocks, remarks, summary: vec![totals(&plan.summary)] }
}

/// Lists every VM with every note and every backup's UUID; `None` where `shown` says as much.
pub(super) fn further(plan: &Plan, shown: &[Entry]) -> Option<Block> {
    let all: Vec<&VmPlan> = plan.vms.iter().collect();
    let entries = entries(&all, Detail::Full);
    let lines = |entries: &[Entry]| entries.iter().map(|entry| entry.lines.len()).sum::<usize>();
    let title = format!("Every VM with every note and UUID ({})", counted(entries.len(), "VM"));
    (lines(&entries) > lines(shown)).then(|| Block::Details { title, blocks: vec![Block::Entries(entries)] })
}

/// Says whether there is nothing in a plan that is worth a line at this level of detail.
fn is_left_out(plan: &Plan, detail: Detail) -> bool {
    let is_wrong = |vm: &VmPlan| vm.status == Status::Blocked || vm.note(NoteCode::SuspensionEnded).is_some();
    let is_told = |vm: &VmPlan| match detail {
        Detail::Errors => vm.is_in_trouble(),
        _ => vm.is_in_trouble() || is_wrong(vm) || !vm.due_actions().is_empty(),
    };
    detail <= Detail::Brief && !plan.vms.iter().any(is_told)
}

fn is_shown(vm: &VmPlan, detail: Detail) -> bool {
    let is_quiet = matches!(vm.status, Status::Unprotected | Status::UpToDate);
    detail == Detail::Full || vm.refused_deletes > 0 || !is_quiet
}

/// Reports VMs in natural order; those with the same change as one, where there are many.
fn entries(vms: &[&VmPlan], detail: Detail) -> Vec<Entry> {
    let mut vms = vms.to_vec();
    vms.sort_by_cached_key(|vm| natural(&vm.alias));
    grouped(&vms, key, detail == Detail::Full || vms.len() <= ALONE_MAX)
        .iter()
        .map(|vms| entry(vms, detail))
        .collect()
}

/// Says what actions that are shown as one have in common: `daily, incremental on each VM's weekly`, `failed daily`. A snapshot's
/// flaw is named since it may be the only copy of that moment.
fn label(vm: &VmPlan, action: &Action) -> String {
    match action {
        Action::Create(Create { tier, parent: None, .. }) => format!("{tier}, full"),
        Action::Create(Create { tier, parent_tier, .. }) => {
            format!("{tier}, incremental on each VM's {}", parent_tier.as_deref().unwrap_or("backup"))
        }
        Action::DeleteLocal(DeleteLocal { tier, taken: None, .. }) => format!("the new {tier}"),
        Action::DeleteLocal(DeleteLocal { tier, backup, .. }) => {
            let mut notes = vm.notes.iter().filter(|note| backup.is_some() && note.backup == *backup);
            let flaw = notes.find_map(flaw_of);
            flaw.map_or_else(|| tier.to_string(), |flaw| format!("{flaw} {tier}"))
        }
        Action::DeleteCloud(DeleteCloud { tier, .. }) => tier.to_string(),
    }
}

/// What actions of one kind and tier have in common.
type ActionKey = (Tone, String, bool);

fn action_key(vm: &VmPlan, action: &Action) -> ActionKey {
    let is_after_create = action.as_local_delete().is_some_and(|delete| delete.after_create);
    (tone_and_verbs(action).0, label(vm, action), is_after_create)
}

/// Returns what VMs that are shown as one have in common.
fn key<'p>(vm: &&'p VmPlan) -> (Option<&'p str>, Status, BTreeSet<ActionKey>, Vec<NoteCode>) {
    let actions = vm.actions.iter().map(|action| action_key(vm, action)).collect();
    let notes = vm.notes.iter().filter(|note| is_explanation(note)).map(|note| note.code).collect();
    (vm.policy.as_deref(), vm.status, actions, notes)
}

fn entry(vms: &[&VmPlan], detail: Detail) -> Entry {
    let mut lines = Vec::new();
    let Some(first) = vms.first() else { return Entry::default() };
    if first.status == Status::UpToDate {
        lines.push(Line::new(Tone::Fine, "up to date", String::new()));
    }
    // The reason stands above the actions that are not carried out.
    lines.extend(note_lines(vms, is_held_back));
    let actions = vms.iter().flat_map(|vm| vm.actions.iter().map(move |action| (*vm, action)));
    let actions: Vec<Planned<'_>> = actions.collect();
    let actions = grouped(&actions, |(vm, action)| action_key(vm, action), vms.len() == 1);
    lines.extend(actions.iter().map(|of| action_line(of, detail)));
    let is_wanted = |note: &Note| !is_held_back(note) && (detail == Detail::Full || is_explanation(note));
    lines.extend(note_lines(vms, is_wanted));
    let named: Vec<_> = vms.iter().map(|vm| (vm.alias.as_str(), vm.uuid)).collect();
    Entry { lines, ..entry_head(&named, first.policy.as_deref()) }
}

fn note_lines(vms: &[&VmPlan], is_wanted: impl Fn(&Note) -> bool) -> Vec<Line> {
    let notes = vms.iter().flat_map(|vm| vm.notes.iter().map(move |note| (*vm, note)));
    let notes: Vec<(&VmPlan, &Note)> = notes.filter(|(_, note)| is_wanted(note)).collect();
    let notes = grouped(&notes, |(_, note)| note.code, vms.len() == 1);
    let line = |of: &Vec<(&VmPlan, &Note)>| {
        let mut lines: Vec<Line> = of.iter().map(|(vm, note)| note_line(note, vm.status)).collect();
        let what = same_or_example(lines.iter().map(|line| line.what.as_str()));
        Line { what, count: of.len(), ..lines.swap_remove(0) }
    };
    notes.iter().map(line).collect()
}

type Planned<'p> = (&'p VmPlan, &'p Action);

/// Returns how urgent an action is, what it does, and what it would do on a suspended VM.
fn tone_and_verbs(action: &Action) -> (Tone, &'static str, &'static str) {
    match action {
        Action::Create(_) => (Tone::Create, "create", "would create"),
        Action::DeleteLocal(_) => (Tone::Delete, "delete locally", "would delete locally"),
        Action::DeleteCloud(_) => (Tone::Destroy, "delete from storage", "would delete from storage"),
    }
}

/// Puts an action into words, or several of one kind and tier.
pub(super) fn action_line(of: &[Planned<'_>], detail: Detail) -> Line {
    let Some(&(vm, action)) = of.first() else { return Line::default() };
    let (tone, verb, held) = tone_and_verbs(action);
    let (tone, verb) = if vm.is_suspended() { (Tone::Held, held) } else { (tone, verb) };
    let texts: Vec<String> = of.iter().map(|(vm, action)| action_text(vm, action, detail)).collect();
    let is_same = texts.iter().all(|text| *text == texts[0]);
    let what = match action {
        _ if of.len() == 1 => texts[0].clone(),
        Action::Create(_) if is_same => texts[0].clone(),
        Action::Create(_) => label(vm, action),
        Action::DeleteLocal(_) if is_same => format!("{}, {} snapshots", texts[0], of.len()),
        Action::DeleteLocal(_) => format!("{}, {} snapshots of different times", label(vm, action), of.len()),
        Action::DeleteCloud(delete) => {
            let deletes = || of.iter().filter_map(|(_, action)| action.as_cloud_delete());
            let bytes = deletes().filter_map(|delete| delete.size_bytes).fold(0, u64::saturating_add);
            let oldest = minute_text(deletes().map(|delete| delete.taken).min().unwrap_or(delete.taken));
            format!("{}, {} backups since {oldest}, {}", delete.tier, of.len(), bytes_text(bytes))
        }
    };
    let reasons = || of.iter().map(|(_, action)| reason_of(action));
    let due = of.iter().filter_map(|(_, action)| action.as_create()).map(|create| create.due_since).min();
    let why = match due {
        Some(due) if reasons().any(|reason| reason != reason_of(action)) => {
            format!("due since {} or later", due.format("%a %Y-%m-%d %H:%M"))
        }
        _ => same_or_example(reasons()),
    };
    Line { count: of.len(), ..Line::new(tone, verb, what).because(why) }
}

fn reason_of(action: &Action) -> &str {
    match action {
        Action::Create(create) => &create.reason,
        Action::DeleteLocal(delete) => &delete.reason,
        Action::DeleteCloud(delete) => &delete.reason,
    }
}

fn action_text(vm: &VmPlan, action: &Action, detail: Detail) -> String {
    let id = |backup: Option<BackupId>| {
        let id = backup.filter(|_| detail == Detail::Full);
        id.map_or_else(String::new, |id| format!(" ({})", id.short()))
    };
    let of = |taken: Option<_>| taken.map_or_else(String::new, |at| format!(" of {}", minute_text(at)));
    match action {
        Action::Create(Create { tier, parent: Some(parent), parent_tier, parent_taken, .. }) => {
            let parent_tier = parent_tier.as_deref().unwrap_or("backup");
            format!("{tier}, incremental on the {parent_tier}{}{}", of(*parent_taken), id(Some(*parent)))
        }
        Action::Create(_) => label(vm, action),
        Action::DeleteLocal(delete) => {
            format!("{}{}{}", label(vm, action), of(delete.taken), id(delete.backup))
        }
        Action::DeleteCloud(delete) => {
            let size = delete.size_bytes.map_or_else(String::new, |bytes| format!(", {}", bytes_text(bytes)));
            format!("{}{}{}{size}", delete.tier, of(Some(delete.taken)), id(Some(delete.backup)))
        }
    }
}

/// Says of which FiFo the plan is, as whom that was read, for when the plan was made, and until when it holds.
fn origin_text(plan: &Plan, identity: &str) -> String {
    let until =
        plan.valid_until.map_or_else(String::new, |until| format!(", holds until {}", instant_text(until)));
    format!(
        "FiFo: {} {identity}. Planned for {}{until}. Times: {}.",
        plan.endpoint,
        instant_text(plan.at),
        plan.timezone
    )
}

/// Says what a plan moves: `Estimate: 4.2 GiB freed on hypervisors, about 31.0 GiB to upload.`; `None` where it moves nothing.
fn estimate_text(estimate: &Estimate) -> Option<String> {
    let Estimate { freed_bytes, pruned_bytes, upload_bytes, creates, creates_unknown } = *estimate;
    if freed_bytes == 0 && pruned_bytes == 0 && creates == 0 {
        return None;
    }
    let pruned = match pruned_bytes {
        0 => String::new(),
        bytes => format!(", {} in storage", bytes_text(bytes)),
    };
    let upload = match creates_unknown {
        0 => format!("about {} to upload", bytes_text(upload_bytes)),
        unknown if unknown == creates => "an unknown size to upload".to_owned(),
        unknown => format!("about {} to upload, and {unknown} of unknown size", bytes_text(upload_bytes)),
    };
    Some(format!("Estimate: {} freed on hypervisors{pruned}, {upload}.", bytes_text(freed_bytes)))
}

/// Returns the last line of a plan: `Plan: 1 to create, 2 to delete locally; 9 up to date, 1 waiting, 1 blocked, 1
/// unprotected.`
pub(super) fn totals(summary: &Summary) -> String {
    let Summary { create, delete_local, delete_cloud, up_to_date, waiting, blocked, unprotected, .. } =
        summary;
    let from_storage = match delete_cloud {
        0 => String::new(),
        count => format!(", {count} to delete from storage, for good"),
    };
    format!(
        "Plan: {create} to create, {delete_local} to delete locally{from_storage}; \
         {up_to_date} up to date, {waiting} waiting, {blocked} blocked, {unprotected} unprotected."
    )
}

fn remarks(plan: &Plan, detail: Detail) -> Vec<(Tone, String)> {
    let mut lines: Vec<(Tone, String)> = Vec::new();
    // A suspension belongs to its policy, so it is shown once for all of the policy's VMs.
    let ended = plan.vms.iter().filter_map(|vm| {
        let note = vm.note(NoteCode::SuspensionEnded)?;
        Some(format!("Policy {}: {note}.", vm.policy.as_deref().unwrap_or_default()))
    });
    let ended: BTreeSet<String> = ended.collect();
    lines.extend(ended.into_iter().map(|text| (Tone::Plain, text)));
    if let Some(problems) = problems(&plan.vms) {
        let where_to_look = if detail == Detail::Full { "" } else { " -v shows which." };
        lines.push((Tone::Plain, format!("Problems: {problems}.{where_to_look}")));
    }
    let unmanaged = &plan.summary.unmanaged;
    if detail > Detail::Brief && unmanaged.snapshots > 0 {
        lines.push((Tone::Plain, format!("Unmanaged: {}, which no tier is for.", held_text(unmanaged))));
    }
    let Summary { fault, conflict, unreadable, suspended, .. } = plan.summary;
    let left_alone = listed([
        (fault, "by a fault of this program"),
        (conflict, "in conflict"),
        (unreadable, "unreadable"),
        (suspended, "suspended"),
    ]);
    if !left_alone.is_empty() {
        lines.push((Tone::Plain, format!("Left alone: {left_alone}.")));
    }
    let pruned = plan.vms.iter().filter(|vm| vm.cloud_deletes() > 0).count();
    if pruned > 0 {
        let (backups, vms) = (counted(plan.summary.delete_cloud, "backup"), counted(pruned, "VM"));
        lines.push((
            Tone::Destroy,
            format!("Deleted from storage, for good: {backups} on {vms}. Nothing can restore them."),
        ));
    }
    lines
}

/// Counts what is wrong with single backups, over all VMs; `None` when nothing is.
fn problems(vms: &[VmPlan]) -> Option<String> {
    let mut counts: BTreeMap<NoteCode, (usize, String)> = BTreeMap::new();
    let mut troubled = 0;
    for vm in vms {
        let found: Vec<_> = vm.notes.iter().filter_map(|note| Some((note.code, problem_of(note)?))).collect();
        troubled += usize::from(!found.is_empty());
        for (code, name) in found {
            counts.entry(code).or_insert((0, name)).0 += 1;
        }
    }
    let parts: Vec<String> = counts.into_values().map(|(count, what)| counted(count, &what)).collect();
    (troubled > 0).then(|| format!("{} on {}", parts.join(", "), counted(troubled, "VM")))
}
