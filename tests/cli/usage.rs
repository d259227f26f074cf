use crate::harness::{AT, Fifo, Folder};

const COMMANDS: [&str; 4] = ["validate", "plan", "show", "sandbox"];

#[test]
fn help_and_version_are_no_failures() {
    let folder = Folder::new();
    let help = folder.run(&["--help"]).code(0).out;
    for what in COMMANDS.iter().chain(&["Exit codes:", "FIFO_PASSWORD", "Examples:", "--endpoint <URL>"]) {
        assert!(help.contains(what), "{what} is missing in:\n{help}");
    }
    for command in COMMANDS {
        assert!(folder.run(&[command, "-h"]).code(0).out.contains(&format!("fifo-retain {command}")));
    }
    let version = folder.run(&["--version"]).code(0).out;
    assert!(version.starts_with(concat!("fifo-retain ", env!("CARGO_PKG_VERSION"), " (tz database 20")));
}

#[test]
fn wrong_usage_is_64() {
    let folder = Folder::new();
    for line in [
        &[][..],
        &["paln"],
        &["plan", "--no-such-flag"],
        &["plan", "--at", "yesterday"],
        &["plan", "--vm", "web-["],
        &["plan", "--format", "github"],
        &["plan", "--format", "json", "--diff"],
        &["--sandbox", "--endpoint", "https://fifo", "plan"],
        &["-q", "-v", "plan"],
        &["--timeout", "5", "plan"],
        &["--api-version", "0.1.0", "plan"],
        &["sandbox", "--fresh"],
    ] {
        let ended = folder.run(line).code(64);
        assert_eq!(ended.out, "", "{line:?}");
        assert_ne!(ended.err, "", "{line:?}");
    }
}

#[test]
fn without_a_fifo_there_is_a_way_out() {
    let ended = Folder::new().run(&["plan"]).code(1);
    assert!(ended.err.starts_with("error: no FiFo is named\nhint: give --endpoint or"), "{}", ended.err);
}

#[test]
fn colour_comes_when_it_is_asked_for() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let asked = |when| folder.ask(&fifo, &["--color", when, "plan", "--at", AT]).code(0).out;
    assert!(!asked("auto").contains('\u{1b}'), "a pipe is no terminal");
    assert!(asked("always").contains("\u{1b}[32m+ create"));
}

#[test]
fn quiet_tells_counts_and_verbose_tells_everything() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let lines = |option: &[&str]| {
        let line = [option, &["plan", "--at", AT, "--vm", "web-3", "--vm", "git-1"]].concat();
        folder.ask(&fifo, &line).code(0).out
    };
    assert_eq!(lines(&["-q"]).lines().count(), 1);
    assert!(lines(&[]).contains("web-3") && !lines(&[]).contains("git-1"));
    assert!(lines(&["-v"]).contains("before upgrade"));
}

#[test]
fn messages_can_be_json_too() {
    let folder = Folder::new();
    let ended = folder.run(&["--log-format", "json", "plan"]).code(1);
    let event: serde_json::Value = serde_json::from_str(ended.err.trim_end()).unwrap();
    assert_eq!((&event["level"], &event["fields"]["message"]), (&"ERROR".into(), &"no FiFo is named".into()));
}
