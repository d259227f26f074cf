//! How each kind of note is shown: the one table of them.

use crate::insight::status::VmHealth;
use crate::plan::{BackupName, Note, NoteKind};
use std::fmt;

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    Held,
    Waiting,
    Alarm,
    Aside,
}

/// Something that is wrong with a backup, in the singular: `failed backup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::report) enum ProblemName {
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
pub(super) struct NoteWording {
    pub(super) symbol: Symbol,
    /// What stands for it in one or two words.
    pub(super) verb: &'static str,
    /// Whether it is what blocks a blocked VM.
    pub(super) is_blocking: bool,
    /// Whether it explains the status of its VM, and is shown at every level of detail.
    pub(super) is_explanation: bool,
    /// What is wrong with the backup that it is about; `None` where it is about no backup or nothing is wrong.
    pub(super) problem: Option<ProblemName>,
    /// What to do about it; `None` where nothing has to be done. [`advice`] knows more of a single note.
    pub(super) advice: Option<&'static str>,
    /// How likely it explains that a VM has no backup that is young enough: 0 is the likeliest, `None` does not.
    pub(super) cause_rank: Option<u8>,
}

impl NoteWording {
    const fn new(symbol: Symbol, verb: &'static str) -> Self {
        Self {
            symbol,
            verb,
            is_blocking: false,
            is_explanation: false,
            problem: None,
            advice: None,
            cause_rank: None,
        }
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

    const fn advice(self, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..self }
    }

    const fn cause(self, rank: u8) -> Self {
        Self { cause_rank: Some(rank), ..self }
    }
}

/// Says how a note is shown.
pub(super) fn wording(note: &Note) -> NoteWording {
    use Symbol::{Alarm, Aside, Held, Waiting};
    const CHECK_AGENT: &str = "check its hypervisor's agent and the backup storage for the cause";
    const BY_NEWER: &str = "no action if a newer backup is good; otherwise investigate";
    let new = NoteWording::new;
    let flaw = NoteWording::flaw;
    match note.kind {
        NoteKind::InternalError { .. } => new(Alarm, "fault")
            .explaining()
            .advice("report it to the developers of fifo-retain; no backups are made until it is fixed"),
        NoteKind::Unreadable { .. } => new(Alarm, "unreadable")
            .explaining()
            .advice("check its record in FiFo; unreadable records are left alone"),
        NoteKind::NoTimestamp(_) => new(Alarm, "unreadable")
            .problem("unreadable backup record")
            .advice("check its record in FiFo; unreadable records are left alone"),
        NoteKind::PolicyConflict { .. } => {
            new(Alarm, "conflict").explaining().advice("change the policies")
        }
        NoteKind::Unprotected => new(Aside, "unprotected").explaining(),
        NoteKind::Suspended { .. } => new(Held, "suspended")
            .explaining()
            .advice("remove the suspension from the policy when it is no longer needed")
            .cause(0),
        NoteKind::SuspensionEnded { .. } => new(Alarm, "not suspended").advice("remove it from the policy"),
        NoteKind::NoHypervisor { .. } => new(Alarm, "blocked")
            .explaining()
            .advice("start it on a hypervisor, or exclude it from the policy")
            .cause(1),
        NoteKind::DelegatedDatasets { .. } => new(Alarm, "blocked")
            .explaining()
            .advice("back it up by other means, and exclude it from the policy")
            .cause(2),
        NoteKind::VmState { .. } => new(Alarm, "blocked")
            .explaining()
            .advice("wait, or check in FiFo why its state does not change")
            .cause(3),
        NoteKind::GaveUp(_) => {
            new(Alarm, "gave up").blocking().explaining().advice(CHECK_AGENT).cause(4)
        }
        NoteKind::RetryLater(_) => new(Waiting, "waiting").explaining().advice(CHECK_AGENT).cause(5),
        NoteKind::Unverified { .. } => flaw("unverified")
            .explaining()
            .advice(
                "wait; if this persists, check its record in FiFo, which should have sizes and checksums by now",
            )
            .cause(6),
        NoteKind::Stuck(_) => flaw("stuck")
            .advice("check its hypervisor's agent: the upload may still hang there")
            .cause(7),
        NoteKind::InProgress { .. } => new(Waiting, "waiting").explaining().cause(8),
        NoteKind::Hollow { .. } => flaw("hollow").advice(BY_NEWER).cause(9),
        NoteKind::FailedBackup(_) => flaw("failed").advice(BY_NEWER),
        NoteKind::Unrestorable(_) => flaw("unrestorable").advice(BY_NEWER),
        NoteKind::FutureTimestamp { .. } => flaw("future-dated")
            .explaining()
            .advice("correct the clock that was wrong"),
        NoteKind::OverPruneLimit(_) => new(Alarm, "not pruned")
            .explaining()
            .advice("check what the policy keeps; --allow-mass-prune lets more go at once"),
        NoteKind::OrphanedSnapshot { .. } => new(Alarm, "orphaned")
            .problem("orphaned snapshot")
            .advice("delete the snapshot on the hypervisor by hand"),
        NoteKind::NoParent { .. } => new(Aside, "no parent").blocking().explaining(),
        NoteKind::Unmanaged(_) => new(Aside, "unmanaged"),
        NoteKind::Expired(_) => new(Aside, "expired"),
    }
}

/// Says what to do about a note on a VM; `None` where nothing has to be done.
pub(in crate::report) fn advice(note: &Note, vm: &VmHealth) -> Option<&'static str> {
    match &note.kind {
        NoteKind::FailedBackup(backup) | NoteKind::Hollow { backup, .. } | NoteKind::Unrestorable(backup) => {
            Some(advice_on_lost(backup, vm))
        }
        _ => wording(note).advice,
    }
}

/// Says what to do about a backup that cannot be restored.
fn advice_on_lost(lost: &BackupName, vm: &VmHealth) -> &'static str {
    match &vm.newest {
        Some(newest) if newest.taken > lost.taken => "no action: a newer backup is good",
        _ => "investigate: no newer backup is good",
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::tests::fixtures::*;
    use crate::plan::{NoteCode, plan};
    use crate::policy::Policies;

    #[test]
    fn advice_on_a_failed_backup_says_whether_a_newer_one_is_good() {
        let failed =
            || vm(1).backup(1, "monthly", "2026-11-01 01:00").backup(2, "daily", "2026-11-02 01:00").failed();
        let advice = |vm: VmBuilder| {
            let (policies, inventory) = (Policies::new(vec![grandfather()]), inventory([vm]));
            let plan = plan(&policies, &inventory, at("2026-11-03 20:00"));
            let health =
                crate::insight::tests::overview_of(&policies, &inventory, plan.at).health.vms.remove(0);
            let note = plan.vms[0].note(NoteCode::FailedBackup).unwrap();
            super::advice(note, &health).unwrap()
        };
        assert_eq!(advice(failed()), "investigate: no newer backup is good");
        let good = failed().backup(3, "daily", "2026-11-03 01:00");
        assert_eq!(advice(good), "no action: a newer backup is good");
    }
}
