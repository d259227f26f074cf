//! A project on a platform: a repository with policies, those who may sign in to its FiFo, and a built binary to fetch.

use crate::shell::{Ended, Shell, at_a_quiet_hour};
use fifo_retain::sandbox::User;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;

pub(crate) type Variables = BTreeMap<String, String>;

/// Users of the FiFo; the password of each is its name turned round.
pub(crate) const READER: (&str, &str) = ("reader", "redaer");
pub(crate) const WRITER: (&str, &str) = ("writer", "retirw");
/// The first line of a comment, by which it is found again.
pub(crate) const MARKER: &str = "<!-- fifo-retain plan -->";

/// A policy for VMs that can all be backed up, of which one is overdue.
const POLICY: &str = r#"version: 1
policy: web
select:
  alias: "web-*"
tiers:
  - { name: monthly, schedule: "0 HOUR 1 * *", type: full }
  - { name: weekly, schedule: "0 HOUR * * SUN", type: incremental }
  - { name: daily, schedule: "0 HOUR * * *", type: incremental }
"#;

/// What a pull request adds.
const ADDED: &str = r#"version: 1
policy: git
select:
  alias: "git-*"
tiers:
  - { name: daily, schedule: "0 HOUR * * *", type: full }
"#;

/// A project. Its repository is `origin`, with the branches `main` and `change`, and `merge`, which has both.
pub(crate) struct Project {
    pub(crate) shell: Shell,
}

impl Project {
    /// Makes one with a stand-in for a command of the platform, which writes to `state/calls` what it is asked to do.
    pub(crate) fn new((command, script): (&str, &str)) -> Self {
        let mut shell = Shell::new();
        // The pipelines have to install it.
        fs::remove_file(shell.path("bin/fifo-retain")).unwrap();
        shell.user(READER.0, User::allowed_to(READER.1, &["cloud->vms->list", "vms->_->get"]));
        shell.user(WRITER.0, User::admin(WRITER.1));
        let binary = env!("CARGO_BIN_EXE_fifo-retain");
        shell.set("FIFO_RETAIN_URL", format!("file://{binary}"));
        shell.set("FIFO_RETAIN_SHA256", hex::encode(Sha256::digest(fs::read(binary).unwrap())));
        shell.set("STATE", shell.path("state").display().to_string());
        shell.command(command, script);
        shell.write("origin/policies/web.yaml", &at_a_quiet_hour(POLICY));
        shell.write("git.yaml", &at_a_quiet_hour(ADDED));
        let project = Self { shell };
        project.git(
            "git init --quiet --initial-branch=main && git add . && git commit --quiet -m begin\n\
             git checkout --quiet -b change && cp ../git.yaml policies && git add . && git commit --quiet -m more\n\
             git checkout --quiet -b merge main && git merge --quiet --no-edit --no-ff change\n\
             git checkout --quiet main\n",
        );
        project.calls(&[]);
        project
    }

    /// Runs a script in the repository.
    pub(crate) fn git(&self, script: &str) -> String {
        self.shell.run_in("origin", &BTreeMap::new(), script).code(0).out.trim_end().to_owned()
    }

    /// Puts a copy of a branch where a job works, and returns the place.
    pub(crate) fn checkout(&self, branch: &str) -> String {
        let (origin, to) = (self.shell.path("origin"), self.shell.path("workspace"));
        let (origin, to) = (origin.display(), to.display());
        self.git(&format!("rm -rf {to}; git clone --quiet --branch {branch} file://{origin} {to}"));
        "workspace".to_owned()
    }

    /// Takes what the stand-in was asked to do, and says what it lists from now on.
    pub(crate) fn calls(&self, listed: &[serde_json::Value]) -> String {
        let calls = fs::read_to_string(self.shell.path("state/calls")).unwrap_or_default();
        self.shell.write("state/calls", "");
        self.shell.write("state/listed.json", &serde_json::to_string(listed).unwrap());
        calls
    }

    /// Counts the requests to the FiFo that have changed something.
    pub(crate) fn writes(&self) -> usize {
        self.shell.with(|state| {
            let requests = state.requests.iter().map(|asked| &asked.request);
            let is_write = |method: &str, path: &str| method != "GET" && !path.ends_with("/oauth/token");
            requests.filter(|request| is_write(&request.method, request.path())).count()
        })
    }
}

/// Checks that a job has created backups, and that nothing has failed.
#[track_caller]
pub(crate) fn has_created(ended: &Ended) {
    let done = ended.out.lines().find(|line| line.starts_with("Done: ")).unwrap_or_default();
    assert!(done.contains(" created, ") && !done.contains(';'), "{}", ended.out);
    assert!(!done.starts_with("Done: 0 "), "{}", ended.out);
}
