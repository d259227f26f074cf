use crate::cloud::Cloud;
use crate::harness::{AT, Fifo, Folder};
use crate::terminal::Terminal;
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
fn on_a_terminal_the_chains_are_drawn() {
    let cloud = Cloud::of(1, 100);
    let drawn = Terminal::start(&cloud, &["show", "vm-1"]).end().code(0).out;
    assert!(drawn.contains("chains") && drawn.contains("newest first; "), "{drawn}");
    let piped = cloud.folder.ask(&cloud.fifo, &["show", "vm-1"]).code(0).out;
    assert!(!piped.contains("newest first; "), "{piped}");
}
