//! The parts of a plan's page that may be cut, what matters most first.

use super::deletes::policy_of;
use super::escape::{escaped, message, name};
use super::page::{Body, CountNoun, Place, Section, counted, table_row};
use crate::insight::{Comparison, PolicyChangeKind, Protection, VmChange};
use crate::inventory::VmId;
use crate::plan::{Action, Create, Note, NoteCode, Plan, Status, VmPlan};
use crate::render::text::{
    Detail, forecast_rows, protection_change_text, protection_text, rows, stored_backups_text,
};
use crate::render::wording::wording;
use std::collections::BTreeMap;

/// Returns all sections that are not empty. `diff` is a unified diff, as text; it comes last.
pub(super) fn sections(plan: &Plan, comparison: Option<&Comparison>, diff: &str) -> Vec<Section> {
    let mut all = Vec::new();
    if let Some(comparison) = comparison {
        let (mut worse, other): (Vec<&VmChange>, Vec<&VmChange>) = comparison
            .vms
            .iter()
            .filter(|vm| vm.shift.is_some())
            .partition(|vm| vm.shift.is_some_and(|shift| shift.is_worse()));
        // Worst first; a stable sort, so that they stay in their order otherwise.
        worse.sort_by_key(|vm| vm.shift);
        all.push(protection_changes(worse, Place::Top));
        all.push(expiry(comparison));
        all.push(troubles(plan));
        all.push(policies(comparison));
        all.push(forecast(comparison));
        all.push(protection_changes(other, Place::Folded));
        let (caused, anyway) = parted(plan, comparison);
        let because = ("create because of this change", "creates because of this change");
        all.push(created(creates(caused), because, " to create because of this change"));
        let in_any_case = ("create in any case", "creates in any case");
        all.push(created(creates(anyway), in_any_case, " to create in any case"));
        all.push(no_longer(comparison));
    } else {
        all.push(troubles(plan));
        all.push(created(creates(due_actions(plan)), ("create", "creates"), " to create"));
    }
    all.push(held(plan));
    all.push(notes(plan));
    all.push(unprotected(plan));
    all.push(Section {
        noun: ("line of the diff", "lines of the diff"),
        title: "Actual against desired backups".to_owned(),
        body: Body::Diff,
        rows: diff.lines().map(|line| format!("{line}\n")).collect(),
        place: Place::Folded,
    });
    all.retain(|section| !section.rows.is_empty());
    all
}

/// The stored backups that expire at once, or that `--prune` deletes because of the change.
fn expiry(comparison: &Comparison) -> Section {
    let noun = ("VM of which backups expire", "VMs of which backups expire");
    let text = |stored| stored_backups_text(stored).unwrap_or_default();
    let is_any = |vm: &&VmChange| !vm.expired.is_empty() || !vm.prunable.is_empty();
    let rows: Vec<String> = comparison
        .vms
        .iter()
        .filter(is_any)
        .map(|vm| table_row(&[&name(&vm.alias, vm.uuid), &text(&vm.expired), &text(&vm.prunable)]))
        .collect();
    let title = counted(rows.len(), noun);
    Section {
        noun,
        title,
        body: Body::Table(&["VM", "expired by this change", "deleted by --prune because of it"]),
        rows,
        place: Place::Top,
    }
}

fn protection_changes(of: Vec<&VmChange>, place: Place) -> Section {
    let rows: Vec<String> = of
        .iter()
        .filter_map(|vm| {
            let what = protection_change_text(vm.shift?);
            let (before, after) = (protection_text(&vm.before), protection_text(&vm.after));
            Some(table_row(&[&name(&vm.alias, vm.uuid), what, &escaped(&before), &escaped(&after)]))
        })
        .collect();
    let noun = match place {
        Place::Top => ("VM protected worse than before", "VMs protected worse than before"),
        Place::Folded => ("other VM whose protection changes", "other VMs whose protection changes"),
    };
    let title = counted(rows.len(), noun);
    Section { noun, title, body: Body::Table(&["VM", "what", "before", "after"]), rows, place }
}

/// What prevents backups, and what resolves without action.
fn troubles(plan: &Plan) -> Section {
    let noun = ("VM that has to wait or is left alone", "VMs that have to wait or are left alone");
    let mut shown: Vec<&VmPlan> = plan.vms.iter().filter(|vm| stands(vm).is_some()).collect();
    // Worst first; a stable sort, so that they stay in the order of the plan otherwise.
    shown.sort_by_key(|vm| vm.status);
    let rows: Vec<String> = shown
        .into_iter()
        .map(|vm| {
            let stands = stands(vm).unwrap_or_default();
            let notes = vm.notes.iter().filter(|note| wording(note).is_explanation);
            let why: Vec<String> = notes.map(Note::to_string).collect();
            table_row(&[&name(&vm.alias, vm.uuid), &policy_of(vm), stands, &message(&why.join("; "))])
        })
        .collect();
    let title = counted(rows.len(), noun);
    Section { noun, title, body: Body::Table(&["VM", "policy", "stands", "why"]), rows, place: Place::Folded }
}

fn stands(vm: &VmPlan) -> Option<&'static str> {
    match vm.status {
        Status::Fault => Some("left out by a fault of this program"),
        Status::Unreadable => Some("unreadable"),
        Status::Conflict => Some("**in conflict**"),
        Status::Blocked => Some("**blocked**"),
        Status::Waiting => Some("waiting"),
        Status::Changes | Status::UpToDate if vm.refused_deletes > 0 => Some("**not pruned**"),
        Status::Changes | Status::Unprotected | Status::UpToDate => None,
    }
}

fn policies(comparison: &Comparison) -> Section {
    let noun = ("policy changed", "policies changed");
    let rows: Vec<String> = comparison
        .policies
        .iter()
        .map(|policy| {
            let what = match policy.change {
                PolicyChangeKind::Added => "new".to_owned(),
                PolicyChangeKind::Removed => "gone".to_owned(),
                PolicyChangeKind::Changed => message(&policy.fields.join("; ")),
            };
            table_row(&[&escaped(&policy.name), &what])
        })
        .collect();
    let title = counted(rows.len(), noun);
    Section { noun, title, body: Body::Table(&["policy", "what"]), rows, place: Place::Folded }
}

fn forecast(comparison: &Comparison) -> Section {
    let forecast = &comparison.forecast;
    let mut rows = Vec::new();
    let mut vms = 0;
    for group in &forecast.groups {
        vms += group.vms;
        let policy = |name: &Option<String>| name.as_deref().map_or_else(|| "none".to_owned(), escaped);
        let who = format!(
            "{} → {} ({})",
            policy(&group.before),
            policy(&group.after),
            counted(group.vms, ("VM", "VMs"))
        );
        for row in forecast_rows(group) {
            rows.push(table_row(&[&who, &escaped(&row.what), &row.without, &row.with]));
        }
    }
    let left_out = match forecast.left_out {
        0 => String::new(),
        count => format!("; {count} more were too many to look at"),
    };
    let title = format!(
        "What differs over the next 35 days, for {} counted together{left_out}",
        counted(vms, ("VM", "VMs"))
    );
    if rows.is_empty() && forecast.left_out > 0 {
        rows.push(table_row(&["(none was looked at)", "", "", ""]));
    }
    Section {
        noun: ("line of the forecast", "lines of the forecast"),
        title,
        body: Body::Table(&["policy", "in all", "without this change", "with it"]),
        rows,
        place: Place::Folded,
    }
}

/// Backups that are made, with their VMs.
type Creates<'a> = Vec<(&'a VmPlan, &'a Create)>;

/// Actions with their VMs.
pub(super) type Actions<'a> = Vec<(&'a VmPlan, &'a Action)>;

/// Returns the due actions of all VMs.
pub(super) fn due_actions(plan: &Plan) -> Actions<'_> {
    plan.vms.iter().flat_map(|vm| vm.due_actions().iter().map(move |action| (vm, action))).collect()
}

/// Parts the due actions by whether they are there for a change of policies alone.
pub(super) fn parted<'a>(plan: &'a Plan, comparison: &Comparison) -> (Actions<'a>, Actions<'a>) {
    let changed: BTreeMap<VmId, &VmChange> =
        comparison.vms.iter().filter_map(|vm| Some((vm.uuid?, vm))).collect();
    due_actions(plan).into_iter().partition(|(vm, action)| {
        let change = vm.uuid.and_then(|id| changed.get(&id));
        change.is_some_and(|change| change.caused.contains(action))
    })
}

/// Returns the creates among some actions.
fn creates(actions: Actions<'_>) -> Creates<'_> {
    actions.into_iter().filter_map(|(vm, action)| Some((vm, action.as_create()?))).collect()
}

fn created(of: Creates<'_>, noun: CountNoun, title: &str) -> Section {
    let rows: Vec<String> = of
        .iter()
        .map(|(vm, create)| {
            table_row(&[
                &name(&vm.alias, vm.uuid),
                &policy_of(vm),
                &escaped(&rows::create_text(create, Detail::Usual)),
                &escaped(&create.reason.to_string()),
            ])
        })
        .collect();
    let title = format!("{}{title}", rows.len());
    Section { noun, title, body: Body::Table(&["VM", "policy", "backup", "why"]), rows, place: Place::Folded }
}

fn no_longer(comparison: &Comparison) -> Section {
    let noun = ("action no longer done", "actions no longer done");
    let mut rows = Vec::new();
    for vm in &comparison.vms {
        let policy = match &vm.before {
            Protection::Active { policy } | Protection::Suspended { policy } => policy.as_str(),
            Protection::Conflict | Protection::Unprotected | Protection::Unreadable => "",
        };
        let actions = vm.no_longer.iter().map(|action| match action {
            Action::Create(create) => format!("create {}", rows::create_text(create, Detail::Usual)),
            Action::DeleteLocal(delete) => format!("delete locally {}", rows::snapshot_name(delete)),
            Action::DeleteCloud(delete) => format!("delete from storage {}", rows::stored_name(delete)),
        });
        rows.extend(
            actions.map(|what| table_row(&[&name(&vm.alias, vm.uuid), &escaped(policy), &escaped(&what)])),
        );
    }
    let title = counted(rows.len(), noun);
    Section { noun, title, body: Body::Table(&["VM", "policy before", "action"]), rows, place: Place::Folded }
}

/// What a suspension holds back.
fn held(plan: &Plan) -> Section {
    let noun = ("action held back by a suspension", "actions held back by suspensions");
    let mut rows = Vec::new();
    for vm in plan.vms.iter().filter(|vm| vm.is_suspended()) {
        let why = vm.note(NoteCode::Suspended).map_or_else(String::new, Note::to_string);
        for action in &vm.actions {
            let what = match action {
                Action::Create(create) => {
                    format!("would create {}", rows::create_text(create, Detail::Usual))
                }
                Action::DeleteLocal(delete) => {
                    format!("would delete locally {}", rows::delete_text(vm, delete, Detail::Full))
                }
                Action::DeleteCloud(delete) => {
                    format!("would delete from storage {}", rows::stored_text(delete, Detail::Full))
                }
            };
            rows.push(table_row(&[
                &name(&vm.alias, vm.uuid),
                &policy_of(vm),
                &escaped(&what),
                &message(&why),
            ]));
        }
    }
    let title = counted(rows.len(), noun);
    Section {
        noun,
        title,
        body: Body::Table(&["VM", "policy", "action", "why not"]),
        rows,
        place: Place::Folded,
    }
}

/// What is worth knowing and is in no other section: what is wrong with single backups, and what explains a create.
fn notes(plan: &Plan) -> Section {
    let noun = ("note", "notes");
    let mut rows = Vec::new();
    for vm in &plan.vms {
        for note in &vm.notes {
            let is_shown = match note.code {
                // These have sections of their own.
                NoteCode::Suspended | NoteCode::Unprotected => false,
                _ if note.backup.is_some() => wording(note).problem.is_some(),
                _ => stands(vm).is_none(),
            };
            if is_shown {
                let what = rows::note_row(note, vm.status).verb;
                rows.push(table_row(&[&name(&vm.alias, vm.uuid), what, &message(&note.to_string())]));
            }
        }
    }
    let title = counted(rows.len(), noun);
    Section { noun, title, body: Body::Table(&["VM", "what", "note"]), rows, place: Place::Folded }
}

fn unprotected(plan: &Plan) -> Section {
    let noun = ("VM in no policy", "VMs in no policy");
    let of = plan.vms.iter().filter(|vm| vm.status == Status::Unprotected);
    let rows: Vec<String> = of.map(|vm| table_row(&[&name(&vm.alias, vm.uuid)])).collect();
    let title = counted(rows.len(), noun);
    Section { noun, title, body: Body::Table(&["VM"]), rows, place: Place::Folded }
}
