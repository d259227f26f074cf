//! Changing FiFo: three requests, each sent exactly once, each on a connection of its own.

use super::error::{Result, with_causes};
use super::read::{ETag, ReadClient};
use super::session::{ClientSettings, retry_after, text};
use super::transport::{Connection, TransportErrorKind as Kind};
use crate::inventory::{BackupId, VmId};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, IF_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// The one body of a local delete. With any other, or none, FiFo deletes the stored backup and all that descend from it.
const ON_THE_HYPERVISOR: &[u8] = br#"{"location":"hypervisor"}"#;

/// A write whose sign-in takes longer is not sent: the caller reads and decides again.
const SIGN_IN_MAX: Duration = Duration::from_secs(2);

/// A backup to create. Without `parent` it is a full one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBackup {
    pub comment: String,
    /// Must be local.
    pub parent: Option<BackupId>,
}

/// A backup that is to be deleted from storage with all that descend from it. A type of its own, so that no delete of a
/// snapshot can become one by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletedForGood(pub BackupId);

/// The result of a write, as far as the answer shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteAnswer {
    /// FiFo has taken it on. Only FiFo of 2015 names the new backup.
    Accepted { backup: Option<BackupId> },
    /// FiFo, or something before it, would not. Nothing was done.
    ///
    /// 412: the VM has changed since the ETag was read. 401: FiFo did not accept the token, or signing in took so long that the
    /// decision is old; the next request signs in again where that helps. A 403 comes with the permission that the user lacks:
    /// `vms→<uuid>→backup`. The pause asked for is at most [`Backoff::asked_max`](super::Backoff::asked_max).
    Refused { status: StatusCode, retry_after: Option<Duration>, permission: Option<String> },
    /// It may have been done: FiFo failed, answered what it never answers, or did not answer. `what` goes behind its name:
    /// `answered 502 Bad Gateway`.
    Maybe { what: String, status: Option<StatusCode> },
    /// There was no connection. Nothing was done.
    NotSent { message: String },
}

type Written = Result<WriteAnswer>;

/// Changes FiFo. It repeats nothing: whether a write may be sent again depends on what the first one did, which the caller
/// has to find out. An error means that nothing was done: we could not sign in, or the token is refused for good.
#[derive(Clone)]
pub struct WriteClient {
    read: ReadClient,
}

impl WriteClient {
    pub fn new(read: ReadClient) -> Self {
        Self { read }
    }

    pub fn read(&self) -> &ReadClient {
        &self.read
    }

    /// Asks for a new backup of a VM, with its configuration, that stays local.
    pub async fn create_backup(&self, vm: VmId, new: &NewBackup, if_match: Option<&ETag>) -> Written {
        let mut body = json!({"comment": new.comment, "xml": true});
        // A null would be answered with 500.
        if let Some(parent) = new.parent {
            body["parent"] = json!(parent);
        }
        let (path, permission) = (format!("vms/{vm}/backups"), format!("vms→{vm}→backup"));
        let call = (Method::POST, &*path, Bytes::from(body.to_string()));
        self.send(call, if_match, &permission, |status, headers| {
            let is_accepted = status == StatusCode::SEE_OTHER;
            let location = text(headers, &LOCATION).unwrap_or_default();
            is_accepted.then(|| match location.split_once(&format!("/vms/{vm}")) {
                Some((_, behind)) => WriteAnswer::Accepted {
                    backup: behind.strip_prefix("/backups/").and_then(|id| id.parse().ok()),
                },
                // Something on the way leads elsewhere, before FiFo did anything or after.
                None => maybe(status),
            })
        })
        .await
    }

    /// Asks for a backup's snapshot to be removed from the hypervisor. The stored backup stays.
    pub async fn delete_local(&self, vm: VmId, backup: BackupId, if_match: Option<&ETag>) -> Written {
        self.delete(vm, backup, Bytes::from_static(ON_THE_HYPERVISOR), if_match).await
    }

    /// Asks for a backup, and all that descend from it, to be deleted from storage. Never to be asked of a VM that is on
    /// no hypervisor: FiFo deletes the files then, and keeps every record.
    pub async fn delete_cloud(&self, vm: VmId, backup: DeletedForGood, if_match: Option<&ETag>) -> Written {
        self.delete(vm, backup.0, Bytes::new(), if_match).await
    }

    /// Deletes by what the body says. The answer does not show which of the two FiFo has understood.
    async fn delete(&self, vm: VmId, backup: BackupId, body: Bytes, if_match: Option<&ETag>) -> Written {
        let (path, permission) = (format!("vms/{vm}/backups/{backup}"), format!("vms→{vm}→backup_delete"));
        self.send((Method::DELETE, &path, body), if_match, &permission, |status, _| {
            (status == StatusCode::NO_CONTENT).then_some(WriteAnswer::Accepted { backup: None })
        })
        .await
    }

    /// Sends a write once and judges the answer. `own` knows the one way in which FiFo accepts this write; what looks
    /// otherwise, a 200 too, may come from something before FiFo.
    async fn send(
        &self,
        (method, path, body): (Method, &str, Bytes),
        if_match: Option<&ETag>,
        permission: &str,
        own: impl FnOnce(StatusCode, &HeaderMap) -> Option<WriteAnswer>,
    ) -> Written {
        let session = &self.read.session;
        let json = (!body.is_empty()).then(|| (CONTENT_TYPE, HeaderValue::from_static("application/json")));
        let condition = if_match.map(|ETag(version)| (IF_MATCH, version.clone()));
        let request = session.request(method, path, json.into_iter().chain(condition).collect(), body);
        let asked_at = Instant::now();
        let token = session.sign_in().await?;
        let refused = |status, retry_after| WriteAnswer::Refused {
            status,
            retry_after,
            permission: (status == StatusCode::FORBIDDEN).then(|| permission.to_owned()),
        };
        if asked_at.elapsed() > SIGN_IN_MAX {
            // What the write was decided by is old by now.
            return Ok(refused(StatusCode::UNAUTHORIZED, None));
        }
        let ClientSettings { write_timeout, backoff, .. } = &session.settings;
        let response = match session.call(&token, request, Connection::Fresh, *write_timeout).await? {
            Ok(response) => response,
            Err(error) => {
                let message = with_causes(&error);
                return Ok(match error.kind() {
                    Kind::NotSent | Kind::Untrusted | Kind::NotTls => WriteAnswer::NotSent { message },
                    Kind::Lost | Kind::NotHttp => {
                        WriteAnswer::Maybe { what: format!("gave no answer ({message})"), status: None }
                    }
                });
            }
        };
        let (status, headers) = (response.status(), response.headers());
        let retry_after = retry_after(headers).map(|asked| asked.min(backoff.asked_max));
        Ok(own(status, headers).unwrap_or_else(|| match status.as_u16() {
            // A proxy that has not got the request whole says 408; FiFo may have got more of it.
            300..=407 | 409..=499 => refused(status, retry_after),
            _ => maybe(status),
        }))
    }
}

fn maybe(status: StatusCode) -> WriteAnswer {
    WriteAnswer::Maybe { what: format!("answered {status}"), status: Some(status) }
}
