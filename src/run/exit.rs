//! How a command ends. Scripts rely on the exit codes: a number never changes its meaning.

/// Done, or nothing to do.
pub const DONE: u8 = 0;
/// Failed: mistakes in policies, no connection, refused sign-in, no VM visible, files, clocks too far apart, a fault
/// of this program.
pub const FAILED: u8 = 1;
/// With `--detailed-exitcode`: there are changes; with `status --check`: something is out.
pub const CHANGES: u8 = 2;
/// Some VMs failed, gave up, are in conflict, unreadable or over the prune limit, had changed since the plan, or are left out by
/// a fault of this program; the others were done.
pub const SOME_FAILED: u8 = 3;
/// A safety stop: backups have vanished after a delete, in this run, or in an earlier one and it is still set.
pub const SAFETY_STOP: u8 = 4;
/// Another run for the same FiFo is in progress.
pub const LOCKED: u8 = 5;
/// The command line is wrong. Not 2, clap's own code, which would read as "there are changes".
pub const WRONG_USAGE: u8 = 64;
/// Added to the number of the signal that ended a run: 130 for SIGINT, 143 for SIGTERM.
pub const SIGNALLED: u8 = 128;

/// How a command or a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done.
    Done,
    /// Something is not as it should be, or there are changes, and the caller wants to know.
    Changes,
    Failed,
    /// A question was answered with no.
    Declined,
    /// Some VMs were left undone; the others were done.
    SomeFailed,
    /// Backups have vanished after a delete, in this run or in an earlier one.
    SafetyStop,
    /// Another run for the same FiFo is in progress.
    Locked,
    /// The same for less than a day, met by a `reconcile` that a timer may have started: routine.
    LockedBriefly,
    WrongUsage,
    /// A signal ended it, by its number.
    Interrupted(u8),
}

impl Exit {
    /// Returns the exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => DONE,
            Self::Failed | Self::Declined => FAILED,
            Self::Changes => CHANGES,
            Self::SomeFailed => SOME_FAILED,
            Self::SafetyStop => SAFETY_STOP,
            Self::Locked | Self::LockedBriefly => LOCKED,
            Self::WrongUsage => WRONG_USAGE,
            Self::Interrupted(signal) => SIGNALLED.saturating_add(signal),
        }
    }

    /// Returns the end of a run in a word, for metrics and notifications. A word never changes its meaning either.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::SomeFailed => "some_failed",
            Self::SafetyStop => "safety_stop",
            Self::Locked | Self::LockedBriefly => "locked",
            Self::Interrupted(_) => "interrupted",
            Self::Failed | Self::Declined | Self::Changes | Self::WrongUsage => "failed",
        }
    }

    /// Says whether there was a run at all: not after a question that was answered with no, nor beside another run, which
    /// reports itself.
    pub fn is_run(self) -> bool {
        !matches!(self, Self::Declined | Self::Locked | Self::LockedBriefly)
    }
}
