//! What must hold of anything that comes from outside, whatever it is. Fed by the kept corpus, by proptest, and by the
//! fuzz targets in `fuzz/`.

use bytes::Bytes;
use fifo_retain::fifo::{
    Backoff, ClientSettings, Connection, Credentials, ListError, MAX_ELEMENT_BYTES, NewBackup, Profile,
    ReadClient, Request, Response, Splitter, Transport, TransportError, WriteAnswer, WriteClient, read_vm,
};
use fifo_retain::inventory::{BackupId, Inventory, VmId};
use fifo_retain::plan::{Plan, plan};
use fifo_retain::policy::{Diagnostic, SourceFile, parse, render_github, render_text};
use fifo_retain::store::stream::StreamReader;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use http::header::{DATE, ETAG, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::de::IgnoredAny;
use std::cell::OnceCell;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Something to feed, and what it is fed to.
pub(crate) type Check = fn(&[u8]);

/// Every check with the name of its corpus and fuzz target.
pub(crate) const CHECKS: [(&str, Check); 6] = [
    ("policy_file", policy_file),
    ("vm_list", vm_list),
    ("saved_plan", saved_plan),
    ("profile", profile),
    ("answer", answer),
    ("stream", stored_stream),
];

/// A policy file is a policy that can be planned with, or has mistakes that can be shown, each at a place in the file.
pub(crate) fn policy_file(bytes: &[u8]) {
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    let file = SourceFile { name: "policies/p.yaml".to_owned(), bytes: bytes.to_vec() };
    let shown = |found: &[Diagnostic]| {
        for it in found {
            assert!(!it.message.is_empty());
            assert!(it.line().is_none_or(|line| (1..=lines).contains(&line)), "{it:?}");
            assert!(it.column().is_none_or(|column| column >= 1), "{it:?}");
        }
        if !found.is_empty() {
            assert!(!render_text(found, false).is_empty());
            let annotations = render_github(found);
            assert!(annotations.lines().all(|line| line.starts_with("::")), "{annotations}");
        }
    };
    match parse(&[file]) {
        Ok(loaded) => {
            shown(&loaded.warnings);
            let now: chrono::DateTime<chrono::Utc> = "2026-11-22T20:00:00Z".parse().unwrap();
            assert!(plan(&loaded.policies, &Inventory::default(), now).vms.is_empty());
        }
        Err(mistakes) => {
            assert!(!mistakes.diagnostics().is_empty());
            shown(mistakes.diagnostics());
        }
    }
}

/// A list is read as its pieces come in, always alike, and never taken for whole when it was cut.
pub(crate) fn vm_list(bytes: &[u8]) {
    let (piece_bytes, list) = match bytes.split_first() {
        Some((first, list)) => (usize::from(*first).max(1), list),
        None => (1, bytes),
    };
    let whole = split(list, list.len().max(1));
    // An error shows as much of the list as was there, so only what was read is compared.
    assert_eq!(whole.as_ref().ok(), split(list, piece_bytes).as_ref().ok(), "in pieces of {piece_bytes}");
    if let Ok(known) = serde_json::from_slice::<Vec<IgnoredAny>>(list) {
        assert_eq!(whole.as_ref().map(Vec::len), Ok(known.len()), "an array is a list");
    }
    let Ok(elements) = whole else { return };
    for element in &elements {
        // A VM, or what is wrong with it.
        if let Err(unreadable) = read_vm(element) {
            assert!(!unreadable.problems.is_empty());
        }
    }
    let end = list.iter().rposition(|byte| *byte == b']').unwrap();
    for cut in [end, end / 2, end.saturating_sub(piece_bytes)] {
        assert!(split(&list[..cut], piece_bytes).is_err(), "cut after {cut} bytes of {}", list.len());
    }
}

fn split(list: &[u8], piece_bytes: usize) -> Result<Vec<Vec<u8>>, ListError> {
    let mut splitter = Splitter::new(MAX_ELEMENT_BYTES);
    let mut elements = Vec::new();
    for piece in list.chunks(piece_bytes) {
        splitter.push(piece, |element| elements.push(element.to_vec()))?;
    }
    let counted = splitter.finish()?;
    assert_eq!(counted, elements.len());
    Ok(elements)
}

/// A saved plan is refused, or says the same when it is written and read again.
pub(crate) fn saved_plan(bytes: &[u8]) {
    if let Ok(read) = Plan::from_json(bytes) {
        let again = serde_json::to_vec_pretty(&read).unwrap();
        assert_eq!(Plan::from_json(&again).unwrap(), read);
    }
    // As much as can be had without the right checksum.
    if let Ok(read) = serde_json::from_slice::<Plan>(bytes) {
        let again = serde_json::to_vec(&read).unwrap();
        assert_eq!(serde_json::from_slice::<Plan>(&again).unwrap(), read);
    }
}

/// A profile is one, or what is wrong with it can be said.
pub(crate) fn profile(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for wanted in [None, Some("home")] {
        match Profile::parse(text, wanted) {
            Ok(profile) => assert!(!profile.endpoint.to_string().is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// An answer means that something was done only where FiFo would say so, whatever its headers and body are.
///
/// The first two bytes are the status, the next lines `Location`, `Date`, `Retry-After` and `ETag`, the rest the body.
pub(crate) fn answer(bytes: &[u8]) {
    thread_local! {
        static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    }
    let Some((status, rest)) = bytes.split_first_chunk::<2>() else { return };
    let Ok(status) = StatusCode::from_u16(100 + u16::from_be_bytes(*status) % 500) else { return };
    let mut parts = rest.splitn(5, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [LOCATION, DATE, RETRY_AFTER, ETAG] {
        let value = parts.next().filter(|value| !value.is_empty());
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value).ok()) {
            headers.insert(name, value);
        }
    }
    let body = Bytes::copy_from_slice(parts.next().unwrap_or_default());
    let paused = || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    RUNTIME.with(|runtime| runtime.get_or_init(paused).block_on(asked(Same { status, headers, body })));
}

async fn asked(same: Same) {
    let status = same.status.as_u16();
    let mut settings =
        ClientSettings::new("http://127.0.0.1:1".parse().unwrap(), Credentials::Token("t".to_owned().into()));
    settings.read_timeout = Duration::from_millis(20);
    let pause = Duration::from_millis(9);
    settings.backoff = Backoff { first: pause, max: pause, asked_max: pause, refused_token: pause };
    let client = WriteClient::new(ReadClient::new(Arc::new(same), settings));
    let vm: VmId = "4fa44310-0000-4000-8000-000000000001".parse().unwrap();
    let backup: BackupId = "4fa44310-0000-4000-8000-000000000002".parse().unwrap();

    let listed = client.read().list().await;
    assert!(listed.is_err() || status == 200, "{listed:?}");
    let read = client.read().vm(vm).await;
    assert!(read.is_err() || status == 200, "{read:?}");
    if let Ok(read) = &read
        && let Ok(read) = &read.vm
    {
        assert_eq!(read.id, vm, "another VM than was asked for");
    }
    let etag = read.ok().and_then(|read| read.etag);

    let new = NewBackup { comment: "daily".to_owned(), parent: None };
    if let Ok(answer) = client.create_backup(vm, &new, etag.as_ref()).await {
        was_understood(&answer, status, 303);
    }
    if let Ok(answer) = client.delete_local(vm, backup, etag.as_ref()).await {
        was_understood(&answer, status, 204);
    }
}

fn was_understood(answer: &WriteAnswer, status: u16, accepting: u16) {
    match answer {
        WriteAnswer::Accepted { .. } => assert_eq!(status, accepting),
        WriteAnswer::Refused { status: with, .. } => {
            assert!(with.as_u16() == status && (300..500).contains(&status), "{with}");
        }
        WriteAnswer::Maybe { status: Some(_), .. } => assert!(!matches!(status, 412 | 429), "{answer:?}"),
        WriteAnswer::Maybe { .. } | WriteAnswer::NotSent { .. } => panic!("there was an answer: {answer:?}"),
    }
}

/// A stored object is read alike in pieces of any size, and is whole only with a first record. The first byte says how long a piece
/// is, and, where it is odd, that what follows is still to be packed: few inputs are gzip.
pub(crate) fn stored_stream(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let mut packed = rest.to_vec();
    if first % 2 == 1 {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
        gzip.write_all(rest).unwrap();
        packed = gzip.finish().unwrap();
    }
    let read = |piece: usize| {
        let mut reader = StreamReader::default();
        packed.chunks(piece.max(1)).for_each(|piece| reader.push(piece));
        let damage = reader.finish().map(|damage| damage.code);
        assert!(damage.is_some() || reader.begin().is_some());
        (damage, reader.begin().cloned())
    };
    assert_eq!(read(packed.len()), read(usize::from(first)), "in pieces of {first}");
}

/// Answers everything alike.
struct Same {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Transport for Same {
    fn send(&self, _: Request, _: Connection) -> BoxFuture<'_, Result<Response, TransportError>> {
        let mut response = Response::new(stream::iter([Ok(self.body.clone())]).boxed());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        async move { Ok(response) }.boxed()
    }
}
