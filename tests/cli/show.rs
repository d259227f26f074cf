use crate::harness::{AT, Fifo, Folder};
use serde_json::Value;

#[test]
fn it_is_a_line_a_backup_and_in_full_why_each_is_kept_and_until_when() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let json = folder.ask(&fifo, &["--format", "json", "show", "app-1", "--at", AT]).code(0).out;
    let json: Value = serde_json::from_str(&json).unwrap();
    let usual = folder.ask(&fifo, &["show", "app-1", "--at", AT]).code(0).out;
    for backup in json["vms"][0]["backups"].as_array().unwrap() {
        let id = &backup["backup"].as_str().unwrap()[..8];
        assert_eq!(usual.matches(&format!("  {id}  ")).count(), 1, "{id} in\n{usual}");
    }
    let ended = folder.ask(&fifo, &["-v", "show", "app-1", "--at", AT]).code(0);
    for line in [
        "app-1  ",
        "    next due  monthly 2026-12-01 01:00 +01:00, weekly 2026-11-29 01:00 +01:00, daily 2026-11-23 01:00 +01:00\n",
        "  = monthly 2026-11-01 01:01  ",
        "  1 backup, ",
        "local: parent of the next weekly, until a newer backup",
        "! failed daily 2026-",
        "its tier keeps all backups: it stays",
    ] {
        assert!(ended.out.contains(line), "{line} is not in\n{}", ended.out);
    }
    assert!(ended.last_line().starts_with("Shown: ") && ended.last_line().contains(" on 1 VM, "));
    assert!(ended.out.lines().all(|line| line.chars().count() <= 110), "{}", ended.out);
}

#[test]
fn what_it_says_goes_is_what_the_plan_deletes() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let json = |line: &[&str]| -> Value {
        let line = [&["--format", "json"], line, &["--at", AT]].concat();
        serde_json::from_str(&folder.ask(&fifo, &line).code(0).out).unwrap()
    };
    let (plan, shown) = (json(&["plan"]), json(&["show", "*"]));
    assert_eq!(shown["format"], "fifo-retain.show/1");
    let mut counts = (0, 0);
    for (planned, vm) in plan["vms"].as_array().unwrap().iter().zip(shown["vms"].as_array().unwrap()) {
        assert_eq!(planned["uuid"], vm["uuid"]);
        let deletes =
            planned["actions"].as_array().unwrap().iter().filter(|it| it["action"] == "delete_local");
        let mut listed: Vec<(&Value, bool)> =
            deletes.map(|it| (&it["backup"], it["after_create"] == true)).collect();
        let shown = vm["backups"].as_array().unwrap().iter().filter(|it| !it["local"]["delete"].is_null());
        let mut found: Vec<(&Value, bool)> =
            shown.map(|it| (&it["backup"], it["local"]["delete"] == "after_create")).collect();
        listed.sort_by_key(|it| it.0.to_string());
        found.sort_by_key(|it| it.0.to_string());
        assert_eq!(listed, found);
        counts.0 += listed.iter().filter(|it| !it.1).count();
        counts.1 += listed.iter().filter(|it| it.1).count();
    }
    assert!(counts.0 > 0 && counts.1 > 0, "{counts:?}");
}

#[test]
fn every_vm_that_is_meant_is_shown_and_one_that_is_not_there_is_reported() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let web = folder.ask(&fifo, &["-q", "show", "web-*", "git-1", "--at", AT]).code(0);
    let headings: Vec<&str> =
        web.out.lines().filter(|line| line.contains("-1  ") && !line.starts_with(' ')).collect();
    assert!(web.out.contains("\nweb-3  "), "{}", web.out);
    assert_eq!(headings.iter().map(|line| &line[..5]).collect::<Vec<_>>(), ["git-1", "web-1"], "{}", web.out);
    let missing = folder.ask(&fifo, &["show", "wbe-1", "--at", AT]).code(1);
    assert!(missing.err.contains("error: wbe-1: no VM that this user can see is meant"), "{}", missing.err);
    folder.ask(&fifo, &["show"]).code(64);
}

#[test]
fn as_markdown_each_vm_has_a_table() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let ended = folder.ask(&fifo, &["--format", "markdown", "show", "app-1", "--at", AT]).code(0);
    assert!(ended.out.starts_with("**Shown: ") && ended.out.contains("\n| app-1 `"), "{}", ended.out);
    assert!(ended.out.contains("\n| backup | UUID | type | size | local | to restore |"), "{}", ended.out);
}

#[test]
fn it_sends_nothing_but_a_sign_in_and_reads() {
    let fifo = Fifo::standing_still();
    Folder::new().ask(&fifo, &["show", "app-1", "--at", AT]).code(0);
    let asked = fifo.asked();
    assert!(asked.iter().all(|line| line.starts_with("GET ") || line.ends_with("/oauth/token")), "{asked:?}");
}
