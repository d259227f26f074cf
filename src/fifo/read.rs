//! Reading FiFo.

use super::error::{A_FEW, FifoError, Result};
use super::session::{ClientSettings, Session, connection, other_status, server_date};
use super::splitter::{MAX_ELEMENT_BYTES, printable};
use super::transport::Transport;
use super::vm_json::read_vm;
use crate::inventory::{UnreadableVm, Vm, VmId};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::ETAG;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::de::IgnoredAny;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Names one version of one VM: goes back in `If-Match`, so that nothing is done to a VM that has changed meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(pub(super) HeaderValue);

impl ETag {
    /// Takes an answer's ETag. With a weak one, as a proxy on the way makes it, `If-Match` would never hold.
    fn of(headers: &HeaderMap) -> Option<Self> {
        headers.get(ETAG).filter(|value| value.as_bytes().starts_with(b"\"")).cloned().map(Self)
    }
}

#[derive(Clone, Debug)]
pub struct VmRead {
    pub vm: Result<Vm, UnreadableVm>,
    pub etag: Option<ETag>,
    pub server_date: Option<DateTime<Utc>>,
}

/// Reads FiFo. It cannot send anything but a GET and the POST that signs in.
///
/// A read is tried again while it fails for reasons that pass, until [`ClientSettings::read_timeout`]. Clones share
/// connections and token.
#[derive(Clone)]
pub struct ReadClient {
    pub(super) session: Arc<Session>,
    /// Whether full lists are cut every time, so that VMs have to be read one by one.
    pub(super) lists_are_cut: Arc<AtomicBool>,
}

impl ReadClient {
    pub fn new(transport: Arc<dyn Transport>, settings: ClientSettings) -> Self {
        Self { session: Arc::new(Session::new(transport, settings)), lists_are_cut: Arc::default() }
    }

    /// Asks whether FiFo and all of its subsystems are up, without signing in. Returns the server's clock.
    ///
    /// A subsystem that is down is retried a few times only, since the current state is wanted.
    pub async fn backend(&self) -> Result<Option<DateTime<Utc>>> {
        let (doing, session) = ("ask whether FiFo is up", &self.session);
        session
            .retrying(doing, move |attempt| async move {
                let (path, headers) = ("cloud/connection", HeaderMap::new());
                let request = session.request(Method::GET, path, headers, Bytes::new());
                let sent = session.send(request, connection(attempt)).await;
                let response = sent.map_err(|error| session.no_answer(doing, error))?;
                match response.status() {
                    StatusCode::OK => Ok(Ok(server_date(response.headers()))),
                    _ if attempt == A_FEW => Ok(Err(other_status(doing, &response))),
                    _ => Err(other_status(doing, &response)),
                }
            })
            .await?
    }

    /// Signs in, unless there is a token already; a given token is not sent anywhere by this.
    pub async fn sign_in(&self) -> Result<()> {
        self.session.sign_in().await.map(drop)
    }

    pub async fn vm(&self, id: VmId) -> Result<VmRead> {
        let (doing, permission, path) =
            (&format!("read VM {id}"), &format!("vms→{id}→get"), &format!("vms/{id}"));
        let session = &self.session;
        session
            .retrying(doing, move |attempt| async move {
                let got = session.get(attempt, doing, permission, path, HeaderMap::new()).await;
                let response = got.map_err(|error| match error {
                    FifoError::Status { status: StatusCode::NOT_FOUND, .. } => FifoError::NoSuchVm { vm: id },
                    error => error,
                })?;
                let (etag, server_date) = (ETag::of(response.headers()), server_date(response.headers()));
                let body = session.body(doing, response, MAX_ELEMENT_BYTES).await?;
                if serde_json::from_slice::<IgnoredAny>(&body).is_err() {
                    let why = format!("expected JSON, found {:?}", printable(&body));
                    return Err(FifoError::unreadable(doing, why));
                }
                Ok(VmRead { vm: read_vm(&body).and_then(|vm| checked(vm, id)), etag, server_date })
            })
            .await
    }
}

fn checked(vm: Vm, asked: VmId) -> Result<Vm, UnreadableVm> {
    if vm.id == asked {
        return Ok(vm);
    }
    let problems = vec![format!("uuid: expected {asked}, found {}", vm.id)];
    Err(UnreadableVm { alias: vm.alias, id: Some(asked), problems })
}
