//! Changing FiFo: three requests, each sent exactly once, each on a connection of its own.

use super::answer::{ETag, retry_after, server_date, text};
use super::auth::AfterRefusal;
use super::client::ReadClient;
use super::error::{FifoError, with_causes};
use super::transport::{Connection, Request, Response, TransportError, TransportErrorKind};
use crate::inventory::{BackupId, VmId};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::{CONTENT_TYPE, IF_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The one body that a DELETE may have. With any other, or none, FiFo deletes the stored backup and all that descend from it.
const ON_THE_HYPERVISOR: &[u8] = br#"{"location":"hypervisor"}"#;

/// A write whose sign-in takes longer is not sent: the caller reads and decides again.
const SIGN_IN_MAX: Duration = Duration::from_secs(2);

/// A backup to create. Without `parent` it is a full one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBackup {
    pub comment: String,
    /// What it is to be an increment on; must be local.
    pub parent: Option<BackupId>,
}

/// A backup that is to be deleted from storage, for good, with all that descend from it. A type of its own, so that no
/// delete of a snapshot can become one by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletedForGood(pub BackupId);

/// The part of a request that says what is written. Only a delete from storage has no body.
enum Write {
    Create(Bytes),
    DeleteLocal(BackupId),
    DeleteCloud(DeletedForGood),
}

impl Write {
    /// Returns method, path below the VM's, and body.
    fn parts(self) -> (Method, String, Option<Bytes>) {
        match self {
            Self::Create(body) => (Method::POST, "backups".to_owned(), Some(body)),
            Self::DeleteLocal(backup) => {
                (Method::DELETE, format!("backups/{backup}"), Some(Bytes::from_static(ON_THE_HYPERVISOR)))
            }
            Self::DeleteCloud(DeletedForGood(backup)) => (Method::DELETE, format!("backups/{backup}"), None),
        }
    }
}

/// The result of a write, as far as the answer shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteAnswer {
    /// FiFo has taken it on.
    Accepted {
        /// The new backup, where the answer names it, as FiFo of 2015 does.
        backup: Option<BackupId>,
        /// The server's clock when it answered.
        server_date: Option<DateTime<Utc>>,
    },
    /// The VM has changed since the ETag was read (412). Nothing was done.
    Changed,
    /// FiFo, or something before it, would not (a redirect, 400, 403, 404, 415 and the like). Nothing was done.
    Refused {
        status: StatusCode,
        /// The permission that the user lacks, where that is why (403): `vms→<uuid>→backup`.
        permission: Option<String>,
    },
    /// There were too many requests (429). Nothing was done.
    TooMany {
        /// How long to wait, where the answer says so.
        retry_after: Option<Duration>,
    },
    /// FiFo did not accept the token (401), or signing in took so long that the decision is old. Nothing was done; the next
    /// request signs in again where that helps.
    Unauthorized,
    /// FiFo failed (500), or answered what it never answers. It may have been done.
    Failed { status: StatusCode },
    /// FiFo, or a part of it, could not be reached (502, 503, 504). It may have been done.
    Unavailable { status: StatusCode },
    /// There was no answer. It may have been done.
    Lost { message: String },
    /// There was no connection. Nothing was done.
    NotSent { message: String },
}

/// Changes FiFo. It repeats nothing: whether a write may be sent again depends on what the first one did, which the caller
/// has to find out.
#[derive(Clone)]
pub struct WriteClient {
    read: ReadClient,
}

impl WriteClient {
    /// Makes a client that writes where, and as whom, another reads.
    pub fn new(read: ReadClient) -> Self {
        Self { read }
    }

    /// Returns the client that only reads.
    pub fn read(&self) -> &ReadClient {
        &self.read
    }

    /// Asks for a new backup of a VM, with its configuration, to be uploaded and to stay local.
    ///
    /// # Errors
    ///
    /// When we could not sign in, or the token is refused for good. Nothing was done then.
    pub async fn create_backup(
        &self,
        vm: VmId,
        new: &NewBackup,
        if_match: Option<&ETag>,
    ) -> Result<WriteAnswer, FifoError> {
        let mut body = json!({"comment": new.comment, "xml": true});
        // A null would be answered with 500.
        if let Some(parent) = new.parent {
            body["parent"] = json!(parent);
        }
        let sent = self.send(vm, Write::Create(Bytes::from(body.to_string())), if_match).await?;
        Ok(judged(sent, &format!("vms→{vm}→backup"), |response| {
            let status = response.status;
            if status != StatusCode::SEE_OTHER {
                return None;
            }
            let location = text(&response.headers, &LOCATION).unwrap_or_default();
            Some(match location.split_once(&format!("/vms/{vm}")) {
                Some((_, behind)) => WriteAnswer::Accepted {
                    backup: behind.strip_prefix("/backups/").and_then(|id| id.parse().ok()),
                    server_date: server_date(&response.headers),
                },
                // Something on the way leads elsewhere, before FiFo did anything or after.
                None => WriteAnswer::Failed { status },
            })
        }))
    }

    /// Asks for a backup's snapshot to be removed from the hypervisor. The stored backup stays.
    ///
    /// # Errors
    ///
    /// When we could not sign in, or the token is refused for good. Nothing was done then.
    pub async fn delete_local(
        &self,
        vm: VmId,
        backup: BackupId,
        if_match: Option<&ETag>,
    ) -> Result<WriteAnswer, FifoError> {
        Ok(deleted(self.send(vm, Write::DeleteLocal(backup), if_match).await?, vm))
    }

    /// Asks for a backup to be deleted from storage, for good. FiFo deletes all that descend from it as well. Never to be
    /// asked of a VM that is on no hypervisor: FiFo deletes the files then, and keeps every record.
    ///
    /// # Errors
    ///
    /// When we could not sign in, or the token is refused for good. Nothing was done then.
    pub async fn delete_cloud(
        &self,
        vm: VmId,
        backup: DeletedForGood,
        if_match: Option<&ETag>,
    ) -> Result<WriteAnswer, FifoError> {
        Ok(deleted(self.send(vm, Write::DeleteCloud(backup), if_match).await?, vm))
    }

    /// Sends a write once. After a 401, which has done nothing else either, it pauses: the caller has to
    /// check whether it is still wanted before it is sent again.
    async fn send(
        &self,
        vm: VmId,
        write: Write,
        if_match: Option<&ETag>,
    ) -> Result<Result<Response, WriteAnswer>, FifoError> {
        let (method, path, body) = write.parts();
        let path = format!("{}/vms/{vm}/{path}", self.read.session().base());
        let mut headers = HeaderMap::new();
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(etag) = if_match {
            headers.insert(IF_MATCH, etag.header());
        }
        let request = Request { method, path, headers, body, connection: Connection::Fresh };
        let session = self.read.session();
        let asked_at = Instant::now();
        let token = session.retrying("sign in", |_| session.auth.token()).await?;
        if asked_at.elapsed() > SIGN_IN_MAX {
            // What the write was decided by is old by now.
            return Ok(Err(WriteAnswer::Unauthorized));
        }
        let sent_at = Instant::now();
        let write_timeout = session.settings.write_timeout;
        let response = match timeout(write_timeout, session.send(request, &token)).await {
            Ok(sent) => match sent? {
                Ok(response) => response,
                Err(error) => return Ok(Err(not_answered(&error))),
            },
            Err(_) => {
                let message = format!("no answer within {} s", write_timeout.as_secs_f32());
                return Ok(Err(WriteAnswer::Lost { message }));
            }
        };
        session.auth.answered(&token, response.status);
        if response.status != StatusCode::UNAUTHORIZED {
            return Ok(Ok(response));
        }
        match session.auth.refused(&token, sent_at)? {
            AfterRefusal::Now => {}
            AfterRefusal::Later(pause) => sleep(pause).await,
        }
        Ok(Err(WriteAnswer::Unauthorized))
    }
}

/// Judges the answer to a delete of either kind: it is the same, and does not show which one FiFo has understood.
fn deleted(sent: Result<Response, WriteAnswer>, vm: VmId) -> WriteAnswer {
    judged(sent, &format!("vms→{vm}→backup_delete"), |response| {
        let server_date = server_date(&response.headers);
        (response.status == StatusCode::NO_CONTENT)
            .then_some(WriteAnswer::Accepted { backup: None, server_date })
    })
}

fn not_answered(error: &TransportError) -> WriteAnswer {
    let message = with_causes(error);
    match error.kind() {
        TransportErrorKind::NotSent | TransportErrorKind::Untrusted | TransportErrorKind::NotTls => {
            WriteAnswer::NotSent { message }
        }
        TransportErrorKind::Lost | TransportErrorKind::NotHttp => WriteAnswer::Lost { message },
    }
}

/// Judges an answer. `own` knows the one way in which FiFo says that this write is taken on; what looks otherwise, a 200
/// too, may come from something before FiFo. `permission` is the one that the write needs.
fn judged(
    sent: Result<Response, WriteAnswer>,
    permission: &str,
    own: impl FnOnce(&Response) -> Option<WriteAnswer>,
) -> WriteAnswer {
    let response = match sent {
        Ok(response) => response,
        Err(answer) => return answer,
    };
    let status = response.status;
    own(&response).unwrap_or_else(|| match status.as_u16() {
        412 => WriteAnswer::Changed,
        429 => WriteAnswer::TooMany { retry_after: retry_after(&response.headers) },
        // 408 is a proxy's word for not having got the request whole; FiFo may have got more of it.
        408 | 502..=504 => WriteAnswer::Unavailable { status },
        403 => WriteAnswer::Refused { status, permission: Some(permission.to_owned()) },
        300..=499 => WriteAnswer::Refused { status, permission: None },
        _ => WriteAnswer::Failed { status },
    })
}
