//! The program in a folder of its own, with an environment that holds nothing but what a test puts there.

use assert_cmd::Command;
use chrono::{DateTime, Utc};
use fifo_retain::sandbox::{Clock, Effect, Options, RequestRecord, Rule, RunningSandbox, Sandbox, Seed};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_fifo-retain");

/// The instant at which the sandbox's clock stands still, and which `--at` is given: a Sunday evening.
pub(crate) const AT: &str = "2026-11-22T20:00:00Z";

/// The grandfather scheme, for VMs marked in the old scripts' way.
pub(crate) const GRANDFATHER: &str = r#"version: 1
policy: grandfather
select:
  metadata: { fifo.backup: 1 }
timezone: Europe/Berlin
tiers:
  - { name: monthly, schedule: "0 1 1 * *", type: full }
  - { name: weekly, schedule: "0 1 * * SUN", type: incremental }
  - { name: daily, schedule: "0 1 * * *", type: incremental }
"#;

/// A folder with policies in it, and how to run the program there.
pub(crate) struct Folder {
    folder: TempDir,
}

impl Folder {
    /// Makes one with the grandfather policy in `policies`.
    pub(crate) fn new() -> Self {
        let folder = Self { folder: TempDir::new().unwrap() };
        folder.write("policies/grandfather.yaml", GRANDFATHER);
        folder
    }

    /// Makes one with nothing in it.
    pub(crate) fn empty() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Returns the command, to be completed.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::from_std(self.sealed(arguments));
        command.timeout(Duration::from_secs(60));
        command
    }

    /// Returns the command for where the test has to hold its pipes itself.
    pub(crate) fn sealed(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(PROGRAM);
        command.env_clear().env("HOME", self.folder.path()).env("COLUMNS", "110");
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    /// Runs the program, and returns its exit code and output.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments))
    }

    /// Runs the program against a FiFo, as the sandbox's user.
    pub(crate) fn ask(&self, fifo: &Fifo, arguments: &[&str]) -> Ended {
        let mut command = Command::from_std(self.asking(fifo, arguments));
        command.timeout(Duration::from_secs(60));
        Ended::of(command)
    }

    /// Returns the command that [`Folder::ask`] runs, for where the test has to hold its pipes itself.
    pub(crate) fn asking(&self, fifo: &Fifo, arguments: &[&str]) -> std::process::Command {
        let mut command = self.sealed(arguments);
        command.env("FIFO_ENDPOINT", fifo.url());
        command.env("FIFO_USER", "admin").env("FIFO_PASSWORD", "admin");
        command
    }
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn of(mut command: Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Checks the exit code, and shows everything where it is another one.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "out:\n{}\nerr:\n{}", self.out, self.err);
        self
    }

    pub(crate) fn last_line(&self) -> &str {
        self.out.lines().last().unwrap_or_default()
    }
}

/// A simulated FiFo within the test.
pub(crate) struct Fifo {
    running: Option<RunningSandbox>,
    runtime: Runtime,
}

impl Fifo {
    /// The first world as of [`AT`], where the clock stands still.
    pub(crate) fn standing_still() -> Self {
        let at: DateTime<Utc> = AT.parse().unwrap();
        Self::start(Options { clock: Clock::manual(at.timestamp_micros()), ..Options::default() })
    }

    /// The first world as of now, by the machine's clock.
    pub(crate) fn now() -> Self {
        Self::start(Options::default())
    }

    /// A world without any VM.
    pub(crate) fn empty() -> Self {
        Self::start(Options { seed: Seed { vms: 0, seed: 1 }, ..Options::default() })
    }

    pub(crate) fn start(options: Options) -> Self {
        let runtime = Runtime::new().unwrap();
        let running = Some(runtime.block_on(Sandbox::start(options)).unwrap());
        Self { running, runtime }
    }

    pub(crate) fn running(&self) -> &RunningSandbox {
        self.running.as_ref().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        self.running().url()
    }

    /// Has every answer disturbed.
    pub(crate) fn disturb(&self, effect: Effect) {
        self.running().with(|state| state.faults.rules.push(Rule::new(effect)));
    }

    /// Lists what it was asked: `GET /api/3/vms`, without what comes after a `?`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.running().with(|state| {
            let line = |asked: &RequestRecord| format!("{} {}", asked.request.method, asked.request.path());
            state.requests.iter().map(line).collect()
        })
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            drop(self.runtime.block_on(running.stop()));
        }
    }
}
