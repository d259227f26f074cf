//! The sandbox as a client meets it, over a plain socket: what FiFo does that the recorded exchanges do not show.

use crate::raw_http::{self, Connection};
use crate::sandbox_lab::{LOCAL, Lab};
use fifo_retain::sandbox::{Effect, Operation, Options, Rule, Sandbox, Seed};
use serde_json::json;
use std::time::{Duration, Instant};

// ---- Deleting ------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn only_exactly_the_one_body_is_a_local_delete_and_all_else_takes_the_chain() {
    let local = [LOCAL, " {\n\t\"location\" : \"hypervisor\" }\r\n", r#"{"\u006cocation":"hypervisor"}"#];
    let cloud = [
        None,
        Some(""),
        Some("{}"),
        Some("null"),
        Some("[]"),
        Some(r#"[{"location":"hypervisor"}]"#),
        Some(r#"{"location":"hypervisor""#),
        Some(r#"{"location":"hypervisor"}}"#),
        Some(r#"{"location":"hypervisor","force":true}"#),
        Some(r#"{"Location":"hypervisor"}"#),
        Some(r#"{"location":"Hypervisor"}"#),
        Some(r#"{"location":"HYPERVISOR"}"#),
        Some(r#"{"location":"hypervisor "}"#),
        Some(r#"{"location":"cloud"}"#),
        Some(r#"{"location":null}"#),
        Some(r#"{"location":["hypervisor"]}"#),
        Some(r#"{"location":{"hypervisor":true}}"#),
        Some(r#""hypervisor""#),
        Some("location=hypervisor"),
        Some("'{\"location\":\"hypervisor\"}'"),
    ];
    let lab = Lab::start().await;
    let first = lab.made("monthly", None);
    lab.made("weekly", Some(&first));
    let world = lab.running.with(|state| state.world.clone());
    let cases = local.iter().map(|body| (Some(*body), 2)).chain(cloud.map(|body| (body, 0)));
    for (body, left) in cases {
        lab.running.with(|state| state.world = world.clone());
        assert_eq!(lab.delete(&first, body), Some(204), "{body:?}");
        assert_eq!(lab.count(), left, "{body:?}");
        if left > 0 {
            assert_eq!((lab.record(&first).local, lab.record(&first).local_size), (Some(false), Some(0)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_delete_whose_body_gets_lost_on_the_way_takes_the_chain() {
    let lab = Lab::start().await;
    let first = lab.made("monthly", None);
    lab.made("weekly", Some(&first));
    let world = lab.running.with(|state| state.world.clone());

    // A body without a content-length is none, chunked or not.
    let head = String::from_utf8(lab.request("DELETE", &lab.path_of(&first), None)).unwrap();
    let head = head.trim_end();
    let chunked = format!("{head}\r\ntransfer-encoding: chunked\r\n\r\n19\r\n{LOCAL}\r\n0\r\n\r\n");
    let bare = format!("{head}\r\nconnection: close\r\n\r\n{LOCAL}");
    for request in [chunked, bare] {
        lab.running.with(|state| state.world = world.clone());
        let answer = raw_http::ask(lab.running.address(), request.as_bytes()).unwrap().unwrap();
        assert_eq!((answer.status, lab.count()), (204, 0), "{request}");
    }

    lab.running.with(|state| state.world = world);
    lab.disturb(Rule::new(Effect::DropBody).on(Operation::Delete));
    assert_eq!((lab.delete(&first, Some(LOCAL)), lab.count()), (Some(204), 0));
}

// ---- Signing in ----------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expires_and_signing_in_again_helps() {
    let mut lab = Lab::start().await;
    assert_eq!(lab.status("GET", "vms", None), Some(200));
    lab.wait(3600);
    let expired = lab.ask("GET", "vms", None).unwrap();
    assert_eq!((expired.status, expired.body.len()), (401, 0));

    let form = "grant_type=password&username=admin&password=admin";
    let granted = lab.ask("POST", "oauth/token", Some(form)).unwrap().json();
    assert_eq!(granted["expires_in"], 3600);
    lab.token = granted["access_token"].as_str().unwrap().to_owned();
    assert_eq!(lab.status("GET", "vms", None), Some(200));

    for wrong in
        ["grant_type=password&username=admin&password=no", "grant_type=password&username=x&password=x", ""]
    {
        let refused = lab.ask("POST", "oauth/token", Some(wrong)).unwrap();
        assert_eq!(refused.status, 400, "{wrong}");
        assert!(refused.json()["error"].is_string());
    }
}

// ---- Connections ---------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_and_closed_when_it_is_idle() {
    let lab = Lab::start_with(Options { idle_close: Duration::from_millis(200), ..Options::default() }).await;
    let mut connection = Connection::open(lab.running.address());
    let request = lab.request("GET", "cloud/connection", None);
    for _ in 0..3 {
        assert_eq!(connection.ask(&request).unwrap().unwrap().status, 200);
    }
    let since = Instant::now();
    assert!(connection.is_closed_within(Duration::from_secs(5)));
    assert!(since.elapsed() > Duration::from_millis(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_closed_after_a_hundred_requests() {
    let lab = Lab::start().await;
    let mut connection = Connection::open(lab.running.address());
    let request = lab.request("GET", "cloud/connection", None);
    for number in 1..=100 {
        let answer = connection.ask(&request).unwrap().unwrap();
        assert_eq!(answer.header("connection").is_some(), number == 100, "{number}");
    }
    assert!(connection.is_closed_within(Duration::from_secs(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_500_the_connection_is_closed_without_a_word() {
    let lab = Lab::start().await;
    let mut connection = Connection::open(lab.running.address());
    let answer = connection.ask(&lab.request("GET", "vms/short", None)).unwrap().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (500, None));
    assert!(connection.is_closed_within(Duration::from_secs(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_is_refused_and_the_next_one_is_served() {
    let lab = Lab::start().await;
    let large_head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(70 << 10));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(65));
    let junk: [(&[u8], Option<u16>); 7] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Some(400)),
        (b"GET\r\n\r\n", Some(400)),
        (b"POST /api/3/vms HTTP/1.1\r\ncontent-length: -1\r\n\r\n", Some(400)),
        (b"POST /api/3/vms HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n", Some(400)),
        (b"POST /api/3/vms HTTP/1.1\r\ncontent-length: 999999999\r\n\r\n", Some(413)),
        (large_head.as_bytes(), Some(431)),
        (many_headers.as_bytes(), Some(400)),
    ];
    for (bytes, status) in junk {
        // A reset may overtake the answer where not everything was read.
        if let Ok(answer) = raw_http::ask(lab.running.address(), bytes) {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
            assert_eq!(answer.map(|answer| answer.status), status, "{start}");
        }
        assert_eq!(lab.status("GET", "vms", None), Some(200));
    }
}

// ---- Disturbances --------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_late_garbled_or_with_another_date() {
    let lab = Lab::start().await;
    lab.disturb_once(Effect::Delay { ms: 300 });
    let since = Instant::now();
    assert_eq!(lab.status("GET", "vms", None), Some(200));
    assert!(since.elapsed() >= Duration::from_millis(300));

    let html = "<html>Bad gateway</html>".to_owned();
    lab.disturb_once(Effect::Garble { body: html.clone(), content_type: Some("text/html".to_owned()) });
    let garbled = lab.ask("GET", "vms", None).unwrap();
    assert_eq!((garbled.status, garbled.header("content-type")), (200, Some("text/html")));
    assert_eq!(garbled.body, html.as_bytes());

    let date = |lab: &Lab| lab.ask("GET", "vms", None).unwrap().header("date").unwrap().to_owned();
    assert_eq!(date(&lab), "Sun, 22 Nov 2026 21:36:42 GMT");
    lab.disturb_once(Effect::ShiftDate { seconds: -7200 });
    assert_eq!(date(&lab), "Sun, 22 Nov 2026 19:36:42 GMT");
}

// ---- Controls and the state file -----------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn the_controls_take_rules_and_scripts_and_report_what_was_asked() {
    let lab = Lab::start().await;
    let control = |method: &str, path: &str, body: &str| {
        let request =
            format!("{method} /_sandbox/{path} HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        raw_http::ask(lab.running.address(), request.as_bytes()).unwrap().unwrap()
    };
    let rule =
        r#"{"when": {"operation": "list"}, "effect": {"answer": {"status": 429, "retry_after_s": 3}}}"#;
    assert_eq!(control("POST", "faults", &format!("[{rule}]")).status, 200);
    let refused = lab.ask("GET", "vms", None).unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("3")));
    assert_eq!(control("DELETE", "faults", "").status, 200);
    assert_eq!(lab.status("GET", "vms", None), Some(200));

    let script = r#"{"outcome": "hollow", "upload_ms": 1000}"#;
    assert_eq!(control("POST", &format!("vms/{}/scripts", lab.vm), script).json(), json!({"scripts": 1}));
    let hollow = lab.made("monthly", None);
    let backups = lab.backups();
    let file = backups[&hollow]["files"].as_object().unwrap().values().next().unwrap();
    assert_eq!((&backups[&hollow]["state"], &file["size"]), (&json!("completed"), &json!(51)));

    let world = control("GET", "world", "").json();
    assert_eq!(world["vms"].as_object().unwrap().len(), 1);
    let asked = control("GET", "requests", "").json();
    assert_eq!(asked[0], json!({"method": "GET", "target": "/api/3/vms", "status": 429}));

    assert_eq!(control("POST", "faults", "{").status, 400);
    assert_eq!(control("POST", "faults", r#"{"effect": "explode"}"#).status, 400);
    assert_eq!(control("POST", "vms/short/scripts", script).status, 404);
    assert_eq!(control("GET", "elsewhere", "").status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_world_outlives_the_sandbox_and_uploads_go_on_in_the_meantime() {
    let folder = tempfile::tempdir().unwrap();
    let state_file = folder.path().join("state/sandbox.json");
    let options = Options { state_file: Some(state_file.clone()), ..Options::default() };
    let lab = Lab::start_with(options.clone()).await;
    assert_eq!(lab.create(&json!({"comment": "monthly"})), Some(303));
    // Killed, not stopped: what was answered is on the disk.
    let (clock, vm, token) = (lab.clock.clone(), lab.vm, lab.token.clone());
    drop(lab);
    clock.advance_us(101_000_000);

    let running = Sandbox::start(Options { clock: clock.clone(), ..options.clone() }).await.unwrap();
    let lab = Lab { running, clock: clock.clone(), vm, token };
    let backups = lab.backups();
    let backup = backups.as_object().unwrap().values().next().unwrap();
    assert_eq!((&backup["state"], &backup["local"]), (&json!("completed"), &json!(true)));
    lab.running.stop().await.unwrap();

    let fresh = Sandbox::start(Options { fresh: true, clock, ..options }).await.unwrap();
    assert_eq!(fresh.with(|state| state.world.vms.len()), Seed::default().vms);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_start_where_others_could_reach_it_or_on_another_file() {
    let everywhere = Options { listen: "0.0.0.0:0".parse().unwrap(), ..Options::default() };
    let error = Sandbox::start(everywhere).await.unwrap_err().to_string();
    assert!(error.contains("loopback"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("world.json");
    std::fs::write(&path, "{\"some\": \"thing\"}").unwrap();
    let options = Options { state_file: Some(path.clone()), ..Options::default() };
    let error = Sandbox::start(options).await.unwrap_err().to_string();
    assert!(error.contains("world.json"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"some\": \"thing\"}");
}
