//! The reports of a run: a file with metrics, an address, a monitor.

use crate::cloud::Cloud;
use crate::exposition::Exposition;
use crate::harness::{AT, Ended, Fifo, Folder};
use crate::running::Running;
use crate::web::{Listener, until};
use fifo_retain::sandbox::Effect;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

/// Runs the program with something more in its environment.
fn asked(cloud: &Cloud, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let mut command = cloud.folder.asking(&cloud.fifo, arguments);
    command.envs(environment.iter().copied());
    Running::start(command).end()
}

#[test]
fn reconcile_and_apply_leave_metrics_for_everybody_to_read() {
    for command in [&["reconcile"][..], &["apply", "--auto-approve"]] {
        let cloud = Cloud::of(2, 100);
        cloud.folder.write("run.prom", "what was there before");
        cloud.folder.ask(&cloud.fifo, &[command, &["--metrics-file", "run.prom"]].concat()).code(0);
        let metrics = Exposition::read(&cloud.folder.read("run.prom"));
        assert_eq!(metrics.get("fifo_retain_last_run_exit_code"), Some(0.0));
        assert_eq!(
            metrics.get("fifo_retain_last_run_actions{action=\"create\",outcome=\"done\"}"),
            Some(2.0)
        );
        assert!(metrics.get("fifo_retain_last_success_timestamp_seconds").is_some());
        let safe = metrics.of("fifo_retain_vm_safe");
        assert_eq!(
            safe.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            [1.0, 1.0],
            "as it is afterwards"
        );
        assert_eq!(metrics.of("fifo_retain_up_to_date").len(), 4, "two tiers of two VMs");
        let mode = fs::metadata(cloud.folder.path("run.prom")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        let beside = fs::read_dir(cloud.folder.path("")).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!beside.into_iter().any(|name| name.to_string_lossy().starts_with(".tmp")));
    }
}

#[test]
fn a_run_that_failed_says_so_and_invents_no_vm() {
    let cloud = Cloud::of(1, 100);
    cloud.fifo.disturb(Effect::Answer { status: 403, retry_after_s: None, location: None });
    cloud.folder.ask(&cloud.fifo, &["reconcile", "--metrics-file", "run.prom"]).code(1);
    let metrics = Exposition::read(&cloud.folder.read("run.prom"));
    assert_eq!(metrics.get("fifo_retain_last_run_exit_code"), Some(1.0));
    assert!(metrics.get("fifo_retain_last_run_timestamp_seconds").is_some());
    for name in ["fifo_retain_vm_safe", "fifo_retain_vms", "fifo_retain_last_success_timestamp_seconds"] {
        assert_eq!(metrics.of(name), [], "{name}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_reported_and_fails_only_status() {
    let cloud = Cloud::of(1, 100);
    let file = "no/such/folder/run.prom";
    let ended = cloud.folder.ask(&cloud.fifo, &["reconcile", "--metrics-file", file]).code(0);
    assert!(ended.err.contains(&format!("warning: failed to write the metrics to {file}")), "{}", ended.err);
    let ended = cloud.folder.ask(&cloud.fifo, &["status", "--metrics-file", file]).code(1);
    assert!(ended.err.contains(&format!("error: failed to write the metrics to {file}")), "{}", ended.err);
    assert!(ended.last_line().starts_with("Status: 1 safe"), "it is shown all the same:\n{}", ended.out);
}

#[test]
fn a_pipe_without_a_reader_is_no_metrics_file_and_blocks_nothing() {
    let cloud = Cloud::of(1, 100);
    let made = Command::new("mkfifo").arg(cloud.folder.path("run.prom")).status().unwrap();
    assert!(made.success());
    let ended = cloud.folder.ask(&cloud.fifo, &["reconcile", "--metrics-file", "run.prom"]).code(0);
    let warning = "warning: failed to write the metrics to run.prom: it is there and is no regular file";
    assert!(ended.err.contains(warning), "{}", ended.err);
    cloud.is_done();
}

#[test]
fn status_writes_what_it_shows_and_nothing_of_runs() {
    let (folder, fifo) = (Folder::new(), Fifo::standing_still());
    folder.ask(&fifo, &["status", "--at", AT, "--metrics-file", "status.prom"]).code(0);
    let text = folder.read("status.prom");
    let metrics = Exposition::read(&text);
    assert!(!text.contains("last_run") && !text.contains("_total"), "{text}");
    assert!(metrics.of("fifo_retain_vm_safe").len() > 5);
    assert!(metrics.get("fifo_retain_vms{status=\"unprotected\"}").is_some());
}

#[test]
fn a_summary_is_posted_after_each_run() {
    let (cloud, hook) = (Cloud::of(1, 100), Listener::answering("204 No Content"));
    cloud.folder.ask(&cloud.fifo, &["reconcile", "--notify-url", &hook.url("/hook")]).code(0);
    let came = hook.came();
    assert_eq!(
        came.iter().map(|it| (it.line.as_str(), it.content_type.as_str())).collect::<Vec<_>>(),
        [("POST /hook", "application/json")]
    );
    let output: Value = serde_json::from_str(&came[0].body).unwrap();
    assert_eq!(output["format"], "fifo-retain.notification/1");
    assert_eq!((&output["command"], &output["outcome"]), (&"reconcile".into(), &"done".into()));
    assert_eq!((&output["exit_code"], &output["actions"]["created"]), (&0.into(), &1.into()));
    assert_eq!((&output["vms"]["safe"], &output["problems"]), (&1.into(), &Value::Array(Vec::new())));
    assert_eq!(output["text"], "reconcile: done (exit code 0). Done: 1 created, 1 deleted locally.");
    assert!(
        output["began"].is_string() && output["ended"].is_string() && output["endpoint"].is_string(),
        "{output}"
    );
}

#[test]
fn a_monitor_is_pinged_at_start_and_end() {
    let (cloud, monitor) = (Cloud::of(1, 500), Listener::answering("200 OK"));
    cloud.folder.ask(&cloud.fifo, &["reconcile", "--ping-url", &monitor.url("/ping/abc")]).code(0);
    assert_eq!(monitor.lines(), ["GET /ping/abc/start", "GET /ping/abc"]);
}

#[test]
fn what_fails_early_is_reported_too() {
    let (cloud, hook) = (Cloud::of(1, 100), Listener::answering("200 OK"));
    cloud.folder.write("policies/grandfather.yaml", "policy: half\n");
    let environment = [
        ("FIFO_RETAIN_NOTIFY_URL", &*hook.url("/hook?token=hunter2")),
        ("FIFO_RETAIN_PING_URL", &*hook.url("/ping")),
    ];
    asked(&cloud, &["reconcile"], &environment).code(1);
    let came = hook.came();
    assert!(!came.iter().any(|it| it.line.ends_with("/start")), "it had not started: {came:?}");
    let fail = came.iter().find(|it| it.line == "POST /ping/fail").unwrap();
    assert!(fail.body.starts_with("reconcile: failed (exit code 1). "), "{}", fail.body);
    assert!(fail.body.contains("mistakes in the policies"), "{}", fail.body);
    let posted = came.iter().find(|it| it.line == "POST /hook?token=hunter2").unwrap();
    let output: Value = serde_json::from_str(&posted.body).unwrap();
    assert_eq!((&output["outcome"], &output["vms"]), (&"failed".into(), &Value::Null));
    assert_eq!(output["problems"][0]["code"], "run_failed");
}

#[test]
fn a_run_that_finds_another_one_under_way_names_it_and_notifies_nobody() {
    let (cloud, listener) = (Cloud::of(1, 60_000), Listener::answering("200 OK"));
    let mut first = Running::reconcile(&cloud);
    first.until("accepted");
    cloud.folder.write("run.prom", "what is good");
    let (hook, ping) = (listener.url("/hook"), listener.url("/ping"));
    let more = ["--metrics-file", "run.prom", "--notify-url", &hook, "--ping-url", &ping];
    for command in [&["reconcile"][..], &["apply", "--auto-approve"]] {
        let ended = cloud.folder.ask(&cloud.fifo, &[command, &more].concat()).code(5);
        let holder = format!("is under way: process {} (reconcile), since 20", first.pid());
        assert!(ended.err.contains(&holder) && ended.out.is_empty(), "{ended:?}");
    }
    assert_eq!(listener.lines(), [""; 0]);
    assert_eq!((cloud.folder.read("run.prom").as_str(), cloud.asked()["POST"]), ("what is good", 1));
    // Looking is free, and a run that was killed holds no lock: its upload is waited for.
    let plan = cloud.folder.ask(&cloud.fifo, &["plan", "--detailed-exitcode"]).code(0);
    assert!(plan.last_line().starts_with("Plan: 0 to create, 0 to delete locally"), "{}", plan.out);
    first.signal("KILL");
    first.end();
    cloud.folder.ask(&cloud.fifo, &["reconcile"]).code(3);
}

#[test]
fn a_receiver_that_does_not_listen_changes_nothing_and_the_address_is_not_shown() {
    let (cloud, deaf) = (Cloud::of(1, 100), Listener::answering("500 Internal Server Error"));
    let folder = &cloud.folder;
    folder.write("url", &format!("{}\n", deaf.url("/hunter2?t=hunter2")));
    let environment =
        [("FIFO_RETAIN_NOTIFY_URL_FILE", "url"), ("FIFO_RETAIN_PING_URL", "http://127.0.0.1:1/hunter2")];
    let ended = asked(&cloud, &["-vvv", "reconcile", "--metrics-file", "run.prom"], &environment).code(0);
    let warned =
        |what: &str| ended.err.lines().any(|line| line.starts_with("warning: ") && line.contains(what));
    assert!(warned("failed to send the notification of the run: http://127.0.0.1:"), "{}", ended.err);
    assert!(warned("answered 500 Internal Server Error"), "{}", ended.err);
    assert!(warned("failed to send the end of the run: http://127.0.0.1:1/…"), "{}", ended.err);
    assert_eq!(deaf.lines().len(), 3, "three tries");
    let output = ended.out + &ended.err + &folder.read("run.prom");
    assert!(!output.contains("hunter2"), "{output}");
    cloud.is_done();
}

#[test]
fn an_address_that_is_none_is_refused_on_the_command_line_and_warned_about_elsewhere() {
    let cloud = Cloud::of(1, 100);
    let ended = cloud.folder.ask(&cloud.fifo, &["reconcile", "--notify-url", "hunter2:x"]).code(64);
    assert!(ended.err.contains("--notify-url cannot be used"), "{}", ended.err);
    assert!(!ended.err.contains("hunter2"), "{}", ended.err);
    assert_eq!(cloud.fifo.asked(), [""; 0]);
    let ended = asked(&cloud, &["reconcile"], &[("FIFO_RETAIN_PING_URL", "hunter2")]).code(0);
    assert!(ended.err.contains("warning: FIFO_RETAIN_PING_URL cannot be used"), "{}", ended.err);
    assert!(!ended.err.contains("hunter2"), "{}", ended.err);
    cloud.is_done();
}

#[test]
fn without_certificates_nobody_is_notified_and_the_backups_are_made() {
    let cloud = Cloud::of(1, 100);
    let line = ["reconcile", "--notify-url", "https://127.0.0.1:1/hunter2"];
    // Only the address needs certificates: this FiFo is asked by plain HTTP.
    let none = [("SSL_CERT_FILE", "no-such-file"), ("SSL_CERT_DIR", "no-such-folder")];
    let ended = asked(&cloud, &line, &none).code(0);
    let warning = "warning: nothing can be sent to https://127.0.0.1:1/…: ";
    let output = ended.err.lines().find(|line| line.starts_with(warning));
    assert!(output.is_some_and(|line| line.ends_with("; nothing is sent there")), "{}", ended.err);
    assert!(!ended.err.contains("hunter2"), "{}", ended.err);
    cloud.is_done();
}

#[test]
fn a_redirect_is_not_followed() {
    let (cloud, hook) =
        (Cloud::of(1, 100), Listener::answering("307 Temporary Redirect\r\nlocation: /other"));
    let ended = cloud.folder.ask(&cloud.fifo, &["reconcile", "--notify-url", &hook.url("/hook")]).code(0);
    assert!(ended.err.contains("answered 307"), "{}", ended.err);
    assert_eq!(hook.lines(), ["POST /hook"]);
}

#[test]
fn a_run_that_is_cut_off_is_no_success() {
    let (cloud, monitor) = (Cloud::of(1, 60_000), Listener::answering("200 OK"));
    let run =
        Running::start(cloud.folder.asking(&cloud.fifo, &["reconcile", "--ping-url", &monitor.url("/p")]));
    until("an upload", || (cloud.asked().get("POST") >= Some(&1)).then_some(()));
    std::thread::sleep(std::time::Duration::from_millis(300));
    run.signal("TERM");
    run.end().code(143);
    let came = monitor.came();
    assert_eq!(came.last().unwrap().line, "POST /p/fail");
    assert!(came.last().unwrap().body.starts_with("reconcile: interrupted (exit code 143)."), "{came:?}");
}

#[test]
fn a_signal_while_reporting_ends_it() {
    for command in [&["reconcile"][..], &["apply", "--auto-approve"]] {
        let (cloud, silent) = (Cloud::of(1, 100), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let url = format!("http://{}/hook", silent.local_addr().unwrap());
        let line = [command, &["--notify-url", &url]].concat();
        let run = Running::start(cloud.folder.asking(&cloud.fifo, &line));
        // The server accepts the connection and never answers.
        let _connection = silent.accept().unwrap();
        run.signal("INT");
        let ended = run.end().code(0);
        let warning = "warning: stopped by a signal: the remaining reports of the run are not sent";
        assert!(ended.err.contains(warning), "{command:?}\n{}", ended.err);
        cloud.is_done();
    }
}

#[test]
fn apply_reports_too_and_a_declined_plan_is_no_run() {
    let (cloud, hook) = (Cloud::of(1, 100), Listener::answering("200 OK"));
    let url = hook.url("/hook");
    // Without a terminal no question can be asked: no run, nothing to report.
    cloud.folder.ask(&cloud.fifo, &["apply", "--notify-url", &url]).code(64);
    assert_eq!(hook.lines(), [""; 0]);
    cloud.folder.ask(&cloud.fifo, &["plan", "--out", "plan.json"]).code(0);
    cloud.folder.ask(&cloud.fifo, &["apply", "plan.json", "--notify-url", &url]).code(0);
    let output: Value = serde_json::from_str(&hook.came()[0].body).unwrap();
    assert_eq!((&output["command"], &output["actions"]["created"]), (&"apply".into(), &1.into()));
}

#[test]
fn an_alias_stays_what_it_is_in_every_form() {
    let cloud = Cloud::of(1, 100);
    let alias = "a\"} 1\nfifo_retain_vm_safe 7\\<script>\u{1b}[2J\u{202e}";
    cloud.fifo.running().with(|state| {
        let fields = &mut state.world.vms.get_mut(&cloud.vms[0].id).unwrap().fields;
        fields.insert("alias".to_owned(), Value::from(alias));
    });
    let hook = Listener::answering("200 OK");
    let line = ["reconcile", "--metrics-file", "run.prom", "--notify-url", &hook.url("/hook")];
    cloud.folder.ask(&cloud.fifo, &line).code(0);
    let metrics = Exposition::read(&cloud.folder.read("run.prom"));
    assert_eq!(metrics.of("fifo_retain_vm_safe").len(), 1);
    serde_json::from_str::<Value>(&hook.came()[0].body).unwrap();
}
