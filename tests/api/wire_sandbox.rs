//! Asks the sandbox what FiFo's own handlers were asked, and compares the answers.

use crate::raw_http::{self, Answer};
use fifo_retain::sandbox::{
    ApiStyle, Clock, EmptyMaps, Options, Record, RunningSandbox, Sandbox, Shape, Snapshot, Stored, User, Vm,
    World,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use uuid::Uuid;

/// Headers of FiFo's that the sandbox leaves out.
const LEFT_OUT: [(&str, &str); 5] = [
    ("access-control-allow-origin", "only browsers look at it"),
    ("access-control-allow-headers", "only browsers look at it"),
    ("access-control-expose-headers", "only browsers look at it"),
    ("access-control-allow-credentials", "only browsers look at it"),
    ("x-snarl-token", "an echo of the request's"),
];

/// Headers whose values cannot be the recorded ones, but have to be there or not to be there.
const ANOTHER_VALUE: [(&str, &str); 2] = [("date", "time goes on"), ("etag", "computed in another way")];

/// Exchanges that differ on purpose, by year, file and header.
const DIFFERENT: [(&str, &str, &str, &str); 2] = [
    (
        "2016",
        "01-token.http",
        "content-length",
        "the token was replaced by a shorter word when it was recorded",
    ),
    ("2015", "28-accept-any.http", "content-length", "the sandbox does not encode MessagePack"),
];

/// Values in bodies that are made anew each time; only their type is compared.
const MADE_ANEW: [&str; 3] = ["timestamp", "sha1", "access_token"];

/// What has to have happened before an exchange is asked again.
fn prepare(name: &str, sandbox: &Sandboxed) {
    let seconds = match name.split_once('-').map(|(_, name)| name) {
        Some("vm-uploading.http") => 15,
        Some("vm-completed.http" | "vm-chain.http") => 100,
        _ => 0,
    };
    sandbox.clock.advance_us(seconds * 1_000_000);
}

struct Sandboxed {
    running: RunningSandbox,
    clock: Clock,
    token: String,
    token_of_the_blind: String,
}

struct Exchange {
    name: String,
    request: String,
    /// `None`: the connection was closed without an answer.
    answer: Option<Answer>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_answers_as_the_handlers_of_july_2015_did() {
    replay("2015", ApiStyle::V2, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_answers_as_the_handlers_of_january_2016_did() {
    replay("2016", ApiStyle::V3, 34).await;
}

async fn replay(year: &str, style: ApiStyle, expected: usize) {
    let exchanges = read_exchanges(year);
    assert_eq!(exchanges.len(), expected, "every recorded exchange is replayed");
    let sandbox = start(style).await;
    let mut ours: BTreeMap<String, String> = BTreeMap::new();
    let mut unused: BTreeSet<&str> =
        DIFFERENT.iter().filter(|(of, ..)| *of == year).map(|(_, name, ..)| *name).collect();
    for exchange in &exchanges {
        let name = format!("{year}/{}", exchange.name);
        prepare(&exchange.name, &sandbox);
        let token =
            if exchange.name.contains("none-visible") { &sandbox.token_of_the_blind } else { &sandbox.token };
        let request = ours.iter().fold(exchange.request.replace("TOKEN", token), |request, (theirs, our)| {
            request.replace(theirs, our)
        });
        let answer = raw_http::ask(sandbox.running.address(), request.as_bytes()).unwrap();
        let (recorded, answer) = match (&exchange.answer, answer) {
            (None, None) => continue,
            (Some(recorded), Some(answer)) => (recorded, answer),
            (recorded, answer) => panic!("{name}: recorded {recorded:?}, answered {answer:?}"),
        };
        learn(recorded, &answer, &sandbox, &mut ours);
        assert_eq!(answer.status, recorded.status, "{name}");
        let different: BTreeSet<&str> = DIFFERENT
            .iter()
            .filter(|(of, file, ..)| *of == year && *file == exchange.name)
            .map(|(_, _, header, _)| *header)
            .collect();
        if !different.is_empty() {
            unused.remove(exchange.name.as_str());
        }
        compare_headers(&name, recorded, &answer, &different, &ours);
        compare_bodies(&name, recorded, &answer, &ours);
    }
    assert_eq!(unused, BTreeSet::new(), "listed as different, but not among the exchanges");
    sandbox.running.stop().await.unwrap();
}

/// Notes what the sandbox calls the things that have other names in the record: ETags and new backups.
fn learn(recorded: &Answer, answer: &Answer, sandbox: &Sandboxed, ours: &mut BTreeMap<String, String>) {
    if let (Some(theirs), Some(our)) = (recorded.header("etag"), answer.header("etag")) {
        ours.insert(theirs.to_owned(), our.to_owned());
    }
    let second = Uuid::parse_str("11111111-0000-4000-8000-000000000002").unwrap();
    let mut new: Vec<(i64, Uuid)> = sandbox.running.with(|state| {
        let backups = state.world.vms[&second].backups.iter();
        backups.filter_map(|(id, record)| Some((record.timestamp?, *id))).collect()
    });
    new.sort_unstable();
    // They were made in this order, in each year.
    let theirs = match sandbox.running.with(|state| state.world.shape.style) {
        ApiStyle::V2 => ["46920b79-45b0-474f-83b8-3fea6e2bcb18", "6cde8491-f5c2-4ecd-8312-5468db5e2e2b"],
        ApiStyle::V3 => ["3080fcf7-fd6e-445e-881e-a2de93176f18", "344cd937-ebbc-4446-8378-02c5893f5728"],
    };
    ours.extend(theirs.iter().zip(new).map(|(theirs, (_, our))| ((*theirs).to_owned(), our.to_string())));
}

fn compare_headers(
    name: &str,
    recorded: &Answer,
    answer: &Answer,
    different: &BTreeSet<&str>,
    ours: &BTreeMap<String, String>,
) {
    let skipped = |header: &str| LEFT_OUT.iter().any(|(name, _)| *name == header);
    let another_value = |header: &str| ANOTHER_VALUE.iter().any(|(name, _)| *name == header);
    let comparable = |answer: &Answer| -> BTreeMap<String, String> {
        let headers = answer
            .headers
            .iter()
            .filter(|(header, _)| !skipped(header) && !different.contains(header.as_str()));
        headers
            .map(|(header, value)| {
                let value = if another_value(header) { String::new() } else { value.clone() };
                (header.clone(), ours.iter().fold(value, |value, (theirs, our)| value.replace(theirs, our)))
            })
            .collect()
    };
    assert_eq!(comparable(answer), comparable(recorded), "{name}");
}

fn compare_bodies(name: &str, recorded: &Answer, answer: &Answer, ours: &BTreeMap<String, String>) {
    if recorded.header("content-type") == Some("application/x-msgpack") {
        // A text of MessagePack, with its length in front of it.
        assert_eq!(answer.body, b"\xbfsend `accept: application/json`", "{name}");
        assert_eq!(usize::from(answer.body[0] & 0x1f), answer.body.len() - 1);
        return;
    }
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap().trim().to_owned();
    let recorded_text =
        ours.iter().fold(text(&recorded.body), |body, (theirs, our)| body.replace(theirs, our));
    match serde_json::from_str::<Value>(&recorded_text) {
        Ok(recorded) => assert_eq!(comparable_value(answer.json()), comparable_value(recorded), "{name}"),
        // Nothing, or the `]` of a user who may see nothing.
        Err(_) => assert_eq!(text(&answer.body), recorded_text, "{name}"),
    }
}

/// The value with what is made anew replaced by its type, and with lists of objects in an order of their own.
fn comparable_value(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| {
                let value = match value {
                    Value::Number(_) if MADE_ANEW.contains(&key.as_str()) => json!("a number"),
                    Value::String(_) if MADE_ANEW.contains(&key.as_str()) => json!("a text"),
                    value => comparable_value(value),
                };
                (key, value)
            })
            .collect(),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(comparable_value).collect();
            if items.iter().any(Value::is_object) {
                items.sort_by_key(Value::to_string);
            }
            Value::Array(items)
        }
        scalar => scalar,
    }
}

fn read_exchanges(year: &str) -> Vec<Exchange> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(year);
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let text = std::fs::read_to_string(folder.join(&name)).unwrap();
            let (request, answer) = text.split_once("\n----\n").unwrap();
            let (_comment, request) = request.split_once('\n').unwrap();
            let (head, body) = request.split_once("\n\n").unwrap();
            let request = format!("{}\r\n\r\n{}", head.replace('\n', "\r\n"), body.trim_end_matches('\n'));
            let answer = answer.starts_with("HTTP/1.1 ").then(|| read_answer(answer));
            Exchange { name, request, answer }
        })
        .collect()
}

fn read_answer(text: &str) -> Answer {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Answer { status, headers, body: body.as_bytes().to_vec() }
}

/// Starts a sandbox with the cloud of the recordings.
async fn start(style: ApiStyle) -> Sandboxed {
    let now_us = 1_795_383_402_000_000;
    let mut world = World::new(Shape { style, empty_maps: EmptyMaps::Array }, 1);
    world.upload_ms = 100_000;
    world.measured_at_us = i64::MAX;
    world.users.insert("admin".to_owned(), User::admin("secret"));
    world.users.insert("blind".to_owned(), User::allowed_to("secret", &["cloud->vms->list"]));
    let token = world.sign_in("admin", now_us);
    let token_of_the_blind = world.sign_in("blind", now_us);
    for (number, vm) in (1..).zip(recorded_vms()) {
        world.vms.insert(format!("11111111-0000-4000-8000-00000000000{number}").parse().unwrap(), vm);
    }
    let clock = Clock::manual(now_us);
    let options = Options { world: Some(world), clock: clock.clone(), ..Options::default() };
    Sandboxed { running: Sandbox::start(options).await.unwrap(), clock, token, token_of_the_blind }
}

fn recorded_vms() -> [Vm; 5] {
    let vm = |alias: &str, config: Value, hypervisor: &str| {
        let vm = Vm::new(alias, hypervisor)
            .with("config", config)
            .with("dataset", json!("ds"))
            .with("owner", json!("org-1"))
            .with("package", json!("pkg"));
        Vm { full_bytes: 1 << 20, ..vm }
    };
    let mut one = vm("one", json!({"alias": "one", "type": "kvm"}), "hv-1")
        .with("metadata", json!({"fifo": {"backup": 1}}));
    add(&mut one, 1, 1000, None, true);
    add(&mut one, 2, 2000, Some(1), true);
    add(&mut one, 3, 3000, Some(2), true);
    add(&mut one, 4, 4000, None, false);
    let two = vm("two-empty", json!({"alias": "two"}), "hv-1");
    let mut three = vm("nohv", json!({"alias": "nohv"}), "");
    add(&mut three, 31, 1, None, true);
    let mut four = vm("nohv-empty", json!({"alias": "nohv"}), "");
    add(&mut four, 41, 1, None, true);
    add(&mut four, 42, 1, Some(41), true);
    let five = vm("delegated", json!({"alias": "d", "datasets": ["zones/x/data"]}), "hv-1");
    [one, two, three, four, five]
}

fn add(vm: &mut Vm, number: u32, timestamp: i64, parent: Option<u32>, local: bool) {
    let id = |number: u32| -> Uuid { format!("bbbbbbbb-0000-4000-8000-{number:012}").parse().unwrap() };
    let record = Record {
        comment: Some("monthly".to_owned()),
        timestamp: Some(timestamp),
        pending: Some(true),
        state: Some("completed".to_owned()),
        xml: Some(true),
        parent: parent.map(id),
        local: Some(local),
        local_size: Some(7),
        size: Some(5),
        ..Record::default()
    };
    vm.backups.insert(id(number), record);
    vm.stored.insert(id(number), Stored { bytes: 5, base: parent.map(id), sound: true, stderr: None });
    if local {
        vm.snapshots.insert(id(number), Snapshot { bytes: 7, pinned: false });
    }
}
