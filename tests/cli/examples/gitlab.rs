//! The pipeline for GitLab CI.

use super::project::{MARKER, Project, READER, Variables, WRITER, has_created};
use super::yaml::{document, list, text, texts};
use crate::shell::{Ended, has};
use serde_json::{Value, json};
use std::fs;

fn project() -> Option<Project> {
    let project = || {
        let project = Project::new(("curl", include_str!("curl.sh")));
        project.shell.command("apt-get", "#!/bin/sh\n");
        project
    };
    has(&["curl", "jq"]).then(project)
}

/// Runs a job's scripts on a branch, for the pipeline of a commit.
fn job(project: &Project, name: &str, branch: &str, commit: &str) -> Ended {
    let (file, place) = (document("gitlab-ci.yml"), project.checkout(branch));
    let url = project.shell.url();
    let mut variables: Variables = [
        ("FIFO_ENDPOINT", url.as_str()),
        ("FIFO_READ_USER", READER.0),
        ("FIFO_READ_PASSWORD", READER.1),
        ("FIFO_APPLY_USER", WRITER.0),
        ("FIFO_APPLY_PASSWORD", WRITER.1),
        ("REPORT_TOKEN", "glpat-report"),
        ("CI_API_V4_URL", "https://gitlab.example.com/api/v4"),
        ("CI_JOB_URL", "https://gitlab.example.com/ann/backups/-/jobs/1"),
        ("CI_PROJECT_ID", "42"),
        ("CI_DEFAULT_BRANCH", "main"),
        ("CI_MERGE_REQUEST_IID", "7"),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main"),
        ("CI_COMMIT_SHA", commit),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    for (variable, value) in texts(&file[name]["variables"]) {
        let value = variables[value.trim_start_matches('$')].clone();
        variables.insert(variable, value);
    }
    // The artifact of the job before.
    let kept = project.shell.path("plan.json");
    if name == "apply" {
        fs::copy(&kept, project.shell.path("workspace/plan.json")).unwrap();
    }
    let script = [list(&file["default"]["before_script"]), list(&file[name]["script"])].concat().join("\n");
    let ended = project.shell.run_in(&place, &variables, &script);
    let _ = fs::copy(project.shell.path("workspace/plan.json"), &kept);
    ended
}

#[test]
fn a_merge_request_gets_one_note_that_is_updated_about_its_own_change() {
    let Some(project) = project() else { return };
    // Main has gone on since the branch began, which is no part of the change.
    project.git(
        "sed s/web/mail/g policies/web.yaml > policies/mail.yaml && git add . && git commit --quiet -m mail",
    );
    let note = |id: u8, author: u8| json!({"id": id, "author": {"id": author}, "body": MARKER});
    let notes = "https://gitlab.example.com/api/v4/projects/42/merge_requests/7/notes";
    // A person quotes the note, line for line.
    project.calls(&[note(1, 3)]);
    job(&project, "validate", "change", "").code(0);
    job(&project, "plan", "change", "").code(0);
    let body = fs::read_to_string(project.shell.path("workspace/plan.md")).unwrap();
    assert!(body.starts_with(MARKER) && body.contains("git-1") && !body.contains("lose"), "{body}");
    let calls = project.calls(&[note(1, 3), note(2, 9)]);
    assert!(calls.ends_with(&format!("--request POST --data-urlencode body@plan.md {notes}\n")), "{calls}");
    job(&project, "plan", "change", "").code(0);
    let calls = project.calls(&[]);
    assert!(calls.ends_with(&format!("--request PUT --data-urlencode body@plan.md {notes}/2\n")), "{calls}");

    // Both have changed the same line: nothing is said of what cannot be merged.
    project.git("sed -i s/web/db/g policies/web.yaml && git commit --quiet -am db");
    project.git(
        "git checkout --quiet change && sed -i s/web/app/g policies/web.yaml && git commit --quiet -am app",
    );
    assert_ne!(job(&project, "plan", "change", "").code, Some(0));
    assert_eq!((project.calls(&[]).as_str(), project.writes()), ("", 0));
}

#[test]
fn after_the_merge_exactly_the_plan_that_was_kept_is_applied_and_by_no_old_job() {
    let Some(project) = project() else { return };
    let old = project.git("git rev-parse main");
    job(&project, "plan-to-apply", "main", &old).code(0);
    assert_eq!(project.writes(), 0);
    project.git("sed -i s/web/git/g policies/web.yaml && git commit --quiet -am other");
    let ended = job(&project, "apply", "main", &old);
    assert!(ended.code == Some(1) && ended.err.contains("The policies of main"), "{ended:?}");
    assert_eq!(project.writes(), 0);
    // What has nothing to do with policies blocks nothing.
    project.git("git revert --no-edit HEAD > /dev/null; echo Backups > README.md && git add . && git commit -qm readme");
    has_created(&job(&project, "apply", "main", &old).code(0));
    let again = job(&project, "apply", "main", &old).code(0).out;
    assert_eq!(again.lines().last(), Some("Done: 0 created, 0 deleted locally."));
}

#[test]
fn drift_has_one_issue_as_long_as_it_lasts() {
    let Some(project) = project() else { return };
    let issues = "https://gitlab.example.com/api/v4/projects/42/issues";
    let look = |listed: &[Value], asked: &str| {
        project.calls(listed);
        job(&project, "drift", "main", "").code(0);
        let calls = project.calls(&[]);
        let last = calls.lines().last().unwrap();
        assert!(last.starts_with(asked) && last.contains(issues), "{asked} is not in\n{calls}");
    };
    look(&[], "--request POST --data-urlencode title=Backups are not as they should be");
    let body = fs::read_to_string(project.shell.path("workspace/body.md")).unwrap();
    assert!(body.starts_with("**Status: ") && body.contains("web-3"), "{body}");
    look(&[json!({"iid": 3})], "--request PUT --data-urlencode description@body.md");
    let main = project.git("git rev-parse main");
    job(&project, "plan-to-apply", "main", &main).code(0);
    job(&project, "apply", "main", &main).code(0);
    look(&[json!({"iid": 3})], "--request PUT --data state_event=close");
}

#[test]
fn no_job_that_signs_in_runs_for_a_fork_and_a_button_that_nobody_presses_blocks_nothing() {
    let file = document("gitlab-ci.yml");
    for (name, job) in file.as_object().unwrap().iter().filter(|(_, job)| job.get("script").is_some()) {
        let signs_in = job["variables"].get("FIFO_USER").is_some();
        for rule in job["rules"].as_array().unwrap() {
            let rule = text(&rule["if"]);
            let is_own = rule.contains("$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID");
            assert!(!signs_in || is_own || !rule.contains("merge_request_event"), "{name}: {rule}");
        }
    }
    let rule = &file["apply"]["rules"][0];
    assert_eq!((&rule["when"], &rule["allow_failure"]), (&"manual".into(), &true.into()));
    assert_eq!(file["plan-to-apply"]["artifacts"]["expire_in"], "30 days");
    assert_eq!(file["apply"]["resource_group"], "fifo-retain");
    for job in ["plan-to-apply", "apply"] {
        let rule = text(&file[job]["rules"][0]["if"]);
        assert!(
            rule.ends_with("$CI_DEFAULT_BRANCH && $CI_COMMIT_REF_PROTECTED == \"true\""),
            "{job}: {rule}"
        );
    }
    let image = text(&file["default"]["image"]);
    let (_, tag) = image.split_once(':').unwrap();
    assert!(tag.split('-').any(|part| part.len() == 8 && part.parse::<u32>().is_ok()), "{image} moves");
}
