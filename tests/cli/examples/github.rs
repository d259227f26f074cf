//! The workflows for GitHub Actions.

use super::project::{MARKER, Project, READER, Variables, WRITER, has_created};
use super::yaml::{document, text, texts};
use crate::shell::{Ended, has, repository};
use serde_json::{Value, json};
use std::fs;

fn project() -> Option<Project> {
    has(&["curl", "jq"]).then(|| Project::new(("gh", include_str!("gh.sh"))))
}

/// Runs the scripts of a job, as far as all go well; its output comes with what its last step has put out for others.
fn job(project: &Project, file: &str, name: &str, branch: &str) -> (Ended, String) {
    let (shell, place) = (&project.shell, project.checkout(branch));
    let file = document(&format!("github-actions/{file}.yaml"));
    let install = document("github-actions/install/action.yaml")["runs"]["steps"].as_array().unwrap().clone();
    let steps = file["jobs"][name]["steps"].as_array().unwrap();
    let place_of = |name: &str| shell.path(name).display().to_string();
    for kind in ["temp", "path", "output", "summary"] {
        let _ = fs::remove_dir_all(shell.path(kind)).or_else(|_| fs::remove_file(shell.path(kind)));
    }
    fs::create_dir(shell.path("temp")).unwrap();
    // The artifact of the job before.
    let kept = shell.path("plan.json");
    if name == "apply" {
        fs::copy(&kept, shell.path("workspace/plan.json")).unwrap();
    }
    let mut ended = Ended { code: Some(0), out: String::new(), err: String::new() };
    let outputs = || fs::read_to_string(shell.path("output")).unwrap_or_default();
    for step in install.iter().chain(steps).filter(|step| step["run"].is_string()) {
        let script = text(&step["run"]);
        assert!(!script.contains("${{"), "an expression within a script can be code of others: {script}");
        let mut variables: Variables = [
            ("RUNNER_TEMP", place_of("temp")),
            ("GITHUB_PATH", place_of("path")),
            ("GITHUB_OUTPUT", place_of("output")),
            ("GITHUB_STEP_SUMMARY", place_of("summary")),
            ("GITHUB_REPOSITORY", "ann/backups".to_owned()),
            ("GITHUB_SHA", project.git("git rev-parse main")),
            ("PATH", format!("{}:{}:/usr/local/bin:/usr/bin:/bin", place_of("temp/bin"), place_of("bin"))),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for (variable, value) in texts(&step["env"]) {
            let value = match value.trim_start_matches("${{ ").trim_end_matches(" }}") {
                // Literals that everybody has to change.
                _ if variable.starts_with("FIFO_RETAIN_") => continue,
                "vars.FIFO_ENDPOINT" => shell.url(),
                "secrets.FIFO_READ_USER" => READER.0.to_owned(),
                "secrets.FIFO_READ_PASSWORD" => READER.1.to_owned(),
                "secrets.FIFO_USER" => WRITER.0.to_owned(),
                "secrets.FIFO_PASSWORD" => WRITER.1.to_owned(),
                "github.event.pull_request.number" => "7".to_owned(),
                "github.token" => "ghs_token".to_owned(),
                "steps.check.outputs.drift" => outputs().contains("drift=true").to_string(),
                _ if variable == "RUN" => "https://github.example.com/1".to_owned(),
                other => panic!("{other} is not known here"),
            };
            variables.insert(variable, value);
        }
        let options = ["--noprofile", "--norc", "-eo", "pipefail"];
        let step = shell.run_by(&options, &place, &variables, &script);
        (ended.code, ended.out, ended.err) = (step.code, ended.out + &step.out, ended.err + &step.err);
        if ended.code != Some(0) {
            break;
        }
    }
    let _ = fs::copy(shell.path("workspace/plan.json"), kept);
    (ended, outputs())
}

#[test]
fn a_pull_request_gets_one_comment_that_is_updated() {
    let Some(project) = project() else { return };
    // A person quotes the comment, line for line.
    let comment = |id: u8, author: &str| json!({"id": id, "user": {"login": author}, "body": MARKER});
    project.calls(&[comment(1, "mallory")]);
    assert_eq!(job(&project, "plan", "validate", "merge").1, "changed=true\n");
    project.git("git checkout -qb readme && touch README.md && git add . && git commit -qm readme && git checkout -q main");
    assert_eq!(job(&project, "plan", "validate", "readme").1, "changed=false\n");
    job(&project, "plan", "plan", "merge").0.code(0);
    let body = fs::read_to_string(project.shell.path("workspace/plan.md")).unwrap();
    assert!(body.starts_with(MARKER) && body.contains("git-1"), "{body}");
    let calls = project.calls(&[comment(1, "mallory"), comment(2, "github-actions[bot]")]);
    assert!(
        calls.ends_with("--method POST repos/ann/backups/issues/7/comments --field body=@plan.md\n"),
        "{calls}"
    );
    job(&project, "plan", "plan", "merge").0.code(0);
    let calls = project.calls(&[]);
    assert!(
        calls.ends_with("--method PATCH repos/ann/backups/issues/comments/2 --field body=@plan.md\n"),
        "{calls}"
    );
    // Where the comments cannot be listed, none is written: it would be a second one.
    project.shell.write("state/listed.json", "cut");
    assert_ne!(job(&project, "plan", "plan", "merge").0.code, Some(0));
    assert!(!project.calls(&[]).contains("--method") && project.writes() == 0);
}

#[test]
fn after_the_merge_exactly_the_plan_that_was_kept_is_applied() {
    let Some(project) = project() else { return };
    let apply = || job(&project, "apply", "apply", "main").0.code(0);
    assert_eq!(job(&project, "apply", "plan", "main").1, "changes=true\n");
    assert_eq!(project.writes(), 0);
    has_created(&apply());
    let writes = project.writes();
    assert_eq!(job(&project, "apply", "plan", "main").1, "changes=false\n");
    assert_eq!(apply().out.lines().last(), Some("Done: 0 created, 0 deleted locally."));
    assert_eq!(project.writes(), writes);
}

#[test]
fn an_old_run_that_is_started_once_more_applies_nothing() {
    let Some(project) = project() else { return };
    let guard = text(&document("github-actions/apply.yaml")["jobs"]["apply"]["steps"][1]["run"]);
    let old = project.git("git rev-parse main");
    let variables = Variables::from([("GITHUB_SHA".to_owned(), old)]);
    let guarded = |change: &str| {
        project.git(&format!("{change} && git add . && git commit --quiet -m later"));
        project.shell.run_in(&project.checkout("main"), &variables, &guard)
    };
    // What has nothing to do with policies blocks nothing.
    guarded("echo Backups > README.md").code(0);
    let ended = guarded("sed -i s/web/git/g policies/web.yaml").code(1);
    assert!(ended.out.contains("::error::The policies of main"), "{ended:?}");
}

#[test]
fn drift_has_one_issue_as_long_as_it_lasts() {
    let Some(project) = project() else { return };
    let look = |listed: &[Value], asked: &str| {
        project.calls(listed);
        job(&project, "drift", "drift", "main").0.code(0);
        let calls = project.calls(&[]);
        assert!(calls.lines().any(|call| call.starts_with(asked)), "{asked} is not in\n{calls}");
    };
    look(&[], "issue create --repo ann/backups --title Backups are not as they should be");
    let body = fs::read_to_string(project.shell.path("workspace/body.md")).unwrap();
    assert!(body.starts_with("**Status: ") && body.contains("web-3"), "{body}");
    look(&[json!({"number": 3})], "issue edit 3 --repo ann/backups --body-file body.md");
    let reconciled = project.shell.run_in(
        &project.checkout("main"),
        &Variables::from([
            ("FIFO_ENDPOINT".to_owned(), project.shell.url()),
            ("FIFO_USER".to_owned(), WRITER.0.to_owned()),
            ("FIFO_PASSWORD".to_owned(), WRITER.1.to_owned()),
        ]),
        &format!("{} reconcile", env!("CARGO_BIN_EXE_fifo-retain")),
    );
    has_created(&reconciled.code(0));
    look(&[json!({"number": 3})], "issue close 3 --repo ann/backups");
}

#[test]
fn forks_get_no_secret_rights_are_few_and_a_required_check_is_never_left_pending() {
    let file = document("github-actions/plan.yaml");
    assert!(file["on"].get("pull_request").is_some() && file["on"].get("pull_request_target").is_none());
    // A workflow that is filtered out reports nothing; a job that is skipped has passed.
    assert!(file["on"]["pull_request"].is_null(), "no `paths:`");
    let not_a_fork = " && github.event.pull_request.head.repo.full_name == github.repository";
    for (name, job) in file["jobs"].as_object().unwrap() {
        let has_secrets = job.to_string().contains("secrets.");
        assert_eq!(has_secrets, text(&job["if"]).ends_with(not_a_fork), "{name}");
    }
    assert!(text(&file["jobs"]["plan"]["if"]).starts_with("needs.validate.outputs.changed == 'true' && "));
    let rights = json!({"contents": "read", "pull-requests": "write"});
    assert_eq!(file["jobs"]["plan"]["permissions"], rights);
    for name in ["plan", "apply", "drift"] {
        let file = document(&format!("github-actions/{name}.yaml"));
        assert_eq!(file["permissions"], json!({"contents": "read"}), "{name}");
        assert_eq!(file["defaults"]["run"]["shell"], "bash", "with pipefail: {name}");
    }
    let jobs = &document("github-actions/apply.yaml")["jobs"];
    // A plan that waits for its approval holds up no other plan, and can be carried out as long as it may wait.
    assert!(jobs["plan"].get("concurrency").is_none());
    assert_eq!(jobs["apply"]["concurrency"]["cancel-in-progress"], false);
    assert_eq!(jobs["apply"]["environment"], "backups");
    let steps = jobs["plan"]["steps"].as_array().unwrap();
    assert_eq!(steps.iter().find_map(|step| step["with"]["retention-days"].as_u64()), Some(30));
    for job in ["plan", "apply"] {
        assert!(text(&jobs[job]["if"]).starts_with("github.ref == 'refs/heads/main'"), "{job}");
    }
}

#[test]
fn actions_are_pinned_to_a_commit_with_the_version_beside_it() {
    let mut seen = 0;
    for name in ["plan", "apply", "drift"] {
        let text = fs::read_to_string(repository(&format!("examples/github-actions/{name}.yaml"))).unwrap();
        let used = text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("uses: "));
        for used in used.filter(|used| !used.starts_with("./")) {
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
