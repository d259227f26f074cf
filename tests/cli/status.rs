use crate::cloud::Cloud;
use crate::harness::{AT, Fifo, Folder};
use serde_json::Value;

#[test]
fn it_reports_the_status_of_every_vm() {
    let fifo = Fifo::standing_still();
    let folder = Folder::new();
    let ended = folder.ask(&fifo, &["-v", "status", "--at", AT]).code(0);
    for line in [
        "web-1  ",
        "  = safe",
        "  ! too old",
        "  ! no backup    nothing can be restored",
        "    local        3 snapshots, ",
        "    next due     monthly 2026-12-01 01:00 +01:00, weekly 2026-11-29 01:00 +01:00, daily 2026-11-23 01:00",
        "  a restore fetches ",
    ] {
        assert!(ended.out.contains(line), "{line} is not in\n{}", ended.out);
    }
    let last = ended.last_line();
    assert!(ended.out.contains("\nStatus: ") && last.ends_with("suspended."), "{last}");
    assert!(ended.out.lines().all(|line| line.chars().count() <= 110), "{}", ended.out);
}

#[test]
fn with_check_it_exits_with_2_when_a_vm_is_out() {
    let fifo = Fifo::standing_still();
    let folder = Folder::new();
    folder.ask(&fifo, &["status", "--check", "--at", AT]).code(2);
    folder.ask(&fifo, &["status", "--at", AT]).code(0);

    let cloud = Cloud::of(2, 100);
    cloud.folder.ask(&cloud.fifo, &["status", "--check"]).code(2);
    cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(0);
    let ended = cloud.folder.ask(&cloud.fifo, &["status", "--check"]).code(0);
    assert!(ended.last_line().starts_with("Status: 2 safe, 0 too old, 0 without a backup"), "{}", ended.out);
}

#[test]
fn quietly_nothing_is_said_while_all_is_well_and_otherwise_what_is_wrong() {
    let cloud = Cloud::of(2, 100);
    let ended = cloud.folder.ask(&cloud.fifo, &["-q", "status"]).code(0);
    assert!(
        ended.out.starts_with("  VM")
            && ended.out.contains("\n! vm-1  too old")
            && ended.out.contains("Status: 0 safe, 2 too old"),
        "{ended:?}"
    );
    cloud.folder.ask(&cloud.fifo, &["-qq", "reconcile"]).code(0);
    for quiet in ["-q", "-qq"] {
        let ended = cloud.folder.ask(&cloud.fifo, &[quiet, "status", "--check"]).code(0);
        assert_eq!((ended.out.as_str(), ended.err.as_str()), ("", ""));
    }
}

#[test]
fn as_json_it_says_the_same() {
    let cloud = Cloud::of(1, 100);
    let ended = cloud.folder.ask(&cloud.fifo, &["--format", "json", "status"]).code(0);
    let output: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(output["format"], "fifo-retain.status/1");
    assert_eq!((&output["summary"]["safe"], &output["summary"]["too_old"]), (&0.into(), &1.into()));
    let vm = &output["vms"][0];
    assert_eq!((&vm["alias"], &vm["verdict"]), (&"vm-1".into(), &"too_old".into()));
    assert_eq!((&vm["newest"]["tier"], &vm["newest"]["steps"]), (&"daily".into(), &2.into()));
    assert!(vm["newest"]["age_secs"].as_i64().unwrap() > 24 * 3_600);
    assert_eq!(vm["local"]["snapshots"], 1);

    let fifo = Fifo::standing_still();
    let ended = cloud.folder.ask(&fifo, &["--format", "json", "status", "--at", AT]).code(0);
    let output: Value = serde_json::from_str(&ended.out).unwrap();
    let app = output["vms"].as_array().unwrap().iter().find(|vm| vm["alias"] == "app-2").unwrap();
    let problem = &app["problems"][0];
    assert_eq!(problem["code"], "no_hypervisor");
    assert_eq!(problem["advice"], "start it on a hypervisor, or exclude it from the policy");
}

#[test]
fn as_markdown_it_is_a_table_of_what_is_out() {
    let fifo = Fifo::standing_still();
    let folder = Folder::new();
    let ended = folder.ask(&fifo, &["--format", "markdown", "status", "--at", AT]).code(0);
    assert!(ended.out.starts_with("**Status: "), "{}", ended.out);
    assert!(ended.out.contains("\n| VM | state | age | limit |"), "{}", ended.out);
    let folded = ended.out.find("<details>").unwrap();
    let advice = " | start it on a hypervisor, or exclude it from the policy |\n";
    let blocked =
        ended.out.lines().find(|line| line.contains(" | **blocked** | on no hypervisor (stored); "));
    assert!(blocked.is_some_and(|line| format!("{line}\n").ends_with(advice)), "{}", ended.out);
    assert!(ended.out.find("| too old |").unwrap() < folded && ended.out.rfind("| safe |").unwrap() > folded);
}
