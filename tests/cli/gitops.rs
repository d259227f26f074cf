//! A GitOps repository, played through with real git: a change on a branch, its plan against main, the merge, the plan that
//! was saved and applied, drift that a person makes by hand, the nightly check that finds it, the run that corrects it.

use crate::shell::{Ended, Shell, at_a_quiet_hour};
use chrono::Utc;
use fifo_retain::sandbox::BackupRequest;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// The policy that main begins with: everything that is marked for backup.
const BEFORE: &str = r#"version: 1
policy: grandfather
select:
  metadata: { fifo.backup: 1 }
tiers:
  - { name: monthly, schedule: "0 HOUR 1 * *", type: full, keep: 12 }
  - { name: weekly, schedule: "0 HOUR * * SUN", type: incremental, keep: 5 }
  - { name: daily, schedule: "0 HOUR * * *", type: incremental, keep: 7 }
"#;

/// What the branch adds: backups for a VM that has none.
const ADDED: &str = r#"version: 1
policy: scratch
priority: 5
select:
  uuid: UUID
tiers:
  - { name: daily, schedule: "0 HOUR * * *", type: full, keep: 3 }
"#;

/// A VM that no policy is for at first.
const SCRATCH: &str = "lab-1";

/// The repository, and the FiFo that it is about.
struct Story {
    shell: Shell,
}

impl Story {
    fn begin() -> Self {
        let shell = Shell::new().signed_in();
        shell.write("work/policies/grandfather.yaml", &at_a_quiet_hour(BEFORE));
        let story = Self { shell };
        story.does(
            "git init --quiet --initial-branch=main && git add . && git commit --quiet -m 'policies: begin'",
        );
        // Unmarked, running, without a backup.
        story.shell.with(|state| {
            let id = state.world.new_uuid();
            state.world.vms.insert(id, fifo_retain::sandbox::Vm::new(SCRATCH, "hv-scratch"));
        });
        story
    }

    /// Runs a script that has to go well.
    #[track_caller]
    fn does(&self, script: &str) -> Ended {
        self.shell.run(script).code(0)
    }

    fn vm(&self, alias: &str) -> Uuid {
        self.shell.with(|state| {
            let vms = state.world.vms.iter();
            let mut ids = vms.filter(|(_, vm)| vm.fields["alias"] == alias).map(|(id, _)| *id);
            ids.next().unwrap_or_else(|| panic!("no VM {alias}"))
        })
    }

    /// Returns the backups of a VM that are there, as of now.
    fn backups(&self, vm: Uuid) -> BTreeSet<Uuid> {
        self.shell.with(|state| {
            state.world.advance(Utc::now().timestamp_micros());
            state.world.vms[&vm].backups.keys().copied().collect()
        })
    }

    /// Waits until an upload is through.
    fn waits_for(&self, backup: Uuid) {
        for _ in 0..200 {
            let is_running = self.shell.with(|state| {
                state.world.advance(Utc::now().timestamp_micros());
                state.world.uploads.contains_key(&backup)
            });
            if !is_running {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{backup} is never through");
    }

    /// Counts the requests that have changed something.
    fn writes(&self) -> usize {
        self.shell.with(|state| {
            let is_write = |method: &str, path: &str| method != "GET" && !path.ends_with("/oauth/token");
            let requests = state.requests.iter().map(|asked| &asked.request);
            requests.filter(|request| is_write(&request.method, request.path())).count()
        })
    }
}

#[test]
fn a_change_of_policies_goes_from_the_branch_to_the_backups_and_drift_is_found_and_fixed() {
    let story = Story::begin();
    let scratch = story.vm(SCRATCH);
    // Main is in force: nothing is due by it.
    story.does("fifo-retain reconcile && fifo-retain plan --detailed-exitcode");
    assert_eq!(story.backups(scratch).len(), 0);

    // The pull request.
    story.does("git checkout --quiet -b protect-the-scratch-vm");
    let added = at_a_quiet_hour(ADDED).replace("UUID", &scratch.to_string());
    story.shell.write("work/policies/scratch.yaml", &added);
    story.does("git add policies && git commit --quiet -m 'policies: back the scratch VM up'");
    let before = story.writes();
    let comment = story
        .does(
            "git worktree add --quiet ../main main\n\
             fifo-retain validate --format github\n\
             fifo-retain plan --against ../main/policies --format markdown",
        )
        .out;
    assert!(comment.contains("<!-- fifo-retain plan -->"), "{comment}");
    assert!(comment.contains(SCRATCH), "{comment}");
    assert!(comment.len() < 65_536, "{} bytes", comment.len());
    // What another VM does anyway is not this change's doing, and web-1 has nothing to do.
    assert!(!comment.lines().any(|line| line.contains("web-1") && line.contains("due since")), "{comment}");
    assert_eq!(story.writes(), before, "a plan changes nothing");

    // The merge, and what was reviewed.
    story.does("git worktree remove ../main && git checkout --quiet main && git merge --quiet --no-edit --no-ff protect-the-scratch-vm");
    story.does("fifo-retain plan --out ../plan.json");
    let plan: Value = serde_json::from_str(&story.does("cat ../plan.json").out).unwrap();
    let listed = plan["vms"].as_array().unwrap().iter().find(|vm| vm["uuid"] == scratch.to_string()).unwrap();
    assert_eq!((&listed["policy"], &listed["actions"][0]["action"]), (&"scratch".into(), &"create".into()));
    let applied = story.does("fifo-retain apply ../plan.json").out;
    assert!(applied.contains("Done: 1 created"), "{applied}");
    assert_eq!(story.backups(scratch).len(), 1);
    let before = story.writes();
    let again = story.does("fifo-retain apply ../plan.json").out;
    assert!(again.ends_with("Done: 0 created, 0 deleted locally.\n"), "{again}");
    assert_eq!((story.backups(scratch).len(), story.writes()), (1, before), "a second time it does nothing");

    // Drift: a person deletes that backup, and takes one of another VM and calls it by a tier's name.
    story.does("fifo-retain plan --detailed-exitcode && git diff --exit-code");
    let mail = story.vm("mail-1");
    let by_hand = story.shell.with(|state| {
        let now = Utc::now().timestamp_micros();
        state.world.advance(now);
        let backup = *state.world.vms[&scratch].backups.keys().next().unwrap();
        assert_eq!(state.world.delete_cloud(scratch, backup, now).len(), 1);
        let order = BackupRequest { comment: "weekly".to_owned(), parent: None, delete: false };
        state.world.create_backup(mail, &order, now).unwrap()
    });
    story.waits_for(by_hand);
    let check = "code=0; fifo-retain plan --detailed-exitcode || code=$?; echo \"exit $code\"";
    let output = story.does(check).out;
    assert!(output.ends_with("exit 2\n"), "{output}");
    assert!(output.contains(SCRATCH) && output.contains("mail-1"), "{output}");

    story.does("fifo-retain reconcile");
    assert_eq!(story.backups(scratch).len(), 1);
    let output = story.does(check).out;
    assert!(output.ends_with("exit 0\n"), "{output}");
}
