//! What is shown of a VM: its heading and its rows, in words.

use super::options::Detail;
use crate::plan::{Action, BackupKind, Create, DeleteCloud, DeleteLocal, Note, Status, VmPlan, bytes_text};
use crate::policy::minute_text;
use crate::render::cells::visible;
use crate::render::wording::{NoteWording, ProblemName, Symbol, wording};

/// One line of a block, or several where it has to be wrapped.
#[derive(Clone, Debug)]
pub(in crate::render) struct Row {
    pub(super) symbol: Symbol,
    pub(in crate::render) verb: &'static str,
    pub(in crate::render) what: String,
    /// Stands in a column of its own; where it is empty, `what` has the whole line.
    pub(super) why: String,
}

/// All that is shown of one VM.
#[derive(Clone, Debug)]
pub(super) struct RowGroup {
    pub(super) alias: String,
    pub(super) id: String,
    pub(super) policy: Option<String>,
    pub(super) rows: Vec<Row>,
}

/// Says whether at this level of detail there is anything to show of a VM.
pub(super) fn is_shown(vm: &VmPlan, detail: Detail) -> bool {
    match vm.status {
        _ if vm.refused_deletes > 0 => detail >= Detail::Usual,
        Status::Changes
        | Status::Fault
        | Status::Unreadable
        | Status::Conflict
        | Status::Blocked
        | Status::Waiting => detail >= Detail::Usual,
        Status::Unprotected | Status::UpToDate => detail >= Detail::Full,
    }
}

/// Puts into words what a plan has for a VM.
pub(super) fn block(vm: &VmPlan, detail: Detail) -> RowGroup {
    let mut rows = Vec::new();
    if vm.status == Status::UpToDate {
        rows.push(Row { symbol: Symbol::Fine, verb: "up to date", what: String::new(), why: String::new() });
    }
    // The reason stands above the actions that are not carried out.
    let (held, notes): (Vec<&Note>, Vec<&Note>) = vm.notes.iter().partition(|note| stands_above(note));
    rows.extend(held.into_iter().map(|note| note_row(note, vm.status)));
    rows.extend(vm.actions.iter().map(|action| action_row(vm, action, detail)));
    let notes = notes.into_iter().filter(|note| detail == Detail::Full || wording(note).is_explanation);
    rows.extend(notes.map(|note| note_row(note, vm.status)));
    RowGroup {
        alias: if vm.alias.is_empty() { "(no alias)".to_owned() } else { visible(&vm.alias) },
        id: vm.uuid.map_or_else(|| "(no UUID)".to_owned(), |id| id.short()),
        policy: vm.policy.as_deref().map(visible),
        rows,
    }
}

/// Says whether a note stands above the actions: it says why they are not carried out.
pub(super) fn stands_above(note: &Note) -> bool {
    wording(note).symbol == Symbol::Held
}

/// Returns the row of a note on a VM of that status.
pub(in crate::render) fn note_row(note: &Note, status: Status) -> Row {
    let NoteWording { symbol, verb, is_blocking, .. } = wording(note);
    let (symbol, verb) =
        if is_blocking && status == Status::Blocked { (Symbol::Alarm, "blocked") } else { (symbol, verb) };
    Row { symbol, verb, what: visible(&note.to_string()), why: String::new() }
}

fn action_row(vm: &VmPlan, action: &Action, detail: Detail) -> Row {
    let (symbol, verb, what, why) = match action {
        Action::Create(create) => {
            (Symbol::Create, "create", create_text(create, detail), create.reason.clone())
        }
        Action::DeleteLocal(delete) => {
            (Symbol::Delete, "delete locally", delete_text(vm, delete, detail), delete.reason.clone())
        }
        Action::DeleteCloud(delete) => {
            let (symbol, verb) = prune_verb(false);
            (symbol, verb, stored_text(delete, detail), delete.reason.clone())
        }
    };
    let (symbol, verb) = match action {
        _ if !vm.is_suspended() => (symbol, verb),
        Action::Create(_) => (Symbol::Held, "would create"),
        Action::DeleteLocal(_) => (Symbol::Held, "would delete locally"),
        Action::DeleteCloud(_) => prune_verb(true),
    };
    Row { symbol, verb, what: visible(&what), why: visible(&why) }
}

/// Returns how deletes from storage are shown.
pub(super) fn prune_verb(is_suspended: bool) -> (Symbol, &'static str) {
    if is_suspended {
        (Symbol::Held, "would delete from storage")
    } else {
        (Symbol::Destroy, "delete from storage")
    }
}

pub(in crate::render) fn create_text(create: &Create, detail: Detail) -> String {
    match create.kind {
        BackupKind::Full => format!("{}, full", create.tier),
        BackupKind::Incremental => {
            let tier = create.parent_tier.as_deref().unwrap_or("backup");
            let taken =
                create.parent_taken.map_or_else(String::new, |taken| format!(" of {}", minute_text(taken)));
            let id = create.parent.filter(|_| detail == Detail::Full);
            let id = id.map_or_else(String::new, |id| format!(" ({})", id.short()));
            format!("{}, incremental on the {tier}{taken}{id}", create.tier)
        }
    }
}

/// Names the snapshot, and what is wrong with its backup: then it may be the only copy of that moment.
pub(in crate::render) fn delete_text(vm: &VmPlan, delete: &DeleteLocal, detail: Detail) -> String {
    let snapshot = snapshot_name(delete);
    let Some(backup) = delete.backup else { return snapshot };
    let id = if detail == Detail::Full { format!(" ({})", backup.short()) } else { String::new() };
    let mut notes = vm.notes.iter().filter(|note| note.backup == Some(backup));
    let flaw = notes.find_map(|note| match wording(note).problem? {
        ProblemName::Flaw(flaw) => Some(format!("{flaw} ")),
        ProblemName::Other(_) => None,
    });
    format!("{}{snapshot}{id}", flaw.unwrap_or_default())
}

/// Names the snapshot alone: `daily of Sun 2026-11-22 01:00`, or `the new daily`.
pub(in crate::render) fn snapshot_name(delete: &DeleteLocal) -> String {
    match delete.taken {
        Some(taken) => format!("{} of {}", delete.tier, minute_text(taken)),
        None => format!("the new {}", delete.tier),
    }
}

/// Names a stored backup, with its size as far as it is known.
pub(in crate::render) fn stored_text(delete: &DeleteCloud, detail: Detail) -> String {
    let size = delete.size_bytes.map_or_else(String::new, |bytes| format!(", {}", bytes_text(bytes)));
    let id = if detail == Detail::Full { format!(" ({})", delete.backup.short()) } else { String::new() };
    format!("{}{id}{size}", stored_name(delete))
}

/// Names a stored backup alone: `daily of Sun 2026-11-22 01:00`.
pub(in crate::render) fn stored_name(delete: &DeleteCloud) -> String {
    format!("{} of {}", delete.tier, minute_text(delete.taken))
}
