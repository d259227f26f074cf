//! Reading FiFo.

use super::answer::{self, ETag, retry_after, server_date, whole_body};
use super::auth::Credentials;
use super::convert::{listed_twice, read_vm};
use super::endpoint::{ApiVersion, Endpoint};
use super::error::{FifoError, UnreadableAnswer};
use super::list::{ListError, MAX_ELEMENT_BYTES, Splitter, printable};
use super::retry::{Again, Failure, Pauses};
use super::session::Session;
use super::transport::{Connection, Request, Response, Transport};
use crate::inventory::{Inventory, UnreadableVm, Vm, VmId};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::de::IgnoredAny;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The fields of a VM that matter. Whole VMs are many times as large, most of it logs.
const FIELDS: &str =
    "uuid,alias,owner,package,dataset,hypervisor,state,creating,deleting,metadata,config,backups";

/// How FiFo before 2016 is asked for a full list; later versions want it in the query, and ignore these.
const X_FULL_LIST: HeaderName = HeaderName::from_static("x-full-list");
const X_FULL_LIST_FIELDS: HeaderName = HeaderName::from_static("x-full-list-fields");

/// How to speak to one FiFo.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The version of the API to speak.
    pub api: ApiVersion,
    /// What to sign in with.
    pub credentials: Credentials,
    /// How long a read may take in all, with signing in and everything that is tried again.
    pub read_timeout: Duration,
    /// How long it may take to find out that nothing is to be reached, before anything has ever answered: that is mostly a
    /// wrong address, which no patience mends. `None` is as patient then as later.
    pub first_contact_timeout: Option<Duration>,
    /// How long a write may take until its answer is taken for lost. FiFo itself takes up to 5 s.
    pub write_timeout: Duration,
    /// The pauses between attempts.
    pub pauses: Pauses,
    /// Decides about the chance in the pauses. Take another one each run, so that runs that failed together do not come
    /// back together.
    pub jitter_seed: u64,
}

impl Settings {
    /// Makes settings with the usual times: two minutes for a read, half a minute for a write.
    pub fn new(endpoint: Endpoint, credentials: Credentials) -> Self {
        Self {
            endpoint,
            api: ApiVersion::default(),
            credentials,
            read_timeout: Duration::from_secs(120),
            first_contact_timeout: None,
            write_timeout: Duration::from_secs(30),
            pauses: Pauses::default(),
            jitter_seed: 0,
        }
    }
}

/// One reading of the VM list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// What it told of the VMs that were asked for.
    pub inventory: Inventory,
    /// How many VMs the list had, asked for or not, readable or not. With none, this user may be allowed to see none.
    pub visible: usize,
    /// The server's clock when it began to answer.
    pub server_date: Option<DateTime<Utc>>,
}

/// One reading of one VM.
#[derive(Clone, Debug)]
pub struct VmRead {
    /// The VM, or what could not be read of it.
    pub vm: Result<Vm, UnreadableVm>,
    /// Names this version of it, for [`super::WriteClient`].
    pub etag: Option<ETag>,
    /// The server's clock when it answered.
    pub server_date: Option<DateTime<Utc>>,
}

/// Reads FiFo. It has no way to send anything but a GET, and the POST that signs in.
///
/// Every read is tried again while it fails for reasons that pass, until [`Settings::read_timeout`]. Clones share
/// connections and token.
#[derive(Clone)]
pub struct ReadClient {
    session: Arc<Session>,
}

impl ReadClient {
    /// Makes a client; nothing is sent yet.
    pub fn new(transport: Arc<dyn Transport>, settings: Settings) -> Self {
        Self { session: Arc::new(Session::new(transport, settings)) }
    }

    /// Reads every VM that this user may see.
    ///
    /// # Errors
    ///
    /// When there is no whole list to be had. A VM that cannot be read is none: it is told in the inventory.
    pub async fn list(&self) -> Result<Listing, FifoError> {
        self.listing(|_| true).await
    }

    /// Reads the list as [`ReadClient::list`] does, but keeps only these VMs, and unreadable ones without UUID.
    ///
    /// # Errors
    ///
    /// As [`ReadClient::list`].
    pub async fn list_only(&self, wanted: &BTreeSet<VmId>) -> Result<Listing, FifoError> {
        self.listing(|id| wanted.contains(&id)).await
    }

    /// Reads one VM.
    ///
    /// # Errors
    ///
    /// [`FifoError::NoSuchVm`] when there is none; otherwise when there is no whole answer to be had.
    pub async fn vm(&self, id: VmId) -> Result<VmRead, FifoError> {
        /// As much as one element of the list may have.
        const MAX_BYTES: usize = MAX_ELEMENT_BYTES;
        let doing = &format!("read VM {id}");
        let path = &format!("{}/vms/{id}", self.session.base());
        self.session
            .retrying(doing, move |attempt| async move {
                let response = self.get(attempt, path, HeaderMap::new(), doing).await?;
                match response.status {
                    StatusCode::OK => {}
                    StatusCode::NOT_FOUND => return Err(Failure::last(FifoError::NoSuchVm { vm: id })),
                    _ => return Err(failed(doing, &format!("vms → {id} → get"), &response)),
                }
                let (etag, server_date) = (ETag::of(&response.headers), server_date(&response.headers));
                let body = whole_body(doing, self.endpoint(), response, MAX_BYTES).await?;
                Ok(VmRead { vm: single_vm(doing, id, &body)?, etag, server_date })
            })
            .await
    }

    async fn listing(&self, wanted: impl Fn(VmId) -> bool) -> Result<Listing, FifoError> {
        let doing = "read the list of VMs";
        let path = &format!("{}/vms?full-list=true&full-list-fields={FIELDS}", self.session.base());
        let wanted = &wanted;
        self.session
            .retrying(doing, move |attempt| async move {
                let headers = HeaderMap::from_iter([
                    (X_FULL_LIST, HeaderValue::from_static("true")),
                    (X_FULL_LIST_FIELDS, HeaderValue::from_static(FIELDS)),
                ]);
                let response = self.get(attempt, path, headers, doing).await?;
                if response.status != StatusCode::OK {
                    return Err(failed(doing, "cloud → vms → list", &response));
                }
                self.streamed(doing, response, wanted).await
            })
            .await
    }

    async fn streamed(
        &self,
        doing: &str,
        response: Response,
        wanted: &impl Fn(VmId) -> bool,
    ) -> Result<Listing, Failure> {
        let unreadable = |error: ListError| {
            let again = match error {
                ListError::Cut { .. } => Again::WhileTimeLasts,
                ListError::NotAList { .. } | ListError::Separator { .. } | ListError::GoesOn => {
                    Again::AFewTimes
                }
                ListError::ElementTooLong { .. } => Again::Never,
            };
            answer::unreadable(doing, again, error.into())
        };
        let server_date = server_date(&response.headers);
        let mut gathered = Gathered { inventory: Inventory::default(), seen: BTreeSet::new() };
        let mut splitter = Splitter::new(MAX_ELEMENT_BYTES);
        let mut body = response.body;
        loop {
            match body.try_next().await {
                Ok(None) => break,
                Ok(Some(piece)) => splitter
                    .push(&piece, |element| gathered.add(read_vm(element), wanted))
                    .map_err(unreadable)?,
                // Behind a proxy that ends TLS without saying so, the end of every list looks like a broken connection.
                Err(_) if splitter.is_whole() => break,
                Err(error) => return Err(Failure::of_connection(doing, self.endpoint(), error)),
            }
        }
        let visible = splitter.finish().map_err(unreadable)?;
        Ok(Listing { inventory: gathered.into_inventory(self.endpoint()), visible, server_date })
    }

    /// Sends a GET, and once more with a new token when FiFo does not take the one there is.
    ///
    /// The only way out for a read. A second attempt does not trust a connection that another request has used.
    async fn get(
        &self,
        attempt: u32,
        path: &str,
        headers: HeaderMap,
        doing: &str,
    ) -> Result<Response, Failure> {
        let request = Request {
            method: Method::GET,
            path: path.to_owned(),
            headers,
            body: None,
            connection: if attempt == 1 { Connection::Reused } else { Connection::Fresh },
        };
        let send = async |token| match self.session.send(request.clone(), &token).await {
            Ok(Ok(response)) => Ok((response, token)),
            Ok(Err(error)) => Err(Failure::of_connection(doing, self.endpoint(), error)),
            Err(error) => Err(Failure::last(error)),
        };
        let (response, token) = send(self.session.auth.token().await?).await?;
        if response.status != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let (response, _) = send(self.session.auth.renewed(&token).await?).await?;
        if response.status == StatusCode::UNAUTHORIZED {
            return Err(Failure::last(self.session.auth.new_token_refused()));
        }
        Ok(response)
    }

    fn endpoint(&self) -> String {
        self.session.settings.endpoint.to_string()
    }

    /// Gives what the writing client needs of this one.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }
}

/// Judges an answer to a read that has another status than the wanted one.
fn failed(doing: &str, permission: &str, response: &Response) -> Failure {
    let (doing, status) = (doing.to_owned(), response.status);
    if status == StatusCode::FORBIDDEN {
        return Failure::last(FifoError::Forbidden { doing, permission: permission.to_owned() });
    }
    let error = FifoError::Status { doing, status };
    Failure { error, again: Again::after(status), retry_after: retry_after(&response.headers) }
}

/// Reads the answer for one VM: JSON that is not a VM makes an unreadable VM, what is not JSON a failed read.
fn single_vm(doing: &str, asked: VmId, body: &[u8]) -> Result<Result<Vm, UnreadableVm>, Failure> {
    if serde_json::from_slice::<IgnoredAny>(body).is_err() {
        let source = UnreadableAnswer::NotJson { begin: printable(body) };
        return Err(answer::unreadable(doing, Again::AFewTimes, source));
    }
    Ok(read_vm(body).and_then(|vm| match vm.id {
        id if id == asked => Ok(vm),
        other => Err(UnreadableVm {
            alias: vm.alias,
            id: Some(asked),
            problems: vec![format!("uuid: expected {asked}, found {other}")],
        }),
    }))
}

/// The list's elements as they come in.
struct Gathered {
    inventory: Inventory,
    seen: BTreeSet<VmId>,
}

impl Gathered {
    fn add(&mut self, read: Result<Vm, UnreadableVm>, wanted: impl Fn(VmId) -> bool) {
        let id = match &read {
            Ok(vm) => Some(vm.id),
            Err(unreadable) => unreadable.id,
        };
        if let Some(id) = id {
            if !wanted(id) {
                return;
            }
            if !self.seen.insert(id) {
                // Neither record can be trusted: which of them is the whole one?
                if let Some(vm) = self.inventory.vms.remove(&id) {
                    self.inventory.unreadable.push(listed_twice(id, vm.alias));
                }
                return;
            }
        }
        match read {
            Ok(vm) => drop(self.inventory.vms.insert(vm.id, vm)),
            Err(unreadable) => self.inventory.unreadable.push(unreadable),
        }
    }

    fn into_inventory(mut self, endpoint: String) -> Inventory {
        self.inventory.unreadable.sort();
        Inventory { endpoint, ..self.inventory }
    }
}
