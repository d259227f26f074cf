use crate::harness::{Ended, Fifo, Folder};
use fifo_retain::apply::StopFile;
use fifo_retain::sandbox::User;
use serde_json::Value;
use std::fs;

/// Returns the finding and the message of the first check of a name.
fn result_of(ended: &Ended, check: &str) -> (String, String) {
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    let checks = document["checks"].as_array().unwrap();
    let found = checks.iter().find(|it| it["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no check {check} in {}", ended.out));
    (found["finding"].as_str().unwrap().to_owned(), found["message"].as_str().unwrap().to_owned())
}

fn checked(folder: &Folder, fifo: &Fifo, user: &str, options: &[&str]) -> Ended {
    let line = [&["--format", "json"], options, &["check"]].concat();
    let mut command = folder.command(&line);
    command.env("FIFO_ENDPOINT", fifo.url()).env("FIFO_USER", user).env("FIFO_PASSWORD", user);
    Ended::of(command)
}

#[test]
fn it_says_what_works_and_what_cannot_be_verified() {
    let (folder, fifo) = (Folder::new(), Fifo::now());
    let ended = folder.ask(&fifo, &["check"]).code(0);
    for line in [
        &format!("ok          endpoint: {}, as `admin`, API version 3", fifo.url()),
        "ok          connection: FiFo answers",
        "ok          sign-in: FiFo accepts these credentials",
        "ok          permissions: the user may list VMs (cloud→vms→list) and read 15 VMs",
        "unverified  permissions: vms→<uuid>→backup and vms→<uuid>→backup_delete",
        "ok          policies: 1 policy, no warnings",
        "ok          selected: `grandfather` is the policy of ",
        "warning     selected: ",
        "ok          state: lock, journal and safety stop are kept in ",
        "Check: no problems",
    ] {
        assert!(ended.out.contains(line), "{line}\n{}", ended.out);
    }
    assert!(!folder.path(".local").exists(), "the state folder is made by a run, with its own user");
}

#[test]
fn a_clock_far_off_is_a_problem() {
    let ended = checked(&Folder::new(), &Fifo::standing_still(), "admin", &[]).code(1);
    let (finding, message) = result_of(&ended, "clock");
    assert!(finding == "problem" && message.contains(" this machine"), "{message}");
}

#[test]
fn a_permission_that_is_missing_is_named() {
    let (folder, fifo) = (Folder::new(), Fifo::now());
    fifo.running().with(|state| {
        let users = &mut state.world.users;
        users.insert("blind".to_owned(), User::allowed_to("blind", &["cloud->vms->list"]));
        users.insert("nobody".to_owned(), User::allowed_to("nobody", &["vms->_->get"]));
    });
    let (finding, message) = result_of(&checked(&folder, &fifo, "blind", &[]).code(1), "permissions");
    assert!(finding == "problem" && message.contains("read no VMs (vms→<uuid>→get)"), "{message}");
    let ended = checked(&folder, &fifo, "nobody", &[]).code(1);
    assert_eq!(result_of(&ended, "sign-in").0, "ok");
    let (finding, message) = result_of(&ended, "permissions");
    assert!(finding == "problem" && message.contains("`cloud→vms→list`"), "{message}");
}

#[test]
fn a_wrong_password_and_a_backend_that_is_down_are_problems() {
    let (folder, fifo) = (Folder::new(), Fifo::now());
    let (finding, message) = result_of(&checked(&folder, &fifo, "mallory", &[]).code(1), "sign-in");
    assert!(finding == "problem" && message.contains("refuses to sign in `mallory`"), "{message}");
    fifo.running().with(|state| state.world.backend_up = false);
    let (finding, message) = result_of(&checked(&folder, &fifo, "admin", &[]).code(1), "connection");
    assert!(finding == "problem" && message.contains("503"), "{message}");
}

#[test]
fn without_an_endpoint_the_policies_are_checked_all_the_same() {
    let folder = Folder::new();
    let ended = folder.run(&["--format", "json", "check"]).code(1);
    assert_eq!(
        (result_of(&ended, "endpoint").0, result_of(&ended, "policies").0),
        ("problem".into(), "ok".into())
    );
    let ended = Folder::empty().run(&["--format", "json", "check"]).code(1);
    assert_eq!(result_of(&ended, "policies").0, "skipped");
    folder.write("policies/broken.yaml", "version: 1\n");
    assert_eq!(result_of(&folder.run(&["--format", "json", "check"]).code(1), "policies").0, "problem");
}

#[test]
fn a_state_folder_that_cannot_be_written_is_a_problem() {
    let (folder, fifo) = (Folder::new(), Fifo::now());
    folder.write("file", "");
    let ended = checked(&folder, &fifo, "admin", &["--state-dir", "file/state"]).code(1);
    let (finding, message) = result_of(&ended, "state");
    assert!(finding == "problem" && message.contains("file/state, and cannot be written"), "{message}");
    // A run would not follow a link either.
    fs::create_dir(folder.path("state")).unwrap();
    std::os::unix::fs::symlink("../file", folder.path("state/journal.jsonl")).unwrap();
    let ended = checked(&folder, &fifo, "admin", &["--state-dir", "state"]).code(1);
    let (finding, message) = result_of(&ended, "state");
    assert!(finding == "problem" && message.contains("journal.jsonl: it is a symbolic link"), "{message}");
}

#[test]
fn a_safety_stop_is_a_problem() {
    let (folder, fifo) = (Folder::new(), Fifo::now());
    let state = folder.path("state");
    fs::create_dir(&state).unwrap();
    fs::write(StopFile::new(&state, &fifo.url()).path(), "").unwrap();
    let ended = checked(&folder, &fifo, "admin", &["--state-dir", "state"]).code(1);
    assert_eq!(
        (result_of(&ended, "state").0, result_of(&ended, "safety-stop").0),
        ("ok".into(), "problem".into())
    );
}

#[test]
fn in_the_sandbox_without_a_folder_it_checks_the_built_in_examples() {
    let folder = Folder::empty();
    let mut command = folder.command(&["--sandbox", "check"]);
    command.env("COLUMNS", "60");
    let ended = Ended::of(command).code(0);
    assert!(ended.out.contains("ok          policies: the built-in examples, 4 policies"), "{}", ended.out);
    for line in ended.out.lines() {
        assert!(line.chars().count() <= 60, "{line}");
    }
}
