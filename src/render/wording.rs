//! How each kind of note is shown: the one table of them.

use crate::plan::{Note, NoteCode};
use std::fmt;

/// What a row is about, as its sign and its colour say again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::render) enum Symbol {
    Create,
    Delete,
    /// Something is deleted for good.
    Destroy,
    Held,
    Waiting,
    Alarm,
    Fine,
    Aside,
}

impl Symbol {
    pub(in crate::render) fn sign(self) -> char {
        match self {
            Self::Create => '+',
            Self::Delete => '-',
            Self::Destroy => 'x',
            Self::Held => '~',
            Self::Waiting => '.',
            Self::Alarm => '!',
            Self::Fine => '=',
            Self::Aside => ' ',
        }
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

/// How a kind of note is shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::render) struct NoteWording {
    pub(in crate::render) symbol: Symbol,
    /// What stands for it in one or two words.
    pub(in crate::render) verb: &'static str,
    /// Whether it is what blocks a blocked VM.
    pub(in crate::render) is_blocking: bool,
    /// Whether it explains the status of its VM, and is shown at every level of detail.
    pub(in crate::render) is_explanation: bool,
    /// What is wrong with the backup that it is about; `None` where it is about no backup or nothing is wrong.
    pub(in crate::render) problem: Option<ProblemName>,
    /// How likely it explains that a VM has no backup that is young enough: 0 is the likeliest, `None` does not.
    pub(in crate::render) cause_rank: Option<u8>,
}

impl NoteWording {
    const fn new(symbol: Symbol, verb: &'static str) -> Self {
        Self { symbol, verb, is_blocking: false, is_explanation: false, problem: None, cause_rank: None }
    }

    /// Makes one that is about a flaw of a backup.
    const fn flaw(flaw: &'static str) -> Self {
        Self { problem: Some(ProblemName::Flaw(flaw)), ..Self::new(Symbol::Alarm, flaw) }
    }

    const fn blocking(self) -> Self {
        Self { is_blocking: true, ..self }
    }

    const fn explaining(self) -> Self {
        Self { is_explanation: true, ..self }
    }

    const fn problem(self, name: &'static str) -> Self {
        Self { problem: Some(ProblemName::Other(name)), ..self }
    }

    const fn cause(self, rank: u8) -> Self {
        Self { cause_rank: Some(rank), ..self }
    }
}

/// Says how a note is shown.
pub(in crate::render) fn wording(note: &Note) -> NoteWording {
    use Symbol::{Alarm, Aside, Held, Waiting};
    let new = NoteWording::new;
    let flaw = NoteWording::flaw;
    match note.code {
        NoteCode::InternalError => new(Alarm, "fault").explaining(),
        NoteCode::Unreadable if note.backup.is_some() => {
            new(Alarm, "unreadable").problem("unreadable backup record")
        }
        NoteCode::Unreadable => new(Alarm, "unreadable").explaining(),
        NoteCode::PolicyConflict => new(Alarm, "conflict").explaining(),
        NoteCode::Unprotected => new(Aside, "unprotected").explaining(),
        NoteCode::Suspended => new(Held, "suspended").explaining().cause(0),
        NoteCode::SuspensionEnded => new(Alarm, "not suspended"),
        NoteCode::NoHypervisor => new(Alarm, "blocked").explaining().cause(1),
        NoteCode::DelegatedDatasets => new(Alarm, "blocked").explaining().cause(2),
        NoteCode::VmState => new(Alarm, "blocked").explaining().cause(3),
        NoteCode::GaveUp => new(Alarm, "gave up").blocking().explaining().cause(4),
        NoteCode::RetryLater => new(Waiting, "waiting").explaining().cause(5),
        NoteCode::Unverified => flaw("unverified").explaining().cause(6),
        NoteCode::Stuck => flaw("stuck").cause(7),
        NoteCode::InProgress => new(Waiting, "waiting").explaining().cause(8),
        NoteCode::Hollow => flaw("hollow").cause(9),
        NoteCode::FailedBackup => flaw("failed"),
        NoteCode::Unrestorable => flaw("unrestorable"),
        NoteCode::FutureTimestamp => flaw("future-dated").explaining(),
        NoteCode::OverPruneLimit => new(Alarm, "not pruned").explaining(),
        NoteCode::OrphanedSnapshot => new(Alarm, "orphaned").problem("orphaned snapshot"),
        NoteCode::NoParent => new(Aside, "no parent").blocking().explaining(),
        NoteCode::Unmanaged => new(Aside, "unmanaged"),
        NoteCode::Expired => new(Aside, "expired"),
    }
}
