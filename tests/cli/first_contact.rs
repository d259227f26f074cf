//! Addresses at which there is no FiFo: said in a sentence, at once, except for a service.

use crate::harness::{Ended, Folder};
use crate::raw_server::{Received, Reply, tls};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const CONTACTS: [&[&str]; 4] = [&["plan"], &["status"], &["show", "web-1"], &["apply", "--auto-approve"]];

/// Returns a port at which no process listens: one that was free a moment ago.
fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Runs a command against an endpoint, and returns how long that took.
fn contact(endpoint: &str, line: &[&str], variables: &[(&str, &str)]) -> (Ended, Duration) {
    let folder = Folder::new();
    let mut command = folder.command(&[&["--endpoint", endpoint], line].concat());
    command.env("FIFO_USER", "admin").env("FIFO_PASSWORD", "hunter2").envs(variables.iter().copied());
    let begin = Instant::now();
    let ended = Ended::of(command).code(1);
    assert_eq!(ended.out, "");
    assert!(!ended.err.contains("hunter2"), "{}", ended.err);
    (ended, begin.elapsed())
}

/// Checks that such first contacts fail within ten seconds, with such a message and hint.
#[track_caller]
fn fails(endpoint: &str, lines: &[&[&str]], message: &str, hint: &str) {
    for line in lines {
        let (ended, took) = contact(endpoint, line, &[]);
        let output: Vec<&str> = ended.err.lines().filter(|line| !line.starts_with("warning: ")).collect();
        assert!(output[0].starts_with(&format!("error: {message}")), "{}", ended.err);
        assert!(output.last().unwrap().contains(hint), "{}", ended.err);
        assert!(took < Duration::from_secs(10), "{line:?}: {took:?}\n{}", ended.err);
    }
}

#[test]
fn a_closed_port_is_reported_at_once() {
    let endpoint = format!("http://{}", closed());
    fails(
        &endpoint,
        &CONTACTS,
        &format!("failed to connect to {endpoint}: Connection refused"),
        "hint: check the address",
    );
}

#[test]
fn an_unknown_host_is_reported_at_once() {
    let endpoint = "https://no-such-host.invalid";
    fails(endpoint, &CONTACTS[..1], &format!("failed to connect to {endpoint}: "), "hint: check the address");
}

#[test]
fn a_certificate_that_is_not_trusted_is_reported_at_once() {
    let runtime = Runtime::new().unwrap();
    let (server, _) = runtime.block_on(tls::server(|_: &Received| Reply::Hang));
    let endpoint = format!("https://localhost:{}", server.port);
    fails(&endpoint, &CONTACTS[..1], "failed to sign in: no answer from https://localhost:", "--ca-file");
}

#[test]
fn http_where_tls_was_meant_and_tls_where_http_was_meant_are_reported_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let endpoint = format!("https://{address}");
    fails(&endpoint, &CONTACTS[..1], &format!("what answers at {endpoint} does not speak TLS"), "http://");

    let runtime = Runtime::new().unwrap();
    let (server, _) = runtime.block_on(tls::server(|_: &Received| Reply::Hang));
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    fails(&endpoint, &CONTACTS[..1], &format!("what answers at {endpoint} does not speak HTTP"), "https://");
}

#[test]
fn a_proxy_in_the_environment_is_named() {
    let proxy = format!("http://ann:hunter2@{}", closed());
    let (ended, _) = contact("https://fifo.example.com", &["plan"], &[("HTTPS_PROXY", &proxy)]);
    let place = proxy.split('@').nth(1).unwrap();
    let output =
        format!("failed to connect to https://fifo.example.com through the proxy {place} (HTTPS_PROXY): ");
    assert!(ended.err.starts_with(&format!("error: {output}")), "{}", ended.err);
}

#[test]
fn a_listener_that_never_answers_has_the_whole_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (ended, took) = contact(&endpoint, &["--timeout", "2s", "plan"], &[]);
    assert!(ended.err.contains("failed to read the list of VMs within 2 s"), "{}", ended.err);
    // Pauses are of random length, and none begins that would pass the limit.
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

#[test]
fn under_reconcile_a_closed_port_is_tried_for_the_whole_time() {
    let endpoint = format!("http://{}", closed());
    let (ended, took) = contact(&endpoint, &["--timeout", "4s", "reconcile"], &[]);
    assert!(ended.err.contains("within 4 s, after "), "{}", ended.err);
    // Pauses double from 0.5 s, each up to twice as long at random: only the third can pass the limit.
    assert!(took >= Duration::from_millis(1_500), "{took:?}");
}
