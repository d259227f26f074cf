//! The exit codes. Scripts rely on them: a number never changes its meaning.

use super::error::{CliError, Kind};

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
/// Another run for the same FiFo is under way.
pub const LOCKED: u8 = 5;
/// The command line is wrong. Not 2, clap's own code, which would read as "there are changes".
pub const WRONG_USAGE: u8 = 64;
/// Added to the number of the signal that ended a run: 130 for SIGINT, 143 for SIGTERM.
pub const SIGNALLED: u8 = 128;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was asked for is done.
    Done,
    /// There are changes, and the caller wants to know.
    Changes,
    /// Some VM's backups are not as they should be, and the caller wants to know.
    OutOfDate,
    /// What was checked has mistakes, which have been reported.
    InvalidPolicies,
    /// Some VMs were left undone, which has been reported; the others were done.
    SomeFailed,
    /// Backups have vanished after a delete, in this run or in an earlier one, and that has been reported.
    Alarm,
    /// A signal ended it, by its number.
    Interrupted(u8),
}

/// Returns the end of a run in a word, for metrics and notifications. A word never changes its meaning either.
pub fn word(ended: &Result<Outcome, CliError>) -> &'static str {
    match code(ended) {
        DONE => "done",
        SOME_FAILED => "some_failed",
        SAFETY_STOP => "safety_stop",
        LOCKED => "locked",
        code if code > SIGNALLED => "interrupted",
        _ => "failed",
    }
}

/// Says whether no further run may start until a person has lifted the safety stop.
pub fn is_safety_stop(ended: &Result<Outcome, CliError>) -> bool {
    code(ended) == SAFETY_STOP
}

/// Returns the exit code of a command that has ended so.
pub fn code(ended: &Result<Outcome, CliError>) -> u8 {
    match ended {
        Ok(Outcome::Done) => DONE,
        Ok(Outcome::Changes | Outcome::OutOfDate) => CHANGES,
        Ok(Outcome::InvalidPolicies) => FAILED,
        Ok(Outcome::SomeFailed) => SOME_FAILED,
        Ok(Outcome::Alarm) => SAFETY_STOP,
        Ok(Outcome::Interrupted(signal)) => SIGNALLED.saturating_add(*signal),
        Err(error) => match error.kind() {
            Kind::Policies
            | Kind::Settings
            | Kind::Fifo
            | Kind::NothingVisible
            | Kind::Files
            | Kind::SavedPlan
            | Kind::Declined
            | Kind::Clocks
            | Kind::Internal => FAILED,
            Kind::Locked | Kind::RunInProgress => LOCKED,
            Kind::SafetyStop => SAFETY_STOP,
            Kind::Usage => WRONG_USAGE,
        },
    }
}
