use super::{example, read, run, succeeded};
use clap::Parser as _;
use fifo_retain::cli::args::{Arguments, Command};
use fifo_retain::sandbox::{Options, RunningSandbox, Sandbox};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process;
use tokio::runtime::Runtime;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fifo-retain");
/// Where the units have the program.
const INSTALLED: &str = "/usr/local/bin/fifo-retain";
const UNITS: [&str; 3] = ["fifo-retain.service", "fifo-retain-once.service", "fifo-retain-once.timer"];

/// Returns the values of a key in a unit.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

fn parsed(line: &str) -> Arguments {
    Arguments::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn variables_of_help() -> String {
    let help = process::Command::new(PROGRAM).arg("--help").output().unwrap();
    String::from_utf8(help.stdout).unwrap()
}

#[test]
fn the_units_start_what_there_is() {
    for (unit, repeats) in [("fifo-retain.service", true), ("fifo-retain-once.service", false)] {
        let unit = read(example("systemd").join(unit));
        let line = values(&unit, "ExecStart");
        let Command::Reconcile(args) = parsed(line[0]).command else { panic!("{line:?}") };
        assert_eq!((args.every.is_some(), args.listen.is_some()), (repeats, repeats));
        assert_eq!(values(&unit, "Type"), [if repeats { "notify" } else { "oneshot" }]);
        assert!(values(&unit, "SuccessExitStatus")[0].ends_with("130 143"));
    }
    let unit = read(example("systemd/fifo-retain.service"));
    assert_eq!(values(&unit, "RestartPreventExitStatus"), ["64"]);
}

#[test]
fn the_units_wait_for_the_network_and_the_clock() {
    for unit in ["fifo-retain.service", "fifo-retain-once.service"] {
        let unit = read(example("systemd").join(unit));
        assert_eq!(values(&unit, "After"), ["network-online.target time-sync.target"]);
        // A passive target is ordered after, and pulled in by what provides it alone.
        assert_eq!(values(&unit, "Wants"), ["network-online.target"]);
    }
}

#[test]
fn each_variable_of_units_and_crontab_is_one_that_the_program_knows() {
    let help = variables_of_help();
    let crontab = read(example("crontab"));
    let of_crontab = crontab.lines().filter(|line| line.starts_with("FIFO"));
    let units: Vec<String> = UNITS.iter().map(|unit| read(example("systemd").join(unit))).collect();
    let of_units = units.iter().flat_map(|unit| values(unit, "Environment"));
    let mut count = 0;
    for variable in of_crontab.chain(of_units).filter_map(|line| line.split('=').next()) {
        let base = variable.strip_suffix("_FILE").unwrap_or(variable);
        assert!(help.contains(base), "{variable}");
        count += 1;
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn systemd_finds_the_units_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut line = vec!["verify".to_owned()];
    for name in UNITS {
        let path = folder.path().join(name);
        fs::write(&path, read(example("systemd").join(name)).replace(INSTALLED, PROGRAM)).unwrap();
        line.push(path.to_str().unwrap().to_owned());
    }
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let Some(verified) = run("systemd-analyze", &line) else { return };
    succeeded(&verified);
    let output = String::from_utf8_lossy(&verified.stderr);
    assert!(!output.contains("fifo-retain"), "{output}");
}

/// Returns the commands of a crontab: what stands behind the five fields.
fn commands(crontab: &str) -> Vec<String> {
    let lines = crontab.lines().filter(|line| line.starts_with(|letter: char| letter.is_ascii_digit()));
    let command = |line: &str| line.split_whitespace().skip(5).collect::<Vec<_>>().join(" ");
    lines.map(command).collect()
}

/// Cron as it would run the example: a nearly empty environment, and a FiFo to be asked.
struct Cron {
    home: tempfile::TempDir,
    fifo: RunningSandbox,
    runtime: Runtime,
}

impl Cron {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let options = Options { upload_ms: 200, ..Options::default() };
        let fifo = runtime.block_on(Sandbox::start(options)).unwrap();
        let home = tempfile::tempdir().unwrap();
        // Does what that of moreutils does, which need not be installed.
        let chronic = home.path().join("chronic");
        fs::write(&chronic, "#!/bin/sh\nout=$(\"$@\" 2>&1) || { code=$?; echo \"$out\"; exit $code; }\n")
            .unwrap();
        fs::set_permissions(chronic, fs::Permissions::from_mode(0o755)).unwrap();
        Self { home, fifo, runtime }
    }

    /// Runs a line's command, and returns what would be mailed.
    fn mail(&self, command: &str, password: &str) -> String {
        let bin = Path::new(PROGRAM).parent().unwrap();
        let command = command.replace("/var/lib/prometheus/node-exporter/", "");
        let mut shell = process::Command::new("sh");
        let path = format!("{}:{}:/usr/bin:/bin", bin.display(), self.home.path().display());
        shell.env_clear().env("PATH", path).env("HOME", self.home.path());
        shell.env("FIFO_ENDPOINT", self.fifo.url()).env("FIFO_USER", "admin").env("FIFO_PASSWORD", password);
        shell.env("FIFO_RETAIN_POLICIES", super::root().join("policies"));
        shell.current_dir(self.home.path()).args(["-c", &command]);
        let ended = shell.output().unwrap();
        String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap()
    }

    fn stop(self) {
        self.runtime.block_on(self.fifo.stop()).unwrap();
    }
}

#[test]
fn the_crontab_does_what_it_says() {
    let commands = commands(&read(example("crontab")));
    assert_eq!(commands.len(), 2);
    assert!(commands.iter().all(|command| !command.contains('%')), "cron takes it for the end of a line");
    let cron = Cron::new();
    assert_eq!(cron.mail(&commands[0], "admin"), "", "nothing is mailed about a good night");
    let metrics = fs::read_to_string(cron.home.path().join("fifo-retain.prom")).unwrap();
    assert!(metrics.contains("\nfifo_retain_last_run_exit_code 0\n"), "{metrics}");
    // Another run is in progress.
    let lock = fs::read_dir(cron.home.path().join(".local/state/fifo-retain")).unwrap();
    let mut lock = lock.map(|entry| entry.unwrap().path());
    let lock = lock.find(|path| path.extension().is_some_and(|extension| extension == "lock")).unwrap();
    let lock = fs::File::open(lock).unwrap();
    lock.lock().unwrap();
    assert_eq!(
        cron.mail(&commands[0], "admin"),
        "",
        "nothing is mailed about a run that is still in progress"
    );
    lock.unlock().unwrap();
    let output = cron.mail(&commands[0], "wrong");
    assert!(output.contains("error: ") && output.contains("refuses to sign in"), "{output}");
    let output = cron.mail(&commands[1], "admin");
    assert!(output.contains("  too old  "), "the sandbox has a VM that is stored away:\n{output}");
    cron.stop();
}

#[test]
fn the_guide_shows_the_lines_of_the_crontab() {
    let (crontab, page) = (read(example("crontab")), read("docs/cron.md"));
    let lines = crontab.lines().filter(|line| line.starts_with(|letter: char| letter.is_ascii_digit()));
    for line in lines {
        assert!(page.lines().any(|it| it == line), "not in docs/cron.md: {line}");
    }
}

/// Returns the blocks of a page that are fenced as of some language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next()).map(str::to_owned).collect()
}

#[test]
fn the_commands_that_the_guide_only_shows_are_right_too() {
    let page = read("docs/cron.md");
    let mut count = 0;
    for block in blocks(&page, "text").iter().chain(&blocks(&page, "sh")) {
        for line in block.lines().filter(|line| line.starts_with("fifo-retain ")) {
            let line = line.split(['#', '|', '>', ';']).next().unwrap();
            parsed(line);
            count += 1;
        }
    }
    assert!(count >= 2, "{count}");
}
