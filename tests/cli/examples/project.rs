//! A project on a platform: a repository with policies, the people who may sign in to its FiFo, a built binary to fetch.

use crate::shell::{Ended, Shell, at_a_quiet_hour, repository};
use fifo_retain::sandbox::User;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;

/// Users of the FiFo; the password of each is its name turned round.
pub(crate) const READER: (&str, &str) = ("reader", "redaer");
pub(crate) const WRITER: (&str, &str) = ("writer", "retirw");

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
    pub(crate) fn new() -> Self {
        let mut shell = Shell::new();
        // The pipelines have to install it.
        fs::remove_file(shell.path("bin/fifo-retain")).unwrap();
        shell.user(READER.0, User::allowed_to(READER.1, &["cloud->vms->list", "vms->_->get"]));
        shell.user(WRITER.0, User::admin(WRITER.1));
        let binary = env!("CARGO_BIN_EXE_fifo-retain");
        shell.set("FIFO_RETAIN_URL", format!("file://{binary}"));
        shell.set("FIFO_RETAIN_SHA256", hex::encode(Sha256::digest(fs::read(binary).unwrap())));
        shell.write("origin/policies/web.yaml", &at_a_quiet_hour(POLICY));
        shell.write("git.yaml", &at_a_quiet_hour(ADDED));
        let project = Self { shell };
        project.git(
            "git init --quiet --initial-branch=main && git add . && git commit --quiet -m begin\n\
             git checkout --quiet -b change && cp ../git.yaml policies && git add . && git commit --quiet -m more\n\
             git checkout --quiet -b merge main && git merge --quiet --no-edit --no-ff change\n\
             git checkout --quiet main\n",
        );
        project
    }

    /// Runs a script in the repository.
    pub(crate) fn git(&self, script: &str) -> String {
        self.shell.run_in("origin", &BTreeMap::new(), script).code(0).out.trim_end().to_owned()
    }

    /// Puts a copy of a branch, with the given depth, where a job of a name works; returns the place.
    pub(crate) fn checkout(&self, job: &str, branch: &str, depth: &str) -> String {
        let depth = if depth == "0" { String::new() } else { format!("--depth {depth}") };
        let origin = self.shell.path("origin").display().to_string();
        let place = format!("jobs/{job}/workspace");
        let to = self.shell.path(&place).display().to_string();
        self.git(&format!("rm -rf {to}; git clone --quiet {depth} --branch {branch} file://{origin} {to}"));
        place
    }

    /// The same, as the branch was at a commit.
    pub(crate) fn checkout_at(&self, job: &str, branch: &str, commit: &str, depth: &str) -> String {
        let at = format!("refs/heads/at-{job}");
        self.git(&format!("git update-ref {at} {commit}"));
        let place = self.checkout(job, at.trim_start_matches("refs/heads/"), depth);
        self.git(&format!(
            "git update-ref -d {at}; git -C {} branch --quiet -m {branch}",
            self.shell.path(&place).display()
        ));
        place
    }

    /// Puts a stand-in for a command of the platform on the path. It keeps its arguments in `state`.
    pub(crate) fn stand_in(&mut self, name: &str, script: &str) {
        self.shell.command(name, script);
        fs::create_dir_all(self.shell.path("state")).unwrap();
        let state = self.shell.path("state").display().to_string();
        self.shell.set("STATE", state);
    }

    /// Reads what a stand-in keeps.
    pub(crate) fn kept(&self, name: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.shell.path("state").join(name)).unwrap_or("[]".to_owned());
        serde_json::from_str(&text).unwrap()
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
    let done = ended.out.lines().last().unwrap_or_default();
    assert!(
        done.starts_with("Done: ") && done.contains(" created, ") && !done.contains(';'),
        "{}",
        ended.out
    );
    assert!(!done.starts_with("Done: 0 "), "{}", ended.out);
}

#[test]
fn actions_are_pinned_to_a_commit_with_the_version_beside_it() {
    let mut seen = 0;
    for name in ["plan", "apply", "drift"] {
        let text = fs::read_to_string(repository(&format!("examples/github-actions/{name}.yaml"))).unwrap();
        for used in text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("uses: "))
        {
            if used.starts_with("./") {
                continue;
            }
            let (action, pin) = used.split_once('@').unwrap();
            let (commit, version) = pin.split_once(" # v").unwrap_or_else(|| panic!("no version: {used}"));
            let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_full = version.split('.').filter(|part| part.parse::<u32>().is_ok()).count() == 3;
            assert!(action.starts_with("actions/") && is_commit && is_full, "{used}");
            seen += 1;
        }
    }
    assert!(seen >= 5);
}
