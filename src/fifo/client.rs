//! Reading FiFo.

use super::answer::{self, ETag, retry_after, server_date, whole_body};
use super::auth::AfterRefusal;
use super::convert::read_vm;
use super::error::{FifoError, UnreadableAnswer};
use super::list::{MAX_ELEMENT_BYTES, printable};
use super::retry::{FailedAttempt, RetryRule};
use super::session::Session;
use super::settings::ClientSettings;
use super::transport::{Connection, Request, Response, Transport};
use crate::inventory::{UnreadableVm, Vm, VmId};
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, StatusCode};
use serde::de::IgnoredAny;
use std::sync::Arc;
use tokio::time::Instant;

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
/// Every read is tried again while it fails for reasons that pass, until [`ClientSettings::read_timeout`]. Clones share
/// connections and token.
#[derive(Clone)]
pub struct ReadClient {
    session: Arc<Session>,
}

impl ReadClient {
    /// Makes a client; nothing is sent yet.
    pub fn new(transport: Arc<dyn Transport>, settings: ClientSettings) -> Self {
        Self { session: Arc::new(Session::new(transport, settings)) }
    }

    /// Asks whether FiFo and all of its subsystems are up, without signing in. Returns the server's clock.
    ///
    /// A subsystem that is down is retried a few times only, since the current state is wanted.
    ///
    /// # Errors
    ///
    /// There is no answer, or one that says that a subsystem is down.
    pub async fn backend(&self) -> Result<Option<DateTime<Utc>>, FifoError> {
        let doing = "ask whether FiFo is up";
        let path = &format!("{}/cloud/connection", self.session.base());
        self.session
            .retrying(doing, move |attempt| async move {
                let request = Request {
                    method: Method::GET,
                    path: path.clone(),
                    headers: HeaderMap::new(),
                    body: None,
                    connection: if attempt == 1 { Connection::Reused } else { Connection::Fresh },
                };
                let response = self
                    .session
                    .send_unsigned(request)
                    .await
                    .map_err(|error| FailedAttempt::of_connection(doing, self.endpoint(), error))?;
                if response.status == StatusCode::OK {
                    return Ok(server_date(&response.headers));
                }
                let failure = failed(doing, "cloud→connection", &response);
                let retry =
                    if failure.retry == RetryRule::Never { RetryRule::Never } else { RetryRule::Limited };
                Err(FailedAttempt { retry, ..failure })
            })
            .await
    }

    /// Signs in, unless there is a token already; a given token is not sent anywhere by this.
    ///
    /// # Errors
    ///
    /// FiFo refuses the user and password, or cannot be asked.
    pub async fn sign_in(&self) -> Result<(), FifoError> {
        self.session.retrying("sign in", |_| self.session.auth.token()).await.map(drop)
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
                    StatusCode::NOT_FOUND => return Err(FailedAttempt::last(FifoError::NoSuchVm { vm: id })),
                    _ => return Err(failed(doing, &format!("vms→{id}→get"), &response)),
                }
                let (etag, server_date) = (ETag::of(&response.headers), server_date(&response.headers));
                let body = whole_body(doing, self.endpoint(), response, MAX_BYTES).await?;
                Ok(VmRead { vm: single_vm(doing, id, &body)?, etag, server_date })
            })
            .await
    }

    /// Sends a GET, and once more with a new token when the one there is has expired.
    ///
    /// The only way out for a read. A second attempt does not trust a connection that another request has used.
    pub(super) async fn get(
        &self,
        attempt: u32,
        path: &str,
        headers: HeaderMap,
        doing: &str,
    ) -> Result<Response, FailedAttempt> {
        let request = Request {
            method: Method::GET,
            path: path.to_owned(),
            headers,
            body: None,
            connection: if attempt == 1 { Connection::Reused } else { Connection::Fresh },
        };
        let auth = &self.session.auth;
        let mut is_second = false;
        loop {
            let token = auth.token().await?;
            let sent_at = Instant::now();
            let response = match self.session.send(request.clone(), &token).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(FailedAttempt::of_connection(doing, self.endpoint(), error)),
                Err(error) => return Err(FailedAttempt::last(error)),
            };
            auth.answered(&token, response.status);
            if response.status != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            let retry_after = match auth.refused(&token, sent_at).map_err(FailedAttempt::last)? {
                AfterRefusal::Now if !is_second => None,
                AfterRefusal::Now => Some(self.session.settings.backoff.refused_token),
                AfterRefusal::Later(pause) => Some(pause),
            };
            if retry_after.is_some() {
                let error = FifoError::Status { doing: doing.to_owned(), status: response.status };
                return Err(FailedAttempt { error, retry: RetryRule::UntilTimeout, retry_after });
            }
            is_second = true;
        }
    }

    pub(super) fn endpoint(&self) -> String {
        self.session.settings.endpoint.to_string()
    }

    /// Returns what the writing client needs of this one.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }
}

/// Judges an answer to a read that has another status than the wanted one.
pub(super) fn failed(doing: &str, permission: &str, response: &Response) -> FailedAttempt {
    let (doing, status) = (doing.to_owned(), response.status);
    if status == StatusCode::FORBIDDEN {
        return FailedAttempt::last(FifoError::Forbidden { doing, permission: permission.to_owned() });
    }
    let error = FifoError::Status { doing, status };
    FailedAttempt { error, retry: RetryRule::after(status), retry_after: retry_after(&response.headers) }
}

/// Reads the answer for one VM: JSON that is not a VM makes an unreadable VM, what is not JSON a failed read.
fn single_vm(doing: &str, asked: VmId, body: &[u8]) -> Result<Result<Vm, UnreadableVm>, FailedAttempt> {
    if serde_json::from_slice::<IgnoredAny>(body).is_err() {
        let source = UnreadableAnswer::NotJson { begin: printable(body) };
        return Err(answer::unreadable(doing, RetryRule::Limited, source));
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
