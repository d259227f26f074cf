//! How each kind of note is shown: the one table of them.

use super::doc::{Line, Tone};
use crate::insight::status::VmHealth;
use crate::plan::{Note, NoteCode, Status};

/// Whether a note is shown at every level of detail, since it explains the status of its VM, or only with all notes.
const ALWAYS: bool = true;
const IN_FULL: bool = false;

/// Returns how urgent a note is, what stands for it in one or two words, and when it is shown.
fn wording(note: &Note) -> (Tone, &'static str, bool) {
    use Tone::{Alarm, Held, Plain, Wait};
    match note.code {
        NoteCode::InternalError => (Alarm, "fault", ALWAYS),
        NoteCode::Unreadable if note.backup.is_some() => (Alarm, "unreadable", IN_FULL),
        NoteCode::Unreadable => (Alarm, "unreadable", ALWAYS),
        NoteCode::PolicyConflict => (Alarm, "conflict", ALWAYS),
        NoteCode::Unprotected => (Plain, "unprotected", ALWAYS),
        NoteCode::Suspended => (Held, "suspended", ALWAYS),
        NoteCode::SuspensionEnded => (Alarm, "not suspended", IN_FULL),
        NoteCode::NoHypervisor | NoteCode::DelegatedDatasets | NoteCode::VmState => {
            (Alarm, "blocked", ALWAYS)
        }
        NoteCode::GaveUp => (Alarm, "gave up", ALWAYS),
        NoteCode::RetryLater | NoteCode::InProgress => (Wait, "waiting", ALWAYS),
        NoteCode::Unverified => (Alarm, "unverified", ALWAYS),
        NoteCode::FutureTimestamp => (Alarm, "future-dated", ALWAYS),
        NoteCode::Stuck => (Alarm, "stuck", IN_FULL),
        NoteCode::Hollow => (Alarm, "hollow", IN_FULL),
        NoteCode::FailedBackup => (Alarm, "failed", IN_FULL),
        NoteCode::Broken => (Alarm, "broken", ALWAYS),
        NoteCode::Unrestorable => (Alarm, "unrestorable", IN_FULL),
        NoteCode::OverPruneLimit => (Alarm, "not pruned", ALWAYS),
        NoteCode::OrphanedSnapshot => (Alarm, "orphaned", IN_FULL),
        NoteCode::NoParent => (Plain, "no parent", ALWAYS),
        NoteCode::Unmanaged => (Plain, "unmanaged", IN_FULL),
        NoteCode::Expired => (Plain, "expired", IN_FULL),
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
    wording(note).2
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
