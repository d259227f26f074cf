//! What surrounds a run: the clock, the state folder with its lock and safety stop, and the output.

use super::output::Output;
use super::proofs::{OpenedStore, Proofs, known};
use crate::apply::{Clock, Holder, Lock, LockError, SafetyStop, StopFile};
use crate::report::{Exit, Failure, KnownVms};
use chrono::{DateTime, TimeDelta, Utc};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process;

/// A timer that finds a run in progress is routine; one that has held the lock for longer than this is reported as a failure.
const LOCK_ROUTINE_MAX: TimeDelta = TimeDelta::hours(24);

pub struct Host {
    pub clock: fn() -> DateTime<Utc>,
    /// The folder for lock, journal and safety stop, whether or not it is there; or why there is none.
    pub state_dir: Result<PathBuf, Failure>,
    /// A PEM file with certificates that notifications trust as well.
    pub ca_file: Option<PathBuf>,
    pub output: Output,
}

impl Clock for Host {
    fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }
}

impl Host {
    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// Returns a seed that differs in each run, for random pauses.
    pub fn seed(&self) -> u64 {
        let micros = u64::try_from(self.now().timestamp_micros()).unwrap_or_default();
        micros ^ u64::from(process::id()).rotate_right(16)
    }

    pub fn state_dir(&self) -> Result<&Path, Failure> {
        self.state_dir.as_deref().map_err(Clone::clone)
    }

    /// Returns the state folder, and makes it, for its owner only, where there is none.
    pub fn made_state_dir(&self) -> Result<&Path, Failure> {
        let folder = self.state_dir()?;
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
            Failure::new(format!("failed to make the state folder {}", folder.display()))
                .because(error)
                .hint("name another one with --state-dir or FIFO_RETAIN_STATE_DIR")
        })?;
        Ok(folder)
    }

    pub fn stop_file(&self, endpoint: &str) -> Result<StopFile, Failure> {
        Ok(StopFile::new(self.state_dir()?, endpoint))
    }

    /// Reads the safety stop for a FiFo, for those who only show it. Where there is no state folder there is none.
    pub fn safety_stop(&self, endpoint: &str) -> Option<SafetyStop> {
        self.stop_file(endpoint).ok()?.read()
    }

    /// Returns what `verify` and `rehearse` have proven of a FiFo's VMs, whatever store that is from, for those who only show it.
    pub fn verified(&self, endpoint: &str) -> KnownVms {
        known(self.state_dir().ok(), endpoint, None).vms
    }

    pub fn proofs(&self, endpoint: &str, store: Option<OpenedStore>) -> Proofs {
        Proofs::new(self.state_dir().ok().map(ToOwned::to_owned), endpoint, store)
    }

    /// Takes the lock for a FiFo, so that no other run of this machine changes it meanwhile.
    pub fn lock(&self, endpoint: &str, command: &str) -> Result<Lock, Failure> {
        let holder = Holder { pid: process::id(), command: command.to_owned(), since: self.now() };
        Lock::take(self.made_state_dir()?, endpoint, &holder).map_err(|error| {
            let exit = match &error {
                LockError::Held { holder: Some(other), .. }
                    if command == "reconcile" && self.now() - other.since < LOCK_ROUTINE_MAX =>
                {
                    Exit::LockedBriefly
                }
                LockError::Held { .. } => Exit::Locked,
                LockError::Io { .. } => Exit::Failed,
            };
            Failure { exit, ..Failure::of(&error) }
        })
    }
}

#[cfg(test)]
impl Host {
    /// Returns one with its clock at the beginning of time and plain output.
    pub(super) fn for_tests(state_dir: &Path) -> Self {
        use crate::report::{Detail, text::TextOptions};
        let text = TextOptions { styles: Default::default(), columns: 80, detail: Detail::Usual };
        let output = Output {
            is_json: false,
            text,
            error_styles: Default::default(),
            out_columns: None,
            error_columns: None,
            logs_json: false,
        };
        let state_dir = Ok(state_dir.to_owned());
        Self { clock: || DateTime::UNIX_EPOCH, state_dir, ca_file: None, output }
    }
}
