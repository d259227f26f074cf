//! A shell as those have it who follow a page or run a pipeline: in a folder of its own, with the program on its path, a
//! simulated FiFo behind the usual variables, and nothing of this machine's settings.

use chrono::{TimeDelta, Timelike as _, Utc};
use fifo_retain::sandbox::{Options, RunningSandbox, Sandbox, State, User};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// After how many seconds a script is ended with everything that it has started.
const SCRIPT_SECONDS_MAX: &str = "300";

/// Milliseconds that an upload takes: pages and pipelines wait for real ones.
const UPLOAD_MS: u64 = 300;

/// Who may do everything; the password is the same.
const USER: &str = "admin";

/// A shell, its folders and its FiFo.
pub(crate) struct Shell {
    folder: TempDir,
    variables: BTreeMap<String, String>,
    running: Option<RunningSandbox>,
    runtime: Runtime,
}

impl Shell {
    /// Makes one in which the first world of the sandbox is to be reached, as of now.
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let options = Options { upload_ms: UPLOAD_MS, ..Options::default() };
        let running = runtime.block_on(Sandbox::start(options)).unwrap();
        let folder = TempDir::new().unwrap();
        for name in ["bin", "home", "work"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        symlink(env!("CARGO_BIN_EXE_fifo-retain"), folder.path().join("bin/fifo-retain")).unwrap();
        let mut shell = Self { folder, variables: BTreeMap::new(), running: Some(running), runtime };
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", shell.path("bin").display());
        let home = shell.path("home").display().to_string();
        for (name, value) in [("PATH", path), ("HOME", home), ("LC_ALL", "C.UTF-8".to_owned())] {
            shell.set(name, value);
        }
        // A repository for real, without the settings of the user who runs the tests.
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "Ann Operator"),
            ("GIT_AUTHOR_EMAIL", "ann@example.com"),
            ("GIT_COMMITTER_NAME", "Ann Operator"),
            ("GIT_COMMITTER_EMAIL", "ann@example.com"),
        ] {
            shell.set(name, value);
        }
        shell
    }

    /// Names the FiFo, and signs in as a user who may do everything.
    pub(crate) fn signed_in(mut self) -> Self {
        self.set("FIFO_ENDPOINT", self.url());
        self.set("FIFO_USER", USER);
        self.set("FIFO_PASSWORD", USER);
        self
    }

    /// Adds a user to the FiFo.
    pub(crate) fn user(&self, name: &str, user: User) {
        self.with(|state| state.world.users.insert(name.to_owned(), user));
    }

    /// Sets a variable for all scripts to come.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// Returns the whole path of something in the shell's folder; `work` is where scripts run.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: impl AsRef<Path>, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts a command on the path, as a script.
    pub(crate) fn command(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Copies the example policies to a folder; the program looks for them in `work/policies`.
    pub(crate) fn example_policies(&self, folder: &str) {
        for entry in fs::read_dir(repository("policies")).unwrap() {
            let path = entry.unwrap().path();
            let name = Path::new(folder).join(path.file_name().unwrap());
            self.write(name, &fs::read_to_string(&path).unwrap());
        }
    }

    pub(crate) fn url(&self) -> String {
        self.running.as_ref().unwrap().url()
    }

    /// Looks at the FiFo, or changes it.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        self.running.as_ref().unwrap().with(look)
    }

    /// Runs a script as pipelines do: it ends at the first command that fails.
    pub(crate) fn run(&self, script: &str) -> Ended {
        self.run_in("work", &BTreeMap::new(), script)
    }

    /// Runs a script in a folder, with variables that hold for it only.
    pub(crate) fn run_in(&self, folder: &str, variables: &BTreeMap<String, String>, script: &str) -> Ended {
        self.run_by(&["-euo", "pipefail"], folder, variables, script)
    }

    /// Runs a script by a bash that is given these options.
    pub(crate) fn run_by(
        &self,
        options: &[&str],
        folder: &str,
        variables: &BTreeMap<String, String>,
        script: &str,
    ) -> Ended {
        let file = self.path("script.sh");
        fs::write(&file, script).unwrap();
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", SCRIPT_SECONDS_MAX, "bash"]).args(options).arg(file);
        command.current_dir(self.path(folder)).env_clear().envs(&self.variables).envs(variables);
        let output = command.output().unwrap();
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            drop(self.runtime.block_on(running.stop()));
        }
    }
}

/// Says whether the tools are there that a test needs beside a clone and a Rust toolchain. Where they are not, it is printed
/// and the test is left out; in the gate, which installs them, that is a failure.
#[allow(clippy::print_stderr, reason = "a skipped test has to say so")]
pub(crate) fn has(tools: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_missing = |tool: &&&str| !std::env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    let missing: Vec<_> = tools.iter().filter(is_missing).collect();
    assert!(missing.is_empty() || std::env::var_os("CI").is_none(), "not installed: {missing:?}");
    if !missing.is_empty() {
        eprintln!("left out, since these are not installed: {missing:?}");
    }
    missing.is_empty()
}

/// The result of a script.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Checks the exit code, and shows everything where it is another one.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "out:\n{}\nerr:\n{}", self.out, self.err);
        self
    }
}

/// Returns the path of something in the repository.
pub(crate) fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Puts an hour that is not near in the place of `HOUR` in a policy: nothing comes due while a test runs.
pub(crate) fn at_a_quiet_hour(policy: &str) -> String {
    policy.replace("HOUR", &(Utc::now() - TimeDelta::hours(6)).hour().to_string())
}
