//! The pipeline for GitLab CI: a runner that is as small as it needs it.

use super::project::{Project, READER, WRITER, has_created};
use super::yaml::{document, list, text, texts};
use crate::shell::{Ended, has};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

const MARKER: &str = "<!-- fifo-retain plan -->";

/// The pipeline in a project.
struct Pipeline {
    project: Project,
    file: Value,
    variables: BTreeMap<String, String>,
}

impl Pipeline {
    fn new() -> Self {
        let mut project = Project::new();
        project.stand_in("curl", include_str!("curl.sh"));
        project.stand_in("apt-get", "#!/bin/sh\n");
        let url = project.shell.url();
        let variables = [
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
        ];
        let variables =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { project, file: document("gitlab-ci.yml"), variables }
    }

    /// Runs a job on a branch; the artifacts that it needs are there, and it goes well.
    #[track_caller]
    fn job(&self, name: &str, branch: &str) -> Ended {
        self.job_at(name, branch, &self.project.git(&format!("git rev-parse {branch}"))).code(0)
    }

    /// Runs a job on a branch as it was at a commit.
    #[track_caller]
    fn job_at(&self, name: &str, branch: &str, commit: &str) -> Ended {
        let job = &self.file[name];
        let mut variables = self.variables.clone();
        for level in [&self.file["variables"], &job["variables"]] {
            for (variable, value) in texts(level) {
                let value = value.strip_prefix('$').map_or(value.clone(), |name| variables[name].clone());
                variables.insert(variable, value);
            }
        }
        // Literals that everybody has to change; a fork would not have the project's variables in their place.
        for name in ["FIFO_RETAIN_URL", "FIFO_RETAIN_SHA256"] {
            assert!(variables.remove(name).is_some_and(|written| !written.contains('$')), "{name}");
        }
        variables.insert("CI_COMMIT_SHA".to_owned(), commit.to_owned());
        let depth = &variables["GIT_DEPTH"];
        let workspace = self.project.checkout_at(name, branch, commit, depth);
        let folder = self.project.shell.path(&workspace);
        let stored = self.project.shell.path("artifacts");
        fs::create_dir_all(&stored).unwrap();
        for needed in list(&job["needs"]) {
            for file in list(&self.file[&needed]["artifacts"]["paths"]) {
                fs::copy(stored.join(&file), folder.join(&file)).unwrap();
            }
        }
        let before = match &job["before_script"] {
            Value::Null => &self.file["default"]["before_script"],
            own => own,
        };
        let script = [list(before), list(&job["script"])].concat().join("\n");
        let ended = self.project.shell.run_in(&workspace, &variables, &script);
        for file in list(&job["artifacts"]["paths"]) {
            if ended.code == Some(0) {
                fs::copy(folder.join(&file), stored.join(&file)).unwrap();
            }
        }
        ended
    }
}

#[test]
fn a_merge_request_gets_one_note_that_is_updated() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let pipeline = Pipeline::new();
    let project = &pipeline.project;
    // A lively discussion, in which a person quotes the note, line for line.
    let others = (0..130).map(|id| serde_json::json!({"id": id, "author": {"id": 3}, "body": MARKER}));
    project.shell.write("state/notes.json", &serde_json::Value::from_iter(others).to_string());
    pipeline.job("validate", "change");
    pipeline.job("plan", "change");
    let notes = project.kept("notes.json");
    assert_eq!(notes.len(), 131);
    let body = text(&notes[130]["body"]);
    assert!(body.starts_with(MARKER) && body.contains("git-1"), "{body}");
    project.git(
        "git checkout --quiet change && sed -i s/git/git2/g policies/git.yaml && git commit --quiet -am less",
    );
    pipeline.job("plan", "change");
    let notes = project.kept("notes.json");
    assert_eq!((notes.len(), text(&notes[0]["body"])), (131, MARKER.to_owned()));
    assert_ne!(text(&notes[130]["body"]), body);
    assert_eq!(project.writes(), 0);
}

#[test]
fn what_the_target_has_gained_since_is_no_part_of_the_change() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let pipeline = Pipeline::new();
    let project = &pipeline.project;
    // Main has gone on since the branch began.
    project.git(
        "sed s/web/mail/g policies/web.yaml > policies/mail.yaml && git add . && git commit --quiet -m mail",
    );
    pipeline.job("plan", "change");
    let note = text(&project.kept("notes.json")[0]["body"]);
    assert!(note.contains("git-1"), "{note}");
    assert!(!note.contains("lose"), "the policy for mail is not taken away: {note}");

    // Both have changed the same line: nothing is said of what cannot be merged.
    project.git("sed -i s/web/db/g policies/web.yaml && git commit --quiet -am db");
    project.git(
        "git checkout --quiet change && sed -i s/web/app/g policies/web.yaml && git commit --quiet -am app",
    );
    let commit = project.git("git rev-parse change");
    assert_ne!(pipeline.job_at("plan", "change", &commit).code, Some(0));
    assert_eq!(project.kept("notes.json").len(), 1);
}

#[test]
fn a_button_that_nobody_presses_blocks_no_pipeline() {
    let file = document("gitlab-ci.yml");
    let rule = &file["apply"]["rules"][0];
    assert_eq!((&rule["when"], &rule["allow_failure"]), (&"manual".into(), &true.into()));
    assert_eq!(file["plan-to-apply"]["artifacts"]["expire_in"], "30 days");
    let image = text(&file["default"]["image"]);
    let (_, tag) = image.split_once(':').unwrap();
    assert!(tag.split('-').any(|part| part.len() == 8 && part.parse::<u32>().is_ok()), "{image} moves");
}

#[test]
fn after_the_merge_the_plan_is_kept_and_exactly_that_is_applied() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let pipeline = Pipeline::new();
    pipeline.job("plan-to-apply", "main");
    assert_eq!(pipeline.project.writes(), 0);
    has_created(&pipeline.job("apply", "main"));
    let again = pipeline.job("apply", "main").out;
    assert_eq!(again.lines().last(), Some("Done: 0 created, 0 deleted locally."));
    assert_eq!(pipeline.file["apply"]["resource_group"], "fifo-retain");
    for job in ["plan-to-apply", "apply"] {
        let rule = text(&pipeline.file[job]["rules"][0]["if"]);
        assert!(
            rule.ends_with("$CI_DEFAULT_BRANCH && $CI_COMMIT_REF_PROTECTED == \"true\""),
            "{job}: {rule}"
        );
    }
}

#[test]
fn an_old_job_that_is_started_once_more_applies_nothing() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let pipeline = Pipeline::new();
    let project = &pipeline.project;
    let old = project.git("git rev-parse main");
    pipeline.job("plan-to-apply", "main");
    project.git("sed -i s/web/git/g policies/web.yaml && git commit --quiet -am other");
    let ended = pipeline.job_at("apply", "main", &old);
    assert!(ended.code == Some(1) && ended.err.contains("The policies of main"), "{ended:?}");
    assert_eq!(project.writes(), 0);

    // Of the VMs of this policy one is due at any hour.
    project.git("git revert --no-edit HEAD > /dev/null");

    // What has nothing to do with policies blocks nothing.
    let old = project.git("git rev-parse main");
    pipeline.job("plan-to-apply", "main");
    project.git("echo Backups > README.md && git add . && git commit --quiet -m readme");
    has_created(&pipeline.job_at("apply", "main", &old));
}

#[test]
fn drift_has_one_issue_as_long_as_it_lasts() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let pipeline = Pipeline::new();
    let look = || {
        pipeline.job("drift", "main");
        pipeline.project.kept("issues.json")
    };
    let issues = look();
    assert_eq!((issues.len(), &issues[0]["state"]), (1, &"opened".into()));
    let body = text(&issues[0]["description"]);
    assert!(body.starts_with("**Status: ") && body.contains("web-3"), "{body}");
    assert_eq!(look().len(), 1);
    pipeline.job("plan-to-apply", "main");
    pipeline.job("apply", "main");
    let issues = look();
    assert_eq!((issues.len(), &issues[0]["state"]), (1, &"closed".into()));
}

#[test]
fn no_job_that_signs_in_runs_for_a_fork() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let file = document("gitlab-ci.yml");
    for (name, job) in file.as_object().unwrap().iter().filter(|(_, job)| job.get("script").is_some()) {
        let signs_in = job["variables"].get("FIFO_USER").is_some();
        for rule in job["rules"].as_array().unwrap() {
            let rule = text(&rule["if"]);
            let is_own = rule.contains("$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID");
            assert!(!signs_in || is_own || !rule.contains("merge_request_event"), "{name}: {rule}");
        }
    }
}
