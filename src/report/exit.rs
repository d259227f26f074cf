//! How a command ends: its exit code, and, where it fails as a whole, what happened, why, and what to do about it.

use std::error::Error;
use std::iter::successors;

/// How a command or a run ends. Scripts rely on the codes: a number never changes its meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done, or there is nothing to do.
    Done,
    /// Mistakes in policies, no connection, refused sign-in, no VM visible, files, clocks too far apart, a fault of this
    /// program.
    #[default]
    Failed,
    /// A question was answered with no.
    Declined,
    /// There are changes, or something is out, and the caller asked.
    Changes,
    /// Some VMs failed, gave up, are in conflict, unreadable or over the prune limit, had changed since the plan, were left
    /// without a backup young enough, or are left out by a fault of this program; the others were done.
    SomeFailed,
    /// Backups have vanished after a delete, in this run, or in an earlier one and the safety stop is still set.
    SafetyStop,
    /// Another run for the same FiFo is in progress.
    Locked,
    /// The same for less than a day, met by a `reconcile` that a timer may have started: routine.
    LockedBriefly,
    /// The command line is wrong. Not 2, clap's own code, which would read as "there are changes".
    WrongUsage,
    Interrupted(u8),
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed | Self::Declined => 1,
            Self::Changes => 2,
            Self::SomeFailed => 3,
            Self::SafetyStop => 4,
            Self::Locked | Self::LockedBriefly => 5,
            Self::WrongUsage => 64,
            Self::Interrupted(signal) => signal.saturating_add(128),
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

/// Makes failures of errors, with what failed because of each.
pub fn failed<E: Into<Box<dyn Error + Send + Sync>>>(
    message: impl Into<String>,
) -> impl FnOnce(E) -> Failure {
    move |error| Failure::new(message).because(error)
}

/// Why a command or a run fails as a whole.
///
/// It is text from the start: no code asks what kind of failure it was, and reports show it as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened, lower-case, and what caused it: each text once, since some layers repeat what lies below them.
    pub causes: Vec<String>,
    pub hint: Option<String>,
    pub exit: Exit,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self::ending(Exit::Failed, message)
    }

    pub fn ending(exit: Exit, message: impl Into<String>) -> Self {
        Self { causes: vec![message.into()], hint: None, exit }
    }

    /// Makes one of arguments that do not go together.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::ending(Exit::WrongUsage, message)
    }

    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut failure = Self { causes: Vec::new(), hint: None, exit: Exit::Failed };
        failure.add(error);
        failure
    }

    #[must_use]
    pub fn because(mut self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.add(error.into().as_ref());
        self
    }

    fn add(&mut self, error: &(dyn Error + 'static)) {
        for text in successors(Some(error), |&cause| cause.source()).map(ToString::to_string) {
            if !self.causes.iter().any(|told| told.contains(&text)) {
                self.causes.push(text);
            }
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn text(&self) -> String {
        self.causes.join(": ")
    }
}
