//! How each kind of note is shown: the one table of them.

use super::doc::Line;
use super::style::Tone;
use crate::insight::status::VmHealth;
use crate::plan::{Note, NoteCode, Status};

/// When a note is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// At every level of detail: it explains the status of its VM.
    Always,
    /// Only with all notes.
    InFull,
}

/// Returns how urgent a note is, what stands for it in one or two words, and when it is shown.
fn wording(note: &Note) -> (Tone, &'static str, Shown) {
    use Shown::{Always, InFull};
    use Tone::{Alarm, Held, Plain, Wait};
    match note.code {
        NoteCode::InternalError => (Alarm, "fault", Always),
        NoteCode::Unreadable if note.backup.is_some() => (Alarm, "unreadable", InFull),
        NoteCode::Unreadable => (Alarm, "unreadable", Always),
        NoteCode::PolicyConflict => (Alarm, "conflict", Always),
        NoteCode::Unprotected => (Plain, "unprotected", Always),
        NoteCode::Suspended => (Held, "suspended", Always),
        NoteCode::SuspensionEnded => (Alarm, "not suspended", InFull),
        NoteCode::NoHypervisor | NoteCode::DelegatedDatasets | NoteCode::VmState => {
            (Alarm, "blocked", Always)
        }
        NoteCode::GaveUp => (Alarm, "gave up", Always),
        NoteCode::RetryLater | NoteCode::InProgress => (Wait, "waiting", Always),
        NoteCode::Unverified => (Alarm, "unverified", Always),
        NoteCode::FutureTimestamp => (Alarm, "future-dated", Always),
        NoteCode::Stuck => (Alarm, "stuck", InFull),
        NoteCode::Hollow => (Alarm, "hollow", InFull),
        NoteCode::FailedBackup => (Alarm, "failed", InFull),
        NoteCode::Broken => (Alarm, "broken", Always),
        NoteCode::Unrestorable => (Alarm, "unrestorable", InFull),
        NoteCode::OverPruneLimit => (Alarm, "not pruned", Always),
        NoteCode::OrphanedSnapshot => (Alarm, "orphaned", InFull),
        NoteCode::NoParent => (Plain, "no parent", Always),
        NoteCode::Unmanaged => (Plain, "unmanaged", InFull),
        NoteCode::Expired => (Plain, "expired", InFull),
    }
}

/// Says in a line what a note says of a VM that stands so.
pub(super) fn note_line(note: &Note, status: Status) -> Line {
    let (tone, verb, _) = wording(note);
    let is_blocking = matches!(note.code, NoteCode::GaveUp | NoteCode::NoParent) && status == Status::Blocked;
    let (tone, verb) = if is_blocking { (Tone::Alarm, "blocked") } else { (tone, verb) };
    Line::new(tone, verb, note.message.clone())
}

/// Says whether a note says why actions are not carried out, and so stands above them.
pub(super) fn is_held_back(note: &Note) -> bool {
    note.code == NoteCode::Suspended
}

/// Says whether a note explains the status of its VM, and is shown at every level of detail.
pub(super) fn is_explanation(note: &Note) -> bool {
    wording(note).2 == Shown::Always
}

/// Says whether a note belongs to what `status` shows of a VM at every level of detail.
pub(super) fn is_problem(note: &Note) -> bool {
    note.advice.is_some() || wording(note).0 == Tone::Wait
}

/// Returns what is wrong with the backup that a note is about, as an adjective; `None` where it is not the backup.
pub(super) fn flaw_of(note: &Note) -> Option<&'static str> {
    let is_flaw = matches!(
        note.code,
        NoteCode::Unverified
            | NoteCode::FutureTimestamp
            | NoteCode::Stuck
            | NoteCode::Hollow
            | NoteCode::FailedBackup
            | NoteCode::Unrestorable
    );
    is_flaw.then(|| wording(note).1)
}

/// Returns what is wrong with a single backup, in the singular: `failed backup`; `None` where nothing is.
pub(super) fn problem_of(note: &Note) -> Option<String> {
    match note.code {
        NoteCode::Unreadable if note.backup.is_some() => Some("unreadable backup record".to_owned()),
        NoteCode::OrphanedSnapshot => Some("orphaned snapshot".to_owned()),
        _ => flaw_of(note).map(|flaw| format!("{flaw} backup")),
    }
}

/// Returns the note that most likely explains why a VM has no backup that is young enough.
pub(super) fn likeliest_cause(vm: &VmHealth) -> Option<&Note> {
    /// The likeliest first.
    const CAUSES: [NoteCode; 10] = [
        NoteCode::Suspended,
        NoteCode::NoHypervisor,
        NoteCode::DelegatedDatasets,
        NoteCode::VmState,
        NoteCode::GaveUp,
        NoteCode::RetryLater,
        NoteCode::Unverified,
        NoteCode::Stuck,
        NoteCode::InProgress,
        NoteCode::Hollow,
    ];
    let rank = |note: &Note| CAUSES.iter().position(|code| *code == note.code);
    let causes = vm.notes.iter().filter_map(|note| Some((rank(note)?, note)));
    causes.min_by_key(|(rank, _)| *rank).map(|(_, note)| note)
}
