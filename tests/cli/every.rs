//! `reconcile --every`: the process stays, whatever happens to it.

use crate::cloud::Cloud;
use crate::exposition::Exposition;
use crate::harness::{Ended, GRANDFATHER};
use crate::running::Running;
use crate::safety_stop::with_a_bad_proxy;
use crate::web::{Listener, got, until};
use fifo_retain::sandbox::Effect;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

/// The program, repeating.
struct Loop {
    run: Running,
    address: SocketAddr,
}

impl Loop {
    fn start(cloud: &Cloud, every: &str) -> Self {
        Self::with(cloud, every, &[], |_| {})
    }

    fn with(cloud: &Cloud, every: &str, more: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let line =
            [&["--state-dir", "state", "reconcile", "--every", every, "--listen", "127.0.0.1:0"], more]
                .concat();
        let mut command = cloud.folder.asking(&cloud.fifo, &line);
        change(&mut command);
        let run = Running::start(command);
        let address = address_of(&run);
        Self { run, address }
    }

    fn healthz(&self) -> Option<(u16, String)> {
        got(self.address, "/healthz")
    }

    /// Waits until health has such a status and words.
    #[track_caller]
    fn until_health(&self, status: u16, words: &str) -> String {
        until(&format!("{status} with {words}"), || {
            self.healthz().filter(|(it, body)| *it == status && body.contains(words)).map(|(_, body)| body)
        })
    }

    fn metrics(&self) -> Option<Exposition> {
        got(self.address, "/metrics").map(|(_, text)| Exposition::read(&text))
    }

    /// Returns how many runs have ended so far, in whatever way.
    fn runs(&self) -> u64 {
        let runs = self
            .metrics()
            .map(|metrics| metrics.of("fifo_retain_runs_total").iter().map(|(_, count)| *count as u64).sum());
        runs.unwrap_or(0)
    }

    fn end(self, signal: &str) -> Ended {
        self.run.signal(signal);
        self.run.end()
    }
}

/// Waits for the line with the address that the system has chosen.
#[track_caller]
fn address_of(run: &Running) -> SocketAddr {
    until("an address", || {
        let err = run.err();
        err.split("http://").find_map(|text| text.split('/').next()?.parse().ok())
    })
}

#[test]
fn it_repeats_and_ends_cleanly_on_a_signal_between_two_runs() {
    for signal in ["TERM", "INT"] {
        let cloud = Cloud::of(1, 100);
        let run = Loop::start(&cloud, "1s");
        until("three runs", || (run.runs() >= 3).then_some(()));
        let metrics = run.metrics().unwrap();
        assert!(metrics.get("fifo_retain_runs_total{outcome=\"done\"}").unwrap() >= 3.0);
        assert_eq!(metrics.get("fifo_retain_actions_total{action=\"create\",outcome=\"done\"}"), Some(1.0));
        until("a pause", || run.metrics()?.get("fifo_retain_next_run_timestamp_seconds"));
        let ended = run.end(signal).code(0);
        assert!(ended.out.contains("\nDone: 1 created, 1 deleted locally.\n"), "{}", ended.out);
        assert!(ended.err.contains("the next run begins at "), "{}", ended.err);
        cloud.is_done();
    }
}

#[test]
fn the_reported_state_of_vms_is_the_one_after_the_run() {
    let cloud = Cloud::of(1, 100);
    let run = Loop::start(&cloud, "1h");
    until("a run", || (run.runs() == 1).then_some(()));
    let metrics = run.metrics().unwrap();
    assert_eq!(metrics.of("fifo_retain_vm_safe")[0].1, 1.0, "it was too old before the run");
    let time = |what: &str| metrics.get(&format!("fifo_retain_{what}_timestamp_seconds")).unwrap();
    let began = time("last_run") - metrics.get("fifo_retain_last_run_duration_seconds").unwrap();
    let after = time("next_run") - began;
    assert!((3_599.0..=3_961.0).contains(&after), "an hour, and up to a tenth later: {after}");
    let (status, page) = got(run.address, "/").unwrap();
    assert_eq!(status, 200);
    for word in ["Last run: done", "vm-1", "safe", "backup ", " is complete"] {
        assert!(page.contains(word), "{word} is not in\n{page}");
    }
    let (status, page) = got(run.address, &format!("/vm/{}", cloud.vms[0].id)).unwrap();
    assert!(status == 200 && page.contains("create, done: backup "), "{status}\n{page}");
    assert_eq!(got(run.address, "/vm/00000000-0000-4000-8000-000000000000").unwrap().0, 404);
    run.end("TERM").code(0);
}

#[test]
fn the_plan_is_shown_again_only_when_it_has_changed() {
    let cloud = Cloud::of(1, 100);
    let line = ["reconcile", "--every", "1s", "--metrics-file", "run.prom"];
    let run = Running::start(cloud.folder.asking(&cloud.fifo, &line));
    until("a fourth run", || (run.err().matches("the next run begins").count() >= 4).then_some(()));
    run.signal("TERM");
    let ended = run.end();
    assert_eq!(ended.out.matches("\nPlan: 1 to create").count(), 1, "{ended:?}");
    assert_eq!(ended.out.matches("Plan: 0 to create").count(), 1, "{ended:?}");
    assert!(ended.out.matches("Done: 0 created").count() >= 2, "{ended:?}");
}

#[test]
fn a_run_longer_than_the_interval_is_followed_by_the_next_and_never_overlapped() {
    let cloud = Cloud::of(1, 2_500);
    let run = Loop::start(&cloud, "1s");
    until("two runs", || (run.runs() >= 2).then_some(()));
    let ended = run.end("TERM");
    // One create, by the first run; the second found it done.
    assert_eq!(ended.out.matches("Done: 1 created").count(), 1, "{}", ended.out);
    assert!(!ended.err.contains("another run"), "{}", ended.err);
    assert_eq!(cloud.asked().get("POST"), Some(&1));
    cloud.is_done();
}

#[test]
fn bad_policies_are_reported_prevent_the_run_and_end_nothing() {
    let cloud = Cloud::of(1, 100);
    let good = cloud.folder.read("policies/grandfather.yaml");
    cloud.folder.write("policies/grandfather.yaml", &GRANDFATHER.replace("tiers", "tears"));
    let run = Loop::start(&cloud, "1s");
    until("two failures", || (run.runs() >= 2).then_some(()));
    assert_eq!(cloud.fifo.asked(), [""; 0], "FiFo was not asked anything");
    let body = run.until_health(503, "in the policies");
    assert!(body.starts_with("no run that carried out its plan has ended for "), "{body}");
    assert_eq!(body.lines().count(), 1, "{body}");
    let page = got(run.address, "/").unwrap().1;
    assert!(page.contains("Last run: failed") && page.contains("in the policies"), "{page}");
    cloud.folder.write("policies/grandfather.yaml", &good);
    run.until_health(200, "ok: the last run that carried out its plan ended ");
    let ended = run.end("TERM");
    assert!(ended.err.contains("tears"), "the mistake is shown with its place:\n{}", ended.err);
    cloud.is_done();
}

#[test]
fn a_fifo_that_is_down_is_outlived_and_what_was_known_stays() {
    let cloud = Cloud::of(1, 100);
    let run = Loop::with(&cloud, "1s", &["--timeout", "1s"], |_| {});
    until("a run", || (run.runs() >= 1).then_some(()));
    cloud.fifo.disturb(Effect::Answer { status: 503, retry_after_s: None, location: None });
    let metrics = until("a failure", || {
        run.metrics().filter(|it| it.get("fifo_retain_last_run_exit_code") == Some(1.0))
    });
    assert_eq!(metrics.of("fifo_retain_vm_safe").len(), 1);
    run.until_health(503, "FiFo answered 503");
    assert_eq!(got(run.address, "/vm/00000000-0000-4000-8000-000000000000").unwrap().0, 503);
    cloud.fifo.running().with(|state| state.faults.rules.clear());
    run.until_health(200, "ok: ");
    run.end("TERM");
}

#[test]
fn another_run_may_come_between_and_one_that_comes_upon_it_waits_for_the_next_time() {
    let cloud = Cloud::of(1, 60_000);
    let mut other = Running::start(
        cloud.folder.asking(&cloud.fifo, &["--format", "json", "--state-dir", "state", "reconcile"]),
    );
    other.until("accepted");
    cloud.folder.write("run.prom", "what is good");
    let run = Loop::with(&cloud, "1s", &["--metrics-file", "run.prom"], |_| {});
    until("a run that found the lock", || run.metrics()?.get("fifo_retain_runs_total{outcome=\"locked\"}"));
    assert_eq!(cloud.folder.read("run.prom"), "what is good");
    cloud.end_uploads();
    other.end().code(0);
    until("a run that found none", || run.metrics()?.get("fifo_retain_runs_total{outcome=\"done\"}"));
    let ended = run.end("TERM");
    assert!(ended.err.contains("is under way: process"), "{}", ended.err);
    cloud.folder.ask(&cloud.fifo, &["--state-dir", "state", "reconcile"]).code(0);
    cloud.is_done();
}

#[test]
fn with_sighup_the_policies_are_read_and_a_run_begins_at_once() {
    let cloud = Cloud::of(1, 100);
    let good = cloud.folder.read("policies/grandfather.yaml");
    let run = Loop::start(&cloud, "1h");
    until("the first run", || (run.runs() == 1).then_some(()));
    cloud.folder.write("policies/grandfather.yaml", "policy: half\n");
    run.run.signal("HUP");
    until("a failure", || run.metrics()?.get("fifo_retain_runs_total{outcome=\"failed\"}"));
    run.until_health(200, "; the last one: reconcile: failed (exit code 1).");
    cloud.folder.write("policies/grandfather.yaml", &good);
    run.run.signal("HUP");
    until("it is mended", || {
        (run.metrics()?.get("fifo_retain_runs_total{outcome=\"done\"}") == Some(2.0)).then_some(())
    });
    run.end("TERM").code(0);
}

#[test]
fn sighup_in_the_middle_of_a_run_lets_it_end_and_has_another_follow() {
    let cloud = Cloud::of(1, 60_000);
    let run = Loop::start(&cloud, "1h");
    until("an upload", || (cloud.asked().get("POST") >= Some(&1)).then_some(()));
    run.run.signal("HUP");
    cloud.end_uploads();
    until("two runs", || (run.runs() == 2).then_some(()));
    let ended = run.end("TERM").code(0);
    assert!(ended.err.contains("SIGHUP: the next run begins by the new policies"), "{}", ended.err);
    cloud.is_done();
}

#[test]
fn an_address_in_a_file_that_comes_later_is_reported_from_then_on() {
    let (cloud, hook) = (Cloud::of(1, 100), Listener::answering("200 OK"));
    let path = cloud.folder.path("url");
    let run = Loop::with(&cloud, "1s", &[], |command| {
        command.env("FIFO_RETAIN_NOTIFY_URL_FILE", &path);
    });
    until("a run", || (run.runs() >= 1).then_some(()));
    assert_eq!(hook.lines(), [""; 0]);
    cloud.folder.write("url", &hook.url("/hook"));
    until("a notification", || hook.lines().into_iter().find(|line| line == "POST /hook"));
    let ended = run.end("TERM");
    assert!(ended.err.contains("warning: failed to read "), "{}", ended.err);
}

#[test]
fn interrupted_in_the_middle_of_a_run_it_reports_what_keeps_running() {
    let cloud = Cloud::of(1, 60_000);
    let line = ["--format", "json", "reconcile", "--every", "1h"];
    let mut run = Running::start(cloud.folder.asking(&cloud.fifo, &line));
    run.until("accepted");
    run.signal("TERM");
    let ended = run.end().code(143);
    for word in ["nothing new is started", "is still running in FiFo", "\"event\":\"finished\""] {
        assert!(ended.out.contains(word), "{word} is not in\n{}", ended.out);
    }
}

#[test]
fn backups_that_vanished_are_shown_until_somebody_has_seen_it_and_no_run_begins_in_the_meantime() {
    let cloud = with_a_bad_proxy();
    let run = Loop::start(&cloud, "1s");
    let body = run.until_health(503, "safety stop: no further run begins");
    assert!(body.contains("; the last one: reconcile: safety_stop (exit code 4)."), "{body}");
    run.run.signal("HUP");
    until("an answer", || run.run.err().contains("SIGHUP: no run begins").then_some(()));
    let metrics = run.metrics().unwrap();
    assert_eq!(metrics.get("fifo_retain_last_run_vanished_backups"), Some(2.0));
    assert_eq!(metrics.get("fifo_retain_runs_total{outcome=\"safety_stop\"}"), Some(1.0));
    assert_eq!(metrics.get("fifo_retain_next_run_timestamp_seconds"), None);
    let page = got(run.address, "/").unwrap().1;
    for word in ["Last run: safety stop", "No further run begins", "backups have vanished after"] {
        assert!(page.contains(word), "{word} is not in\n{page}");
    }
    // Longer than an interval and its chance.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(run.runs(), 1);
    assert_eq!(metrics.get("fifo_retain_safety_stop"), Some(1.0));
    run.end("TERM").code(4);
    assert_eq!(cloud.deletes().len(), 1);
}

#[test]
fn started_after_backups_vanished_it_shows_that_and_waits_until_a_person_has_said_so() {
    let cloud = with_a_bad_proxy();
    cloud.folder.ask(&cloud.fifo, &["--state-dir", "state", "reconcile"]).code(4);
    cloud.fifo.running().with(|state| {
        state.faults.rules.clear();
        state.requests.clear();
    });
    // Without a page there is nothing to stay for.
    cloud.folder.ask(&cloud.fifo, &["--state-dir", "state", "reconcile", "--every", "1s"]).code(4);

    let run = Loop::start(&cloud, "1s");
    let body = run.until_health(503, "then run `fifo-retain resume`");
    assert!(body.contains("; the last one: reconcile: safety_stop (exit code 4)."), "{body}");
    assert_eq!(run.metrics().unwrap().get("fifo_retain_safety_stop"), Some(1.0));
    let page = got(run.address, "/").unwrap().1;
    assert!(
        page.contains("No further run begins") && page.contains("after the local delete of backup"),
        "{page}"
    );
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!((run.runs(), cloud.fifo.asked()), (1, Vec::<String>::new()));

    cloud.folder.ask(&cloud.fifo, &["--state-dir", "state", "resume", "--auto-approve"]).code(0);
    until("a run", || run.metrics()?.get("fifo_retain_runs_total{outcome=\"done\"}"));
    run.until_health(200, "ok: ");
    assert_eq!(run.metrics().unwrap().get("fifo_retain_safety_stop"), Some(0.0));
    run.end("TERM");
}

#[test]
fn what_is_served_is_of_the_last_run_that_has_ended() {
    let cloud = Cloud::of(1, 60_000);
    let run = Loop::start(&cloud, "1s");
    until("an upload", || (cloud.asked().get("POST") >= Some(&1)).then_some(()));
    let metrics = run.metrics().unwrap();
    assert_eq!(metrics.get("fifo_retain_run_under_way"), Some(1.0));
    assert_eq!(metrics.of("fifo_retain_vm_safe"), [], "no run has ended");
    assert!(got(run.address, "/").unwrap().1.contains("No run has ended yet"));
    cloud.end_uploads();
    until("the end of the run", || (run.runs() >= 1).then_some(()));
    let read = run.metrics().unwrap();
    assert_eq!(read.of("fifo_retain_vm_safe")[0].1, 1.0);

    // A user who may no longer see anything sees an empty list, which is never accepted.
    cloud.fifo.running().with(|state| state.world.vms.clear());
    until("a word about it", || run.run.err().contains("shows this user no VM at all").then_some(()));
    assert_eq!(run.metrics().unwrap().of("fifo_retain_vm_safe").len(), 1);
    run.end("KILL");
}

#[test]
fn the_service_manager_is_notified_and_its_watchdog_fed() {
    let cloud = Cloud::of(1, 1_000);
    let path = cloud.folder.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let run = Loop::with(&cloud, "1h", &[], |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    });
    let output = |wanted: &[&str]| {
        let mut output = String::new();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !wanted.iter().all(|word| output.contains(word)) {
            assert!(Instant::now() < deadline, "not all of {wanted:?} came:\n{output}");
            let mut bytes = [0; 4096];
            let length = socket.recv(&mut bytes).unwrap();
            output.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        output
    };
    let first = output(&["READY=1", "STATUS=a run is under way"]);
    assert!(!first.contains("RELOADING"), "{first}");
    assert!(run.healthz().is_some(), "it is ready when its page can be asked for");
    // The watchdog is fed in the middle of the upload as well, often enough.
    let until_end = output(&["STATUS=the next run begins at "]);
    assert!(until_end.matches("WATCHDOG=1").count() >= 3, "{until_end}");
    run.run.signal("HUP");
    let reload = output(&["RELOADING=1", "READY=1"]);
    assert!(reload.contains("MONOTONIC_USEC="), "{reload}");
    assert!(reload.find("RELOADING=1") < reload.find("READY=1"), "{reload}");
    until("the second run", || (run.runs() == 2).then_some(()));
    run.run.signal("TERM");
    output(&["STOPPING=1"]);
    run.run.end().code(0);
}

#[test]
fn an_address_that_is_taken_is_reported_before_anything_is_done() {
    let cloud = Cloud::of(1, 100);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = ["reconcile", "--every", "1h", "--listen", &address];
    let ended = cloud.folder.ask(&cloud.fifo, &line).code(1);
    assert!(ended.err.contains(&format!("failed to listen on {address}")), "{}", ended.err);
    assert_eq!(cloud.fifo.asked(), [""; 0]);
}

#[test]
fn nothing_that_is_served_changes_anything_and_strangers_are_warned_about() {
    let cloud = Cloud::of(1, 100);
    let run = Loop::start(&cloud, "1h");
    until("a run", || (run.runs() == 1).then_some(()));
    let asked = cloud.fifo.asked();
    for path in ["/", "/metrics", "/healthz"] {
        assert_eq!(got(run.address, path).unwrap().0, 200);
    }
    for path in ["/reconcile", "/../etc/passwd", "/metrics/"] {
        assert_eq!(got(run.address, path).unwrap().0, 404, "{path}");
    }
    assert_eq!(cloud.fifo.asked(), asked);
    let output = run.end("TERM").code(0).err;
    assert!(!output.contains("can be reached from other machines"), "{output}");

    let line = ["reconcile", "--every", "1h", "--listen", "0.0.0.0:0"];
    let run = Running::start(cloud.folder.asking(&cloud.fifo, &line));
    let address = until("a warning", || {
        let err = run.err();
        err.contains("warning: 0.0.0.0:").then(|| address_of(&run))
    });
    let here = SocketAddr::from(([127, 0, 0, 1], address.port()));
    until("a run", || got(here, "/healthz").filter(|(_, it)| it.contains("ended")));
    run.signal("TERM");
    let output = run.end().err;
    assert!(output.contains(&format!("warning: {address} can be reached from other machines")), "{output}");
}
