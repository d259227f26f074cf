//! What is told of a VM: its heading and its rows, in words.

use super::options::Detail;
use crate::plan::{Action, BackupKind, Create, DeleteLocal, Note, NoteCode, Status, VmPlan};
use crate::policy::minute_text;
use crate::render::cells::visible;
use std::fmt;

/// What a row is about, as its sign and its colour say again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    Create,
    Delete,
    Held,
    Waiting,
    Alarm,
    Fine,
    Aside,
}

impl Symbol {
    pub(super) fn sign(self) -> char {
        match self {
            Self::Create => '+',
            Self::Delete => '-',
            Self::Held => '~',
            Self::Waiting => '.',
            Self::Alarm => '!',
            Self::Fine => '=',
            Self::Aside => ' ',
        }
    }
}

/// One line of a block, or several where it has to be wrapped.
#[derive(Clone, Debug)]
pub(in crate::render) struct Row {
    pub(super) symbol: Symbol,
    pub(in crate::render) verb: &'static str,
    pub(in crate::render) what: String,
    /// Stands in a column of its own; where it is empty, `what` has the whole line.
    pub(super) why: String,
}

/// All that is told of one VM.
#[derive(Clone, Debug)]
pub(super) struct RowGroup {
    pub(super) alias: String,
    pub(super) id: String,
    pub(super) policy: Option<String>,
    pub(super) rows: Vec<Row>,
}

/// Puts into words what a plan has for a VM; `None` when at this level of detail there is nothing to tell.
pub(super) fn block(vm: &VmPlan, detail: Detail) -> Option<RowGroup> {
    let is_told = match vm.status {
        Status::Changes
        | Status::Fault
        | Status::Unreadable
        | Status::Conflict
        | Status::Blocked
        | Status::Waiting => detail >= Detail::Usual,
        Status::Unprotected | Status::UpToDate => detail >= Detail::Full,
    };
    if !is_told {
        return None;
    }
    let mut rows = Vec::new();
    if vm.status == Status::UpToDate {
        rows.push(Row { symbol: Symbol::Fine, verb: "up to date", what: String::new(), why: String::new() });
    }
    // Why nothing is carried out stands above what is not.
    let (held, notes): (Vec<&Note>, Vec<&Note>) =
        vm.notes.iter().partition(|note| note.code == NoteCode::Suspended);
    rows.extend(held.into_iter().map(|note| note_row(note, vm.status)));
    rows.extend(vm.actions.iter().map(|action| action_row(vm, action, detail)));
    let notes = notes.into_iter().filter(|note| detail == Detail::Full || explains(note));
    rows.extend(notes.map(|note| note_row(note, vm.status)));
    Some(RowGroup {
        alias: if vm.alias.is_empty() { "(no alias)".to_owned() } else { visible(&vm.alias) },
        id: vm.uuid.map_or_else(|| "(no UUID)".to_owned(), |id| id.short()),
        policy: vm.policy.as_deref().map(visible),
        rows,
    })
}

/// Says whether a note is the reason for how its VM stands, and so belongs to it however little is told.
pub(in crate::render) fn explains(note: &Note) -> bool {
    match note.code {
        NoteCode::Unreadable => note.backup.is_none(),
        NoteCode::InternalError
        | NoteCode::PolicyConflict
        | NoteCode::Unprotected
        | NoteCode::Suspended
        | NoteCode::NoHypervisor
        | NoteCode::DelegatedDatasets
        | NoteCode::VmState
        | NoteCode::InProgress
        | NoteCode::Unverified
        | NoteCode::RetryLater
        | NoteCode::GaveUp
        | NoteCode::NoParent => true,
        NoteCode::SuspensionEnded
        | NoteCode::Stuck
        | NoteCode::FailedBackup
        | NoteCode::Hollow
        | NoteCode::Unrestorable
        | NoteCode::FutureTimestamp
        | NoteCode::OrphanedSnapshot
        | NoteCode::Unmanaged
        | NoteCode::Expired => false,
    }
}

/// Something that is wrong with a backup, in the singular: `failed backup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::render) enum ProblemName {
    /// An adjective of the backup.
    Flaw(&'static str),
    /// Another noun.
    Other(&'static str),
}

impl fmt::Display for ProblemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flaw(flaw) => write!(f, "{flaw} backup"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// Names what is wrong with a backup; `None` where a note about one is nothing to worry about.
pub(in crate::render) fn problem(code: NoteCode) -> Option<ProblemName> {
    match code {
        NoteCode::Unreadable => Some(ProblemName::Other("unreadable backup record")),
        NoteCode::OrphanedSnapshot => Some(ProblemName::Other("orphaned snapshot")),
        NoteCode::Unverified => Some(ProblemName::Flaw("unverified")),
        NoteCode::Stuck => Some(ProblemName::Flaw("stuck")),
        NoteCode::FailedBackup => Some(ProblemName::Flaw("failed")),
        NoteCode::Hollow => Some(ProblemName::Flaw("hollow")),
        NoteCode::Unrestorable => Some(ProblemName::Flaw("unrestorable")),
        NoteCode::FutureTimestamp => Some(ProblemName::Flaw("future-dated")),
        NoteCode::InternalError
        | NoteCode::PolicyConflict
        | NoteCode::Unprotected
        | NoteCode::Suspended
        | NoteCode::SuspensionEnded
        | NoteCode::NoHypervisor
        | NoteCode::DelegatedDatasets
        | NoteCode::VmState
        | NoteCode::InProgress
        | NoteCode::RetryLater
        | NoteCode::GaveUp
        | NoteCode::NoParent
        | NoteCode::Unmanaged
        | NoteCode::Expired => None,
    }
}

pub(in crate::render) fn note_row(note: &Note, status: Status) -> Row {
    let (symbol, verb) = match note.code {
        NoteCode::GaveUp | NoteCode::NoParent if status == Status::Blocked => (Symbol::Alarm, "blocked"),
        NoteCode::NoHypervisor | NoteCode::DelegatedDatasets | NoteCode::VmState => {
            (Symbol::Alarm, "blocked")
        }
        NoteCode::GaveUp => (Symbol::Alarm, "gave up"),
        NoteCode::NoParent => (Symbol::Aside, "no parent"),
        NoteCode::InProgress | NoteCode::RetryLater => (Symbol::Waiting, "waiting"),
        NoteCode::InternalError => (Symbol::Alarm, "fault"),
        NoteCode::Unreadable => (Symbol::Alarm, "unreadable"),
        NoteCode::PolicyConflict => (Symbol::Alarm, "conflict"),
        NoteCode::Unprotected => (Symbol::Aside, "unprotected"),
        NoteCode::Suspended => (Symbol::Held, "suspended"),
        NoteCode::SuspensionEnded => (Symbol::Alarm, "not suspended"),
        NoteCode::Unverified => (Symbol::Alarm, "unverified"),
        NoteCode::Stuck => (Symbol::Alarm, "stuck"),
        NoteCode::FailedBackup => (Symbol::Alarm, "failed"),
        NoteCode::Hollow => (Symbol::Alarm, "hollow"),
        NoteCode::Unrestorable => (Symbol::Alarm, "unrestorable"),
        NoteCode::FutureTimestamp => (Symbol::Alarm, "future-dated"),
        NoteCode::OrphanedSnapshot => (Symbol::Alarm, "orphaned"),
        NoteCode::Unmanaged => (Symbol::Aside, "unmanaged"),
        NoteCode::Expired => (Symbol::Aside, "expired"),
    };
    Row { symbol, verb, what: visible(&note.message), why: String::new() }
}

fn action_row(vm: &VmPlan, action: &Action, detail: Detail) -> Row {
    let (symbol, verb, what, why) = match action {
        Action::Create(create) => {
            (Symbol::Create, "create", create_text(create, detail), create_reason(create))
        }
        Action::DeleteLocal(delete) => {
            (Symbol::Delete, "delete locally", delete_text(vm, delete, detail), delete.reason.clone())
        }
    };
    let (symbol, verb) = match action {
        _ if !vm.is_suspended() => (symbol, verb),
        Action::Create(_) => (Symbol::Held, "would create"),
        Action::DeleteLocal(_) => (Symbol::Held, "would delete locally"),
    };
    Row { symbol, verb, what: visible(&what), why: visible(&why) }
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

pub(in crate::render) fn create_reason(create: &Create) -> String {
    let own = if create.stays_local { "" } else { "; its own snapshot goes once it is complete" };
    format!("{}{own}", create.reason)
}

/// Names the snapshot, and what is wrong with its backup: then it may be the only copy of that moment.
pub(in crate::render) fn delete_text(vm: &VmPlan, delete: &DeleteLocal, detail: Detail) -> String {
    let id = if detail == Detail::Full { format!(" ({})", delete.backup.short()) } else { String::new() };
    let mut notes = vm.notes.iter().filter(|note| note.backup == Some(delete.backup));
    let flaw = notes.find_map(|note| match problem(note.code)? {
        ProblemName::Flaw(flaw) => Some(format!("{flaw} ")),
        ProblemName::Other(_) => None,
    });
    format!("{}{} of {}{id}", flaw.unwrap_or_default(), delete.tier, minute_text(delete.taken))
}
