//! The clients against scripted answers, on paused time.

use super::*;
use crate::inventory::{BackupId, VmId};
use ::http::StatusCode;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use secrecy::SecretString;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

mod one_by_one;
mod retries;
mod sign_in;

const VM: &str = "11111111-0000-4000-8000-000000000001";
const BACKUP: &str = "bbbbbbbb-0000-4000-8000-000000000001";
const GRANTED: &str = r#"{"access_token":"T1","token_type":"bearer","expires_in":3600,"scope":["*"]}"#;
const NOTHING: &str = "";

enum Answer {
    Status(u16, &'static [(&'static str, &'static str)], &'static str),
    /// A body that breaks off with an error.
    Broken(&'static str),
    Fails(TransportErrorKind),
    Never,
}
use Answer::{Broken, Fails, Never, Status};

/// Answers from a script, in order, and remembers what was sent.
struct Scripted {
    answers: Mutex<VecDeque<Answer>>,
    sent: Mutex<Vec<(Request, Connection)>>,
}

impl Scripted {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), sent: Mutex::new(Vec::new()) })
    }

    fn sent(&self) -> Vec<String> {
        let line = |(request, connection): &(Request, Connection)| {
            format!("{} {} ({connection:?})", request.method(), request.uri())
        };
        self.sent.lock().unwrap().iter().map(line).collect()
    }

    fn sent_header(&self, at: usize, name: &str) -> Option<String> {
        let sent = self.sent.lock().unwrap();
        Some(sent[at].0.headers().get(name)?.to_str().unwrap().to_owned())
    }

    fn sent_body(&self, at: usize) -> String {
        String::from_utf8(self.sent.lock().unwrap()[at].0.body().0.to_vec()).unwrap()
    }
}

fn response(status: u16, headers: &[(&str, &str)], chunks: Vec<Result<Bytes, TransportError>>) -> Response {
    let builder = ::http::Response::builder().status(status);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(stream::iter(chunks).boxed()).unwrap()
}

impl Transport for Scripted {
    fn send(
        &self,
        request: Request,
        connection: Connection,
    ) -> BoxFuture<'_, Result<Response, TransportError>> {
        self.sent.lock().unwrap().push((request, connection));
        let answer = self.answers.lock().unwrap().pop_front().expect("one request too many");
        async move {
            sleep(Duration::from_millis(1)).await;
            let lost = || Err(TransportError::new(TransportErrorKind::Lost, "reset by peer"));
            Ok(match answer {
                Status(status, headers, body) => response(status, headers, vec![Ok(Bytes::from(body))]),
                Broken(body) => response(200, &[], vec![Ok(Bytes::from(body)), lost()]),
                Fails(kind) => return Err(TransportError::new(kind, "refused")),
                Never => return std::future::pending().await,
            })
        }
        .boxed()
    }
}

fn settings(credentials: Credentials) -> ClientSettings {
    ClientSettings::new("https://fifo.example.com".parse().unwrap(), credentials)
}

fn password() -> Credentials {
    Credentials::Password { user: "admin".to_owned(), password: SecretString::from("hunter2&=+ü") }
}

fn token() -> Credentials {
    Credentials::Token(SecretString::from("given-token"))
}

fn client(transport: &Arc<Scripted>, credentials: Credentials) -> ReadClient {
    ReadClient::new(Arc::clone(transport) as Arc<dyn Transport>, settings(credentials))
}

fn writer(transport: &Arc<Scripted>, credentials: Credentials) -> WriteClient {
    WriteClient::new(client(transport, credentials))
}

fn vm_id() -> VmId {
    VM.parse().unwrap()
}

fn backup_id() -> BackupId {
    BACKUP.parse().unwrap()
}

fn message(error: &FifoError) -> String {
    error::with_causes(error)
}

const ONE_VM: &str = r#"[{"uuid":"11111111-0000-4000-8000-000000000001","alias":"web-1","backups":{}}]"#;

#[tokio::test(start_paused = true)]
async fn a_read_signs_in_once_and_sends_nothing_but_gets() {
    let fifo = Scripted::new([
        Status(200, &[], GRANTED),
        Status(200, &[("date", "Sun, 22 Nov 2026 21:36:46 GMT")], ONE_VM),
        Status(200, &[("etag", "\"e1\"")], r#"{"uuid":"11111111-0000-4000-8000-000000000001","backups":[]}"#),
    ]);
    let client = client(&fifo, password());
    let listing = client.list().await.unwrap();
    assert_eq!(listing.inventory.endpoint, "https://fifo.example.com");
    assert_eq!((listing.visible, listing.inventory.vms[&vm_id()].alias.as_str()), (1, "web-1"));
    assert_eq!(listing.server_date.unwrap().to_rfc3339(), "2026-11-22T21:36:46+00:00");
    assert!(client.vm(vm_id()).await.unwrap().etag.is_some());
    let list = "/api/3/vms?full-list=true&full-list-fields=\
                uuid,alias,owner,package,dataset,hypervisor,state,creating,deleting,metadata,config,backups";
    assert_eq!(
        fifo.sent(),
        [
            "POST /api/3/oauth/token (Fresh)".to_owned(),
            format!("GET {list} (Reused)"),
            format!("GET /api/3/vms/{VM} (Reused)"),
        ]
    );
    assert_eq!(fifo.sent_body(0), "grant_type=password&username=admin&password=hunter2%26%3D%2B%C3%BC");
    assert_eq!(fifo.sent_header(0, "content-type").unwrap(), "application/x-www-form-urlencoded");
    assert_eq!(fifo.sent_header(1, "authorization").unwrap(), "Bearer T1");
    assert_eq!(fifo.sent_header(1, "accept").unwrap(), "application/json");
    assert_eq!(fifo.sent_header(1, "x-full-list").unwrap(), "true");
    assert!(list.ends_with(&fifo.sent_header(1, "x-full-list-fields").unwrap()));
    assert_eq!(fifo.sent_header(1, "x-snarl-token"), None);
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for_on_fresh_connections() {
    let fifo = Scripted::new([
        Status(503, &[], NOTHING),
        Status(502, &[], NOTHING),
        Status(504, &[], NOTHING),
        Status(429, &[("retry-after", "7")], NOTHING),
        Fails(TransportErrorKind::NotSent),
        Fails(TransportErrorKind::Lost),
        Broken(r#"[{"uuid""#),
        Status(200, &[], ONE_VM),
    ]);
    let begin = Instant::now();
    assert_eq!(client(&fifo, token()).list().await.unwrap().visible, 1);
    assert!(begin.elapsed() > Duration::from_secs(7));
    let sent = fifo.sent();
    assert!(sent[0].ends_with("(Reused)") && sent[1..].iter().all(|request| request.ends_with("(Fresh)")));
}

#[tokio::test(start_paused = true)]
async fn a_whole_list_is_whole_even_if_the_connection_breaks_behind_it() {
    let fifo = Scripted::new([Broken(ONE_VM)]);
    assert_eq!(client(&fifo, token()).list().await.unwrap().visible, 1);
    assert_eq!(fifo.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_is_reported_at_once() {
    for (answer, words) in [
        (Status(403, &[], NOTHING), "cloud→vms→list"),
        (Status(404, &[], NOTHING), "check that this is a FiFo"),
        (Status(406, &[], NOTHING), "406 Not Acceptable"),
        (Status(302, &[("location", "https://other/")], NOTHING), "never followed"),
        (Fails(TransportErrorKind::Untrusted), "certificate is not trusted"),
    ] {
        let fifo = Scripted::new([answer]);
        let message = message(&client(&fifo, token()).list().await.unwrap_err());
        assert!(
            message.starts_with("failed to read the list of VMs") && message.contains(words),
            "{message}"
        );
    }
    let fifo = Scripted::new([Status(404, &[], NOTHING), Status(403, &[], NOTHING)]);
    let client = client(&fifo, token());
    assert!(matches!(client.vm(vm_id()).await, Err(FifoError::NoSuchVm { vm }) if vm == vm_id()));
    assert!(message(&client.vm(vm_id()).await.unwrap_err()).contains(&format!("vms→{VM}→get")));
}

#[tokio::test(start_paused = true)]
async fn what_may_be_a_mishap_is_tried_thrice() {
    for (status, body, words) in [
        (500, NOTHING, "500 Internal Server Error"),
        (200, "<html><title>Sign in</title>", "<html><title>Sign in</title>"),
        (200, "[{},,{}]", "found \",{}]\" after 1 elements"),
        (200, "[] and more", "found \"and more\" after 0 elements"),
        (200, r#"{"error":"x"}"#, "expected a JSON array"),
    ] {
        let fifo = Scripted::new((0..3).map(|_| Status(status, &[], body)));
        let message = message(&client(&fifo, token()).list().await.unwrap_err());
        assert!(message.contains(words), "{message}");
        assert_eq!(fifo.sent().len(), 3);
    }
    for body in ["<html>", "", r#"{"uuid":"#] {
        let fifo = Scripted::new((0..3).map(|_| Status(200, &[], body)));
        let error = client(&fifo, token()).vm(vm_id()).await.unwrap_err();
        assert!(matches!(error, FifoError::Unreadable { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_unreadable_vm_leaves_the_others() {
    let fifo = Scripted::new([Status(
        200,
        &[],
        r#"[{"uuid":"11111111-0000-4000-8000-000000000001","backups":{}},[],
           {"uuid":"11111111-0000-4000-8000-000000000002","alias":null,"backups":{}},
           {"uuid":"11111111-0000-4000-8000-000000000003","alias":"twin","backups":{}},
           {"uuid":"11111111-0000-4000-8000-000000000003","alias":"twin","backups":{}},
           {"uuid":"11111111-0000-4000-8000-000000000003","alias":"twin","backups":{}}]"#,
    )]);
    let listing = client(&fifo, token()).list().await.unwrap();
    assert_eq!((listing.visible, listing.inventory.vms.len()), (6, 1));
    assert!(listing.inventory.vms.contains_key(&vm_id()));
    let unreadable: Vec<_> =
        listing.inventory.unreadable.iter().map(|vm| (vm.alias.as_str(), vm.problems[0].as_str())).collect();
    assert_eq!(
        unreadable,
        [
            ("", "uuid: expected a UUID, found nothing"),
            ("", "alias: expected a string, found null"),
            ("twin", "uuid: expected once in the list, found again"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn list_only_keeps_the_wanted_and_counts_all() {
    let body = r#"[{"uuid":"11111111-0000-4000-8000-000000000001","backups":{}},
                   {"uuid":"11111111-0000-4000-8000-000000000002","backups":{}},
                   {"uuid":"11111111-0000-4000-8000-000000000003","backups":7}, []]"#;
    let fifo = Scripted::new([Status(200, &[], body)]);
    let listing = client(&fifo, token()).list_only(&[vm_id()].into()).await.unwrap();
    assert_eq!((listing.visible, listing.inventory.vms.len(), listing.inventory.unreadable.len()), (4, 1, 1));
    assert_eq!(listing.inventory.unreadable[0].id, None);
}

#[tokio::test(start_paused = true)]
async fn a_vm_other_than_the_one_asked_for_is_unreadable() {
    let fifo = Scripted::new([Status(
        200,
        &[],
        r#"{"uuid":"11111111-0000-4000-8000-000000000002","alias":"x","backups":[]}"#,
    )]);
    let unreadable = client(&fifo, token()).vm(vm_id()).await.unwrap().vm.unwrap_err();
    assert_eq!(unreadable.id, Some(vm_id()));
    assert!(unreadable.problems[0].contains("000000000002"));
}

#[tokio::test(start_paused = true)]
async fn a_weak_etag_is_none() {
    const BODY: &str = r#"{"uuid":"11111111-0000-4000-8000-000000000001","backups":[]}"#;
    let fifo = Scripted::new([
        Status(200, &[("etag", "\"abc==\"")], BODY),
        Status(200, &[("etag", "W/\"abc==\"")], BODY),
        Status(200, &[], BODY),
    ]);
    let client = client(&fifo, token());
    for is_there in [true, false, false] {
        assert_eq!(client.vm(vm_id()).await.unwrap().etag.is_some(), is_there);
    }
}

#[tokio::test(start_paused = true)]
async fn no_write_is_repeated_whatever_the_answer() {
    let after = |status, seconds: Option<u64>| WriteAnswer::Refused {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: seconds.map(Duration::from_secs),
        permission: (status == 403).then(|| format!("vms→{VM}→backup")),
    };
    let refused = |status| after(status, None);
    let maybe = |status| {
        let status = StatusCode::from_u16(status).unwrap();
        WriteAnswer::Maybe { what: format!("answered {status}"), status: Some(status) }
    };
    let lost = |why| WriteAnswer::Maybe {
        what: format!("gave no answer (the connection was lost: {why})"),
        status: None,
    };
    let message = "failed to connect: refused".to_owned();
    for (answer, meaning) in [
        (Status(401, &[], NOTHING), refused(401)),
        (Status(412, &[], NOTHING), refused(412)),
        (Status(400, &[], NOTHING), refused(400)),
        (Status(403, &[], NOTHING), refused(403)),
        (Status(404, &[], NOTHING), refused(404)),
        (Status(405, &[], NOTHING), refused(405)),
        (Status(415, &[], NOTHING), refused(415)),
        (Status(301, &[("location", "/x")], NOTHING), refused(301)),
        (Status(307, &[("location", "/x")], NOTHING), refused(307)),
        (Status(303, &[("location", "/login")], NOTHING), maybe(303)),
        (Status(200, &[], "<html>"), maybe(200)),
        (Status(500, &[], NOTHING), maybe(500)),
        (Status(502, &[], NOTHING), maybe(502)),
        (Status(503, &[], NOTHING), maybe(503)),
        (Status(504, &[], NOTHING), maybe(504)),
        (Status(408, &[], NOTHING), maybe(408)),
        (Status(429, &[], NOTHING), refused(429)),
        (Status(429, &[("retry-after", "3")], NOTHING), after(429, Some(3))),
        (Status(429, &[("retry-after", "86400")], NOTHING), after(429, Some(60))),
        (Fails(TransportErrorKind::NotSent), WriteAnswer::NotSent { message }),
        (Fails(TransportErrorKind::Lost), lost("refused")),
        (Never, lost("no answer within 30 s")),
    ] {
        let new = NewBackup { comment: "daily".to_owned(), parent: None };
        let fifo = Scripted::new([answer]);
        assert_eq!(writer(&fifo, token()).create_backup(vm_id(), &new, None).await.unwrap(), meaning);
        assert_eq!(fifo.sent().len(), 1);
    }
}

#[test]
fn no_debug_output_shows_a_secret() {
    let request = ::http::Request::new(Payload(Bytes::from("password=hunter2")));
    for shown in [
        format!("{:?}", settings(password())),
        format!("{:?}", settings(sign_in::token_first())),
        format!("{request:?}"),
    ] {
        assert!(!shown.contains("hunter2") && !shown.contains("given-token"), "{shown}");
    }
}
