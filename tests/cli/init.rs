use crate::cloud::Cloud;
use crate::harness::{Ended, Folder};
use crate::terminal::Terminal;
use std::fs;

const WEB: &str = "4fa44310-0000-4000-8000-000000000001";

#[test]
fn from_nothing_to_a_plan_in_one_command_and_to_a_policy_of_ones_own_in_three() {
    let folder = Folder::empty();
    let ended = folder.run(&["--sandbox", "plan"]).code(0);
    assert!(ended.out.contains("Plan: ") && ended.out.contains("grandfather"), "{}", ended.out);
    assert!(ended.err.contains("using the built-in example policies"), "{}", ended.err);

    let ended = folder.run(&["--sandbox", "init", "--all", "--timezone", "Europe/Berlin"]).code(0);
    let next =
        "Next:\n  fifo-retain validate --strict policies/grandfather.yaml\n  fifo-retain --sandbox plan\n";
    assert_eq!(ended.out, format!("Wrote policies/grandfather.yaml.\n\n{next}"));
    folder.run(&["validate", "--strict", "policies/grandfather.yaml"]).code(0);
    let ended = folder.run(&["--sandbox", "plan"]).code(0);
    assert!(ended.out.contains("Plan: ") && !ended.err.contains("built-in"), "{}", ended.err);
}

#[test]
fn built_in_policies_are_for_the_sandbox_alone() {
    let folder = Folder::empty();
    let ended = folder.run(&["--endpoint", "https://fifo.invalid", "plan"]).code(1);
    assert!(ended.err.contains("policies") && !ended.err.contains("built-in"), "{}", ended.err);
    folder.run(&["--sandbox", "--policies", "elsewhere", "plan"]).code(1);
}

#[test]
fn options_arrive_in_the_file() {
    let folder = Folder::empty();
    let line = [
        "init",
        "--select",
        "metadata.fifo.backup=1",
        "--select",
        "alias=web-*",
        "--name",
        "web",
        "--hour",
        "4",
    ];
    let more = ["--timezone", "Asia/Tokyo", "--prune", "--out", "-"];
    let ended = folder.run(&[&line[..], &more].concat()).code(0);
    for text in [
        "policy: web\n",
        "    fifo.backup: 1\n",
        "  alias: \"web-*\"\n",
        "timezone: Asia/Tokyo\n",
        "schedule: \"0 4 1 * *\"\n    type: full\n    keep: 12\n",
        "keep: 5\n",
        "\nprune: true\n",
    ] {
        assert!(ended.out.contains(text), "{text}\n{}", ended.out);
    }
    assert!(ended.err.contains("validate --strict"), "{}", ended.err);
    assert!(!folder.path("policies").exists());
    folder.write("policies/web.yaml", &ended.out);
    folder.run(&["validate", "--strict"]).code(0);
}

#[test]
fn a_file_that_exists_is_replaced_only_by_force() {
    let folder = Folder::new();
    let before = folder.read("policies/grandfather.yaml");
    let ended = folder.run(&["init", "--all"]).code(1);
    assert!(
        ended.err.contains("hint: choose another --name or --out, or replace it with --force"),
        "{}",
        ended.err
    );
    assert_eq!(folder.read("policies/grandfather.yaml"), before);
    let left = fs::read_dir(folder.path("policies")).unwrap().count();
    assert_eq!(left, 1, "nothing is left beside it");
    folder.run(&["init", "--all", "--force"]).code(0);
    assert!(folder.read("policies/grandfather.yaml").contains("  all: true\n"));
}

#[test]
fn without_a_terminal_it_names_the_options() {
    let ended = Folder::empty().run(&["init", "--name", "web"]).code(64);
    for option in ["--select", "--all", "--from-crontab", "--timezone", "--hour"] {
        assert!(ended.err.contains(option), "{option}\n{}", ended.err);
    }
}

#[test]
fn an_hour_that_a_clock_change_skips_is_warned_about() {
    let folder = Folder::empty();
    let ended = folder.run(&["init", "--all", "--hour", "2", "--timezone", "Europe/Berlin"]).code(0);
    assert!(ended.err.contains("skip 02:00 on some days"), "{}", ended.err);
}

#[test]
fn a_crontab_becomes_a_policy_and_other_lines_are_named() {
    let folder = Folder::empty();
    let jobs = format!("0 1 1 * * /opt/backup monthly {WEB}\n0 1 * * * /opt/backup daily {WEB}\n");
    folder.write("crontab", &format!("{jobs}17 * * * * root run-parts /etc/cron.hourly\n"));
    let line = ["init", "--from-crontab", "crontab", "--name", "old"];
    let ended = folder.run(&line).code(64);
    assert!(ended.err.contains("--timezone"), "{}", ended.err);
    let ended = folder.run(&[&line[..], &["--timezone", "Europe/Berlin"]].concat()).code(0);
    assert!(ended.err.contains("crontab:3: this line is not taken over"), "{}", ended.err);
    assert!(folder.read("policies/old.yaml").contains("# Lines of the crontab that are not taken over: 3."));
    folder.run(&["validate", "--strict", "policies/old.yaml"]).code(0);

    let mut command = folder.command(&["init", "--from-crontab", "-", "--timezone", "UTC", "--out", "-"]);
    command.write_stdin(jobs);
    assert!(Ended::of(command).code(0).out.contains(WEB));
    folder.write("crontab", "17 * * * * root run-parts /etc/cron.hourly\n");
    let ended = folder.run(&line).code(1);
    assert!(ended.err.contains("no line of crontab runs the backup script"), "{}", ended.err);
}

#[test]
fn on_a_terminal_it_asks_and_asks_again() {
    let cloud = Cloud::of(0, 20);
    fs::remove_dir_all(cloud.folder.path("policies")).unwrap();
    let mut terminal = Terminal::start(&cloud, &["init", "--hour", "4"]);
    for (question, answer) in [
        ("Which VMs", "name=web"),
        ("`name` is not a key", "alias=web-*"),
        ("Name of the policy [grandfather]", "web"),
        ("Time zone of the schedules [UTC]", "Europe/Berlin"),
        ("Let runs with --prune delete expired backups from storage, for good [n]", "yes"),
    ] {
        terminal.until(question);
        terminal.answer(answer);
    }
    let ended = terminal.end().code(0);
    assert!(
        ended.out.contains("Wrote policies/web.yaml.") && !ended.out.contains("Hour of"),
        "{}",
        ended.out
    );
    let file = cloud.folder.read("policies/web.yaml");
    for text in ["alias: \"web-*\"", "timezone: Europe/Berlin", "0 4 1 * *", "prune: true"] {
        assert!(file.contains(text), "{text}\n{file}");
    }
    cloud.folder.run(&["validate", "--strict"]).code(0);
}
