//! Deliberate faults, to judge the judges by: each takes one precaution out of the program, and the simulation has to
//! notice (`tests/simulation/planted.rs`).
//!
//! They can only be switched on with the feature `sabotage`, which is there for the tests and nothing else. Without it
//! `planted` is `false` for the compiler already, and nothing of a fault is left in the program.

/// A precaution that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Takes a failed backup as a parent.
    FailedAsParent,
    /// Asks of a restorable backup only that it is completed itself, and not its ancestors.
    IgnoreAncestors,
    /// Takes a backup with next to nothing in it for a good one.
    HollowIsGood,
    /// Lets a backup with a date in the future count.
    CountFutureDated,
    /// Gives up the parent of a running upload.
    ForgetParentOfRunning,
    /// Gives up the only copy of a failed upload's moment.
    ForgetOnlyCopy,
    /// Waits for an upload for ever.
    StuckRunsForEver,
    /// Counts failed attempts from the beginning of time.
    NeverStartAfresh,
    /// Carries out what is planned for a suspended VM.
    IgnoreSuspension,
    /// Takes the first policy where several claim a VM.
    SettleConflicts,
    /// Takes an accepted create for a completed one.
    AcceptedIsDone,
    /// Takes whatever FiFo calls completed for a good backup, when it has waited for it.
    CompletedIsGood,
    /// Does what was to come after a create, though that has failed.
    DeleteAfterFailure,
    /// Answers a lost answer with a second create.
    RetryBlindly,
    /// Believes single readings, however old they may be.
    TrustStaleReads,
    /// Carries out the plan without looking at the VM again.
    TrustThePlan,
    /// Starts all local deletes at once, with none that goes first.
    SkipCanary,
    /// Takes a backup that has vanished for one that was deleted locally.
    IgnoreVanished,
    /// Does not count the uploads that were running already.
    ForgetRunningUploads,
    /// Knows no limit for one hypervisor.
    NoLimitOnHypervisor,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::FailedAsParent,
        Self::IgnoreAncestors,
        Self::HollowIsGood,
        Self::CountFutureDated,
        Self::ForgetParentOfRunning,
        Self::ForgetOnlyCopy,
        Self::StuckRunsForEver,
        Self::NeverStartAfresh,
        Self::IgnoreSuspension,
        Self::SettleConflicts,
        Self::AcceptedIsDone,
        Self::CompletedIsGood,
        Self::DeleteAfterFailure,
        Self::RetryBlindly,
        Self::TrustStaleReads,
        Self::TrustThePlan,
        Self::SkipCanary,
        Self::IgnoreVanished,
        Self::ForgetRunningUploads,
        Self::NoLimitOnHypervisor,
    ];
}

#[cfg(feature = "sabotage")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Runs something on this thread with a fault in the program.
#[cfg(feature = "sabotage")]
pub fn with<T>(fault: Fault, run: impl FnOnce() -> T) -> T {
    PLANTED.set(Some(fault));
    let result = run();
    PLANTED.set(None);
    result
}

/// Says whether a fault is in the program now.
#[cfg(feature = "sabotage")]
pub(crate) fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Says whether any fault is in the program now: then the audit of plans, which would find many, is left out too.
#[cfg(feature = "sabotage")]
pub(crate) fn is_audit_off() -> bool {
    PLANTED.get().is_some()
}

#[cfg(not(feature = "sabotage"))]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}

#[cfg(not(feature = "sabotage"))]
pub(crate) const fn is_audit_off() -> bool {
    false
}
