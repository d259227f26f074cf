//! Every recorded exchange with FiFo's own handlers, read by the client: what it makes of each answer is what FiFo meant.

use bytes::Bytes;
use fifo_retain::fifo::{
    ApiVersion, Backoff, ClientSettings, Connection, Credentials, DeletedForGood, FifoError, Listing,
    NewBackup, ReadClient, Request, Response, Transport, TransportError, TransportErrorKind, VmRead,
    WriteAnswer, WriteClient,
};
use fifo_retain::inventory::{Backup, LocalState, RecordedState, Vm, VmId};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use http::StatusCode;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone)]
struct Exchange {
    year: String,
    /// The file's name without number and ending: `create-full`.
    name: String,
    request_line: String,
    request_body: String,
    /// The answer's head; empty when the connection was closed without an answer.
    head: String,
    body: String,
}

impl Exchange {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for year in ["2015", "2016"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(year);
            for file in std::fs::read_dir(folder).unwrap() {
                let path = file.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap().split_once('-').unwrap().1;
                all.push(Self::read(year, name, &std::fs::read_to_string(&path).unwrap()));
            }
        }
        assert!(all.len() >= 60, "only {} exchanges found", all.len());
        all
    }

    fn read(year: &str, name: &str, text: &str) -> Self {
        let (request, answer) = text.split_once("\n----\n").unwrap();
        let (_, request) = request.split_once('\n').unwrap();
        let (request_head, request_body) = request.split_once("\n\n").unwrap();
        let (head, body) =
            if answer.starts_with('#') { ("", "") } else { answer.split_once("\n\n").unwrap() };
        Self {
            year: year.to_owned(),
            name: name.to_owned(),
            request_line: request_head.split(" HTTP/1.1").next().unwrap().to_owned(),
            request_body: request_body.trim().to_owned(),
            head: head.to_owned(),
            body: body.trim_end_matches('\n').to_owned(),
        }
    }

    fn path(&self) -> &str {
        self.request_line.split_once(' ').unwrap().1
    }

    fn vm(&self) -> VmId {
        self.path().split('/').nth(4).unwrap().parse().unwrap()
    }

    fn answer(&self) -> Result<Response, TransportError> {
        let mut lines = self.head.lines();
        let Some(status) = lines.next() else {
            return Err(TransportError::new(TransportErrorKind::Lost, "closed without an answer"));
        };
        let builder = http::Response::builder().status(&status[9..12]);
        let builder = lines.fold(builder, |builder, line| {
            let (name, value) = line.split_once(':').unwrap();
            builder.header(name, value.trim())
        });
        Ok(builder.body(stream::iter([Ok(Bytes::from(self.body.clone()))]).boxed()).unwrap())
    }
}

/// Returns the recorded answer to whatever is asked, and remembers what was.
struct Recorded {
    exchange: Exchange,
    asked: Mutex<Vec<Request>>,
}

impl Transport for Recorded {
    fn send(&self, request: Request, _: Connection) -> BoxFuture<'_, Result<Response, TransportError>> {
        self.asked.lock().unwrap().push(request);
        async { self.exchange.answer() }.boxed()
    }
}

fn settings(exchange: &Exchange, endpoint: &str, credentials: Credentials) -> ClientSettings {
    let api = if exchange.year == "2015" { ApiVersion::V0_2_0 } else { ApiVersion::V3 };
    let short = Duration::from_millis(1);
    ClientSettings {
        api,
        read_timeout: Duration::from_millis(100),
        backoff: Backoff { first: short, max: short, asked_max: short, refused_token: short },
        ..ClientSettings::new(endpoint.parse().unwrap(), credentials)
    }
}

struct RequestRecord {
    exchange: Exchange,
    transport: Arc<Recorded>,
    client: WriteClient,
}

impl RequestRecord {
    fn new(exchange: Exchange) -> Self {
        Self::with(exchange, Credentials::Token("TOKEN".into()))
    }

    fn with(exchange: Exchange, credentials: Credentials) -> Self {
        let transport = Arc::new(Recorded { exchange: exchange.clone(), asked: Mutex::default() });
        let settings = settings(&exchange, "http://cloud.example.com", credentials);
        let client = WriteClient::new(ReadClient::new(transport.clone(), settings));
        Self { exchange, transport, client }
    }

    async fn list(&self) -> Result<Listing, FifoError> {
        self.client.read().list().await
    }

    async fn vm_read(&self) -> Result<VmRead, FifoError> {
        self.client.read().vm(self.exchange.vm()).await
    }

    async fn vm(&self) -> Vm {
        let read = self.vm_read().await.unwrap();
        assert!(read.etag.is_some() && read.server_date.is_some());
        self.asked_as_recorded();
        read.vm.unwrap()
    }

    /// Sends the POST that was recorded, or the nearest to it that this client can send.
    async fn create(&self) -> WriteAnswer {
        let body: serde_json::Value = serde_json::from_str(&self.exchange.request_body).unwrap();
        let new = NewBackup {
            comment: body["comment"].as_str().unwrap().to_owned(),
            parent: body["parent"].as_str().map(|parent| parent.parse().unwrap()),
        };
        self.client.create_backup(self.exchange.vm(), &new, None).await.unwrap()
    }

    async fn delete(&self) -> WriteAnswer {
        let backup = self.exchange.path().split('/').nth(6).unwrap().parse().unwrap();
        let answer = self.client.delete_local(self.exchange.vm(), backup, None).await.unwrap();
        self.asked_as_recorded();
        answer
    }

    async fn delete_for_good(&self) -> WriteAnswer {
        let backup = DeletedForGood(self.exchange.path().split('/').nth(6).unwrap().parse().unwrap());
        let answer = self.client.delete_cloud(self.exchange.vm(), backup, None).await.unwrap();
        self.asked_as_recorded();
        answer
    }

    fn asked_as_recorded(&self) {
        let asked = self.transport.asked.lock().unwrap();
        let [request] = asked.as_slice() else { panic!("asked {} times", asked.len()) };
        assert_eq!(format!("{} {}", request.method(), request.uri()), self.exchange.request_line);
        assert_eq!(request.headers()["accept"], "application/json");
        if self.exchange.year == "2015" {
            assert_eq!(request.headers()["x-snarl-token"], "TOKEN");
        }
    }

    fn body_as_recorded(&self) {
        let asked = self.transport.asked.lock().unwrap();
        let asked: serde_json::Value = serde_json::from_slice(&asked[0].body().0).unwrap();
        let recorded: serde_json::Value = serde_json::from_str(&self.exchange.request_body).unwrap();
        assert_eq!(asked, recorded);
    }
}

fn only_backup(vm: &Vm) -> &Backup {
    assert_eq!(vm.backups.len(), 1);
    vm.backups.values().next().unwrap()
}

fn accepted(answer: &WriteAnswer) -> bool {
    matches!(answer, WriteAnswer::Accepted { .. })
}

fn refused(answer: &WriteAnswer, with: u16) -> bool {
    matches!(answer, WriteAnswer::Refused { status, .. } if status.as_u16() == with)
}

fn status(error: &FifoError, wanted: u16) -> bool {
    matches!(error, FifoError::Status { status, .. } if status.as_u16() == wanted)
}

/// Has the client read one recorded answer, and checks what it makes of it. An unexpected answer fails.
async fn check(exchange: Exchange) {
    let (year, name) = (exchange.year.clone(), exchange.name.clone());
    let style_of_2016 = year == "2016";
    match name.as_str() {
        "token" | "token-wrong" => check_sign_in(exchange).await,
        "create-full" | "create-incremental" => {
            let asked = RequestRecord::new(exchange);
            let answer = asked.create().await;
            assert!(accepted(&answer), "{answer:?}");
            asked.asked_as_recorded();
            asked.body_as_recorded();
            let WriteAnswer::Accepted { backup } = answer else { panic!("not accepted") };
            assert_eq!(backup.is_none(), style_of_2016, "only the old location names the backup");
        }
        // None of these shows whether there is a backup now.
        "create-parent-not-local" | "create-null-parent" | "create-no-vm" | "create-delegated" => {
            let answer = RequestRecord::new(exchange).create().await;
            assert!(
                matches!(answer, WriteAnswer::Maybe { status: Some(StatusCode::INTERNAL_SERVER_ERROR), .. }),
                "{answer:?}"
            );
        }
        "create-no-content-type" => assert!(refused(&RequestRecord::new(exchange).create().await, 415)),
        "delete-local" | "delete-if-match" => {
            let asked = RequestRecord::new(exchange);
            assert!(accepted(&asked.delete().await));
            asked.body_as_recorded();
        }
        // The answer is the same as to a local delete: it does not show whether the body arrived.
        "delete-body-cut" => assert!(accepted(&RequestRecord::new(exchange).delete().await)),
        "delete-no-body" => {
            let asked = RequestRecord::new(exchange);
            assert!(accepted(&asked.delete_for_good().await));
            let asked = asked.transport.asked.lock().unwrap();
            assert!(asked[0].body().0.is_empty() && !asked[0].headers().contains_key("content-type"));
        }
        "delete-if-match-stale" => assert!(refused(&RequestRecord::new(exchange).delete().await, 412)),
        "delete-missing" => assert!(refused(&RequestRecord::new(exchange).delete().await, 404)),
        "no-token" => {
            let error = RequestRecord::new(exchange).list().await.unwrap_err();
            assert!(matches!(error, FifoError::TokenRefused { .. }), "{error}");
        }
        "list-full" | "list-uuids" | "list-none-visible" | "list-empty-fields" => check_list(exchange).await,
        // What the client never asks for, and so must not mistake for a list or a VM.
        "connection" => {
            let error = RequestRecord::new(exchange).list().await.unwrap_err();
            assert!(matches!(error, FifoError::Unreadable { .. }), "{error}");
        }
        "get-backups" if style_of_2016 => {
            let error = RequestRecord::new(exchange).vm_read().await.unwrap_err();
            assert!(matches!(error, FifoError::Forbidden { .. }), "{error}");
        }
        "get-backups" => {
            let listing = RequestRecord::new(exchange).list().await.unwrap();
            assert_eq!((listing.inventory.vms.len(), listing.inventory.unreadable.len()), (0, 2));
        }
        "accept-any" if style_of_2016 => {
            let error = RequestRecord::new(exchange).vm_read().await.unwrap_err();
            assert!(matches!(error, FifoError::TimedOut { last: Some(_), .. }), "{error}");
        }
        "accept-any" => {
            let error = RequestRecord::new(exchange).vm_read().await.unwrap_err();
            assert!(matches!(error, FifoError::Unreadable { .. }), "{error}");
        }
        "accept-parameter" => {
            assert!(status(&RequestRecord::new(exchange).vm_read().await.unwrap_err(), 406));
        }
        "head" => {
            let error = RequestRecord::new(exchange).vm_read().await.unwrap_err();
            assert!(matches!(error, FifoError::Forbidden { .. }), "{error}");
        }
        "vm-missing" => {
            let error = RequestRecord::new(exchange).vm_read().await.unwrap_err();
            assert!(matches!(error, FifoError::NoSuchVm { .. }), "{error}");
        }
        _ => check_vm(exchange).await,
    }
}

async fn check_sign_in(exchange: Exchange) {
    let right = exchange.name == "token";
    let password = if right { "secret" } else { "nope" };
    let recorded = exchange.request_body.clone();
    let credentials = Credentials::Password { user: "admin".to_owned(), password: password.into() };
    let asked = RequestRecord::with(exchange, credentials);
    let error = asked.list().await.unwrap_err();
    // The list gets the sign-in's answer too, which is no list: then at least the sign-in was understood.
    assert_eq!(matches!(error, FifoError::Unreadable { .. }), right, "{error}");
    assert_eq!(matches!(error, FifoError::SignInRefused { .. }), !right, "{error}");
    let sent = asked.transport.asked.lock().unwrap();
    assert_eq!(format!("{} {}", sent[0].method(), sent[0].uri()), asked.exchange.request_line);
    assert_eq!(sent[0].body().0, recorded);
    assert_eq!(sent.get(1).is_some_and(|request| request.headers().contains_key("authorization")), right);
}

async fn check_list(exchange: Exchange) {
    let name = exchange.name.clone();
    let listing = RequestRecord::new(exchange).list().await.unwrap();
    assert!(listing.server_date.is_some());
    let (vms, unreadable) = (&listing.inventory.vms, &listing.inventory.unreadable);
    match name.as_str() {
        "list-full" => {
            assert_eq!((listing.visible, vms.len(), unreadable.len()), (5, 5, 0));
            let by_alias = |alias: &str| vms.values().find(|vm| vm.alias == alias).unwrap();
            assert_eq!(by_alias("one").metadata.get("fifo.backup"), Some("1"));
            assert_eq!(by_alias("one").backups.len(), 4);
            assert_eq!(by_alias("two-empty").backups.len(), 0);
            assert_eq!(by_alias("two-empty").hypervisor.as_deref(), Some("hv-1"));
            assert_eq!(by_alias("nohv").hypervisor, None);
            assert!(by_alias("delegated").delegated_datasets && !by_alias("one").delegated_datasets);
        }
        "list-none-visible" => assert!(listing.inventory.is_empty() && listing.visible == 0),
        // Texts, or objects without fields: VMs of which nothing is known, and surely not "no VMs".
        _ => assert_eq!((listing.visible, vms.len(), unreadable.len()), (5, 0, 5)),
    }
}

async fn check_vm(exchange: Exchange) {
    let (name, style_of_2016) = (exchange.name.clone(), exchange.year == "2016");
    let vm = RequestRecord::new(exchange).vm().await;
    assert_eq!((vm.state.as_str(), vm.hypervisor.as_deref()), ("running", Some("hv-1")));
    assert_eq!((vm.owner.as_deref(), vm.package.as_deref()), (Some("org-1"), Some("pkg")));
    assert!(!vm.creating && !vm.deleting);
    match name.as_str() {
        "vm" => {
            assert_eq!((vm.alias.as_str(), vm.backups.len()), ("one", 4));
            let backups: Vec<&Backup> = vm.backups.values().collect();
            assert_eq!(backups[0].timestamp.unwrap().timestamp_micros(), 1000);
            assert_eq!((backups[0].parent, backups[1].parent), (None, Some(backups[0].id)));
            assert_eq!(
                backups.iter().map(|b| b.local).collect::<Vec<_>>(),
                [true, true, true, false].map(|local| LocalState::from(Some(local)))
            );
            assert!(backups.iter().all(|b| b.size_bytes() == Some(5) && b.local_size_bytes == Some(7)));
        }
        "vm-just-accepted" => {
            let backup = only_backup(&vm);
            assert_eq!(
                (&backup.state, backup.local, backup.size_bytes()),
                (&RecordedState::Accepted, LocalState::Unknown, None)
            );
            assert_eq!(backup.timestamp.unwrap().to_rfc3339()[..10], *"2026-11-22");
        }
        "vm-uploading" => {
            let backup = only_backup(&vm);
            assert_eq!((&backup.state, backup.local), (&RecordedState::Uploading, LocalState::Unknown));
            assert_eq!((backup.size_bytes(), backup.missing_file_info().is_none()), (Some(0), false));
        }
        "vm-completed" => complete(only_backup(&vm), style_of_2016),
        "vm-chain" => {
            assert_eq!(vm.backups.len(), 2);
            vm.backups.values().for_each(|backup| complete(backup, style_of_2016));
            let daily = vm.backups.values().find(|b| b.comment.as_deref() == Some("daily")).unwrap();
            let monthly = vm.backups.values().find(|b| b.comment.as_deref() == Some("monthly")).unwrap();
            assert_eq!((daily.parent, monthly.parent), (Some(monthly.id), None));
        }
        "vm-after-local-delete" | "vm-etag" => {
            let backup = vm.backups.values().nth(1).unwrap();
            assert_eq!((backup.local, backup.local_size_bytes), (LocalState::Absent, Some(0)));
            assert_eq!((vm.backups.len(), &backup.state), (4, &RecordedState::Completed));
        }
        "vm-after-cloud-delete" => assert_eq!(vm.backups.len(), 0),
        other => panic!("no expectation for what the client makes of {other}"),
    }
}

fn complete(backup: &Backup, style_of_2016: bool) {
    assert_eq!((&backup.state, backup.local), (&RecordedState::Completed, LocalState::Present));
    assert_eq!((backup.size_bytes(), backup.missing_file_info().is_none()), (Some(1_048_576), true));
    assert_eq!(backup.files.len(), 1);
    assert_eq!(backup.files[0].size_bytes.is_some(), style_of_2016);
    assert_eq!(backup.record_size_bytes.is_none(), style_of_2016);
}

#[tokio::test(start_paused = true)]
async fn the_client_makes_of_every_recorded_answer_what_fifo_meant() {
    for exchange in Exchange::all() {
        let name = format!("{}/{}", exchange.year, exchange.name);
        println!("{name}");
        check(exchange).await;
    }
}
