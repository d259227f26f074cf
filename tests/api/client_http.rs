//! The client over the real transport, against servers that send and see every byte.

use crate::raw_server::{RawServer, Received, Reply, tls};
use fifo_retain::fifo::{
    Backoff, ClientSettings, Credentials, DeletedForGood, ETag, FifoError, HttpOptions, HttpSetupError,
    HttpTransport, NewBackup, ReadClient, WriteAnswer, WriteClient, with_causes,
};
use fifo_retain::inventory::{BackupId, VmId};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const VM: &str = "11111111-0000-4000-8000-000000000001";
const BACKUP: &str = "bbbbbbbb-0000-4000-8000-000000000001";
const VM_BODY: &str =
    r#"{"uuid":"11111111-0000-4000-8000-000000000001","alias":"web-1","state":"running","backups":{}}"#;

fn vm_id() -> VmId {
    VM.parse().unwrap()
}

fn backup_id() -> BackupId {
    BACKUP.parse().unwrap()
}

fn settings(endpoint: &str) -> ClientSettings {
    let backoff = Backoff {
        first: Duration::from_millis(5),
        max: Duration::from_millis(20),
        asked_max: Duration::from_millis(20),
        refused_token: Duration::from_millis(20),
    };
    ClientSettings {
        read_timeout: Duration::from_secs(5),
        write_timeout: Duration::from_secs(5),
        backoff,
        ..ClientSettings::new(endpoint.parse().unwrap(), Credentials::Token("TOKEN".into()))
    }
}

fn client_with(settings: ClientSettings, options: &HttpOptions) -> WriteClient {
    let transport = HttpTransport::new(&settings.endpoint, options).unwrap();
    WriteClient::new(ReadClient::new(Arc::new(transport), settings))
}

fn client(server: &RawServer) -> WriteClient {
    client_with(settings(&server.endpoint().to_string()), &HttpOptions::default())
}

/// Answers with a status line, headers and a body that has its length.
fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

/// Streams a list as FiFo does: without length, to the end of the connection.
fn streamed(body: &str) -> Reply {
    Reply::SendAndClose(format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\nconnection: close\r\n\r\n{body}"
    ))
}

/// Returns scripted replies in order, whatever is asked, and then none.
fn in_order(replies: Vec<Reply>) -> impl FnMut(&Received) -> Reply {
    let mut replies = replies.into_iter();
    move |_| replies.next().unwrap_or(Reply::Hang)
}

fn full() -> NewBackup {
    NewBackup { comment: "monthly".to_owned(), parent: None }
}

async fn etag_of(client: &WriteClient) -> ETag {
    client.read().vm(vm_id()).await.unwrap().etag.unwrap()
}

/// Answers a VM, a create and a delete as FiFo does, on connections that stay open.
fn well(request: &Received) -> Reply {
    let location = format!("location: /api/3/vms/{VM}\r\n");
    Reply::Send(match request.line().split(' ').next().unwrap() {
        "GET" => answer("200 OK", "etag: \"e1==\"\r\n", VM_BODY),
        "POST" => answer("303 See Other", &location, ""),
        "DELETE" => answer("204 No Content", "", ""),
        other => panic!("asked for {other}"),
    })
}

#[tokio::test]
async fn every_byte_of_a_write_is_as_fifo_needs_it() {
    let server = RawServer::start(well).await;
    let client = client(&server);
    let etag = etag_of(&client).await;
    let incremental = NewBackup { comment: "daily".to_owned(), parent: Some(backup_id()) };
    client.create_backup(vm_id(), &full(), Some(&etag)).await.unwrap();
    client.create_backup(vm_id(), &incremental, None).await.unwrap();
    client.delete_local(vm_id(), backup_id(), Some(&etag)).await.unwrap();
    client.delete_local(vm_id(), backup_id(), None).await.unwrap();
    client.delete_cloud(vm_id(), DeletedForGood(backup_id()), Some(&etag)).await.unwrap();
    client.delete_cloud(vm_id(), DeletedForGood(backup_id()), None).await.unwrap();

    let port = server.port;
    let us = concat!("fifo-retain/", env!("CARGO_PKG_VERSION"));
    let head = |line: &str, if_match: &str, length: usize| {
        format!(
            "{line} HTTP/1.1\r\ncontent-type: application/json\r\n{if_match}authorization: Bearer TOKEN\r\n\
             accept: application/json\r\nuser-agent: {us}\r\nhost: 127.0.0.1:{port}\r\n\
             content-length: {length}\r\n\r\n"
        )
    };
    // As was recorded with FiFo: neither a content type nor a length, so that nothing on the way may take it to have a body.
    let without_body = |line: &str, if_match: &str| {
        format!(
            "{line} HTTP/1.1\r\n{if_match}authorization: Bearer TOKEN\r\naccept: application/json\r\n\
             user-agent: {us}\r\nhost: 127.0.0.1:{port}\r\n\r\n"
        )
    };
    let create = format!("POST /api/3/vms/{VM}/backups");
    let delete = format!("DELETE /api/3/vms/{VM}/backups/{BACKUP}");
    let incremental = format!(r#"{{"comment":"daily","parent":"{BACKUP}","xml":true}}"#);
    let if_match = "if-match: \"e1==\"\r\n";
    let sent: Vec<_> = server.received()[1..].iter().map(|r| (r.head.clone(), r.body.clone())).collect();
    assert_eq!(
        sent,
        [
            (head(&create, if_match, 32), r#"{"comment":"monthly","xml":true}"#.to_owned()),
            (head(&create, "", 78), incremental),
            (head(&delete, if_match, 25), r#"{"location":"hypervisor"}"#.to_owned()),
            (head(&delete, "", 25), r#"{"location":"hypervisor"}"#.to_owned()),
            (without_body(&delete, if_match), String::new()),
            (without_body(&delete, ""), String::new()),
        ]
    );
}

#[tokio::test]
async fn reads_share_a_connection_and_every_write_has_its_own() {
    let server = RawServer::start(well).await;
    let client = client(&server);
    for _ in 0..2 {
        client.read().vm(vm_id()).await.unwrap();
        client.create_backup(vm_id(), &full(), None).await.unwrap();
        client.delete_local(vm_id(), backup_id(), None).await.unwrap();
    }
    let connections: Vec<_> = server.received().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1, 2, 0, 3, 4]);
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    for status in
        ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let server = RawServer::start(move |_: &Received| {
            let location = "location: https://ann:hunter2@other.example.com:8443/api/3/vms?t=hunter2\r\n";
            Reply::Send(answer(status, location, ""))
        })
        .await;
        let client = client(&server);
        let answer = client.delete_local(vm_id(), backup_id(), None).await.unwrap();
        assert!(matches!(answer, WriteAnswer::Refused { .. }), "{answer:?}");
        let error = with_causes(&client.read().vm(vm_id()).await.unwrap_err());
        let named = "a redirect to https://other.example.com:8443/api/3/vms, which is never followed";
        assert!(error.contains(named) && !error.contains("hunter2"), "{error}");
        assert_eq!(server.received().len(), 2, "{status}");
    }
}

#[tokio::test]
async fn after_a_500_the_connection_may_be_gone_without_a_word() {
    let server = RawServer::start(in_order(vec![
        Reply::SendAndClose(answer("500 Internal Server Error", "", "")),
        Reply::Send(answer("200 OK", "", VM_BODY)),
        Reply::SendAndClose(answer("500 Internal Server Error", "", "")),
        Reply::Send(answer("200 OK", "", VM_BODY)),
    ]))
    .await;
    let client = client(&server);
    client.read().vm(vm_id()).await.unwrap();
    let answer = client.delete_local(vm_id(), backup_id(), None).await.unwrap();
    assert!(matches!(answer, WriteAnswer::Maybe { .. }));
    client.read().vm(vm_id()).await.unwrap();
    assert_eq!(server.received().len(), 4);
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    let server = RawServer::start(|_: &Received| Reply::Hang).await;
    let short = Duration::from_millis(50);
    let settings = ClientSettings {
        read_timeout: short,
        write_timeout: short,
        ..settings(&server.endpoint().to_string())
    };
    let client = client_with(settings, &HttpOptions::default());
    let error = client.read().list().await.unwrap_err();
    assert!(matches!(error, FifoError::TimedOut { attempts: 1, .. }), "{error}");
    let answer = client.delete_local(vm_id(), backup_id(), None).await.unwrap();
    assert!(matches!(answer, WriteAnswer::Maybe { status: None, .. }), "{answer:?}");
}

#[tokio::test]
async fn a_server_that_falls_silent_within_a_list_is_asked_again() {
    let whole = format!("[{VM_BODY}]");
    let begun = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", &whole[..20]);
    let server = RawServer::start(in_order(vec![Reply::Send(begun), streamed(&whole)])).await;
    let options = HttpOptions { idle_timeout: Duration::from_millis(50), ..HttpOptions::default() };
    let listing =
        client_with(settings(&server.endpoint().to_string()), &options).read().list().await.unwrap();
    assert_eq!(listing.visible, 1);
}

#[tokio::test]
async fn a_write_without_an_answer_is_lost_and_not_repeated() {
    for sent in ["", "HTTP/1.1 303 See"] {
        let server = RawServer::start(move |_: &Received| Reply::SendAndClose(sent.to_owned())).await;
        let answer = client(&server).create_backup(vm_id(), &full(), None).await.unwrap();
        assert!(matches!(answer, WriteAnswer::Maybe { status: None, .. }), "{answer:?}");
        assert_eq!(server.received().len(), 1);
    }
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    let server = RawServer::start(well).await;
    let endpoint = server.endpoint().to_string();
    drop(server);
    // The listener goes with its task, at the next chance to run.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let settings = ClientSettings { read_timeout: Duration::from_millis(50), ..settings(&endpoint) };
    let client = client_with(settings, &HttpOptions::default());
    let answer = client.create_backup(vm_id(), &full(), None).await.unwrap();
    assert!(matches!(&answer, WriteAnswer::NotSent { message } if message.contains("refused")), "{answer:?}");
    let message = with_causes(&client.read().list().await.unwrap_err());
    assert!(message.contains(&endpoint) && message.contains("failed to connect"), "{message}");
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_own_authority_only() {
    let (server, pem) = tls::server(well).await;
    let endpoint = format!("https://localhost:{}", server.port);
    let mut ca_file = tempfile::NamedTempFile::new().unwrap();
    ca_file.write_all(pem.as_bytes()).unwrap();
    let with_ca = HttpOptions { ca_file: Some(ca_file.path().to_owned()), ..HttpOptions::default() };
    client_with(settings(&endpoint), &with_ca).read().vm(vm_id()).await.unwrap();

    let (_, other_pem) = tls::server(well).await;
    let mut other_file = tempfile::NamedTempFile::new().unwrap();
    other_file.write_all(other_pem.as_bytes()).unwrap();
    let with_other = HttpOptions { ca_file: Some(other_file.path().to_owned()), ..HttpOptions::default() };
    let client = client_with(settings(&endpoint), &with_other);
    let message = with_causes(&client.read().vm(vm_id()).await.unwrap_err());
    assert!(message.contains("certificate is not trusted"), "{message}");
    let answer = client.delete_local(vm_id(), backup_id(), None).await.unwrap();
    assert!(matches!(answer, WriteAnswer::NotSent { .. }), "{answer:?}");

    let insecure = HttpOptions { insecure: true, ..HttpOptions::default() };
    client_with(settings(&endpoint), &insecure).read().vm(vm_id()).await.unwrap();
    assert_eq!(server.received().len(), 2);
}

#[test]
fn a_ca_file_that_is_none_is_named() {
    let endpoint = "https://fifo.example.com".parse().unwrap();
    let setup = |path: &std::path::Path| {
        let options = HttpOptions { ca_file: Some(path.to_owned()), ..HttpOptions::default() };
        HttpTransport::new(&endpoint, &options).err().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let error = setup(&path);
    assert!(matches!(error, HttpSetupError::CaFile { .. }) && error.to_string().contains("ca.pem"));
    for content in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&path, content).unwrap();
        let error = setup(&path);
        assert!(matches!(error, HttpSetupError::NoCertificate { .. }), "{content}: {error}");
        assert!(error.to_string().contains("ca.pem"));
    }
}
