//! The workflows for GitHub Actions: a runner that is as small as they need it.

use super::project::{Project, READER, WRITER, has_created};
use super::yaml::{document, text, texts};
use crate::shell::{Ended, has};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// The first line of the comment, by which it is found again.
const MARKER: &str = "<!-- fifo-retain plan -->";

/// A workflow in a project, and what its expressions give.
struct Workflow<'p> {
    project: &'p Project,
    file: Value,
    /// The branch that it is checked out on.
    branch: &'static str,
    /// The commit that it runs for.
    sha: String,
    expressions: BTreeMap<String, String>,
}

impl<'p> Workflow<'p> {
    fn new(project: &'p Project, name: &str, branch: &'static str) -> Self {
        let sha = project.git(&format!("git rev-parse {branch}"));
        let url = project.shell.url();
        let expressions = [
            ("vars.FIFO_ENDPOINT", url.as_str()),
            ("secrets.FIFO_READ_USER", READER.0),
            ("secrets.FIFO_READ_PASSWORD", READER.1),
            ("github.token", "ghs_token"),
            ("github.event.pull_request.number", "7"),
            ("github.server_url", "https://github.example.com"),
            ("github.repository", "ann/backups"),
            ("github.run_id", "1"),
        ];
        let expressions =
            expressions.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { project, file: document(&format!("github-actions/{name}.yaml")), branch, sha, expressions }
    }

    /// Runs a job from its first to its last step; all go well.
    #[track_caller]
    fn job(&mut self, name: &str) -> Ended {
        self.job_up_to_a_failure(name).code(0)
    }

    /// Runs a job from its first to its last step, as far as all go well.
    #[track_caller]
    fn job_up_to_a_failure(&mut self, name: &str) -> Ended {
        let job = self.file["jobs"][name].clone();
        let mut workspace = None;
        let mut last = None;
        // Secrets of an environment are there only for a job that names it.
        if job["environment"] == "backups" {
            self.set("secrets.FIFO_USER", WRITER.0);
            self.set("secrets.FIFO_PASSWORD", WRITER.1);
        }
        for step in job["steps"].as_array().unwrap() {
            match step["uses"].as_str().map(|used| used.split('@').next().unwrap()) {
                Some("actions/checkout") => {
                    let mut with = texts(&step["with"]);
                    let depth = with.remove("fetch-depth").unwrap_or("1".to_owned());
                    let place = match with.remove("ref") {
                        Some(tip) => self.project.checkout(name, &tip, &depth),
                        // What began the run, however far the branch has gone on since.
                        None => self.project.checkout_at(name, self.branch, &self.sha, &depth),
                    };
                    workspace = Some(place);
                    fs::create_dir_all(self.project.shell.path(format!("jobs/{name}/temp"))).unwrap();
                }
                // The installation, which all jobs share.
                Some("./.github/actions/fifo-retain") => {
                    let action = document("github-actions/install/action.yaml");
                    assert_eq!(action["runs"]["using"], "composite");
                    for step in action["runs"]["steps"].as_array().unwrap() {
                        assert_eq!(step["shell"], "bash", "a composite action has no default");
                        last = Some(self.step(&job, step, name, workspace.as_deref().unwrap()).code(0));
                    }
                }
                Some("actions/upload-artifact") => self.artifact(step, name, true),
                Some("actions/download-artifact") => self.artifact(step, name, false),
                Some(other) => panic!("{other} is not known here"),
                None => {
                    let ended = self.step(&job, step, name, workspace.as_deref().unwrap());
                    let is_over = ended.code != Some(0);
                    last = Some(ended);
                    if is_over {
                        break;
                    }
                }
            }
        }
        for temporary in ["path", "temp"] {
            let path = self.project.shell.path(format!("jobs/{name}/{temporary}"));
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        last.unwrap()
    }

    fn set(&mut self, expression: &str, value: &str) {
        self.expressions.insert(expression.to_owned(), value.to_owned());
    }

    /// Runs one `run:`.
    #[track_caller]
    fn step(&mut self, job: &Value, step: &Value, name: &str, workspace: &str) -> Ended {
        let shell = &self.project.shell;
        let file = |kind: &str| shell.path(format!("jobs/{name}/{kind}")).display().to_string();
        let mut variables = BTreeMap::new();
        for level in [&self.file["env"], &job["env"], &step["env"]] {
            for (variable, value) in texts(level) {
                variables.insert(variable, self.evaluated(&value));
            }
        }
        // Literals that everybody has to change; a fork would get no variables in their place.
        for name in ["FIFO_RETAIN_URL", "FIFO_RETAIN_SHA256"] {
            if variables.remove(name).is_some() {
                assert!(!text(&step["env"][name]).contains("${{"), "{name}");
            }
        }
        for (variable, kind) in [
            ("RUNNER_TEMP", "temp"),
            ("GITHUB_PATH", "path"),
            ("GITHUB_OUTPUT", "output"),
            ("GITHUB_STEP_SUMMARY", "summary"),
        ] {
            variables.insert(variable.to_owned(), file(kind));
        }
        variables.insert("GITHUB_REPOSITORY".to_owned(), "ann/backups".to_owned());
        variables.insert("GITHUB_SHA".to_owned(), self.sha.clone());
        let added = fs::read_to_string(file("path")).unwrap_or_default();
        let path = shell.run("echo \"$PATH\"").out;
        let parts = added.lines().chain(path.lines()).collect::<Vec<_>>();
        variables.insert("PATH".to_owned(), parts.join(":"));
        let script = text(&step["run"]);
        assert!(!script.contains("${{"), "an expression within a script can be code of others: {script}");
        let options: &[&str] = match self.file["defaults"]["run"]["shell"].as_str() {
            Some("bash") => &["--noprofile", "--norc", "-eo", "pipefail"],
            Some(other) => panic!("{other} is not known here"),
            None => &["-e"],
        };
        let ended = shell.run_by(options, workspace, &variables, &script);
        if let Some(id) = step["id"].as_str() {
            for line in fs::read_to_string(file("output")).unwrap_or_default().lines() {
                let (output, value) = line.split_once('=').unwrap();
                self.set(&format!("steps.{id}.outputs.{output}"), value);
            }
        }
        ended
    }

    /// Puts values in the place of `${{ … }}`.
    fn evaluated(&self, text: &str) -> String {
        let mut parts = text.split("${{");
        let mut all = parts.next().unwrap().to_owned();
        for part in parts {
            let (expression, rest) = part.split_once("}}").unwrap();
            let value = self.expressions.get(expression.trim());
            all.push_str(value.unwrap_or_else(|| panic!("{expression} is not known here")));
            all.push_str(rest);
        }
        all
    }

    fn artifact(&self, step: &Value, job: &str, is_upload: bool) {
        let with = texts(&step["with"]);
        let stored = self.project.shell.path("artifacts").join(&with["name"]);
        let workspace = self.project.shell.path(format!("jobs/{job}/workspace"));
        fs::create_dir_all(&stored).unwrap();
        if is_upload {
            fs::copy(workspace.join(&with["path"]), stored.join(&with["path"])).unwrap();
        } else {
            for entry in fs::read_dir(&stored).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), workspace.join(entry.file_name())).unwrap();
            }
        }
    }
}

fn project() -> Project {
    let mut project = Project::new();
    project.stand_in("gh", include_str!("gh.sh"));
    project
}

#[test]
fn a_pull_request_gets_one_comment_that_is_updated() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let project = project();
    // A person quotes the comment, line for line.
    let quoted = format!(r#"[{{"id": 1, "user": {{"login": "mallory"}}, "body": "{MARKER}"}}]"#);
    project.shell.write("state/comments.json", &quoted);
    Workflow::new(&project, "plan", "merge").job("validate");
    Workflow::new(&project, "plan", "merge").job("plan");
    let comments = project.kept("comments.json");
    let body = text(&comments[1]["body"]);
    assert_eq!(comments.len(), 2);
    assert!(body.starts_with(MARKER) && body.contains("git-1"), "{body}");

    project.git(
        "git checkout --quiet merge && sed -i s/git/git2/g policies/git.yaml && git commit --quiet -am less",
    );
    Workflow::new(&project, "plan", "merge").job("plan");
    let comments = project.kept("comments.json");
    assert_eq!((comments.len(), text(&comments[0]["body"])), (2, MARKER.to_owned()));
    assert_ne!(text(&comments[1]["body"]), body);

    // Where the comments cannot be listed, none is written: it would be a second one.
    project.shell.write("state/comments-fail", "");
    assert_ne!(Workflow::new(&project, "plan", "merge").job_up_to_a_failure("plan").code, Some(0));
    assert_eq!(project.kept("comments.json").len(), 2);
    assert_eq!(project.writes(), 0);
}

#[test]
fn a_required_check_is_never_left_pending() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let project = project();
    // A workflow that is filtered out reports nothing; a job that is skipped has passed.
    assert!(document("github-actions/plan.yaml")["on"]["pull_request"].is_null(), "no `paths:`");
    let changed = |project: &Project| {
        let mut workflow = Workflow::new(project, "plan", "merge");
        workflow.job("validate");
        let job = &workflow.file["jobs"];
        assert!(text(&job["plan"]["if"]).starts_with("needs.validate.outputs.changed == 'true' && "));
        assert_eq!(job["validate"]["outputs"]["changed"], "${{ steps.changed.outputs.changed }}");
        workflow.expressions["steps.changed.outputs.changed"].clone()
    };
    assert_eq!(changed(&project), "true");
    project.git(
        "git checkout --quiet -b readme main && echo Backups > README.md && git add . && git commit --quiet -m readme\n\
         git checkout --quiet -B merge main && git merge --quiet --no-edit --no-ff readme && git checkout --quiet main",
    );
    assert_eq!(changed(&project), "false");
    assert_eq!(project.writes(), 0);
}

#[test]
fn the_workflow_for_pull_requests_gives_no_secret_to_forks_and_has_few_rights() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let file = document("github-actions/plan.yaml");
    assert!(file["on"].get("pull_request").is_some() && file["on"].get("pull_request_target").is_none());
    let not_a_fork = " && github.event.pull_request.head.repo.full_name == github.repository";
    for (name, job) in file["jobs"].as_object().unwrap() {
        let has_secrets = job.to_string().contains("secrets.");
        assert_eq!(has_secrets, text(&job["if"]).ends_with(not_a_fork), "{name}");
    }
    assert_eq!(file["permissions"], serde_json::json!({"contents": "read"}));
    let rights = serde_json::json!({"contents": "read", "pull-requests": "write"});
    assert_eq!(file["jobs"]["plan"]["permissions"], rights);
    for name in ["plan", "apply", "drift"] {
        let file = document(&format!("github-actions/{name}.yaml")).to_string();
        assert!(!file.contains("write-all") && !file.contains("contents\":\"write"), "{name}");
    }
}

#[test]
fn after_the_merge_the_plan_is_kept_and_exactly_that_is_applied() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let project = project();
    let mut workflow = Workflow::new(&project, "apply", "main");
    workflow.job("plan");
    assert_eq!(workflow.expressions["steps.plan.outputs.changes"], "true");
    assert_eq!(project.writes(), 0);
    has_created(&workflow.job("apply"));
    let writes = project.writes();
    assert!(writes > 0);

    // The same once more, as a person would who presses "re-run": nothing.
    let ended = workflow.job("apply");
    assert_eq!(ended.out.lines().last(), Some("Done: 0 created, 0 deleted locally."));
    let mut workflow = Workflow::new(&project, "apply", "main");
    workflow.job("plan");
    assert_eq!(workflow.expressions["steps.plan.outputs.changes"], "false");
    assert_eq!(project.writes(), writes);

    // A plan that waits for its approval holds up no other plan, and can be carried out as long as it may wait.
    assert!(workflow.file.get("concurrency").is_none());
    assert!(workflow.file["jobs"]["plan"].get("concurrency").is_none());
    assert_eq!(workflow.file["jobs"]["apply"]["concurrency"]["cancel-in-progress"], false);
    let steps = workflow.file["jobs"]["plan"]["steps"].as_array().unwrap();
    let kept = steps.iter().find_map(|step| step["with"]["retention-days"].as_u64());
    assert_eq!(kept, Some(30), "GitHub lets a job wait for its approval for 30 days");
    let on_main = "github.ref == 'refs/heads/main'";
    assert_eq!(workflow.file["jobs"]["plan"]["if"], on_main);
    let apply = format!("{on_main} && needs.plan.outputs.changes == 'true'");
    assert_eq!(workflow.file["jobs"]["apply"]["if"], apply.as_str());
    let output = text(&workflow.file["jobs"]["plan"]["outputs"]["changes"]);
    assert_eq!(output, "${{ steps.plan.outputs.changes }}");
}

#[test]
fn an_old_run_that_is_started_once_more_applies_nothing() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let project = project();
    let mut workflow = Workflow::new(&project, "apply", "main");
    workflow.job("plan");
    project.git("sed -i s/web/git/g policies/web.yaml && git commit --quiet -am other");
    let ended = workflow.job_up_to_a_failure("apply");
    assert!(ended.code == Some(1) && ended.out.contains("::error::The policies of main"), "{ended:?}");
    assert_eq!(project.writes(), 0);

    // Of the VMs of this policy one is due at any hour.
    project.git("git revert --no-edit HEAD > /dev/null");

    // What has nothing to do with policies blocks nothing.
    let mut workflow = Workflow::new(&project, "apply", "main");
    workflow.job("plan");
    project.git("echo Backups > README.md && git add . && git commit --quiet -m readme");
    has_created(&workflow.job("apply"));
}

#[test]
fn drift_has_one_issue_as_long_as_it_lasts() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let project = project();
    let look = || {
        Workflow::new(&project, "drift", "main").job("drift");
        project.kept("issues.json")
    };
    let issues = look();
    assert_eq!((issues.len(), &issues[0]["state"]), (1, &"open".into()));
    let body = text(&issues[0]["body"]);
    assert!(body.starts_with("**Status: ") && body.contains("web-3"), "{body}");
    assert_eq!(look().len(), 1);

    let mut apply = Workflow::new(&project, "apply", "main");
    apply.job("plan");
    apply.job("apply");
    let issues = look();
    assert_eq!((issues.len(), &issues[0]["state"]), (1, &"closed".into()));
}
