use crate::harness::{AT, Ended, Fifo, Folder};

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
        &["init", "--all", "--select", "alias=web-*"],
        &["init", "--select", "name=web"],
        &["init", "--all", "--timezone", "Berlin"],
        &["init", "--all", "--hour", "24"],
        &["plan", "--format", "markdown", "--max-bytes", "1535"],
        &["plan", "--max-bytes", "9000"],
        &["plan", "--allow-mass-prune", "3"],
        &["apply", "--allow-mass-prune", "3"],
        &["reconcile", "--allow-mass-prune", "3"],
        &["reconcile", "--listen", "127.0.0.1:0"],
        &["reconcile", "--every", "0s"],
        &["simulate", "--down", "2027-02-02..2027-02-01"],
        &["simulate", "--uploads-fail", "2027-02-02"],
        &["simulate", "--change-rate", "3"],
        &["simulate", "--vm-size", "40GB"],
        &["simulate", "--days", "0"],
    ] {
        let ended = folder.run(line).code(64);
        assert_eq!(ended.out, "", "{line:?}");
        assert_ne!(ended.err, "", "{line:?}");
    }
}

#[test]
fn common_slips_are_answered_with_what_is_meant() {
    let folder = Folder::new();
    for (line, hint) in [
        (&["reconcile", "--dry-run"][..], "tip: `fifo-retain plan` shows what would be done"),
        (&["apply", "-n"], "tip: `fifo-retain plan` shows what would be done"),
        (&["apply", "--yes"], "tip: `apply --auto-approve` and"),
        (&["resume", "-y"], "tip: `apply --auto-approve` and `resume --auto-approve` do not ask"),
        (&["reconcile", "--auto-approve"], "do not ask, and `reconcile` never does"),
    ] {
        let ended = folder.run(line).code(64);
        assert!(
            ended.err.contains(hint) && ended.err.matches("tip:").count() == 1,
            "{line:?}\n{}",
            ended.err
        );
    }
}

#[test]
fn an_option_goes_before_its_variable_and_an_empty_variable_is_none() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let asked = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = folder.command(arguments);
        command.env("FIFO_USER", "admin").env("FIFO_PASSWORD", "admin").envs(variables.iter().copied());
        Ended::of(command)
    };
    let url = fifo.url();
    let names = ["FIFO_ENDPOINT", "FIFO_PROFILE", "FIFO_RETAIN_POLICIES", "FIFO_RETAIN_STATE_DIR"];
    let empty = names.map(|name| (name, ""));
    assert!(asked(&["plan"], &empty).code(1).err.contains("no endpoint configured"));
    asked(&["--endpoint", &url, "plan", "--at", AT], &empty).code(0);
    asked(&["plan", "--at", AT], &[("FIFO_ENDPOINT", &url)]).code(0);
    let elsewhere = [("FIFO_ENDPOINT", "https://fifo.invalid"), ("FIFO_PROFILE", "none")];
    for line in [&["--endpoint", &url, "plan", "--at", AT][..], &["plan", "--at", AT, "--endpoint", &url]] {
        asked(line, &elsewhere[..1]).code(0);
    }
    // Only an option contradicts --sandbox.
    asked(&["--sandbox", "plan"], &elsewhere).code(0);
}

#[test]
fn quiet_reports_counts_and_verbose_reports_everything() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    let lines = |option: &[&str]| {
        let line = [option, &["plan", "--at", AT, "--vm", "web-3", "--vm", "git-1"]].concat();
        folder.ask(&fifo, &line).code(0).out
    };
    assert!(lines(&["-q"]).starts_with("Estimate: ") && lines(&["-q"]).lines().count() == 2);
    assert_eq!(lines(&["-qq"]), "");
    let calm = folder.ask(&fifo, &["-q", "plan", "--at", AT, "--vm", "git-1"]).code(0);
    assert_eq!(calm.out, "", "nothing to do and nothing wrong");
    assert!(lines(&[]).contains("web-3") && !lines(&[]).contains("git-1"));
    assert!(lines(&["-v"]).contains("before upgrade"));
}
