//! Lists of VMs that break off, or have a VM twice: each VM is planned as it comes in, and that must be taken back.

use crate::harness::{Ended, Folder};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

const POLICY: &str = "version: 1
policy: daily
select: { all: true }
tiers:
  - { name: daily, schedule: \"0 1 * * *\", type: full }
";

/// A VM that has no backup yet, so that one is due.
fn vm(n: u8) -> String {
    format!(
        r#"{{"uuid": "11111111-0000-4000-8000-{n:012}", "alias": "vm-{n}", "hypervisor": "hv-1", "state": "running", "backups": {{}}}}"#
    )
}

/// Serves these bodies, one after the other, and the last one again and again; returns the address.
fn serving(bodies: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let body = &bodies[number.min(bodies.len() - 1)];
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    endpoint
}

fn json(endpoint: &str, command: &str) -> Value {
    let folder = Folder::empty();
    folder.write("policies/daily.yaml", POLICY);
    let mut command = folder.command(&["--endpoint", endpoint, "--format", "json", command]);
    command.env("FIFO_TOKEN", "token");
    serde_json::from_str(&Ended::of(command).code(0).out).unwrap()
}

fn states(json: &Value, field: &str) -> Vec<String> {
    let of = |vm: &Value| format!("{} {}", vm["alias"].as_str().unwrap(), vm[field].as_str().unwrap());
    json["vms"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn what_a_list_had_before_it_broke_off_is_forgotten() {
    let cut = format!("[{},{},{}", vm(1), vm(3), r#"{"uuid": "22222222-0"#);
    let whole = format!("[{},{}]", vm(3), vm(2));
    for command in ["plan", "status"] {
        let json = json(&serving(vec![cut.clone(), whole.clone()]), command);
        let field = if command == "plan" { "status" } else { "verdict" };
        let expected = if command == "plan" { "changes" } else { "no_backup" };
        assert_eq!(states(&json, field), [format!("vm-2 {expected}"), format!("vm-3 {expected}")]);
        if command == "plan" {
            assert_eq!(json["summary"]["create"], 2);
        }
    }
}

#[test]
fn what_was_decided_for_a_vm_that_comes_a_second_time_is_taken_back() {
    let list = format!("[{},{},{},{}]", vm(1), vm(2), vm(1), vm(1));
    let plan = json(&serving(vec![list.clone()]), "plan");
    assert_eq!(states(&plan, "status"), ["vm-1 unreadable", "vm-2 changes"]);
    assert_eq!((&plan["summary"]["create"], &plan["summary"]["unreadable"]), (&1.into(), &1.into()));
    assert_eq!(plan["vms"][0]["actions"], Value::Array(Vec::new()));
    let status = json(&serving(vec![list]), "status");
    assert_eq!(states(&status, "verdict"), ["vm-1 unreadable", "vm-2 no_backup"]);
}
